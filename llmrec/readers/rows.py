"""What a row of a log must be: converts its values, names the first thing wrong with it, merges repeats and sorts each user's rows.

Separate from `ingest`, which takes a whole log through these rules in groups of users and accounts for every row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from llmrec.interactions import IMPRESSION, PARTS

TEXTS = ("review", "summary", "query", "scenario", "person")
SECONDS_PER_DAY = 86_400
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
TRUTHS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}
REASONS = {
    "bad_json": "the line is not one JSON object",
    "duplicate_key": "a JSON object has one key twice",
    "ambiguous_id": "an id is a JSON number with a fraction, or a boolean: write ids as text",
    "nested_value": "a value is a list or an object",
    "lone_surrogate": "a text holds half of a surrogate pair",
    "empty_user_id": "there is no user_id",
    "empty_item_id": "there is no item_id",
    "control_character": "an id holds a control character",
    "empty_timestamp": "there is no timestamp where other rows have one",
    "bad_timestamp": "the timestamp is neither a number nor ISO 8601",
    "implausible_time": "the time lies before 1970 or after tomorrow",
    "empty_order": "there is no value to sort by",
    "bad_order": "the value to sort by is not a finite number",
    "bad_rating": "the rating is not a finite number",
    "off_scale": "the rating is not on the declared scale",
    "bad_click": "click is neither 0 nor 1",
    "bad_purchase": "purchase is neither 0 nor 1",
    "bad_part": f"the part is none of {', '.join(PARTS)}",
    "unknown_item": "the item table does not hold the item",
    "conflict": "a later row of the same user, item, event and time has another rating",
}


@dataclass(frozen=True)
class CleanRows:
    """Some users' rows: `kept` sorted with positions, `rejected` with the raw values, row and reason."""

    kept: pl.DataFrame
    rejected: pl.DataFrame
    merged: int


