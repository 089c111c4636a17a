"""The journal of a run: what it logs while it trains, for people and for tensorboard.

Separate from the loop, so that what a log is, and how one is cut where a resumed run goes on, stands in one place.
"""

from __future__ import annotations

import json
from pathlib import Path


class Journal:
    """The log of a run: JSON Lines always, tensorboard beside it. On resume what was logged after the checkpoint is cut off: losses behind `step`, and figures behind the validation at step `validated`."""

    def __init__(self, folder: Path, step: int, validated: int):
        from torch.utils.tensorboard import SummaryWriter  # 1 s to import, and only the main process writes

        folder.mkdir(parents=True, exist_ok=True)
        self.file = open(folder / "log.jsonl", "a+", encoding="utf-8")
        self.file.seek(0)
        self.file.truncate(_kept(self.file.buffer.read(), step, validated))
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def write(self, *, step: int, **figures: float) -> None:
        self.file.write(json.dumps({"step": step, **figures}) + "\n")
        self.file.flush()
        for name, value in figures.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        self.file.close()
        self.board.close()


def _kept(lines: bytes, step: int, validated: int) -> int:
    """How many bytes of a log stand before the first line that is torn or says what came after."""
    kept = 0
    for line in lines.split(b"\n")[:-1]:  # behind the last line end stands nothing, or a torn line
        try:
            said = json.loads(line)
            later = said["step"] > (step if "loss" in said else min(step, validated))
        except (ValueError, KeyError, TypeError):
            break
        if later:
            break
        kept += len(line) + 1
    return kept
