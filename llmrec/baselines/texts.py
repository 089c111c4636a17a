"""Baselines that answer in words: explanations from the catalogue or from other users' reviews, and summaries of reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from zlib import crc32

import numpy as np

from llmrec.baselines.baseline import Baseline
from llmrec.baselines.histories import Histories, in_train, train_matrix, users_of_events
from llmrec.baselines.search import bm25_weights
from llmrec.consensus import central
from llmrec.evidence import WORDINGS, best_sentence, clean, evidence, sentences
from llmrec.interactions import Catalog
from llmrec.metrics.text import overlap, words
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.timelines import Timelines

NEAREST = (10, 1, 40)


class Template(Baseline):
    """A sentence about what the item shares with the history, out of titles and attributes; its wording is drawn by the seed and the request.

    In the request's language where there are wordings in it, else in English.
    """

    name = "template"
    tasks = ("explanation",)

    def _fit(self, timelines: Timelines) -> None:
        pass  # The catalogue is all it needs.

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        histories = Histories.of(requests, self.catalog)
        for number, request in enumerate(requests):
            yield _answered(request, explain(self.catalog, request, histories, number, self.seed), int(histories.skipped[number]))


class NearestReview(Baseline):
    """A sentence from the train review (or else summary) of the item, by the user whose train items overlap most with the history, the earliest of equals.

    The sentence is the first of those that name most of the item's attribute words. An item without reviews borrows those of the reviewed item with the highest
    cosine of co-occurrence, the one with most reviews of equals; where no item has reviews, the answer is that of `template`.
    """

    name = "nearest_review"
    tasks = ("explanation",)

    def _fit(self, timelines: Timelines) -> None:
        train = np.flatnonzero(in_train(timelines))
        texts = [next((text for text in row if text and text.strip()), None) for row in _columns(timelines, "review", "summary")]
        users = users_of_events(timelines)
        self._events = train_matrix(timelines)
        self._by_item = self._events.T.tocsr()
        self._users_of_item = np.diff(self._by_item.indptr)
        self._reviews: dict[int, list[tuple[int, str]]] = {}
        for place, text in zip(train.tolist(), texts, strict=True):
            if text is not None:
                self._reviews.setdefault(int(timelines.items[place]), []).append((int(users[place]), text))
        # The most reviewed first, so that the first of equals is one with many.
        self._reviewed = np.array(sorted(self._reviews, key=lambda item: (-len(self._reviews[item]), item)), dtype=np.int64)
        self._lenders: dict[int, int] = {}

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        histories = Histories.of(requests, self.catalog)
        for number, request in enumerate(requests):
            item = self.catalog.rows[request.item_id]
            text = self._sentence(item, histories.items[histories.starts[number]:histories.starts[number + 1]]) if self._reviews else ""
            yield _answered(request, text or explain(self.catalog, request, histories, number, self.seed), int(histories.skipped[number]))

    def _sentence(self, item: int, history: np.ndarray) -> str:
        reviews = self._reviews[item if item in self._reviews else self._lender(item)]
        users = np.array([user for user, _ in reviews])
        past = np.zeros(self._events.shape[1])
        past[history] = 1
        best = int(np.argmax(self._events[users] @ past))
        features = {word.casefold() for values in self.catalog.attribute_values.values() for value in values[item] for word in value.split()}
        return best_sentence(clean(reviews[best][1]), features)

    def _lender(self, item: int) -> int:
        """The reviewed item most similar to one without reviews."""
        if item not in self._lenders:
            together = (self._by_item[self._reviewed] @ self._by_item[[item]].T).toarray().ravel()
            self._lenders[item] = int(self._reviewed[np.argmax(together / np.sqrt(self._users_of_item[self._reviewed]))])
        return self._lenders[item]


class LeadSentence(Baseline):
    """Summarises a review by its first sentence."""

    name = "lead_sentence"
    tasks = ("review_summary",)

    def _fit(self, timelines: Timelines) -> None:
        pass  # There is nothing to learn.

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        for request in requests:
            yield _answered(request, next(iter(sentences(clean(request.review))), ""))


class NearestSummaries(Baseline):
    """Summarises a review as one of the train reviews with the most like words (BM25) was summarised: of the k nearest the summary that shares most with the others, weighed as they are alike.

    k is chosen on the valid questions given to `fit`, of (1, 10, 40), by overlap with the true summaries; default 10. A review that shares no word with any gets the most frequent summary.
    """

    name = "nearest_summaries"
    tasks = ("review_summary",)

    def fit(self, timelines: Timelines, *, seed: int = 0, valid: Sequence[HeldOut] = ()) -> NearestSummaries:
        """Learns from train; `valid` are review_summary questions of the part valid, by which k is chosen."""
        self._k = NEAREST[0]
        super().fit(timelines, seed=seed)

        def apply(settings: Mapping[str, float]) -> None:
            self._k = int(settings["k"])

        def loss() -> float:
            return -sum(overlap(words(prediction.text or ""), words(str(question.target))) for prediction, question in zip(self.predict([question.request for question in questions]), questions))

        questions = [question for question in valid if question.request.task in self.tasks]
        self.tune([{"k": k} for k in NEAREST], apply, loss if questions else None)
        return self

    def _fit(self, timelines: Timelines) -> None:
        pairs = [(review, summary.strip()) for review, summary in _columns(timelines, "review", "summary") if (review or "").strip() and (summary or "").strip()]
        if not pairs:
            raise ValueError(f"{self.name} needs reviews with summaries in train; corpus {timelines.corpus.name!r} has none")
        self._summaries = [summary for _, summary in pairs]
        self._common = Counter(self._summaries).most_common(1)[0][0]
        self._terms, self._weights = bm25_weights([words(review) for review, _ in pairs])

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        for request in requests:
            asked = Counter(word for word in words(request.review) if word in self._terms)
            alike = np.array(list(asked.values()), dtype=np.float64) @ self._weights[[self._terms[word] for word in asked]]
            nearest = [place for place in np.argsort(-alike, kind="stable")[: self._k].tolist() if alike[place] > 0]
            total = sum(alike[place] for place in nearest)
            yield _answered(request, central([(self._summaries[place], float(alike[place] / total)) for place in nearest]) if nearest else self._common)


class MostCommonSummary(Baseline):
    """Summarises every review by the most frequent summary of train, the first in the log of equals."""

    name = "most_common_summary"
    tasks = ("review_summary",)

    def _fit(self, timelines: Timelines) -> None:
        summaries = [text.strip() for (text,) in _columns(timelines, "summary") if text and text.strip()]
        if not summaries:
            raise ValueError(f"{self.name} needs summaries in train; corpus {timelines.corpus.name!r} has none")
        self._summary = Counter(summaries).most_common(1)[0][0]

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        for request in requests:
            yield _answered(request, self._summary)


def explain(catalog: Catalog, request: Request, histories: Histories, number: int, seed: int) -> str:
    """The evidence sentence for a request, the `number`-th of `histories`; what makes the request itself, not its place in a batch, draws the wording."""
    history = histories.items[histories.starts[number]:histories.starts[number + 1]].tolist()
    key = crc32(repr((request.id, request.user_id, request.item_id, history)).encode())
    return evidence(catalog, history, catalog.rows[request.item_id], np.random.default_rng([seed, key]), request.language if request.language in WORDINGS else "en")


def _columns(timelines: Timelines, *names: str) -> list[tuple[str | None, ...]]:
    """These texts of each train event, None where the log has none."""
    frame, rows = timelines.corpus.interactions.frame, timelines.rows[in_train(timelines)]
    return list(zip(*(frame[name].gather(rows).to_list() if name in frame.columns else [None] * len(rows) for name in names), strict=True))


def _answered(request: Request, text: str, skipped: int = 0) -> Prediction:
    return Prediction(id=request.id, task=request.task, user_id=request.user_id, text=text, skipped=skipped)
