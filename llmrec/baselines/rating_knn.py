"""Item-based nearest neighbours for ratings: what the user thought of the items whose ratings go along with this one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import scipy.sparse as sp

from llmrec.baselines.biases import BiasedModel
from llmrec.baselines.catalog_model import CELLS
from llmrec.baselines.neighbours import nearest
from llmrec.baselines.rating_model import REQUESTS, Ratings

NUM_NEIGHBOURS = (40, 20, 80)
SHRINKAGES = (100.0, 30.0, 300.0)
KEPT = 1000  # Similar items kept for each item: bounds memory, and no user has rated more than a few of an item's thousand nearest.


class RatingKNN(BiasedModel):
    """Estimates the biased mean plus the similarity-weighted mean of the user's deviations from it on the `num_neighbours` most similar items of the history.

    Deviations d = r - mean - b_u - b_i. Over the n users who rated both i and j: similarity = (n - 1) / (n - 1 + shrinkage) * sum d_i d_j / sqrt(sum d_i^2 sum d_j^2);
    only positive ones count. The history is always the request's; only the user's bias is the fitted one where the user is known.
    Chosen on valid: the biases as in user_item_bias; num_neighbours of (20, 40, 80) and shrinkage of (30, 100, 300); defaults 40 and 100.

    Source: Koren, Factor in the neighbors, TKDD 2010, section 2.2, with the correlation of deviations in place of Pearson's.
    """

    name = "rating_knn"

    def _learn(self, train: Ratings, valid: Ratings) -> None:
        super()._learn(train, valid)
        deviations = train.matrix(train.values - self.biases(train.users, train.items))
        self._deviations = deviations
        tables = deviation_similarities(deviations, SHRINKAGES)

        def apply(settings: Mapping[str, float]) -> None:
            self.num_neighbours, self.similarity = int(settings["num_neighbours"]), tables[settings["shrinkage"]]

        self.tune_on(valid, [{"num_neighbours": k, "shrinkage": shrinkage} for shrinkage, k in product(SHRINKAGES, NUM_NEIGHBOURS)], apply)

    def estimate(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        chunks = [slice(start, start + REQUESTS) for start in range(0, len(items), REQUESTS)]
        return self.biases(users, items) + np.concatenate([np.empty(0), *(self._neighbourhood(items[chunk], self._deviations[users[chunk]]) for chunk in chunks)])

    def fold_in(self, given: Ratings, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return self._of_history(self.biases.of_new_users(given), given, users, items)

    def answer(self, users: np.ndarray, items: np.ndarray, given: Ratings) -> np.ndarray:
        user = np.where(users >= 0, self.biases.user[users], self.biases.of_new_users(given))
        return self._of_history(user, given, np.arange(len(items)), items)

    def _of_history(self, bias: np.ndarray, given: Ratings, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) as in `fold_in`; bias: (users of `given`,)."""
        deviations = given.matrix(given.values - self.biases.mean - bias[given.users] - self.biases.item[given.items])
        return self.biases.mean + bias[users] + self.biases.item[items] + self._neighbourhood(items, deviations[users])

    def _neighbourhood(self, items: np.ndarray, deviations: sp.csr_array) -> np.ndarray:
        """(n,) the weighted mean deviations; items (n,), deviations (n, all items). 0 where no neighbour was rated."""
        rated = deviations.copy()
        rated.data = np.ones_like(rated.data)
        weights = nearest(self.similarity[items].multiply(rated).tocsr(), self.num_neighbours)
        total = np.asarray(weights.sum(axis=1)).ravel()
        return np.asarray(weights.multiply(deviations).sum(axis=1)).ravel() / np.where(total > 0, total, 1)


def deviation_similarities(deviations: sp.csr_array, shrinkages: Sequence[float]) -> dict[float, sp.csr_array]:
    """shrinkage -> (items, items) sparse: the positive shrunk correlations, at most KEPT an item. `deviations`: (users, items), zeros among them are ratings too."""
    num_items = deviations.shape[1]
    rated, squares = deviations.copy(), deviations.copy()
    rated.data, squares.data = np.ones_like(rated.data), squares.data**2
    blocks: dict[float, list[sp.csr_array]] = {shrinkage: [] for shrinkage in shrinkages}
    step = max(1, CELLS // num_items)
    by_item = [matrix.T.tocsr() for matrix in (deviations, rated, squares)]
    for start in range(0, num_items, step):
        d, r, s = (matrix[start:start + step] for matrix in by_item)
        product_sum, together = (d @ deviations).toarray(), (r @ rated).toarray()
        norm = np.sqrt((s @ rated).toarray() * (r @ squares).toarray())
        product_sum[np.arange(len(product_sum)), start + np.arange(len(product_sum))] = 0  # an item is no neighbour of itself
        row, column = np.nonzero((product_sum > 0) & (together > 1))
        correlation, common = product_sum[row, column] / norm[row, column], together[row, column] - 1
        for shrinkage, parts in blocks.items():
            table = sp.coo_array((correlation * common / (common + shrinkage), (row, column)), shape=product_sum.shape).tocsr()
            parts.append(nearest(table, KEPT))
    return {shrinkage: sp.vstack(parts, format="csr") for shrinkage, parts in blocks.items()}
