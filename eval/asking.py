"""The questions of a suite put to models and baselines, and what their answers score.

Separate from `run`, the command line, so that a suite can be asked from Python with any models, and so that `--help` answers without loading anything.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import polars as pl
from polars.exceptions import PolarsError

import llmrec
from llmrec.audit.examples import audit_examples
from llmrec.audit.finding import Audit, Finding
from llmrec.audit.models import foreign_answers, popularity_of_all
from llmrec.baselines import BASELINES
from llmrec.baselines.baseline import Baseline
from llmrec.evaluation import Background, Report, best_model, compare, score
from llmrec.exam import Exam, Predictor, save_predictions
from llmrec.interactions import VALID
from llmrec.predictions import HeldOut
from llmrec.report import versions
from llmrec.tasks import TASKS, Task
from llmrec.timelines import Timelines

from .null_run import null_fault
from .suite import Suite, SuiteError, chosen

RANDOM, LEAKING = "random", "leaking"
TUNED_ON = 2_000


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
    returns what they score. Answers that stand there already, of the same model or baseline to the same questions by the same code, are taken, so that a stopped evaluation goes on, and a further seed stands beside baselines that were asked before.

    A model is asked the tasks in its `tasks`, if it has that attribute, else all of them. Baselines are fitted once, on train, where answers of theirs are wanting. Each model is compared with
    the best baseline of the task. The questions, the popularities that are counted and the saved answers are searched for leaks; what is found is said at
    once and stands in the report. hashes: model name -> the hash its answers are saved with.

    Raises:
        NullRunError: the random model is far above chance, once everything is measured.
        SuiteError: a name in the suite is not one of the tables', or there is nothing to ask.
    """
    taken = sorted(set(models) & set(baselines))
    if taken:
        raise SuiteError(f"a model is named {taken[0]!r}, as a baseline is; give it another name, for predictions are kept by name")
    names = chosen(suite.tasks, tasks, "task")
    wanted = {*chosen(suite.baselines, baselines, "baseline"), RANDOM}
    fitted = _Fitted(timelines, {name: kind for name, kind in baselines.items() if name in wanted}, suite.seed, tasks)
    background = Background.of(timelines)
    report, faults = Report(), []
    for exam in exams_of(suite, timelines, [tasks[name] for name in names]):
        entrants = {name: model for name, model in models.items() if exam.task in getattr(model, "tasks", (exam.task,))}
        if not entrants:
            _say(f"{exam.task}: left out, no model was made with it")
            continue
        found = _audited(f"questions of {exam.task}", audit_examples(timelines, {exam.task: exam.held_out}, exam.part))
        saved: list[Finding | None] = []
        for name in (*entrants, *fitted.serving(exam.task)):
            about = {"data_hash": timelines.corpus.data_hash, "model_hash": hashes.get(name, "")}
            path = standing_answers("", name, exam, folder=folder, **about) if fitted.is_ours(name) else None
            if path is None:
                model = entrants[name] if name in entrants else fitted[name]
                if model is None:
                    continue
                if name in fitted.leaks:
                    about["model_hash"] = LEAKING  # so that it is asked, and found, again
                path = saved_answers(model, name, exam, folder=folder, **about)
            found += _scored(path, background, suite.resamples)
            saved.append(foreign_answers(path, exam.held_out, model=name, **about))
        found += _audited(f"answers to {exam.task}", _audit_of(saved))
        faults.append(null_fault(exam, [row for row in found.rows if row["model"] == RANDOM], num_items=len(timelines.corpus.catalog)))
        report += found + _compared(exam, found, [name for name in entrants if name in models], folder / "predictions", suite.resamples)
    report += _audited("popularity", _audit_of([popularity_of_all(background.popularity, timelines), *fitted.leaks.values()]))
    if not report.rows:
        raise SuiteError(f"nothing was asked: none of the tasks {', '.join(names)} is allowed by both the corpus and a model")
    if any(faults):
        raise NullRunError(" | ".join(fault for fault in faults if fault), report)
    return report


def exams_of(suite: Suite, timelines: Timelines, tasks: Sequence[Task]) -> Iterator[Exam]:
    """The exam of each of these tasks that the corpus has questions for; what is left out is said."""
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


