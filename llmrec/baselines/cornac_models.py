"""SASRec out of the library cornac, which is an optional extra: `pip install llmrec[baselines]`.

Separate from the other models, so that they, and `import llmrec.baselines`, do without it and without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from llmrec.baselines.catalog_model import CatalogModel
from llmrec.baselines.histories import Histories, in_train, users_of_events
from llmrec.interactions import VALID
from llmrec.predictions import Request
from llmrec.timelines import Timelines

VALID_USERS = 1000  # cornac ranks one user at a time, so its choice of epoch is made on a seeded sample.


class SASRec(CatalogModel):
    """Self-attention over the latest `max_length` items of the history, as cornac implements it: cross-entropy over 2,048 sampled negatives.

    The best epoch by ndcg@10 on valid, looked at every second one, is kept; without valid the last of `num_epochs`. An empty history falls back to popularity,
    and an item that train never shows scores below all others.
    It encodes every prefix of every history anew: minutes an epoch for 100,000 events on a CPU core.
    `device`: "cpu", or "cuda" as torch names it; None takes an accelerator where there is one.

    Source: Kang and McAuley, Self-attentive sequential recommendation, ICDM 2018; cornac 3.0.1.

    Raises:
        ImportError: cornac is not installed.
    """

    name = "sasrec"

    def __init__(self, *, num_epochs: int = 20, max_length: int = 50, num_factors: int = 64, device: str | None = None) -> None:
        if find_spec("cornac") is None:
            raise ImportError("sasrec needs the library cornac, which is not installed. Install it with: pip install 'llmrec[baselines]'")
        super().__init__()
        self.num_epochs, self.max_length, self.num_factors, self.device = num_epochs, max_length, num_factors, device

    def _learn(self, timelines: Timelines) -> None:
        # Loaded here and by name: an optional library that brings torch along and takes seconds to load, needed by no one who does not fit this model.
        data, models, torch = import_module("cornac.data"), import_module("cornac.models"), import_module("torch")
        users = users_of_events(timelines)
        chosen = in_train(timelines)
        # cornac numbers users, sessions and items as they come; the maps are shared with valid and translate back.
        maps = {"global_uid_map": {}, "global_sid_map": {}, "global_iid_map": {}}
        train = data.SequentialDataset.build(_rows(users[chosen], timelines.items[chosen]), fmt="USIT", seed=self.seed, **maps)
        self._columns = np.array(list(train.iid_map), dtype=np.int64)
        self._known = dict(train.iid_map)
        valid = self._valid_sessions(timelines)
        valid_set = data.SequentialDataset.build(valid, fmt="USIT", seed=self.seed, exclude_unknowns=True, **maps) if valid else None
        self._model = models.SASRec(
            embedding_dim=self.num_factors, max_len=self.max_length, n_epochs=self.num_epochs, loss="ce", n_sample=min(2048, len(self._columns)), dropout=0.5,
            model_selection="best" if valid else "last", val_eval_every=2, val_k=10, val_metric="ndcg",
            device=self.device or ("cuda" if torch.cuda.is_available() else "cpu"), seed=self.seed,
        )
        self._model.fit(train, valid_set)

    def _valid_sessions(self, timelines: Timelines) -> list[tuple[int, str, int, int]]:
        """The last valid event of a user whose item train knows, behind the history it may see, as rows of a session each."""
        last = {user: place for user, place in timelines.places(VALID) if int(timelines.items[place]) in self._known}
        users = sorted(last)
        if len(users) > VALID_USERS:
            users = sorted(np.random.default_rng(self.seed).choice(users, VALID_USERS, replace=False).tolist())
        rows = []
        for user in users:
            places = [*timelines.visible(user, last[user], VALID), last[user]]
            rows += [(user, f"valid {user}", int(timelines.items[place]), order) for order, place in enumerate(places)]
        return rows

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        scores = np.zeros((len(requests), len(self.catalog)))
        for row, (start, stop) in enumerate(zip(histories.starts[:-1], histories.starts[1:], strict=True)):
            history = [self._known[item] for item in histories.items[start:stop].tolist() if item in self._known][-self.max_length:]
            if history:
                known = self._model.score(0, history)
                scores[row] = known.min() - 1
                scores[row, self._columns] = known
        return scores


def _rows(users: np.ndarray, items: np.ndarray) -> list[tuple[int, int, int, int]]:
    """User, session (one for each user), item and time (its place) of every event."""
    return [(user, user, item, order) for order, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True))]
