"""Fits on valid how a finished model's answers are combined with what stands behind them: temperatures, blends with expectations, shares of the memory and of precedents.

Separate from `setup`, which trains and publishes: this asks a model as any caller does, and changes none of its weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby, product

import numpy as np

from llmrec.answers import RATING
from llmrec.calibration import blended, fit_blend, fit_spread, fit_temperature
from llmrec.consensus import QUOTING
from llmrec.consensus import SHARES as SHARES_OF_PRECEDENTS
from llmrec.exam import ASKED_AT_ONCE, Exam, whose
from llmrec.interactions import PARTS, VALID
from llmrec.lexical import WEIGHTS
from llmrec.memory import SHARES, SHOWN_SHARES
from llmrec.metrics.text import overlap, words
from llmrec.predictions import Prediction, Request
from llmrec.recommender import Combiner, Fitted, Recommender
from llmrec.tasks import TASKS, Task
from llmrec.timelines import Timelines

log = logging.getLogger(__name__)

USERS_FOR_DRAFTS = 500
"""Users on whose valid questions a text is compared with the consensus of drafts."""
USERS_FOR_BLENDS = 2_000
"""Users at least on whose valid questions a temperature or a blend is fitted: a dozen weights follow chance on the questions of 200, who are enough to choose a step."""
USERS_FOR_SHARES = 10_000
"""Users on whose valid questions a share of the memory or a weight of words is fitted, each asked once: neighbouring shares differ by some ten-thousandths of ndcg, which 2,000 users do not tell from chance."""
DEPTH = 10
"""Places of an item task's answer that count in a gain."""


def calibrated(recommender: Recommender, timelines: Timelines, seed: int, *, limit: int, lexical: bool = False, consensus: bool = False) -> dict[str, dict[str, object]]:
    """What a model's card holds of its calibration, fitted on the valid questions of at most `limit` users (rating and yes/no tasks: USERS_FOR_BLENDS where that is more; item tasks: USERS_FOR_SHARES): for each rating and yes/no task the `blends` with its expectations; for ratings, and where there is no blend, the `temperatures`; for each item task the `shares` of the memory in it and, where events are only shown, the share of what is `shown`, and, where it has a query and `lexical` says so, the weight of the items' own words; and, where `consensus` says so, for each text task that a `consensus` of drafts serves the share of precedents in it, and where words of the question serve it the factor of `quoting` them.

    The temperature of ratings leaves their mean, by which they were trained and the step was chosen, as it is.
    """
    found: dict[str, dict[str, object]] = {"temperatures": {}, "blends": {}, "shares": {}, "shown": {}, "lexical": {}, "consensus": {}, "quoting": {}}
    backing = recommender.combiner.backing
    if not (timelines.parts == PARTS.index(VALID)).any():
        log.warning("nothing is fitted: the corpus has no valid part (split none), so memory, words of items, expectations, consensus and temperatures stay without effect. Fit what is to be used on a corpus that holds some out")
    for name in recommender.tasks:
        family = TASKS[name].family
        if family == "items":
            worded = lexical and "query" in TASKS[name].required
            exam = valid_exam(TASKS[name], timelines, seed, limit=USERS_FOR_SHARES) if worded or backing.memory is not None else None
            if exam is not None and worded:
                found["lexical"][name] = WEIGHTS[_best(gains(recommender, exam, [Fitted(lexical={name: weight}) for weight in WEIGHTS]))]
                log.info("%s: the words of items have a weight of %.1f, fitted on %d valid answers", name, found["lexical"][name], len(exam.held_out))
            if exam is not None and backing.memory is not None:
                tried = list(product(SHARES, SHOWN_SHARES if not timelines.asked.all() else (0.0,)))
                found["shares"][name], found["shown"][name] = tried[_best(gains(recommender, exam, [Fitted(lexical=found["lexical"], shares={name: share}, shown={name: shown}) for share, shown in tried]))]
                log.info("%s: the memory has a share of %.1f%s, fitted on %d valid answers", name, found["shares"][name], "" if timelines.asked.all() else f", and what is only shown of {found['shown'][name]:.2f}", len(exam.held_out))
            continue
        if family == "text":
            exam = valid_exam(TASKS[name], timelines, seed, limit=min(limit, USERS_FOR_DRAFTS)) if consensus else None
            fitted = best_consensus(recommender, exam) if exam is not None else Fitted()
            found["consensus"].update(fitted.consensus)
            found["quoting"].update(fitted.quoting)
            continue
        exam = valid_exam(TASKS[name], timelines, seed, limit=max(limit, USERS_FOR_BLENDS))
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
        expected = recommender.combiner.expected(name, [example.request for _, example in answered]) if backing.expects(name) else None
        blend = fit_blend(probabilities, values, expected, truth, [whose(example) for _, example in answered]) if expected is not None else None
        if blend is not None:
            found["blends"][name] = blend
            log.info("%s: weights %s of its own answer, the expectations and 1, fitted on %d valid answers", name, " ".join(f"{weight:.3f}" for weight in blend), len(truth))
        if family == "rating":
            means = probabilities @ values if blend is None else blended(probabilities, values, expected, blend) @ values
            found["temperatures"][name] = fit_spread(probabilities, values, means, truth)
        elif blend is None:
            found["temperatures"][name] = fit_temperature(probabilities, truth)
        if name in found["temperatures"]:
            log.info("%s: temperature %.3f, fitted on %d valid answers", name, found["temperatures"][name], len(truth))
    return found