def saved_answers(model: Predictor, name: str, exam: Exam, *, folder: Path, data_hash: str, model_hash: str) -> Path:
    """The file of a model's answers in `folder`/predictions. What stands there already is taken if the same model gave it to the same questions by the same code; model_hash: "" for a model that has none, and is asked again."""
    wording = str(getattr(model, "wording", ""))
    path = standing_answers(wording, name, exam, folder=folder, data_hash=data_hash, model_hash=model_hash) if model_hash else None
    return path or save_predictions(model, name, exam, folder=folder / "predictions", about=_about(wording, exam, data_hash, model_hash))


def standing_answers(wording: str, name: str, exam: Exam, *, folder: Path, data_hash: str, model_hash: str) -> Path | None:
    """The file of answers that stands in `folder`/predictions already, if they are those of this model, asked in this wording, to these questions, by the same code."""
    path = folder / "predictions" / f"{exam.task}.{name}.parquet"
    if not _stands(path, {**_about(wording, exam, data_hash, model_hash), "model": name, "seed": str(exam.seed)}):
        return None
    _say(f"{exam.task} | {name}: its answers stand there already")
    return path


def _about(wording: str, exam: Exam, data_hash: str, model_hash: str) -> dict[str, str]:
    return {"data_hash": data_hash, "model_hash": model_hash, "code_hash": _code_hash(), "asked": exam.fingerprint, "wording": wording}


class _Fitted:
    """Baselines, fitted when first needed and kept for the next task. One that is tuned on questions (its `fit` takes `valid`) gets those of valid.

    leaks: those that counted other events than train's, by name.
    """

    def __init__(self, timelines: Timelines, classes: Mapping[str, type[Baseline]], seed: int, tasks: Mapping[str, Task]):
        self.timelines, self.classes, self.seed, self.tasks = timelines, classes, seed, tasks
        self.fitted: dict[str, Baseline | None] = {}
        self.leaks: dict[str, Finding] = {}

    def serving(self, task: str) -> list[str]:
        """The names of the baselines that answer this task."""
        return [name for name, kind in self.classes.items() if task in kind.tasks]

    def is_ours(self, name: str) -> bool:
        """Whether the hash of our code stands for all that its answers follow from beside the data."""
        return name in self.classes and self.classes[name].__module__.split(".")[0] == llmrec.__name__

    def __getitem__(self, name: str) -> Baseline | None:
        """The baseline; None for one that cannot be fitted here."""
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
            leak = popularity_of_all(baseline.popularity, self.timelines) if hasattr(baseline, "popularity") else None
            self.fitted[name] = baseline
            self.leaks |= {name: leak} if leak is not None else {}
        return self.fitted[name]

    def _valid(self, kind: type[Baseline]) -> list[HeldOut]:
        """The valid questions of a baseline's tasks, of at most TUNED_ON users."""
        questions = []
        for task in (self.tasks[name] for name in kind.tasks if name in self.tasks):
            held_out = () if task.reason_absent(self.timelines.corpus) else tuple(task.held_out(self.timelines, VALID, self.seed))
            if held_out:
                questions += Exam(task.name, task.family, held_out, candidates=task.candidates, part=VALID, seed=self.seed).of_users(TUNED_ON).held_out
        return questions


def _audited(subject: str, audit: Audit) -> Report:
    for finding in audit.findings:
        _say(f"audit, {finding.severity}: {finding.sentence}")
    return Report(audit=[{"subject": subject, **audit.to_json()}])


def _audit_of(found: Sequence[Finding | None]) -> Audit:
    return Audit(tuple(finding for finding in found if finding is not None), {"looked at": len(found)})


def _scored(path: Path, background: Background, resamples: int) -> Report:
    report = score(path, background, resamples=resamples)
    for count in report.counts:
        if count["errors"]:
            _say(f"{count['task']} | {count['model']}: {count['errors']} of {count['n']} questions got no answer and count as wrong, such as: {count['example']}")
    return report


def _stands(path: Path, about: Mapping[str, str]) -> bool:
    """Whether the saved answers are those of this model to these questions. A file that cannot be read is asked for again."""
    try:
        return path.is_file() and about.items() <= pl.read_parquet_metadata(path).items()
    except (OSError, PolarsError):
        return False


@functools.cache
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


def _say(message: str) -> None:
    print(message, file=sys.stderr)
