"""Parquet files that others wrote, a batch of rows at a time.

Separate from what we write and read again ourselves: polars, which does that, ends the whole process over some damaged files, so those of unknown origin go through pyarrow, which raises and checks the
checksums of pages where there are any.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl


def columns_of(path: Path | str) -> list[str]:
    """The names of a file's columns. Raises ValueError for a file that cannot be read."""
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def batches(path: Path | str, *, rows: int, columns: Collection[str] | None = None) -> Iterator[pl.DataFrame]:
    """The file's rows, at most `rows` at a time and never none; of `columns`, where they are given, those that it has.

    Raises ValueError for a file that cannot be read, at the damage.
    """
    import pyarrow

    wanted = None if columns is None else [name for name in columns_of(path) if name in columns]
    with _opened(path) as file:
        try:
            for batch in file.iter_batches(batch_size=rows, columns=wanted):
                batch.validate(full=True)  # texts that are no UTF-8, offsets that point nowhere
                if len(batch):
                    yield pl.from_arrow(batch)
        except (pyarrow.ArrowException, OSError, MemoryError, OverflowError, pl.exceptions.PolarsError) as error:
            raise _unreadable(path, error) from None


def _opened(path: Path | str):
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
    except (pyarrow.ArrowException, OSError, MemoryError, OverflowError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(path, error) from None


def _unreadable(path: Path | str, error: BaseException) -> ValueError:
    return ValueError(f"{path} cannot be read as Parquet: {(str(error).splitlines() or [type(error).__name__])[0]}")
