"""Coverage, novelty, popularity and diversity of lists, by hand."""

import numpy as np
import pytest

from llmrec.metrics import catalogue
from llmrec.metrics.catalogue import ItemLists

ATTRIBUTES = (frozenset("ab"), frozenset("bc"), frozenset(), frozenset("ab"))


def lists(*rows: list[int], popularity: tuple[int, ...] = (6, 1, 1, 0)) -> ItemLists:
    return ItemLists(np.array(rows), np.array(popularity), ATTRIBUTES)


def test_coverage_counts_each_item_once_and_no_empty_place():
    assert float(catalogue.coverage(lists([0, 1], [0, -1]), k=2)) == 2 / 4
    assert float(catalogue.coverage(lists([0, 1], [0, -1]), k=1)) == 1 / 4


def test_popularity_is_the_mean_place_by_train_events():
    # places from rare to popular: item 3 first (1/8), items 1 and 2 share the middle of the next two (1/2), item 0 last (7/8)
    assert float(catalogue.popularity(lists([0]), k=1)) == 7 / 8
    assert float(catalogue.popularity(lists([1, 2]), k=2)) == 1 / 2
    assert float(catalogue.popularity(lists([0, 1, 2, 3]), k=4)) == 1 / 2


def test_novelty_is_the_surprise_in_bits_and_finite_for_a_new_item():
    # counts with one added: 7, 2, 2, 1 of 12
    assert float(catalogue.novelty(lists([3]), k=1)) == pytest.approx(np.log2(12))
    assert float(catalogue.novelty(lists([1, 2]), k=2)) == pytest.approx(np.log2(6))


def test_diversity_is_one_less_the_mean_similarity_of_pairs():
    assert float(catalogue.diversity(lists([0, 1]), k=2)) == pytest.approx(2 / 3)
    assert float(catalogue.diversity(lists([0, 3]), k=2)) == 0.0
    assert float(catalogue.diversity(lists([0, 1, 3]), k=3)) == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)


def test_items_without_attributes_and_lists_without_pairs_do_not_count():
    assert float(catalogue.diversity(lists([0, 1, 2], [2, 2, -1]), k=3)) == pytest.approx(2 / 3)
    assert np.isnan(float(catalogue.diversity(lists([2, -1]), k=2)))


def test_an_empty_list_does_not_count():
    assert float(catalogue.popularity(lists([0, -1], [-1, -1]), k=2)) == 7 / 8
