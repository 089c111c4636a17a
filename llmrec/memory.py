"""Memory: which items stood beside those of a history and right after them, and whose texts are like theirs, mixed into the answers of the language model.

Separate from the model, which foretells by what it has understood, and from the baseline that finds the neighbours: a small model forgets the pairs it met once, a table does not.

    p(item | history) = (1 - share) * p_model(item | prompt) + share * p_memory(item | history)

The share of each task is fitted on valid. What is answered stays a distribution over the catalogue, so masks and scores mean what they meant.
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

from llmrec.baselines.histories import Histories
from llmrec.baselines.neighbours import HybridKNN, votes
from llmrec.interactions import Event
from llmrec.timelines import Timelines

FORMAT = 3
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""What is tried on valid."""


@dataclass(frozen=True)
class Memory:
    """similarity: (items, items) float32, what each item votes for.   own_vote, decay: see ItemKNN and SequentialKNN.   rows: item id -> catalogue row."""

    similarity: sp.csr_array
    own_vote: float
    decay: float
    rows: Mapping[str, int]

    @classmethod
    def of(cls, timelines: Timelines, *, seed: int = 0) -> Memory:
        """From train, with the settings of HybridKNN chosen on valid."""
        found = HybridKNN().fit(timelines, seed=seed)
        return cls(found.similarity.astype(np.float32), found.own_vote, found.decay, timelines.corpus.catalog.rows)

    def __call__(self, histories: Sequence[Sequence[Event]]) -> np.ndarray:
        """(histories, items) float64: the probability of each item by the votes of the history's items; all 0 where nobody votes."""
        found = votes(Histories.of_events(histories, self.rows), self.similarity, own_vote=self.own_vote, decay=self.decay)
        total = found.sum(axis=1, keepdims=True)
        return found / np.where(total > 0, total, 1)

    def save(self, folder: Path) -> None:
        """Writes memory.safetensors and memory.json into an existing folder."""
        found = self.similarity
        save_file({"values": found.data, "items": found.indices.astype(np.int32), "starts": found.indptr.astype(np.int64)}, folder / "memory.safetensors")
        (folder / "memory.json").write_text(json.dumps({"format": FORMAT, "own_vote": self.own_vote, "decay": self.decay}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, rows: Mapping[str, int]) -> Memory | None:
        """What `save` wrote; None where the folder holds none. Raises ValueError for another format, or for another number of items."""
        path = folder / "memory.json"
        if not path.is_file():
            return None
        about = json.loads(path.read_text(encoding="utf-8"))
        if about.get("format") != FORMAT:
            raise ValueError(f"{path} has format {about.get('format')!r}; this version reads {FORMAT}. Train the model again")
        arrays = load_file(folder / "memory.safetensors")
        if len(arrays["starts"]) != len(rows) + 1:
            raise ValueError(f"{folder / 'memory.safetensors'} holds {len(arrays['starts']) - 1} items, the catalogue {len(rows)}: they are not of one model")
        similarity = sp.csr_array((arrays["values"], arrays["items"], arrays["starts"]), shape=(len(rows), len(rows)))
        similarity.check_format(full_check=True)  # a number beyond the catalogue would be read from elsewhere in memory
        return cls(similarity, about["own_vote"], about["decay"], rows)


def mixed(scores: np.ndarray, remembered: np.ndarray, share: float) -> np.ndarray:
    """The log-probabilities of the mixture. scores: (B, items) float64, the model's, -inf where an item may not be answered, which stays so.

    remembered: (B, items), as `Memory` gives it; a row of zeros leaves the model's scores as they are.
    """
    row, item = remembered.nonzero()  # few of a catalogue: a logarithm of each item would take longer than the model
    mixture = scores + np.where(remembered.any(axis=1, keepdims=True), np.log1p(-share), 0.0)
    said = mixture[row, item]
    mixture[row, item] = np.where(np.isneginf(said), -np.inf, np.logaddexp(said, np.log(share * remembered[row, item])))
    return mixture
