"""What every reader returns: the raw rows of a data set under standard column names, before anything is checked or dropped.

Separate from the readers, so that cleaning, merging, sorting and splitting stand once, in `ingest`, whatever the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True)
class RawLog:
    """Raw rows, lazily.

    interactions: user_id and item_id (String, exactly as written) and any of timestamp (seconds, or text that says a time), order (a number to sort by within a user),
        event, rating, review, summary, query, scenario, person, click, purchase, part ("train", "valid", "test", where the data came split) and the columns named in `context`.
        Values other than ids may still be text; `ingest` converts, checks and quarantines.
        A reader that cannot read a row at all may hand it on with a reason code in `fault` (null for good rows) and its text in `source`: it is quarantined and counted.
    items: item_id, title and attribute columns (List[String], or String with values split at "|"), or None where the source has no item table.
    positive, auxiliary: the events that make a stream, and those that are shown in it but never asked about.
    temporal: whether a given split respects time, so that a question may see only what stands before it (False: folds drawn at random).
    like_threshold: the rating from which the source's own protocol calls it a like, if it has one.
    rating_scale: the source's declared scale (empty: taken from train).
    """

    name: str
    interactions: pl.LazyFrame
    items: pl.LazyFrame | None = None
    context: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    temporal: bool = True
    like_threshold: float | None = None
    rating_scale: tuple[float, ...] = ()
    notes: Mapping[str, object] = field(default_factory=dict)
