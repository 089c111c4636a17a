"""Objective: the loss of a packed batch, each answer normalised over its own space.

Separate from the model, whose heads it asks, and from the loop, which weighs and steps. It is the forward pass of training, as one
module, so that a data-parallel wrapper sees it whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from llmrec.answers import TEXT
from llmrec.mixture import Batch
from llmrec.model import LanguageModel

MAX_SLOTS = 4096
"""Answer tokens whose logits stand in memory at once: bounds the loss's peak whatever the batch."""


class Objective(nn.Module):
    """Per task, the sum over its answers of the answer's negative log-probability (per token for written answers)."""

    def __init__(self, model: LanguageModel, *, spaces: Mapping[str, int], num_tasks: int):
        super().__init__()
        self.model = model
        self.space_names = {number: name for name, number in spaces.items()}
        self.num_tasks = num_tasks

    def forward(self, batch: Batch) -> Tensor:
        """(tasks,): the summed losses."""
        rows = self.model.rows()
        hidden = self.model.hidden(batch.tokens, batch.positions, batch.mask(), rows=rows)
        hidden = hidden.reshape(-1, hidden.shape[-1])
        sums = torch.zeros(self.num_tasks, device=hidden.device)
        for number in batch.space.unique().tolist():
            members = torch.nonzero(batch.space == number).squeeze(1)
            for chunk in members.split(MAX_SLOTS):
                loss = self._nll(hidden[batch.slot[chunk]], batch.node[chunk], batch.target[chunk], self.space_names[number], rows)
                sums = sums.index_add(0, batch.task[chunk], loss * batch.scale[chunk])
        return sums

    def _nll(self, hidden: Tensor, node: Tensor, target: Tensor, space_name: str, rows: Tensor) -> Tensor:
        if space_name == TEXT:
            return nn.functional.cross_entropy(self.model.text_logits(hidden), target, reduction="none")
        space = self.model.spaces[space_name]
        logits = self.model.space_logits(hidden, space, rows)
        if space.flat:
            return nn.functional.cross_entropy(logits, target, reduction="none")
        loss = torch.empty(len(hidden), device=hidden.device)
        root = node == 0  # the root is as wide as the head: gathered apart, or every slot would be padded to its width
        for part in (root, ~root):
            if bool(part.any()):
                log_probs, _ = self.model.child_log_probs(logits[part], node[part], space)
                loss = loss.masked_scatter(part, -log_probs.gather(1, target[part, None]).squeeze(1))
        return loss
