"""Products whose rows do not depend on how many rows there are: what makes an answer the same to the bit whatever is asked beside it.

A CPU's matrix product takes other paths for few rows, for few outputs and for many inputs on several threads, and each path sums in another order (measured with MKL 2024.2 on two kinds of Xeon:
below four rows for each thread on one, sixteen on the other; below four outputs; from 1,024 inputs on with two threads). Rows and outputs of zeros are put beside a few, and many inputs are summed in parts, so that all take the same path.
What else a prompt's numbers could depend on is kept out where prompts are grouped: see llmrec.recommender.answering.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 16
"""Rows for each thread from which on the number of rows is of no account."""
OUTPUTS = 8
"""Outputs from which on it is of none."""
INPUTS = 512
"""Inputs that are summed at once."""


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., in) -> (..., out), as torch's own. In 32 bits on CPUs; a GPU's kernels are chosen by size, too, and left as they are."""
    if rows.device.type != "cpu":
        return F.linear(rows, weight, bias)
    outputs, inputs = weight.shape
    count, least = rows.numel() // inputs, ROWS * torch.get_num_threads()
    flat = rows.reshape(count, inputs)
    if count < least:
        flat = F.pad(flat, (0, 0, 0, least - count))
    if outputs < OUTPUTS:
        weight = F.pad(weight, (0, 0, 0, OUTPUTS - outputs))
    found = F.linear(flat[:, :INPUTS], weight[:, :INPUTS])
    for start in range(INPUTS, inputs, INPUTS):
        found = found + F.linear(flat[:, start : start + INPUTS], weight[:, start : start + INPUTS])
    found = found[:count, :outputs].reshape(*rows.shape[:-1], outputs)
    return found if bias is None else found + bias


class SteadyLinear(nn.Linear):
    """A linear layer that computes with `linear`."""

    def forward(self, rows: Tensor) -> Tensor:
        return linear(rows, self.weight, self.bias)


def steady(module: nn.Module) -> None:
    """Makes all linear layers of a module compute with `linear`."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = SteadyLinear
