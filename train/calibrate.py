"""Fits on valid what stands behind a finished model's answers: temperatures, blends with expectations, shares of the memory.

Separate from `setup`, which trains and publishes: this asks a model as any caller does, and changes none of its weights.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from llmrec.answers import RATING
from llmrec.calibration import fit_blend, fit_temperature
from llmrec.exam import ASKED_AT_ONCE, Exam
from llmrec.interactions import VALID
from llmrec.lexical import WEIGHTS
from llmrec.memory import SHARES
from llmrec.metrics.text import overlap, words
from llmrec.recommender import Recommender
from llmrec.tasks import TASKS, Task
from llmrec.timelines import Timelines

log = logging.getLogger(__name__)

USERS_FOR_DRAFTS = 500
"""Users on whose valid questions a text is compared with the consensus of drafts."""
USERS_FOR_SHARES = 2_000
"""Users on whose valid questions a share of the memory or a weight of words is fitted: each is asked ten times."""


def calibrated(recommender: Recommender, timelines: Timelines, seed: int, *, limit: int, lexical: bool = False, consensus: bool = False) -> dict[str, dict[str, object] | list[str]]:
    """What a model's card holds of its calibration, fitted on the valid questions of at most `limit` users: for each rating and yes/no task the `blends` with its expectations, else the `temperatures`; for each item task the `shares` of the memory and, where it has a query and `lexical` says so, the weight of the items' own words; and, where `consensus` says so, the text tasks that a `consensus` of drafts serves.

    Ratings have no temperature: it would move their mean, by which they were trained and the step was chosen.
    """
    found: dict[str, dict[str, object] | list[str]] = {"temperatures": {}, "blends": {}, "shares": {}, "lexical": {}, "consensus": []}
    for name in recommender.tasks:
        family = TASKS[name].family
        if family == "items":
            worded = lexical and "query" in TASKS[name].required
            exam = valid_exam(TASKS[name], timelines, seed, limit=min(limit, USERS_FOR_SHARES)) if worded or recommender.memory is not None else None
            if exam is not None and worded:
                found["lexical"][name] = best_setting(recommender, exam, "lexical", WEIGHTS)
                log.info("%s: the words of items have a weight of %.1f, fitted on %d valid answers", name, found["lexical"][name], len(exam.held_out))
            if exam is not None and recommender.memory is not None:
                recommender.lexical = {**found["lexical"]}
                found["shares"][name] = best_setting(recommender, exam, "shares", SHARES)
                recommender.lexical = {}
                log.info("%s: the memory has a share of %.1f, fitted on %d valid answers", name, found["shares"][name], len(exam.held_out))
            continue
        if family == "text":
            exam = valid_exam(TASKS[name], timelines, seed, limit=min(limit, USERS_FOR_DRAFTS)) if consensus else None
            if exam is not None and agreement_serves(recommender, exam):
                found["consensus"].append(name)
            continue
        exam = valid_exam(TASKS[name], timelines, seed, limit=limit) if family == "binary" or family == "rating" and recommender.expectations is not None else None
        if exam is None:
            continue
        predictions = [prediction for start in range(0, len(exam.requests), ASKED_AT_ONCE) for prediction in recommender.predict(exam.requests[start : start + ASKED_AT_ONCE])]
        answered = [(prediction, example) for prediction, example in zip(predictions, exam.held_out) if prediction.error is None]
        if not answered:
            continue
        if family == "binary":
            yes, values = np.array([prediction.probability for prediction, _ in answered]), np.array([0.0, 1.0])
            probabilities = np.stack([1 - yes, yes], axis=1)
        else:
            values = recommender.composer.spaces[RATING].values
            probabilities = np.array([list(prediction.distribution.values()) for prediction, _ in answered])
        truth = np.abs(np.array([float(example.target) for _, example in answered])[:, None] - values).argmin(axis=1)
        blend = fit_blend(probabilities, values, recommender.expected([example.request for _, example in answered]), truth) if recommender.expectations is not None else None
        if blend is not None:
            found["blends"][name] = blend
            log.info("%s: weights %s of its own answer, the expectations and 1, fitted on %d valid answers", name, " ".join(f"{weight:.3f}" for weight in blend), len(truth))
        elif family == "binary":
            found["temperatures"][name] = fit_temperature(probabilities, truth)
            log.info("%s: temperature %.3f, fitted on %d valid answers", name, found["temperatures"][name], len(truth))
    return found


def best_setting(recommender: Recommender, exam: Exam, name: str, values: Sequence[float]) -> float:
    """Of `values` the one with the best ndcg@10 on these questions, seen items left out, the first of equals. name: the recommender's mapping from task to value ("shares", "lexical"), which is empty afterwards."""
    requests = [replace(example.request, exclude_seen=not exam.candidates, k=10) for example in exam.held_out]
    best = (-1.0, 0.0)
    for value in values:
        setattr(recommender, name, {exam.task: value})
        gained = 0.0
        for start in range(0, len(requests), ASKED_AT_ONCE):
            for prediction, example in zip(recommender.predict(requests[start : start + ASKED_AT_ONCE]), exam.held_out[start : start + ASKED_AT_ONCE]):
                if prediction.item_ids is not None and example.target in prediction.item_ids:
                    gained += 1 / np.log2(2 + list(prediction.item_ids).index(example.target))
        if gained > best[0] + 1e-9:
            best = (gained, value)
    setattr(recommender, name, {})
    return best[1]


def agreement_serves(recommender: Recommender, exam: Exam) -> bool:
    """Whether the consensus of drafts overlaps more with what was written than the most probable text does."""
    gained = []
    for consensus in (frozenset(), frozenset([exam.task])):
        recommender.consensus = consensus
        predictions = [prediction for start in range(0, len(exam.requests), ASKED_AT_ONCE) for prediction in recommender.predict(exam.requests[start : start + ASKED_AT_ONCE])]
        gained.append(sum(overlap(words(prediction.text or ""), words(example.target)) for prediction, example in zip(predictions, exam.held_out)))
    recommender.consensus = frozenset()
    log.info("%s: a mean overlap of %.2f by the most probable text, %.2f by the consensus of drafts, on %d valid answers", exam.task, *(total / len(exam.held_out) for total in gained), len(exam.held_out))
    return gained[1] > gained[0]


def valid_exam(task: Task, timelines: Timelines, seed: int, *, limit: int) -> Exam | None:
    """The valid questions of a task, of at most `limit` users; None where there is none."""
    held_out = task.held_out(timelines, VALID, seed) if task.reason_absent(timelines.corpus) is None else []
    return Exam(task.name, task.family, tuple(held_out), candidates=task.candidates, part=VALID, seed=seed).of_users(limit) if held_out else None
