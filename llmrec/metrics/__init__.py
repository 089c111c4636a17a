"""The metrics, by family: a table of contents. Each is a pure function of its family's answers and gives a `Statistic`; `float(...)` of it is the figure.

Separate from the evaluation, so that any answers, wherever they come from, can be scored. NumPy and sacrebleu only.
A metric is added by writing its function in its family's module and one line here.
"""

from collections.abc import Callable
from functools import partial

from llmrec.metrics import binary, catalogue, ranking, rating, text
from llmrec.metrics.criterion import LOWER_IS_BETTER
from llmrec.metrics.statistic import Statistic

__all__ = ["CUTOFFS", "HEADLINES", "LOWER_IS_BETTER", "METRICS", "NEITHER_IS_BETTER", "binary", "catalogue", "ranking", "rating", "text"]

CUTOFFS = (1, 5, 10, 20)

# family: what its functions take.  items: ranking.Placements.  catalogue: catalogue.ItemLists.  rating: RatingAnswers.  binary: BinaryAnswers.  text:
# TextAnswers.
METRICS: dict[str, dict[str, Callable[..., Statistic]]] = {
    "items": {
        **{f"recall@{k}": partial(ranking.recall, k=k) for k in CUTOFFS},
        **{f"hit@{k}": partial(ranking.hit, k=k) for k in CUTOFFS},
        **{f"ndcg@{k}": partial(ranking.ndcg, k=k) for k in CUTOFFS},
        **{f"mrr@{k}": partial(ranking.mrr, k=k) for k in CUTOFFS},
    },
    "catalogue": {
        "coverage@10": partial(catalogue.coverage, k=10),
        "novelty@10": partial(catalogue.novelty, k=10),
        "popularity@10": partial(catalogue.popularity, k=10),
        "diversity@10": partial(catalogue.diversity, k=10),
    },
    "rating": {
        "rmse": rating.rmse,
        "mae": rating.mae,
        "ece": rating.ece,
        "ece_expected": rating.ece_expected,
    },
    "binary": {
        "auc": binary.auc,
        "uauc": binary.uauc,
        "logloss": binary.logloss,
        "ece": binary.ece,
        "ece_expected": binary.ece_expected,
        "f1": binary.f1,
        "precision": binary.precision,
        "recall": binary.recall,
    },
    "text": {
        "bleu4": text.bleu4,
        "rouge1": text.rouge1,
        "rouge2": text.rouge2,
        "rougeL": text.rouge_l,
        "distinct1": text.distinct1,
        "distinct2": text.distinct2,
        "feature_precision": text.feature_precision,
        "features_named": text.features_named,
    },
}

# What is compared with the best baseline and shown by sub-group, the first one leading.
HEADLINES: dict[str, tuple[str, ...]] = {
    "items": ("ndcg@10", "recall@10"),
    "rating": ("rmse", "mae"),
    "binary": ("auc", "logloss"),
    "text": ("rougeL", "bleu4"),
}
# Descriptions: more of it is another kind of list or text, or of probabilities, not a better one.
NEITHER_IS_BETTER = frozenset({"ece_expected", "coverage@10", "novelty@10", "popularity@10", "diversity@10", "distinct1", "distinct2", "features_named"})
