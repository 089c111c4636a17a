"""Scores saved answers: a file of predictions becomes the rows of a report.

Separate from the metrics, which know arrays and no files, and from `exam`, which asks the models. Scoring reads the saved file, never a model, so every
figure can be repeated from it.

    HeldOut -> Exam --predict--> predictions/TASK.MODEL.parquet --score--> Report (rows, groups, comparisons, curves)

The protocol, wherever it makes a choice:
- Every question counts. No answer, or one that is not an answer (`error` in the file), is as wrong as can be: no item listed; the rating at the end of the
  scale farthest from the truth; the truth at probability 0; an empty text.
- Items of the history: models list them too (they are asked with exclude_seen off), so that each figure is given with the seen filter "off" and "on" (seen
  items taken out). Given candidates, the filter is "candidates".
- Ties within a list count by expectation (metrics.ranking). A target outside the list, at least LISTED long, counts 0.
- Intervals: 95 %, bootstrap over users (metrics.statistic).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.interactions import PARTS, TRAIN
from llmrec.metrics import HEADLINES, LOWER_IS_BETTER, METRICS
from llmrec.metrics.binary import BinaryAnswers, calibration_curve
from llmrec.metrics.catalogue import ItemLists
from llmrec.metrics.ranking import Placements
from llmrec.metrics.rating import RatingAnswers
from llmrec.metrics.statistic import RESAMPLES, Estimate, Statistic, averaged, estimate, estimate_difference
from llmrec.metrics.text import TextAnswers, feature_vocabulary, words
from llmrec.timelines import Timelines

ON, OFF, CANDIDATES = "on", "off", "candidates"
# The longest list the catalogue metrics read.
SHOWN = 20
TIES_MATTER = 1e-4
HISTORY_BUCKETS = ((0, "0"), (4, "1-4"), (9, "5-9"), (19, "10-19"), (49, "20-49"), (math.inf, "50+"))
POPULARITY_BUCKETS = ((0, "0"), (4, "1-4"), (19, "5-19"), (99, "20-99"), (math.inf, "100+"))


@dataclass(frozen=True)
class Background:
    """What train says about the items: the catalogue metrics, the popularity buckets and the feature metrics need it; nothing else does.

    rows: item_id -> row.   popularity: (items,) int64, events in the train streams.   attributes, texts: one each an item.
    reviews: (item_id, user_id, review) of train; where the log names persons, theirs.
    """

    rows: Mapping[str, int]
    popularity: np.ndarray
    attributes: Sequence[frozenset[str]]
    texts: Sequence[str]
    reviews: Sequence[tuple[str, str, str]] = ()

    @classmethod
    def of(cls, timelines: Timelines) -> Background:
        corpus = timelines.corpus
        catalog, log = corpus.catalog, corpus.interactions
        values = catalog.attribute_values
        attributes = [frozenset(f"{name}: {value}" for name in values for value in values[name][row]) for row in range(len(catalog))]
        whose = [name for name in ("person", "user_id") if name in log.frame.columns]
        reviews = log.part(TRAIN).frame.filter(pl.col("review").is_not_null()).select("item_id", pl.coalesce(whose), "review").rows() if log.has("review") else []
        train = timelines.items[timelines.parts == PARTS.index(TRAIN)]
        return cls(catalog.rows, np.bincount(train, minlength=len(catalog)), attributes, catalog.texts, reviews)

    @cached_property
    def features(self) -> frozenset[str]:
        """The feature words of train reviews: see metrics.text.feature_vocabulary."""
        return feature_vocabulary(review for _, _, review in self.reviews)

    @cached_property
    def _reviewed_features(self) -> dict[str, list[tuple[str, frozenset[str]]]]:
        found: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for item_id, user_id, review in self.reviews:
            found.setdefault(item_id, []).append((user_id, self.features.intersection(words(review))))
        return found

    def features_of(self, item_id: str | None, user_id: str | None) -> frozenset[str]:
        """The features an item is known to have: those in its own text or in a train review of it by anyone but this user."""
        own = words(self.texts[self.rows[item_id]]) if item_id in self.rows else ()
        return self.features.intersection(own).union(*(features for user, features in self._reviewed_features.get(item_id, ()) if user != user_id))


@dataclass(frozen=True)
class Report:
    """What scoring found, as plain records that JSON can hold; reports add up.

    rows: task, model, metric, filter (None where it has no sense), split (the part asked), mean, low, high, n (questions), seed. None stands for "not
    defined" or "no interval".
    groups: the same for the headline metrics, with `group` (history, popularity, or a tag) and `value`.
    comparisons: the same with `baseline`; the mean is the model's figure minus the baseline's.
    curves: calibration of probabilities, one record each with task, model and bins.   ties: figures that fall by more than .0001 if every tie goes wrong.
    counts: for each task and model how many questions were asked, went wrong (`errors`), and an example of what went wrong.
    audit: what was looked at for leaks (`subject`), one record each: see llmrec.audit.finding.
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    groups: list[dict[str, object]] = field(default_factory=list)
    comparisons: list[dict[str, object]] = field(default_factory=list)
    curves: list[dict[str, object]] = field(default_factory=list)
    ties: list[dict[str, object]] = field(default_factory=list)
    counts: list[dict[str, object]] = field(default_factory=list)
    audit: list[dict[str, object]] = field(default_factory=list)

    def __add__(self, other: Report) -> Report:
        return Report(**{name: records + getattr(other, name) for name, records in vars(self).items()})

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def score(path: Path, background: Background | None = None, *, resamples: int = RESAMPLES) -> Report:
    """Scores a saved file, from the file alone; `background` adds what needs knowledge of the items."""
    answers = _Answers.load(path, background)
    report = Report(curves=answers.curves(), counts=[answers.counts()])
    for seen_filter in answers.filters:
        statistics = answers.statistics(seen_filter)
        report = report + Report(rows=answers.rows(statistics, seen_filter, resamples), ties=answers.ties(statistics, seen_filter))
    # Sub-groups under one filter: the headline's.
    return report + Report(groups=answers.groups(answers.filters[0], resamples))


