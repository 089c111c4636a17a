"""Fetches public data sets from their official addresses into a folder that the reader of the set can read.

Separate because it is the only module that touches the network, and what comes from there is checked before anything is unpacked.

    fetch("ml-100k", Path("data"))  ->  data/ml-100k/u.data, u.item, u.genre, u1.base ...     for movielens
    fetch("amazon-2018:Gift_Cards", Path("data"), allow_unverified=True)                       for amazon-reviews

A checksum stands here where the source publishes one (GroupLens, NAME.zip.md5), or where the bytes are known (MovieTweetings, a fixed commit). MD5 finds a
damaged or changed file, not a forged one; the addresses are https. Where no checksum is known, `fetch` refuses unless told otherwise, and then still warns.
The licences are those the readers name: downloading is for the user to decide, and most of these sets must not be passed on.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import urllib.parse
import urllib.request
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

TIMEOUT = 60  # seconds without a byte
CHUNK = 1 << 20
SCHEMES = ("https", "file")
MAX_EXPANSION = 100  # a member that unpacks to more than this many times its archive is no data set


@dataclass(frozen=True)
class Remote:
    """One file at an official address.

    checksum: "md5:..." or "sha256:..." of the file as downloaded; None where none is published.
    members: for a zip archive, the members to take -> the file name each gets; empty: the file is kept as it is, under the name at the end of its address.
    """

    url: str
    checksum: str | None = None
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def file_names(self) -> list[str]:
        """What it leaves in the folder."""
        return list(self.members.values()) or [self.file_name]


def _grouplens(name: str, checksum: str | None, *files: str) -> tuple[Remote, ...]:
    return (Remote(f"https://files.grouplens.org/datasets/movielens/{name}.zip", checksum, {f"{name}/{file}": file for file in files}),)


FOLD_FILES = [f"{fold}.{end}" for fold in ("u1", "u2", "u3", "u4", "u5", "ua", "ub") for end in ("base", "test")]
TWEETINGS = "https://raw.githubusercontent.com/sidooms/MovieTweetings/4d8280a3f1ea83e3e23f13d1710d19f43564274f/snapshots/100K"
UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data"

SOURCES: dict[str, tuple[Remote, ...]] = {
    "ml-100k": _grouplens("ml-100k", "md5:0e33842e24a9c977be4e0107933c0723", "README", "u.data", "u.item", "u.genre", *FOLD_FILES),
    "ml-1m": _grouplens("ml-1m", "md5:c4d9eecfca2ab87c1945afe126590906", "README", "ratings.dat", "movies.dat"),
    "ml-32m": _grouplens("ml-32m", "md5:d472be332d4daa821edc399621853b57", "README.txt", "ratings.csv", "movies.csv"),
    # Rewritten by its owner from time to time, so there is no lasting checksum.
    "ml-latest-small": _grouplens("ml-latest-small", None, "README.txt", "ratings.csv", "movies.csv"),
    "movietweetings-100k": (
        Remote(f"{TWEETINGS}/ratings.dat", "sha256:c0dd868c2632d10002ebc928ddc5345f33adeaa59eca52c2941c26a2c5e36fd6"),
        Remote(f"{TWEETINGS}/movies.dat", "sha256:e63fb84bc734e3c574f135634a40d3cbafab22b8f94f5fc0b80f80d1d2076efc"),
    ),
}
# Asked for as NAME:CATEGORY, with the category as its site spells it, such as Musical_Instruments. The site publishes no checksums.
CATEGORY_SOURCES: dict[str, tuple[str, ...]] = {
    "amazon-2018": (f"{UCSD}/amazon_v2/categoryFilesSmall/{{category}}_5.json.gz", f"{UCSD}/amazon_v2/metaFiles2/meta_{{category}}.json.gz"),
    "amazon-2023-5core": (
        f"{UCSD}/amazon_2023/benchmark/5core/rating_only/{{category}}.csv.gz",
        f"{UCSD}/amazon_2023/raw/meta_categories/meta_{{category}}.jsonl.gz",
    ),
}


def fetch(name: str, folder: Path, *, allow_unverified: bool = False) -> Path:
    """The folder `folder/name` (a ":" becomes "-") with the set's files; downloads them unless all are there already.

    Files appear there only once all are downloaded, verified and unpacked. `allow_unverified` takes files whose checksum nobody published, with a warning.

    Raises:
        KeyError: an unknown name.
        ValueError: a file has no known checksum and `allow_unverified` is False (nothing was downloaded); or a checksum differs, or an archive
            lacks a file, has one twice, or unpacks to far more than it should.
        OSError: the address does not answer.
    """
    remotes = sources(name)
    target = Path(folder) / name.replace(":", "-")
    if all((target / file).is_file() for remote in remotes for file in remote.file_names):
        return target
    unverified = [remote.url for remote in remotes if remote.checksum is None]
    if unverified and not allow_unverified:
        reason = f"no checksum is known for {', '.join(unverified)}, so a changed file could not be told"
        raise ValueError(f"{name}: UNVERIFIED, {reason}; pass allow_unverified to take it as it comes")
    if unverified:
        warnings.warn(f"{name}: UNVERIFIED download, no checksum is known for {', '.join(unverified)}", stacklevel=2)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        ready = Path(scratch) / "ready"
        ready.mkdir()
        for remote in remotes:
            _get(remote, Path(scratch) / "download", ready)
        target.mkdir(exist_ok=True)
        for file in ready.iterdir():
            file.replace(target / file.name)
    return target


def sources(name: str) -> tuple[Remote, ...]:
    """The files behind a name of SOURCES, or behind NAME:CATEGORY with a name of CATEGORY_SOURCES.

    Raises:
        KeyError: an unknown name, or a category that is not letters and underscores.
    """
    if name in SOURCES:
        return SOURCES[name]
    family, _, category = name.partition(":")
    if family in CATEGORY_SOURCES and re.fullmatch(r"[A-Za-z_]+", category):
        return tuple(Remote(url.format(category=category)) for url in CATEGORY_SOURCES[family])
    known = [*SOURCES, *(f"{family}:CATEGORY" for family in CATEGORY_SOURCES)]
    raise KeyError(f"unknown data set {name!r}; available: {', '.join(known)} (CATEGORY such as Musical_Instruments)")


def _get(remote: Remote, download: Path, ready: Path) -> None:
    """Downloads to `download`, verifies, and leaves the file or the archive's members in `ready`."""
    with urllib.request.urlopen(remote.url, timeout=TIMEOUT) as response, open(download, "wb") as file:
        # A redirect may leave https, and what comes over http could be anything.
        if urllib.parse.urlsplit(response.url).scheme not in SCHEMES:
            raise ValueError(f"{remote.url} leads to {response.url}; expected an address that starts with {' or '.join(SCHEMES)}")
        _copy(response, file, remote.file_name, int(response.headers.get("Content-Length") or 0))
    if remote.checksum is not None:
        kind, _, expected = remote.checksum.partition(":")
        with open(download, "rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected:
            cause = "the file was damaged on its way or changed by its owner"
            raise ValueError(f"{remote.url}: its {kind} is {found}, expected {expected}; {cause}. Nothing was kept")
    if not remote.members:
        download.replace(ready / remote.file_name)
        return
    try:
        _unpack(download, remote, ready)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{remote.url}: what arrived is not a sound zip archive ({error}). Nothing was kept") from None


def _copy(response: BinaryIO, file: BinaryIO, label: str, total: int) -> None:
    received = 0
    with tqdm(total=total or None, unit="B", unit_scale=True, desc=label) as progress:
        while chunk := response.read(CHUNK):
            received += len(chunk)
            file.write(chunk)
            progress.update(len(chunk))
    if total and received != total:
        raise ValueError(f"{label}: {received} bytes arrived of {total}; the connection broke, try again")


def _unpack(archive: Path, remote: Remote, ready: Path) -> None:
    """Writes the expected members under the names of our own table: a name inside the archive never becomes a path."""
    limit = MAX_EXPANSION * archive.stat().st_size
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        odd = [name for name in remote.members if names.count(name) != 1]
        if odd:
            raise ValueError(f"{remote.url}: expected {', '.join(odd)} exactly once in the archive, which holds {', '.join(sorted(names)[:20])}")
        for name, file in remote.members.items():
            if opened.getinfo(name).file_size > limit:
                raise ValueError(f"{remote.url}: {name} unpacks to {opened.getinfo(name).file_size} bytes, more than {MAX_EXPANSION} times the archive")
            # zipfile stops at the declared size and checks the CRC, so a member that lies about its size fails too.
            with opened.open(name) as member, open(ready / file, "wb") as output:
                shutil.copyfileobj(member, output)
