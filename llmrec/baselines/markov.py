"""A first-order Markov chain: what follows the latest item, smoothed with popularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from llmrec.baselines.catalog_model import CatalogModel, next_item_questions
from llmrec.baselines.histories import Histories, in_train, users_of_events
from llmrec.predictions import Request
from llmrec.timelines import Timelines

SMOOTHINGS = (1.0, 0.1, 10.0, 100.0)


class MarkovChain(CatalogModel):
    """Scores an item by its probability to follow the latest known item of the history.

    p(b | a) = (n_ab + smoothing * p(b)) / (n_a + smoothing), with n_ab the times b stands right after a in a train stream, n_a their sum over b,
    and p(b) the share of b among train events. Chosen on valid: smoothing of (0.1, 1, 10, 100); default 1. An empty history gives p(b).
    """

    name = "markov_chain"

    def _learn(self, timelines: Timelines) -> None:
        num_items = len(self.catalog)
        self._share = self.popularity / max(1.0, self.popularity.sum())
        chosen, users = in_train(timelines), users_of_events(timelines)
        items, users = timelines.items[chosen], users[chosen]
        follows = users[1:] == users[:-1]
        pairs = (items[:-1][follows], items[1:][follows])
        # One more row, of zeros, stands for "nothing before": there the smoothing alone speaks.
        self._counts = sp.coo_array((np.ones(len(pairs[0])), pairs), shape=(num_items + 1, num_items)).tocsr()
        self._totals = np.asarray(self._counts.sum(axis=1)).ravel()

        def apply(settings: Mapping[str, float]) -> None:
            self._smoothing = settings["smoothing"]

        self.tune_on(next_item_questions(timelines, seed=self.seed), [{"smoothing": value} for value in SMOOTHINGS], apply)

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        last = histories.last_items()  # -1 is the last row: nothing before
        counts = self._counts[last % (len(self.catalog) + 1)].toarray()
        return (counts + self._smoothing * self._share) / (self._totals[last][:, None] + self._smoothing)