def compare(path: Path, baseline: Path, background: Background | None = None, *, resamples: int = RESAMPLES) -> Report:
    """The headline figures of one saved file minus those of another with the same questions, with paired bootstrap intervals over users.

    Raises:
        ValueError: the files do not hold the same questions.
    """
    first, second = _Answers.load(path, background), _Answers.load(baseline, background)
    if not first.frame.select("id", "target").equals(second.frame.select("id", "target")):
        raise ValueError(f"{path.name} and {baseline.name} do not hold the same questions in the same order; evaluate both models in one run")
    records = []
    for seen_filter in first.filters:
        ours, theirs = (answers.statistics(seen_filter, HEADLINES[answers.family]) for answers in (first, second))
        for metric in ours:
            difference = estimate_difference(ours[metric], theirs[metric], first.users, seed=first.seed, resamples=resamples)
            records.append({**first.row(metric, seen_filter, difference), "baseline": second.model})
    return Report(comparisons=records)


def contrast(first: Sequence[Path], second: Sequence[Path], *, resamples: int = RESAMPLES) -> list[dict[str, object]]:
    """The headline figures of several saved files, averaged, beside those of several others with the same questions: `first`, `second`, and first minus second with the interval of a paired bootstrap over users.
    A figure that these questions do not have (an auc where all said yes) is left out.

    Raises:
        ValueError: the files do not hold the same questions.
    """
    groups = [[_Answers.load(path, None) for path in paths] for paths in (first, second)]
    told = groups[0][0]
    if any(not told.frame["id"].equals(each.frame["id"]) for group in groups for each in group):
        raise ValueError(f"{', '.join(path.name for path in (*first, *second))} do not hold the same questions in the same order; ask them in one run")
    records = []
    for metric in HEADLINES[told.family]:
        ours, theirs = (averaged([each.statistics(told.filters[0], [metric])[metric] for each in group]) for group in groups)
        if math.isnan(float(ours)) or math.isnan(float(theirs)):
            continue
        difference = estimate_difference(ours, theirs, told.users, seed=told.seed, resamples=resamples)
        records.append({"task": told.task, "metric": metric, "filter": told.filters[0], "first": float(ours), "second": float(theirs), "difference": difference.mean, "low": difference.low, "high": difference.high, "n": len(told.frame)})
    return records


def best_model(rows: Sequence[Mapping[str, object]], *, task: str, family: str, among: Sequence[str]) -> str | None:
    """The model with the best leading headline figure of a task (the first filter of its rows), among these; None where none of them has one."""
    metric = HEADLINES[family][0]
    filters = [row["filter"] for row in rows if row["task"] == task]
    figures = {row["model"]: row["mean"] for row in rows if row["task"] == task and row["metric"] == metric and row["filter"] == filters[0]} if filters else {}
    found = [name for name in among if figures.get(name) is not None]
    return (min if metric in LOWER_IS_BETTER else max)(found, key=figures.__getitem__, default=None)


