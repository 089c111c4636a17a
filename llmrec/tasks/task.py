"""Task: one kind of question about a stream; both its training data and its own examination.

A task says which answer space its answers lie in, which examples train it and which held-out questions test it. Two shapes serve them all:
StreamTask (the answers are slots inside the stream) and QuestionTask (a question behind the stream, many behind one trunk).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llmrec.answers import ITEMS, RATING
from llmrec.composer import Composer, Example
from llmrec.interactions import TRAIN, Corpus
from llmrec.predictions import HeldOut, Request
from llmrec.templates import PromptTemplate
from llmrec.timelines import Timelines


class Task(ABC):
    """The declaration of a task.

    name: as users and files call it.   family: "items", "rating", "binary" or "text": which metrics judge it.   space: the answer space ("yes_no" has one per language).
    required, offered: the fields its question must and may hold (none: a stream task).   candidates: whether a request names the items to choose from.
    grounded: whether a written answer may name only features that the item asked about is known to have.
    """

    name: str
    family: str
    space: str
    required: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    candidates: bool = False
    reads_history: bool = True
    grounded: bool = False

    @abstractmethod
    def reason_absent(self, corpus: Corpus) -> str | None:
        """Why this corpus cannot train or test the task, as a sentence; None: it can."""

    def quotable(self, corpus: Corpus) -> bool:
        """Whether train's answers are what people wrote, true whoever asks: not made for one history."""
        return False

    @abstractmethod
    def bind(self, timelines: Timelines, *, seed: int) -> BoundTask:
        """The task on one corpus."""

    def held_out(self, timelines: Timelines, part: str, seed: int) -> list[HeldOut]:
        """The held-out questions of a part ("valid" or "test"), the same for every model."""
        return self.bind(timelines, seed=seed).held_out(part)

    def check(self, request: Request, known: frozenset[str] | set[str]) -> None:
        """Raises ValueError for a request that lacks a field the task needs, KeyError for an item the catalogue does not hold. known: the catalogue's item ids."""
        needed = ["item_id" if name == "code" else name for name in self.required] + (["candidates"] if self.candidates else [])
        for name in needed:
            if not getattr(request, name):
                raise ValueError(f"task {self.name!r} needs the field {name!r}; got none")
        if request.item_id is not None and request.item_id not in known:
            raise KeyError(f"unknown item {request.item_id!r}: the catalogue does not hold it")
        for item_id in request.candidates or ():
            if item_id not in known:
                raise KeyError(f"unknown item {item_id!r} among the candidates: the catalogue does not hold it")


class BoundTask(ABC):
    """A task on one corpus: `len(bound)` training units, each an example that may differ from epoch to epoch, and the held-out questions."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def example(self, unit: int, composer: Composer, template: PromptTemplate, rng: np.random.Generator) -> Example | None:
        """The example of a unit, drawn with `rng`; None where nothing of it fits the prompt."""

    @abstractmethod
    def held_out(self, part: str) -> list[HeldOut]: ...


# --- answers inside the stream ------------------------------------------------------------------------------------------------


class StreamTask(Task):
    """Every event's item is an answer: one stream trains every position in one pass."""

    family = "items"
    space = ITEMS

    def reason_absent(self, corpus: Corpus) -> str | None:
        trained = corpus.interactions.part(TRAIN).frame.filter(corpus.interactions.is_positive)
        return None if len(trained) else f"task {self.name!r} needs positive events in train; the log has none (positive: {corpus.interactions.positive or 'all but impression'})"

    def bind(self, timelines: Timelines, *, seed: int) -> BoundTask:
        return BoundStream(self, timelines, seed)

    def request(self, timelines: Timelines, user: int, place: int, part: str, rng: np.random.Generator) -> Request:
        """The held-out question about the event at `place`."""
        event = timelines.event(place)
        return Request(
            id=f"{timelines.user_ids[user]}:{timelines.rows[place]}", task=self.name, user_id=timelines.user_ids[user],
            history=timelines.history(user, place, part), context=event.context, timestamp=event.timestamp,
        )


