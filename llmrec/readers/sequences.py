"""Sequences of items without times: the text files of S3-Rec, SASRec and P5, and the Parquet of amazon-beauty-p5.

Separate because here the order of the file is all there is. One rule reads the three text formats: a line is a user and what the user took next.

    S3-Rec, P5        SASRec       amazon-beauty-p5
    1 34 12 7         1 34         interactions.parquet   reviewerID, pos, asin, split
    2 12 9            1 12         items.parquet          asin, title, attributes
                      1 7
                      2 12 ...

Beside a text file may stand, all optional:
    datamaps.json                     P5: "id2user" and "id2item" give the ids of the source back, "id2attribute" the attributes' names
    NAME_item2attributes.json         S3-Rec, for NAME.txt: {"34": [5, 8], ...}
    items.csv, .parquet, .jsonl, .json     item_id, title and attribute columns (lists split at "|"); JSON is a list of records, or {item_id: title or record}

Items in these tables are named as in the text file, or by the ids of the source. The numbers of S3-Rec and P5 follow the order of first appearance, test
items included: they are opaque ids here, and must never be read as an order. The text files are unsplit; the Parquet brings its leave-one-out split.

Sources: K. Zhou et al., S3-Rec, CIKM 2020 (RUCAIBox/CIKM2020-S3Rec); W.-C. Kang and J. McAuley, SASRec, ICDM 2018 (kang205/SASRec);
S. Geng et al., P5, RecSys 2022 (jeykigung/P5).
Licence: the Amazon files hold Amazon product data 2014 (McAuley lab, UCSD): research use with citation, no open licence stated.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from llmrec.readers.files import find_file, need_file, scan_table, text_lines
from llmrec.readers.raw import RawLog

OPTIONS = {
    "file": "name of the text file, where the folder holds several",
    "items": "name of the file with item_id, title and attributes (default: items.csv, .parquet, .jsonl or .json, if there)",
}
SEQUENCE_FILES = ("sequential_data.txt", "sequential.txt")
ITEM_FILES = ("items.csv", "items.parquet", "items.jsonl", "items.json")


def read(path: Path, *, file: str | None = None, items: str | None = None) -> RawLog:
    """The sequences of a folder (or of one text file), `order` counting up within each user.

    A line with a user alone gives one row without an item.

    Raises:
        FileNotFoundError: no sequences, or a named file is missing.
        ValueError: several text files and no `file`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the folder of the sequences, or their text file")
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and file is None and find_file(folder, "interactions.parquet"):
        return _read_parquet(folder)
    source = path if path.is_file() else _text_file(folder, file)
    log = _scan_sequences(source)
    table = need_file(folder, items) if items else find_file(folder, *ITEM_FILES)
    attributes = find_file(folder, f"{source.name.removesuffix('.gz').removesuffix('.txt')}_item2attributes.json")
    maps_file = find_file(folder, "datamaps.json")
    maps = json.loads("".join(text_lines(maps_file))) if maps_file else {}
    catalog = _items(table, attributes, maps.get("id2attribute", {}))
    if "id2user" in maps:
        log = log.with_columns(pl.col("user_id").replace(maps["id2user"]))
    if "id2item" in maps:
        log = log.with_columns(pl.col("item_id").replace(maps["id2item"]))
        catalog = catalog.with_columns(pl.col("item_id").replace(maps["id2item"])) if catalog is not None else None
    return RawLog(source.name.split(".")[0], log, catalog, notes={"layout": "text", "file": source.name, "ids_mapped": "id2item" in maps})


def _read_parquet(folder: Path) -> RawLog:
    columns = {"reviewerID": "user_id", "asin": "item_id", "pos": "order", "split": "part"}
    log = scan_table(need_file(folder, "interactions.parquet"), columns)
    items = scan_table(need_file(folder, "items.parquet"), {"asin": "item_id", "title": "title", "attributes": "attributes"})
    return RawLog("amazon-beauty-p5", log, items, notes={"layout": "parquet", "licence": "Amazon product data 2014, McAuley lab: research use with citation"})


def _text_file(folder: Path, name: str | None) -> Path:
    if name is not None:
        return need_file(folder, name)
    known = find_file(folder, *SEQUENCE_FILES)
    found = [known] if known else sorted([*folder.glob("*.txt"), *folder.glob("*.txt.gz")])
    if not found:
        return need_file(folder, "interactions.parquet", *SEQUENCE_FILES, "NAME.txt")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{folder} holds {len(found)} text files ({names}); say with the option file which one the sequences are")
    return found[0]


def _scan_sequences(path: Path) -> pl.LazyFrame:
    """user_id, item_id, order (row number in the exploded file, so counting up within each user, also where a user stands on many lines)."""
    words = pl.scan_lines(path).select(words=pl.col("line").str.extract_all(r"\S+")).filter(pl.col("words").list.len() > 0)
    pairs = words.select(user_id=pl.col("words").list.first(), item_id=pl.col("words").list.slice(1)).explode("item_id", empty_as_null=True)
    return pairs.with_row_index("order")


def _items(table: Path | None, attributes: Path | None, names: dict[str, str]) -> pl.LazyFrame | None:
    """The item table, the attributes of S3-Rec, or both; `names` gives the attributes' words."""
    frame = _item_table(table) if table else None
    if attributes is None:
        return frame
    lists = json.loads("".join(text_lines(attributes)))
    words = [[names.get(str(number), str(number)) for number in numbers] for numbers in lists.values()]
    tags = pl.LazyFrame({"item_id": list(lists), "attributes": words}, schema={"item_id": pl.String, "attributes": pl.List(pl.String)})
    return tags.with_columns(title=pl.lit(None, pl.String)) if frame is None else frame.join(tags, on="item_id", how="full", coalesce=True)


def _item_table(path: Path) -> pl.LazyFrame:
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        frame = pl.scan_parquet(path)
    elif kind == "csv":
        frame = pl.scan_csv(path, infer_schema=False)
    elif kind in ("json", "jsonl"):
        frame = _records(path, kind)
    else:
        raise ValueError(f"{path}: item tables are .csv, .parquet, .jsonl or .json")
    there = frame.collect_schema()
    missing = [name for name in ("item_id", "title") if name not in there]
    if missing:
        raise ValueError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(there)}")
    as_text = [pl.col(name).cast(pl.List(pl.String) if isinstance(kind, pl.List) else pl.String) for name, kind in there.items()]
    return frame.with_columns(as_text).select("item_id", "title", pl.exclude("item_id", "title"))


def _records(path: Path, kind: str) -> pl.LazyFrame:
    """The records of a JSON file; a mapping's keys are item ids, and its values titles or records."""
    content = [json.loads(line) for line in text_lines(path)] if kind == "jsonl" else json.loads("".join(text_lines(path)))
    if isinstance(content, dict):
        content = [{"item_id": item_id, **(value if isinstance(value, dict) else {"title": value})} for item_id, value in content.items()]
    # Numbers are taken by their spelling: an id 7 and an id "7" are one item, as they are in the text file.
    rows = [{name: str(value) if isinstance(value, (int, float)) else value for name, value in record.items()} for record in content]
    return pl.LazyFrame(rows, infer_schema_length=None)
