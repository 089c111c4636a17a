"""Two baselines that do not look at the user: the most popular items, and a random order for null runs."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from llmrec.baselines.catalog_model import CatalogModel
from llmrec.baselines.histories import Histories
from llmrec.predictions import Request
from llmrec.timelines import Timelines


class MostPopular(CatalogModel):
    """Scores an item by the number of its events in train."""

    name = "most_popular"
    tasks = ("next_item", "ranking", "search")

    def _learn(self, timelines: Timelines) -> None:
        pass  # The popularity every catalogue model counts is all there is to learn.

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        return np.broadcast_to(self.popularity, (len(requests), len(self.catalog)))


class Random(CatalogModel):
    """Scores drawn evenly from [0, 1), anew for each request, the same for the same seed and request: it must measure as chance does."""

    name = "random"
    tasks = ("next_item", "ranking", "search")

    def _learn(self, timelines: Timelines) -> None:
        pass

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        # What makes a request itself, not its place in the batch, seeds its draw: batch and single give the same answer.
        keys = [crc32(repr((r.id, r.user_id, r.query, [event.item_id for event in r.history])).encode()) for r in requests]
        return np.stack([np.random.default_rng([self.seed, key]).random(len(self.catalog)) for key in keys])
