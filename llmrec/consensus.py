"""Consensus: of several drafts of a text, and of what was answered to like questions, the one that says most of what is likely to be said, which the likeliest row of words seldom is.

Separate from decoding, which writes drafts, from precedents, which are found in train, and from the metrics, whose overlap of two texts it shares.
Source: minimum Bayes risk decoding (Kumar and Byrne, NAACL 2004) by drawn drafts (Eikema and Aziz, Sampling-Based Approximations to Minimum Bayes Risk Decoding, EMNLP 2022);
here under a mixture of what the model would write and what was written, as `memory` mixes items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmrec.metrics.text import overlap, words

CANDIDATES = 16
TEMPERATURES = (0.0, *(0.4,) * (CANDIDATES - 1), *(1.0,) * 16)
"""Of each draft. The first CANDIDATES may become the answer: the most probable text, and some that are nearly as probable. What they are held against is drawn as the model says."""
BETA = 1.6
"""How many times recall counts as much as precision in what two texts share: what is likely to be said is said in many ways, and a short text is safe with all of them."""
SHARES = (0.0, 0.25, 0.5, 0.75)
"""Of the precedents among what answers are held against; what is tried on valid."""
QUOTING = (1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
"""How much more than another text with the same overlap one in the words of the question counts, for people sum up in words they have used; what is tried on valid."""


def agreed(drafts: Sequence[str], precedents: Sequence[tuple[str, float]] = (), share: float = 0.0, quotes: Sequence[str] = (), quoting: float = 1.0, *, stands: Callable[[str], bool] = bool) -> str | None:
    """The text with the largest expected overlap (F measure of the longest common subsequence of words) with what is likely to be said: with `share` the precedents, weighed as they are alike, else the drafts that are no candidates. The first of equals; None where no candidate stands.

    drafts: one for each of TEMPERATURES, of which the first CANDIDATES may be the answer.   precedents: texts that may be the answer, too, with weights that sum to 1; one is not held against itself.   share: below 1.
    quotes: texts of the question's own words that may be the answer, too, each `quoting` times as good as another with the same overlap.   stands: whether a text may be the answer.
    """
    share = share if precedents else 0.0
    candidates, drawn = [words(draft) for draft in drafts[:CANDIDATES]], [words(draft) for draft in drafts[CANDIDATES:]]
    told = [(words(text), weight) for text, weight in precedents] if share else []

    def by_drafts(own: list[str]) -> float:
        return sum(_shared(own, other) for other in drawn) / len(drawn)

    def by_all(own: list[str]) -> float:
        return (1 - share) * by_drafts(own) + share * sum(weight * _shared(own, other) for other, weight in told)

    expected = [by_all(own) for own in candidates]
    expected += [((1 - share) * by_drafts(own) + share * old) / (1 - share * weight) for (own, weight), old in zip(told, _by_others(told))]
    expected += [quoting * by_all(words(quote)) for quote in quotes]
    texts = (*drafts[:CANDIDATES], *(text for text, _ in (precedents if told else ())), *quotes)
    return next((texts[place] for place in sorted(range(len(texts)), key=lambda place: -expected[place]) if stands(texts[place])), None)


def central(texts: Sequence[tuple[str, float]]) -> str:
    """Of texts with weights the one with the largest expected overlap with the others, the first of equals."""
    told = [(words(text), weight) for text, weight in texts]
    expected = [old / (1 - weight) if weight < 1 else 0.0 for (_, weight), old in zip(told, _by_others(told))]
    return texts[expected.index(max(expected))][0]


def _by_others(told: Sequence[tuple[list[str], float]]) -> list[float]:
    """What each text shares with the others, as these weigh."""
    return [sum(weight * _shared(own, other) for number, (other, weight) in enumerate(told) if number != place) for place, (own, _) in enumerate(told)]


def _shared(own: list[str], other: list[str]) -> float:
    return overlap(own, other, beta=BETA)
