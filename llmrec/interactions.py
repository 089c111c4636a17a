"""The event log and the catalogue: the first nouns of the data path.

Separate from the readers, so that everything after them knows one shape of data, whatever files it came from.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

TRAIN, VALID, TEST = "train", "valid", "test"
PARTS = (TRAIN, VALID, TEST)
IMPRESSION = "impression"
LEADING = {"purchase": ("click", "cart")}
"""Events behind which a log answers whether another one follows."""
FORMAT = 1

REQUIRED = {"user_id": pl.String, "item_id": pl.String, "position": pl.Int64, "event": pl.String, "part": pl.String}
UNTITLED = "untitled"
"""What an item without a title is called."""
OPTIONAL = {
    "timestamp": pl.Float64,
    "rating": pl.Float64,
    "click": pl.Int8,
    "purchase": pl.Int8,
    "review": pl.String,
    "summary": pl.String,
    "query": pl.String,
    "scenario": pl.String,
    "person": pl.String,
}


class Event(NamedTuple):
    """One event of a user's history, as a request gives it and as a prompt shows it. `timestamp` is in seconds since 1970 UTC.

    seen: whether its item counts as had, which filters of seen items leave out: not so after an auxiliary event, such as a cart beside purchases.
    """

    item_id: str
    rating: float | None = None
    timestamp: float | None = None
    event: str | None = None
    context: Mapping[str, str] | None = None
    seen: bool = True


FOLDS = 5
"""Folds of users: the vectors that training tells of others are fitted without the fold of the user they are told to."""


def fold_of(user_id: str) -> int:
    """The fold of a user, from 0 to FOLDS - 1: the same in every run, whoever else is in the log."""
    return zlib.crc32(user_id.encode()) % FOLDS


@dataclass(frozen=True)
class Interactions:
    """The event log, one row an event, sorted by (user_id, position).

    `frame` has the columns of REQUIRED, those of OPTIONAL the data offers, and one String column for each name in `context`.
    `person`, where the log has it, says whose log a row is of, if users are pieces of one (sessions): intervals and figures by user then count persons.
    `position` is the row's place (0-based) in its user's timeline: by time, equal times in file order. `part` is train, valid or test.

    `ordering` says what the positions mean: "timestamp", "order" (a sequence without times) or "none" (a set: file order, no task may rely on it).
    `positive` names the events that make a user's stream; empty: every event but impression. `auxiliary` names events that stand in the stream, too, but are never asked about.
    """

    frame: pl.DataFrame
    ordering: str = "timestamp"
    positive: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()

    def __post_init__(self):
        missing = [name for name in REQUIRED if name not in self.frame.columns]
        if missing:
            raise ValueError(f"interactions lack the columns {missing}; got {self.frame.columns}")
        if self.ordering not in ("timestamp", "order", "none"):
            raise ValueError(f"ordering is {self.ordering!r}; expected 'timestamp', 'order' or 'none'")
        if self.auxiliary and (not self.positive or set(self.auxiliary) & set(self.positive)):
            raise ValueError(f"auxiliary events are {', '.join(self.auxiliary)}, positive ones {', '.join(self.positive) or 'all but impression'}; expected positive ones to be named, and none to be both")

    def __len__(self) -> int:
        return len(self.frame)

    def has(self, column: str) -> bool:
        """Whether the log offers this column with at least one value."""
        return column in self.frame.columns and self.frame[column].null_count() < len(self.frame)

    def part(self, *names: str) -> Interactions:
        """The rows of these parts, as a new Interactions."""
        return replace(self, frame=self.frame.filter(pl.col("part").is_in(list(names))))

    @property
    def is_positive(self) -> pl.Expr:
        """A polars expression: the row is an event of the user's stream that may be asked about."""
        return pl.col("event").is_in(list(self.positive)) if self.positive else pl.col("event") != IMPRESSION

    @property
    def is_shown(self) -> pl.Expr:
        """A polars expression: the row is an event of the user's stream, asked about or auxiliary."""
        return self.is_positive | pl.col("event").is_in(list(self.auxiliary))


