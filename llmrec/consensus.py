"""Consensus: of several drafts of a text the one that says most of what is likely to be said, which the likeliest row of words seldom is.

Separate from decoding, which writes drafts, and from the metrics, whose overlap of two texts it shares.
Source: minimum Bayes risk decoding (Kumar and Byrne, NAACL 2004) by drawn drafts (Eikema and Aziz, Sampling-Based Approximations to Minimum Bayes Risk Decoding, EMNLP 2022).
"""

from __future__ import annotations

from collections.abc import Sequence

from llmrec.metrics.text import overlap, words

CANDIDATES = 16
TEMPERATURES = (0.0, *(0.4,) * (CANDIDATES - 1), *(1.0,) * 16)
"""Of each draft. The first CANDIDATES may become the answer: the most probable text, and some that are nearly as probable. What they are held against is drawn as the model says."""


def agreed(drafts: Sequence[str]) -> str:
    """The candidate with the largest mean overlap (F1 of the longest common subsequence of words) with the drafts that are no candidates, the first of equals. drafts: one for each of TEMPERATURES."""
    split = [words(draft) for draft in drafts]
    shared = [sum(overlap(own, other) for other in split[CANDIDATES:]) for own in split[:CANDIDATES]]
    return drafts[shared.index(max(shared))]
