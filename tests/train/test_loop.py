"""A run depends on its seed and its steps, not on how often it was stopped; what it leaves is its best step."""

import copy
import json
import math
import os
import signal
from contextlib import nullcontext

import pytest
import torch

from llmrec.config import PhaseSettings, Settings
from llmrec.mixture import Mixture
from llmrec.objective import Objective
from llmrec.tasks import TASKS
from train import loop
from train.checkpoint import Checkpoints, Progress
from train.loop import Validation, rate
from train.processes import start
from train.stopping import Stop

SETTINGS = Settings(data={"corpus": "unused"}, output="no-such-folder", precision="fp32", threads=1, seed=3, checkpoint_steps=1000)
PHASE = PhaseSettings(
    tasks={"next_item": 0.6, "rating": 0.4}, batch_tokens=300, row_tokens=64, learning_rate=5e-3, warmup_steps=4, epochs=100, max_steps=12, validation={"every_epochs": 100},
)


@pytest.fixture(autouse=True)
def signals():
    """The loop's signal handlers stay its own."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def toy(toy_parts, tmp_path):
    return Toy(toy_parts, tmp_path)


class Toy:
    """A LoRA run over two tasks, with dropout on rows and adapters, that can be started again and again from the same weights."""

    def __init__(self, parts, folder):
        self.parts, self.folder = parts, folder
        self.accelerator = start(SETTINGS)
        torch.manual_seed(1)
        parts.model.embedding_dropout = 0.2
        parts.model.add_adapter(rank=2, alpha=4, dropout=0.3, targets="all-linear")

    def mixture(self, phase=PHASE):
        parts = self.parts
        bound = {name: TASKS[name].bind(parts.timelines, seed=3) for name in phase.tasks}
        return Mixture(
            bound, {name: parts.templates[name] for name in bound}, parts.composer, phase.tasks,
            batch_tokens=phase.batch_tokens // phase.accumulation, row_tokens=phase.row_tokens, languages=["en"], seed=3,
        )

    def validated(self, every, phase=PHASE, **changes):
        """The phase with a validation every so many steps."""
        epochs = every * phase.accumulation / self.mixture(phase).steps_per_epoch
        return phase.model_copy(update={"validation": phase.validation.model_copy(update={"every_epochs": epochs, **changes})})

    def objective(self, mixture):
        model = copy.deepcopy(self.parts.model)
        model.set_spaces(self.parts.composer.spaces)
        return Objective(model, spaces=mixture.spaces, num_tasks=len(mixture.names))

    def train(self, name, phase=PHASE, *, settings=SETTINGS, validation=None, hook=None, stop=None):
        """Trains from the first weights, or goes on from the checkpoint of that name. hook: sees every loss before the loop does."""
        mixture = self.mixture(phase)
        objective = self.objective(mixture)
        if hook is not None:
            objective.register_forward_hook(lambda module, inputs, output: hook(output, objective.model))
        if validation is not None:
            validation.model = objective.model
        progress = loop.train(
            self.accelerator, objective, mixture, phase, settings,
            validation=validation, checkpoints=Checkpoints(self.folder / name / "checkpoints", {"seed": 3}), scratch=self.folder / name, stop=stop or StopAfter(math.inf),
        )
        return progress, trained(objective.model)

    def log(self, name):
        """The lines of a run's log without what the clock says."""
        lines = [json.loads(line) for line in (self.folder / name / "log.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "steps_per_second"} for line in lines]


class Scripted(Validation):
    """Figures from a list, one a validation, and the weights each was given for."""

    def __init__(self, figures, metric="next_item/ndcg@10"):
        metrics = metric.split(",")
        super().__init__(exams=dict.fromkeys(metrics), recommender=None)
        self.script = [figure if isinstance(figure, tuple) else (figure,) for figure in figures]
        self.weights, self.model = [], None

    def figures(self):
        self.weights.append(trained(self.model))
        return dict(zip(self.exams, self.script[len(self.weights) - 1], strict=True))


def trained(model):
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class StopAfter:
    """Asks a run to end once it has done so many steps."""

    interruptible = nullcontext

    def __init__(self, steps):
        self.left = steps

    @property
    def asked(self):
        self.left -= 1
        return self.left <= 0


# --- stopped and resumed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_run_stopped_at_every_step_equals_an_unbroken_one_to_the_bit(toy, monkeypatch, accumulation):
    monkeypatch.setattr(loop, "LOG_STEPS", 5)
    phase = toy.validated(4, PHASE.model_copy(update={"accumulation": accumulation}))
    figures = [0.3, 0.5, 0.4]
    unbroken, weights = toy.train("unbroken", phase, validation=Scripted(figures))
    assert unbroken.step == 12 and unbroken.history == [(4, 0.3), (8, 0.5), (12, 0.4)] and unbroken.best_step == 8
    for steps in (1, 5) if accumulation == 1 else (5,):
        name = f"stopped-{steps}"
        for number in range(steps, 12, steps):
            owed = figures[max(0, number - steps - 1) // 4 :]  # what was validated before is not asked again; where the run was stopped it was not
            with pytest.raises(SystemExit) as end:
                toy.train(name, phase, validation=Scripted(owed), stop=StopAfter(steps))
            assert end.value.code == 143
            assert [path.name for path in (toy.folder / name / "checkpoints").iterdir()] == [f"step-{number:08d}"]
        progress, again = toy.train(name, phase, validation=Scripted(figures[(number - 1) // 4 :]))
        assert (progress.step, progress.history, progress.best_step) == (12, unbroken.history, 8)
        assert same(weights, again)
        assert toy.log(name) == toy.log("unbroken")
    assert [line["step"] for line in toy.log("unbroken") if "loss" in line] == [5, 10, 12]


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize("method", ["dwa", "uncertainty", "pcgrad"])
def test_every_balance_learns_and_goes_on_to_the_bit(toy, monkeypatch, method):
    monkeypatch.setattr(loop, "LOG_STEPS", 3)
    phase = PHASE.model_copy(update={"balance": method})
    weights = toy.train("unbroken", phase)[1]
    with pytest.raises(SystemExit):
        toy.train("stopped", phase, stop=StopAfter(8))
    assert same(weights, toy.train("stopped", phase)[1])
    assert toy.log("stopped") == toy.log("unbroken")
    losses = [line["loss"] for line in toy.log("unbroken") if "loss" in line]
    assert losses[-1] < losses[0]
    assert not same(weights, toy.train("static")[1])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_another_seed_is_another_run(toy):
    assert not same(toy.train("a")[1], toy.train("b", settings=SETTINGS.model_copy(update={"seed": 4}))[1])
    assert same(toy.train("c")[1], toy.train("d")[1])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_signal_of_a_scheduler_only_sets_a_flag_and_the_run_goes_on_later(toy, monkeypatch):
    _, weights = toy.train("unbroken")
    seed, sent = loop._seed, []

    def signalled(number, step, process):
        seed(number, step, process)
        if step == 5:
            for _ in range(2):  # torchrun sends it twice
                os.kill(os.getpid(), signal.SIGTERM)
                sent.append(step)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_seed", signalled)
        with pytest.raises(SystemExit) as end:
            toy.train("stopped", stop=Stop())
    assert sent == [5, 5] and end.value.code == 143
    assert [path.name for path in (toy.folder / "stopped" / "checkpoints").iterdir()] == ["step-00000006"]
    assert same(weights, toy.train("stopped")[1])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_run_asked_to_end_while_it_validates_does_not_wait_for_the_figures(toy):
    """The step is kept, the questions are asked again: to the same bits and the same log."""
    phase = toy.validated(4)
    unbroken, weights = toy.train("unbroken", phase, validation=Scripted([0.3, 0.5, 0.4]))

    class Signalled(Scripted):
        def figures(self):
            if len(self.weights) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
                pytest.fail("a signal that came meanwhile ends the validation")
            return super().figures()

    with pytest.raises(SystemExit) as end:
        toy.train("stopped", phase, validation=Signalled([0.3]), stop=Stop())
    assert end.value.code == 143 and [path.name for path in (toy.folder / "stopped" / "checkpoints").iterdir()] == ["step-00000008"]
    progress, again = toy.train("stopped", phase, validation=Scripted([0.5, 0.4]))
    assert (progress.history, progress.best_step) == (unbroken.history, 8) and same(weights, again) and toy.log("stopped") == toy.log("unbroken")


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_step_that_does_not_fit_the_memory_is_named(toy):
    def full(losses, model):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")

    with pytest.raises(MemoryError, match=r"out of memory at step 0, with a batch of \d+ rows of \d+ tokens .*lower batch_tokens"):
        toy.train("run", hook=full)
    with pytest.raises(RuntimeError, match="shapes"):  # and nothing else is taken for it
        toy.train("other", hook=lambda losses, model: (_ for _ in ()).throw(RuntimeError("shapes")))


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_run_stopped_where_its_patience_ended_is_not_trained_on(toy, monkeypatch):
    phase = toy.validated(2, patience=1)
    unbroken, weights = toy.train("unbroken", phase, validation=Scripted([0.5, 0.4]))
    toy.train("stopped", phase, validation=Scripted([0.5, 0.4]))  # and then lost before its model was written
    progress, again = toy.train("stopped", phase, validation=Scripted([]))
    assert unbroken.step == progress.step == 4 and same(weights, again)


# --- numbers that are not finite ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_whose_loss_is_not_finite_changes_nothing(toy, caplog, value):
    seen = []

    def poisoned(losses, model):
        seen.append(trained(model))
        return losses * value if len(seen) in (3, 4, 5, 9) else losses

    progress, _ = toy.train("run", hook=poisoned)
    assert progress.step == 12 and progress.skipped == 0
    assert [n for n in range(1, 12) if same(seen[n - 1], seen[n])] == [3, 4, 5, 9]
    assert [f"step {n - 1} is skipped" in caplog.text for n in (2, 3, 4, 5, 6, 9)] == [False, True, True, True, False, True]
    assert all(math.isfinite(value) for line in toy.log("run") for value in line.values())  # nor does the log say NaN, which is no JSON


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_gradient_that_is_not_finite_is_skipped_too(toy):
    seen = []

    def poisoned(losses, model):
        seen.append(trained(model))
        return losses + (losses - losses.detach()).abs().sqrt() * 1.0 if len(seen) == 2 else losses  # the loss is as it was, its derivative at 0 is not

    toy.train("run", hook=poisoned)
    assert [n for n in range(1, 12) if same(seen[n - 1], seen[n])] == [2]


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_more_than_three_such_steps_in_a_row_end_the_run_with_its_code(toy, caplog):
    calls = []

    def poisoned(losses, model):
        calls.append(len(calls))
        return losses * float("nan") if len(calls) >= 6 else losses

    with pytest.raises(SystemExit) as end:
        toy.train("run", settings=SETTINGS.model_copy(update={"checkpoint_steps": 2}), hook=poisoned)
    assert end.value.code == 7 and len(calls) == 9  # steps 5, 6, 7 and 8, counted from 0
    assert "4 steps in a row" in caplog.text
    progress, weights, *_ = Checkpoints(toy.folder / "run" / "checkpoints", {"seed": 3}).load()
    assert progress == Progress(step=8, skipped=3, window=progress.window) and all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    with pytest.raises(SystemExit):  # and what was skipped before a stop counts behind it
        toy.train("run", hook=lambda losses, model: losses * float("nan"))


# --- the best step -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize(
    ("metric", "figures", "best", "steps"),
    [
        ("next_item/ndcg@10", [0.1, 0.3, 0.2, 0.3, 0.9], 2, 4),  # an equal figure is no gain
        ("rating/rmse", [1.0, 0.9, 0.95, 0.93, 0.1], 2, 4),
        ("next_item/ndcg@10", [0.1, 0.2, 0.1, 0.3, 0.2, 0.25], 4, 6),
    ],
)
def test_training_stops_when_its_patience_ends_and_keeps_the_best_step(toy, metric, figures, best, steps):
    phase = toy.validated(1, patience=2)
    validation = Scripted(figures, metric)
    progress, weights = toy.train("run", phase, validation=validation)
    assert (progress.best_step, progress.best, progress.step, progress.since_best) == (best, figures[best - 1], steps, 2)
    assert same(weights, validation.weights[best - 1]) and not same(weights, validation.weights[-1])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_several_metrics_choose_the_step_that_is_best_over_all(toy):
    # In per cent of the first: +10 and +10 of the second are more than +30 and -15 of the third; a figure of 0 is no error.
    figures = [(0.0, 2.0), (0.10, 1.0), (0.11, 1 / 1.1), (0.13, 1 / 0.85)]
    validation = Scripted(figures, "next_item/ndcg@10,rating/rmse")
    progress, _ = toy.train("run", toy.validated(1, patience=1), validation=validation)
    assert progress.best_step == 3 and progress.best == pytest.approx(math.sqrt(0.11 * 1.1))
    assert progress.best_figures == {"next_item/ndcg@10": 0.11, "rating/rmse": 1 / 1.1}


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_last_step_is_validated_and_without_validation_kept(toy):
    validation = Scripted([0.7])
    progress, weights = toy.train("validated", validation=validation)
    assert progress.history == [(12, 0.7)] and same(weights, validation.weights[0])
    assert same(toy.train("plain")[1], weights)


# --- the schedule ------------------------------------------------------------------------------------------------------------------


def test_the_learning_rate_by_hand():
    cosine = PhaseSettings(warmup_steps=4, schedule="cosine")
    assert [rate(step, 12, cosine) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    # Eight steps of half a cosine from 1 to a tenth: cos 0, cos 45, cos 90, cos 135 degrees at every second one.
    assert [rate(step, 12, cosine) for step in (4, 6, 8, 10)] == pytest.approx([1.0, 0.55 + 0.45 * 0.5**0.5, 0.55, 0.55 - 0.45 * 0.5**0.5])
    assert rate(12, 12, cosine) == pytest.approx(0.1)
    constant = PhaseSettings(warmup_steps=2, schedule="constant")
    assert [rate(step, 5, constant) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]
    assert [rate(step, 3, PhaseSettings(warmup_steps=0, schedule="constant")) for step in range(3)] == [1.0] * 3
    assert rate(5, 5, PhaseSettings(warmup_steps=5)) == 1.0  # no step is left to fall over


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_log_shows_the_schedule_and_each_task(toy, monkeypatch):
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    toy.train("run")
    lines = toy.log("run")
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line["lr"] for line in lines] == pytest.approx([5e-3 * rate(step, 12, PHASE) for step in range(12)])
    for line in lines:
        assert line["loss"] == pytest.approx(0.6 * line["loss_next_item"] + 0.4 * line["loss_rating"], rel=1e-5)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_step_in_parts_learns_what_a_step_in_one_learns(toy):
    """Units of the same step, split: the mean over parts of means is near, not equal to, the mean over all."""
    whole, _ = toy.train("whole", PHASE.model_copy(update={"max_steps": None, "epochs": 1}))
    parts, _ = toy.train("parts", PHASE.model_copy(update={"max_steps": None, "epochs": 1, "accumulation": 2}))
    assert abs(parts.step - whole.step) <= 1  # an epoch is an epoch, however its steps are computed
    assert toy.log("parts")[0]["loss"] == pytest.approx(toy.log("whole")[0]["loss"], rel=0.2)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_step_in_two_equal_parts_has_the_gradient_of_one_of_them(toy, monkeypatch):
    toy.parts.model.embedding_dropout = 0.0
    for module in toy.parts.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    clip, norms = toy.accelerator.clip_grad_norm_, {}
    for parts in (1, 2):
        mixture = toy.mixture()
        batch = mixture.batch
        monkeypatch.setattr(mixture, "batch", lambda number, rank, world: batch(number // parts))
        monkeypatch.setattr(toy, "mixture", lambda phase: mixture)
        monkeypatch.setattr(toy.accelerator, "clip_grad_norm_", lambda *arguments: norms.setdefault(parts, []).append(clip(*arguments)) or norms[parts][-1])
        toy.train(f"{parts}", PHASE.model_copy(update={"max_steps": 3, "accumulation": parts}))
        monkeypatch.undo()
    assert torch.stack(norms[2]).tolist() == pytest.approx(torch.stack(norms[1]).tolist(), rel=1e-4)
    assert toy.log("2")[0]["loss"] == pytest.approx(toy.log("1")[0]["loss"], rel=1e-5)
