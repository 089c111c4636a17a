"""What studies ask of the models they have trained: headline figures, and differences between models with the same questions.

Separate from the studies themselves (`alone`, `ablation`, `wordings`), which say what is trained or worded, and from `asking`, whose loop it shares.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from llmrec.evaluation import Background, contrast, score
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
    ask = lambda name, exam: saved_answers(load(name), name, exam, folder=folder, data_hash=timelines.corpus.data_hash, model_hash=hashes.get(name, ""))  # noqa: E731
    found = []
    for exam in exams_of(suite, timelines, [TASKS[name] for name in tasks]):
        paths = {name: [ask(f"{name}-{seed}", exam) for seed in seeds] for name in (joint, exam.task)}
        singly = [contrast([one], [other], resamples=1) for one, other in zip(*paths.values())]
        for place, row in enumerate(contrast(paths[joint], paths[exam.task], resamples=suite.resamples)):
            better = -row["difference"] if row["metric"] in LOWER_IS_BETTER else row["difference"]
            found.append({
                **{key: row[key] for key in ("task", "metric", "filter", "difference", "low", "high")}, "joint": row["first"], "alone": row["second"],
                "spread": statistics.stdev(rows[place]["difference"] for rows in singly) if len(singly) > 1 else None, "gain": 100 * better / abs(row["second"]) if row["second"] else None,
            })
    return found


def headlines(suite: Suite, timelines: Timelines, model: Predictor, *, name: str, folder: Path, model_hash: str) -> dict[str, float | None]:
    """TASK/METRIC -> figure of the headline metrics, seen items left out where there is a choice, of every task the model answers and the corpus has questions for."""
    background, found = Background.of(timelines), {}
    for exam in exams_of(suite, timelines, [TASKS[task] for task in model.tasks]):
        rows = score(saved_answers(model, name, exam, folder=folder, data_hash=timelines.corpus.data_hash, model_hash=model_hash), background, resamples=suite.resamples).rows
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


def answers(suite: Suite, timelines: Timelines, model: Predictor, *, name: str, folder: Path, model_hash: str) -> Path | None:
    """The saved answers of a model to the one task of the suite; None where the corpus has no questions for it."""
    for exam in exams_of(suite, timelines, [TASKS[task] for task in chosen(suite.tasks, TASKS, "task")]):
        return saved_answers(model, name, exam, folder=folder, data_hash=timelines.corpus.data_hash, model_hash=model_hash)
    return None
