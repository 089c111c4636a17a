"""The training loop both commands share: batches in, weights of the best validation out.

Everything random follows from (seed, step, process); everything scheduled from the step. So a run that was stopped goes on as if it never had been.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from llmrec.config import PhaseSettings, Settings
from llmrec.evaluation import score
from llmrec.exam import Exam, save_predictions
from llmrec.exits import NUMERIC, STOPPED, out_of_memory
from llmrec.metrics.criterion import criterion, lower_is_better
from llmrec.mixture import Batch, Mixture
from llmrec.objective import Objective
from llmrec.recommender import Recommender

from .balance import Weighing, factors, put_gradient, task_gradients, without_conflicts
from .checkpoint import Checkpoints, Progress, check_finite, restore_moments
from .journal import Journal
from .stopping import Stop, Stopped

log = logging.getLogger(__name__)

MAX_SKIPPED = 3
"""Steps in a row whose loss or gradient is not finite before a run gives up."""
LOG_STEPS = 20
"""Steps between two lines of the log, which holds their mean."""


@dataclass
class Validation:
    """Measures a model on held-out questions of the valid part. exams: by TASK/METRIC, the questions it is measured on."""

    exams: Mapping[str, Exam]
    recommender: Callable[[], Recommender]

    def figures(self) -> dict[str, float]:
        """Each metric under its headline filter. Raises ValueError where the held-out answers leave one undefined (an AUC of one class)."""
        with tempfile.TemporaryDirectory() as folder:
            return {name: self._figure(name, exam, Path(folder)) for name, exam in self.exams.items()}

    def _figure(self, name: str, exam: Exam, folder: Path) -> float:
        metric = name.partition("/")[2]
        report = score(save_predictions(self.recommender(), "valid", exam, folder=folder), resamples=1)
        figure = next((float(row["mean"]) for row in report.rows if row["metric"] == metric), None)
        if figure is None:
            raise ValueError(f"{name} is not defined on the {len(exam.held_out)} held-out questions of valid; name another validation.metric")
        return figure


def train(
    accelerator: Accelerator, objective: Objective, mixture: Mixture, phase: PhaseSettings, settings: Settings,
    *, validation: Validation | None, checkpoints: Checkpoints, scratch: Path, stop: Stop,
) -> Progress:
    """Trains until the epochs or the patience end; leaves the best weights in the model, and a checkpoint of the last step. Writes scratch/log.jsonl, and tensorboard's files beside it.

    Exits with STOPPED, behind a checkpoint, once `stop` was asked on any process, and with NUMERIC after more than MAX_SKIPPED steps in a row that are not finite.

    Raises:
        MemoryError: a step did not fit; names its batch.
    """
    model, weighing = objective.model, Weighing(objective, learned=phase.balance == "uncertainty")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if weighing.log_variances is not None:
        trained["balance.log_variances"] = weighing.log_variances
    names = {p: name for name, p in trained.items()}
    optimizer = torch.optim.AdamW(_groups(trained, phase.weight_decay), lr=phase.learning_rate, betas=(0.9, 0.98))
    steps_per_epoch = max(1, round(mixture.steps_per_epoch / phase.accumulation))  # the mixture counts parts
    total = max(1, math.ceil(phase.epochs * steps_per_epoch))
    total = min(total, phase.max_steps or total)
    every = phase.validation.every_steps or max(1, round(phase.validation.every_epochs * steps_per_epoch))
    progress, best, averages = Progress(), {}, {}
    found = checkpoints.load()
    if found is not None:
        progress, weights, moments, best, averages = found
        averages = {name: values.to(accelerator.device) for name, values in averages.items()}
        _put(trained, weights)
        restore_moments(optimizer, names, moments)
        log.info("resuming at step %d of %d", progress.step, total)
    saved = progress.step
    wrapped, optimizer_ = accelerator.prepare(weighing, optimizer)
    log.info(
        "%d steps of %d tokens, %.0f an epoch; %s parameters trained; units a step: %s", total, phase.batch_tokens, steps_per_epoch,
        f"{sum(p.numel() for p in trained.values()):,}", ", ".join(f"{name} {count}" for name, count in mixture.units_per_step.items()),
    )
    journal = Journal(scratch, progress.step, max((step for step, _ in progress.history), default=0)) if accelerator.is_main_process else None
    shares = mixture.shares.to(accelerator.device)
    weights, surgery = shares * factors(phase, progress.windows, shares), phase.balance == "pcgrad"
    parts = phase.accumulation
    bar = tqdm(total=total, initial=progress.step, desc="train", unit="step", disable=not accelerator.is_main_process, mininterval=1, file=sys.stderr)
    batches = _ahead(lambda part: mixture.batch(part, rank=accelerator.process_index, world=accelerator.num_processes), range(progress.step * parts, total * parts))
    window = [torch.tensor(losses, device=accelerator.device) for losses in progress.window]
    started, last_logged = time.monotonic(), progress.step
    asked = False
    while True:
        if validation is not None and not asked and (progress.step % every == 0 or progress.step == total) and progress.step not in (0, *(step for step, _ in progress.history[-1:])):
            with _averaged(trained, averages):
                found = _measure(accelerator, validation, stop)
            if found is None:
                asked = True
            else:
                if _record(found, progress, journal):
                    best = {name: values.clone() for name, values in _on_disk(averages or trained).items()}
                bar.set_postfix(valid=f"{progress.history[-1][1]:.4f}", best=f"{progress.best:.4f}")
                started, last_logged = time.monotonic(), progress.step
        # A run stopped where its patience ended has nothing left to do.
        ended = progress.step == total or validation is not None and progress.since_best >= phase.validation.patience
        if progress.step > saved and (asked or ended or progress.step % settings.checkpoint_steps == 0):
            if accelerator.is_main_process:
                progress.window = [losses.tolist() for losses in window]
                checkpoints.save(progress, _on_disk(trained), optimizer, names, best, _on_disk(averages))
            accelerator.wait_for_everyone()
            saved = progress.step
        if asked:
            log.info("stopped at step %d as asked; the same command goes on from here", progress.step)
            sys.exit(STOPPED)
        if ended:
            break
        _seed(settings.seed, progress.step, accelerator.process_index)
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * rate(progress.step, total, phase)
        wrapped.train()
        losses = torch.zeros(len(shares), device=accelerator.device)
        gradients: Tensor | float = 0.0
        for part in range(parts):
            batch = next(batches).to(accelerator.device)
            with accelerator.no_sync(wrapped) if surgery or part < parts - 1 else nullcontext(), _fitting(progress.step, batch, checkpoints.folder):
                counts = accelerator.reduce(batch.answers, "sum").clamp(min=1)
                sums, counted = wrapped(batch)
                losses += sums.detach() / counts / parts
                means = counted / counts * weights / parts
                if surgery:
                    gradients = gradients + task_gradients(means, list(trained.values()))
                else:  # data-parallel training averages gradients over processes; the means are already over all of them
                    accelerator.backward(means.sum() * accelerator.num_processes)
        if surgery:
            put_gradient(without_conflicts(accelerator.reduce(gradients, "sum"), np.random.default_rng([settings.seed, progress.step])), list(trained.values()))
        norm = accelerator.clip_grad_norm_(model.parameters(), phase.clip)  # of the model alone: the factors of tasks may move as they like
        # One exchange for both: whether any process was asked to stop, all must know at once.
        sums = accelerator.reduce(torch.cat([losses, losses.new_tensor([float(stop.asked)])]), "sum")
        losses, asked = sums[:-1], bool(sums[-1])
        finite = bool(torch.isfinite(losses).all() and torch.isfinite(norm))
        if finite:
            optimizer_.step()
            if phase.average:
                _average(averages, trained, min(phase.average, (1 + progress.step) / (10 + progress.step)))
            progress.skipped = 0
            window.append(losses)
        else:  # the same on every process: losses are summed over them, and so is the gradient
            progress.skipped += 1
            log.warning("step %d is skipped: its loss or gradient is not finite", progress.step)
            if progress.skipped > MAX_SKIPPED:
                log.error("%d steps in a row were not finite; lower the learning rate or use precision=fp32. The last checkpoint stands in %s", progress.skipped, checkpoints.folder)
                sys.exit(NUMERIC)
        optimizer_.zero_grad()
        progress.step += 1
        bar.update(1)
        if window and (progress.step % LOG_STEPS == 0 or progress.step == total):
            means = torch.stack(window).mean(0)
            window.clear()
            progress.windows = [*progress.windows, means.tolist()][-2:]
            weights = shares * factors(phase, progress.windows, shares)
            loss = float((means * shares).sum())
            bar.set_postfix(loss=f"{loss:.3f}")
            if journal is not None:
                speed = (progress.step - last_logged) / (time.monotonic() - started)
                started, last_logged = time.monotonic(), progress.step
                journal.write(
                    step=progress.step, epoch=progress.step / steps_per_epoch, loss=loss, lr=optimizer.param_groups[0]["lr"], steps_per_second=round(speed, 3),
                    **{f"loss_{name}": float(value) for name, value in zip(mixture.names, means)},
                )
    bar.close()
    batches.close()
    _put(trained, best or averages)
    check_finite(trained, progress.step)
    if journal is not None:
        journal.close()
    return progress


def rate(step: int, total: int, phase: PhaseSettings) -> float:
    """The learning rate at a step, as a fraction of its peak: a linear rise, then constant, or a cosine to a tenth."""
    if step < phase.warmup_steps:
        return (step + 1) / phase.warmup_steps
    if phase.schedule == "constant":
        return 1.0
    passed = (step - phase.warmup_steps) / max(1, total - phase.warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * passed))


def _measure(accelerator: Accelerator, validation: Validation, stop: Stop) -> dict[str, float] | None:
    """Measures on the main process and tells the others. None where the main process was asked to stop meanwhile: the same questions can be asked again."""
    told = torch.zeros(1 + len(validation.exams), dtype=torch.float64, device=accelerator.device)
    if accelerator.is_main_process:
        try:
            with stop.interruptible():
                told[1:] = torch.tensor(list(validation.figures().values()), dtype=told.dtype)
        except Stopped:
            told[0] = 1
    told = accelerator.reduce(told, "sum")
    return None if told[0] else dict(zip(validation.exams, told[1:].tolist(), strict=True))


def _record(found: dict[str, float], progress: Progress, journal: Journal | None) -> bool:
    """Writes figures down, and says whether they are the best so far."""
    figure = criterion(found)
    progress.history.append((progress.step, figure))
    if journal is not None:
        together = {"valid": figure} if len(found) > 1 else {}
        journal.write(step=progress.step, **{f"valid_{name}": value for name, value in found.items()}, **together)
    better = progress.best is None or (figure < progress.best if lower_is_better(found) else figure > progress.best)
    progress.since_best = 0 if better else progress.since_best + 1
    if better:
        progress.best, progress.best_step, progress.best_figures = figure, progress.step, found
    return better


@contextmanager
def _fitting(step: int, batch: Batch, folder: Path) -> Iterator[None]:
    """Names the batch that did not fit the memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        rows, length = batch.tokens.shape
        raise MemoryError(
            f"out of memory at step {step}, with a batch of {rows} rows of {length} tokens ({str(error).splitlines()[0]}); lower batch_tokens or row_tokens, or raise accumulation. The last checkpoint stands in {folder}"
        ) from None


