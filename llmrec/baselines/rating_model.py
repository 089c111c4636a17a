"""The shared half of every baseline that answers with a rating: who is known, which rating scale, and the error on valid by which it is tuned.

Separate from the models, so that each of them is nothing but its estimate.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

from llmrec.baselines.baseline import Baseline
from llmrec.baselines.histories import Histories, users_of_events
from llmrec.interactions import PARTS, TRAIN, VALID
from llmrec.predictions import Prediction, Request
from llmrec.timelines import Timelines

REQUESTS = 4096  # Requests answered at a time.


@dataclass(frozen=True)
class Ratings:
    """Ratings as triples: users (n,) int64, items (n,) int64 (row in the catalogue), values (n,) float64; `shape` is (users, items)."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, timelines: Timelines, part: str) -> Ratings:
        """The ratings of this part, users in order, each user's oldest first."""
        chosen = (timelines.parts == PARTS.index(part)) & ~np.isnan(timelines.ratings)
        return cls(users_of_events(timelines)[chosen], timelines.items[chosen], timelines.ratings[chosen], (len(timelines), len(timelines.corpus.catalog)))

    @classmethod
    def of_histories(cls, histories: Histories, num_items: int) -> Ratings:
        """The ratings in these histories; the users are the questions."""
        rated = ~np.isnan(histories.ratings)
        return cls(histories.owners[rated], histories.items[rated], histories.ratings[rated], (len(histories), num_items))

    def of_users(self, users: np.ndarray) -> Ratings:
        """The ratings of these users (ascending numbers), who are numbered anew from 0."""
        number = np.full(self.shape[0], -1)
        number[users] = np.arange(len(users))
        chosen = number[self.users] >= 0
        return Ratings(number[self.users[chosen]], self.items[chosen], self.values[chosen], (len(users), self.shape[1]))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def user_counts(self) -> np.ndarray:
        return np.bincount(self.users, minlength=self.shape[0])

    @property
    def item_counts(self) -> np.ndarray:
        return np.bincount(self.items, minlength=self.shape[1])

    def matrix(self, values: np.ndarray) -> sp.csr_array:
        """(users, items) sparse with `values` (n,) at the ratings' places, zeros among them kept; of an item rated twice by a user the later counts."""
        keys = self.users * self.shape[1] + self.items
        last = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
        return sp.coo_array((values[last], (self.users[last], self.items[last])), shape=self.shape).tocsr()


class RatingModel(Baseline):
    """A baseline that estimates a rating. Subclasses write `_learn`, `estimate` and `fold_in`.

    A user of the log, named by `user_id`, is answered by the parameters fitted on train; any other by what the ratings of the request's history say.
    An item without train ratings gets what is known of the user. Estimates are clipped to the corpus's rating scale (to the range of train ratings where it declares none).
    """

    tasks = ("rating",)

    @abstractmethod
    def _learn(self, train: Ratings, valid: Ratings) -> None:
        """Learns from train; may choose its settings on valid, which may be empty."""

    @abstractmethod
    def estimate(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) the unclipped estimates for pairs of a user number and a catalogue row."""

    @abstractmethod
    def fold_in(self, given: Ratings, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) the unclipped estimates for pairs of a user number of `given` and a catalogue row; the users of `given` have no parameters, all that is known of them are these ratings."""

    def _fit(self, timelines: Timelines) -> None:
        train, valid = Ratings.of(timelines, TRAIN), Ratings.of(timelines, VALID)
        if not len(train):
            raise ValueError(f"{self.name} needs ratings in train; corpus {timelines.corpus.name!r} has none")
        scale = timelines.corpus.rating_scale or (train.values.min(), train.values.max())
        self.low, self.high = float(min(scale)), float(max(scale))
        known = train.user_counts > 0
        self.user_rows = {user_id: row for row, user_id in enumerate(timelines.user_ids) if known[row]}
        self._learn(train, valid)

    def fit_ratings(self, train: Ratings, valid: Ratings, scale: Sequence[float], *, seed: int = 0) -> Self:
        """Learns from ratings alone, for the estimates of `fold_in`, and returns itself. scale: its lowest and highest value bound an estimate."""
        self.seed, self.settings = seed, {}
        self.low, self.high = float(min(scale)), float(max(scale))
        self._learn(train, valid)
        return self

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        for start in range(0, len(requests), REQUESTS):
            batch = requests[start:start + REQUESTS]
            histories = Histories.of(batch, self.catalog)
            users = np.array([self.user_rows.get(request.user_id, -1) for request in batch])
            items = np.array([self.catalog.rows[request.item_id] for request in batch])
            values = self.answer(users, items, Ratings.of_histories(histories, len(self.catalog)))
            for request, value, skipped in zip(batch, self.clip(values).tolist(), histories.skipped.tolist(), strict=True):
                yield Prediction(id=request.id, task=request.task, user_id=request.user_id, value=value, skipped=skipped)

    def answer(self, users: np.ndarray, items: np.ndarray, given: Ratings) -> np.ndarray:
        """(n,) the unclipped estimates for n requests: user number (-1: unknown), catalogue row, and the ratings of their histories."""
        known, unknown = np.flatnonzero(users >= 0), np.flatnonzero(users < 0)
        values = np.empty(len(items))
        values[known] = self.estimate(users[known], items[known])
        if len(unknown):
            values[unknown] = self.fold_in(given.of_users(unknown), np.arange(len(unknown)), items[unknown])
        return values

    def clip(self, values: np.ndarray) -> np.ndarray:
        return np.clip(values, self.low, self.high)

    def rmse(self, estimates: np.ndarray, ratings: Ratings) -> float:
        """The root mean squared error of these estimates (n,), clipped."""
        return float(np.sqrt(np.mean((self.clip(estimates) - ratings.values) ** 2)))

    def tune_on(self, valid: Ratings, grid: Sequence[Mapping[str, float]], apply: Callable[[Mapping[str, float]], None]) -> None:
        """Applies the settings of `grid` with the least rmse on valid; where valid is empty the first."""
        self.tune(grid, apply, (lambda: self.rmse(self.estimate(valid.users, valid.items), valid)) if len(valid) else None)