class BoundStream(BoundTask):
    """Units are windows over the users' train events, at most `window` long, newest window first; its edge moves from epoch to epoch."""

    window = 200

    def __init__(self, task: StreamTask, timelines: Timelines, seed: int):
        self.task, self.timelines, self.seed = task, timelines, seed
        train = timelines.parts == 0
        self.places = np.flatnonzero(train)
        users = np.repeat(np.arange(len(timelines)), np.diff(timelines.starts))[self.places]
        counts = np.bincount(users, minlength=len(timelines))
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
        windows = -(-counts // self.window)
        self.unit_user = np.repeat(np.arange(len(timelines)), windows)
        self.unit_number = np.arange(len(self.unit_user)) - np.repeat(np.concatenate([[0], np.cumsum(windows)[:-1]]), windows)

    def __len__(self) -> int:
        return len(self.unit_user)

    def example(self, unit: int, composer: Composer, template: PromptTemplate, rng: np.random.Generator) -> Example | None:
        user = self.unit_user[unit]
        low, high = self.offsets[user], self.offsets[user + 1]
        if self.timelines.temporal:
            stop = high - self.unit_number[unit] * self.window
            if high - low > self.window:  # a long timeline: the edge of its windows moves, so that no event is always the first of one
                stop = min(high, stop + int(rng.integers(self.window)))
            places = self.places[max(low, stop - self.window) : stop]
        else:  # a set has no order to learn
            places = self.timelines.drawn(self.places[low:high], rng, self.window)
        fit = places[-composer.max_prompt_tokens :].tolist()  # an event has a token at least
        trunk, _ = composer.trunk(template, [self.timelines.event(place) for place in fit], learn=ITEMS)
        if not self.timelines.asked[fit].all():  # auxiliary events are read, not foretold
            shown = fit[len(fit) - len(trunk.answers) :]
            trunk.answers = [answer for answer, asked in zip(trunk.answers, self.timelines.asked[shown]) if asked]
        return Example(self.task.name, trunk) if trunk.answers else None

    def held_out(self, part: str) -> list[HeldOut]:
        rng = np.random.default_rng([self.seed, 7])
        ids = self.timelines.corpus.catalog.item_ids
        return [
            HeldOut(self.task.request(self.timelines, user, place, part, rng), ids[self.timelines.items[place]], int(self.timelines.rows[place]), person=self.timelines.persons[user])
            for user, place in self.timelines.places(part)
        ]


# --- a question behind the stream ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Questions:
    """Questions the log answers, as columns of one length, sorted by user: the user's number, the place its past reaches, the item's catalogue row, the row in the log, and a number as its answer."""

    user: np.ndarray
    place: np.ndarray
    item: np.ndarray
    row: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of_events(cls, timelines: Timelines, part: str, keep: np.ndarray | None = None, target: np.ndarray | None = None) -> Questions:
        """One question per stream event of a part. keep: (events,) bool. target: (events,) float64."""
        pairs = [(u, p) for u, p in timelines.places(part) if keep is None or keep[p]]
        user, place = (np.array([x[i] for x in pairs], dtype=np.int64) for i in (0, 1))
        return cls(user, place, timelines.items[place], timelines.rows[place], np.zeros(len(place)) if target is None else target[place])


class Asked(NamedTuple):
    """One question with its answer: the request without its history, and the answer's label (or text). tags: sub-groups the report shows apart."""

    request: Request
    label: str
    tags: tuple[tuple[str, str], ...] = ()


class QuestionTask(Task):
    """A question behind the stream. A subclass says which questions the log answers and how one is put."""

    max_questions = 16
    """Questions behind one trunk: more cost little, but the questions of one user are alike."""

    @abstractmethod
    def questions(self, timelines: Timelines, part: str) -> Questions:
        """What the log answers in a part."""

    @abstractmethod
    def asker(self, timelines: Timelines, seed: int) -> Asker:
        """Puts a question in words' reach."""

    def bind(self, timelines: Timelines, *, seed: int) -> BoundTask:
        return BoundQuestions(self, timelines, seed)


class Asker(ABC):
    """Turns row `number` of `questions` into a request and its answer."""

    @abstractmethod
    def ask(self, questions: Questions, number: int, *, part: str, language: str, history_items: Sequence[int], rng: np.random.Generator) -> Asked | None:
        """The question, or None where it can't be put. history_items: catalogue rows of the events it may see, oldest first."""

    def target(self, questions: Questions, number: int, asked: Asked) -> str | float:
        """What the evaluation compares with: the label, unless the task says otherwise."""
        return asked.label


class BoundQuestions(BoundTask):
    """Units are users; an example is the user's history with up to `max_questions` of the questions it answers."""

    def __init__(self, task: QuestionTask, timelines: Timelines, seed: int):
        self.task, self.timelines, self.seed = task, timelines, seed
        self.asker = task.asker(timelines, seed)
        self.train = task.questions(timelines, TRAIN)
        counts = np.bincount(self.train.user, minlength=len(timelines)) if len(self.train) else np.zeros(len(timelines), dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
        self.users = np.flatnonzero(counts)

    def __len__(self) -> int:
        return len(self.users)

    def example(self, unit: int, composer: Composer, template: PromptTemplate, rng: np.random.Generator) -> Example | None:
        user = int(self.users[unit])
        numbers = np.arange(self.offsets[user], self.offsets[user + 1])
        # Where an event is written as a question with its answer, each event of a history is a question about what stands before it.
        answered = self.task.space == RATING and template.event_is_question
        if answered and self.timelines.temporal:
            return self._answered_history(user, int(rng.choice(self.train.place[numbers])), composer, template)
        places, numbers = self._past(user, numbers, rng)
        events = [self.timelines.event(place) for place in places]
        trunk, ends = composer.trunk(template, events, learn=RATING if answered else None)
        example = Example(self.task.name, trunk, fold=int(self.timelines.folds[user]))
        space = composer.space_for(self.task.space, template.language)
        head = len(composer.head(template))
        for number in numbers:
            if example.num_tokens > 2 * composer.max_prompt_tokens:
                break  # one long example would make every packed row as long
            if self.timelines.temporal and self.task.reads_history:
                seen = int(np.searchsorted(places, self.train.place[number]))  # events before the question's place
                attach = ends[seen - 1] if seen else head
                if attach == 0 or (seen == 0 and ends and ends[0] == 0):
                    continue  # its past was cut away
            else:
                seen, attach = len(places), len(trunk.tokens)
            asked = self.asker.ask(
                self.train, number, part=TRAIN, language=template.language, rng=rng,
                history_items=[int(self.timelines.items[p]) for p in places[:seen]],
            )
            if asked is not None:
                example.branches.append(composer.branch(template, asked.request, space=space, attach=attach, label=asked.label))
        return example if example.branches else None

    def _answered_history(self, user: int, last: int, composer: Composer, template: PromptTemplate) -> Example | None:
        """The train events up to place `last`, every rating among them an answer: branches would ask the same once more."""
        places = [place for place in range(self.timelines.span(user)[0], last + 1) if self.timelines.parts[place] == 0]
        trunk, _ = composer.trunk(template, [self.timelines.event(place) for place in places], learn=RATING)
        return Example(self.task.name, trunk, fold=int(self.timelines.folds[user])) if trunk.answers else None

    def _past(self, user: int, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The places of a trunk, ascending where time counts, and which of the user's questions to ask behind it."""
        limit = self.task.max_questions
        if not self.task.reads_history:
            return np.empty(0, dtype=np.int64), rng.permutation(numbers)[:limit]
        start, stop = self.timelines.span(user)
        if self.timelines.temporal:
            last = rng.choice(numbers)
            near = numbers[self.train.place[numbers] <= self.train.place[last]]
            chosen = np.append(last, rng.permutation(near[near != last])[: limit - 1])
            return np.arange(start, self.train.place[last]), chosen
        # No order: a question may see every other train event. A quarter of them is asked about, so that the history stays about as long as in use.
        chosen = rng.permutation(numbers)[: min(limit, max(1, len(numbers) // 4))]
        hidden = set(self.train.item[chosen].tolist())
        places = [p for p in range(start, stop) if self.timelines.parts[p] == 0 and int(self.timelines.items[p]) not in hidden]
        return self.timelines.drawn(np.array(places, dtype=np.int64), rng), chosen

    def held_out(self, part: str) -> list[HeldOut]:
        questions = self.task.questions(self.timelines, part)
        found = []
        for number in range(len(questions)):
            user, place = int(questions.user[number]), int(questions.place[number])
            visible = list(self.timelines.visible(user, place, part)) if self.task.reads_history else []
            # One generator per question: the same words whatever else is asked.
            rng = np.random.default_rng([self.seed, number, part == "test"])
            asked = self.asker.ask(questions, number, part=part, language="en", rng=rng, history_items=[int(self.timelines.items[p]) for p in visible])
            if asked is None:
                continue
            request = _with_past(asked.request, self.timelines, user, visible, int(questions.row[number]))
            found.append(HeldOut(request, self.asker.target(questions, number, asked), int(questions.row[number]), dict(asked.tags), self.timelines.persons[user]))
        return found


def item_request(task: Task, timelines: Timelines, questions: Questions, number: int, **fields: object) -> Request:
    """A request about the item of a question, in the question's own context."""
    row = int(questions.row[number])
    log = timelines.corpus.interactions
    context = {name: value for name in log.context if (value := log.frame[name][row]) is not None} or None
    return Request(task=task.name, item_id=timelines.corpus.catalog.item_ids[int(questions.item[number])], context=context, **fields)


def _with_past(request: Request, timelines: Timelines, user: int, visible: Sequence[int], row: int) -> Request:
    from_log = timelines.corpus.interactions.frame["timestamp"][row] if "timestamp" in timelines.corpus.interactions.frame.columns else None
    values = {**request.__dict__, "id": f"{timelines.user_ids[user]}:{row}", "user_id": timelines.user_ids[user], "timestamp": from_log}
    return Request(**{**values, "history": tuple(timelines.event(p) for p in visible)})
