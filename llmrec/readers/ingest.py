"""Turns the raw rows of any reader into a clean, sorted log and its catalogue: what converts is kept exactly, what does not is quarantined with a reason.

Separate from the readers, so that the way of a log stands once, whatever the source (what a single row must be: `rows`); splitting happens between `clean` and `assemble`, on the files `clean` leaves:

    RawLog -clean-> files of whole users (row, position, no part yet) -splits.split_files-> the same with parts -assemble-> interactions.parquet, items.parquet

The law of accounting, asserted: rows read = kept + merged + quarantined.
Memory is bounded: users are worked through in groups of about ROWS_PER_GROUP rows, each read from a Parquet copy of the raw log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from llmrec.interactions import OPTIONAL, REQUIRED, TRAIN, UNTITLED, Catalog, Corpus, Interactions
from llmrec.readers.personal import TEXTS, redacted
from llmrec.readers.raw import RawLog
from llmrec.readers.rows import REASONS, RowRules

ROWS_PER_GROUP = 1_000_000
ROWS_PER_PARQUET_GROUP = 250_000  # fixed, so that equal rows give equal bytes
MAX_SCALE = 21  # a scale of 0 to 10 in halves
MAX_BINS = 10


@dataclass(frozen=True)
class IngestSettings:
    """What is declared about a log. `positive`, `auxiliary`, `rating_scale` and `like_threshold` stand above what the reader says; named positive events leave no auxiliary ones but those named.

    time_unit: the unit of times given as numbers (s, ms, us, ns). shuffle_ties: the seed that orders equal times of a user (None: file order).
    merge_repeats: merge exact repeats without times too. keep_parts: the parts that came with the data count (split given).
    max_bad_fraction: the part of the rows that may be quarantined before the log is refused. redact: takes mail addresses, phone and card numbers out of titles, attributes and texts. seed: shuffles the catalogue.
    """

    positive: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    rating_scale: tuple[float, ...] = ()
    like_threshold: float | None = None
    time_unit: str = "s"
    shuffle_ties: int | None = None
    merge_repeats: bool = False
    keep_parts: bool = False
    max_bad_fraction: float = 0.001
    redact: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Cleaned:
    """A clean log in files of whole users, sorted by (user_id, position); columns as in Interactions, without part (but where parts were kept), with `row`, the raw row's number from 1.

    rejects: one JSON line a quarantined row, in the order of the raw log: row, reason, and the row's values (or its text, where it could not be read).
    """

    name: str
    files: tuple[Path, ...]
    catalog: Catalog
    ordering: str
    positive: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    rating_scale: tuple[float, ...] = ()
    like_threshold: float | None = None
    rejects: tuple[str, ...] = ()
    report: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_positive(self) -> pl.Expr:
        """A polars expression: the row is an event of the user's stream that may be asked about."""
        return Interactions(pl.DataFrame(schema=REQUIRED), self.ordering, self.positive, self.context, self.auxiliary).is_positive

    @property
    def is_shown(self) -> pl.Expr:
        """A polars expression: the row is an event of the user's stream."""
        return Interactions(pl.DataFrame(schema=REQUIRED), self.ordering, self.positive, self.context, self.auxiliary).is_shown


