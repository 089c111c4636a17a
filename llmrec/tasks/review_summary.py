"""review_summary: what does the review say? Free text, from the review alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmrec.answers import TEXT
from llmrec.interactions import TRAIN, Corpus
from llmrec.predictions import Request
from llmrec.tasks.task import Asked, Asker, Questions, QuestionTask
from llmrec.timelines import Timelines


class ReviewSummary(QuestionTask):
    name = "review_summary"
    family = "text"
    space = TEXT
    required = ("review",)
    offered = ("review",)
    max_questions = 4
    reads_history = False

    def reason_absent(self, corpus: Corpus) -> str | None:
        log = corpus.interactions.part(TRAIN)
        return None if log.has("review") and log.has("summary") else "task 'review_summary' needs the columns 'review' and 'summary'; the log lacks one"

    def quotable(self, corpus: Corpus) -> bool:
        return self.reason_absent(corpus) is None

    def questions(self, timelines: Timelines, part: str) -> Questions:
        frame = timelines.corpus.interactions.frame
        both = (frame["review"].fill_null("").str.strip_chars() != "") & (frame["summary"].fill_null("").str.strip_chars() != "")
        return Questions.of_events(timelines, part, both.to_numpy()[timelines.rows])

    def asker(self, timelines: Timelines, seed: int) -> Asker:
        return ReviewSummaryAsker(self, timelines)


class ReviewSummaryAsker(Asker):
    def __init__(self, task: ReviewSummary, timelines: Timelines):
        self.task = task
        self.frame = timelines.corpus.interactions.frame

    def ask(self, questions: Questions, number: int, *, part: str, language: str, history_items: Sequence[int], rng: np.random.Generator) -> Asked:
        row = int(questions.row[number])
        return Asked(Request(task=self.task.name, review=self.frame["review"][row], language=language), self.frame["summary"][row].strip())
