"""A file of results that a crash cannot spoil: rows are kept as they come, the file takes its name when it is whole, and the same command goes on behind the last whole row.

Separate from `generate`, which makes the rows. Beside NAME stand, while it is made, .part-NAME (the rows so far) and .key-NAME.json (what they answer: model, input, flags); .key-NAME.json stays.

    .key-NAME.json, fsync -> rows behind .part-NAME, fsync now and then -> rename to NAME        the same key again: nothing to do
                                        ^ killed here: cut the torn row, count the others, go on behind them        another key: refused
"""

from __future__ import annotations

import errno
import glob
import json
import os
from collections.abc import Mapping
from pathlib import Path

from llmrec.publishing import sole_writer

encode = json.JSONEncoder(ensure_ascii=False).encode
"""A row as the line of a file."""


class OtherRun(ValueError):
    """The rows so far belong to another model, input or flags."""


class ResultFile:
    """JSON Lines, or Parquet that is made of them, at `path`. Another process that would write the same file is refused.

    key: what the rows answer; None: something that cannot be asked again, so that nothing is gone on from, and nothing is left behind where it fails.
    finished: `path` is whole already, and answers this key.   rows: how many rows an earlier run has left, behind which this one goes on.

    Raises:
        OtherRun: there are rows of another key; names what differs.
        BlockingIOError: another process writes this file.
    """

    def __init__(self, path: Path, key: Mapping[str, object] | None):
        self.path, self.key = Path(path), json.loads(json.dumps(key))
        self.part, self.about = (self.path.with_name(name) for name in (f".part-{self.path.name}", f".key-{self.path.name}.json"))
        self._lock = sole_writer(self.about, of=self.path)
        self._lock.seek(0)
        try:
            before = json.loads(self._lock.read() or "null")
        except ValueError:
            before = None
        self.finished = self.key is not None and before == self.key and self.path.exists() and not self.part.exists()
        self.rows = 0
        if self.finished:
            return
        if before is None or self.key is None:
            self.part.unlink(missing_ok=True)  # rows of who knows what
        elif self.part.exists() and before != self.key:
            changed = "; ".join(f"{name}: {before.get(name)!r} -> {value!r}" for name, value in self.key.items() if before.get(name) != value)
            self._lock.close()
            raise OtherRun(f"{self.part} holds the rows of another run ({changed}); remove it to begin again, or name another output")
        if before != self.key:
            self._lock.truncate(0)
            self._lock.write(json.dumps(self.key) + "\n")
            self._lock.flush()
            os.fsync(self._lock.fileno())
        self.rows = _whole_rows(self.part)
        self.file = open(self.part, "ab")

    def write(self, answer: Mapping[str, object]) -> None:
        """One row."""
        self.file.write(encode(answer).encode() + b"\n")

    def keep(self) -> None:
        """Brings the rows so far to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if self.finished:
                return
            with self.file:
                self.keep()
            if kind is None:
                self._publish()
        finally:
            if self.key is None:
                for path in (self.part, self.about):
                    path.unlink(missing_ok=True)
            self._lock.close()

    def _publish(self) -> None:
        if self.path.suffix == ".parquet":
            columns = self.path.with_name(f".columns-{self.path.name}")
            try:
                _to_parquet(self.part, columns)
            except BaseException:
                columns.unlink(missing_ok=True)
                raise
            os.replace(columns, self.path)
            self.part.unlink()
        else:
            os.replace(self.part, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _whole_rows(part: Path) -> int:
    """How many rows a file holds, after what is torn at its end is cut: the bytes behind the last newline, and last lines that are no JSON."""
    if not part.exists():
        return 0
    with open(part, "rb+") as file:
        rows, end, last = 0, 0, (0, b"")
        for line in file:
            if not line.endswith(b"\n"):
                break
            rows, last = rows + 1, (end, line)
            end += len(line)
        if rows:
            try:
                json.loads(last[1])
            except ValueError:
                rows, end = rows - 1, last[0]
        file.truncate(end)
        os.fsync(file.fileno())
    return rows


def _to_parquet(lines: Path, columns: Path) -> None:
    """Results as columns: every field that one of them has. In a stream, so that a large file fits."""
    import polars as pl

    if lines.stat().st_size:
        frame = pl.scan_ndjson(glob.escape(str(lines)), infer_schema_length=None)
    else:
        frame = pl.LazyFrame(schema={"id": pl.String, "task": pl.String})
    try:
        with open(columns, "wb") as file:
            frame.sink_parquet(file)
            file.flush()
            os.fsync(file.fileno())
    except pl.exceptions.PolarsError as error:  # which is how a full disk is told, too
        full = "os error 28" in str(error) or "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, f"the results cannot be written as Parquet ({error}); the rows are kept in {lines}", str(columns)) from None
