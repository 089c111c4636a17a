"""What commands share before heavy imports: the arguments of training, trainings in processes of their own, errors as sentences, and how seldom garbage is looked for.

Separate from what is launched, so that `--help` answers without torch.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from llmrec.assets import folder_of
from llmrec.config import Settings, load_settings
from llmrec.exits import USAGE, exit_code, refuse_other_encodings, sentence


def arguments(command: str, doc: str, argv: list[str] | None) -> Settings:
    """The settings of `--config NAME_OR_PATH key=value ...`. Exits with 2 and a sentence for anything that does not fit."""
    parser = argparse.ArgumentParser(prog=f"accelerate launch -m {command}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="a shipped config (demo, tiny, own-data, or a public corpus) or the path of a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override the config's, such as data.corpus=corpora/mine output=runs/mine seed=1")
    options = parser.parse_args(argv)
    refuse_other_encodings()
    try:
        return load_settings(options.config, options.overrides)
    except (ValueError, FileNotFoundError) as error:
        parser.exit(USAGE, f"{command}: {error}\n")


def collect_seldom() -> None:
    """To be called once everything is loaded. Histories and answers are hundreds of thousands of small objects without cycles: looking through them for garbage took longer than making them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def run_training(phase: str, config: str | None, settings: Sequence[str], *, log: Path) -> tuple[int, dict[str, object]]:
    """Trains in a process of its own (what it leaves in memory goes with it): the exit status, and what the command printed ({} where it failed). log: the file of what it says meanwhile."""
    trainings = folder_of("train")  # of this very llmrec, whatever else is installed
    installed = trainings.parent == Path(__file__).parent
    command = [sys.executable, "-P", "-m", f"{'llmrec.' * installed}train.{phase}", *(["--config", config] if config else []), *settings]
    environment = dict(os.environ) if installed else {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(trainings.parent), os.environ.get("PYTHONPATH")]))}
    with open(log, "w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment)
        try:
            printed, _ = process.communicate()
        except KeyboardInterrupt:  # the training got it, too: it saves before it ends
            process.wait()
            raise
    return process.returncode, json.loads(printed) if process.returncode == 0 else {}


def guarded(main: Callable[..., None]) -> Callable[..., int]:
    """Turns the errors a user can mend into one sentence on stderr and an exit code. LLMREC_DEBUG=1 shows the traceback instead."""

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> int:
        try:
            main(argv)
            return 0
        except Exception as error:
            code = exit_code(error)
            if os.environ.get("LLMREC_DEBUG") or code == 1:
                raise
            sys.stderr.write(f"error: {sentence(error)}\n")
            return code

    return run
