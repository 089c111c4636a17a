"""Collaborative vectors: what train's events say about an item, where `content` holds what its text says.

Separate from the item rows that are made of both, so that no number here can come from a held-out event: the audit computes them again.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from sklearn.utils.extmath import randomized_svd

from llmrec.interactions import TRAIN, Corpus

STATISTICS = 2
"""Columns behind the co-occurrence vector: how well the item is rated, and how often it is met."""

_SWEEPS = 8
_ITEM_PRIOR, _USER_PRIOR = 10.0, 5.0  # ratings that a mean of 0 is worth in a bias
_SCALE = 0.5  # of a standard deviation of the statistics, beside vectors of length 1


def collaborative_vectors(corpus: Corpus, *, size: int, seed: int = 0) -> np.ndarray:
    """(items, width + STATISTICS) float32: for each catalogue row a vector of length 1 of the company it keeps, then its rating bias and its log count, standardised.

    The vector is a truncated SVD of the positive pointwise mutual information of items met by the same users, each user counting once; its width is `size` or, where there are fewer items, one less than these.
    An item without train events has a zero vector and count, and the bias of one rated as it is expected (which is 0 before biases are standardised); without ratings in the log every bias is 0. Memory grows with the pairs of items that share a user.

    Sources: Levy and Goldberg, Neural word embedding as implicit matrix factorization, NIPS 2014 (the vectors); Koren, Factor in the neighbors, TKDD 2010, section 2.1 (the bias).
    """
    log = corpus.interactions.part(TRAIN)
    frame = log.frame.filter(log.is_positive)
    rows = np.array([corpus.catalog.rows.get(item_id, -1) for item_id in frame["item_id"]], dtype=np.int64)
    users = frame["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    known = rows >= 0
    rows, users = rows[known], users[known]
    num_items = len(corpus.catalog)
    count = np.bincount(rows, minlength=num_items)
    popularity = np.where(count > 0, _standardised(np.log1p(count)), 0.0)
    bias = np.zeros(num_items)
    if log.has("rating"):
        ratings = frame["rating"].to_numpy().astype(np.float64)[known]
        rated = ~np.isnan(ratings)
        bias = _standardised(_biases(users[rated], rows[rated], ratings[rated], num_items))
    return np.c_[_company(users, rows, num_items, size, seed), _SCALE * bias, _SCALE * popularity].astype(np.float32)


def _company(users: np.ndarray, rows: np.ndarray, num_items: int, size: int, seed: int) -> np.ndarray:
    met = sparse.csr_matrix((np.ones(len(rows)), (users, rows)), shape=(int(users.max(initial=0)) + 1, num_items))
    met.data[:] = 1.0
    events = np.asarray(met.sum(axis=1)).ravel()
    together = (met.T @ sparse.diags(1 / np.maximum(events, 1)) @ met).tocoo()
    apart = together.row != together.col
    first, second, weight = together.row[apart], together.col[apart], together.data[apart]
    total = np.bincount(first, weight, num_items)
    information = np.log(weight * weight.sum() / (total[first] * total[second]))
    matrix = sparse.csr_matrix((np.maximum(information, 0), (first, second)), shape=(num_items, num_items))
    width = max(1, min(size, num_items - 1))
    left, strengths, _ = randomized_svd(matrix, width, random_state=seed)
    vectors = left * np.sqrt(strengths)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)


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
