"""Which events of a history make an answer what it is: each is left out once, and the answer is asked again.

Separate from answering: it asks a model as any caller does, so that what is cited is what moved the answer, not what a model says moved it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from llmrec.exam import Predictor
from llmrec.interactions import Event
from llmrec.predictions import Prediction, Request
from llmrec.tasks import find_task

NEWEST = 64
"""Events of a history that may be cited: one prompt is read for each."""


class Citation(NamedTuple):
    """An event, and by how much the answer is higher with it than without: stars of a rating, log-odds of a yes, log-probability of an item."""

    event: Event
    effect: float


def cite(model: Predictor, request: Request, item_id: str | None = None, *, k: int = 3) -> list[Citation]:
    """The k events of the history's newest that speak most for the answer, strongest first; fewer where fewer do.

    A rating or a yes may lie above or below what somebody without a history would get: what moves it that way speaks for it (a low rating's effects are negative). For an item of a list speaks what makes it likelier.

    item_id: which item of a list is meant, for tasks that answer with items (default: the first one answered).

    Raises:
        ValueError: the task is answered with a text, or the request can't be answered. KeyError: an unknown item.
    """
    request = about(model, request, item_id)
    events = list(request.history)
    places = range(max(0, len(events) - NEWEST), len(events))
    without = [replace(request, history=tuple(events[:place] + events[place + 1 :])) for place in places]
    whole, nothing, *rest = strengths(model, [request, replace(request, history=()), *without])
    found = [Citation(events[place], whole - strength) for place, strength in zip(places, rest)]
    way = 1.0 if find_task(request.task).family == "items" else float(np.sign(whole - nothing))
    return sorted((citation for citation in found if way * citation.effect > 0), key=lambda citation: -way * citation.effect)[:k]


def about(model: Predictor, request: Request, item_id: str | None = None) -> Request:
    """The request as a question about one answer: of a list the item named, or the first."""
    if find_task(request.task).family != "items":
        return request
    if item_id is None:
        found = _answered(model.predict([request])[0]).item_ids
        if not found:
            raise ValueError("no item may be answered: nothing of a list is there to be explained")
        item_id = found[0]
    return replace(request, candidates=(item_id,), exclude=(), include=None, where=None, exclude_seen=False, k=1)


def strengths(model: Predictor, requests: Sequence[Request]) -> list[float]:
    """How strong each answer is: a rating, the log-odds of yes, or the log-probability of the one candidate."""
    found = []
    for prediction in model.predict(requests):
        found.append(_strength(_answered(prediction)))
    return found


def _answered(prediction: Prediction) -> Prediction:
    if prediction.error is not None:
        raise ValueError(prediction.error)
    return prediction


def _strength(prediction: Prediction) -> float:
    if prediction.value is not None:
        return prediction.value
    if prediction.probability is not None:
        chance = min(max(prediction.probability, 1e-9), 1 - 1e-9)
        return math.log(chance / (1 - chance))
    if prediction.scores is not None and len(prediction.scores):
        return float(prediction.scores[0])
    raise ValueError("a text has no strength; expected a task that answers with a rating, yes or no, or items")
