"""click and purchase: will the user do it? Yes or no; the prediction is the probability of yes.

One class serves every behaviour whose questions `timelines.binary_questions` knows; a further one is a line in TASKS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmrec.interactions import IMPRESSION, LEADING, TRAIN, Corpus
from llmrec.tasks.task import Asked, Asker, Questions, QuestionTask, item_request
from llmrec.timelines import Timelines, binary_questions


class Binary(QuestionTask):
    family = "binary"
    space = "yes_no"
    required = ("code",)
    offered = ("code", "title", "context")
    max_questions = 32  # a question is short, and a log shows many items for each one chosen

    def __init__(self, name: str):
        self.name = name

    def reason_absent(self, corpus: Corpus) -> str | None:
        log = corpus.interactions.part(TRAIN)
        events = set(log.frame["event"].unique())
        if self.name == "click":
            if log.has("click") or IMPRESSION in events or (corpus.like_threshold is not None and log.has("rating")):
                return None
            return "task 'click' needs impressions or a 0/1 column 'click'; the log has neither (derive likes from ratings with --like THRESHOLD)"
        if log.has(self.name) or (self.name in events and not events.isdisjoint(LEADING.get(self.name, ()))):
            return None
        return f"task {self.name!r} needs a 0/1 column {self.name!r}, or clicks or carts some of which lead to a {self.name}; the log has neither"

    def questions(self, timelines: Timelines, part: str) -> Questions:
        frame = binary_questions(timelines, self.name)
        frame = frame.filter(frame["part"] == part).sort("user", "place", "row")
        return Questions(*(frame[name].to_numpy().astype(np.int64) for name in ("user", "place", "item", "row")), frame["label"].to_numpy().astype(np.float64))

    def asker(self, timelines: Timelines, seed: int) -> Asker:
        return BinaryAsker(self, timelines)


class BinaryAsker(Asker):
    def __init__(self, task: Binary, timelines: Timelines):
        self.task, self.timelines = task, timelines

    def ask(self, questions: Questions, number: int, *, part: str, language: str, history_items: Sequence[int], rng: np.random.Generator) -> Asked:
        return Asked(item_request(self.task, self.timelines, questions, number), "yes" if questions.target[number] else "no")

    def target(self, questions: Questions, number: int, asked: Asked) -> float:
        return float(questions.target[number])