def clean(raw: RawLog, work: Path, settings: IngestSettings = IngestSettings()) -> Cleaned:
    """Converts, checks, merges and sorts the raw rows, into files in the folder `work` (which must exist).

    Raises:
        ValueError: no rows, or none left; more rows quarantined than `max_bad_fraction` allows; an item id twice in the item table; a declared event that no row has.
    """
    source = work / "raw.parquet"
    columns = raw.interactions.collect_schema().names()
    known = [*REQUIRED, *OPTIONAL, "order", "fault", "source", *raw.context]
    dropped = () if settings.keep_parts else ("part",)
    kept = [name for name in columns if name in known and name not in dropped and name != "position"]
    raw.interactions.select(kept).with_row_index("row", offset=1).sink_parquet(source, row_group_size=ROWS_PER_PARQUET_GROUP, compression="lz4")
    rows_read = pl.scan_parquet(source).select(pl.len()).collect().item()
    if not rows_read:
        raise ValueError(f"{raw.name} has no rows; expected at least one interaction")
    items, num_redacted = None if raw.items is None else raw.items.collect(), 0
    if settings.redact and items is not None:
        items, num_redacted = redacted(items, [name for name in items.columns if name != "item_id"])
    catalog = None if items is None else _catalog(items, settings.seed)
    rules = RowRules(
        ordering="timestamp" if "timestamp" in kept else "order" if "order" in kept else "none", context=raw.context,
        scale=tuple(sorted({*(settings.rating_scale or raw.rating_scale)})), items=None if catalog is None else catalog.frame["item_id"],
        time_unit=settings.time_unit, merge_repeats=settings.merge_repeats,
        ties=None if settings.shuffle_ties is None else np.random.default_rng(settings.shuffle_ties).random(rows_read),
    )
    files, rejects, reasons, events, merged, num_kept = [], [], {}, {}, 0, 0
    for number, mine in enumerate(tqdm(_user_groups(source), desc="checking and sorting", unit="group", disable=None, leave=False)):
        rows = pl.scan_parquet(source).filter(mine).collect()
        if settings.redact:
            rows, found = redacted(rows, TEXTS)
            num_redacted += found
        group = rules.clean(rows)
        merged, num_kept = merged + group.merged, num_kept + len(group.kept)
        _count(reasons, group.rejected["reason"])
        if len(group.rejected):
            rejects.append(_reject_lines(group.rejected))
        if len(group.kept):
            _count(events, group.kept["event"])
            files.append(work / f"users-{number:05d}.parquet")
            group.kept.write_parquet(files[-1], compression="lz4")
    source.unlink()
    quarantined = sum(reasons.values())
    assert rows_read == num_kept + merged + quarantined, f"{rows_read} rows read, but {num_kept} kept, {merged} merged, {quarantined} quarantined"
    lines = tuple(pl.concat(rejects).sort("row")["line"]) if rejects else ()
    _refuse_too_many(raw.name, rows_read, reasons, lines, settings)
    if not num_kept:
        raise ValueError(f"{raw.name}: of {rows_read} rows none is left; expected at least one")
    positive = settings.positive or raw.positive
    auxiliary = settings.auxiliary or (raw.auxiliary if positive == raw.positive else ())
    absent = sorted({*positive, *auxiliary} - set(events))
    if absent:
        raise ValueError(f"no row has the event {absent[0]!r}, which is named as {'positive' if absent[0] in positive else 'auxiliary'}; the log has {', '.join(sorted(events))}")
    if catalog is None:
        catalog = _catalog(pl.scan_parquet(files).select(pl.col("item_id").unique()).collect().with_columns(title=pl.lit("")), settings.seed, untitled="")
    report = {
        "rows_read": rows_read, "kept": num_kept, "merged": merged, "quarantined": quarantined, "reasons": dict(sorted(reasons.items())),
        "events": dict(sorted(events.items(), key=lambda event: (-event[1], event[0]))), "untitled_items": int((catalog.frame["title"] == UNTITLED).sum()),
        **({"redacted": num_redacted} if settings.redact else {}), **({"source": dict(raw.notes)} if raw.notes else {}),
    }
    return Cleaned(
        name=raw.name, files=tuple(files), catalog=catalog, ordering=rules.ordering, positive=positive, auxiliary=auxiliary, context=raw.context, rating_scale=rules.scale,
        like_threshold=raw.like_threshold if settings.like_threshold is None else settings.like_threshold, rejects=lines, report=report,
    )


