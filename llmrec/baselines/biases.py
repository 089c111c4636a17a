"""The biased mean: how far a user and an item lie above or below the mean rating, without any taste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from llmrec.baselines.rating_model import RatingModel, Ratings

SWEEPS = 15  # The alternation settles to 1e-4 stars within ten.
GRID = [{"regularisation_item": item, "regularisation_user": user} for item, user in product((10.0, 1.0, 3.0, 30.0), (15.0, 2.0, 5.0, 30.0))]


@dataclass(frozen=True)
class Biases:
    """mean + user (users,) + item (items,); a user or item without ratings has 0."""

    mean: float
    user: np.ndarray
    item: np.ndarray
    regularisation_user: float

    @classmethod
    def of(cls, ratings: Ratings, *, regularisation_user: float, regularisation_item: float) -> Self:
        """The biases with the least sum of (r - mean - b_u - b_i)^2 + regularisation_user * sum b_u^2 + regularisation_item * sum b_i^2.

        Alternating: given the users' biases each item's has a closed form, and the other way round; items first.
        Source: Koren, Factor in the neighbors, TKDD 2010, section 2.1.
        """
        mean = float(ratings.values.mean())
        user = np.zeros(ratings.shape[0])
        for _ in range(SWEEPS):
            item = np.bincount(ratings.items, ratings.values - mean - user[ratings.users], ratings.shape[1]) / (regularisation_item + ratings.item_counts)
            user = np.bincount(ratings.users, ratings.values - mean - item[ratings.items], ratings.shape[0]) / (regularisation_user + ratings.user_counts)
        return cls(mean, user, item, regularisation_user)

    def __call__(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) the estimates for pairs of a user number and a catalogue row."""
        return self.mean + self.user[users] + self.item[items]

    def of_new_users(self, given: Ratings) -> np.ndarray:
        """(users of `given`,) their biases, the items' held fixed; 0 without ratings."""
        sums = np.bincount(given.users, given.values - self.mean - self.item[given.items], given.shape[0])
        return sums / (self.regularisation_user + given.user_counts)


class BiasedModel(RatingModel):
    """A rating model on top of tuned biases, which it finds in `biases`."""

    def _learn(self, train: Ratings, valid: Ratings) -> None:
        def error(settings: Mapping[str, float]) -> float:
            return self.rmse(Biases.of(train, **settings)(valid.users, valid.items), valid)

        chosen = min(GRID, key=error) if len(valid) else GRID[0]
        self.settings |= chosen
        self.biases = Biases.of(train, **chosen)


class UserItemBias(BiasedModel):
    """Estimates mean + user bias + item bias.

    Chosen on valid: regularisation_item of (1, 3, 10, 30) and regularisation_user of (2, 5, 15, 30); defaults 10 and 15. A new user's bias comes from the history.
    """

    name = "user_item_bias"

    def estimate(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return self.biases(users, items)

    def fold_in(self, given: Ratings, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return self.biases.mean + self.biases.of_new_users(given)[users] + self.biases.item[items]
