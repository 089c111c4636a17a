"""Results: what the saved reports of a recipe say together, seed by seed and fold by fold, beside the best baseline and the goal; and tables of them.

Separate from `compare` and `alone`, the command lines, so that their `--help` answers without loading anything.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmrec.interactions import TEST
from llmrec.metrics import HEADLINES, LOWER_IS_BETTER

from .asking import RANDOM


ABOUT = ("command", "corpus", "data_hash", "audit_hash", "models", "recipes", "hashes", "seed", "limit", "history", "wording", "language", "fault", "versions")
"""What is kept of a report beside its figures."""


def slim(report: Mapping) -> dict[str, object]:
    """What counts of a report that eval.run wrote: its figures, whose they are, and how it was made; not the groups, curves and logs. Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
    rows = [{key: row[key] for key in ("task", "model", "metric", "filter", "split", "n")} | {key: None if row[key] is None else float(row[key]) for key in ("mean", "low", "high")} for row in report["rows"]]
    paired = [{key: row[key] for key in ("task", "model", "metric", "filter", "baseline", "mean", "low", "high")} for row in report["comparisons"]]
    counts = [{key: count[key] for key in ("task", "model", "family")} for count in report["counts"]]
    about = {key: report[key] for key in ABOUT}
    return {**about, **{name: dict(about[name].items()) for name in ("recipes", "hashes")}, "counts": counts, "rows": rows, "comparisons": paired}


def name_of(report: Mapping) -> str:
    """The file a report is kept in: one about the same models and the same data takes its place."""
    return f"{hashlib.sha256(json.dumps([report['data_hash'], sorted(report['hashes'].values())]).encode()).hexdigest()[:12]}.json"


