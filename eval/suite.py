"""What a suite of exams says: which tasks are asked of whom, on which part, and with which goals; read from YAML and checked.

Separate from `asking`, which asks: what a suite may say is known without loading any model.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml

from llmrec.interactions import PARTS, TEST
from llmrec.metrics import METRICS
from llmrec.metrics.statistic import RESAMPLES
from llmrec.tasks import TASKS

ALL = "all"
SUITES = Path(__file__).parent / "suites"


class SuiteError(ValueError):
    """A suite asks for what is not there: not to be taken for an error of whoever answers."""


@dataclass(frozen=True)
class Suite:
    """The settings of a suite, one key each in its YAML (`data.corpus` is `corpus` here); see suites/standard.yaml for what they mean."""

    corpus: str | None = None
    tasks: tuple[str, ...] | str = ALL
    baselines: tuple[str, ...] | str = ALL
    part: str = TEST
    limit: int = 0
    seed: int = 0
    language: str | None = None
    history: bool = True
    wording: str = "seen"
    batch_tokens: int = 16_384
    resamples: int = RESAMPLES
    goals: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str, overrides: Sequence[str] = ()) -> Suite:
        """The suite of this name in eval/suites, or at this path, with `key=value` overrides.

        Raises:
            FileNotFoundError: there is no such suite.
            ValueError: a key or a value is not one of a suite's.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else SUITES / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in SUITES.glob("*.yaml")))
            raise FileNotFoundError(f"no suite {name!r}: {path} is missing. Available: {known}, or the path of a YAML file")
        written = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        goals = _checked_goals(written.pop("goals", None) or {})
        settings = _flatten(written)
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise ValueError(f"{override!r} is no override; expected key=value, such as limit=1000")
            settings[key] = yaml.safe_load(value) if value else None
        return cls(**{_checked_key(key): _checked(key, value) for key, value in settings.items()}, goals=goals)


def chosen(names: tuple[str, ...] | str, table: Mapping[str, object], noun: str) -> list[str]:
    """The names a suite asks for, in the table's order."""
    for name in names if names != ALL else ():
        if name not in table:
            close = difflib.get_close_matches(name, table, n=1)
            raise SuiteError(f"unknown {noun} {name!r}{f'; did you mean {close[0]!r}?' if close else ''}. Available: {', '.join(table)}")
    return [name for name in table if names == ALL or name in names]


def _flatten(settings: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in settings.items():
        flat |= {f"{key}.{inner}": each for inner, each in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def _checked_goals(goals: object) -> dict[str, dict[str, str]]:
    """Goals as task -> metric -> such as ">= .064", which eval.compare reads."""
    if not isinstance(goals, Mapping) or not all(isinstance(metrics, Mapping) for metrics in goals.values()):
        raise ValueError(f"goals is {goals!r}; expected a mapping such as {{next_item: {{ndcg@10: '>= .064'}}}}")
    unknown = [task for task in goals if task not in TASKS]
    if unknown:
        raise ValueError(f"goals names the task {unknown[0]!r}; available: {', '.join(TASKS)}")
    for task, metrics in goals.items():
        foreign = [metric for metric in metrics if metric not in METRICS[TASKS[task].family]]
        if foreign:
            raise ValueError(f"goals names {foreign[0]!r} for {task}; it is judged by: {', '.join(METRICS[TASKS[task].family])}")
    return {task: {metric: str(goal) for metric, goal in metrics.items()} for task, metrics in goals.items()}


def _checked_key(key: str) -> str:
    names = {"data.corpus" if f.name == "corpus" else f.name: f.name for f in fields(Suite) if f.name != "goals"}  # goals are no setting of a run
    if key not in names:
        close = difflib.get_close_matches(key, names, n=1)
        raise ValueError(f"unknown setting {key!r}{f'; did you mean {close[0]!r}?' if close else ''}. A suite has: {', '.join(names)}")
    return names[key]


def _checked(key: str, value: object) -> object:
    """The value as a Suite holds it. A list may be written `a,b` on the command line."""
    if key in ("tasks", "baselines"):
        if value == ALL:
            return ALL
        names = value.split(",") if isinstance(value, str) else value
        if names is None or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{key} is {value!r}; expected `all` or a list of names")
        return tuple(name.strip() for name in names)
    if key in ("limit", "seed", "resamples", "batch_tokens"):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{key} is {value!r}; expected a whole number, 0 or more")
    if key == "part" and value not in PARTS:
        raise ValueError(f"part is {value!r}; expected one of {', '.join(PARTS)}")
    if key == "history" and not isinstance(value, bool):
        raise ValueError(f"history is {value!r}; expected true or false")
    if key == "wording" and value not in ("seen", "unseen"):
        raise ValueError(f"wording is {value!r}; expected seen or unseen")
    if key in ("data.corpus", "language"):
        return None if value is None else str(value)
    return value
