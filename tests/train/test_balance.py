"""How tasks are weighed, by hand. That a run of each method stops and goes on to the bit stands in test_loop."""

import numpy as np
import pytest
import torch

from llmrec.config import PhaseSettings
from llmrec.mixture import Mixture
from llmrec.tasks import TASKS
from train.balance import Weighing, dynamic_weights, factors, put_gradient, task_gradients, without_conflicts


def test_a_task_whose_loss_falls_slower_counts_more():
    assert dynamic_weights([[2.0, 2.0]], 2.0) is None
    factors = dynamic_weights([[9.0, 9.0], [4.0, 2.0], [2.0, 2.0]], 2.0)  # the last two: one halved, the other stands still
    pace = np.exp([0.25, 0.5])
    assert factors == pytest.approx(2 * pace / pace.sum()) and factors.sum() == pytest.approx(2)
    assert dynamic_weights([[4.0, 2.0], [2.0, 2.0]], 1e6) == pytest.approx([1, 1], abs=1e-5)
    for windows in ([[0.0, 1.0], [0.0, 1.0]], [[0.0, 5.0], [0.3, 5.0]], [[0.3, 5.0], [0.0, 5.0]]):  # a task without an answer for a while
        assert dynamic_weights(windows, 2.0).tolist() == [1.0, 1.0]
    assert dynamic_weights([[1e-5, 1.0], [9.0, 1.0]], 1e-3) == pytest.approx([2, 0])


def test_only_dwa_follows_the_log():
    windows = [[4.0, 2.0], [2.0, 2.0]]
    shares = torch.tensor([0.5, 0.5])
    for method in ("static", "temperature", "uncertainty", "pcgrad"):
        assert factors(PhaseSettings(balance=method), windows, shares).tolist() == [1.0, 1.0]
    assert factors(PhaseSettings(balance="dwa"), windows, shares)[1] > 1


def test_gradients_lose_what_points_against_another():
    rng = np.random.default_rng(0)
    # (1, 0) loses its part along (-1, 1): (.5, .5). (-1, 1) loses its part along (1, 0): (0, 1).
    assert without_conflicts(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), rng).tolist() == [0.5, 1.5]
    assert without_conflicts(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), rng).tolist() == [2.0, 1.0]
    assert without_conflicts(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), rng).tolist() == [1.0, 0.0]
    three = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    merged = without_conflicts(three, rng)
    assert torch.isfinite(merged).all() and not torch.allclose(merged, three.sum(0))


def test_gradients_by_task_sum_to_that_of_the_sum():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    idle = torch.nn.Parameter(torch.ones(3))
    losses = torch.stack([(weight**2).sum(), weight[0] * 3])
    found = task_gradients(losses, [weight, idle])
    assert found.tolist() == [[2.0, 4.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0, 0.0]]
    put_gradient(found.sum(0), [weight, idle])
    assert weight.grad.tolist() == [5.0, 4.0] and idle.grad is None


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_learned_factor_settles_where_loss_and_variance_balance(toy_parts):
    """d/ds of exp(-s) L + s / 2 is 0 at s = log 2L."""
    weighing = Weighing(toy_parts.objective, learned=True)
    batch = toy_parts.mixture.batch(0)
    sums, counted = weighing(batch)
    assert torch.equal(sums, counted)  # at s = 0
    with torch.no_grad():
        weighing.log_variances.copy_((2 * sums / batch.answers.clamp(min=1)).clamp(min=1e-3).log())
    counted = weighing(batch)[1]
    (slope,) = torch.autograd.grad(counted.sum(), weighing.log_variances)
    assert slope.abs().max() < 1e-3 * batch.answers.max()
    assert Weighing(toy_parts.objective, learned=False).log_variances is None


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_temperature_flattens_the_sizes_of_the_tasks(toy_parts):
    bound = {name: TASKS[name].bind(toy_parts.timelines, seed=0) for name in ("next_item", "explanation")}

    def mixture(shares, temperature):
        return Mixture(
            bound, {name: toy_parts.templates[name] for name in bound}, toy_parts.composer, shares, batch_tokens=2000, row_tokens=128, languages=["en"], seed=0, temperature=temperature,
        )

    even = {"next_item": 1.0, "explanation": 1.0}
    sizes = {name: len(bound[name]) * mixture(even, None).mean_tokens[name] for name in bound}
    assert mixture(even, None).shares.tolist() == [0.5, 0.5]
    roots = np.sqrt(list(sizes.values()))
    assert mixture(even, 2.0).shares.tolist() == pytest.approx(roots / roots.sum())
    assert mixture(even, 1e9).shares.tolist() == pytest.approx([0.5, 0.5])
    own = Mixture(
        bound, {name: toy_parts.templates[name] for name in bound}, toy_parts.composer, even, batch_tokens=20_000, row_tokens=128, languages=["en"], seed=0, temperature=2.0, tokens={"explanation": 0.5},
    )
    drawn = {name: own.units_per_step[name] * own.mean_tokens[name] for name in bound}
    assert drawn["explanation"] / drawn["next_item"] == pytest.approx(0.5 * roots[1] / roots[0], rel=0.1)
    weighted = mixture({"next_item": 3.0, "explanation": 1.0}, 2.0)
    assert weighted.shares[0] / weighted.shares[1] == pytest.approx(3 * roots[0] / roots[1], rel=1e-5)
