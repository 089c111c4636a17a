"""How well lists of items hold the relevant ones: recall, hit, ndcg and mrr at k, ties counted by expectation.

Separate from the evaluation, which reads the lists: here a list is only the places where its relevant items stand. NumPy only.

Items with one score are in random order: a metric is its mean over all orders of the ties, computed exactly. So a constant model scores hit@k = k / N,
and no order of a file can help or harm a model (Tamm et al., Quality Metrics in Recommender Systems, RecSys 2021, show how libraries differ here).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from llmrec.metrics.statistic import Statistic, mean_of


@dataclass(frozen=True)
class Placements:
    """Where the relevant items of each question stand: one entry for each group of tied items that holds a relevant one.

    question: (groups,) int64, ascending.   better: (groups,) int64, items with a higher score than the group.
    tied: (groups,) int64, items in the group, the relevant ones among them.   relevant: (groups,) int64, at least 1.
    num_relevant: (questions,) int64, at least 1: the question's relevant items in all, listed or not. A question without groups found none of them.
    """

    question: np.ndarray
    better: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray
    num_relevant: np.ndarray

    @classmethod
    def of_targets(cls, better: np.ndarray, tied: np.ndarray) -> Placements:
        """One relevant item for each question: `better` items score higher, `tied` as much (itself among them; 0: it is not in the list). Both (questions,)."""
        listed = np.flatnonzero(tied > 0)
        ones = np.ones(len(listed), dtype=np.int64)
        return cls(listed, better[listed].astype(np.int64), tied[listed].astype(np.int64), ones, np.ones(len(tied), dtype=np.int64))

    @classmethod
    def from_scores(cls, scores: np.ndarray, relevant: np.ndarray) -> Placements:
        """From every item's score. scores: (questions, items) float, minus infinity for an item that is not in the list; relevant: (questions, items) bool.

        Raises:
            ValueError: a score is NaN, or a question has no relevant item.
        """
        if np.isnan(scores).any():
            raise ValueError("a score is NaN; expected numbers, and minus infinity for items that are not in the list")
        if not relevant.any(axis=1).all():
            raise ValueError(f"question {int(np.flatnonzero(~relevant.any(axis=1))[0])} has no relevant item; leave such questions out")
        groups = [
            (question, int((row > score).sum()), int((row == score).sum()), int((row[wanted] == score).sum()))
            for question, (row, wanted) in enumerate(zip(scores, relevant, strict=True))
            for score in np.unique(row[wanted])
            if score != -np.inf
        ]
        columns = np.array(groups, dtype=np.int64).reshape(-1, 4).T
        return cls(*columns, num_relevant=relevant.sum(axis=1).astype(np.int64))

    def against_ties(self) -> Placements:
        """The same lists with each relevant item behind those it is tied with: what the model scores if every tie goes wrong."""
        return replace(self, better=self.better + self.tied - self.relevant, tied=self.relevant)

    def sum_by_question(self, values: np.ndarray) -> np.ndarray:
        """(groups,) values summed up for each question: (questions,)."""
        return np.bincount(self.question, weights=values, minlength=len(self.num_relevant))


def recall(placements: Placements, k: int) -> Statistic:
    """The share of the relevant items among the first k.

    >>> float(recall(Placements.of_targets(better=np.array([0]), tied=np.array([100])), k=10))
    0.1
    """
    return mean_of(placements.sum_by_question(placements.relevant * _slots(placements, k) / placements.tied) / placements.num_relevant)


def hit(placements: Placements, k: int) -> Statistic:
    """The probability that at least one relevant item is among the first k. With one relevant item it equals recall."""
    return mean_of(_hit(placements, k))


def ndcg(placements: Placements, k: int) -> Statistic:
    """Discounted gain of the first k over the best possible: a relevant item at rank r gains 1 / log2(r + 1).

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, TOIS 2002, with binary relevance and the discount of trec_eval.
    """
    gains = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    reached = gains[np.minimum(placements.better + placements.tied, k)] - gains[np.minimum(placements.better, k)]
    return mean_of(placements.sum_by_question(placements.relevant * reached / placements.tied) / gains[np.minimum(placements.num_relevant, k)])


def mrr(placements: Placements, k: int) -> Statistic:
    """The mean of 1 / rank of the first relevant item, 0 where none is among the first k."""
    hits = [np.zeros(len(placements.num_relevant)), *(_hit(placements, rank) for rank in range(1, k + 1))]
    # hit@r - hit@(r - 1) is the probability that the first relevant item stands at rank r.
    return mean_of(sum((hits[rank] - hits[rank - 1]) / rank for rank in range(1, k + 1)))


def _slots(placements: Placements, k: int) -> np.ndarray:
    """How many of the first k places each group fills."""
    return np.clip(k - placements.better, 0, placements.tied)


def _hit(placements: Placements, k: int) -> np.ndarray:
    # No relevant item of a group among its first `slots` places: C(tied - relevant, slots) / C(tied, slots), written as a product over the relevant items.
    free = placements.tied - _slots(placements, k)
    missed = np.ones(len(placements.tied))
    for i in range(int(placements.relevant.max(initial=0))):
        left = np.maximum(placements.tied - i, 1)
        missed *= np.where(i < placements.relevant, np.maximum(free - i, 0) / left, 1.0)
    all_missed = np.ones(len(placements.num_relevant))
    np.multiply.at(all_missed, placements.question, missed)
    return 1.0 - all_missed
