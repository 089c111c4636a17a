"""Searches settings on the valid part: each trial is a whole training with settings proposed by Optuna's TPE sampler.

    python -m train.tune --search collm-ml1m --trials 16 data.corpus=corpora/collm output=runs/collm/tune

A search file names a config, a phase and what may vary. OUTPUT/trials.jsonl holds one line a trial (its settings, valid figures, seconds); the same command goes on behind the last one.
The test part is never read. Only the best trial's model is kept, in OUTPUT/best.

Source: Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019; sampler: Bergstra et al., NeurIPS 2011.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from llmrec.assets import folder_of
from llmrec.config import Section, load_settings
from llmrec.exits import STOPPED
from llmrec.launch import guarded, run_training
from llmrec.metrics.criterion import criterion, lower_is_better

log = logging.getLogger("llmrec")


class Range(Section):
    """Numbers from low to high; log: drawn evenly in their logarithm; whole: integers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


class Search(Section):
    """What a search file says. space: a key of the settings to a Range, or to a list of values."""

    config: str
    phase: str = Field("pretrain", pattern="^(pretrain|finetune)$")
    space: dict[str, Range | list[Any]] = Field(min_length=1)


@guarded
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", required=True, metavar="NAME_OR_PATH", help="a shipped search or the path of a YAML file: config, phase, space")
    parser.add_argument("--trials", type=int, default=16, metavar="N", help="trainings in all, those of an earlier call included (default 16)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of every trial, such as data.corpus=corpora/mine output=runs/mine/tune")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    search = load_search(options.search)
    settings = load_settings(search.config, [*options.overrides, *(f"{key}={_text(_some(choices))}" for key, choices in search.space.items())])
    print(json.dumps(tune(search, options.overrides, settings.output, trials=options.trials, seed=settings.seed)))


def load_search(name: str) -> Search:
    """A shipped search by name, or the YAML at a path. Raises FileNotFoundError naming the shipped ones, ValueError for a file that is none."""
    shipped = {path.stem: path for path in sorted((folder_of("train") / "searches").glob("*.yaml"))}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise FileNotFoundError(f"there is no search {name!r}; shipped: {', '.join(shipped)}; or give the path of a .yaml file")
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}; expected config, phase and space")
    return Search.model_validate(values)


def tune(search: Search, overrides: list[str], output: Path, *, trials: int, seed: int) -> dict[str, object]:
    """Runs the trials that are still missing and returns the best line of trials.jsonl."""
    try:
        import optuna
    except ImportError:
        raise ValueError("a search needs Optuna: pip install 'llmrec[tune]'") from None

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    output.mkdir(parents=True, exist_ok=True)
    journal = output / "trials.jsonl"
    done = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()] if journal.is_file() else []
    distributions = {key: _distribution(optuna, choices) for key, choices in search.space.items()}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed + len(done), n_startup_trials=max(4, trials // 3)))
    for record in done:
        study.add_trial(_finished(optuna, record, distributions))
    while len(done) < trials:
        asked = study.ask(distributions)
        chosen = {key: asked.params[key] for key in search.space}
        record = _train(search, overrides, output, number=len(done), chosen=chosen)
        study.tell(asked, _gain(record), state=None if record["valid"] else optuna.trial.TrialState.FAIL)
        done.append(record)
        with open(journal, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        log.info("trial %d of %d: %s, %s", len(done), trials, record["criterion"], ", ".join(f"{key}={_text(value)}" for key, value in chosen.items()))
        _keep_best(done, output)
    return _best(done)


def _train(search: Search, overrides: list[str], output: Path, *, number: int, chosen: dict[str, object]) -> dict[str, object]:
    folder = output / f"trial-{number:03d}"
    settings = [*overrides, *(f"{key}={_text(value)}" for key, value in chosen.items()), f"output={folder}", "overwrite=true"]
    started = time.monotonic()
    code, printed = run_training(search.phase, search.config, settings, log=output / f"trial-{number:03d}.log")
    if code == STOPPED:  # saved: the same command goes on with it
        sys.exit(STOPPED)
    valid = printed.get("valid", {})
    return {
        "trial": number, "settings": chosen, "criterion": criterion(valid) if valid else None, "valid": valid, "seconds": round(time.monotonic() - started),
        "exit": code,
    }


def _gain(record: dict) -> float | None:
    """What a search makes as large as it can; None for a trial without figures."""
    return None if not record["valid"] else -record["criterion"] if lower_is_better(record["valid"]) else record["criterion"]


def _best(done: list[dict]) -> dict[str, object]:
    found = [record for record in done if record["valid"]]
    if not found:
        raise ValueError(f"no trial of {len(done)} ended with a figure; their logs stand beside trials.jsonl")
    return max(found, key=_gain)


def _keep_best(done: list[dict], output: Path) -> None:
    """The newest model becomes OUTPUT/best where it is the best so far, and goes otherwise."""
    folder = output / f"trial-{done[-1]['trial']:03d}"
    if not folder.is_dir():
        return
    if _best(done) is done[-1]:
        shutil.rmtree(output / "best", ignore_errors=True)
        folder.rename(output / "best")
    else:
        shutil.rmtree(folder)


def _distribution(optuna, choices: Range | list):
    if isinstance(choices, list):
        return optuna.distributions.CategoricalDistribution(choices)
    if choices.whole:
        return optuna.distributions.IntDistribution(int(choices.low), int(choices.high), log=choices.log)
    return optuna.distributions.FloatDistribution(choices.low, choices.high, log=choices.log)


def _finished(optuna, record: dict, distributions: dict):
    state = optuna.trial.TrialState.COMPLETE if record["valid"] else optuna.trial.TrialState.FAIL
    return optuna.trial.create_trial(state=state, value=_gain(record), params=record["settings"], distributions=distributions)


def _some(choices: Range | list) -> object:
    """A value that may come, to see that the settings take it."""
    return choices[0] if isinstance(choices, list) else int(choices.low) if choices.whole else choices.low


def _text(value: object) -> str:
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