def _groups(trained: dict[str, nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    return [
        {"params": [p for p in trained.values() if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained.values() if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _average(averages: dict[str, Tensor], trained: dict[str, nn.Parameter], decay: float) -> None:
    """Moves the averages, which begin at the weights, by 1 - decay towards them. Source: Polyak and Juditsky 1992, in its exponential form."""
    with torch.no_grad():
        for name, p in trained.items():
            averages.setdefault(name, p.detach().clone())
        torch._foreach_lerp_([averages[name] for name in trained], list(trained.values()), 1 - decay)


@contextmanager
def _averaged(trained: dict[str, nn.Parameter], averages: dict[str, Tensor]) -> Iterator[None]:
    """The model with its averaged weights, where there are any, and then again with those that training goes on from."""
    weights = {name: p.detach().clone() for name, p in trained.items()}
    _put(trained, averages)
    try:
        yield
    finally:
        _put(trained, weights)


def _on_disk(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.detach().cpu().contiguous() for name, values in tensors.items()}


def _put(trained: dict[str, nn.Parameter], weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, values in weights.items():
            trained[name].copy_(values)


def _seed(seed: int, step: int, process: int) -> None:
    """Dropout's randomness, from where the run stands alone."""
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + process)


def _ahead(make: Callable[[int], object], numbers: Sequence[int]) -> Iterator[object]:
    """make(number) for each number, one computed ahead in a thread while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = None
        for number in numbers:
            following = pool.submit(make, number)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
