"""search: which item for these words, and this user? The words are the log's own queries, or are made from item text in a declared way (see queries).

Apart from each other: the wordings of sentences in train and test, and a tenth of the items, which is never a target of training's made queries.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from llmrec.answers import ITEMS
from llmrec.interactions import TRAIN, Corpus
from llmrec.predictions import Request
from llmrec.queries import QueryMaker, reason_absent
from llmrec.tasks.task import Asked, Asker, Questions, QuestionTask
from llmrec.timelines import Timelines


class Search(QuestionTask):
    name = "search"
    family = "items"
    space = ITEMS
    required = ("query",)
    offered = ("query", "context")

    def reason_absent(self, corpus: Corpus) -> str | None:
        return None if corpus.interactions.has("query") else reason_absent(corpus.catalog)

    def questions(self, timelines: Timelines, part: str) -> Questions:
        return Questions.of_events(timelines, part)

    def asker(self, timelines: Timelines, seed: int) -> Asker:
        return SearchAsker(self, timelines, seed)


class SearchAsker(Asker):
    def __init__(self, task: Search, timelines: Timelines, seed: int):
        self.task, self.timelines = task, timelines
        corpus = timelines.corpus
        self.queries = corpus.interactions.frame["query"] if corpus.interactions.has("query") else None
        self.maker = QueryMaker(corpus.catalog, seed=seed) if reason_absent(corpus.catalog) is None else None
        self.apart = {row for row, item_id in enumerate(corpus.catalog.item_ids) if zlib.crc32(item_id.encode()) % 10 == 0}

    def ask(self, questions: Questions, number: int, *, part: str, language: str, history_items: Sequence[int], rng: np.random.Generator) -> Asked | None:
        item = int(questions.item[number])
        kind, query = "own", self.queries[int(questions.row[number])] if self.queries is not None else None
        if query is None and self.maker is not None and not (part == TRAIN and item in self.apart):
            kind, query = self._made(item, history_items, part, language, rng)
        if not query:
            return None
        tags = (("query", kind), ("items", "apart" if item in self.apart else "shared"))
        return Asked(Request(task=self.task.name, query=query, language=language), self.timelines.corpus.catalog.item_ids[item], tags)

    def _made(self, item: int, history_items: Sequence[int], part: str, language: str, rng: np.random.Generator) -> tuple[str, str | None]:
        """Keywords or a sentence, half of each (an item that no keywords fit gets a sentence)."""
        split = "train" if part == TRAIN else "test"
        keywords = self.maker.keywords(item, rng, split=split) if rng.random() < 0.5 else None
        return ("keywords", keywords) if keywords else ("sentence", self.maker.sentence(item, list(history_items), rng, split=split, language=language))
