"""Allowed: which answers each prompt of a batch may get, told node by node.

Separate from the search, so that nothing is built for a request: a predicate is a mask that many requests share, and what one request
leaves out (its history, say) is a short list. Prompts with different constraints stand in one batch. B prompts, A answers, N nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llmrec.answers import Trie
from llmrec.model import SpaceTensors


@dataclass(frozen=True)
class Allowed:
    """The answers of B prompts: those of a mask, less those left out one by one.

    masks: of each prompt (A,) bool, or None: all; prompts may share one.   without: of each prompt the answer rows left out, each once.
    """

    masks: Sequence[np.ndarray | None]
    without: Sequence[np.ndarray]

    def dense(self, num_answers: int) -> np.ndarray:
        """(B, A) bool."""
        allowed = np.ones((len(self.masks), num_answers), dtype=bool)
        for row, (mask, without) in enumerate(zip(self.masks, self.without, strict=True)):
            if mask is not None:
                allowed[row] = mask
            allowed[row, without] = False
        return allowed

    def living(self, trie: Trie, space: SpaceTensors) -> Living:
        """The same, asked of nodes."""
        device = space.low.device
        distinct = {id(mask): mask for mask in self.masks if mask is not None}
        counts, which = None, None
        if distinct:
            number = {key: place for place, key in enumerate(distinct)}
            everything = len(distinct)
            counts = np.zeros((everything + 1, len(trie.order) + 1), dtype=np.int32)
            for place, mask in enumerate(distinct.values()):
                np.cumsum(mask[trie.order], out=counts[place, 1:])
            counts[everything] = np.arange(counts.shape[1])
            which = torch.tensor([everything if mask is None else number[id(mask)] for mask in self.masks], device=device)[:, None]
            counts = torch.from_numpy(counts).to(device)
        ranks = [trie.rank[rows if mask is None else rows[mask[rows]]] for mask, rows in zip(self.masks, self.without, strict=True)]
        without = np.full((len(ranks), max(map(len, ranks), default=0)), len(trie.order), dtype=np.int32)
        for row, found in enumerate(ranks):
            without[row, : len(found)] = np.sort(found)
        return Living(space, counts, which, torch.from_numpy(without).to(device) if without.shape[1] else None)


@dataclass(frozen=True)
class Living:
    """Whether a node has an allowed answer below it.

    counts: (masks, A + 1) int32, allowed answers before each place in the order of codes.   which: (B, 1), each prompt's mask.
    without: (B, E) int32, ascending places left out.
    """

    space: SpaceTensors
    counts: Tensor | None
    which: Tensor | None
    without: Tensor | None

    def __call__(self, nodes_BN: Tensor) -> Tensor:
        """(B, N) bool."""
        low, high = self.space.low[nodes_BN], self.space.high[nodes_BN]
        count = high - low if self.counts is None else self.counts[self.which, high] - self.counts[self.which, low]
        if self.without is not None:
            count = count - (torch.searchsorted(self.without, high, out_int32=True) - torch.searchsorted(self.without, low, out_int32=True))
        return count > 0
