"""Reads a table of the user's own: CSV, TSV, JSON Lines or Parquet (the text formats also as .gz), with ids exactly as they are written.

Separate from the readers of public sets, which know one layout each; this one knows formats, and guesses nothing: "007" is not "7", and "NA" is an id.
Files are parsed once, strictly, and spooled to Parquet parts in a temporary folder (removed when the process ends; TMPDIR says where), so that memory stays bounded
and every later pass is a lazy scan. General CSV readers are not used: they fill short rows, rename duplicate columns and turn ids into numbers without a word.
"""

from __future__ import annotations

import atexit
import csv
import difflib
import gc
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import polars as pl
from tqdm import tqdm

from llmrec.interactions import OPTIONAL
from llmrec.parquet import batches, columns_of
from llmrec.readers.raw import RawLog

IDS = ("user_id", "item_id")
VALUES = ("event", *OPTIONAL, "part")
STANDARD = (*IDS, *VALUES, "title")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = ".parquet"
ROWS_PER_PART = 200_000
BLOCK_BYTES = 1 << 22
MAX_LINE_BYTES = 1 << 24  # a longer line is a damaged file, and would be held in memory whole
MAX_EXPANSION, SMALL = 100, 1 << 24  # a packed text beyond this many times its size, and not small, is no log
MAX_SOURCE_CHARACTERS = 1000  # of a rejected line


def read(interactions: Path, items: Path | None = None, *, columns: Mapping[str, str] = MappingProxyType({}), order: str | None = None, context: tuple[str, ...] = (), spool: Path | None = None) -> RawLog:
    """The raw log of one interactions file and, where there is one, of one items file.

    Where FILE.sha256 stands beside a file, as sha256sum writes it, the file is checked against it: a flipped bit can give other rows without any other sign.

    columns: standard name -> the file's own name ({"user_id": "UserID"}); `order` names the column to sort by within a user where there are no times;
    `context` the further columns to keep; `spool` an empty folder for the rows, on a disk with room for them, that stays as long as the log is read (default a temporary one, removed when the process ends). Other columns of the interactions are left behind; every other column of the items is an attribute.
    Notes of the log, where there are any: `mended`, the `blank_lines` left out and, in files that end lines both ways, the `crlf_lines`.
    A JSON integer is an id by its digits; a JSON float or boolean as an id, a key that stands twice, a nested value and a line that is no JSON object become rejected rows.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file cannot be read as what its name says, has no rows, lacks a column, or has a row of another width; names file and, where known, line.
    """
    unknown = sorted(set(columns) - {*STANDARD, *context})
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a name columns can be mapped to; expected one of {', '.join((*STANDARD, *context))}")
    clash = sorted(set(context) & {*STANDARD, "order"})
    if clash:
        raise ValueError(f"context column {clash[0]!r} has a meaning of its own; leave it out of the context")
    named = {**{name: columns.get(name, name) for name in (*IDS, *VALUES, *context)}, **({"order": order} if order else {})}
    required = [*IDS, *context, *(["order"] if order else []), *(name for name in columns if name in VALUES)]
    for path in filter(None, (interactions, items)):
        _verify(Path(path))
    mended: Counter[str] = Counter()
    if spool is None:
        spool = Path(tempfile.mkdtemp(prefix="llmrec-table-"))
        atexit.register(shutil.rmtree, spool, ignore_errors=True)
    log = _scan(Path(interactions), named, required, mended, spool / "interactions")
    catalogue = None if items is None else _scan_items(Path(items), columns, mended, spool / "items")
    return RawLog(name=Path(interactions).name.split(".")[0], interactions=log, items=catalogue, context=tuple(context), notes={"mended": dict(mended)} if mended else {})


def _scan(path: Path, named: Mapping[str, str], required: Iterable[str], mended: Counter[str], spool: Path) -> pl.LazyFrame:
    """The interactions of a file under their standard names, with the columns of `named` that are there."""
    suffix = _suffix(path)
    wanted = frozenset(named.values())
    if suffix == PARQUET:
        _require(path, columns_of(path), [named[name] for name in required])
        frame = _spool(spool, path, batches(path, rows=ROWS_PER_PART, columns=wanted))
        schema = frame.collect_schema()
        return frame.select(_parquet_column(path, name, own, schema[own]) for name, own in named.items() if own in schema)
    if suffix in JSON_LINES:
        frame = _spool(spool, path, _json_batches(path, wanted, mended, ids={named[name] for name in IDS}))
    else:
        frame = _spool(spool, path, _csv_batches(path, SEPARATORS[suffix], wanted, [named[name] for name in required], mended))
    found = frame.collect_schema().names()
    _require(path, found, [named[name] for name in required])
    return frame.select(*(pl.col(own).alias(name) for name, own in named.items() if own in found), *(pl.col(name) for name in ("fault", "source") if name in found))


