"""RecBole's atomic files: tab-separated tables whose header names each field and its type.

Separate because fields carry types, which say what is one word and what is a list of words:

    NAME.inter    user_id:token    item_id:token    rating:float    timestamp:float
    NAME.item     item_id:token    movie_title:token_seq    class:token_seq    release_year:token        (optional)
    NAME.user     is not read: questions are about histories, not about demographics

Types are token (one word), token_seq (words with blanks between), float and float_seq. A field `title`, `movie_title` or `name` of the item file is the title,
kept whole; its other token fields are lists of one, its token_seq fields lists of their words (a comma behind a word is dropped); numbers are not attributes.

Source: https://recbole.io/docs/user_guide/data/atomic_files.html. Licence: that of the set the files were made from.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from llmrec.readers.files import need_file, scan_table, text_lines
from llmrec.readers.raw import RawLog

OPTIONS = {
    "name": "NAME of NAME.inter, where the folder holds several",
    "user_field": "field with the user (default user_id)",
    "item_field": "field with the item (default item_id)",
    "rating_field": "field with the rating (default rating, if there)",
    "time_field": "field with the time (default timestamp, if there)",
}
TYPES = ("token", "token_seq", "float", "float_seq")
TITLES = ("title", "movie_title", "name")


def read(
    path: Path,
    *,
    name: str | None = None,
    user_field: str = "user_id",
    item_field: str = "item_id",
    rating_field: str | None = None,
    time_field: str | None = None,
) -> RawLog:
    """The interactions of NAME.inter and, if NAME.item is there, its items.

    Raises:
        FileNotFoundError: there is no .inter file.
        ValueError: several .inter files and no `name`, a header without types, or a named field that is not there.
    """
    folder = Path(path)
    source = _inter_file(folder, name)
    fields = _fields(source)
    wanted = {user_field: "user_id", item_field: "item_id"}
    if rating_field or "rating" in fields:
        wanted[rating_field or "rating"] = "rating"
    if time_field or "timestamp" in fields:
        wanted[time_field or "timestamp"] = "timestamp"
    log = _scan(source, fields, wanted)
    stem = source.name.removesuffix(".gz").removesuffix(".inter")
    table = next((file for file in (folder / f"{stem}.item", folder / f"{stem}.item.gz") if file.is_file()), None)
    return RawLog(stem, log, _items(table, item_field) if table else None, notes={"file": source.name})


def _inter_file(folder: Path, name: str | None) -> Path:
    if name is not None:
        return need_file(folder, f"{name}.inter")
    found = sorted([*folder.glob("*.inter"), *folder.glob("*.inter.gz")])
    if not found:
        return need_file(folder, "NAME.inter")
    if len(found) > 1:
        raise ValueError(f"{folder} holds {', '.join(file.name for file in found)}; say with the option name which one to read")
    return found[0]


def _fields(path: Path) -> dict[str, str]:
    """Field name -> type, from the header."""
    header = next(text_lines(path), "")
    fields = dict(field.rpartition(":")[::2] for field in header.split("\t"))
    if not all(name and kind in TYPES for name, kind in fields.items()):
        raise ValueError(f"{path}: the header is {header[:200]!r}; expected fields such as user_id:token, with tabs between and types of {', '.join(TYPES)}")
    return fields


def _scan(path: Path, fields: dict[str, str], wanted: dict[str, str]) -> pl.LazyFrame:
    missing = [name for name in wanted if name not in fields]
    if missing:
        options = ", ".join(option for option in OPTIONS if option.endswith("_field"))
        raise ValueError(f"{path} has no field {', '.join(missing)}; it has {', '.join(fields)}. Name the right one with {options}")
    return scan_table(path, {f"{name}:{fields[name]}": ours for name, ours in wanted.items()}, "\t", None)


def _items(path: Path, item_field: str) -> pl.LazyFrame:
    fields = _fields(path)
    title = next((name for name in TITLES if name in fields), None)
    lists = {name: kind for name, kind in fields.items() if kind.startswith("token") and name not in (item_field, title)}
    frame = _scan(path, fields, {item_field: "item_id", **({title: "title"} if title else {}), **{name: name for name in lists}})
    if title is None:
        frame = frame.with_columns(title=pl.lit(None, pl.String))
    bare = pl.element().str.strip_chars_end(",")
    words = {name: pl.col(name).fill_null("").str.extract_all(r"\S+").list.eval(bare) for name, kind in lists.items() if kind == "token_seq"}
    ones = {name: pl.concat_list(name).list.drop_nulls() for name, kind in lists.items() if kind == "token"}
    return frame.with_columns(**words, **ones).select("item_id", "title", *lists)
