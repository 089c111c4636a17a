"""Products whose rows do not depend on how many rows there are: what makes an answer the same to the bit whatever is asked beside it.

A CPU's matrix product of a few rows takes another path than one of many, and sums in another order (measured with MKL: below four rows for each thread). Rows of zeros are put behind a few, so that all take the same path.
What else a prompt's numbers could depend on is kept out where prompts are grouped: see llmrec.recommender.answering.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 8
"""Rows for each thread from which on the number of rows is of no account."""


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., in) -> (..., out), as torch's own. In 32 bits on CPUs; a GPU's kernels are chosen by size, too, and left as they are."""
    count, least = rows.numel() // rows.shape[-1], ROWS * torch.get_num_threads()
    if rows.device.type != "cpu" or count >= least:
        return F.linear(rows, weight, bias)
    padded = F.pad(rows.reshape(count, rows.shape[-1]), (0, 0, 0, least - count))
    return F.linear(padded, weight, bias)[:count].reshape(*rows.shape[:-1], -1)


class SteadyLinear(nn.Linear):
    """A linear layer that computes with `linear`."""

    def forward(self, rows: Tensor) -> Tensor:
        return linear(rows, self.weight, self.bias)


def steady(module: nn.Module) -> None:
    """Makes all linear layers of a module compute with `linear`."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = SteadyLinear