def _scan_items(path: Path, columns: Mapping[str, str], mended: Counter[str], spool: Path) -> pl.LazyFrame:
    """The items of a file: item_id, title where there is one, and every other column as an attribute."""
    suffix = _suffix(path)
    if suffix == PARQUET:
        frame = _spool(spool, path, batches(path, rows=ROWS_PER_PART))
        schema = frame.collect_schema()
        names = list(schema)
    else:
        own_id = columns.get("item_id", "item_id")
        frame = _spool(spool, path, _json_batches(path, None, mended, ids={"item_id", own_id}) if suffix in JSON_LINES else _csv_batches(path, SEPARATORS[suffix], None, [], mended))
        names = frame.collect_schema().names()
        schema = {name: pl.String() for name in names}
    # The interactions' name of a column is taken where the items have it too; else the standard name.
    own = {name: columns[name] if columns.get(name) in names else name for name in ("item_id", "title")}
    _require(path, names, [own["item_id"]])
    renamed = {own[name]: name for name in own if own[name] in names}
    return frame.select(_parquet_column(path, renamed.get(name, name), name, schema[name]) for name in names)


def _verify(path: Path) -> None:
    told = path.with_name(f"{path.name}.sha256")
    if not (os.path.isfile(told) and path.is_file()):  # os.path's does not mind that the longer name may be too long
        return
    expected = (told.read_text(encoding="utf-8").split() or [""])[0].lower()
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(f"{path} has the SHA-256 {found}, {told.name} says {expected or 'nothing'}: the file is damaged or another one. Fetch it again, or remove {told.name}")


def _suffix(path: Path) -> str:
    known = (*SEPARATORS, *JSON_LINES, PARQUET)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; expected a file ending in one of {', '.join(known)}")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; expected one ending in one of {', '.join(known)}")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2 if packed else -1] if len(suffixes) > packed else ""
    if suffix not in known or (packed and suffix == PARQUET):
        raise ValueError(f"{path} ends in {''.join(suffixes[-2:]) or 'nothing'!r}; expected {', '.join(known)} (the text ones also as .gz)")
    return suffix


def _require(path: Path, found: Iterable[str], required: Iterable[str]) -> None:
    found = list(found)
    for name in required:
        if name in found:
            continue
        near = difflib.get_close_matches(name.lower(), [column.lower() for column in found], n=1)
        nearest = next((column for column in found if near and column.lower() == near[0]), None)
        joined = next((mark for mark in (";", "\t", "|", ",") if len(found) == 1 and mark in found[0]), None)
        advice = ""
        if joined:
            advice = f"; is {joined!r} its separator? A .csv file has commas, a .tsv file tabs"
        elif nearest:
            advice = f"; did you mean {nearest!r}? Say so with --map {name}={nearest}"
        raise ValueError(f"{path} has no column {name!r}; its columns: {', '.join(map(repr, found))}{advice}")


def _spool(folder: Path, path: Path, found: Iterable[pl.DataFrame]) -> pl.LazyFrame:
    """The frames as one lazy frame over Parquet parts on disk, in their order; a column some batches lack is null there."""
    folder.mkdir()
    parts = []
    collecting = gc.isenabled()
    gc.disable()  # millions of short-lived lists make the cycle collector run over and over; without it reading takes half the time
    try:
        for number, batch in enumerate(found):
            parts.append(folder / f"{number:06d}.parquet")
            batch.write_parquet(parts[-1], compression="lz4")
    finally:
        if collecting:
            gc.enable()
    if not parts:
        raise ValueError(f"{path} has no rows; expected at least one")
    return pl.concat([pl.scan_parquet(part) for part in parts], how="diagonal")