@dataclass(frozen=True)
class _Answers:
    """A saved file, ready to be scored."""

    frame: pl.DataFrame
    task: str
    family: str
    model: str
    part: str
    seed: int
    filters: tuple[str | None, ...]
    background: Background | None

    @classmethod
    def load(cls, path: Path, background: Background | None) -> _Answers:
        about = pl.read_parquet_metadata(path)
        if "family" not in about:
            raise ValueError(f"{path} is no file of predictions: its metadata does not name a family. Write it with llmrec.exam.save_predictions")
        filters = (None,) if about["family"] != "items" else (CANDIDATES,) if about["candidates"] == "True" else (ON, OFF)
        return cls(
            frame=_with_worst(pl.read_parquet(path), about["family"]), task=about["task"], family=about["family"], model=about["model"], part=about["part"],
            seed=int(about["seed"]), filters=filters, background=background,
        )

    @property
    def users(self) -> list[str]:
        return self.frame["user_id"].to_list()

    def statistics(self, seen_filter: str | None, names: Sequence[str] | None = None) -> dict[str, Statistic]:
        """The metrics of the file's family (all, or those named), one row a question each."""
        if self.family == "items":
            listed = _listed(self.frame, seen_filter)
            tables = {"items": _placements(self.frame, listed)}
            if names is None and self.background is not None and seen_filter != CANDIDATES:
                tables["catalogue"] = _item_lists(len(self.frame), listed, self.background)
        else:
            tables = {self.family: _ANSWERS[self.family](self.frame, self.background)}
        statistics = {
            metric: function(answers) for family, answers in tables.items() for metric, function in METRICS[family].items() if names is None or metric in names
        }
        assert all(len(statistic.rows) == len(self.frame) for statistic in statistics.values()), "a metric lost or doubled a question"
        return statistics

    def rows(self, statistics: Mapping[str, Statistic], seen_filter: str | None, resamples: int) -> list[dict[str, object]]:
        figures = estimate(statistics, self.users, seed=self.seed, resamples=resamples)
        return [self.row(metric, seen_filter, figure) for metric, figure in figures.items() if not math.isnan(figure.mean)]

    def row(self, metric: str, seen_filter: str | None, figure: Estimate) -> dict[str, object]:
        numbers = {name: None if math.isnan(value) else value for name, value in figure._asdict().items()}
        about = {"task": self.task, "model": self.model, "metric": metric, "filter": seen_filter, "split": self.part}
        return {**about, **numbers, "n": len(self.frame), "seed": self.seed}

    def ties(self, statistics: Mapping[str, Statistic], seen_filter: str | None) -> list[dict[str, object]]:
        if self.family != "items":
            return []
        worst = _placements(self.frame, _listed(self.frame, seen_filter)).against_ties()
        pairs = [(metric, float(statistics[metric]), float(METRICS["items"][metric](worst))) for metric in HEADLINES["items"]]
        return [
            {"task": self.task, "model": self.model, "metric": metric, "filter": seen_filter, "mean": fair, "against_ties": strict}
            for metric, fair, strict in pairs if fair - strict > TIES_MATTER
        ]

    def groups(self, seen_filter: str | None, resamples: int) -> list[dict[str, object]]:
        records = []
        for group, values in self._groupings():
            for value in sorted(set(values) - {None}, key=_bucket_order):
                part = replace(self, frame=self.frame.filter(pl.Series([v == value for v in values])))
                rows = part.rows(part.statistics(seen_filter, HEADLINES[self.family]), seen_filter, resamples)
                records += [{**row, "group": group, "value": value} for row in rows]
        return records

    def _groupings(self) -> Iterator[tuple[str, list[str | None]]]:
        """(group, each question's value in it): history length, train popularity of the item asked for or about, and each tag."""
        yield "history", [_bucket(length, HISTORY_BUCKETS) for length in self.frame["history_length"]]
        items = self.frame["target" if self.family == "items" else "item_id"].to_list()
        if self.background is not None and any(items):
            rows, counts = self.background.rows, self.background.popularity
            yield "popularity", [_bucket(int(counts[rows[item]]), POPULARITY_BUCKETS) if item in rows else None for item in items]
        tags = [json.loads(text) for text in self.frame["tags"]]
        for name in sorted({name for tag in tags for name in tag}):
            yield name, [tag.get(name) for tag in tags]

    def curves(self) -> list[dict[str, object]]:
        """Calibration of the answers that are answers: of the probability of yes, or of the most probable rating."""
        if self.family not in ("binary", "rating"):
            return []
        answers = _ANSWERS[self.family](self.frame.filter(pl.col("error").is_null()), self.background)
        if self.family == "binary":
            probability, right = answers.probability, answers.label
        else:
            given = ~np.isnan(answers.confidence)
            probability, right = answers.confidence[given], (answers.most_probable == answers.actual)[given].astype(np.float64)
        bins = [bin._asdict() for bin in calibration_curve(probability, right)]
        return [{"task": self.task, "model": self.model, "bins": bins}] if bins else []

    def counts(self) -> dict[str, object]:
        errors = self.frame["error"].drop_nulls()
        return {"task": self.task, "family": self.family, "model": self.model, "n": len(self.frame), "users": self.frame["user_id"].n_unique(),
                "errors": len(errors), "example": errors[0] if len(errors) else None}


