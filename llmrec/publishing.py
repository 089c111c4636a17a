"""Makes a folder appear whole or not at all: what is written goes to a temporary sibling, reaches the disk, and only then takes its name.

Separate because everything that is saved is published this way: corpora, checkpoints, models, reports.

    write to .tmp-NAME-PID -> fsync each file -> files.json, if asked -> fsync the folders -> move the old folder aside -> rename -> fsync the parent -> remove the old one
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from llmrec.exits import disk_failed

FILES = "files.json"
# A folder with one of these in it is ours to replace; anything else is someone's data.
MARKERS = ("manifest.json", "recommender.json", FILES)


@contextmanager
def publish(folder: Path, *, overwrite: bool = False, hashes: bool = False) -> Iterator[Path]:
    """Yields a temporary folder to write into; when the block ends without an error it is published under the name `folder`, else removed, and what stood there stays.

    overwrite: replace a folder that carries one of MARKERS. For a moment between the two renames of a replacement no folder has the name; the old one then stands
    beside it as .old-NAME-PID, and is put back if the second rename fails. hashes: write files.json (name -> size and sha256 of every file), for `verify`.

    Raises:
        FileExistsError: `folder` exists and may not be replaced; before anything is written, and again before it is published.
        OSError: the disk is full or broken; says how much was written and how much is free.
    """
    folder = Path(os.path.abspath(folder))
    check_free(folder, overwrite=overwrite)
    _make_folder(folder.parent)
    written = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    if written.exists():
        shutil.rmtree(written)  # left by a process that was killed and had our number
    written.mkdir()
    try:
        yield written
        if hashes:
            _write_hashes(written)
        _sync_tree(written)
        check_free(folder, overwrite=overwrite)
        _rename(written, folder)
    except BaseException as error:
        size, free = sum(path.stat().st_size for path in _files(written)), shutil.disk_usage(folder.parent).free
        shutil.rmtree(written, ignore_errors=True)
        if disk_failed(error):
            said = f"{error}; {size:,} bytes of it were written and {free:,} are free: make room for all of it (what stood there before stays), or name a folder elsewhere"
            raise OSError(error.errno if isinstance(error, OSError) else errno.ENOSPC, said, str(folder)) from None
        raise


def publish_text(path: Path, text: str) -> None:
    """Writes a text file that appears whole or not at all; what stood there before stays until then."""
    written = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        written.write_text(text, encoding="utf-8")
        _sync(written)
        os.replace(written, path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def sole_writer(path: Path, *, of: Path | None = None) -> TextIO:
    """The file at `path`, made if need be and opened for appending and reading, locked against all other processes until it is closed or its process ends.

    Raises BlockingIOError naming `of` (default: the file's folder) where another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise BlockingIOError(errno.EWOULDBLOCK, "another process is writing this; wait for it, or name another output", str(of or path.parent)) from None
    return file


def check_free(folder: Path, *, overwrite: bool = False) -> None:
    """Raises FileExistsError where `folder` exists and may not be replaced."""
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists; name another folder or say --overwrite (in training: overwrite=true)")
    if folder.is_symlink() or not folder.is_dir():
        raise FileExistsError(f"{folder} is a {'link' if folder.is_symlink() else 'file'}, which is not replaced; name another folder")
    if any(folder.iterdir()) and not any((folder / marker).is_file() for marker in MARKERS):
        raise FileExistsError(f"{folder} holds files but none of {', '.join(MARKERS)}, so it was not made here and is not replaced; name another folder")


def verify(folder: Path, *, skip: Collection[str] = ()) -> None:
    """Checks every file that files.json names, but those that `skip` names or whose folder it names; files it does not name are left alone.

    Raises:
        ValueError: files.json is missing or not ours, or a file is missing or not the one that was published; names the file.
    """
    listing = Path(folder) / FILES
    try:
        files = json.loads(listing.read_text(encoding="utf-8"))["files"]
        named = [(name, entry["size"], entry["sha256"]) for name, entry in files.items() if Path(name).parts[0] not in skip]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{listing} is missing or damaged ({type(error).__name__}): {folder} cannot be verified; expected a folder published with hashes") from None
    for name, size, digest in named:
        path = Path(folder) / name
        if Path(name).is_absolute() or ".." in Path(name).parts or path.is_symlink():
            raise ValueError(f"{listing} names {name!r}, which is not a file of its folder; do not use this folder")
        if not path.is_file():
            raise ValueError(f"{path} is missing: {FILES} names it; restore it, or use another folder")
        if path.stat().st_size != size or _sha256(path) != digest:
            raise ValueError(f"{path} is not the file that was published (its {'size' if path.stat().st_size != size else 'sha256'} differs): it was changed or damaged; use another folder")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write_hashes(folder: Path) -> None:
    files = {path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)} for path in _files(folder) if path != folder / FILES}
    (folder / FILES).write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_folder(folder: Path) -> None:
    """Makes a folder and those above it that are missing, and writes down that they are there: a folder nobody lists is lost with all that it holds."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        _sync(path.parent)


def _sync_tree(folder: Path) -> None:
    """A rename may reach the disk before the data it names: everything is written down first, files before the folders that list them."""
    for path in [*_files(folder), *sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(written: Path, folder: Path) -> None:
    aside = folder.with_name(f".old-{folder.name}-{os.getpid()}")
    replaced = folder.is_dir()
    if replaced:
        os.rename(folder, aside)
    try:
        os.rename(written, folder)
    except BaseException:
        if replaced:
            os.rename(aside, folder)
        raise
    _sync(folder.parent)
    if replaced:
        shutil.rmtree(aside)
