"""The audit of held-out questions: whether one gives its answer away, or shows what lies after it.

Separate from the tasks that make the questions: every history is compared with the log itself, row by row and against the moment of each question, so that
what asks and what checks share no code.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from llmrec.audit.finding import ERROR, WARNING, Audit, Finding
from llmrec.audit.log import MIN_REVIEW_CHARACTERS, MIN_TITLE_CHARACTERS, said_rating
from llmrec.interactions import PARTS, Event
from llmrec.predictions import HeldOut, Request
from llmrec.tasks import TASKS
from llmrec.tasks.task import QuestionTask
from llmrec.timelines import Timelines

MIN_TEXT_CHARACTERS = 20  # a shorter text ("Very good") stands in another one by chance
MIN_QUESTIONS = 20  # what fits fewer questions than these may fit them by chance
MAX_USERS = 50_000  # whose histories are compared with the log, spread evenly
OFTEN = 0.05  # fewer queries that name a title are how people search
TELLING = 0.98  # a context column that fits the answers of this many is made from them
NEVER = math.inf


class Told(NamedTuple):
    """A row of the log that is asked about.

    moment: what a history may hold comes before it (a position of the user's log, or where time does not count, a number in PARTS).
    written: the review and the summary its user wrote of it.   query: what the user typed to find it.
    """

    user_id: str
    item_id: str
    moment: float
    written: tuple[str, ...]
    query: str | None


class HeldOutTask:
    """The held-out questions of one task, beside what the log knows of them."""

    def __init__(self, task: str, held_out: Sequence[HeldOut], timelines: Timelines, part: str):
        self.task, self.held_out, self.timelines, self.part = task, held_out, timelines, part
        self.corpus = timelines.corpus

    @property
    def family(self) -> str:
        """The task's family; of a task nobody knows, what its answers look like."""
        if self.task in TASKS:
            return TASKS[self.task].family
        target = self.held_out[0].target
        return ("items" if target in self.corpus.catalog.rows else "text") if isinstance(target, str) else "rating"

    @cached_property
    def users(self) -> dict[str, _User]:
        """What the log knows of the users who are asked; of at most MAX_USERS of them."""
        frame = self.corpus.interactions.frame
        asked = sorted({h.request.user_id for h in self.held_out if h.request.user_id is not None})
        if len(asked) > MAX_USERS:
            asked = [asked[i] for i in np.linspace(0, len(asked) - 1, MAX_USERS).astype(np.int64)]
        offered = [name for name in ("rating", "timestamp", "review", "summary", "query") if name in frame.columns]
        log = self.corpus.interactions
        kinds = (log.is_shown.alias("is_shown"), log.is_positive.alias("is_positive"))
        rows = frame.with_row_index("row").select("row", "user_id", "item_id", "position", "part", "event", *offered, *kinds)
        by_user = rows.filter(pl.col("user_id").is_in(asked)).sort("user_id", "position").partition_by("user_id", as_dict=True, maintain_order=True)
        return {user_id: _User(part, self.timelines.temporal) for (user_id,), part in by_user.items()}

    @cached_property
    def placed(self) -> list[tuple[HeldOut, Told]]:
        """The questions about a row of the log, with that row."""
        found = [(h, self.users[h.request.user_id].rows.get(h.row)) for h in self.held_out if h.row >= 0 and h.request.user_id in self.users]
        return [(h, told if self.timelines.temporal else told._replace(moment=PARTS.index(self.part))) for h, told in found if told is not None]


def audit_examples(timelines: Timelines, held_out: Mapping[str, Sequence[HeldOut]], part: str) -> Audit:
    """Looks for every leak of EXAMPLE_CHECKS in the held-out questions of a part. held_out: task name -> its questions.

    `checked` counts for each task its questions, the events of their histories, and the questions that name no row of the log, whose histories have no moment
    to be compared with.
    """
    findings: list[Finding] = []
    checked: dict[str, int] = {}
    for task, examples in held_out.items():
        if not examples:
            continue
        subject = HeldOutTask(task, examples, timelines, part)
        checked |= {
            f"{task}: questions": len(examples), f"{task}: history events": sum(len(h.request.history) for h in examples),
            f"{task}: without a row": sum(h.row < 0 for h in examples),
        }
        found = [check(subject) for check in EXAMPLE_CHECKS]
        findings += [replace(finding, sentence=f"{task}: {finding.sentence}") for finding in found if finding is not None]
    return Audit(tuple(findings), checked)


# --- who is asked about what ---------------------------------------------------------------------------------------------------


def asked_twice(subject: HeldOutTask) -> Finding | None:
    """No id and no row is asked twice: a user would count double."""
    ids = Counter(h.request.id for h in subject.held_out)
    rows = Counter(h.row for h in subject.held_out if h.row >= 0)
    twice = max(sum(n - 1 for n in ids.values()), sum(n - 1 for n in rows.values()))
    return Finding.of("asked_twice", ERROR, twice, "questions are asked more than once: their users count double")


def another_row(subject: HeldOutTask) -> Finding | None:
    """The row a question names is one of its user and of the item it asks for or about."""
    lost = sum(h.row >= 0 and h.request.user_id in subject.users for h in subject.held_out) - len(subject.placed)
    other = sum(told.item_id != (h.target if subject.family == "items" else h.request.item_id or told.item_id) for h, told in subject.placed)
    sentence = "questions name a row of the log that is of another user or item: their answers are not those of the log"
    return Finding.of("another_row", ERROR, lost + other, sentence)


def part_of_another(subject: HeldOutTask) -> Finding | None:
    """No row is a question of this part and of another: a model trained or chosen on it would be tested on it."""
    task, rows = TASKS.get(subject.task), {h.row for h in subject.held_out if h.row >= 0}
    if not rows or task is None or task.reason_absent(subject.corpus) is not None:
        return None
    shared = {other: len(rows & _rows_of(subject, other)) for other in PARTS if other != subject.part}
    others = ", ".join(f"{count} of {other}" for other, count in shared.items() if count)
    return Finding.of("part_of_another", ERROR, sum(shared.values()), f"questions of {subject.part} are also questions of another part ({others})")


# --- what a history shows ------------------------------------------------------------------------------------------------------


def target_in_history(subject: HeldOutTask) -> Finding | None:
    """A history holds no more events of the asked item than the log has before the question."""
    wrong = 0
    for h, told in subject.placed:
        shown = sum(event.item_id == told.item_id for event in h.request.history)
        wrong += shown > 0 and shown > subject.users[told.user_id].events_before(told.item_id, told.moment)
    return Finding.of("target_in_history", ERROR, wrong, "histories hold the event that is asked about")


def future_event(subject: HeldOutTask) -> Finding | None:
    """All a history tells of an event (its item, rating, time and word) was known before the question."""
    wrong = 0
    for h, told in subject.placed:
        known_at = subject.users[told.user_id].known_at
        wrong += any(told.moment <= known_at(event) < NEVER for event in h.request.history)
    if subject.timelines.temporal:
        wrong += sum(_tells_later(h.request) for h in subject.held_out if h.row < 0)
    return Finding.of("future_event", ERROR, wrong, "histories hold something from after their question")


def foreign_event(subject: HeldOutTask) -> Finding | None:
    """Every event of a history is one of the user's own log."""
    wrong = sum(any(subject.users[told.user_id].known_at(event) == NEVER for event in h.request.history) for h, told in subject.placed)
    return Finding.of("foreign_event", ERROR, wrong, "histories hold an event the user's log does not have")


# --- what a prompt says --------------------------------------------------------------------------------------------------------


def target_in_prompt(subject: HeldOutTask) -> Finding | None:
    """No field of a request (query, review, context) says the answer: the title of the item it asks for, the rating, the text to write, or the review of the
    very row it asks about."""
    told = {h.request.id: row for h, row in subject.placed}
    count = 0
    for h in subject.held_out:
        row = told.get(h.request.id)
        query = h.request.query if row is None or h.request.query != row.query else None  # what the user typed is no leak, see own_query
        texts = [text for text in (query, h.request.review, *(h.request.context or {}).values()) if text]
        count += any(_says_answer(subject, h, text) for text in texts) or _shows_own_review(h.request, row)
    return Finding.of("target_in_prompt", ERROR, count, "prompts say the answer they ask for")


def own_query(subject: HeldOutTask) -> Finding | None:
    """Queries that users typed themselves, where more than OFTEN hold the title of the item they took: true, but any search by words finds it."""
    if subject.family != "items":
        return None
    asked = [h for h, row in subject.placed if row.query and h.request.query == row.query]
    count = sum(_holds_title(subject, h.request.query, str(h.target)) for h in asked)
    sentence = f"of {len(asked)} queries in the users' own words hold the title of the item that is asked for"
    return Finding.of("own_query", WARNING, count if count > OFTEN * len(asked) else 0, sentence)


def summary_in_review(subject: HeldOutTask) -> Finding | None:
    """Texts to write that stand word for word in the review they are made from: copying scores there."""
    if subject.family != "text":
        return None
    asked = [h for h in subject.held_out if h.request.review and not h.request.item_id and len(str(h.target)) >= MIN_TEXT_CHARACTERS]
    count = sum(str(h.target).casefold() in h.request.review.casefold() for h in asked)
    sentence = f"of {len(asked)} texts of {MIN_TEXT_CHARACTERS} characters or more stand word for word in the review they are asked of"
    return Finding.of("summary_in_review", WARNING, count, sentence)


def context_tells_target(subject: HeldOutTask) -> Finding | None:
    """No column of the context fits the answers: among its values that come more than once, one answer each."""
    names = sorted({name for h in subject.held_out for name in h.request.context or {}})
    telling = [name for name in names if _determines([(h.request.context[name], h.target) for h in subject.held_out if name in (h.request.context or {})])]
    sentence = f"columns of the context ({', '.join(telling)}) go with the answers one to one: they are made from them"
    return Finding.of("context_tells_target", ERROR, len(telling), sentence)


def candidates(subject: HeldOutTask) -> Finding | None:
    """Candidates hold the target once, and nothing twice."""
    asked = [h for h in subject.held_out if h.request.candidates is not None]
    wrong = sum(len(set(h.request.candidates)) != len(h.request.candidates) or h.target not in h.request.candidates for h in asked)
    return Finding.of("candidates", ERROR, wrong, "lists of candidates lack their target or hold an item twice")


def candidates_order(subject: HeldOutTask) -> Finding | None:
    """The target's place among the candidates tells nothing: neither the first nor the last is it more often than chance (by 5 standard deviations and 3 cases)."""
    lists = [(h.request.candidates, h.target) for h in subject.held_out if h.request.candidates and len(h.request.candidates) > 1]
    chances = np.array([1 / len(items) for items, _ in lists])
    bound = chances.sum() + 5 * math.sqrt((chances * (1 - chances)).sum()) + 3
    count = max(sum(items[end] == target for items, target in lists) for end in (0, -1))
    return Finding.of("candidates_order", ERROR, count if count > bound else 0, f"of {len(lists)} targets stand at the same end of their candidates")


EXAMPLE_CHECKS: tuple[Callable[[HeldOutTask], Finding | None], ...] = (
    asked_twice, another_row, part_of_another, target_in_history, future_event, foreign_event,
    target_in_prompt, own_query, summary_in_review, context_tells_target, candidates, candidates_order,
)


class _User:
    """One user's log. `rows`: row number -> what is told of it.   The moments at which each thing a history may say of an item was first so."""

    def __init__(self, rows: pl.DataFrame, temporal: bool):
        texts = [name for name in ("review", "summary") if name in rows.columns]
        told = [name for name in ("rating", "timestamp", "event") if name in rows.columns]
        self.rows: dict[int, Told] = {}
        self._moments: dict[str, list[float]] = defaultdict(list)
        self._first: dict[tuple[str, str, object], float] = {}
        self._known: dict[tuple[object, ...], float] = {}
        before, start = None, 0
        for row in rows.iter_rows(named=True):
            moment = row["position"] if temporal else PARTS.index(row["part"])
            asked = moment
            if row["is_shown"]:
                # Events of one item in a row, in one part, are one event of the stream: a question about it stands before the first of them.
                alike = row["item_id"], row["part"], row["is_positive"]
                start = start if alike == before else moment
                before, asked = alike, start
                self._moments[row["item_id"]].append(moment)
                for name in told:
                    key = row["item_id"], name, row[name]
                    self._first[key] = min(moment, self._first.get(key, NEVER))
            written = tuple(text for name in texts if (text := row[name]) and text.strip())
            self.rows[row["row"]] = Told(row["user_id"], row["item_id"], asked, written, row.get("query"))

    def events_before(self, item_id: str, moment: float) -> int:
        """The rows of an item before a moment."""
        return sum(when < moment for when in self._moments.get(item_id, ()))

    def known_at(self, event: Event) -> float:
        """The first moment at which all that an event tells was so; NEVER where the log does not have it."""
        key = event.item_id, event.rating, event.timestamp, event.event
        if key not in self._known:
            said = [("rating", event.rating), ("timestamp", event.timestamp), ("event", event.event)]
            moments = [self._first.get((event.item_id, name, value), NEVER) for name, value in said if value is not None]
            self._known[key] = max([min(self._moments.get(event.item_id, [NEVER])), *moments])
        return self._known[key]


def _rows_of(subject: HeldOutTask, part: str) -> set[int]:
    """The rows a part's questions of the task ask about."""
    task, timelines = TASKS[subject.task], subject.timelines
    rows = task.questions(timelines, part).row if isinstance(task, QuestionTask) else timelines.rows[(timelines.parts == PARTS.index(part)) & timelines.asked]
    return set(rows.tolist())


def _tells_later(request: Request) -> bool:
    """For a question without a row: an event whose time is after the question's."""
    return request.timestamp is not None and any(event.timestamp is not None and event.timestamp > request.timestamp for event in request.history)


def _says_answer(subject: HeldOutTask, h: HeldOut, text: str) -> bool:
    if subject.family == "items":
        return _holds_title(subject, text, str(h.target))
    if subject.family == "text":
        if len(str(h.target)) < MIN_TEXT_CHARACTERS or (h.request.item_id is None and text == h.request.review):
            return False  # where no item is named, the review itself is what is asked about: see summary_in_review
        return str(h.target).casefold() in text.casefold()
    return subject.family == "rating" and said_rating(text) == float(h.target)


def _holds_title(subject: HeldOutTask, text: str, item_id: str) -> bool:
    title = subject.corpus.catalog.titles[subject.corpus.catalog.rows[item_id]] if item_id in subject.corpus.catalog.rows else ""
    return len(title) >= MIN_TITLE_CHARACTERS and title.casefold() in text.casefold()


def _shows_own_review(request: Request, told: Told | None) -> bool:
    """A question about an item that shows what its user wrote of it: not yet written when it is asked."""
    shown = request.review
    if not shown or request.item_id is None or told is None:
        return False
    return any(shown == text or len(text) >= MIN_REVIEW_CHARACTERS and text in shown for text in told.written)


def _determines(pairs: Sequence[tuple[str, str | float]]) -> bool:
    answers: dict[str, Counter[str | float]] = defaultdict(Counter)
    for value, target in pairs:
        answers[value][target] += 1
    repeated = [counts for counts in answers.values() if counts.total() > 1]
    num = sum(counts.total() for counts in repeated)
    if num < MIN_QUESTIONS:
        return False
    most = sum((counts for counts in repeated), Counter()).most_common(1)[0][1]
    return most <= 0.8 * num and sum(max(counts.values()) for counts in repeated) >= TELLING * num
