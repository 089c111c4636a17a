"""A suite of exams: which questions are asked of which models, and the loop that asks them.

Separate from `run`, the command line, so that a suite can be run from Python with any models, and so that `--help` answers without loading anything.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType

import polars as pl
import yaml
from polars.exceptions import PolarsError

import llmrec
from llmrec.audit.examples import audit_examples
from llmrec.audit.finding import Audit, Finding
from llmrec.audit.models import foreign_answers, popularity_of_all
from llmrec.baselines import BASELINES
from llmrec.baselines.baseline import Baseline
from llmrec.evaluation import Background, Report, best_model, compare, contrast, evaluate, score
from llmrec.exam import Exam, Predictor, save_predictions
from llmrec.interactions import PARTS, TEST, VALID
from llmrec.metrics import HEADLINES, LOWER_IS_BETTER, METRICS
from llmrec.metrics.statistic import RESAMPLES
from llmrec.predictions import HeldOut
from llmrec.report import versions
from llmrec.tasks import TASKS, Task
from llmrec.timelines import Timelines

from .null_run import null_fault

ALL = "all"
RANDOM = "random"
TUNED_ON = 2_000
SUITES = Path(__file__).parent / "suites"


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


class NullRunError(Exception):
    """The random model scored above chance. `report` is what was measured."""

    def __init__(self, message: str, report: Report):
        super().__init__(message)
        self.report = report


def evaluate_suite(
    suite: Suite, timelines: Timelines, models: Mapping[str, Predictor], *,
    folder: Path, hashes: Mapping[str, str] = MappingProxyType({}), tasks: Mapping[str, Task] = TASKS, baselines: Mapping[str, type[Baseline]] = BASELINES,
) -> Report:
    """Asks every model and baseline the questions of every task, and the random baseline too, chosen or not; saves predictions in `folder`/predictions and
    returns what they score. Answers that stand there already, of the same model to the same questions by the same code, are taken, so that a stopped evaluation goes on.

    A model is asked the tasks in its `tasks`, if it has that attribute, else all of them. Baselines are fitted once, on train. Each model is compared with
    the best baseline of the task. The questions, the popularities that are counted and the saved answers are searched for leaks; what is found is said at
    once and stands in the report. hashes: model name -> the hash its answers are saved with.

    Raises:
        NullRunError: the random model is far above chance, once everything is measured.
        ValueError: a name in the suite is not one of the tables', or there is nothing to ask.
    """
    taken = sorted(set(models) & set(baselines))
    if taken:
        raise ValueError(f"a model is named {taken[0]!r}, as a baseline is; give it another name, for predictions are kept by name")
    chosen = _chosen(suite.tasks, tasks, "task")
    wanted = {*_chosen(suite.baselines, baselines, "baseline"), RANDOM}
    fitted = _Fitted(timelines, {name: kind for name, kind in baselines.items() if name in wanted}, suite.seed, tasks)
    background = Background.of(timelines)
    report, faults, code = Report(), [], _code_hash()
    for exam in _exams(suite, timelines, [tasks[name] for name in chosen]):
        entrants = {name: model for name, model in models.items() if exam.task in getattr(model, "tasks", (exam.task,))}
        if not entrants:
            _say(f"{exam.task}: left out, no model was made with it")
            continue
        entrants |= fitted.serving(exam.task)
        found = _audited(f"questions of {exam.task}", audit_examples(timelines, {exam.task: exam.held_out}, exam.part))
        saved: list[Finding | None] = []
        for name, model in entrants.items():
            about = {"data_hash": timelines.corpus.data_hash, "model_hash": hashes.get(name, "")}
            found += _measured(model, name, exam, folder / "predictions", background, suite.resamples, {**about, "code_hash": code, "asked": exam.fingerprint, "wording": str(getattr(model, "wording", ""))})
            saved.append(foreign_answers(folder / "predictions" / f"{exam.task}.{name}.parquet", exam.held_out, model=name, **about))
        found += _audited(f"answers to {exam.task}", _audit_of(saved))
        faults.append(null_fault(exam, [row for row in found.rows if row["model"] == RANDOM], num_items=len(timelines.corpus.catalog)))
        report += found + _compared(exam, found, [name for name in entrants if name in models], folder / "predictions", suite.resamples)
    counted = {"report": background.popularity} | {name: baseline.popularity for name, baseline in fitted.fitted.items() if hasattr(baseline, "popularity")}
    report += _audited("popularity", _audit_of([popularity_of_all(popularity, timelines) for popularity in counted.values()]))
    if not report.rows:
        raise ValueError(f"nothing was asked: none of the tasks {', '.join(chosen)} is allowed by both the corpus and a model")
    if any(faults):
        raise NullRunError(" | ".join(fault for fault in faults if fault), report)
    return report


def gains(suite: Suite, timelines: Timelines, tasks: Sequence[str], load: Callable[[str], Predictor], *, joint: str, seeds: Sequence[int], folder: Path) -> list[dict[str, object]]:
    """For each task the headline figures of the joint model and of the one that learned it alone, means over the seeds, and joint minus alone with its interval; `spread` is the standard deviation of that over the seeds (None for one),
    `gain` is it in per cent of alone, positive where joint is better.

    load: the model NAME-SEED, where NAME is `joint` or a task's.
    """
    found = []
    for exam in _exams(suite, timelines, [TASKS[name] for name in tasks]):
        paths = {name: [save_predictions(load(f"{name}-{seed}"), f"{name}-{seed}", exam, folder=folder / "predictions") for seed in seeds] for name in (joint, exam.task)}
        singly = [contrast([one], [other], resamples=1) for one, other in zip(*paths.values())]
        for place, row in enumerate(contrast(paths[joint], paths[exam.task], resamples=suite.resamples)):
            better = -row["difference"] if row["metric"] in LOWER_IS_BETTER else row["difference"]
            found.append({
                **{key: row[key] for key in ("task", "metric", "filter", "difference", "low", "high")}, "joint": row["first"], "alone": row["second"],
                "spread": statistics.stdev(rows[place]["difference"] for rows in singly) if len(singly) > 1 else None, "gain": 100 * better / abs(row["second"]) if row["second"] else None,
            })
    return found


def headlines(suite: Suite, timelines: Timelines, model: Predictor, *, name: str, folder: Path) -> dict[str, float | None]:
    """TASK/METRIC -> figure of the headline metrics, seen items left out where there is a choice, of every task the model answers and the corpus has questions for."""
    background, found = Background.of(timelines), {}
    for exam in _exams(suite, timelines, [TASKS[task] for task in model.tasks]):
        rows = _measured(model, name, exam, folder / "predictions", background, suite.resamples, {}).rows
        for metric in HEADLINES[exam.family]:
            mine = {row["filter"]: row["mean"] for row in rows if row["metric"] == metric}
            found[f"{exam.task}/{metric}"] = mine.get("on", next(iter(mine.values()), None))
    return found


def against_first(folder: Path, variants: Mapping[str, Sequence[str]], *, resamples: int) -> list[dict[str, object]]:
    """Each variant's headline figures minus those of the first, of tasks that both answered: means over its models (seeds), with the interval of a paired bootstrap over users.

    folder: of the saved answers.   variants: name -> names of its models.
    """
    first, *others = variants
    tasks = [path.name.partition(".")[0] for path in sorted(folder.glob(f"*.{variants[first][0]}.parquet"))]
    found = []
    for name in others:
        for task in tasks:
            paths, own = ([folder / f"{task}.{model}.parquet" for model in variants[each]] for each in (name, first))
            if all(path.is_file() for path in paths):
                found += [{"variant": name, **row} for row in contrast(paths, own, resamples=resamples)]
    return found


def answers(suite: Suite, timelines: Timelines, model: Predictor, *, name: str, folder: Path) -> Path | None:
    """The saved answers of a model to the one task of the suite; None where the corpus has no questions for it."""
    for exam in _exams(suite, timelines, [TASKS[task] for task in _chosen(suite.tasks, TASKS, "task")]):
        return save_predictions(model, name, exam, folder=folder / "predictions")
    return None


class _Fitted:
    """Baselines, fitted when first needed and kept for the next task. One that is tuned on questions (its `fit` takes `valid`) gets those of valid."""

    def __init__(self, timelines: Timelines, classes: Mapping[str, type[Baseline]], seed: int, tasks: Mapping[str, Task]):
        self.timelines, self.classes, self.seed, self.tasks = timelines, classes, seed, tasks
        self.fitted: dict[str, Baseline | None] = {}

    def serving(self, task: str) -> dict[str, Baseline]:
        """The baselines that answer this task, by name."""
        fitted = {name: self._fit(name) for name, kind in self.classes.items() if task in kind.tasks}
        return {name: baseline for name, baseline in fitted.items() if baseline is not None}

    def _fit(self, name: str) -> Baseline | None:
        if name not in self.fitted:
            start = time.monotonic()
            try:
                kind = self.classes[name]
                asked = {"valid": self._valid(kind)} if "valid" in inspect.signature(kind.fit).parameters else {}
                baseline = kind().fit(self.timelines, seed=self.seed, **asked)
                settings = getattr(baseline, "settings", None)
                _say(f"baseline {name}: fitted in {time.monotonic() - start:.1f} s{f', {settings}' if settings else ''}")
            except (ImportError, ValueError) as error:
                # Its extra is not installed, or train lacks what it learns from: the others are still worth measuring.
                baseline = None
                _say(f"baseline {name}: left out. {error}")
            self.fitted[name] = baseline
        return self.fitted[name]

    def _valid(self, kind: type[Baseline]) -> list[HeldOut]:
        """The valid questions of a baseline's tasks, of at most TUNED_ON users."""
        questions = []
        for task in (self.tasks[name] for name in kind.tasks if name in self.tasks):
            held_out = () if task.reason_absent(self.timelines.corpus) else tuple(task.held_out(self.timelines, VALID, self.seed))
            if held_out:
                questions += Exam(task.name, task.family, held_out, candidates=task.candidates, part=VALID, seed=self.seed).of_users(TUNED_ON).held_out
        return questions


