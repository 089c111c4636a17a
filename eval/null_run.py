"""The null run: a model that knows nothing goes through the whole harness, and the harness fails if it scores above chance.

Separate from the baselines, which try to be good: this one tests the measuring, not the models.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from llmrec.evaluation import CANDIDATES, ON
from llmrec.exam import Exam
from llmrec.interactions import Corpus
from llmrec.predictions import Prediction, Request


class RandomModel:
    """Answers everything at random, whatever the question says.

    An answer depends on the seed and the request's id alone. Lists are drawn from the candidates, else from the whole catalogue (other limits of a request are not looked at),
    ratings from the scale, probabilities from 0 to 1; its text is a title.
    """

    def __init__(self, corpus: Corpus, *, seed: int):
        self.item_ids = np.asarray(corpus.catalog.item_ids, dtype=object)
        self.titles = corpus.catalog.titles
        self.rating_scale = corpus.rating_scale or (0.0,)
        self.seed = seed

    def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Prediction:
        generator = np.random.default_rng([self.seed, zlib.crc32(request.id.encode())])
        pool = self.item_ids if request.candidates is None else np.asarray(request.candidates, dtype=object)
        rows = generator.choice(len(pool), min(request.k, len(pool)), replace=False)
        return Prediction(
            id=request.id, task=request.task, user_id=request.user_id,
            item_ids=pool[rows].tolist(), scores=(-np.sort(generator.exponential(size=len(rows)))).tolist(),
            value=float(generator.choice(self.rating_scale)), probability=float(generator.random()),
            text=self.titles[generator.integers(len(self.titles))], truncated=len(rows) < request.k,
        )


def null_fault(exam: Exam, rows: Sequence[Mapping[str, object]], *, num_items: int) -> str | None:
    """A sentence where the rows of a random model are far above chance in an item or yes/no task, else None.

    Far: hit@10 more than 6 standard deviations of a binomial and 3 hits above k / N; auc more than 6 standard deviations of the rank-sum statistic above .5.
    """
    n = len(exam.held_out)
    for row in rows:
        if row["metric"] == "hit@10":
            chances = np.array([_chance(example.request, row["filter"], num_items) for example in exam.held_out])
            chance, bound = chances.mean(), (chances.sum() + 6 * math.sqrt((chances * (1 - chances)).sum()) + 3) / n
        elif row["metric"] == "auc":
            yes = sum(example.target == 1 for example in exam.held_out)
            chance, bound = 0.5, 0.5 + 6 * math.sqrt((n + 1) / (12 * yes * (n - yes)))
        else:
            continue
        if row["mean"] > bound:
            return (f"{exam.task}: a random model scores {row['metric']} = {row['mean']:.4f} (seen filter: {row['filter']}), chance is {chance:.4f} and at most {bound:.4f} by luck; "
                    "the questions leak their answers or the metric is wrong, so no figure of this run can be trusted")
    return None


def _chance(request: Request, seen_filter: str, num_items: int) -> float:
    """The probability that one item drawn as the target is among the first ten of a list in random order."""
    if seen_filter == CANDIDATES:
        living = len(request.candidates or ())
    else:
        living = num_items - (len({event.item_id for event in request.history}) if seen_filter == ON else 0)
    return min(1.0, 10 / max(living, 1))
