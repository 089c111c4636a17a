"""How far predicted ratings are from the true ones, and how well their certainty can be trusted. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmrec.metrics.binary import calibration_gaps, expected_gaps
from llmrec.metrics.statistic import Statistic, mean_of


@dataclass(frozen=True)
class RatingAnswers:
    """predicted, actual: (questions,) float64, in stars.

    confidence: (questions,) float64, the probability of the rating the model holds most probable, NaN where the model gives no distribution.
    most_probable: (questions,) float64, that rating.
    """

    predicted: np.ndarray
    actual: np.ndarray
    confidence: np.ndarray
    most_probable: np.ndarray


def rmse(answers: RatingAnswers) -> Statistic:
    """The root of the mean squared error."""
    squares = mean_of((answers.predicted - answers.actual) ** 2)
    return Statistic(squares.rows, lambda rows, weights: np.sqrt(squares.total(rows, weights)))


def mae(answers: RatingAnswers) -> Statistic:
    """The mean absolute error."""
    return mean_of(np.abs(answers.predicted - answers.actual))


def ece(answers: RatingAnswers) -> Statistic:
    """Expected calibration error of the most probable rating: how far its probability is from how often it is right, over 15 equal bins. NaN without
    distributions.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    return calibration_gaps(answers.confidence, (answers.most_probable == answers.actual).astype(np.float64))


def ece_expected(answers: RatingAnswers) -> Statistic:
    """What `ece` would be, in the mean, if each probability were true. NaN without distributions."""
    return expected_gaps(answers.confidence)
