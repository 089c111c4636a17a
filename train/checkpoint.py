"""Checkpoints: the state of a run, published whole or not at all, in safetensors and JSON.

A checkpoint holds no data position and no random state: both follow from the seed and the step (see llmrec.mixture), so the step is all it needs to say.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmrec.publishing import publish, verify

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run stands: `step` steps are done. best: the validation figure of `best_step`; history: (step, figure) of every validation."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    since_best: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of one run in a folder beside its output; the newest `keep` complete ones are kept.

    fingerprint: what must be the same for a run to go on (settings, data, versions of our formats).
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, object], *, keep: int = 1):
        self.folder, self.fingerprint, self.keep = Path(folder), json.loads(json.dumps(fingerprint, default=str)), keep

    def save(self, progress: Progress, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], best: Mapping[str, Tensor]) -> None:
        """Publishes a checkpoint, then prunes older ones. Raises FloatingPointError rather than save a tensor that is not finite."""
        for name, tensor in weights.items():
            if not bool(torch.isfinite(tensor).all()):
                raise FloatingPointError(f"{name} is not finite at step {progress.step}; nothing is saved")
        target = self.folder / f"step-{progress.step:08d}"
        if target.exists():
            return
        with publish(target, hashes=True) as folder:
            save_file(dict(weights), folder / "weights.safetensors")
            save_file(_moments(optimizer, names), folder / "optimizer.safetensors")
            if best:
                save_file(dict(best), folder / "best.safetensors")
            (folder / "progress.json").write_text(json.dumps(asdict(progress)) + "\n")
            (folder / "fingerprint.json").write_text(json.dumps(self.fingerprint, indent=1) + "\n")
        for old in self._complete()[: -self.keep]:
            shutil.rmtree(old)

    def load(self) -> tuple[Progress, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]] | None:
        """Progress, weights, moments and best weights of the newest checkpoint that verifies; None where there is none.

        Raises ValueError where it belongs to other settings or data, naming what changed.
        """
        for folder in reversed(self._complete()):
            try:
                verify(folder)
            except ValueError as error:
                log.warning("passing over %s: %s", folder.name, error)
                continue
            saved = json.loads((folder / "fingerprint.json").read_text())
            changed = [f"{key}: {saved.get(key)!r} -> {value!r}" for key, value in self.fingerprint.items() if saved.get(key) != value]
            if changed:
                raise ValueError(f"{folder} belongs to another run ({'; '.join(changed[:5])}); remove {self.folder} or name another output")
            progress = Progress(**json.loads((folder / "progress.json").read_text()))
            progress.history = [tuple(pair) for pair in progress.history]
            best = folder / "best.safetensors"
            return progress, load_file(folder / "weights.safetensors"), load_file(folder / "optimizer.safetensors"), load_file(best) if best.is_file() else {}
        return None

    def _complete(self) -> list[Path]:
        """Published checkpoints, oldest first. Anything else in the folder is left alone."""
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir() and (path / "files.json").is_file()) if self.folder.is_dir() else []


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
