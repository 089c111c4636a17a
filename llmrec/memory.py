"""Memory: which items stood beside those of a history and right after them, whose texts are like theirs, and which are only shown in it, mixed into the answers of the language model.

Separate from the model, which foretells by what it has understood, and from the baseline that finds the neighbours: a small model forgets the pairs it met once, a table does not.

    p(item | history) = (1 - share) * p_model(item | prompt) + share * p_memory(item | history)

Behind it, in the same way and with a share of its own, comes what is only shown in the history (in the cart, not bought): the most probable of all, and so few that votes of neighbours, spread over many, drown in the model's answers beside them.
The shares of each task are fitted on valid. What is answered stays a distribution over the catalogue, so masks and scores mean what they meant.
Source of the mixture: Khandelwal et al., Generalization through Memorization: Nearest Neighbor Language Models, ICLR 2020, equation 2; here the neighbours are items.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file, save_file

from llmrec.baselines.histories import Histories, in_train, presence, users_of_events
from llmrec.baselines.neighbours import HybridKNN, only_shown, votes
from llmrec.interactions import Event
from llmrec.timelines import Timelines

FORMAT = 4
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHOWN_SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6)
"""What is tried on valid."""
PRIOR = 30.0
"""Users with the mean of all items that an item's own are seen beside."""


@dataclass(frozen=True)
class Memory:
    """similarity: (items, items) float32, what each item votes for.   shown_vote, decay: see ItemKNN and SequentialKNN.   chosen: (items,) float32, what part of those who were shown an item chose it.   rows: item id -> catalogue row."""

    similarity: sp.csr_array
    shown_vote: float
    decay: float
    chosen: np.ndarray
    rows: Mapping[str, int]

    @classmethod
    def of(cls, timelines: Timelines, *, seed: int = 0) -> Memory:
        """From train, with the settings of HybridKNN chosen on valid."""
        found = HybridKNN().fit(timelines, seed=seed)
        return cls(found.similarity.astype(np.float32), found.shown_vote, found.decay, chosen_of_shown(timelines), timelines.corpus.catalog.rows)

    def __call__(self, histories: Sequence[Sequence[Event]]) -> np.ndarray:
        """(histories, items) float64: the probability of each item by the votes of the history's items; all 0 where nobody votes."""
        return _distributions(votes(Histories.of_events(histories, self.rows), self.similarity, shown_vote=self.shown_vote, decay=self.decay))

    def shown(self, histories: Sequence[Sequence[Event]]) -> np.ndarray:
        """(histories, items) float64: the probability of each item that is only shown in the history, as often as such are chosen; all 0 where none is."""
        return _distributions(only_shown(Histories.of_events(histories, self.rows), len(self.rows)).toarray() * self.chosen)

    def save(self, folder: Path) -> None:
        """Writes memory.safetensors and memory.json into an existing folder."""
        found = self.similarity
        save_file({"values": found.data, "items": found.indices.astype(np.int32), "starts": found.indptr.astype(np.int64), "chosen": self.chosen}, folder / "memory.safetensors")
        (folder / "memory.json").write_text(json.dumps({"format": FORMAT, "shown_vote": self.shown_vote, "decay": self.decay}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, rows: Mapping[str, int]) -> Memory | None:
        """What `save` wrote; None where the folder holds none. Raises ValueError for another format, or for another number of items."""
        path = folder / "memory.json"
        if not path.is_file():
            return None
        about = json.loads(path.read_text(encoding="utf-8"))
        older = about.get("format") == 3 and not about.get("own_vote")  # where nothing is only shown, the same
        if about.get("format") != FORMAT and not older:
            raise ValueError(f"{path} has format {about.get('format')!r}; this version reads {FORMAT}. Make it anew: python -m train.refit")
        arrays = load_file(folder / "memory.safetensors")
        if len(arrays["starts"]) != len(rows) + 1:
            raise ValueError(f"{folder / 'memory.safetensors'} holds {len(arrays['starts']) - 1} items, the catalogue {len(rows)}: they are not of one model")
        similarity = sp.csr_array((arrays["values"], arrays["items"], arrays["starts"]), shape=(len(rows), len(rows)))
        similarity.check_format(full_check=True)  # a number beyond the catalogue would be read from elsewhere in memory
        chosen = np.ones(len(rows), dtype=np.float32) if older else arrays["chosen"]
        if chosen.shape != (len(rows),) or not (np.isfinite(chosen) & (chosen >= 0)).all():
            raise ValueError(f"{folder / 'memory.safetensors'} says of {chosen.shape} items how often they are chosen, as numbers from 0 on of {len(rows)} would")
        return cls(similarity, 1.0 if older else about["shown_vote"], about["decay"], chosen, rows)


def chosen_of_shown(timelines: Timelines) -> np.ndarray:
    """(items,) float32: of the users who were shown an item in train, what part chose it, too, beside PRIOR users with the mean of all; 1 where nothing is only shown."""
    train, users, size = in_train(timelines), users_of_events(timelines), (len(timelines), len(timelines.corpus.catalog))
    shown, chosen = (presence(users[which], timelines.items[which], size) for which in (train & ~timelines.asked, train & timelines.asked))
    if not shown.nnz:
        return np.ones(size[1], dtype=np.float32)
    both, all_of_them = (np.asarray(found.sum(axis=0)).ravel() for found in (shown * chosen, shown))
    mean = max(both.sum(), 1) / all_of_them.sum()  # where nobody chose, all are alike, and none impossible
    return ((both + PRIOR * mean) / (all_of_them + PRIOR)).astype(np.float32)


def _distributions(found: np.ndarray) -> np.ndarray:
    """Each row divided by its sum; rows of zeros stay."""
    total = found.sum(axis=1, keepdims=True)
    return found / np.where(total > 0, total, 1)


def mixed(scores: np.ndarray, remembered: np.ndarray, share: float) -> np.ndarray:
    """The log-probabilities of the mixture. scores: (B, items) float64, the model's, -inf where an item may not be answered, which stays so.

    remembered: (B, items), as `Memory` gives it; a row of zeros leaves the model's scores as they are.
    """
    row, item = remembered.nonzero()  # few of a catalogue: a logarithm of each item would take longer than the model
    mixture = scores + np.where(remembered.any(axis=1, keepdims=True), np.log1p(-share), 0.0)
    said = mixture[row, item]
    mixture[row, item] = np.where(np.isneginf(said), -np.inf, np.logaddexp(said, np.log(share * remembered[row, item])))
    return mixture
