"""Gives each row of the log its part: train, valid or test. One interaction-level split serves every task, statistic, index and baseline.

Separate from reading, so that one cleaned log can be split by any rule, and from the tasks, so that none of them can split anew.

What a model may see when: a question about an event may see what stands before that event in the same user's log, whatever part that is; what is learned or
counted (weights, popularity, item codes, vocabulary) comes from train alone, choices between models from valid, and test is looked at once, at the end.
Where a split does not respect time (`temporal` False: folds drawn at random, sets without order) a question sees the user's events of the earlier parts instead.

leave_one_out holds out each user's last event of the stream for test and the one before it for valid (show = impression, no event of the stream):

    Alice  show A   click A   click B   show C   click C   buy C   click D   show E
    stream          A         B                  C                 D
    part   train    train     train     train    valid     valid   test      test

    Bob    click A  buy A     click B            A and B: fewer than three events of the stream, so all of it is train
    part   train    train     train

by_time cuts all users at two moments; what a user does at or after a moment belongs to the later part:

                 2024-01   2024-02  |  2024-03  |  2024-04
    Alice        click A   click B  |           |  click C
    Bob                             |  click D  |  click E
    part         train     train    |  valid    |  test

given takes the parts that came with the data; none trains on everything, for deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.interactions import PARTS, TEST, TRAIN, VALID, Corpus

MIN_STREAM_EVENTS = 3  # one to learn from, one for valid, one for test


@dataclass(frozen=True)
class SplitSettings:
    """How to split: `rule` is a name in SPLITS. `seed` draws the samples of rules without time; the fractions are those of by_time (and valid_fraction that of a given split without a valid part)."""

    rule: str = "leave_one_out"
    seed: int = 0
    valid_fraction: float = 0.1
    test_fraction: float = 0.1

    def __post_init__(self):
        if self.rule not in SPLITS:
            raise ValueError(f"unknown split {self.rule!r}; available: {', '.join(SPLITS)}")
        if not (0 < self.valid_fraction and 0 < self.test_fraction and self.valid_fraction + self.test_fraction < 1):
            raise ValueError(f"valid_fraction {self.valid_fraction} and test_fraction {self.test_fraction} must be above 0 and leave something for train")


def split_files(files: Sequence[Path], settings: SplitSettings, *, ordering: str, positive: pl.Expr, shown: pl.Expr | None = None, temporal: bool = True) -> dict[str, object]:
    """Gives the rows of each file a part, in place; returns what `Corpus.split` records: the rule, whether it respects time, and the settings that took effect.

    files: Parquet, each with all rows of its users sorted by (user_id, position); `row` is the row's number in the raw data. `positive` tells the events of the stream that may be asked about, `shown` (default: the same) all of it;
    `temporal` whether parts given with the data respect time.

    Raises:
        ValueError: the rule needs times, an order or given parts that the log does not have, or leaves nothing to train on.
    """
    assign, record = SPLITS[settings.rule](pl.scan_parquet(files), settings, ordering=ordering, positive=positive, shown=shown, temporal=temporal)
    for file in files:
        assign(pl.read_parquet(file)).write_parquet(file, compression="lz4")
    if not pl.scan_parquet(files).select((pl.col("part") == TRAIN).any()).collect().item():
        raise ValueError(f"split {settings.rule} leaves no row for train; expected some. Take another rule")
    return {"rule": settings.rule, **record}


Assign = Callable[[pl.DataFrame], pl.DataFrame]
Record = dict[str, object]


def leave_one_out(log: pl.LazyFrame, settings: SplitSettings, *, ordering: str, positive: pl.Expr, shown: pl.Expr | None = None, temporal: bool = True) -> tuple[Assign, Record]:
    """The last event of each user's stream is test, the one before it valid.

    Adjacent events of one item in the stream are one event. Rows before the first row of the valid event are train, from there to before the first row of the test event valid,
    from there on test. Users with fewer than three events of the stream are all train. In a set (ordering "none") two items of each user are drawn by seed instead, with all their rows.
    """
    if ordering == "none":
        return lambda frame: _hold_out_items(frame, positive, settings.seed), {"temporal": False, "seed": settings.seed}
    return lambda frame: _hold_out_last(frame, positive, shown), {"temporal": True}


def by_time(log: pl.LazyFrame, settings: SplitSettings, *, ordering: str, positive: pl.Expr, shown: pl.Expr | None = None, temporal: bool = True) -> tuple[Assign, Record]:
    """Two moments cut the whole log: about test_fraction of its rows are at or after the second, about valid_fraction between the two. Rows of one moment stay together."""
    if ordering != "timestamp":
        raise ValueError("split by_time needs a timestamp column, and the log has none; take leave_one_out")
    times = log.select(pl.col("timestamp").sort()).collect()["timestamp"].to_numpy()
    valid_from, test_from = (float(times[min(int(len(times) * (1 - fraction)), len(times) - 1)]) for fraction in (settings.valid_fraction + settings.test_fraction, settings.test_fraction))
    if not times[0] < valid_from < test_from:
        raise ValueError(f"split by_time finds too few different times to cut at: it would cut at {valid_from} and {test_from}, the log starts at {times[0]}; take leave_one_out")
    time = pl.col("timestamp")
    part = pl.when(time < valid_from).then(pl.lit(TRAIN)).when(time < test_from).then(pl.lit(VALID)).otherwise(pl.lit(TEST))
    record = {"temporal": True, "valid_fraction": settings.valid_fraction, "test_fraction": settings.test_fraction, "valid_from": valid_from, "test_from": test_from}
    return lambda frame: frame.with_columns(part=part), record


def given(log: pl.LazyFrame, settings: SplitSettings, *, ordering: str, positive: pl.Expr, shown: pl.Expr | None = None, temporal: bool = True) -> tuple[Assign, Record]:
    """The parts that came with the data. Without a valid part some of train becomes it: each user's last train event where the split respects time (users with two or more), else a seeded sample of its events."""
    if "part" not in log.collect_schema().names():
        raise ValueError(f"split given needs a column part with {', '.join(PARTS)}, and the data has none; take leave_one_out or by_time")
    temporal = temporal and ordering != "none"
    if log.select((pl.col("part") == VALID).any()).collect().item():
        return lambda frame: frame, {"temporal": temporal}
    if temporal:
        return lambda frame: _hold_out_last_of_train(frame, positive, shown), {"temporal": True, "valid": "last train event of each user"}

    def sample(frame: pl.DataFrame) -> pl.DataFrame:
        drawn = pl.Series(seeded_order(frame["row"].to_numpy(), settings.seed) < np.uint64(settings.valid_fraction * 2**64))
        return frame.with_columns(part=pl.when(drawn & positive & (pl.col("part") == TRAIN)).then(pl.lit(VALID)).otherwise("part"))

    return sample, {"temporal": False, "valid": "random sample of train events", "valid_fraction": settings.valid_fraction, "seed": settings.seed}