@dataclass(frozen=True)
class RowRules:
    """How the rows of users are converted, checked, merged and sorted; the same for every group of whole users.

    ordering: what a user's rows are sorted by: timestamp, order or none.   context: the further columns to keep.
    scale: the declared rating scale, ascending; empty: any finite rating counts.   items: the ids of the item table; None: any item counts.
    time_unit, merge_repeats: as in IngestSettings.   ties: (rows read,) float64, what orders equal times of a user; None: file order.
    """

    ordering: str
    context: tuple[str, ...] = ()
    scale: tuple[float, ...] = ()
    items: pl.Series | None = None
    time_unit: str = "s"
    merge_repeats: bool = False
    ties: np.ndarray | None = None

    def clean(self, raw: pl.DataFrame) -> CleanRows:
        """The clean and the rejected rows of some whole users. raw: their rows as RawLog describes them, with `row`, the number of each from 1."""
        frame = self._convert(raw)
        good = frame.filter(pl.col("reason").is_null()).drop("reason")
        good, conflicts, merged = self._merge(good)
        bad = pl.concat([frame.filter(pl.col("reason").is_not_null()).select("row", "reason"), conflicts])
        rejected = raw.join(bad, on="row", how="inner", maintain_order="left")
        return CleanRows(self._sort(good), rejected, merged)

    def _convert(self, raw: pl.DataFrame) -> pl.DataFrame:
        """The rows with their values converted and, in `reason`, the first thing wrong with each."""
        there = set(raw.columns)
        checks = [("fault", None)] if "fault" in there else []
        values = {"row": pl.col("row"), "user_id": pl.col("user_id"), "item_id": pl.col("item_id")}
        for name in ("user_id", "item_id"):
            checks.append((f"empty_{name}", _is_empty(pl.col(name))))
            checks.append(("control_character", pl.col(name).str.contains(r"\p{Cc}")))
        numbers = raw.select(pl.col("row"), *(_number(raw[name], name) for name in ("rating", "order") if name in there), *([seconds(raw["timestamp"], self.time_unit)] if "timestamp" in there else []))
        finite = {name: pl.col(name).is_not_null() & pl.col(name).is_finite() for name in ("timestamp", "order", "rating")}
        for name in ("timestamp", "order"):
            if name in there:
                checks.append((f"empty_{name}", _is_empty(pl.col(f"raw_{name}"))))
                checks.append((f"bad_{name}", ~finite[name]))
                values[name] = pl.col(name)
        if "timestamp" in there:
            checks.append(("implausible_time", ~pl.col("timestamp").is_between(0, time.time() + SECONDS_PER_DAY)))
        if "rating" in there:
            checks.append(("bad_rating", ~_is_empty(pl.col("raw_rating")) & ~finite["rating"]))
            if self.scale:
                checks.append(("off_scale", ~pl.col("rating").is_in(self.scale)))
            values["rating"] = pl.col("rating") + 0.0  # -0.0 and 0.0 are one rating
        for name in ("click", "purchase"):
            if name in there:
                text = pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase()
                checks.append((f"bad_{name}", ~_is_empty(text) & ~text.is_in(list(TRUTHS))))
                values[name] = text.replace_strict(TRUTHS, default=None, return_dtype=pl.Int8)
        for name in (*TEXTS, *self.context):
            if name in there:
                values[name] = pl.when(pl.col(name).cast(pl.String) != "").then(pl.col(name).cast(pl.String))
        if "part" in there:
            checks.append(("bad_part", ~pl.col("part").is_in(list(PARTS)).fill_null(False)))
            values["part"] = pl.col("part")
        if self.items is not None:
            checks.append(("unknown_item", ~pl.col("item_id").is_in(self.items.implode())))
        reason = pl.coalesce(pl.col("fault") if check is None else pl.when(check).then(pl.lit(name)) for name, check in checks)
        frame = raw.rename({name: f"raw_{name}" for name in numbers.columns if name != "row"}).hstack(numbers.drop("row"))
        return frame.select(*(value.alias(name) for name, value in values.items()), _event(there).alias("event"), reason.alias("reason")).with_columns(_default_event(values).alias("event"))

    def _merge(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """Exact repeats become one row (where they carry a time, or as asked); of rows that differ in rating alone the last counts. Returns rows, conflicts (row, reason) and the number merged."""
        timed = self.ordering == "timestamp"
        none = pl.DataFrame(schema={"row": frame.schema["row"], "reason": pl.String})
        if not timed and not self.merge_repeats:
            return frame, none, 0
        key = ["user_id", "item_id", "event", *(["timestamp"] if timed else [])]
        twice = frame.filter(pl.struct(key).is_duplicated())
        if twice.is_empty():
            return frame, none, 0
        same = [name for name in frame.columns if name != "row" and (timed or name != "order")]
        unique = twice.sort("row").unique(same, keep="first", maintain_order=True)
        conflicts = none
        if timed and "rating" in frame.columns:
            rated = unique.filter(pl.col("rating").is_not_null())
            last = rated.group_by(key).agg(last_rating=pl.col("rating").last(), last_row=pl.col("row").last())
            conflicts = rated.join(last, on=key).filter(pl.col("rating") != pl.col("last_rating")).select("row", reason=pl.lit("conflict"))
        out = pl.concat([twice["row"].filter(~twice["row"].is_in(unique["row"].implode())), conflicts["row"]])
        return frame.filter(~pl.col("row").is_in(out.implode())), conflicts, len(twice) - len(unique)

    def _sort(self, frame: pl.DataFrame) -> pl.DataFrame:
        by = ["user_id", *(name for name in ("timestamp", "order") if name in frame.columns), "row"]
        if self.ties is not None:
            by.insert(-1, "tie")
            frame = frame.with_columns(pl.Series("tie", self.ties[frame["row"].to_numpy() - 1]))
        frame = frame.sort(by)
        index = pl.int_range(pl.len(), dtype=pl.Int64)
        first = pl.when(pl.col("user_id") != pl.col("user_id").shift()).then(index).fill_null(strategy="forward").fill_null(0)
        return frame.with_columns(position=index - first).drop("order", "tie", strict=False)


def seconds(times: pl.Series, unit: str = "s") -> pl.Series:
    """Seconds since 1970 UTC, Float64, named timestamp; null where a value says no time. Numbers count `unit`; texts are numbers or ISO 8601 (a time without zone is UTC, a date its midnight)."""
    if times.dtype.is_numeric():
        return (times.cast(pl.Float64) / UNITS[unit]).alias("timestamp")
    text = times.cast(pl.String).str.strip_chars()
    number = text.cast(pl.Float64, strict=False) / UNITS[unit]
    if not (number.is_null() & text.is_not_null() & (text != "")).any():
        return number.alias("timestamp")
    pattern = r"^(?<day>\d{4}-\d{2}-\d{2})(?:[T ](?<hour>[01]\d|2[0-3]):(?<minute>[0-5]\d)(?::(?<second>[0-5]\d(?:\.\d+)?))?)?\s*(?:(?<zulu>Z|UTC)|(?<sign>[+-])(?<zone_hour>\d{2}):?(?<zone_minute>\d{2})?)?$"
    parts = text.str.extract_groups(pattern).struct.unnest()
    amount = {name: pl.col(name).cast(pl.Float64).fill_null(0.0) for name in ("hour", "minute", "second", "zone_hour", "zone_minute")}
    zone = (amount["zone_hour"] * 3600 + amount["zone_minute"] * 60) * pl.when(pl.col("sign") == "-").then(-1.0).otherwise(1.0)
    iso = pl.col("day").str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Float64) * SECONDS_PER_DAY + amount["hour"] * 3600 + amount["minute"] * 60 + amount["second"] - zone
    return number.fill_null(parts.select(iso.alias("timestamp"))["timestamp"]).alias("timestamp")


def _number(values: pl.Series, name: str) -> pl.Series:
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False).alias(name)


def _is_empty(value: pl.Expr) -> pl.Expr:
    return value.is_null() | (value.cast(pl.String).str.strip_chars() == "")


def _event(there: set[str]) -> pl.Expr:
    return pl.col("event").cast(pl.String).str.strip_chars().str.to_lowercase() if "event" in there else pl.lit(None, dtype=pl.String)


def _default_event(values: Mapping[str, pl.Expr]) -> pl.Expr:
    """The row's own word; where it has none, what its values say happened."""
    event = pl.when(pl.col("event") != "").then(pl.col("event"))
    for name, word, holds in (
        ("purchase", "purchase", pl.col("purchase") == 1), ("click", "click", pl.col("click") == 1), ("rating", "rating", pl.col("rating").is_not_null()),
        ("click", IMPRESSION, pl.col("click") == 0), ("purchase", IMPRESSION, pl.col("purchase") == 0),
    ):
        if name in values:
            event = event.fill_null(pl.when(holds).then(pl.lit(word)))
    return event.fill_null("interaction")
