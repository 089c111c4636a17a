"""Balance: how much each task counts in a step, where that follows from the training itself.

Separate from the mixture, which decides how much of each task a step holds, and from the loop, which takes the step.

    static        the shares of the settings
    temperature   shares by the size of each task's data, flattened (see Mixture)
    dwa           a task whose loss falls slower than the others' counts more
    uncertainty   a learned factor for each task
    pcgrad        what two tasks' gradients take from each other is left out
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from llmrec.config import PhaseSettings
from llmrec.mixture import Batch
from llmrec.objective import Objective


_NONE = 1e-6
"""A mean loss below this is that of no answers."""


class Weighing(nn.Module):
    """The objective with, where they are learned, the tasks' factors: a module of its own, so that a data-parallel wrapper sees their gradients.

    learned: whether task i's loss L counts as exp(-s) L + s / 2 with a parameter s.

    Source: Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018, equation 10, with s the log of the variance.
    """

    def __init__(self, objective: Objective, *, learned: bool):
        super().__init__()
        self.objective = objective
        self.log_variances = nn.Parameter(torch.zeros(objective.num_tasks, device=objective.model.device)) if learned else None

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(tasks,) and (tasks,): the summed losses, and as they count."""
        sums = self.objective(batch)
        if self.log_variances is None:
            return sums, sums
        return sums, self.log_variances.neg().exp() * sums + self.log_variances / 2 * batch.answers


def factors(phase: PhaseSettings, windows: Sequence[Sequence[float]], shares: Tensor) -> Tensor:
    """(tasks,): what the tasks' shares are multiplied with until the next line of the log. windows: the mean losses of the last two lines, older first."""
    found = dynamic_weights(windows, phase.balance_temperature) if phase.balance == "dwa" else None
    return torch.ones_like(shares) if found is None else shares.new_tensor(found)


def dynamic_weights(windows: Sequence[Sequence[float]], temperature: float) -> np.ndarray | None:
    """(tasks,) factors with the mean 1 from the mean losses of the last two windows of steps, older first; None before there are two.

    Source: Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019, equation 7 (dynamic weight average).
    """
    if len(windows) < 2:
        return None
    older, newer = np.asarray(windows[-2:], dtype=np.float64)
    # A task without answers in a window has no loss there, which says nothing of its pace.
    ratio = np.divide(newer, older, out=np.ones_like(older), where=(older > _NONE) & (newer > _NONE))
    exponent = ratio.clip(max=10) / temperature
    pace = np.exp(exponent - exponent.max())
    return len(pace) * pace / pace.sum()


def without_conflicts(gradients: Tensor, rng: np.random.Generator) -> Tensor:
    """(P,): the sum of the tasks' gradients (tasks, P), each without what points against another's. rng: the order in which a task meets the others.

    Source: Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020, algorithm 1.
    """
    merged = gradients.clone()
    lengths = (gradients * gradients).sum(dim=1)
    for own in range(len(gradients)):
        for other in rng.permutation(len(gradients)).tolist():
            if other != own and lengths[other] > 0:
                along = merged[own] @ gradients[other]
                merged[own] -= along.clamp(max=0) / lengths[other] * gradients[other]
    return merged.sum(dim=0)


def task_gradients(losses: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """(tasks, P): the gradient of each of these losses (tasks,), parameter behind parameter. Each costs a backward pass."""
    rows = []
    for number, loss in enumerate(losses):
        found = torch.autograd.grad(loss, parameters, retain_graph=number < len(losses) - 1, allow_unused=True)
        rows.append(torch.cat([(torch.zeros_like(p) if gradient is None else gradient).reshape(-1) for p, gradient in zip(parameters, found)]))
    return torch.stack(rows)


def put_gradient(gradient: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Gives the parameters their parts of a gradient (P,)."""
    for parameter, part in zip(parameters, gradient.split([p.numel() for p in parameters])):
        parameter.grad = part.view_as(parameter).clone() if bool(part.any()) else None  # what no task touched stays as it is
