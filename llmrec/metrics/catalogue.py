"""What lists do with the catalogue, whoever they are for: how much of it they show, how known and how alike the items are. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from llmrec.metrics.statistic import Statistic, mean_of


@dataclass(frozen=True)
class ItemLists:
    """items: (questions, length) int64, rows of the catalogue, best first, -1 where a list is shorter.

    popularity: (num_items,) int64, events of each item in train.   attributes: num_items sets of attribute values, empty where nothing is known.
    """

    items: np.ndarray
    popularity: np.ndarray
    attributes: Sequence[frozenset[str]]


def coverage(lists: ItemLists, k: int) -> Statistic:
    """The share of the catalogue that stands among the first k of any list. It grows with the number of lists, so it has no interval."""
    return Statistic(lists.items[:, :k], partial(_share_listed, num_items=len(lists.popularity)), resampled=False)


def novelty(lists: ItemLists, k: int) -> Statistic:
    """The mean surprise of the first k items, in bits: -log2 of the item's share of the train events, one event added to each item so that a new item has a
    share.

    Source: Vargas and Castells, Rank and relevance in novelty and diversity metrics for recommender systems, RecSys 2011 (mean self-information).
    """
    counts = lists.popularity + 1.0
    return mean_of(_mean_of_items(-np.log2(counts / counts.sum()), lists.items[:, :k]))


def popularity(lists: ItemLists, k: int) -> Statistic:
    """The mean place of the first k items among the catalogue by train popularity, 0 to 1: .5 for items drawn at random, towards 1 the more only what is
    popular is shown.

    Items of equal popularity share the middle of their places.
    """
    ordered = np.sort(lists.popularity)
    below, up_to = np.searchsorted(ordered, lists.popularity, side="left"), np.searchsorted(ordered, lists.popularity, side="right")
    return mean_of(_mean_of_items((below + up_to) / 2 / len(ordered), lists.items[:, :k]))


def diversity(lists: ItemLists, k: int) -> Statistic:
    """1 - the mean Jaccard similarity of the attributes of all pairs among the first k.

    Pairs in which an item has no attribute do not count; a list without any other pair does not either.
    """
    known: dict[tuple[int, int], float] = {}

    def distance(first: int, second: int) -> float:
        pair = (first, second) if first < second else (second, first)
        if pair not in known:
            one, other = lists.attributes[first], lists.attributes[second]
            known[pair] = 1 - len(one & other) / len(one | other)
        return known[pair]

    def of_list(row: list[int]) -> float:
        described = [item for item in row if item >= 0 and lists.attributes[item]]
        distances = [distance(first, second) for first, second in combinations(described, 2)]
        return sum(distances) / len(distances) if distances else np.nan

    return mean_of(np.array([of_list(row) for row in lists.items[:, :k].tolist()]))


def _mean_of_items(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The mean value of each list's items: (num_items,), (questions, k) -> (questions,), NaN for an empty list."""
    listed = items >= 0
    sums = np.where(listed, values[items], 0.0).sum(axis=1)
    return np.divide(sums, listed.sum(axis=1), out=np.full(len(items), np.nan), where=listed.any(axis=1))


def _share_listed(items: np.ndarray, weights: np.ndarray, *, num_items: int) -> np.ndarray:
    shown = (items[weight > 0] for weight in weights)
    return np.array([len(np.unique(rows[rows >= 0])) / num_items for rows in shown])