def assemble(cleaned: Cleaned, folder: Path, *, split: Mapping[str, object]) -> Corpus:
    """Writes interactions.parquet, items.parquet and, where rows were quarantined, rejects.jsonl into `folder`; the files of `cleaned` must have parts.

    Returns the corpus over these files; its manifest is not written yet. The rating scale is the declared one, else the distinct train ratings if they are at most 21, else at most
    10 quantile bins of the train ratings: then every rating becomes the mean of its bin's train ratings, and the edges are in the report.
    """
    log = pl.scan_parquet(list(cleaned.files))
    columns = log.collect_schema().names()
    report = dict(cleaned.report)
    scale = cleaned.rating_scale
    if "rating" in columns and not scale:
        train = log.filter((pl.col("part") == TRAIN) & pl.col("rating").is_not_null()).select(pl.col("rating").sort()).collect()["rating"].to_numpy()
        scale = tuple(float(value) for value in np.unique(train))
        if len(scale) > MAX_SCALE:
            scale, edges = quantile_bins(train)
            binned = pl.lit(scale[-1])
            for value, edge in zip(scale[-2::-1], edges[::-1], strict=True):
                binned = pl.when(pl.col("rating") < edge).then(pl.lit(value)).otherwise(binned)
            log = log.with_columns(rating=pl.when(pl.col("rating").is_not_null()).then(binned))
            report["rating_bins"] = list(edges)
        elif scale:
            report["held_out_ratings_off_scale"] = log.select((pl.col("rating").is_not_null() & ~pl.col("rating").is_in(scale)).sum()).collect().item()
    elif "rating" not in columns:
        scale = ()
    names = [name for name in (*REQUIRED, *OPTIONAL, *cleaned.context) if name in columns]
    log.select(names).sink_parquet(folder / "interactions.parquet", row_group_size=ROWS_PER_PARQUET_GROUP)
    cleaned.catalog.save(folder / "items.parquet")
    if cleaned.rejects:
        (folder / "rejects.jsonl").write_text("".join(line + "\n" for line in cleaned.rejects), encoding="utf-8")
    interactions = Interactions(pl.read_parquet(folder / "interactions.parquet"), cleaned.ordering, cleaned.positive, cleaned.context, cleaned.auxiliary)
    return Corpus(cleaned.name, interactions, cleaned.catalog, scale, cleaned.like_threshold, split, report)


