"""How every command ends: its exit codes, and which error means which.

Separate from the commands and free of heavy imports, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

USAGE, DATA, MODEL, DISK, MEMORY, NUMERIC, PEER_LOST = 2, 3, 4, 5, 6, 7, 8
"""Usage or environment, bad data, bad model or checkpoint, disk, memory, numbers that are not finite, another process of the run is gone or hangs."""
INTERRUPTED = 130
"""Interrupted from the keyboard."""
STOPPED = 143
"""A training that was asked to end and saved: the same command goes on with it."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class ModelError(ValueError):
    """A model, or a checkpoint, that cannot be used."""


@contextmanager
def reading_model() -> Iterator[None]:
    """Whatever is wrong with what is read of a model becomes a ModelError. One that is not there stays a FileNotFoundError, and a failing disk and memory what they are."""
    try:
        yield
    except (ValueError, KeyError, OSError) as error:
        if isinstance(error, (ModelError, FileNotFoundError)) or disk_failed(error):
            raise
        raise ModelError(sentence(error)) from error


def refuse_other_encodings() -> None:
    """Ends the command where Python takes the names of files for anything but UTF-8, which the libraries that read and write them do not: another file would be opened than is named."""
    if sys.getfilesystemencoding() != "utf-8":
        sys.stderr.write(f"error: the names of files are {sys.getfilesystemencoding()} here (LC_ALL={os.environ.get('LC_ALL', '')}); set PYTHONUTF8=1, or a locale of UTF-8\n")
        sys.exit(USAGE)


def exit_code(error: BaseException) -> int:
    """The code of an error that a user can mend; 1 for any other."""
    if disk_failed(error):
        return DISK
    if isinstance(error, ModelError) or type(error).__name__ == "SafetensorError":
        return MODEL
    if isinstance(error, FloatingPointError):
        return NUMERIC
    if out_of_memory(error):
        return MEMORY
    if _peer_lost(error):
        return PEER_LOST
    if isinstance(error, (FileExistsError, FileNotFoundError, BlockingIOError, KeyError)):
        return USAGE
    return DATA if isinstance(error, (OSError, ValueError)) else 1


def sentence(error: BaseException) -> str:
    """What a user is told of an error."""
    if exit_code(error) == PEER_LOST:
        return f"another process of this run is gone, and said why itself, if it could ({(str(error).splitlines() or [type(error).__name__])[0][:200]}); the last checkpoint is intact, and the same command goes on from it"
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def disk_failed(error: BaseException) -> bool:
    """Whether a disk is full or broken. safetensors writes its files itself, and says so in words alone."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS or type(error).__name__ == "SafetensorError" and any(f"os error {number})" in str(error) for number in DISK_ERRORS)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had: torch has no exception of its own for a CPU's, and one for a GPU's that is a RuntimeError."""
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))


def _peer_lost(error: BaseException) -> bool:
    """Whether a collective ended because another process did: gloo's errors are plain RuntimeErrors, the others come as torch.distributed.DistError."""
    if any(kind.__name__ == "DistError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error) and any(words in str(error) for words in ("closed by peer", "reset by peer", "Timed out", "Broken pipe"))
