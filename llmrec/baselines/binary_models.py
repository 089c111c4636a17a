"""Baselines for yes/no questions: the item's mean, logistic regression, gradient boosting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression as ScikitLogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from llmrec.baselines.baseline import Baseline
from llmrec.baselines.binary_features import BinaryFeatures
from llmrec.baselines.histories import Histories
from llmrec.interactions import TRAIN, VALID
from llmrec.predictions import Prediction, Request
from llmrec.timelines import Timelines, binary_questions

MAX_ROWS = 200_000  # Training rows are a seeded sample of at most so many: a dozen features learn nothing more from further ones.
FEW_ROWS = 50_000  # Below, the threads of gradient boosting wait for each other longer than they compute.
PRIORS = (10.0, 1.0, 100.0, 1000.0)
INVERSE_PENALTIES = (0.1, 0.001, 0.01, 1.0)
LEAVES = (15, 7, 31)
NUM_TREES = 100
MAX_TREES = 200


class BinaryModel(Baseline):
    """A baseline that answers yes/no questions with a probability. One model is learned for each kind of question that train answers. Subclasses write `_learn` and `_probabilities`.

    `settings` name the kind first, as in click_prior.
    """

    tasks = ("click", "purchase")

    @abstractmethod
    def _learn(self, kind: str, timelines: Timelines, train: pl.DataFrame, valid: pl.DataFrame) -> None:
        """Learns one kind of question; valid may be empty."""

    @abstractmethod
    def _probabilities(self, kind: str, requests: Sequence[Request]) -> np.ndarray:
        """(requests,) the probabilities of yes."""

    def _fit(self, timelines: Timelines) -> None:
        self._kinds: set[str] = set()
        for kind in self.tasks:
            questions = binary_questions(timelines, kind)
            train, valid = questions.filter(pl.col("part") == TRAIN), questions.filter(pl.col("part") == VALID)
            if len(train):
                self._learn(kind, timelines, train, valid)
                self._kinds.add(kind)
        if not self._kinds:
            raise ValueError(f"{self.name} needs questions of {' or '.join(self.tasks)} in train; corpus {timelines.corpus.name!r} answers none")

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        probabilities = np.empty(len(requests))
        for kind in self._kinds:
            places = [place for place, request in enumerate(requests) if request.task == kind]
            probabilities[places] = self._probabilities(kind, [requests[place] for place in places])
        skipped = Histories.of(requests, self.catalog).skipped
        for request, probability, unknown in zip(requests, probabilities.tolist(), skipped.tolist(), strict=True):
            yield Prediction(id=request.id, task=request.task, user_id=request.user_id, probability=probability, skipped=unknown)

    def _problem(self, request: Request) -> str | None:
        problem = super()._problem(request)
        if problem is None and request.task not in self._kinds:
            return f"{self.name} was fitted on a log that answers no {request.task} question; it knows {', '.join(sorted(self._kinds))}"
        return problem


class ClickMean(BinaryModel):
    """The item's smoothed share of yes in train, (yes + prior * mean) / (questions + prior); for an item never asked about the mean over all.

    Chosen on valid by log loss: prior of (1, 10, 100, 1000); default 10.
    """

    name = "click_mean"

    def _fit(self, timelines: Timelines) -> None:
        self._rates: dict[str, np.ndarray] = {}
        super()._fit(timelines)

    def _learn(self, kind: str, timelines: Timelines, train: pl.DataFrame, valid: pl.DataFrame) -> None:
        asked = np.bincount(train["item"].to_numpy(), minlength=len(self.catalog))
        yes = np.bincount(train["item"].to_numpy(), train["label"].to_numpy(), len(self.catalog))
        mean = float(train["label"].mean())

        def apply(settings: Mapping[str, float]) -> None:
            prior = settings[f"{kind}_prior"]
            self._rates[kind] = (yes + prior * mean) / (asked + prior)

        def loss() -> float:
            return log_loss(valid["label"].to_numpy(), self._rates[kind][valid["item"].to_numpy()], labels=[0, 1])

        self.tune([{f"{kind}_prior": prior} for prior in PRIORS], apply, loss if len(valid) else None)

    def _probabilities(self, kind: str, requests: Sequence[Request]) -> np.ndarray:
        return self._rates[kind][[self.catalog.rows[request.item_id] for request in requests]]


class FeatureModel(BinaryModel):
    """A scikit-learn classifier on the features of `BinaryFeatures`. Subclasses write `_learn_features`. Where train holds a single answer, its rate is the answer to everything."""

    def _fit(self, timelines: Timelines) -> None:
        self._features: dict[str, BinaryFeatures] = {}
        self._models: dict[str, Pipeline | HistGradientBoostingClassifier] = {}
        super()._fit(timelines)

    @abstractmethod
    def _learn_features(self, kind: str, train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray]) -> None:
        """Puts the classifier of this kind into `_models`; train, valid: features (n, columns) and labels (n,)."""

    def _learn(self, kind: str, timelines: Timelines, train: pl.DataFrame, valid: pl.DataFrame) -> None:
        self._features[kind] = features = BinaryFeatures(timelines, train)
        if 0 < features.rate < 1:
            self._learn_features(kind, self._sample(features, train), self._sample(features, valid))

    def _sample(self, features: BinaryFeatures, questions: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        labels = questions["label"].to_numpy()
        if len(labels) <= MAX_ROWS:
            return features.of_log(questions), labels
        chosen = np.sort(np.random.default_rng(self.seed).choice(len(labels), MAX_ROWS, replace=False))
        return features.of_log(questions, chosen), labels[chosen]

    def _probabilities(self, kind: str, requests: Sequence[Request]) -> np.ndarray:
        if kind not in self._models or not requests:
            return np.full(len(requests), self._features[kind].rate)
        return self._models[kind].predict_proba(self._features[kind].of_requests(requests))[:, 1]


class LogisticRegression(FeatureModel):
    """Logistic regression on standardised features. Chosen on valid by log loss: the inverse of the penalty, C, of (0.001, 0.01, 0.1, 1); default 0.1."""

    name = "logistic_regression"

    def _learn_features(self, kind: str, train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray]) -> None:
        def apply(settings: Mapping[str, float]) -> None:
            self._models[kind] = make_pipeline(StandardScaler(), ScikitLogisticRegression(C=settings[f"{kind}_C"], max_iter=1000)).fit(*train)

        def loss() -> float:
            return log_loss(valid[1], self._models[kind].predict_proba(valid[0]), labels=[0, 1])

        self.tune([{f"{kind}_C": value} for value in INVERSE_PENALTIES], apply, loss if len(valid[1]) else None)


class GradientBoosting(FeatureModel):
    """Boosted trees on the features, learning rate 0.05. Chosen on valid by log loss: leaves of (7, 15, 31) and up to 200 trees; defaults 15 and 100."""

    name = "gradient_boosting"

    def _learn_features(self, kind: str, train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray]) -> None:
        leaves_key, trees_key = f"{kind}_leaves", f"{kind}_trees"

        def apply(settings: Mapping[str, float]) -> None:
            with threadpool_limits(1 if len(train[1]) < FEW_ROWS else None, user_api="openmp"):
                self._models[kind] = HistGradientBoostingClassifier(
                    learning_rate=0.05, max_iter=int(settings[trees_key]), max_leaf_nodes=int(settings[leaves_key]), min_samples_leaf=20,
                    early_stopping=False, random_state=self.seed,
                ).fit(*train)

        # One long run for each number of leaves says what every shorter one would have scored.
        curves: dict[tuple[int, int], float] = {}
        for leaves in LEAVES if len(valid[1]) else ():
            apply({leaves_key: leaves, trees_key: MAX_TREES})
            for trees, probabilities in enumerate(self._models[kind].staged_predict_proba(valid[0]), start=1):
                curves[leaves, trees] = log_loss(valid[1], probabilities, labels=[0, 1])
        leaves, trees = min(curves, key=curves.get) if curves else (LEAVES[0], NUM_TREES)
        self.settings |= {leaves_key: leaves, trees_key: trees}
        apply(self.settings)