def gains(recommender: Recommender, exam: Exam, settings: Sequence[Fitted]) -> np.ndarray:
    """(settings, questions) float64: ndcg@10 of each question with each of the settings, seen items left out. The model is asked once; the recommender has none of the settings afterwards."""
    requests = [replace(example.request, id=str(number), exclude_seen=not exam.candidates, k=DEPTH) for number, example in enumerate(exam.held_out)]
    targets = [recommender.catalog.row(str(example.target)) for example in exam.held_out]
    before, recommender.combiner = recommender.combiner, _Weighing(recommender.combiner, settings, targets)
    _answers(recommender, Fitted(), requests)
    weighing, recommender.combiner = recommender.combiner, before
    return weighing.gained


class _Weighing(Combiner):
    """Notes what each question, whose id is its number, gains with each of the settings, all on the same scores of the model."""

    def __init__(self, of: Combiner, settings: Sequence[Fitted], targets: Sequence[int]):
        super().__init__(of.backing, of.fitted, catalog=of.catalog, vocabulary=of.vocabulary)
        self.settings, self.targets = settings, np.array(targets)
        self.gained = np.zeros((len(settings), len(targets)))

    @cached_property
    def texts(self) -> Callable[[list], np.ndarray]:
        return _Last(super().texts)

    def worded(self, requests: Sequence[Request], scores: np.ndarray) -> np.ndarray:
        self._said = scores.copy()
        return scores

    def remembering(self, requests: Sequence[Request], scores: np.ndarray) -> np.ndarray:
        backing, histories = self.backing, [request.history for request in requests]
        remembers = backing.memory is not None and any(fitted.shares or fitted.shown for fitted in self.settings)
        votes = (backing.memory(histories), backing.memory.shown(histories)) if remembers else ()
        for _, group in groupby(enumerate(self.settings), key=lambda setting: setting[1].lexical):
            same = list(group)
            self.fitted = same[0][1]
            said = np.where(np.isneginf(scores), -np.inf, super().worded(requests, self._said.copy()))
            for row, request in enumerate(requests):
                number = int(request.id)
                contenders = contenders_of(np.stack([each[row] for each in (said, *votes)]), self.targets[number])
                if contenders is None:
                    continue
                self.backing = replace(backing, memory=_Held(*(each[row, contenders][None] for each in votes)) if votes else None)
                before = contenders < self.targets[number]
                place = np.searchsorted(contenders, self.targets[number])
                for setting, self.fitted in same:
                    found = super().remembering([request], said[row, contenders][None])[0]
                    # As they are answered: equal scores in the catalogue's order.
                    rank = np.count_nonzero(found > found[place]) + np.count_nonzero((found == found[place]) & before)
                    self.gained[setting, number] = 1 / np.log2(rank + 2) if rank < DEPTH else 0.0
        self.backing = backing
        return scores


