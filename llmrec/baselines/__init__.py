"""Baselines: models that are cheap to explain, fitted on train and asked as the Recommender is.

Separate from evaluation, which takes anything with `predict`; every table of results sets these beside the language model, on the same split, tuned on the same valid part.
"""

from llmrec.baselines.baseline import Baseline
from llmrec.baselines.biases import UserItemBias
from llmrec.baselines.binary_models import ClickMean, GradientBoosting, LogisticRegression
from llmrec.baselines.ease import EASE
from llmrec.baselines.factorization import SVD, SVDpp
from llmrec.baselines.markov import MarkovChain
from llmrec.baselines.neighbours import HybridKNN, ItemKNN, SequentialKNN
from llmrec.baselines.peter import PETER
from llmrec.baselines.popularity import MostPopular, Random
from llmrec.baselines.rating_knn import RatingKNN
from llmrec.baselines.sasrec import SASRec
from llmrec.baselines.search import BM25, BM25Popular
from llmrec.baselines.texts import LeadSentence, MostCommonSummary, NearestReview, NearestSummaries, Template

BASELINES: dict[str, type[Baseline]] = {
    "random": Random,
    "most_popular": MostPopular,
    "markov_chain": MarkovChain,
    "item_knn": ItemKNN,
    "sequential_knn": SequentialKNN,
    "hybrid_knn": HybridKNN,
    "ease": EASE,
    "sasrec": SASRec,
    "bm25": BM25,
    "bm25_popular": BM25Popular,
    "user_item_bias": UserItemBias,
    "rating_knn": RatingKNN,
    "svd": SVD,
    "svdpp": SVDpp,
    "click_mean": ClickMean,
    "logistic_regression": LogisticRegression,
    "gradient_boosting": GradientBoosting,
    "template": Template,
    "nearest_review": NearestReview,
    "peter": PETER,
    "lead_sentence": LeadSentence,
    "nearest_summaries": NearestSummaries,
    "most_common_summary": MostCommonSummary,
}