def _with_worst(frame: pl.DataFrame, family: str) -> pl.DataFrame:
    """The file with the worst answer where there is none: see the top of this module. An empty list is that already."""
    truth = pl.col("target")
    if family == "rating":
        low, high = truth.min(), truth.max()
        return frame.with_columns(value=pl.col("value").fill_null(pl.when(truth - low > high - truth).then(low).otherwise(high)))
    if family == "binary":
        return frame.with_columns(probability=pl.col("probability").fill_null(1 - truth))
    if family == "text":
        return frame.with_columns(text=pl.col("text").fill_null(""))
    return frame


def _listed(frame: pl.DataFrame, seen_filter: str | None) -> pl.DataFrame:
    """The lists, one row an item: question, item, score, place (0-based) after the filter."""
    rows = frame.with_row_index("question")
    listed = rows.select("question", pl.col("items").alias("item"), pl.col("scores").alias("score")).explode("item", "score").drop_nulls("item")
    if seen_filter == ON:
        seen = rows.select("question", pl.col("seen").alias("item")).explode("item").drop_nulls("item")
        listed = listed.join(seen, on=["question", "item"], how="anti", maintain_order="left")
    return listed.with_columns(place=pl.int_range(pl.len()).over("question"))


def _placements(frame: pl.DataFrame, listed: pl.DataFrame) -> Placements:
    targets = frame.with_row_index("question").select("question", pl.col("target").alias("item"))
    reached = listed.join(targets, on=["question", "item"]).select("question", reached=pl.col("score"))
    found = listed.join(reached, on="question").group_by("question").agg(
        better=(pl.col("score") > pl.col("reached")).sum(), tied=(pl.col("score") == pl.col("reached")).sum(),
    )
    better, tied = np.zeros(len(frame), dtype=np.int64), np.zeros(len(frame), dtype=np.int64)
    better[found["question"].to_numpy()], tied[found["question"].to_numpy()] = found["better"].to_numpy(), found["tied"].to_numpy()
    return Placements.of_targets(better, tied)


def _item_lists(num_questions: int, listed: pl.DataFrame, background: Background) -> ItemLists:
    top = listed.filter(pl.col("place") < SHOWN)
    items = np.full((num_questions, SHOWN), -1, dtype=np.int64)
    items[top["question"].to_numpy(), top["place"].to_numpy()] = [background.rows.get(item, -1) for item in top["item"]]
    return ItemLists(items, background.popularity, background.attributes)


def _rating_answers(frame: pl.DataFrame, background: Background | None) -> RatingAnswers:
    distributions = [(p or [np.nan], r or [np.nan]) for p, r in frame.select("probabilities", "ratings").iter_rows()]
    most = [int(np.argmax(p)) for p, _ in distributions]
    return RatingAnswers(
        predicted=frame["value"].to_numpy(), actual=frame["target"].to_numpy(),
        confidence=np.array([p[i] for (p, _), i in zip(distributions, most, strict=True)], dtype=np.float64),
        most_probable=np.array([r[i] for (_, r), i in zip(distributions, most, strict=True)], dtype=np.float64),
    )


def _binary_answers(frame: pl.DataFrame, background: Background | None) -> BinaryAnswers:
    return BinaryAnswers(frame["probability"].to_numpy(), frame["target"].to_numpy(), np.asarray(frame["user_id"].to_list(), dtype=str))


def _text_answers(frame: pl.DataFrame, background: Background | None) -> TextAnswers:
    texts = frame["text"].to_list(), frame["reference"].to_list(), frame["language"].to_list()
    if background is None or not background.features or frame["item_id"].null_count() == len(frame):
        return TextAnswers(*texts)
    supported = [background.features_of(item_id, user_id) for item_id, user_id in frame.select("item_id", "user_id").iter_rows()]
    return TextAnswers(*texts, background.features, supported)


_ANSWERS: dict[str, Callable[[pl.DataFrame, Background | None], RatingAnswers | BinaryAnswers | TextAnswers]] = {
    "rating": _rating_answers, "binary": _binary_answers, "text": _text_answers,
}


def _bucket(count: int, buckets: Sequence[tuple[float, str]]) -> str:
    return next(name for limit, name in buckets if count <= limit)


def _bucket_order(value: str) -> tuple[float, str]:
    start = re.match(r"\d+", value)
    return (float(start[0]) if start else math.inf, value)
