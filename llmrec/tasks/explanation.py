"""explanation: why this item? Free text, trained on the user's own words where the log has reviews, else on evidence sentences built from history and catalogue (declared as such)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmrec.answers import TEXT
from llmrec.evidence import evidence, own_sentence, telling_features
from llmrec.interactions import TRAIN, Corpus
from llmrec.tasks.task import Asked, Asker, Questions, QuestionTask, item_request
from llmrec.timelines import Timelines


class Explanation(QuestionTask):
    name = "explanation"
    family = "text"
    space = TEXT
    required = ("code",)
    offered = ("code", "title", "context")
    max_questions = 6
    grounded = True

    def reason_absent(self, corpus: Corpus) -> str | None:
        if _has_words(corpus) or corpus.catalog.attributes:
            return None
        return "task 'explanation' needs reviews, summaries or item attributes; the corpus has none"

    def quotable(self, corpus: Corpus) -> bool:
        return _has_words(corpus)

    def questions(self, timelines: Timelines, part: str) -> Questions:
        if not _has_words(timelines.corpus):
            return Questions.of_events(timelines, part)
        frame = timelines.corpus.interactions.frame
        words = np.zeros(len(frame), dtype=bool)
        for name in ("review", "summary"):
            if name in frame.columns:
                words |= frame[name].fill_null("").str.strip_chars().str.len_chars().to_numpy() > 0
        return Questions.of_events(timelines, part, words[timelines.rows])

    def asker(self, timelines: Timelines, seed: int) -> Asker:
        return ExplanationAsker(self, timelines)


class ExplanationAsker(Asker):
    def __init__(self, task: Explanation, timelines: Timelines):
        self.task, self.timelines = task, timelines
        corpus = timelines.corpus
        self.own_words = _has_words(corpus)
        self.columns = [corpus.interactions.frame[name] for name in ("review", "summary") if name in corpus.interactions.frame.columns]
        self.features = telling_features(corpus)

    def ask(self, questions: Questions, number: int, *, part: str, language: str, history_items: Sequence[int], rng: np.random.Generator) -> Asked | None:
        if self.own_words:
            label = own_sentence([column[int(questions.row[number])] for column in self.columns], self.features)
        else:
            label = evidence(self.timelines.corpus.catalog, list(history_items), int(questions.item[number]), rng, language)
        return Asked(item_request(self.task, self.timelines, questions, number, language=language), label) if label else None


def _has_words(corpus: Corpus) -> bool:
    log = corpus.interactions.part(TRAIN)
    return log.has("review") or log.has("summary")
