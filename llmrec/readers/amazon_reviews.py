"""Amazon reviews and product metadata of the McAuley lab, editions 2014, 2018 and 2023.

Separate because the editions name the same things differently. A folder holds the reviews of one edition (one category or several) and, optionally, metadata:

    edition    reviews                                                         metadata (file names begin with "meta")
    2014       reviews_CATEGORY_5.json.gz                                      meta_CATEGORY.json.gz: Python literals, one a line
               reviewerID asin overall summary reviewText unixReviewTime       asin title brand categories (a list of paths)
    2018       CATEGORY_5.json.gz: the same keys, and verified                 meta_CATEGORY.json.gz: JSON
                                                                               asin title brand category (one path)
    2023       CATEGORY.jsonl.gz                                               meta_CATEGORY.jsonl.gz: JSON
               user_id parent_asin rating title text timestamp (milliseconds)  parent_asin title store categories (one path)
    2023,      CATEGORY.csv.gz                                                 the same
    5-core     user_id parent_asin rating timestamp (milliseconds)

Each may be gzipped or not. Items are the products that have a review, under the title of the metadata
(some products have none: their title is missing); brand (2023: store) and categories are attributes.
Average ratings, ranks, prices and "also bought" lists are left out: they know the test reviews. Without metadata, items is None.
What is repaired in metadata: HTML entities are decoded and blanks collapsed; page code where a title or brand should be (edition 2018) counts as
missing; where a product is listed twice, its first line is taken. Python literals are parsed, never executed.

Source: https://jmcauley.ucsd.edu/data/amazon/ (2014), https://nijianmo.github.io/amazon/ (2018), https://amazon-reviews-2023.github.io/ (2023).
Licence: no open licence is stated; research use with citation: R. He and J. McAuley, WWW 2016; J. Ni et al., EMNLP 2019; Y. Hou et al., arXiv 2403.03952.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from llmrec.readers.files import need_file, scan_table, text_lines
from llmrec.readers.raw import RawLog

OPTIONS: dict[str, str] = {}
STARS = (1.0, 2.0, 3.0, 4.0, 5.0)
ENDINGS = (".json", ".jsonl", ".csv", ".json.gz", ".jsonl.gz", ".csv.gz")
OLD_KEYS = {"reviewerID": "user_id", "asin": "item_id", "overall": "rating", "summary": "summary", "reviewText": "review", "unixReviewTime": "timestamp"}
NEW_KEYS = {"user_id": "user_id", "parent_asin": "item_id", "rating": "rating", "title": "summary", "text": "review", "timestamp": "timestamp"}
CSV_COLUMNS = {"user_id": "user_id", "parent_asin": "item_id", "rating": "rating", "timestamp": "timestamp"}
ITEM_SCHEMA = {"item_id": pl.String, "title": pl.String, "brand": pl.List(pl.String), "categories": pl.List(pl.String)}
# Metadata of 2018 holds some titles, brands and categories that are a piece of the page; its publishers name "getTime" as the mark of such a title.
PAGE_CODE = re.compile(r"getTime|</?(?:a|b|br|div|img|li|script|span|style|ul)\b")
BATCH = 50_000  # metadata lines held as Python objects at a time; the rest is in columns


def read(path: Path) -> RawLog:
    """The reviews of a folder (file after file, by name) and its products.

    Raises:
        FileNotFoundError: there is no file of reviews.
        ValueError: files of different editions, or a line that no edition has.
    """
    folder = Path(path)
    files = sorted(file for file in folder.glob("*") if file.name.endswith(ENDINGS))
    reviews = [file for file in files if not file.name.startswith("meta")]
    if not reviews:
        need_file(folder, "reviews_CATEGORY_5.json", "CATEGORY_5.json", "CATEGORY.jsonl", "CATEGORY.csv")
    editions = {file.name: _edition(file) for file in reviews}
    if len(set(editions.values())) > 1:
        raise ValueError(f"{folder} mixes editions: {', '.join(f'{name} ({edition})' for name, edition in editions.items())}; keep those of one edition")
    edition = editions[reviews[0].name]
    log = pl.concat([_scan_reviews(file, edition) for file in reviews])
    metadata = [file for file in files if file.name.startswith("meta")]
    items = log.select("item_id").unique().drop_nulls().join(_items(metadata), on="item_id", how="left") if metadata else None
    notes = {"layout": edition, "files": [file.name for file in reviews + metadata], "licence": "McAuley lab, UCSD: research use with citation"}
    return RawLog("amazon-reviews", log, items, rating_scale=STARS, notes=notes)


def _edition(path: Path) -> str:
    """Which layout a file of reviews has, from its first line."""
    first = next(text_lines(path), "")
    if path.name.endswith((".csv", ".csv.gz")):
        return "2023 5-core"
    keys = _record(first, path, 1).keys()
    if "reviewerID" in keys:
        return "2014/2018"
    if "user_id" in keys:
        return "2023"
    raise ValueError(f"{path}: the first line has the keys {', '.join(keys)}; expected reviewerID, asin, ... (2014, 2018) or user_id, parent_asin, ... (2023)")


def _scan_reviews(path: Path, edition: str) -> pl.LazyFrame:
    """The reviews of one file, values as text but for the times of 2023, which become seconds."""
    if edition == "2023 5-core":
        log = scan_table(path, CSV_COLUMNS)
    else:
        keys = OLD_KEYS if edition == "2014/2018" else NEW_KEYS
        # A key that a line lacks is null; keys that are not listed are skipped. Early 2023 lines may lack parent_asin.
        schema = dict.fromkeys([*keys, "asin"], pl.String)
        log = pl.scan_ndjson(path, schema=schema)
        if edition == "2023":
            log = log.with_columns(parent_asin=pl.coalesce("parent_asin", "asin"))
        log = log.select(pl.col(key).alias(ours) for key, ours in keys.items())
    return log if edition == "2014/2018" else log.with_columns(pl.col("timestamp").cast(pl.Float64, strict=False) / 1000)


def _items(paths: list[Path]) -> pl.LazyFrame:
    """All products of the metadata files, each once."""
    rows = (_product(_record(line, path, number)) for path in paths for number, line in enumerate(text_lines(path), start=1))
    frames = [pl.DataFrame(schema=ITEM_SCHEMA)]
    while batch := list(islice(rows, BATCH)):
        frames.append(pl.DataFrame(batch, schema=ITEM_SCHEMA, orient="row"))
    return pl.concat(frames).lazy().unique("item_id", keep="first", maintain_order=True)


def _record(line: str, path: Path, number: int) -> dict:
    """One line as a dictionary: JSON, or a Python literal as the metadata of 2014 has it."""
    try:
        record = ast.literal_eval(line) if line.startswith("{'") else json.loads(line)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path}, line {number}: neither JSON nor a Python literal ({type(error).__name__}): {line[:80]!r}; is the file complete?") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}, line {number}: expected an object with keys, got {line[:80]!r}")
    return record


def _product(record: dict) -> tuple[str | None, str | None, list[str], list[str]]:
    brand = _text(record.get("brand") or record.get("store"))
    names = (_text(name) for name in _leaves(record.get("categories") or record.get("category") or []))
    categories = list(dict.fromkeys(name for name in names if name))
    return record.get("parent_asin") or record.get("asin"), _text(record.get("title")), [brand] if brand else [], categories


def _leaves(value: object) -> Iterator[object]:
    """The words of a list, or of a list of lists."""
    for part in value if isinstance(value, list) else [value]:
        yield from _leaves(part) if isinstance(part, list) else [part]


def _text(value: object) -> str | None:
    """Words without HTML entities and doubled blanks; None for what is no text, or is page code."""
    text = " ".join(html.unescape(value).split()) if isinstance(value, str) and not PAGE_CODE.search(value) else ""
    return text or None
