"""Lexical evidence: how well an item's own words fit a query, weighed into the answers of the language model.

Separate from the model, which has to learn from few examples what words mean, and knows whom it answers: the words of a title stand there, and need not be learned.

    log p(item | query, history) = log p_model(item | prompt) + weight * BM25(query, item) + constant

The weight of each task is fitted on valid. What is answered stays a distribution over the catalogue, so masks and scores mean what they meant.
Source of the pool: Genest and Zidek, Combining probability distributions, Statistical Science 1986, section 3 (logarithmic pooling), with BM25 as the log-odds of fitting, which it approximates.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""What is tried on valid."""


def pooled(scores: np.ndarray, evidence: np.ndarray, weight: float) -> np.ndarray:
    """The log-probabilities of the pool. scores: (B, items) float64, log-probabilities of the whole catalogue.   evidence: (B, items), BM25 of each query and item; a row of zeros leaves the scores as they are."""
    raised = scores + weight * evidence
    return raised - logsumexp(raised, axis=1, keepdims=True)
