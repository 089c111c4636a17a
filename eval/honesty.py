"""Whether what a model says of its answers is so: do cited events move the answer, and does a text agree with the rating?

Separate from `faithful`, the command line, so that a study can be run from Python on any questions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from llmrec.citing import NEWEST, about, cite, strengths
from llmrec.exam import Exam, Predictor, whose
from llmrec.metrics.statistic import Statistic, estimate, ratio_of
from llmrec.predictions import HeldOut
from llmrec.tasks import TASKS
from llmrec.templates import PromptTemplate
from llmrec.timelines import Timelines

NEUTRAL = 0.05
"""A compound score of VADER nearer to 0 has no sentiment, as its authors advise."""


@dataclass(frozen=True)
class Asked:
    """Whose held-out questions are asked: `limit` users of a part, drawn by the seed."""

    timelines: Timelines
    part: str
    limit: int
    seed: int = 0

    def questions(self, name: str) -> list[HeldOut]:
        """The questions of a task; none where the corpus has none."""
        task = TASKS[name]
        held_out = tuple(task.held_out(self.timelines, self.part, self.seed)) if task.reason_absent(self.timelines.corpus) is None else ()
        if not held_out:
            return []
        exam = Exam(name, task.family, held_out, candidates=task.candidates, part=self.part, seed=self.seed)
        return list(exam.of_users(self.limit).held_out)


def two_wordings(templates: Sequence[PromptTemplate]) -> tuple[PromptTemplate, PromptTemplate] | None:
    """The first wording that training saw and the first unseen one that show the same fields in the same language; None where there are no such two."""
    pairs = ((seen, other) for seen in templates for other in templates if other.unseen and not seen.unseen and (seen.language, seen.fields) == (other.language, other.fields))
    return next(pairs, None)


def deletions(model: Predictor, asked: Asked, task: str, *, cited: int = 3, draws: int = 5, measured: Predictor | None = None) -> dict[str, object]:
    """How far the answer moves without the cited events, without as many random ones of the newest that may be cited, and the ratio of the two. Answers for which nothing speaks are left out, and counted.

    measured: who is asked again without them (default: the model itself, which moves further without what it cited even where that is chance: the largest of several differences is larger than their mean).

    Raises ValueError where no history is long enough.
    """
    questions = [question for question in asked.questions(task) if len(question.request.history) >= 2 * cited]
    moved, drawn, users, measured = [], [], [], measured or model
    for number, question in enumerate(tqdm(questions, desc="cite", unit="answer", file=sys.stderr)):
        request = about(model, question.request)
        item_id = request.candidates[0] if request.candidates else None
        found = cite(model, request, item_id, k=cited)
        if not found:
            continue
        # An event is itself, not its like: the same item may stand twice in a history.
        own = {id(citation.event) for citation in found}
        rng = np.random.default_rng([number, 11])
        kept, newest = [[event for event in request.history if id(event) not in own]], np.arange(len(request.history))[-NEWEST:]
        for _ in range(draws):
            gone = set(rng.choice(newest, len(found), replace=False).tolist())
            kept.append([event for place, event in enumerate(request.history) if place not in gone])
        whole, without, *random = strengths(measured, [request, *(replace(request, history=tuple(events)) for events in kept)])
        moved.append(abs(whole - without))
        drawn.append(float(np.mean([abs(whole - one) for one in random])))
        users.append(whose(question))
    if not moved:
        raise ValueError(f"no history of {task} has {2 * cited} events and one that speaks for its answer; lower --cited")
    return {
        "task": task, "answers": len(moved), "without_citation": len(questions) - len(moved), "cited": cited, "moved_without_cited": float(np.mean(moved)), "moved_without_random": float(np.mean(drawn)),
        **_with_interval(ratio_of(np.array(moved), np.array(drawn)), users, "ratio"),
    }


def sentiments(model: Predictor, asked: Asked, *, middle: float) -> dict[str, object]:
    """How many explanations have a sentiment, and the share of those that agree with the predicted rating. middle: of the rating scale."""
    analyser = sentiment_analyser()
    questions = asked.questions("explanation")
    requests = [question.request for question in questions]
    texts = [prediction.text or "" for prediction in model.predict(requests)]
    ratings = [prediction.value for prediction in model.predict([replace(request, task="rating") for request in requests])]
    return agreement([analyser.polarity_scores(text)["compound"] for text in texts], ratings, middle=middle, users=[whose(question) for question in questions])


def agreement(compounds: Sequence[float], ratings: Sequence[float], *, middle: float, users: Sequence[str]) -> dict[str, object]:
    """The share of texts that have a sentiment, how many of these are above neutral, and the share whose sign is that of the rating above or below the middle."""
    compound, above = np.array(compounds), np.array(ratings) > middle
    said = np.abs(compound) >= NEUTRAL
    agrees = said & ((compound > 0) == above)
    return {
        "texts": len(compound), "with_sentiment": float(said.mean()), "positive": float((compound[said] > 0).mean()) if said.any() else None,
        **_with_interval(ratio_of(agrees, said), users, "agreement"),
    }


def sentiment_analyser():
    """VADER's. Raises ValueError where it is not installed."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise ValueError("sentiments need VADER: pip install 'llmrec[faithful]'") from None
    return SentimentIntensityAnalyzer()


def _with_interval(statistic: Statistic, users: Sequence[str], name: str) -> dict[str, object]:
    figure = estimate({name: statistic}, users, seed=0)[name]
    return {name: figure.mean, "low": figure.low, "high": figure.high}
