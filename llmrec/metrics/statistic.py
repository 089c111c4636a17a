"""A metric before it is summed up, so that one computation gives the figure, its interval and its comparisons.

Separate from the metrics, which turn answers into rows of numbers: here rows become figures, under any weights. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
# Weights are drawn for a few resamples at a time: 4 million numbers are 32 MB.
CHUNK = 4_000_000


@dataclass(frozen=True)
class Statistic:
    """A metric's rows and the rule that sums them up.

    rows: (questions,) or (questions, m), one row a question, in the order asked.
    total: (rows, weights (resamples, questions) float64) -> (resamples,) float64; a weight is how often the question counts. NaN where the metric is not
    defined.
    resampled: False where a resample's figure is no draw of the metric: sets of distinct things shrink when questions repeat, so they get no interval.

    >>> float(mean_of(np.array([1.0, 0.0, 0.0, 1.0])))
    0.5
    """

    rows: np.ndarray
    total: Callable[[np.ndarray, np.ndarray], np.ndarray]
    resampled: bool = True

    def under(self, weights: np.ndarray) -> np.ndarray:
        """The figure under each row of weights: (resamples, questions) -> (resamples,)."""
        return self.total(self.rows, weights)

    def __float__(self) -> float:
        return float(self.under(np.ones((1, len(self.rows))))[0])


class Estimate(NamedTuple):
    """A figure and its 95 % interval; `low` and `high` are NaN where it has none."""

    mean: float
    low: float
    high: float


def mean_of(values: np.ndarray) -> Statistic:
    """The mean of (questions,) values; a question whose value is NaN does not count."""
    return Statistic(values, _weighted_mean)


def ratio_of(numerator: np.ndarray, denominator: np.ndarray) -> Statistic:
    """The sum of one (questions,) array over the sum of another; NaN where the second is 0."""
    return Statistic(np.column_stack([numerator, denominator]).astype(np.float64), _weighted_ratio)


def averaged(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several figures of the same questions, each of which is figured before they are averaged: of one model asked in several wordings, say."""
    return Statistic(statistics[0].rows, lambda _, weights: np.mean([each.under(weights) for each in statistics], axis=0))


def estimate(statistics: Mapping[str, Statistic], clusters: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Each figure with its percentile interval from a bootstrap over clusters (users): drawn with replacement, each with all its questions.

    All statistics have the same questions; `clusters` names each question's user. The same users and seed give the same draws, whatever is measured.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval).
    """
    draws: dict[str, list[np.ndarray]] = {name: [] for name, statistic in statistics.items() if statistic.resampled}
    for weights in _resample(clusters, seed=seed, resamples=resamples) if draws else ():
        for name, figures in draws.items():
            figures.append(statistics[name].under(weights))
    return {
        name: Estimate(float(statistic), *(_interval(np.concatenate(draws[name])) if statistic.resampled else (np.nan, np.nan)))
        for name, statistic in statistics.items()
    }


def estimate_difference(first: Statistic, second: Statistic, clusters: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """`first` minus `second` on the same questions, with the interval of a paired bootstrap: both are figured on the same draw of users."""
    draws = [first.under(weights) - second.under(weights) for weights in _resample(clusters, seed=seed, resamples=resamples)]
    return Estimate(float(first) - float(second), *_interval(np.concatenate(draws)))


def _resample(clusters: Sequence[str], *, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Weights (some resamples, questions): how often each question's cluster was drawn."""
    _, cluster = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    num_clusters = int(cluster.max()) + 1
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK // len(cluster))
    for start in range(0, resamples, step):
        counts = [np.bincount(generator.integers(0, num_clusters, num_clusters), minlength=num_clusters) for _ in range(min(step, resamples - start))]
        yield np.stack(counts).astype(np.float64)[:, cluster]


def _interval(draws: np.ndarray) -> tuple[float, float]:
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0:
        return np.nan, np.nan
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    counts = ~np.isnan(values)
    return _weighted_ratio(np.column_stack([np.where(counts, values, 0.0), counts.astype(np.float64)]), weights)


def _weighted_ratio(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = weights @ rows
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)
