"""Recall, hit, ndcg and mrr: by hand, against every order of the ties, and against trec_eval through ir-measures."""

from itertools import permutations
from math import log2

import ir_measures
import numpy as np
import pytest

from llmrec.metrics import METRICS, ranking
from llmrec.metrics.ranking import Placements

FUNCTIONS = {"recall": ranking.recall, "hit": ranking.hit, "ndcg": ranking.ndcg, "mrr": ranking.mrr}


def one_target(better: int, tied: int) -> Placements:
    return Placements.of_targets(np.array([better]), np.array([tied]))


def test_target_at_rank_three():
    placements = one_target(better=2, tied=1)
    assert [float(function(placements, k=10)) for function in FUNCTIONS.values()] == pytest.approx([1.0, 1.0, 1 / 2, 1 / 3])
    assert [float(function(placements, k=2)) for function in FUNCTIONS.values()] == [0.0, 0.0, 0.0, 0.0]


def test_target_that_is_not_listed_counts_as_zero():
    placements = Placements.of_targets(better=np.array([0, 0]), tied=np.array([0, 1]))
    assert {name: float(function(placements, k=10)) for name, function in FUNCTIONS.items()} == {"recall": 0.5, "hit": 0.5, "ndcg": 0.5, "mrr": 0.5}


@pytest.mark.parametrize("k, num_items", [(1, 7), (10, 1000), (10, 10), (20, 10)])
def test_constant_model_hits_with_k_over_the_number_of_items(k, num_items):
    placements = Placements.from_scores(np.zeros((3, num_items)), np.eye(3, num_items, dtype=bool))
    assert float(ranking.hit(placements, k=k)) == pytest.approx(min(1, k / num_items), abs=1e-12)


def test_two_tied_at_the_edge_share_the_place():
    placements = one_target(better=9, tied=2)
    assert float(ranking.hit(placements, k=10)) == 0.5
    assert float(ranking.mrr(placements, k=10)) == pytest.approx(1 / 20)
    assert float(ranking.ndcg(placements, k=10)) == pytest.approx(1 / log2(11) / 2)
    assert float(ranking.hit(placements.against_ties(), k=10)) == 0.0


def test_two_relevant_items_by_hand():
    placements = Placements.from_scores(np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[False, True, False, True]]))
    assert float(ranking.recall(placements, k=2)) == 1 / 2
    assert float(ranking.hit(placements, k=2)) == 1.0
    assert float(ranking.mrr(placements, k=4)) == 1 / 2
    assert float(ranking.ndcg(placements, k=4)) == pytest.approx((1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3)))


def test_relevant_items_outside_the_list_still_count_in_recall_and_the_ideal():
    placements = Placements.from_scores(np.array([[2.0, -np.inf, 1.0]]), np.array([[True, True, False]]))
    assert float(ranking.recall(placements, k=10)) == 1 / 2
    assert float(ranking.ndcg(placements, k=10)) == pytest.approx(1 / (1 + 1 / log2(3)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ties_are_the_mean_over_every_order(name):
    generator = np.random.default_rng(0)
    for _ in range(25):
        scores = generator.integers(0, 3, 6).astype(float)
        relevant = generator.random(6) < 0.4
        relevant[generator.integers(6)] = True
        k = int(generator.integers(1, 7))
        orders = [order for order in permutations(range(6)) if all(scores[a] >= scores[b] for a, b in zip(order, order[1:]))]
        strict = [float(FUNCTIONS[name](Placements.from_scores(-np.argsort(order)[None].astype(float), relevant[None]), k=k)) for order in orders]
        fair = float(FUNCTIONS[name](Placements.from_scores(scores[None], relevant[None]), k=k))
        assert fair == pytest.approx(np.mean(strict), abs=1e-12)


def test_equals_trec_eval_on_random_lists():
    generator = np.random.default_rng(1)
    num_questions, num_items = 400, 30
    scores = np.stack([generator.permutation(num_items).astype(float) for _ in range(num_questions)])
    scores[generator.random(scores.shape) < 0.3] = -np.inf
    relevant = generator.random(scores.shape) < generator.choice([0.03, 0.2, 0.9], size=(num_questions, 1))
    relevant[np.arange(num_questions), generator.integers(num_items, size=num_questions)] = True
    # a first item that is never relevant, so that no list is empty, which trec_eval would leave out of its mean
    scores, relevant = np.column_stack([np.full(num_questions, 99.0), scores]), np.column_stack([np.zeros(num_questions, dtype=bool), relevant])
    truth = [ir_measures.Qrel(f"q{q}", f"i{i}", 1) for q, i in zip(*np.nonzero(relevant))]
    run = [ir_measures.ScoredDoc(f"q{q}", f"i{i}", float(scores[q, i])) for q, i in zip(*np.nonzero(np.isfinite(scores)))]
    measures = {f"{name}@{k}": theirs @ k for name, theirs in (("recall", ir_measures.R), ("ndcg", ir_measures.nDCG), ("mrr", ir_measures.RR), ("hit", ir_measures.Success)) for k in (1, 5, 10, 20)}
    theirs = ir_measures.calc_aggregate(measures.values(), truth, run)
    placements = Placements.from_scores(scores, relevant)
    for name, measure in measures.items():
        assert float(METRICS["items"][name](placements)) == pytest.approx(theirs[measure], abs=1e-9), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_invariances(name):
    generator = np.random.default_rng(2)
    scores, relevant = generator.integers(0, 9, (40, 25)).astype(float), generator.random((40, 25)) < 0.2
    relevant[:, 0] = True
    value = float(FUNCTIONS[name](Placements.from_scores(scores, relevant), k=5))
    items, questions = generator.permutation(25), generator.permutation(40)
    never_ranked = np.column_stack([scores, np.full((40, 3), -np.inf)]), np.column_stack([relevant, np.zeros((40, 3), dtype=bool)])
    changed = {
        "items renumbered": (scores[:, items], relevant[:, items]),
        "questions in another order": (scores[questions], relevant[questions]),
        "a monotone change of the scores": (np.exp(scores / 3), relevant),
        "items that are never ranked": never_ranked,
    }
    for change, arrays in changed.items():
        assert float(FUNCTIONS[name](Placements.from_scores(*arrays), k=5)) == pytest.approx(value, abs=1e-12), change
    shards = [FUNCTIONS[name](Placements.from_scores(scores[part], relevant[part]), k=5).rows for part in (slice(0, 13), slice(13, 40))]
    assert np.concatenate(shards).mean() == pytest.approx(value, abs=1e-12)


def test_a_question_without_a_relevant_item_is_refused():
    with pytest.raises(ValueError, match="question 1 has no relevant item"):
        Placements.from_scores(np.zeros((2, 3)), np.array([[True, False, False], [False, False, False]]))
    with pytest.raises(ValueError, match="NaN"):
        Placements.from_scores(np.array([[np.nan]]), np.array([[True]]))
