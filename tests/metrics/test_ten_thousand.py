"""Ten thousand random cases of each metric, equal to scikit-learn's, to trec_eval's where nothing is tied, and to a few lines of plain Python."""

import math
import os
from functools import cache

import ir_measures
import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn import metrics as theirs

from llmrec.metrics import binary, rating, text
from llmrec.metrics.ranking import Placements, hit, mrr, ndcg, recall
from llmrec.metrics.text import TextAnswers

CASES, ITEMS, K = 10_000, 14, 10
SMALL = 10_000 if int(os.environ.get("LLMREC_ROUNDS", "1")) > 1 else 300
"""Where each case is a call of scikit-learn's, a millisecond or more."""


def drawn(*, tied: bool):
    rng = np.random.default_rng(11)
    scores = rng.integers(0, 5, (CASES, ITEMS)).astype(float) if tied else np.argsort(rng.random((CASES, ITEMS)), axis=1).astype(float)
    scores[rng.random((CASES, ITEMS)) < rng.choice([0.0, 0.4, 1.0], size=(CASES, 1), p=[0.6, 0.35, 0.05])] = -np.inf  # items that are not in the list; at times none is
    relevant = rng.random((CASES, ITEMS)) < rng.choice([0.0, 0.2, 0.5, 1.0], size=(CASES, 1))  # from one relevant item to all of them
    relevant[np.arange(CASES), rng.integers(ITEMS, size=CASES)] = True
    return scores, relevant


def by_hand(scores, relevant, k):
    """ndcg, recall, hit and mrr of one list: items of one score share the mean discount, and the mean chance to be listed, of the places they take; the first relevant item is one of the first group that holds any."""
    gained = found = ideal = chance = reciprocal = 0.0
    met = False
    for score in sorted(set(scores) - {-np.inf}, reverse=True):
        above = sum(other > score for other in scores)
        group = [item for item, other in enumerate(scores) if other == score]
        places = range(above, above + len(group))
        wanted = sum(bool(relevant[item]) for item in group)
        gained += wanted * sum(1 / np.log2(place + 2) for place in places if place < k) / len(group)
        found += wanted * sum(place < k for place in places) / len(group)
        if wanted and not met:
            met = True
            for place in places:
                first = math.comb(places[-1] - place, wanted - 1) / math.comb(len(group), wanted) if place < k else 0.0
                chance += first
                reciprocal += first / (place + 1)
    for place in range(min(k, sum(map(bool, relevant)))):
        ideal += 1 / np.log2(place + 2)
    return gained / ideal, found / sum(map(bool, relevant)), chance, reciprocal


@pytest.mark.parametrize("tied", [True, False])
def test_lists_as_by_hand(counted, tied):
    scores, relevant = drawn(tied=tied)
    placements = Placements.from_scores(scores, relevant)
    ours = np.column_stack([metric(placements, K).rows for metric in (ndcg, recall, hit, mrr)])
    off = np.abs(ours - np.array([by_hand(list(row), list(wanted), K) for row, wanted in zip(scores, relevant)])).max(axis=1) > 1e-9
    counted("ndcg@10, recall@10, hit@10 and mrr@10 of lists with and without ties, off by more than 1e-9 from plain Python", int(off.sum()), len(ours))
    assert not off.any()


def test_lists_with_ties_as_scikit_learn(counted):
    scores, relevant = drawn(tied=True)
    whole = np.isfinite(scores).all(axis=1)  # it knows no lists that leave items out
    scores, relevant = scores[whole], relevant[whole]
    ours = ndcg(Placements.from_scores(scores, relevant), K).rows
    off = np.abs(ours - [theirs.ndcg_score(wanted[None].astype(float), row[None], k=K) for row, wanted in zip(scores, relevant)]) > 1e-9
    counted("ndcg@10 of lists with ties, off by more than 1e-9 from scikit-learn", int(off.sum()), len(ours))
    assert not off.any() and len(ours) > CASES / 2


def test_lists_without_ties_as_trec_eval(counted):
    scores, relevant = drawn(tied=False)
    truth = [ir_measures.Qrel(f"q{q}", f"i{i}", 1) for q, i in zip(*np.nonzero(relevant))]
    run = [ir_measures.ScoredDoc(f"q{q}", f"i{i}", float(scores[q, i])) for q, i in zip(*np.nonzero(np.isfinite(scores)))]
    measures = {"nDCG@10": ndcg, "R@10": recall, "Success@10": hit, "RR@10": mrr}
    told = {(str(found.measure), int(found.query_id[1:])): found.value for found in ir_measures.iter_calc([ir_measures.parse_measure(name) for name in measures], truth, run)}
    placements = Placements.from_scores(scores, relevant)
    off = np.max([np.abs(metric(placements, K).rows - [told.get((name, question), 0.0) for question in range(CASES)]) for name, metric in measures.items()], axis=0) > 1e-9
    counted("ndcg@10, recall@10, hit@10 and mrr@10 of lists without ties, off by more than 1e-9 from trec_eval", int(off.sum()), CASES)
    assert not off.any()