@dataclass(frozen=True)
class Catalog:
    """The items: `frame` has item_id, title (String) and attribute columns (List[String], possibly empty lists). An item's row is its place here.

    Rows are in a seeded shuffle made by the reader, so that a row number tells nothing about time or popularity.
    """

    frame: pl.DataFrame

    def __post_init__(self):
        if self.frame["item_id"].n_unique() != len(self.frame):
            raise ValueError("an item_id stands twice in the catalogue; each item needs one row")

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def item_ids(self) -> list[str]:
        return self.frame["item_id"].to_list()

    @cached_property
    def titles(self) -> list[str]:
        return self.frame["title"].fill_null("").to_list()

    @cached_property
    def rows(self) -> dict[str, int]:
        """item_id -> row."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(name for name in self.frame.columns if name not in ("item_id", "title"))

    @cached_property
    def attribute_values(self) -> dict[str, list[list[str]]]:
        """attribute -> for each row the list of its values."""
        return {name: [list(values or ()) for values in self.frame[name].to_list()] for name in self.attributes}

    @cached_property
    def texts(self) -> list[str]:
        """Each item's own words: its title and attribute values."""
        values = self.attribute_values
        return [" ".join([title, *(value for name in values for value in values[name][row])]) for row, title in enumerate(self.titles)]

    @cached_property
    def holders(self) -> dict[str, dict[str, list[int]]]:
        """attribute -> value -> the rows that have it."""
        found: dict[str, dict[str, list[int]]] = {}
        for name, rows in self.attribute_values.items():
            by_value = found.setdefault(name, {})
            for row, values in enumerate(rows):
                for value in values:
                    by_value.setdefault(value, []).append(row)
        return found

    def row(self, item_id: str) -> int:
        """The row of this item. Raises KeyError for an item the catalogue does not hold."""
        try:
            return self.rows[item_id]
        except KeyError:
            raise KeyError(f"unknown item {item_id!r}: the catalogue has {len(self)} items, such as {self.item_ids[:3]}") from None

    def save(self, path: Path) -> None:
        self.frame.write_parquet(path)

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Raises FileNotFoundError where there is no such file, ValueError where it is damaged."""
        try:
            return cls(pl.read_parquet(path))
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from None


@dataclass(frozen=True)
class Corpus:
    """A prepared data set: the split log, its catalogue, and what was declared about them.

    `rating_scale` is ascending, from train (empty: no ratings). `like_threshold`: a rating at or above it counts as a click (None: clicks are not derived).
    `split` holds the rule and its settings, such as {"rule": "leave_one_out"}; `report` what prepare counted (rows read, kept, merged, quarantined, reasons, audit).
    """

    name: str
    interactions: Interactions
    catalog: Catalog
    rating_scale: tuple[float, ...] = ()
    like_threshold: float | None = None
    split: Mapping[str, object] = field(default_factory=dict)
    report: Mapping[str, object] = field(default_factory=dict)
    data_hash: str = ""

    def save(self, folder: Path) -> None:
        """Writes interactions.parquet, items.parquet and manifest.json. The folder must exist and is not published here: see publishing."""
        self.interactions.frame.write_parquet(folder / "interactions.parquet")
        self.catalog.save(folder / "items.parquet")
        write_manifest(folder, self)

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Raises FileNotFoundError where the folder is not a corpus, ValueError where its manifest is not ours, or a file not the one it names."""
        manifest_path = Path(folder) / "manifest.json"
        if not manifest_path.is_file():
            raise FileNotFoundError(f"{folder} is not a prepared corpus: it has no manifest.json. Make one with `python -m llmrec.prepare`")
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        written = manifest.get("format") if isinstance(manifest, dict) else None
        if written != FORMAT:
            raise ValueError(f"{manifest_path} has format {written!r}; this version reads {FORMAT}. Prepare the corpus again")
        try:
            return cls._of(Path(folder), manifest)
        except KeyError as error:
            raise ValueError(f"{manifest_path} lacks {error}: it was changed or damaged. Prepare the corpus again") from None

    @classmethod
    def _of(cls, folder: Path, manifest: dict) -> Corpus:
        for name, expected in manifest["hashes"].items():
            if sha256(folder / name) != expected:
                raise ValueError(f"{folder / name} is not the file its manifest names (sha256 differs): it was changed or damaged. Prepare the corpus again")
        log = Interactions(
            pl.read_parquet(folder / "interactions.parquet"),
            ordering=manifest["ordering"],
            positive=tuple(manifest["positive"]),
            context=tuple(manifest["context"]),
            auxiliary=tuple(manifest.get("auxiliary", ())),
        )
        return cls(
            name=manifest["name"],
            interactions=log,
            catalog=Catalog.load(folder / "items.parquet"),
            rating_scale=tuple(manifest["rating_scale"]),
            like_threshold=manifest["like_threshold"],
            split=manifest["split"],
            report=manifest["report"],
            data_hash=manifest["data_hash"],
        )


def write_manifest(folder: Path, corpus: Corpus) -> None:
    """Writes manifest.json for the Parquet files that already stand in `folder`; `corpus.interactions.frame` may be any part of the log, its counts are taken from the files."""
    log = pl.scan_parquet(folder / "interactions.parquet")
    columns = log.collect_schema().names()
    counts = log.select(
        pl.len().alias("interactions"), pl.col("user_id").n_unique().alias("users"), pl.col("item_id").n_unique().alias("items_with_events"),
        *[(pl.col("part") == part).sum().alias(part) for part in PARTS],
    ).collect().row(0, named=True)
    times = log.select(pl.col("timestamp").min().alias("low"), pl.col("timestamp").max().alias("high")).collect().row(0) if "timestamp" in columns else None
    hashes = {name: sha256(folder / name) for name in ("interactions.parquet", "items.parquet")}
    manifest = {
        "format": FORMAT, "name": corpus.name, "counts": {**counts, "items": len(corpus.catalog)}, "time_range": times,
        "ordering": corpus.interactions.ordering, "positive": list(corpus.interactions.positive), "auxiliary": list(corpus.interactions.auxiliary), "context": list(corpus.interactions.context),
        "rating_scale": list(corpus.rating_scale), "like_threshold": corpus.like_threshold, "split": dict(corpus.split),
        "report": dict(corpus.report), "hashes": hashes,
        "data_hash": hashlib.sha256("".join(hashes.values()).encode()).hexdigest()[:16],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """The sha256 of a file, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