def _csv_batches(path: Path, separator: str, wanted: frozenset[str] | None, required: Iterable[str], mended: Counter[str]) -> Iterator[pl.DataFrame]:
    rows = csv.reader(_lines(path, mended), delimiter=separator, strict=True)
    csv.field_size_limit(MAX_LINE_BYTES)
    header = next(iter(_csv_rows(path, rows, 1)), None)
    if not header:
        raise ValueError(f"{path} {'is empty' if header is None else 'starts with an empty line'}; expected a header with the names of its columns")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has the column {twice[0]!r} twice; rename or remove one")
    _require(path, header, required)
    kept = [(place, name) for place, name in enumerate(header) if wanted is None or name in wanted]
    while batch := _csv_rows(path, rows, ROWS_PER_PART):
        if {*map(len, batch)} != {len(header)}:
            filled = [row for row in batch if row]  # a blank line is no row
            mended.update(blank_lines=len(batch) - len(filled))
            batch = filled
            if any(len(row) != len(header) for row in batch):
                raise ValueError(_wrong_width(path, separator, len(header)))
        values = list(zip(*batch, strict=True))
        yield pl.DataFrame({name: pl.Series(name, values[place], dtype=pl.String) for place, name in kept if values})


def _csv_rows(path: Path, rows: Iterator[list[str]], count: int) -> list[list[str]]:
    try:
        return list(islice(rows, count))
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}; expected fields quoted as in RFC 4180 and rows ended by a newline") from None


def _wrong_width(path: Path, separator: str, width: int) -> str:
    """The message for the first row that is not `width` fields wide: read once more, for its line number."""
    rows = csv.reader(_lines(path, Counter()), delimiter=separator, strict=True)
    row = next(row for row in rows if row and len(row) != width)
    return f"{path}, line {rows.line_num}: the row has {len(row)} fields, the header {width}; mend the row (a field with {separator!r} in it needs quotes)"


class _DuplicateKey(ValueError):
    """An object has one key twice: readers differ on which counts, so the row is rejected."""


class _Integer(str):
    """A JSON integer by its digits."""


