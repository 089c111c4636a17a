"""What is asked and what is answered: Request and Prediction, with their JSON forms.

Separate from the Recommender, so that baselines, the evaluation and files of requests share one shape with it and need no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from llmrec.interactions import Event


@dataclass(frozen=True)
class Request:
    """One question. `task` decides which of the optional fields are needed: query (search), item_id (rating, click, purchase, explanation), candidates (ranking), review (review_summary).

    `exclude` are never answered, `include` (where given) alone may be; `exclude_seen` leaves the items of the history out;
    `where` holds attribute predicates such as {"genres": "Comedy"} (a list: any of them). None of them changes a score.
    `context` is that of the moment asked about. `user_id` is echoed; histories are given, never looked up.
    """

    id: str = ""
    task: str = "next_item"
    history: tuple[Event, ...] = ()
    k: int = 10
    query: str | None = None
    item_id: str | None = None
    candidates: tuple[str, ...] | None = None
    review: str | None = None
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] | None = None
    exclude_seen: bool = True
    where: Mapping[str, object] | None = None
    context: Mapping[str, str] | None = None
    timestamp: float | None = None
    language: str = "en"
    user_id: str | None = None

    @classmethod
    def from_json(cls, record: object) -> Request:
        """A request from one parsed JSON object. Raises ValueError naming the field for a wrong type, an unknown field or k < 1."""
        if not isinstance(record, Mapping):
            raise ValueError(f"a request is a JSON object, got {type(record).__name__}")
        if not record.keys() <= _FIELDS:
            raise ValueError(f"unknown field {min(set(record) - _FIELDS)!r}; a request has: {', '.join(sorted(_FIELDS))}")
        values = {name: value for name, value in record.items() if value is not None}
        for name in ("id", "user_id", "item_id"):
            if name in values:
                values[name] = _text(values[name], name, numbers=True)
        for name in ("task", "query", "review", "language"):
            if name in values:
                values[name] = _text(values[name], name)
        for name in ("candidates", "exclude", "include"):
            if name in values:
                values[name] = tuple(_text(x, name, numbers=True) for x in _array(values[name], name))
        k = values.get("k", 10)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k is {k!r}; expected a whole number of at least 1")
        if "exclude_seen" in values:
            _flag(values["exclude_seen"], "exclude_seen")
        for name in ("where", "context"):
            if name in values and not isinstance(values[name], Mapping):
                raise ValueError(f"{name} is {values[name]!r}; expected an object such as {{\"genres\": \"Comedy\"}}")
        if "where" in values:  # a Parquet file gives every row the keys of all
            values["where"] = {str(key): value for key, value in values["where"].items() if value is not None}
        if "context" in values:
            values["context"] = _context(values["context"])
        if "timestamp" in values:
            values["timestamp"] = _number(values["timestamp"], "timestamp")
        if "history" in values:
            values["history"] = tuple(map(_event, _array(values["history"], "history")))
        return cls(**values)


_FIELDS = frozenset(field.name for field in fields(Request))


class Item(NamedTuple):
    """One recommended item; `score` is its joint log-probability under the full answer space."""

    item_id: str
    title: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """One answer. Items best first in `item_ids` and `scores` (same length), or `distribution` and `value` (its mean), or `probability`, or `text`; or `error`, a sentence.

    `skipped` counts items of the history the catalogue does not hold; `truncated`: fewer items than k exist; `plain`: the text is made of the question and the catalogue, for what was written could not stand.
    """

    id: str = ""
    task: str = ""
    item_ids: Sequence[str] | None = None
    scores: Sequence[float] | None = None
    value: float | None = None
    distribution: Mapping[str, float] | None = None
    probability: float | None = None
    text: str | None = None
    error: str | None = None
    skipped: int = 0
    truncated: bool = False
    plain: bool = False
    user_id: str | None = None

    def items(self, titles: Mapping[str, str]) -> list[Item]:
        """The items as records, best first; `titles` maps item_id to title."""
        return [Item(item_id, titles.get(item_id, ""), float(score)) for item_id, score in zip(self.item_ids or (), self.scores or (), strict=True)]

    def to_json(self, titles: Mapping[str, str] = {}) -> dict[str, object]:
        """The answer as an object for JSON Lines, without the fields that are not set."""
        record: dict[str, object] = {"id": self.id, "task": self.task}
        if self.user_id is not None:
            record["user_id"] = self.user_id
        if self.error is not None:
            return {**record, "error": self.error}
        if self.item_ids is not None:
            record["items"] = [item._asdict() for item in self.items(titles)]
        for name in ("value", "distribution", "probability", "text"):
            if getattr(self, name) is not None:
                record[name] = getattr(self, name)
        if self.skipped:
            record["skipped"] = self.skipped
        for name in ("truncated", "plain"):
            if getattr(self, name):
                record[name] = True
        return record


@dataclass(frozen=True)
class HeldOut:
    """A held-out question and its true answer: an item_id, a rating, 0.0 / 1.0, or a reference text. `row` is its row in the log's frame (-1: none).
    `person`: whom intervals and figures by user count it for, where that is not the request's user.

    `tags` mark sub-groups the report shows apart, such as {"kind": "keywords"} of a search.
    """

    request: Request
    target: str | float
    row: int = -1
    tags: Mapping[str, str] = field(default_factory=dict)
    person: str | None = None


def _text(value: object, name: str, *, numbers: bool = False) -> str:
    if isinstance(value, str):
        _check_surrogates(value, name)
        return value
    if numbers and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{name} is {value!r}; expected a string")


def _check_surrogates(value: str, name: str) -> None:
    try:
        value.isascii() or value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds a lone surrogate, which is not text; expected valid Unicode") from None


def _array(value: object, name: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{name} is {value!r}; expected an array")
    return value


def _number(value: object, name: str) -> float:
    try:
        number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number of any length is JSON
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {value!r:.40}; expected a finite number")
    return number


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; expected true or false")
    return value


def _context(value: Mapping[object, object]) -> dict[str, str]:
    return {str(key): str(entry) for key, entry in value.items() if entry is not None}


def _event(value: object) -> Event:
    if isinstance(value, str):  # most are
        _check_surrogates(value, "history")
        return Event(value)
    if not isinstance(value, Mapping):
        return Event(_text(value, "history", numbers=True))
    unknown = sorted(set(value) - set(Event._fields))
    if unknown or "item_id" not in value:
        raise ValueError(f"an event of the history has item_id and optionally {', '.join(Event._fields[1:])}; got {sorted(value)}")
    context = value.get("context")
    if context is not None and not isinstance(context, Mapping):
        raise ValueError(f"context of an event is {context!r}; expected an object")
    return Event(
        item_id=_text(value["item_id"], "item_id", numbers=True),
        rating=None if value.get("rating") is None else _number(value["rating"], "rating"),
        timestamp=None if value.get("timestamp") is None else _number(value["timestamp"], "timestamp"),
        event=None if value.get("event") is None else _text(value["event"], "event"),
        context=None if context is None else _context(context),
        seen=True if value.get("seen") is None else _flag(value["seen"], "seen"),
    )
