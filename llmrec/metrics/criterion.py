"""One number to choose by, from the figures of one or several tasks.

Separate from the metrics: it ranks models, steps or settings, and says nothing of any of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

LOWER_IS_BETTER = frozenset({"rmse", "mae", "ece", "logloss"})
_TINY = 1e-6
"""What a figure counts as at least in a mean of several: a task that has learned nothing yet must not make all steps equal."""


def criterion(figures: Mapping[str, float]) -> float:
    """What chooses: the figure of TASK/METRIC; of several their geometric mean, errors inverted, so that a gain of one per cent counts the same in each.

    >>> criterion({"rating/rmse": 0.9}), round(criterion({"rating/rmse": 0.5, "click/auc": 0.72}), 9)
    (0.9, 1.2)
    """
    if len(figures) == 1:
        return next(iter(figures.values()))
    gains = [-math.log(max(figure, _TINY)) if _is_error(name) else math.log(max(figure, _TINY)) for name, figure in figures.items()]
    return math.exp(sum(gains) / len(gains))


def lower_is_better(names: Iterable[str]) -> bool:
    """Whether the least criterion of these TASK/METRIC is the best: for a single error."""
    names = list(names)
    return len(names) == 1 and _is_error(names[0])


def _is_error(name: str) -> bool:
    return name.partition("/")[2] in LOWER_IS_BETTER
