"""The shared half of every baseline that answers with items: scores over the whole catalogue in, the request's best k items out.

Separate from the models, so that each of them is nothing but its scores, and all obey a request's constraints in the same way.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from llmrec.baselines.baseline import Baseline
from llmrec.baselines.histories import Histories, in_train
from llmrec.interactions import VALID
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.timelines import Timelines

CELLS = 2**22  # Scores held at a time: 32 MiB of float64, whatever the size of the catalogue.
VALID_QUESTIONS = 5000  # Hyper-parameters are chosen on at most this many questions, so that tuning stays cheap on large logs.


class CatalogModel(Baseline):
    """A baseline that scores every item of the catalogue for every request. Subclasses write `_learn` and `score`.

    Equal scores go to the item that is more popular in train, then to the smaller row (rows are a seeded shuffle, so this tells nothing).
    """

    tasks = ("next_item", "ranking")

    @abstractmethod
    def _learn(self, timelines: Timelines) -> None:
        """Learns; `catalog`, `seed` and `popularity` are set."""

    @abstractmethod
    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        """(requests, items) finite float, higher is better; `histories` are those of the requests."""

    def _fit(self, timelines: Timelines) -> None:
        num_items = len(self.catalog)
        self.popularity = np.bincount(timelines.items[in_train(timelines)], minlength=num_items).astype(np.float64)
        # The smaller the place, the more popular; a stable order of ties.
        self._places = np.empty(num_items, dtype=np.int64)
        self._places[np.argsort(-self.popularity, kind="stable")] = np.arange(num_items)
        self._learn(timelines)

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        step = max(1, CELLS // max(1, len(self.catalog)))
        for start in range(0, len(requests), step):
            batch = requests[start:start + step]
            histories = Histories.of(batch, self.catalog)
            scores = self.score(batch, histories)
            for row, request in enumerate(batch):
                own = slice(histories.starts[row], histories.starts[row + 1])
                seen = histories.items[own][histories.seen[own]]
                yield self._best(request, scores[row], seen, int(histories.skipped[row]))

    def _best(self, request: Request, scores: np.ndarray, seen: np.ndarray, skipped: int) -> Prediction:
        allowed = self._allowed(request, seen)
        rows = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
        scores = scores[rows]
        if len(rows) > request.k:
            # Many models score nearly all items alike, at the least score; partitioning those many equals is 50 times slower than leaving them out.
            raised = scores[scores > scores.min()]
            edge = np.partition(raised, len(raised) - request.k)[len(raised) - request.k] if len(raised) >= request.k else scores.min()
            good, tied = np.flatnonzero(scores > edge), np.flatnonzero(scores == edge)
            room = request.k - len(good)
            # Of those level with the k-th, the first in the order of ties; partitioned too, for they may be nearly all items.
            good = np.concatenate([good, tied[np.argpartition(self._places[rows[tied]], room - 1)[:room]]])
            rows, scores = rows[good], scores[good]
        order = np.lexsort((self._places[rows], -scores))
        return Prediction(
            id=request.id, task=request.task, user_id=request.user_id, skipped=skipped, truncated=len(order) < request.k,
            item_ids=[self.catalog.item_ids[i] for i in rows[order].tolist()], scores=scores[order].tolist(),
        )

    def _allowed(self, request: Request, seen: np.ndarray) -> np.ndarray | None:
        """(items,) bool, which items may be answered; None: all."""
        allowed = np.ones(len(self.catalog), dtype=bool)
        for names in (request.candidates, request.include):
            if names is not None:
                allowed &= self._mask(names)
        for attribute, wanted in (request.where or {}).items():
            wanted = {wanted} if isinstance(wanted, str) else {str(value) for value in wanted}
            allowed &= np.array([not wanted.isdisjoint(values) for values in self.catalog.attribute_values[attribute]], dtype=bool)
        allowed &= ~self._mask(request.exclude)
        if request.exclude_seen:
            allowed[seen] = False
        return None if allowed.all() else allowed

    def _mask(self, item_ids: Sequence[str]) -> np.ndarray:
        mask = np.zeros(len(self.catalog), dtype=bool)
        mask[[self.catalog.rows[item_id] for item_id in item_ids if item_id in self.catalog.rows]] = True
        return mask

    def tune_on(self, questions: Sequence[HeldOut], grid: Sequence[Mapping[str, float]], apply: Callable[[Mapping[str, float]], None]) -> None:
        """Applies the settings of `grid` with the best mean ndcg@10 on `questions`; without questions the first."""
        self.tune(grid, apply, (lambda: -self.mean_ndcg(questions)) if questions else None)

    def mean_ndcg(self, questions: Sequence[HeldOut], k: int = 10) -> float:
        """The mean ndcg@k over questions with one target each, seen items left out (the target never is). A target among equal scores has their mean rank."""
        total, step = 0.0, max(1, CELLS // max(1, len(self.catalog)))
        for start in range(0, len(questions), step):
            batch = questions[start:start + step]
            requests = [question.request for question in batch]
            histories = Histories.of(requests, self.catalog)
            scores = np.array(self.score(requests, histories), dtype=np.float64)
            targets = np.array([self.catalog.row(str(question.target)) for question in batch])
            wanted = scores[np.arange(len(batch)), targets][:, None]
            scores[histories.owners[histories.seen], histories.items[histories.seen]] = -np.inf
            scores[np.arange(len(batch)), targets] = wanted[:, 0]
            ranks = (scores > wanted).sum(axis=1) + ((scores == wanted).sum(axis=1) - 1) / 2  # 0-based
            total += float(np.where(ranks < k, 1 / np.log2(ranks + 2), 0.0).sum())
        return total / len(questions)


def next_item_questions(timelines: Timelines, *, seed: int = 0, limit: int = VALID_QUESTIONS) -> list[HeldOut]:
    """The questions of valid, what comes next at each of its events; a seeded sample of at most `limit`."""
    places = list(timelines.places(VALID))
    if len(places) > limit:
        chosen = np.random.default_rng(seed).choice(len(places), size=limit, replace=False)
        places = [places[i] for i in sorted(chosen.tolist())]
    item_ids = timelines.corpus.catalog.item_ids
    return [
        HeldOut(Request(history=timelines.history(user, place, VALID), user_id=timelines.user_ids[user]), target=item_ids[timelines.items[place]])
        for user, place in places
    ]