def _exams(suite: Suite, timelines: Timelines, tasks: Sequence[Task]) -> Iterator[Exam]:
    for task in tasks:
        reason = task.reason_absent(timelines.corpus)
        held_out = () if reason else tuple(task.held_out(timelines, suite.part, suite.seed))
        if not held_out:
            _say(f"{task.name}: left out, {reason or f'the part {suite.part!r} holds no question'}")
            continue
        if suite.language:
            held_out = tuple(replace(example, request=replace(example.request, language=suite.language)) for example in held_out)
        if not suite.history:
            held_out = tuple(replace(example, request=replace(example.request, history=())) for example in held_out)
        yield Exam(task.name, task.family, held_out, candidates=task.candidates, part=suite.part, seed=suite.seed).of_users(suite.limit)


def _audited(subject: str, audit: Audit) -> Report:
    for finding in audit.findings:
        _say(f"audit, {finding.severity}: {finding.sentence}")
    return Report(audit=[{"subject": subject, **audit.to_json()}])


def _audit_of(found: Sequence[Finding | None]) -> Audit:
    return Audit(tuple(finding for finding in found if finding is not None), {"looked at": len(found)})


def _measured(model: Predictor, name: str, exam: Exam, folder: Path, background: Background, resamples: int, about: Mapping[str, str]) -> Report:
    path = folder / f"{exam.task}.{name}.parquet"
    if about.get("model_hash") and _stands(path, {**about, "model": name}):
        _say(f"{exam.task} | {name}: its answers stand there already")
        report = score(path, background, resamples=resamples)
    else:
        report = evaluate(model, name, exam, folder=folder, background=background, resamples=resamples, about=about)
    for count in report.counts:
        if count["errors"]:
            _say(f"{exam.task} | {name}: {count['errors']} of {count['n']} questions got no answer and count as wrong, such as: {count['example']}")
    return report