class _Float(str):
    """A JSON number with a fraction or an exponent, as it is written."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _DuplicateKey
    return record


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_Integer, parse_float=_Float, parse_constant=_no_constant)


def _json_batches(path: Path, wanted: frozenset[str] | None, mended: Counter[str], *, ids: set[str]) -> Iterator[pl.DataFrame]:
    """Frames with the wanted columns of each object, and `fault` and `source` where rows are rejected. None wants all columns of a file (the items) in which no row may be rejected."""
    lines = enumerate(_lines(path, mended), start=1)
    while batch := list(islice(lines, ROWS_PER_PART)):
        records = []
        for number, line in batch:
            if not line.strip():
                mended.update(blank_lines=1)
                continue  # a blank line is no row
            record, reason = _record(path, number, line, wanted, ids)
            if reason and wanted is None:
                raise ValueError(f"{path}, line {number}: {reason}; expected one JSON object of texts, numbers and lists of texts")
            records.append({"fault": reason, "source": line.rstrip("\r\n")[:MAX_SOURCE_CHARACTERS]} if reason else record)
        if records:
            names = list({name: None for record in records for name in record})
            yield pl.from_dicts(records, schema={name: pl.String for name in names})


def _record(path: Path, number: int, line: str, wanted: frozenset[str] | None, ids: set[str]) -> tuple[dict[str, str | None], str | None]:
    """One line as column -> text, and the reason code if it has to be rejected."""
    try:
        record = _JSON.decode(line)
    except _DuplicateKey:
        return {}, "duplicate_key"
    except (ValueError, RecursionError):
        if number == 1 and line.lstrip()[0] == "[":
            raise ValueError(f"{path} is a JSON array; expected JSON Lines: one object on each line") from None
        if not line.endswith("\n"):
            raise ValueError(f"{path}, line {number}: the last line is cut short; expected a whole JSON object. Fetch the file again or remove the line") from None
        return {}, "bad_json"
    if type(record) is not dict:
        return {}, "bad_json"
    values: dict[str, str | None] = {}
    for name, value in record.items():
        if wanted is not None and name not in wanted:
            continue
        kind = type(value)
        if kind is _Float or kind is bool:
            if name in ids:
                return {}, "ambiguous_id"
            value = value if kind is _Float else str(value).lower()
        elif kind is list and wanted is None and all(isinstance(part, str) for part in value):
            value = "|".join(value)  # lists are what attributes of items are made of; a column of the log holds one value
        elif kind is dict or kind is list:
            return {}, "nested_value"
        values[name] = value
    if "\\u" in line and any("\ud800" <= character <= "\udfff" for value in values.values() if value for character in value):
        return {}, "lone_surrogate"
    return values, None


def _lines(path: Path, mended: Counter[str]) -> Iterator[str]:
    """The lines of a UTF-8 file with their newline, split at newline bytes only: a title may hold U+2028. A byte order mark at the start is dropped; `crlf_lines` are counted in `mended`, at the end, where others end in LF."""
    try:
        before = path.stat()
        with open(path, "rb") as raw, tqdm(total=before.st_size, desc=f"reading {path.name}", unit="B", unit_scale=True, disable=None, leave=False) as progress:
            stream = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
            number, rest, unpacked, crlf = 1, b"", 0, 0
            while block := stream.read(BLOCK_BYTES):
                progress.update(raw.tell() - progress.n)
                if raw.tell() > before.st_size:  # somebody writes as fast as we read: told below
                    break
                unpacked += len(block)
                if unpacked > max(SMALL, MAX_EXPANSION * raw.tell()):
                    raise ValueError(f"{path} unpacks to more than {MAX_EXPANSION} times its size; unpack it yourself if that is right, and give the plain file")
                if number == 1 and not rest:
                    block = _first_block(path, block)
                block = rest + block
                end = block.rfind(b"\n") + 1
                if (block.find(b"\n") if end else len(block)) > MAX_LINE_BYTES:  # only the first line can have begun in an earlier block
                    raise ValueError(f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes; expected rows ended by a newline")
                block, rest = block[:end], block[end:]
                crlf += block.count(b"\r\n")
                lines = _decode(path, block, number).split("\n")
                number += len(lines) - 1
                for line in lines[:-1]:
                    yield line + "\n"
            if rest:
                yield _decode(path, rest, number)
            if 0 < crlf < number - 1:
                mended.update(crlf_lines=crlf)
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ValueError(f"{path} changed while it was read; wait until nobody writes to it")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); fetch it again") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); mend its permissions or its disk, or copy it elsewhere") from None


def _first_block(path: Path, block: bytes) -> bytes:
    if block[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{path} is UTF-16; expected UTF-8. Convert it: iconv -f UTF-16 -t UTF-8")
    if b"\0" in block[: block.find(b"\n")]:
        raise ValueError(f"{path} has zero bytes in its first line: it is UTF-16 or no text; expected UTF-8 text")
    return block.removeprefix(b"\xef\xbb\xbf")


def _decode(path: Path, block: bytes, number: int) -> str:
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + block[: error.start].count(b"\n")
        raise ValueError(f"{path}, line {line}: byte 0x{block[error.start]:02x} is not UTF-8; expected UTF-8. Convert it, such as from Latin-1: iconv -f LATIN1 -t UTF-8") from None


def _parquet_column(path: Path, name: str, own: str, kind: pl.DataType) -> pl.Expr:
    """A column under its standard name: ids, words and attributes as text, numbers as they are, times as ISO text."""
    column = pl.col(own)
    if isinstance(kind, (pl.Datetime, pl.Date)):
        column = column.cast(pl.Datetime("us", getattr(kind, "time_zone", None)))
        if getattr(kind, "time_zone", None):
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f").alias(name)
    if isinstance(kind, pl.List) and name not in STANDARD:
        return column.cast(pl.List(pl.String)).alias(name)
    if kind.is_nested() or isinstance(kind, (pl.Binary, pl.Object)):
        raise ValueError(f"{path}: column {own!r} is {kind}; expected text or numbers")
    if name in IDS and not (kind.is_integer() or isinstance(kind, (pl.String, pl.Categorical, pl.Enum, pl.Null))):
        raise ValueError(f"{path}: column {own!r} is {kind}, where 7 and 7.0 cannot be told apart as ids; expected text or integers. Cast it to text first")
    if name in ("timestamp", "rating", "order") and kind.is_numeric() and not isinstance(kind, pl.Float32):
        return column.alias(name)
    # Through text a Float32 keeps its written value: 4.3 is 4.3, not 4.300000190734863.
    return column.cast(pl.String).alias(name)