def quantile_bins(ratings: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(means, edges) of at most 10 bins with about equally many ratings; bin i holds edges[i - 1] <= rating < edges[i]. ratings: (n,) float64, finite, n > 0.

    >>> quantile_bins(np.arange(100.0))[0][:3], quantile_bins(np.arange(100.0))[1][:2]
    ((4.5, 14.5, 24.5), (10.0, 20.0))
    """
    ordered = np.sort(ratings)
    edges = np.unique(ordered[[len(ordered) * k // MAX_BINS for k in range(1, MAX_BINS)]])
    edges = edges[edges > ordered[0]]  # an edge at the smallest rating would leave the first bin empty
    groups = np.split(ordered, np.searchsorted(ordered, edges, side="left"))
    return tuple(float(group.mean()) for group in groups), tuple(float(edge) for edge in edges)


def _catalog(items: pl.DataFrame, seed: int, *, untitled: str = UNTITLED) -> Catalog:
    """The catalogue in a seeded shuffle that depends on the ids alone, not on the order of the file: row numbers tell nothing about time or popularity."""
    ids = items["item_id"].cast(pl.String)
    empty = int((ids.is_null() | (ids.str.strip_chars() == "")).sum())
    if empty:
        raise ValueError(f"{empty} rows of the item table have no item_id; expected one in each row. Mend or remove them")
    odd = ids.filter(ids.str.contains(r"\p{Cc}"))
    if len(odd):
        raise ValueError(f"the item table has {len(odd)} ids with a control character, such as {odd[0]!r}; expected plain text")
    twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
    if len(twice):
        raise ValueError(f"{len(twice)} item ids stand twice in the item table: {', '.join(map(repr, twice[:5]))}{' ...' if len(twice) > 5 else ''}; expected one row for each item. Keep one of them")
    title = pl.lit("")
    if "title" in items.columns:
        title = pl.col("title").cast(pl.String).fill_null("").str.replace_all(r"[\p{Cc}\x{2028}\x{2029}]+", " ").str.strip_chars()
    attributes = [_values(name, kind) for name, kind in items.schema.items() if name not in ("item_id", "title")]
    place = [hashlib.blake2b(f"{seed}\n{item_id}".encode(), digest_size=8).digest() for item_id in ids]
    frame = items.select(ids, pl.when(title == "").then(pl.lit(untitled)).otherwise(title).alias("title"), *attributes)
    return Catalog(frame.with_columns(pl.Series("place", place)).sort("place", "item_id").drop("place"))


def _values(name: str, kind: pl.DataType) -> pl.Expr:
    """An attribute as a list of its values: text is split at "|"; empty values are dropped."""
    values = pl.col(name).cast(pl.List(pl.String)) if isinstance(kind, pl.List) else pl.col(name).cast(pl.String).str.split("|")
    stripped = values.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))).fill_null(pl.lit([], dtype=pl.List(pl.String))).alias(name)


def _user_groups(source: Path) -> list[pl.Expr]:
    """Filters that cut the log into ranges of user ids with about ROWS_PER_GROUP rows each, in order; rows without a user are in the first."""
    counts = pl.scan_parquet(source).group_by("user_id").len().filter(pl.col("user_id").is_not_null()).collect(engine="streaming").sort("user_id")
    group = (counts["len"].cast(pl.Int64).cum_sum() - 1) // ROWS_PER_GROUP
    cuts = counts["user_id"].filter(group > group.shift(1)).to_list()
    user = pl.col("user_id")
    if not cuts:
        return [pl.lit(True)]
    between = [(user >= low) & (user < high) for low, high in zip(cuts, cuts[1:])]
    return [user.is_null() | (user < cuts[0]), *between, user >= cuts[-1]]


def _count(counts: dict[str, int], words: pl.Series) -> None:
    for word, count in words.value_counts().iter_rows():
        counts[word] = counts.get(word, 0) + count


def _reject_lines(rejected: pl.DataFrame) -> pl.DataFrame:
    """row and line, the JSON of a quarantined row."""
    lines = []
    for record in rejected.select("row", pl.exclude("row").cast(pl.String)).iter_rows(named=True):
        row, reason, source = record.pop("row"), record.pop("reason"), record.pop("source", None)
        record.pop("fault", None)
        told = {"text": source} if source is not None else {"values": {name: value for name, value in record.items() if value is not None}}
        lines.append(json.dumps({"row": row, "reason": reason, **told}, ensure_ascii=False))
    return rejected.select("row").with_columns(pl.Series("line", lines, dtype=pl.String))


def _refuse_too_many(name: str, rows_read: int, reasons: Mapping[str, int], lines: Sequence[str], settings: IngestSettings) -> None:
    bad = sum(reasons.values())
    if bad <= settings.max_bad_fraction * rows_read:
        return
    most = sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))
    told = "; ".join(f"{count} {reason} ({REASONS.get(reason, 'the reader could not read the row')})" for reason, count in most[:4])
    unit = f"; times are read as {settings.time_unit}: is it --time-unit ms, us or ns?" if most[0][0] == "implausible_time" else ""
    needed = -(-bad * 1000 // rows_read) / 1000
    raise ValueError(
        f"{name}: {bad} of {rows_read} rows cannot be used, more than the allowed fraction {settings.max_bad_fraction:g}: {told}{unit}. "
        f"The first is row {json.loads(lines[0])['row']}. Mend the data, or quarantine these rows with --max-bad {needed:g}: rejects.jsonl then holds them"  # no id or text of the data: this may reach a log
    )
