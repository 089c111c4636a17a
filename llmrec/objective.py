"""Objective: the loss of a packed batch, each answer normalised over its own space.

Separate from the model, whose heads it asks, and from the loop, which weighs and steps. It is the forward pass of training, as one
module, so that a data-parallel wrapper sees it whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from llmrec.answers import TEXT
from llmrec.mixture import Batch
from llmrec.model import LanguageModel

MAX_SLOTS, MAX_LOGITS = 512, 1 << 24
"""Answer tokens whose logits stand in memory at once, and logits (64 MiB): both bound the loss's peak, whatever the batch and the catalogue; few also stay near the cache."""


class Objective(nn.Module):
    """Per task, the sum over its answers of the answer's negative log-probability (per token for written answers).

    squared_error: weight of (expected value - value)^2, added for the answers of a scale of more than two values; of two the log-probability says it all.
    """

    def __init__(self, model: LanguageModel, *, spaces: Mapping[str, int], num_tasks: int, squared_error: float = 0.0):
        super().__init__()
        self.model = model
        self.space_names = {number: name for name, number in spaces.items()}
        self.num_tasks = num_tasks
        self.squared_error = squared_error

    def forward(self, batch: Batch) -> Tensor:
        """(tasks,): the summed losses."""
        rows = self.model.rows()
        hidden = self.model.hidden(batch.tokens, batch.positions, batch.mask(), rows=self.model.input_rows(rows))
        hidden = hidden.reshape(-1, hidden.shape[-1])
        sums = torch.zeros(self.num_tasks, device=hidden.device)
        for number in batch.space.unique().tolist():
            members = torch.nonzero(batch.space == number).squeeze(1)
            loss = self.nll(hidden[batch.slot[members]], batch.node[members], batch.target[members], self.space_names[number], rows)
            sums = sums.index_add(0, batch.task[members], loss * batch.scale[members])
        return sums

    def nll(self, hidden: Tensor, node: Tensor, target: Tensor, space_name: str, rows: Tensor) -> Tensor:
        """(S,): the negative log-probability of each slot's child. hidden: (S, H). node, target: (S,), as in Batch. rows: the code tokens' rows."""
        table = self.model.whole_table(space_name, rows)
        if table is not None:
            return TableCrossEntropy.apply(hidden, table, target)
        width = self.model.vocabulary_size if space_name == TEXT else len(self.model.spaces[space_name].tokens)
        size = _slots(width)
        chunks = list(zip(hidden.split(size), node.split(size), target.split(size)))
        if len(hidden) * width <= MAX_LOGITS:
            return torch.cat([self._chunk_nll(*chunk, space_name, rows) for chunk in chunks])
        return torch.cat([checkpoint(self._chunk_nll, *chunk, space_name, rows, use_reentrant=False) for chunk in chunks])  # logits are made again in the backward pass

    def _chunk_nll(self, hidden: Tensor, node: Tensor, target: Tensor, space_name: str, rows: Tensor) -> Tensor:
        if space_name == TEXT:
            return nn.functional.cross_entropy(self.model.text_logits(hidden), target, reduction="none")
        space = self.model.spaces[space_name]
        logits = self.model.space_logits(hidden, space, rows)
        if self.squared_error and space.values is not None and len(space.values) > 2:
            log_probs = logits.log_softmax(-1)
            error = log_probs.exp() @ space.values - space.values[target]
            return self.squared_error * error**2 - log_probs.gather(1, target[:, None]).squeeze(1)
        loss = torch.zeros(len(hidden), device=hidden.device)
        root = node == 0  # the root is as wide as the head: gathered apart, or every slot would be padded to its width
        for part in (root, ~root):
            if bool(part.any()):
                log_probs, _ = self.model.child_log_probs(logits[part], node[part], space)
                loss = loss.masked_scatter(part, -log_probs.gather(1, target[part, None]).squeeze(1))
        return loss


class TableCrossEntropy(torch.autograd.Function):
    """Cross-entropy of hidden states against every row of a table: (S, H), (V, H), (S,) -> (S,), in the autocast type, summed up in float32.

    Logits are made a few slots at a time and again in the backward pass, so that memory does not grow with slots times rows;
    on a CPU that is also faster than keeping them.
    """

    @staticmethod
    def forward(context, hidden: Tensor, table: Tensor, target: Tensor) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        hidden_, table_ = hidden.to(dtype), table.to(dtype)
        norms, losses = [], []
        size = _slots(len(table))
        for part, answer in zip(hidden_.split(size), target.split(size)):
            logits = torch.mm(part, table_.t()).float()
            norms.append(logits.logsumexp(1))
            losses.append(norms[-1] - logits.gather(1, answer[:, None]).squeeze(1))
        context.save_for_backward(hidden_, table_, target, torch.cat(norms))
        context.types = hidden.dtype, table.dtype
        return torch.cat(losses)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, table, target, norms = context.saved_tensors
        for_hidden = torch.empty(hidden.shape, dtype=torch.float32, device=hidden.device)
        for_table = torch.zeros(table.shape, dtype=torch.float32, device=table.device)
        size = _slots(len(table))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            error = torch.mm(hidden[part], table.t()).float().sub_(norms[part, None]).exp_()
            error[torch.arange(len(error), device=error.device), target[part]] -= 1.0
            error = error.mul_(gradient[part, None]).to(hidden.dtype)
            for_hidden[part] = torch.mm(error, table)
            if error.dtype == for_table.dtype:
                for_table.addmm_(error.t(), hidden[part])
            else:
                for_table += torch.mm(error.t(), hidden[part])
        return for_hidden.to(context.types[0]), for_table.to(context.types[1]), None


def _slots(width: int) -> int:
    """How many slots of `width` logits are computed at once."""
    return max(1, min(MAX_SLOTS, MAX_LOGITS // width))
