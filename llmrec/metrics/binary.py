"""How well probabilities of yes tell yes from no, and whether they can be taken at their word. NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llmrec.metrics.statistic import Statistic, mean_of

NUM_BINS = 15
THRESHOLD = 0.5


@dataclass(frozen=True)
class BinaryAnswers:
    """probability: (questions,) float64, of yes.   label: (questions,) float64, 0 or 1.   user: (questions,) whose question it is."""

    probability: np.ndarray
    label: np.ndarray
    user: np.ndarray


class CalibrationBin(NamedTuple):
    """The answers with a probability in one bin: their mean probability, the share of yes among them, how many they are."""

    probability: float
    share: float
    count: int


def auc(answers: BinaryAnswers) -> Statistic:
    """The probability that a yes has a higher probability than a no; a tie counts one half. NaN where one of the two is missing."""
    return Statistic(np.column_stack([answers.probability, answers.label]), _auc)


def uauc(answers: BinaryAnswers) -> Statistic:
    """The plain mean of each user's AUC over the users who have both a yes and a no; the others do not count. NaN where no user has.

    Source: Zhang et al., CoLLM, TKDE 2025 (UAUC), as its published code computes it: users unweighted, those with one class left out.
    """
    values = np.full(len(answers.label), np.nan)
    order = np.argsort(answers.user, kind="stable")
    _, firsts = np.unique(answers.user[order], return_index=True)
    for rows in np.split(order, firsts[1:]):
        # The user's figure stands at the user's first question: users are resampled whole, so each counts once a draw.
        values[rows[0]] = float(Statistic(np.column_stack([answers.probability[rows], answers.label[rows]]), _auc))
    return mean_of(values)


def logloss(answers: BinaryAnswers) -> Statistic:
    """The mean negative natural logarithm of the probability given to the truth, probabilities kept 2.2e-16 away from 0 and 1."""
    tiny = np.finfo(np.float64).eps
    probability = np.clip(answers.probability, tiny, 1 - tiny)
    return mean_of(-np.log(np.where(answers.label == 1, probability, 1 - probability)))


def ece(answers: BinaryAnswers) -> Statistic:
    """Expected calibration error: how far the probability of yes is from the share of yes, over 15 bins of equal width.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3, here for the probability of yes.
    """
    return calibration_gaps(answers.probability, answers.label)


def ece_expected(answers: BinaryAnswers) -> Statistic:
    """What `ece` would be, in the mean, if each probability were true: see `expected_gaps`."""
    return expected_gaps(answers.probability)


def precision(answers: BinaryAnswers) -> Statistic:
    """The share of yes among the answers with a probability of at least .5; 0 where there is none."""
    return _at_threshold(answers, lambda hits, false_alarms, misses: (hits, hits + false_alarms))


def recall(answers: BinaryAnswers) -> Statistic:
    """The share of the yes that got a probability of at least .5; 0 where there is no yes."""
    return _at_threshold(answers, lambda hits, false_alarms, misses: (hits, hits + misses))


def f1(answers: BinaryAnswers) -> Statistic:
    """The harmonic mean of precision and recall; 0 where both are."""
    return _at_threshold(answers, lambda hits, false_alarms, misses: (2 * hits, 2 * hits + false_alarms + misses))


def calibration_gaps(probability: np.ndarray, label: np.ndarray) -> Statistic:
    """Expected calibration error of probabilities (questions,) for 0/1 labels (questions,); questions with a NaN do not count.

    Bin b holds the probabilities in (b / 15, (b + 1) / 15], the first one 0 too. The error is the sum over bins of |sum of (label - probability)|, over the
    number of questions.
    """
    counts = ~np.isnan(probability)
    gaps = np.zeros((len(probability), NUM_BINS + 1))
    gaps[np.flatnonzero(counts), _bins(probability[counts])] = (label - probability)[counts]
    gaps[:, NUM_BINS] = counts
    return Statistic(gaps, _ece)


def expected_gaps(probability: np.ndarray) -> Statistic:
    """What `calibration_gaps` would be, in the mean, if each probability were true: few questions leave gaps by chance alone, and no model can be asked for less. Questions with a NaN do not count.

    A bin's gap is then normal around 0 with the variance of its answers, and its mean size that times the square root of 2 / pi.
    """
    counts = ~np.isnan(probability)
    variances = np.zeros((len(probability), NUM_BINS + 1))
    variances[np.flatnonzero(counts), _bins(probability[counts])] = (probability * (1 - probability))[counts]
    variances[:, NUM_BINS] = counts
    return Statistic(variances, _expected_gaps, resampled=False)


def calibration_curve(probability: np.ndarray, label: np.ndarray) -> list[CalibrationBin]:
    """The filled bins of `calibration_gaps`, from low to high."""
    bins = _bins(probability)
    return [
        CalibrationBin(float(probability[bins == b].mean()), float(label[bins == b].mean()), int((bins == b).sum()))
        for b in np.unique(bins)
    ]


def _bins(probability: np.ndarray) -> np.ndarray:
    return np.clip(np.ceil(probability * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)


def _auc(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(rows[:, 0], kind="stable")
    probability, label = rows[order].T
    starts = np.flatnonzero(np.diff(probability, prepend=-np.inf))
    yes = np.add.reduceat(weights[:, order] * label, starts, axis=1)
    no = np.add.reduceat(weights[:, order] * (1 - label), starts, axis=1)
    wins = (yes * (np.cumsum(no, axis=1) - no / 2)).sum(axis=1)
    pairs = yes.sum(axis=1) * no.sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0)


def _ece(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = weights @ rows
    return np.divide(np.abs(sums[:, :-1]).sum(axis=1), sums[:, -1], out=np.full(len(sums), np.nan), where=sums[:, -1] > 0)


def _expected_gaps(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = weights @ rows
    return np.divide(np.sqrt(2 / np.pi * sums[:, :-1]).sum(axis=1), sums[:, -1], out=np.full(len(sums), np.nan), where=sums[:, -1] > 0)


def _at_threshold(answers: BinaryAnswers, fraction: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Statistic:
    says_yes, is_yes = answers.probability >= THRESHOLD, answers.label == 1
    rows = np.column_stack([says_yes & is_yes, says_yes & ~is_yes, ~says_yes & is_yes]).astype(np.float64)

    def total(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        numerator, denominator = fraction(*(weights @ rows).T)
        return np.divide(numerator, denominator, out=np.zeros(len(weights)), where=denominator > 0)

    return Statistic(rows, total)