def test_probabilities_as_scikit_learn_and_as_by_hand(counted):
    rng, off = np.random.default_rng(12), 0
    for _ in range(SMALL):
        size = int(rng.integers(2, 30))
        label = (np.arange(size) < rng.integers(1, size)).astype(float)  # some of both
        probability = np.round(rng.random(size), int(rng.choice([1, 2, 9])))
        answers = binary.BinaryAnswers(probability, label, np.zeros(size))
        ours = [float(metric(answers)) for metric in (binary.auc, binary.uauc, binary.logloss, binary.precision, binary.recall, binary.f1)]
        said = probability >= 0.5
        precision, recalled, f1, _ = theirs.precision_recall_fscore_support(label, said, average="binary", zero_division=0)
        area = theirs.roc_auc_score(label, probability)
        ranks, yes = rankdata(probability), int(label.sum())
        kept = np.clip(probability, np.finfo(float).eps, 1 - np.finfo(float).eps)
        hits = float((label * said).sum())
        by_hand = [
            (ranks[label == 1].sum() - yes * (yes + 1) / 2) / (yes * (size - yes)),
            np.mean([(a > b) + (a == b) / 2 for a in probability[label == 1] for b in probability[label == 0]]),
            -math.fsum(math.log(p if wanted else 1 - p) for p, wanted in zip(kept, label)) / size,
            hits / said.sum() if said.any() else 0.0, hits / yes, 2 * hits / (said.sum() + yes),
        ]
        off += max(np.abs(np.array(ours) - [area, area, theirs.log_loss(label, kept, labels=[0, 1]), precision, recalled, f1]).max(), np.abs(np.array(ours) - by_hand).max()) > 1e-9
    counted("auc, uauc, logloss, precision, recall and f1 of answers, off by more than 1e-9 from scikit-learn or plain Python", int(off), SMALL)
    assert not off


def test_ratings_as_scikit_learn_and_as_by_hand(counted):
    rng, off = np.random.default_rng(13), 0
    for _ in range(SMALL):
        size = int(rng.integers(1, 30))
        predicted, actual = rng.uniform(1, 5, size), rng.integers(1, 6, size).astype(float)
        answers = rating.RatingAnswers(predicted, actual, np.full(size, np.nan), predicted)
        ours = [float(rating.rmse(answers)), float(rating.mae(answers))]
        by_hand = [math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(predicted, actual)) / size), math.fsum(abs(a - b) for a, b in zip(predicted, actual)) / size]
        off += max(np.abs(np.array(ours) - [theirs.root_mean_squared_error(actual, predicted), theirs.mean_absolute_error(actual, predicted)]).max(), np.abs(np.array(ours) - by_hand).max()) > 1e-9
    counted("rmse and mae of ratings, off by more than 1e-9 from scikit-learn or plain Python", int(off), SMALL)
    assert not off


def test_texts_as_by_hand(counted):
    rng = np.random.default_rng(14)
    texts = lambda: ["".join(f"{word} " for word in rng.choice(list("abcde"), rng.integers(0, 9))) for _ in range(CASES)]  # noqa: E731
    written, reference = texts(), texts()

    def f1(one, other, shared):
        return 200 * shared / (len(one) + len(other)) if one or other else 0.0

    def common(one, other):
        @cache
        def longest(i, j):
            if i == len(one) or j == len(other):
                return 0
            return 1 + longest(i + 1, j + 1) if one[i] == other[j] else max(longest(i + 1, j), longest(i, j + 1))

        return longest(0, 0)

    def grams(words, n):
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    by_hand = []
    for one, other in zip(map(str.split, written), map(str.split, reference)):
        row = [f1(one, other, common(one, other))]
        for n in (1, 2):
            mine, left, shared = grams(one, n), grams(other, n), 0
            for gram in mine:
                if gram in left:
                    left.remove(gram)
                    shared += 1
            row.append(f1(mine, grams(other, n), shared))
        by_hand.append(row)
    answers = TextAnswers(written, reference, ["en"] * CASES)
    ours = np.column_stack([metric(answers).rows for metric in (text.rouge_l, text.rouge1, text.rouge2)])
    off = np.abs(ours - by_hand).max(axis=1) > 1e-9
    counted("rougeL, rouge1 and rouge2 of texts, off by more than 1e-9 from plain Python", int(off.sum()), CASES)
    assert not off.any()
