"""What studies ask of the models they have trained: headline figures, and differences between models with the same questions.

Separate from the studies themselves (`alone`, `ablation`, `wordings`), which say what is trained or worded, and from `asking`, whose loop it shares.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from llmrec.evaluation import contrast, score
from llmrec.exam import Predictor
from llmrec.metrics import HEADLINES, LOWER_IS_BETTER
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines

from .asking import exams_of, saved_answers
from .suite import Suite, chosen


def gains(
    suite: Suite, timelines: Timelines, tasks: Sequence[str], load: Callable[[str], Predictor], *, joint: str, seeds: Sequence[int], folder: Path, hashes: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, object]]:
    """For each task the headline figures of the joint model and of the one that learned it alone, means over the seeds, and joint minus alone with its interval; `spread` is the standard deviation of that over the seeds (None for one),
    `gain` is it in per cent of alone, positive where joint is better.

    load: the model NAME-SEED, where NAME is `joint` or a task's.   hashes: of these models, by the same names; see `asking.saved_answers`.
    """
    found = []
    for exam in exams_of(suite, timelines, [TASKS[name] for name in tasks]):
        names = [[f"{name}-{seed}" for seed in seeds] for name in (joint, exam.task)]
        paths = [[saved_answers(load(each), each, exam, folder=folder, data_hash=timelines.corpus.data_hash, model_hash=hashes.get(each, "")) for each in own] for own in names]
        singly = [contrast([one], [other], resamples=1) for one, other in zip(*paths)]
        for row in contrast(*paths, resamples=suite.resamples):
            by_seed = [each["difference"] for rows in singly for each in rows if each["metric"] == row["metric"]]
            better = -row["difference"] if row["metric"] in LOWER_IS_BETTER else row["difference"]
            found.append({
                **{key: row[key] for key in ("task", "metric", "filter", "difference", "low", "high")}, "joint": row["first"], "alone": row["second"],
                "spread": statistics.stdev(by_seed) if len(by_seed) > 1 else None, "gain": 100 * better / abs(row["second"]) if row["second"] else None,
            })
    return found


def headlines(suite: Suite, timelines: Timelines, model: Predictor, *, name: str, folder: Path, model_hash: str) -> dict[str, float | None]:
    """TASK/METRIC -> figure of the headline metrics, seen items left out where there is a choice, of every task the model answers and the corpus has questions for."""
    found: dict[str, float | None] = {}
    for exam in exams_of(suite, timelines, [TASKS[task] for task in model.tasks]):
        rows = score(saved_answers(model, name, exam, folder=folder, data_hash=timelines.corpus.data_hash, model_hash=model_hash), resamples=1).rows
        for metric in HEADLINES[exam.family]:
            mine = {row["filter"]: row["mean"] for row in rows if row["metric"] == metric}
            found[f"{exam.task}/{metric}"] = mine.get("on", next(iter(mine.values()), None))
    return found


def against_first(folder: Path, variants: Mapping[str, Sequence[str]], tasks: Mapping[str, Collection[str]], *, resamples: int) -> list[dict[str, object]]:
    """Each variant's headline figures minus those of the first, of tasks that both answered: means over its models (seeds), with the interval of a paired bootstrap over users.

    folder: of the saved answers.   variants: name -> names of its models.   tasks: name -> what these were asked; other answers in the folder are of other studies.
    """
    first, *others = variants
    paths = lambda name, task: [folder / f"{task}.{model}.parquet" for model in variants[name]]  # noqa: E731
    return [
        {"variant": name, **row} for name in others for task in tasks[first] if task in tasks[name] for row in contrast(paths(name, task), paths(first, task), resamples=resamples)
    ]


def answers(suite: Suite, timelines: Timelines, model: Predictor, *, name: str, folder: Path, model_hash: str) -> Path | None:
    """The saved answers of a model to the one task of the suite; None where the corpus has no questions for it."""
    for exam in exams_of(suite, timelines, [TASKS[task] for task in chosen(suite.tasks, TASKS, "task")]):
        return saved_answers(model, name, exam, folder=folder, data_hash=timelines.corpus.data_hash, model_hash=model_hash)
    return None
