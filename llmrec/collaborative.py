"""Collaborative vectors: what train's events say about an item, where `content` holds what its text says.

Separate from the item rows that are made of both, so that no number here can come from a held-out event: the audit computes them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse
from sklearn.utils.extmath import randomized_svd

from llmrec.interactions import FOLDS, TRAIN, Corpus, fold_of

STATISTICS = 2
"""Columns behind the co-occurrence vector: how well the item is rated, and how often it is met."""

_SWEEPS = 8
_ITEM_PRIOR, _USER_PRIOR = 10.0, 5.0  # ratings that a mean of 0 is worth in a bias
_WEAKEST = 1e-6  # of the largest strength: what is weaker is noise, and would be blown up
_SCALE = 0.5  # of a standard deviation of the statistics, beside vectors of length 1


def collaborative_vectors(corpus: Corpus, *, size: int, seed: int = 0) -> np.ndarray:
    """(items, width + STATISTICS) float32: for each catalogue row a vector of length 1 of the company it keeps, then its rating bias and its log count, standardised.

    The vector is a truncated SVD of the positive pointwise mutual information of items met by the same users, each user counting once; its width is `size` or, where there are fewer items, one less than these.
    An item without train events has a zero vector and count, and the bias of one rated as it is expected (which is 0 before biases are standardised); without ratings in the log every bias is 0. Memory grows with the pairs of items that share a user.

    Sources: Levy and Goldberg, Neural word embedding as implicit matrix factorization, NIPS 2014 (the vectors); Koren, Factor in the neighbors, TKDD 2010, section 2.1 (the bias).
    """
    meetings = _Meetings.of(corpus)
    return meetings.vectors(meetings.basis(size, seed))


def vectors_of_others(corpus: Corpus, *, size: int, seed: int = 0) -> np.ndarray:
    """(FOLDS, items, width + STATISTICS) float32: the collaborative vectors that all users but those of one fold make, in the coordinates of `collaborative_vectors`.

    A user in training who is shown the vectors of the other folds is shown nothing that the very event asked about has made; the coordinates alone are those of all events.
    """
    meetings = _Meetings.of(corpus)
    basis = meetings.basis(size, seed)
    return np.stack([meetings.where(meetings.folds != fold).vectors(basis) for fold in range(FOLDS)])


@dataclass(frozen=True)
class _Meetings:
    """Who met what in train: users, rows, folds (events,) int64, ratings (events,) float64 with NaN where there is none."""

    users: np.ndarray
    rows: np.ndarray
    folds: np.ndarray
    ratings: np.ndarray
    num_items: int

    @classmethod
    def of(cls, corpus: Corpus) -> _Meetings:
        log = corpus.interactions.part(TRAIN)
        frame = log.frame.filter(log.is_shown)
        rows = np.array([corpus.catalog.rows.get(item_id, -1) for item_id in frame["item_id"]], dtype=np.int64)
        users = frame["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
        folds = np.array([fold_of(user_id) for user_id in frame["user_id"]], dtype=np.int64)
        ratings = frame["rating"].to_numpy().astype(np.float64) if log.has("rating") else np.full(len(frame), np.nan)
        return cls(users, rows, folds, ratings, len(corpus.catalog)).where(rows >= 0)

    def where(self, chosen: np.ndarray) -> _Meetings:
        """Some of them; chosen: (events,) bool."""
        return _Meetings(self.users[chosen], self.rows[chosen], self.folds[chosen], self.ratings[chosen], self.num_items)

    def basis(self, size: int, seed: int) -> np.ndarray:
        """(items, width): what the information of an item is multiplied with to give its vector."""
        width = max(1, min(size, self.num_items - 1))
        _, strengths, right = randomized_svd(self.information, width, random_state=seed)
        return right.T / np.sqrt(np.maximum(strengths, _WEAKEST * strengths.max(initial=_WEAKEST)))

    def vectors(self, basis: np.ndarray) -> np.ndarray:
        """(items, width + STATISTICS) float32, as `collaborative_vectors` says."""
        company = self.information @ basis
        lengths = np.linalg.norm(company, axis=1, keepdims=True)
        company = np.divide(company, lengths, out=np.zeros_like(company), where=lengths > 1e-9)
        count = np.bincount(self.rows, minlength=self.num_items)
        popularity = np.where(count > 0, _standardised(np.log1p(count)), 0.0)
        rated = ~np.isnan(self.ratings)
        bias = _standardised(_biases(self.users[rated], self.rows[rated], self.ratings[rated], self.num_items)) if rated.any() else np.zeros(self.num_items)
        return np.c_[company, _SCALE * bias, _SCALE * popularity].astype(np.float32)

    @cached_property
    def information(self) -> sparse.csr_matrix:
        """(items, items) positive pointwise mutual information of items met by the same users."""
        met = sparse.csr_matrix((np.ones(len(self.rows)), (self.users, self.rows)), shape=(int(self.users.max(initial=0)) + 1, self.num_items))
        met.data[:] = 1.0
        events = np.asarray(met.sum(axis=1)).ravel()
        together = (met.T @ sparse.diags(1 / np.maximum(events, 1)) @ met).tocoo()
        apart = together.row != together.col
        first, second, weight = together.row[apart], together.col[apart], together.data[apart]
        total = np.bincount(first, weight, self.num_items)
        information = np.log(weight * weight.sum() / (total[first] * total[second]))
        return sparse.csr_matrix((np.maximum(information, 0), (first, second)), shape=(self.num_items, self.num_items))


def _biases(users: np.ndarray, rows: np.ndarray, ratings: np.ndarray, num_items: int) -> np.ndarray:
    """(items,) how far each lies above or below what its users rate otherwise."""
    centred = ratings - ratings.mean()
    of_user, of_item = np.zeros(int(users.max(initial=0)) + 1), np.zeros(num_items)
    for _ in range(_SWEEPS):
        of_item = np.bincount(rows, centred - of_user[users], num_items) / (_ITEM_PRIOR + np.bincount(rows, minlength=num_items))
        of_user = np.bincount(users, centred - of_item[rows], len(of_user)) / (_USER_PRIOR + np.bincount(users, minlength=len(of_user)))
    return of_item


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() or 1.0)
