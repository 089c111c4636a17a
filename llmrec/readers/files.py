"""The files of a data folder: found by name, opened plain or gzipped, scanned as text.

Separate from the readers, so that each of them says only what its files mean, and a missing file or column is named the same way by all.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of these files that stands in the folder, plain or with `.gz` behind its name; None where there is none of them."""
    for name in names:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


def need_file(folder: Path, *names: str) -> Path:
    """The first of these files that stands in the folder, plain or with `.gz` behind its name.

    Raises:
        FileNotFoundError: none of them is there.
    """
    found = find_file(folder, *names)
    if found is None:
        state = f"the folder {folder} has none of them" if folder.is_dir() else f"{folder} is not a folder"
        raise FileNotFoundError(f"expected the file {' or '.join(names)} (or the same with .gz): {state}; give the folder that holds the data set's own files")
    return found


def text_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a file, plain or gzipped, without their line ends; empty lines are left out.

    Only "\\n" ends a line (a title may hold U+2028); a "\\r" before it is dropped.

    Raises:
        ValueError: a byte is not of this encoding.
    """
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")
    with opened as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.rstrip(b"\r\n").decode(encoding)
            except UnicodeDecodeError as error:
                place = f"{error.reason} at byte {error.start} of the line"
                raise ValueError(f"{path}, line {number}: not {encoding} text ({place}); convert the file first") from None
            if text:
                yield text


def scan_fields(path: Path, separator: str, names: Sequence[str]) -> pl.LazyFrame:
    """The lines of a file without header as String columns, split at `separator`, which may be longer than one character; nothing is quoted.

    A short line has nulls at its end, a long one keeps the rest in its last column, so that the checks behind the reader find both.
    """
    parts = pl.col("line").str.splitn(separator, len(names)).struct.rename_fields(list(names))
    return pl.scan_lines(path).filter(pl.col("line").str.strip_chars() != "").select(parts).unnest("line")


def scan_table(path: Path, columns: Mapping[str, str], separator: str = ",", quote: str | None = '"') -> pl.LazyFrame:
    """The named columns of a Parquet file or of a text table with a header, renamed, in the order of `columns` (name in the file -> our name).

    Columns of a text table are String, as written; those of a Parquet file keep their types.

    Raises:
        ValueError: the file lacks one of the columns.
    """
    frame = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path, separator=separator, quote_char=quote, infer_schema=False)
    there = frame.collect_schema().names()
    missing = [name for name in columns if name not in there]
    if missing:
        raise ValueError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(there)}. Is it the file its name says?")
    return frame.select(pl.col(name).alias(ours) for name, ours in columns.items())
