"""The pasts of many questions as flat arrays: what baselines read instead of lists of events.

Separate from `timelines` (one user at a time, events for a prompt): a baseline scores thousands of users with one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from llmrec.interactions import PARTS, TRAIN, Catalog, Event
from llmrec.predictions import Request
from llmrec.timelines import Timelines


@dataclass(frozen=True)
class Histories:
    """The histories of a batch of questions; question q owns the events `starts[q]:starts[q + 1]`, oldest first.

    items: (events,) int64, row in the catalogue.   ratings: (events,) float64, NaN where there is none.   seen: (events,) bool: see Event.
    skipped: (questions,) int64, how many events were left out because the catalogue does not hold their item.
    """

    starts: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    seen: np.ndarray
    skipped: np.ndarray

    @classmethod
    def of(cls, requests: Sequence[Request], catalog: Catalog) -> Histories:
        """The histories that requests bring along."""
        return cls.of_events([request.history for request in requests], catalog.rows)

    @classmethod
    def of_events(cls, histories: Sequence[Sequence[Event]], rows: Mapping[str, int]) -> Histories:
        """rows: item id -> catalogue row."""
        known = [[(rows[e.item_id], np.nan if e.rating is None else e.rating, e.seen) for e in events if e.item_id in rows] for events in histories]
        sizes = np.array([len(events) for events in known], dtype=np.int64)
        flat = np.array([event for events in known for event in events], dtype=np.float64).reshape(-1, 3)
        return cls(
            starts=np.concatenate([[0], np.cumsum(sizes)]),
            items=flat[:, 0].astype(np.int64),
            ratings=flat[:, 1],
            seen=flat[:, 2].astype(bool),
            skipped=np.array([len(events) for events in histories], dtype=np.int64) - sizes,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> np.ndarray:
        """(questions,) how many known events each history has."""
        return np.diff(self.starts)

    @property
    def owners(self) -> np.ndarray:
        """(events,) the question each event belongs to."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def where(self, chosen: np.ndarray) -> Histories:
        """These histories with the chosen events only; chosen: (events,) bool."""
        sizes = np.bincount(self.owners[chosen], minlength=len(self))
        return Histories(np.concatenate([[0], np.cumsum(sizes)]), self.items[chosen], self.ratings[chosen], self.seen[chosen], self.skipped)

    def latest(self, count: int) -> Histories:
        """These histories with their latest `count` events at most."""
        return self.where(np.arange(len(self.items)) >= (self.starts[1:] - count)[self.owners])

    def last_items(self) -> np.ndarray:
        """(questions,) the row of the latest item, -1 for an empty history."""
        last = np.full(len(self), -1)
        filled = self.sizes > 0
        last[filled] = self.items[self.starts[1:][filled] - 1]
        return last

    def matrix(self, num_items: int, *, decay: float = 1.0) -> sp.csr_array:
        """(questions, num_items) with 1 where the item is in the history, however often; or with decay ** n, where n events stand behind its last occurrence."""
        found = presence(self.owners, self.items, (len(self), num_items))
        if decay != 1.0:
            behind = self.starts[1:][self.owners] - 1 - np.arange(len(self.items))
            _, last = np.unique((self.owners * num_items + self.items)[::-1], return_index=True)  # the first from behind
            found = sp.coo_array((decay ** behind[::-1][last], (self.owners[::-1][last], self.items[::-1][last])), shape=found.shape).tocsr()
        return found


def presence(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sp.csr_array:
    """A sparse matrix, float64, with 1 at the given places, repeated ones counted once."""
    matrix = sp.coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    matrix.data[:] = 1
    return matrix


def users_of_events(timelines: Timelines) -> np.ndarray:
    """(events,) the user number of every event in the flat arrays."""
    return np.repeat(np.arange(len(timelines)), np.diff(timelines.starts))


def in_train(timelines: Timelines) -> np.ndarray:
    """(events,) whether each event belongs to the part train."""
    return timelines.parts == PARTS.index(TRAIN)


def train_matrix(timelines: Timelines) -> sp.csr_array:
    """(users, items) with 1 where train holds an event of this user and item."""
    chosen = in_train(timelines)
    return presence(users_of_events(timelines)[chosen], timelines.items[chosen], (len(timelines), len(timelines.corpus.catalog)))