def _stands(path: Path, about: Mapping[str, str]) -> bool:
    """Whether the saved answers are those of this model to these questions. A file that cannot be read is asked for again."""
    try:
        return path.is_file() and about.items() <= pl.read_parquet_metadata(path).items()
    except (OSError, PolarsError):
        return False


def _code_hash() -> str:
    """Of what answers follow from beside model and data: our own code, and the versions it runs on."""
    package = Path(llmrec.__file__).parent
    parts = [f"{path.relative_to(package)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256("\n".join([*parts, repr(sorted(versions().items()))]).encode()).hexdigest()[:16]


def _compared(exam: Exam, found: Report, models: Sequence[str], folder: Path, resamples: int) -> Report:
    """Each model against the best baseline of the task; nothing where the task has none."""
    others = [count["model"] for count in found.counts if count["model"] not in models and count["model"] != RANDOM]
    best = best_model(found.rows, task=exam.task, family=exam.family, among=others)
    report = Report()
    for name in models if best else ():
        report += compare(folder / f"{exam.task}.{name}.parquet", folder / f"{exam.task}.{best}.parquet", resamples=resamples)
    return report


def _chosen(names: tuple[str, ...] | str, table: Mapping[str, object], noun: str) -> list[str]:
    """The names a suite asks for, in the table's order."""
    for name in names if names != ALL else ():
        if name not in table:
            close = difflib.get_close_matches(name, table, n=1)
            raise ValueError(f"unknown {noun} {name!r}{f'; did you mean {close[0]!r}?' if close else ''}. Available: {', '.join(table)}")
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


def _say(message: str) -> None:
    print(message, file=sys.stderr)