def kept_reports(folder: Path) -> dict[str, dict[str, dict]]:
    """Suite -> name of a file -> report, with the suite's goals, of those that eval.compare has kept in `folder`. Raises ValueError naming a file that it did not write."""
    found: dict[str, dict[str, dict]] = {}
    for path in sorted(folder.glob("*/*.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault(path.parent.name, {})[path.name] = {**slim({"comparisons": [], **report}), "goals": report["goals"]}  # kept before comparisons were
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} is not what eval.compare kept: {error!r}; remove it, and give its report again") from None
    return found


@dataclass(frozen=True)
class Result:
    """One figure. mean: over seeds and folds.   spread: standard deviation over the seeds (of folds: mean of each fold's), None for one seed.   low, high: mean ends of the 95 % intervals over users, each of one seed and fold.
    baseline, baseline_figure: the best of the others on this metric.   ahead: ours minus that baseline's, with the ends of the paired interval over users, means as above; None where that pair was not compared question by question.   goal: such as ">= .064", None where the suite names none.
    """

    suite: str
    corpus: str
    task: str
    metric: str
    filter: str | None
    mean: float
    spread: float | None
    low: float | None
    high: float | None
    seeds: int
    n: int
    baseline: str | None
    baseline_figure: float | None
    ahead: tuple[float, float, float] | None
    goal: str | None
    holds: bool | None
    command: str
    data_hash: str
    audit_hash: str


def results(suite: str, reports: Sequence[Mapping], goals: Mapping[str, Mapping[str, str]]) -> list[Result]:
    """The figures of a suite: those its goals name; where it has none, the headline metrics.

    Raises ValueError for a goal that no report holds a figure for, or that is no comparison.
    """
    wanted = [(task, metric, goal) for task, metrics in goals.items() for metric, goal in metrics.items()]
    if not wanted:
        families = {count["task"]: count["family"] for report in reports for count in report["counts"]}
        wanted = [(task, metric, None) for task, family in families.items() for metric in HEADLINES[family]]
    found = []
    for task, metric, goal in wanted:
        folds = [_Fold.of(same, task, metric) for same in _by_data(suite, reports)]
        if not all(fold.own for fold in folds):
            raise ValueError(f"suite {suite!r}: a report holds no {metric} of {task} by its models")
        over = lambda column: statistics.mean(statistics.mean(row[column] for row in fold.own) for fold in folds)  # noqa: E731
        mean = over("mean")
        spreads = [statistics.stdev(row["mean"] for row in fold.own) for fold in folds if len(fold.own) > 1]
        bounded = all(row["low"] is not None for fold in folds for row in fold.own)
        ends = {end: over(end) if bounded else None for end in ("low", "high")}
        best = _best_over(folds, metric in LOWER_IS_BETTER)
        found.append(Result(
            suite, ", ".join(dict.fromkeys(report["corpus"] for report in reports)), task, metric, folds[0].own[0]["filter"], mean, statistics.mean(spreads) if spreads else None, **ends,
            seeds=min(len(fold.own) for fold in folds), n=sum(fold.own[0]["n"] for fold in folds), baseline=best[0], baseline_figure=best[1], ahead=_ahead(folds, best[0]), goal=goal, holds=None if goal is None else reaches(mean, goal),
            command="; ".join(report["command"] for report in reports), data_hash=" ".join(dict.fromkeys(report["data_hash"] for report in reports)), audit_hash=" ".join(dict.fromkeys(report["audit_hash"] for report in reports)),
        ))
    return found


def reaches(figure: float, goal: str) -> bool:
    """Whether a figure reaches a goal such as ">= .064". Raises ValueError for anything else."""
    sign, _, number = goal.partition(" ")
    try:
        limit = float(number)
    except ValueError:
        limit = None
    if sign not in (">=", "<=") or limit is None:
        raise ValueError(f"goal is {goal!r}; expected '>= NUMBER' or '<= NUMBER'")
    return figure >= limit if sign == ">=" else figure <= limit


@dataclass(frozen=True)
class _Fold:
    """The rows of one metric in one report: of its models, of its baselines by name, and of its models beside a baseline."""

    own: list[Mapping]
    others: dict[str, float]
    paired: list[Mapping]

    @classmethod
    def of(cls, reports: Sequence[Mapping], task: str, metric: str) -> _Fold:
        """Of reports about the same data, whose models are seeds of one recipe."""
        own, others, paired = [], {}, []
        for report in reports:
            rows = [row for row in report["rows"] if (row["task"], row["metric"]) == (task, metric) and row["mean"] is not None]
            rows = [row for row in rows if row["filter"] == rows[0]["filter"]]  # the first filter is the headline's
            own += [row for row in rows if row["model"] in report["models"]]
            others |= {row["model"]: row["mean"] for row in rows if row["model"] not in report["models"] and row["model"] != RANDOM}
            paired += [row for row in report["comparisons"] if rows and (row["task"], row["metric"], row["filter"]) == (task, metric, rows[0]["filter"]) and row["low"] is not None]
        return cls(own, others, paired)


def _by_data(suite: str, reports: Sequence[Mapping]) -> list[list[Mapping]]:
    """Reports of the same data together: those are seeds, reports of other data are folds. Raises ValueError for what may not be averaged or is no result."""
    if len({report["corpus"] for report in reports}) > 1:
        raise ValueError(f"suite {suite!r}: the reports are about several corpora ({', '.join(sorted({report['corpus'] for report in reports}))}); their figures have no mean")
    commands = [report["command"] for report in reports]
    twice = next((command for command in commands if commands.count(command) > 1), None)
    if twice is not None:
        raise ValueError(f"suite {suite!r}: the report of `{twice}` is given twice")
    groups: dict[str, list[Mapping]] = {}
    for report in reports:
        if not report["history"] or report["wording"] != "seen" or report["language"]:
            raise ValueError(f"suite {suite!r}: the report of `{report['command']}` asked its questions without histories or in other words; it stands beside a result and is none")
        if report["limit"] or any(row["split"] != TEST for row in report["rows"]):
            raise ValueError(f"suite {suite!r}: the report of `{report['command']}` is about a part or a sample of the questions; a result counts every test question")
        groups.setdefault(report["data_hash"], []).append(report)
    for same in groups.values():
        hashes = [told for report in same for told in report["hashes"].values() if told]
        if len({*hashes}) < len(hashes):
            raise ValueError(f"suite {suite!r}: two models of `{same[0]['command']}` are the same to the bit; seeds differ. Give each once")
    recipes = {recipe: report["command"] for report in reports for recipe in report["recipes"].values()}
    if len(recipes) > 1:
        raise ValueError(f"suite {suite!r}: the models of {' and of '.join(f'`{command}`' for command in recipes.values())} were trained with other settings; they are no seeds of one recipe. Give the reports that belong together, with --anew")
    return list(groups.values())


def _best_over(folds: Sequence[_Fold], lower: bool) -> tuple[str | None, float | None]:
    """The baseline with the best mean over the folds that all have it."""
    names = set.intersection(*(set(fold.others) for fold in folds))
    means = {name: statistics.mean(fold.others[name] for fold in folds) for name in sorted(names)}
    best = (min if lower else max)(means, key=means.__getitem__, default=None)
    return best, means.get(best)


def _ahead(folds: Sequence[_Fold], baseline: str | None) -> tuple[float, float, float] | None:
    """Difference, low and high, where every model was compared with this baseline."""
    pairs = [[row for row in fold.paired if baseline and fold.others.get(row["baseline"]) == fold.others[baseline]] for fold in folds]  # or with its equal
    if any(len(found) != len(fold.own) for found, fold in zip(pairs, folds)):
        return None
    return tuple(statistics.mean(statistics.mean(row[column] for row in found) for found in pairs) for column in ("mean", "low", "high"))


def write_page(rows: Sequence[Mapping]) -> str:
    """The results as Markdown: a table a suite."""
    parts = ["# Results\n\nWritten by `python -m eval.compare` from saved reports; do not edit. Full ranking, seen items left out where the task is next_item or search. Intervals of 95 % over users, the mean of each seed's (and fold's) own; ahead: ours minus the best baseline, question by question."]
    for suite in dict.fromkeys(row["suite"] for row in rows):
        mine = [row for row in rows if row["suite"] == suite]
        parts.append(f"\n## {suite}\n\nCorpus {mine[0]['corpus']}, data {mine[0]['data_hash']}, audit {mine[0]['audit_hash']}.\n\n```\n" + "\n".join(mine[0]["command"].split("; ")) + "\n```\n")
        parts.append("| task | metric | ours | spread | interval | seeds | best baseline | ahead | goal | |\n|---|---|---|---|---|---|---|---|---|---|")
        for row in mine:
            interval = f"{row['low']:.4f} to {row['high']:.4f}" if row["low"] is not None else ""
            baseline = f"{row['baseline_figure']:.4f} {row['baseline']}" if row["baseline"] else ""
            state = {None: "", True: "holds", False: "**missed**"}[row["holds"]]
            spread = f"±{row['spread']:.4f}" if row["spread"] is not None else ""
            ahead = "{:+.4f} ({:+.4f} to {:+.4f})".format(*row["ahead"]) if row.get("ahead") else ""
            parts.append(f"| {row['task']} | {row['metric']} | {row['mean']:.4f} | {spread} | {interval} | {row['seeds']} | {baseline} | {ahead} | {row['goal'] or ''} | {state} |")
    return "\n".join(parts) + "\n"


def gains_table(record: Mapping) -> str:
    """What eval.alone found, as Markdown."""
    lines = ["| task | metric | filter | alone | joint | joint - alone | spread | gain, per cent |", "|---|---|---|---|---|---|---|---|"]
    for row in record["rows"]:
        interval = f"({row['low']:+.4f} to {row['high']:+.4f})"
        gain = f"{row['gain']:+.1f}" if row["gain"] is not None else ""
        spread = f"±{row['spread']:.4f}" if row["spread"] is not None else ""
        lines.append(f"| {row['task']} | {row['metric']} | {row['filter'] or ''} | {row['alone']:.4f} | {row['joint']:.4f} | {row['difference']:+.4f} {interval} | {spread} | {gain} |")
    seeds = f"means over {record['seeds']} seeds with the standard deviation of the difference" if record["seeds"] > 1 else "one seed"
    return "\n".join([*lines, "", f"Part {record['part']}, {seeds}, intervals of 95 % over users; data {record['data_hash']}. The joint training read {record['joint_cost']:.2f} times as many tokens as all trainings alone together."]) + "\n"
