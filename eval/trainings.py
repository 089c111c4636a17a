"""The trainings of a study, each done once, with what it was told beside it, so that a stopped study goes on; and the page a study writes.

Separate from the studies (`alone`, `scaling`, `ablation`), which say what is to be trained and what is asked of it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

from llmrec.config import load_settings
from llmrec.interactions import sha256
from llmrec.launch import run_training
from llmrec.publishing import publish_text


VALIDATIONS = 15
"""Of a training that is compared with others."""


def train_once(phase: str, config: str | None, settings: Sequence[str], output: Path, *, model: bool = True) -> tuple[int, dict[str, object]]:
    """Trains a model at `output`, unless the same training has stood there: its exit status, and `valid` (figures of its best step), `parameters`, `steps` and `seconds` ({} where it failed).

    The same is what has the same resolved settings, data and base. What a training says goes to OUTPUT.log, what it was told and the record to OUTPUT.json. seconds: None for one that was stopped and went on, for nobody has counted them.
    model: whether the model itself is needed, too, and trained again where it is gone; False: its record is enough.
    """
    kept, told, going_on = output.with_name(f"{output.name}.json"), _told(phase, config, settings, output), output.with_name(f"{output.name}.run").exists()
    if kept.is_file() and (output.is_dir() or not model) and (record := json.loads(kept.read_text(encoding="utf-8"))).pop("told", None) == told:
        return 0, record
    output.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)  # a training that is broken off leaves no record of another one beside it
    begun = time.monotonic()
    code, printed = run_training(phase, config, [*settings, f"output={output}", "overwrite=true"], log=output.with_name(f"{output.name}.log"))
    if code:
        return code, {}
    record = {"valid": printed["valid"], "parameters": _parameters(output), "steps": printed["steps"], "seconds": None if going_on else round(time.monotonic() - begun, 1)}
    publish_text(kept, json.dumps({**record, "told": told}) + "\n")
    return 0, record


def as_long(phase: str, max_steps: int) -> list[str]:
    """The overrides that let a training have all its steps however small its data, validated evenly on the way: its best step is chosen among as many as any other's."""
    return [f"{phase}.epochs=1000000", f"{phase}.validation.every_steps={math.ceil(max_steps / VALIDATIONS)}", f"{phase}.validation.patience={VALIDATIONS + 1}"]


def write_study(out: Path, record: dict[str, object], table: str) -> None:
    """Writes OUT.json, and OUT.md with the command, which the record holds, above the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(f"# {out.name.capitalize()}\n\nWritten by the command; do not edit.\n\n```\n{record['command']}\n```\n\n{table}", encoding="utf-8")


def _told(phase: str, config: str | None, settings: Sequence[str], output: Path) -> dict[str, object]:
    """What decides what a training comes to, but for the code itself."""
    resolved = load_settings(config, [*settings, f"output={output}"])
    manifest, base = Path(resolved.data.corpus) / "manifest.json", Path(resolved.model.base)
    listing = [base / "files.json"] if (base / "files.json").is_file() else sorted(path for path in base.glob("*") if path.suffix in (".safetensors", ".json"))
    return {
        "phase": phase, "settings": resolved.model_dump(mode="json", exclude={"output", "overwrite"}, exclude_defaults=True),  # a setting that comes later leaves what was trained as it is
        "data_hash": json.loads(manifest.read_text(encoding="utf-8"))["data_hash"] if manifest.is_file() else None,
        "base": {path.name: sha256(path) for path in listing},
    }


def _parameters(folder: Path) -> int:
    """How many numbers the plain model holds."""
    from safetensors import safe_open

    plain = folder / "merged" if (folder / "merged").is_dir() else folder
    total = 0
    for path in sorted(plain.glob("model*.safetensors")):
        with safe_open(path, "numpy") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
    return total
