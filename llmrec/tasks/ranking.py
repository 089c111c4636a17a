"""ranking: which of these candidates? The stream's next item, restricted to the candidates; their joint scores decide.

Candidates are not written into the prompt: a restriction never changes a score, so one read of the history scores any number of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llmrec.predictions import Request
from llmrec.tasks.task import StreamTask
from llmrec.timelines import Timelines

NEGATIVES = 99


class Ranking(StreamTask):
    name = "ranking"
    candidates = True

    def request(self, timelines: Timelines, user: int, place: int, part: str, rng: np.random.Generator) -> Request:
        """One positive and 99 items the user never had, drawn evenly, in shuffled order (all others in a smaller catalogue)."""
        span = slice(*timelines.span(user))
        ids = timelines.corpus.catalog.item_ids
        known = np.unique(timelines.items[span][timelines.asked[span]])  # what was only shown may be a negative: else it would be the answer wherever it is a candidate
        others = np.setdiff1d(np.arange(len(ids)), known, assume_unique=True)
        drawn = rng.choice(others, min(NEGATIVES, len(others)), replace=False)
        rows = rng.permutation(np.append(drawn, timelines.items[place]))
        request = super().request(timelines, user, place, part, rng)
        return replace(request, candidates=tuple(ids[row] for row in rows), k=len(rows))
