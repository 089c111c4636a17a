"""Checkpoints: the state of a run, published whole or not at all, in safetensors and JSON.

A checkpoint holds no data position and no random state: both follow from the seed and the step (see llmrec.mixture), so the step is all it needs to say.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmrec.exits import ModelError
from llmrec.publishing import FILES, publish, verify

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run stands: `step` steps are done, the last `skipped` of them without a finite loss.

    best: what the validation's criterion gave at `best_step`, out of `best_figures`; history: (step, criterion) of every validation; window: the losses of the steps since the last line of the log.
    windows: the mean losses of the last two lines, older first.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    best_figures: dict[str, float] = field(default_factory=dict)
    since_best: int = 0
    skipped: int = 0
    window: list[list[float]] = field(default_factory=list)
    windows: list[list[float]] = field(default_factory=list)
    history: list[tuple[int, float]] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of one run in a folder beside its output; the newest `keep` are kept.

    fingerprint: what must be the same for a run to go on (settings, data, versions of our formats).
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, object], *, keep: int = 1):
        self.folder, self.fingerprint, self.keep = Path(folder), json.loads(json.dumps(fingerprint, default=str)), keep

    def save(self, progress: Progress, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], best: Mapping[str, Tensor], averages: Mapping[str, Tensor] | None = None) -> None:
        """Publishes a checkpoint, then prunes all but the newest `keep`. Raises FloatingPointError rather than save a tensor that is not finite."""
        moments = _moments(optimizer, names)
        averages = averages or {}
        for tensors in (weights, moments, best, averages):
            check_finite(tensors, progress.step)
        target = self.folder / f"step-{progress.step:08d}"
        # What has this number already was passed over when this run was loaded, so it is damaged; without its listing it would be taken for someone's data.
        if target in self._there() and not (target / FILES).is_file():
            shutil.rmtree(target)
        with publish(target, overwrite=True, hashes=True) as folder:
            save_file(dict(weights), folder / "weights.safetensors")
            save_file(moments, folder / "optimizer.safetensors")
            for name, tensors in (("best", best), ("average", averages)):
                if tensors:
                    save_file(dict(tensors), folder / f"{name}.safetensors")
            (folder / "progress.json").write_text(json.dumps(asdict(progress)) + "\n")
            (folder / "fingerprint.json").write_text(json.dumps(self.fingerprint, indent=1) + "\n")
        there = self._there()
        # Those of later steps were passed over when this run was loaded: kept, they would push the good ones out.
        kept = [path for path in there if _step(path) <= progress.step][-self.keep :]
        for path in there:
            if path not in kept:
                shutil.rmtree(path)

    def load(self) -> tuple[Progress, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]] | None:
        """Progress, weights, moments, best weights and averaged weights of the newest checkpoint that verifies; None where there is no checkpoint.

        Raises ModelError where it belongs to other settings or data, naming what changed, and where none of those there are verifies, naming the damaged files.
        """
        damaged = []
        for folder in reversed(self._there()):
            try:
                verify(folder)
            except ValueError as error:
                log.warning("passing over %s: %s", folder.name, error)
                damaged.append(str(error))
                continue
            saved = json.loads((folder / "fingerprint.json").read_text())
            changed = [f"{key}: {saved.get(key)!r} -> {value!r}" for key, value in self.fingerprint.items() if saved.get(key) != value]
            if changed:
                raise ModelError(f"{folder} belongs to another run ({'; '.join(changed[:5])}); remove {self.folder} or name another output")
            progress = Progress(**json.loads((folder / "progress.json").read_text()))
            progress.history = [tuple(pair) for pair in progress.history]
            weights, moments, best, averages = (load_file(path) if (path := folder / f"{name}.safetensors").is_file() else {} for name in ("weights", "optimizer", "best", "average"))
            return progress, weights, moments, best, averages
        if damaged:
            raise ModelError(f"no checkpoint of {self.folder} can be gone on from ({'; '.join(damaged)}); remove that folder to begin again")
        return None

    def _there(self) -> list[Path]:
        """Checkpoints, damaged ones too, oldest first. Anything else in the folder, a copy under another name too, is left alone."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((path for path in found if _STEP.fullmatch(path.name) and path.is_dir() and not path.is_symlink()), key=_step)


_STEP = re.compile(r"step-(\d{8,})")


def _step(folder: Path) -> int:
    return int(_STEP.fullmatch(folder.name)[1])


def check_finite(tensors: Mapping[str, Tensor], step: int) -> None:
    """Raises FloatingPointError naming the first tensor that holds a NaN or an infinity."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise FloatingPointError(f"{name} is not finite at step {step}: it is not saved. Lower the learning rate or use precision=fp32")


def restore_moments(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], moments: Mapping[str, Tensor]) -> None:
    """Gives an AdamW its moments back."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            if f"{name}.exp_avg" in moments:
                optimizer.state[parameter] = {
                    "step": moments[f"{name}.step"].clone(), "exp_avg": moments[f"{name}.exp_avg"].to(parameter.device), "exp_avg_sq": moments[f"{name}.exp_avg_sq"].to(parameter.device),
                }


def _moments(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
    tensors = {}
    for parameter, state in optimizer.state.items():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            if key in state:
                tensors[f"{names[parameter]}.{key}"] = torch.as_tensor(state[key]).detach().cpu().contiguous()
    return tensors