def contenders_of(votes: np.ndarray, target: int) -> np.ndarray | None:
    """The rows, ascending, of the items that may stand before the target in some mixture of the votes, and of itself; None where it is among the first DEPTH in none. votes: (votes, items), the model's first: the more, the better, whatever their shares."""
    own = votes[:, target, None]
    if np.isneginf(own[0, 0]) or np.count_nonzero((votes >= own).all(axis=0) & (votes[0] > own[0])) >= DEPTH:
        return None
    return np.flatnonzero((votes > own).any(axis=0) | (votes[0] == own[0]))


class _Last:
    """A function that is asked the same several times in a row."""

    def __init__(self, of: Callable[[list], np.ndarray]):
        self.of, self.asked, self.answer = of, None, None

    def __call__(self, asked: list) -> np.ndarray:
        if asked != self.asked:
            self.asked, self.answer = asked, self.of(asked)
        return self.answer


class _Held:
    """What a memory says of one history, of a part of the catalogue."""

    def __init__(self, remembered: np.ndarray, shown: np.ndarray):
        self.remembered, self.of_shown = remembered, shown

    def __call__(self, histories: Sequence) -> np.ndarray:
        return self.remembered

    def shown(self, histories: Sequence) -> np.ndarray:
        return self.of_shown


def _best(gained: np.ndarray) -> int:
    """The first of the settings with the highest mean. gained: (settings, questions)."""
    return int(gained.mean(axis=1).round(12).argmax())


def best_consensus(recommender: Recommender, exam: Exam) -> Fitted:
    """With which share of precedents, and then with which factor of quoting the question, the consensus of drafts overlaps most with what was written, the first of equals; nothing where the most probable text overlaps as much. The recommender has no consensus afterwards."""
    shares = SHARES_OF_PRECEDENTS if recommender.combiner.backing.precedents.get(exam.task) is not None else SHARES_OF_PRECEDENTS[:1]
    before, recommender.combiner = recommender.combiner, _Listening(recommender.combiner)
    _answers(recommender, Fitted(consensus={exam.task: 0.0}), exam.requests)
    combiner, recommender.combiner = recommender.combiner, before
    truth = {example.request.id: words(example.target) for example in exam.held_out}

    def best(settings: Sequence[Fitted], told: str) -> Fitted:
        gained = []
        for fitted in settings:
            combiner.fitted = fitted
            gained.append(sum(overlap(words(combiner.text(request, drafts).text), truth[request.id]) for request, drafts in combiner.heard.values()) / len(exam.held_out))
        log.info("%s: a mean overlap of %s with %s, on %d valid answers", exam.task, ", ".join(f"{mean:.2f}" for mean in gained), told, len(exam.held_out))
        return settings[gained.index(max(gained))]

    found = best([Fitted(), *(Fitted(consensus={exam.task: share}) for share in shares)], f"the most probable text, and with the consensus of drafts and a share of precedents of {', '.join(map(str, shares))}")
    if not found.consensus or not any(request.review for request in exam.requests):
        return found
    return best([found, *(replace(found, quoting={exam.task: factor}) for factor in QUOTING)], f"this, and with quotes that count {', '.join(map(str, QUOTING))} times")


class _Listening(Combiner):
    """Keeps the drafts it is handed, so that they are written once and chosen among in every way that is tried."""

    def __init__(self, of: Combiner):
        super().__init__(of.backing, of.fitted, catalog=of.catalog, vocabulary=of.vocabulary)
        self.heard: dict[str, tuple[Request, Sequence[str]]] = {}

    def text(self, request: Request, drafts: Sequence[str]) -> Prediction:
        if request.id not in self.heard:
            self.heard[request.id] = request, drafts
        return super().text(request, drafts)


def _answers(recommender: Recommender, fitted: Fitted, requests: Sequence[Request]) -> list[Prediction]:
    before, recommender.combiner.fitted = recommender.combiner.fitted, fitted
    answers = [prediction for start in range(0, len(requests), ASKED_AT_ONCE) for prediction in recommender.predict(requests[start : start + ASKED_AT_ONCE])]
    recommender.combiner.fitted = before
    return answers


def valid_exam(task: Task, timelines: Timelines, seed: int, *, limit: int) -> Exam | None:
    """The valid questions of a task, of at most `limit` users; None where there is none."""
    held_out = task.held_out(timelines, VALID, seed) if task.reason_absent(timelines.corpus) is None else []
    return Exam(task.name, task.family, tuple(held_out), candidates=task.candidates, part=VALID, seed=seed).of_users(limit) if held_out else None
