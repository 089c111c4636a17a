"""Ten thousand random lists: ndcg and recall with ties, equal to scikit-learn's ndcg_score, to trec_eval where nothing is tied, and to a few lines of plain Python."""

import ir_measures
import numpy as np
from sklearn.metrics import ndcg_score

from llmrec.metrics.ranking import Placements, ndcg, recall

CASES, ITEMS, K = 10_000, 14, 10


def drawn(*, tied: bool):
    rng = np.random.default_rng(11)
    scores = rng.integers(0, 5, (CASES, ITEMS)).astype(float) if tied else np.argsort(rng.random((CASES, ITEMS)), axis=1).astype(float)
    relevant = rng.random((CASES, ITEMS)) < rng.choice([0.0, 0.2, 0.5, 1.0], size=(CASES, 1))  # from one relevant item to all of them
    relevant[np.arange(CASES), rng.integers(ITEMS, size=CASES)] = True
    return scores, relevant


def by_hand(scores, relevant, k):
    """ndcg and recall of one list: items of one score share the mean discount, and the mean chance to be listed, of the places they take."""
    gained = found = ideal = 0.0
    for score in sorted(set(scores), reverse=True):
        above = sum(other > score for other in scores)
        group = [item for item, other in enumerate(scores) if other == score]
        places = range(above, above + len(group))
        wanted = sum(bool(relevant[item]) for item in group)
        gained += wanted * sum(1 / np.log2(place + 2) for place in places if place < k) / len(group)
        found += wanted * sum(place < k for place in places) / len(group)
    for place in range(min(k, sum(map(bool, relevant)))):
        ideal += 1 / np.log2(place + 2)
    return gained / ideal, found / sum(map(bool, relevant))


def test_with_ties_as_scikit_learn_and_as_by_hand(counted):
    scores, relevant = drawn(tied=True)
    placements = Placements.from_scores(scores, relevant)
    ours = np.column_stack([ndcg(placements, K).rows, recall(placements, K).rows])
    hand = np.array([by_hand(list(row), list(wanted), K) for row, wanted in zip(scores, relevant)])
    theirs = np.array([ndcg_score(wanted[None].astype(float), row[None], k=K) for row, wanted in zip(scores, relevant)])
    off = np.maximum(np.abs(ours - hand).max(axis=1), np.abs(ours[:, 0] - theirs)) > 1e-9
    counted("ndcg@10 and recall@10 of lists with ties, off by more than 1e-9 from scikit-learn or plain Python", int(off.sum()), len(ours))
    assert not off.any()


def test_without_ties_as_trec_eval(counted):
    scores, relevant = drawn(tied=False)
    truth = [ir_measures.Qrel(f"q{q}", f"i{i}", 1) for q, i in zip(*np.nonzero(relevant))]
    run = [ir_measures.ScoredDoc(f"q{q}", f"i{i}", float(scores[q, i])) for q in range(CASES) for i in range(ITEMS)]
    theirs = {(str(found.measure), int(found.query_id[1:])): found.value for found in ir_measures.iter_calc([ir_measures.nDCG @ K, ir_measures.R @ K], truth, run)}
    placements = Placements.from_scores(scores, relevant)
    off = np.max([np.abs(metric(placements, K).rows - [theirs[name, question] for question in range(CASES)]) for name, metric in (("nDCG@10", ndcg), ("R@10", recall))], axis=0) > 1e-9
    counted("ndcg@10 and recall@10 of lists without ties, off by more than 1e-9 from trec_eval", int(off.sum()), CASES)
    assert not off.any()
