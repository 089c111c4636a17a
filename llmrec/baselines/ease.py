"""EASE: a linear auto-encoder over items with a closed form, the hardest of the simple baselines to beat on dense data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from llmrec.baselines.catalog_model import CatalogModel, next_item_questions
from llmrec.baselines.histories import Histories, train_matrix
from llmrec.predictions import Request
from llmrec.timelines import Timelines

MAX_ITEMS = 45_000  # LAPACK addresses a matrix with 32-bit integers: more rows than 46,340 overflow them.
DOUBLE_ITEMS = 5_000  # Up to here in float64; beyond, float32 halves memory and time and changes scores by less than their third digit.
ONE_THREAD_ITEMS = 16_000  # Beyond, one thread: with several, OpenBLAS 0.3.30 ends the process as it begins to factor 32,700 rows; 26,000 had run for 25 seconds without.
LAMBDAS = (300.0, 30.0, 100.0, 1000.0)


class EASE(CatalogModel):
    """Scores items by history @ B, where B (items, items) reproduces the train matrix X best under a zero diagonal and a ridge of `l2`.

    P = (X'X + l2 I)^-1, B_ij = -P_ij / P_jj, B_jj = 0. Chosen on valid: l2 of (30, 100, 300, 1000); default 300.
    One matrix of items x items is held, and inverted in place. An empty history falls back to popularity.

    Source: Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019, algorithm 1.
    """

    name = "ease"

    def _learn(self, timelines: Timelines) -> None:
        num_items = len(self.catalog)
        if num_items > MAX_ITEMS:
            raise ValueError(f"ease inverts a matrix of items x items and takes at most {MAX_ITEMS} items; the catalogue has {num_items}. Use item_knn instead")
        events = train_matrix(timelines)

        def apply(settings: Mapping[str, float]) -> None:
            self.weights = None  # frees the last matrix before the next is made
            self.weights = ease_weights(events, settings["l2"], dtype=np.float64 if num_items <= DOUBLE_ITEMS else np.float32)

        self.tune_on(next_item_questions(timelines, seed=self.seed), [{"l2": value} for value in LAMBDAS], apply)

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        return histories.matrix(len(self.catalog)).astype(self.weights.dtype) @ self.weights


def ease_weights(events: sp.csr_array, l2: float, *, dtype: type = np.float64) -> np.ndarray:
    """B of EASE, (items, items), row-major. `events`: (users, items), 0 and 1.

    Raises:
        ValueError: l2 is not positive, without which the matrix need not have an inverse.
    """
    if l2 <= 0:
        raise ValueError(f"l2 is {l2}; expected a number above 0")
    factor, inverse = (lapack.dpotrf, lapack.dpotri) if dtype == np.float64 else (lapack.spotrf, lapack.spotri)
    # Column-major, as LAPACK wants it, so that nothing is copied. The matrix is symmetric, so its transpose is the same matrix row-major.
    gram = (events.T @ events).astype(dtype).toarray(order="F")
    gram[np.diag_indices_from(gram)] += l2
    with threadpool_limits(1 if len(gram) > ONE_THREAD_ITEMS else None, user_api="blas"):
        gram, failed = factor(gram, lower=1, overwrite_a=1)
        if not failed:
            gram, failed = inverse(gram, lower=1, overwrite_c=1)
    assert not failed, "a positive l2 makes the matrix positive definite"
    inverted = gram.T  # its upper triangle is valid
    for column in range(len(inverted) - 1):
        inverted[column + 1:, column] = inverted[column, column + 1:]
    inverted /= -np.diag(inverted).copy()
    np.fill_diagonal(inverted, 0)
    return inverted