def none(log: pl.LazyFrame, settings: SplitSettings, *, ordering: str, positive: pl.Expr, shown: pl.Expr | None = None, temporal: bool = True) -> tuple[Assign, Record]:
    """Everything is train."""
    return lambda frame: frame.with_columns(part=pl.lit(TRAIN)), {"temporal": ordering != "none"}


SPLITS: dict[str, Callable[..., tuple[Assign, Record]]] = {"leave_one_out": leave_one_out, "by_time": by_time, "given": given, "none": none}


def seeded_order(rows: np.ndarray, seed: int) -> np.ndarray:
    """A pseudo-random uint64 for each row number, the same on every machine and version. rows: (n,) integers; returns (n,) uint64.

    Source: the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, figure 17).

    >>> [int(x) >> 60 for x in seeded_order(np.arange(4), seed=0)]
    [14, 6, 0, 15]
    """
    x = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed * 0xD1B54A32D192ED03 % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def some_users(corpus: Corpus, fraction: float, seed: int) -> Corpus:
    """The corpus with this part of its users, drawn by the seed, at least two."""
    users = np.sort(corpus.interactions.frame["user_id"].unique().to_numpy())
    drawn = np.random.default_rng(seed).permutation(users)[: max(2, round(fraction * len(users)))]
    return replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.filter(pl.col("user_id").is_in(drawn.tolist()))))


def _stream_starts(frame: pl.DataFrame, positive: pl.Expr, shown: pl.Expr | None) -> pl.DataFrame:
    """The first row of each event that may be asked about: user_id and position, in order; adjacent events of one item are one, and an auxiliary event parts two."""
    stream = frame.filter(positive if shown is None else shown).select("user_id", "item_id", "position", asked=positive)
    alike = pl.struct("user_id", "item_id", "asked")
    return stream.filter((alike != alike.shift(1)).fill_null(True)).filter("asked").select("user_id", "position")


def _hold_out_last(frame: pl.DataFrame, positive: pl.Expr, shown: pl.Expr | None) -> pl.DataFrame:
    cuts = (
        _stream_starts(frame, positive, shown).group_by("user_id")
        .agg(pl.len().alias("events"), pl.col("position").get(-2, null_on_oob=True).alias("valid_from"), pl.col("position").last().alias("test_from"))
        .filter(pl.col("events") >= MIN_STREAM_EVENTS)
    )
    position = pl.col("position")
    # A user without cuts has nulls, and a comparison with null is no match: train.
    part = pl.when(position >= pl.col("test_from")).then(pl.lit(TEST)).when(position >= pl.col("valid_from")).then(pl.lit(VALID)).otherwise(pl.lit(TRAIN))
    return frame.join(cuts, on="user_id", how="left", maintain_order="left").with_columns(part=part).drop("events", "valid_from", "test_from")


def _hold_out_last_of_train(frame: pl.DataFrame, positive: pl.Expr, shown: pl.Expr | None) -> pl.DataFrame:
    cuts = (
        _stream_starts(frame.filter(pl.col("part") == TRAIN), positive, shown).group_by("user_id")
        .agg(pl.len().alias("events"), pl.col("position").last().alias("valid_from"))
        .filter(pl.col("events") > 1)
    )
    held = (pl.col("part") == TRAIN) & (pl.col("position") >= pl.col("valid_from"))
    joined = frame.join(cuts, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(part=pl.when(held).then(pl.lit(VALID)).otherwise("part")).drop("events", "valid_from")


def _hold_out_items(frame: pl.DataFrame, positive: pl.Expr, seed: int) -> pl.DataFrame:
    """All rows of a held-out item go together: in a set, a second row of it in train would give the answer away."""
    items = frame.filter(positive).group_by("user_id", "item_id").agg(pl.col("row").min())
    drawn = (
        items.with_columns(pl.Series("draw", seeded_order(items["row"].to_numpy(), seed)))
        .sort("user_id", "draw")
        .with_columns(rank=pl.int_range(pl.len()).over("user_id"), events=pl.len().over("user_id"))
        .filter((pl.col("events") >= MIN_STREAM_EVENTS) & (pl.col("rank") < 2))
        .select("user_id", "item_id", held=pl.when(pl.col("rank") == 0).then(pl.lit(TEST)).otherwise(pl.lit(VALID)))
    )
    return frame.join(drawn, on=["user_id", "item_id"], how="left", maintain_order="left").with_columns(part=pl.col("held").fill_null(TRAIN)).drop("held")
