"""Temperatures: how sure a model may be of a task's answers, fitted on held-out questions.

Separate from the model, whose order of answers it leaves as it is, and from the metrics, which measure how well it did.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

LEAST = 50
"""Answers below which no temperature is fitted: it would follow chance."""
BOUNDS = (0.1, 10.0)
_TINY = 1e-12


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities over answers, (..., answers), as their softmax at another temperature would be: above 1 flatter, below 1 sharper, at 1 themselves."""
    if temperature == 1.0:
        return probabilities
    logits = np.log(np.maximum(probabilities, _TINY)) / temperature
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature under which the true answers are most probable; 1 where there are fewer than LEAST questions, or all have one answer.

    probabilities: (questions, answers), over the answers of each question.   truth: (questions,) int64, the true ones.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    if len(truth) < LEAST or len(np.unique(truth)) < 2:
        return 1.0
    places = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        return -float(np.log(np.maximum(tempered(probabilities, np.exp(log_temperature))[places, truth], _TINY)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-4}).x))
