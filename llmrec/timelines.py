"""The log as one stream per user: what stands before what, and which yes/no questions the log answers.

Separate from `interactions` (what was recorded) and from the tasks (what is asked): tasks, baselines and the audit all
look at the past through this one window, so that they see the same events and the same held-out ones.

    position in the log    0         1       2        3       4          5
    Alice's log            show A    click A show B   show C  click C    buy C
    her stream                       A                        C (click and purchase of one item in a row are one event)
    click questions        A? yes            B? no    C? yes
    what each may show     -                 A        A
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import polars as pl

from llmrec.interactions import IMPRESSION, LEADING, PARTS, Corpus, Event, fold_of

REMEMBERED = 1 << 18
"""Events kept as objects: about 100 MB."""


@dataclass(frozen=True)
class Timelines:
    """All users' streams as flat arrays; user u owns the events `starts[u]:starts[u + 1]`, oldest first.

    items: (events,) int64, row in the catalogue.   ratings: (events,) float64, NaN where there is none.
    timestamps: (events,) float64, seconds, NaN where there is none.   parts: (events,) int8, index into PARTS.
    rows: (events,) int64, row in `corpus.interactions.frame`.   names: (events,) the event words.   asked: (events,) bool, False for auxiliary events: they are shown only.
    A stream holds the positive and auxiliary events whose item the catalogue knows; events of one item and of one of the two kinds in a row (and in one part) are one event,
    with the first one's place and the last one's word, rating and row.
    """

    corpus: Corpus
    user_ids: list[str]
    starts: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    timestamps: np.ndarray
    parts: np.ndarray
    rows: np.ndarray
    names: list[str]
    asked: np.ndarray
    contexts: dict[str, list[str | None]]

    @classmethod
    def of(cls, corpus: Corpus) -> Timelines:
        stream = _stream(corpus)
        sizes = stream.group_by("user_id", maintain_order=True).len()
        rows = stream["row"].to_numpy()
        frame = corpus.interactions.frame
        return cls(
            corpus=corpus,
            user_ids=sizes["user_id"].to_list(),
            starts=np.concatenate([[0], np.cumsum(sizes["len"].to_numpy())]).astype(np.int64),
            items=stream["item"].to_numpy().astype(np.int64),
            ratings=stream["rating"].to_numpy().astype(np.float64),
            timestamps=stream["timestamp"].to_numpy().astype(np.float64),
            parts=stream["part"].replace_strict({name: i for i, name in enumerate(PARTS)}, return_dtype=pl.Int8).to_numpy(),
            rows=rows.astype(np.int64),
            names=stream["event"].to_list(),
            asked=~stream["event"].is_in(list(corpus.interactions.auxiliary)).to_numpy(),
            contexts={name: frame[name].gather(rows).to_list() for name in corpus.interactions.context},
        )

    @property
    def temporal(self) -> bool:
        """Whether a question may see only what stands before it. False for folds drawn at random (declared by the split) and for sets without order: there a question sees every known event."""
        return bool(self.corpus.split.get("temporal", True)) and self.corpus.interactions.ordering != "none"

    def __len__(self) -> int:
        return len(self.user_ids)

    @cached_property
    def folds(self) -> np.ndarray:
        """(users,) the fold of each user."""
        return np.array([fold_of(user_id) for user_id in self.user_ids], dtype=np.int64)

    @cached_property
    def persons(self) -> list[str | None]:
        """Of each user the person, where the log names one."""
        if not self.corpus.interactions.has("person"):
            return [None] * len(self)
        named = dict(self.corpus.interactions.frame.group_by("user_id").agg(pl.col("person").drop_nulls().first()).iter_rows())
        return [named[user_id] for user_id in self.user_ids]

    def span(self, user: int) -> tuple[int, int]:
        """The events of user number `user`: first, and one past the last."""
        return int(self.starts[user]), int(self.starts[user + 1])

    def event(self, index: int) -> Event:
        """The event at a place of the flat arrays."""
        return self._events(int(index))

    @cached_property
    def _events(self) -> Callable[[int], Event]:
        """Training meets an event once an epoch: what is remembered need not be put together again."""
        return lru_cache(maxsize=REMEMBERED)(self._event)

    def _event(self, index: int) -> Event:
        rating, time = self.ratings[index], self.timestamps[index]
        context = {name: values[index] for name, values in self.contexts.items() if values[index] is not None} if self.contexts else None
        return Event(
            self.corpus.catalog.item_ids[self.items[index]],
            None if rating != rating else float(rating),
            None if time != time else float(time),
            self.names[index],
            context or None,
            bool(self.asked[index]),
        )

    def history(self, user: int, before: int, part: str) -> tuple[Event, ...]:
        """What a question of `part` about user `user` may see: the events before place `before` of the flat arrays; where the corpus is not temporal, every event of the earlier parts, in an order drawn once for each user."""
        return tuple(self.event(i) for i in self.visible(user, before, part))

    def visible(self, user: int, before: int, part: str) -> Sequence[int]:
        """The places of the events `history` gives."""
        start, stop = self.span(user)
        if self.temporal:
            return range(start, before)
        limit = PARTS.index(part)
        return self.drawn(np.array([i for i in range(start, stop) if self.parts[i] < limit], dtype=np.int64), np.random.default_rng(user)).tolist()

    def drawn(self, places: np.ndarray, rng: np.random.Generator, limit: int | None = None) -> np.ndarray:
        """These places of a set, or `limit` of them, in an order drawn anew: training shows a set in every order, and the file's own (by time, by item) would be one it has hardly seen.

        What is only shown stands before what is asked about, for a question knows all of it in use: shuffled among the questions, half of the carts would stand behind the purchase they foretell.
        """
        places = rng.permutation(places)[:limit]
        return places[np.argsort(self.asked[places], kind="stable")]

    def places(self, *parts: str) -> Iterator[tuple[int, int]]:
        """(user, place) of every event in these parts that may be asked about, users in order."""
        wanted = np.isin(self.parts, [PARTS.index(p) for p in parts]) & self.asked
        users = np.repeat(np.arange(len(self)), np.diff(self.starts))
        for place in np.flatnonzero(wanted):
            yield int(users[place]), int(place)


def binary_questions(timelines: Timelines, kind: str) -> pl.DataFrame:
    """The yes/no questions the log answers: one row each with user (number), place (how far in the flat arrays the user's past reaches), item (catalogue row), label (0/1), part, row (in the log).

    kind "click": rows of the `click` column; else impressions, yes if the user clicks, carts, buys or rates that item at or after it; else, with a like threshold, ratings (yes: rating >= threshold).
    kind "purchase": rows of the `purchase` column; else clicks and carts, yes if the user buys that item at or after it.
    Empty where the log answers none.
    """
    corpus = timelines.corpus
    log = corpus.interactions
    frame = log.frame.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    if log.has(kind):
        asked = frame.filter(pl.col(kind).is_not_null()).with_columns(label=pl.col(kind).cast(pl.Int64))
    elif kind == "click" and (frame["event"] == IMPRESSION).any():
        asked = _answered(frame, asked=[IMPRESSION], by=None)
    elif kind == "click" and corpus.like_threshold is not None and log.has("rating"):
        asked = frame.filter(pl.col("rating").is_not_null()).with_columns(label=(pl.col("rating") >= corpus.like_threshold).cast(pl.Int64))
    elif kind == "purchase" and frame["event"].is_in(["purchase"]).any() and frame["event"].is_in(LEADING[kind]).any():
        asked = _answered(frame, asked=[*LEADING[kind]], by=["purchase"])
    else:
        asked = frame.head(0).with_columns(label=pl.lit(0, dtype=pl.Int64))
    asked = asked.select("user_id", "item_id", "position", "label", "part", "row")
    catalog = pl.DataFrame({"item_id": corpus.catalog.item_ids, "item": np.arange(len(corpus.catalog))})
    stream = _stream(corpus).with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64))
    users = pl.DataFrame({"user_id": timelines.user_ids, "user": np.arange(len(timelines)), "start": timelines.starts[:-1]})
    # An event counts from its last row on: before it, its word and rating would tell what is still to come, such as the answer.
    before = stream.select("user_id", position="last", place=pl.col("place") + 1).sort("user_id", "position")
    return (
        asked.join(catalog, on="item_id", how="inner").join(users, on="user_id", how="inner")
        # A question stands after every event that ended at a smaller position; its own row is not part of its past.
        .with_columns(before=pl.col("position") - 1).sort("user_id", "before")
        .join_asof(before, left_on="before", right_on="position", by="user_id", strategy="backward", check_sortedness=False)
        .with_columns(place=pl.col("place").fill_null(pl.col("start")))
        .sort("row").select("user", "place", "item", "label", "part", "row")
    )


def _stream(corpus: Corpus) -> pl.DataFrame:
    log = corpus.interactions
    frame = log.frame.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    for name, kind in (("rating", pl.Float64), ("timestamp", pl.Float64)):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=kind).alias(name))
    catalog = pl.DataFrame({"item_id": corpus.catalog.item_ids, "item": np.arange(len(corpus.catalog))}, schema_overrides={"item_id": pl.String})
    frame = frame.filter(log.is_shown).with_columns(asked=log.is_positive).join(catalog, on="item_id", how="inner", maintain_order="left")
    alike = pl.struct("user_id", "item_id", "part", "asked")
    new = (alike != alike.shift(1)).fill_null(True)
    return (
        frame.select("user_id", "item_id", "item", "position", "timestamp", "rating", "event", "part", "row", "asked")
        .with_columns(run=new.cum_sum())
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("user_id", "item", "position", "timestamp", "part").first(),
            pl.col("rating").drop_nulls().last(), pl.col("event").last(), pl.col("row").last(), last=pl.col("position").last(),
        )
    )


def _answered(frame: pl.DataFrame, *, asked: list[str], by: list[str] | None) -> pl.DataFrame:
    """The asked rows with their label; a question whose answer lies in a later part belongs to that part: asked in train, it would tell a held-out event."""
    answers = frame.filter(pl.col("event").is_in(by) if by else pl.col("event") != IMPRESSION)
    place = pl.col("part").replace_strict({name: i for i, name in enumerate(PARTS)}, return_dtype=pl.Int8)
    first = answers.select("user_id", "item_id", "position", answer=place).sort("position")
    return (
        frame.filter(pl.col("event").is_in(asked)).sort("position")
        .join_asof(first, on="position", by=["user_id", "item_id"], strategy="forward", check_sortedness=False)
        .with_columns(label=pl.col("answer").is_not_null().cast(pl.Int64), part=pl.max_horizontal(place, "answer").replace_strict(dict(enumerate(PARTS)), return_dtype=pl.String))
    )
