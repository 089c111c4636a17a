"""rating: how many stars? A closed scale; the prediction is the mean of the answer distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmrec.answers import RATING, number_label
from llmrec.interactions import TRAIN, Corpus
from llmrec.tasks.task import Asked, Asker, Questions, QuestionTask, item_request
from llmrec.timelines import Timelines


class Rating(QuestionTask):
    name = "rating"
    family = "rating"
    space = RATING
    required = ("code",)
    offered = ("code", "title", "context")
    max_questions = 64  # two or three tokens each

    def reason_absent(self, corpus: Corpus) -> str | None:
        if not corpus.interactions.part(TRAIN).has("rating"):
            return "task 'rating' needs ratings in train; the log has none"
        return None if len(corpus.rating_scale) > 1 else f"task 'rating' needs a scale of at least two values; train has {list(corpus.rating_scale)}"

    def questions(self, timelines: Timelines, part: str) -> Questions:
        return Questions.of_events(timelines, part, ~np.isnan(timelines.ratings), timelines.ratings)

    def asker(self, timelines: Timelines, seed: int) -> Asker:
        return RatingAsker(self, timelines)


class RatingAsker(Asker):
    def __init__(self, task: Rating, timelines: Timelines):
        self.task, self.timelines = task, timelines
        self.scale = np.asarray(timelines.corpus.rating_scale)

    def ask(self, questions: Questions, number: int, *, part: str, language: str, history_items: Sequence[int], rng: np.random.Generator) -> Asked:
        nearest = self.scale[np.abs(self.scale - questions.target[number]).argmin()]
        return Asked(item_request(self.task, self.timelines, questions, number), number_label(nearest))

    def target(self, questions: Questions, number: int, asked: Asked) -> float:
        return float(questions.target[number])
