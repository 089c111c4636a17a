"""Asks a model a task's held-out questions and saves its answers: one Parquet file for each task and model.

Separate from `evaluation`, which scores the saved file and never sees a model, so that every figure can be repeated from the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import polars as pl
from tqdm import tqdm

from llmrec.predictions import HeldOut, Prediction, Request

FAMILIES = ("items", "rating", "binary", "text")
LISTED = 100
# Questions asked at once: enough for a model to batch equal lengths, few enough for the bar to move.
ASKED_AT_ONCE = 512


class Predictor(Protocol):
    """Anything that answers: the Recommender, a baseline, a fake."""

    def predict(self, requests: Sequence[Request], /) -> Sequence[Prediction]: ...


@dataclass(frozen=True)
class Exam:
    """One task's held-out questions, as every model is asked them.

    `family` (one of FAMILIES) decides how answers are saved and scored; `candidates`: the questions name the items to rank.

    Raises:
        ValueError: there is no question, an id stands twice (a user would count twice), or the family is unknown.
    """

    task: str
    family: str
    held_out: tuple[HeldOut, ...]
    candidates: bool = False
    part: str = "test"
    seed: int = 0

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"task {self.task!r} is of family {self.family!r}; expected one of {', '.join(FAMILIES)}")
        if not self.held_out:
            raise ValueError(f"task {self.task!r} has no held-out question in the part {self.part!r}")
        ids = [example.request.id for example in self.held_out]
        if len(set(ids)) != len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            raise ValueError(f"the id {twice!r} stands twice in the questions of {self.task!r}; each question needs its own")

    @cached_property
    def requests(self) -> list[Request]:
        """The questions in the form they are asked: lists long enough that LISTED items are left once the seen ones are taken out."""
        return [self._asked(example.request) for example in self.held_out]

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that stand for all that is asked, and what is true."""
        told = hashlib.sha256(repr((self.task, self.family, self.candidates, self.part)).encode())
        for example in self.held_out:
            told.update(repr(example).encode())
        return told.hexdigest()[:16]

    def of_users(self, limit: int) -> Exam:
        """The questions of `limit` users drawn by the seed, each with all its questions; 0: of all."""
        users = sorted({whose(example) for example in self.held_out})
        if not limit or limit >= len(users):
            return self
        drawn = set(np.random.default_rng(self.seed).choice(users, limit, replace=False).tolist())
        return replace(self, held_out=tuple(example for example in self.held_out if whose(example) in drawn))

    def _asked(self, request: Request) -> Request:
        if self.family != "items":
            return request
        if self.candidates:
            return replace(request, exclude_seen=False, k=len(request.candidates or ()))
        return replace(request, exclude_seen=False, k=max(LISTED, request.k) + len({event.item_id for event in request.history if event.seen}))


def save_predictions(model: Predictor, name: str, exam: Exam, *, folder: Path, about: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Writes `folder`/TASK.NAME.parquet, one row a question in the order of the exam, and returns its path.

    Columns: id, user_id, target (the truth: an item_id, a number, or a text), item_id (what the question is about, if it names one), error,
    history_length, language, tags (JSON); and items, scores (best first) and seen; or value, ratings and probabilities (a distribution, or null); or probability; or text and reference.
    The file's metadata holds task, family, candidates, model, part and seed, and what `about` adds, such as the hashes of the data and of the model.

    Raises:
        ValueError: the name cannot be a file name, or the model gave another number of answers, or other ids, than it was asked. A single bad answer is an
            `error`, not an exception.
    """
    if not re.fullmatch(r"[\w-][\w.@+-]*", name):
        raise ValueError(f"the model is named {name!r}; expected letters, digits and -_.@+, for it names a file")
    frames = []
    with tqdm(total=len(exam.held_out), desc=f"{exam.task} | {name}", unit="question", file=sys.stderr) as bar:
        for start in range(0, len(exam.held_out), ASKED_AT_ONCE):
            chunk = slice(start, start + ASKED_AT_ONCE)
            predictions = model.predict(exam.requests[chunk])
            if [p.id for p in predictions] != [r.id for r in exam.requests[chunk]]:
                raise ValueError(
                    f"{name} was asked {len(exam.requests[chunk])} questions of {exam.task} and gave {len(predictions)} answers; "
                    "expected one each, with its id, in order"
                )
            frames.append(_to_frame(exam.held_out[chunk], predictions, exam))
            bar.update(len(predictions))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{exam.task}.{name}.parquet"
    unfinished = path.with_suffix(".tmp")
    metadata = {**about, "task": exam.task, "family": exam.family, "candidates": str(exam.candidates), "model": name, "part": exam.part, "seed": str(exam.seed)}
    pl.concat(frames).write_parquet(unfinished, metadata=metadata)
    os.replace(unfinished, path)
    return path


def whose(example: HeldOut) -> str:
    """Whose question it is; a question without a user stands for itself."""
    return example.person or (example.request.id if example.request.user_id is None else example.request.user_id)


def _to_frame(held_out: Sequence[HeldOut], predictions: Sequence[Prediction], exam: Exam) -> pl.DataFrame:
    errors = [_fault(prediction, exam.family) for prediction in predictions]
    requests = [example.request for example in held_out]
    truth = pl.String if exam.family in ("items", "text") else pl.Float64
    columns = {
        "id": pl.Series([r.id for r in requests], dtype=pl.String),
        "user_id": pl.Series([whose(example) for example in held_out], dtype=pl.String),
        "target": pl.Series([example.target for example in held_out], dtype=truth),
        "item_id": pl.Series([r.item_id for r in requests], dtype=pl.String),
        "error": pl.Series(errors, dtype=pl.String),
        "history_length": pl.Series([len(r.history) for r in requests], dtype=pl.Int64),
        "language": pl.Series([r.language for r in requests], dtype=pl.String),
        "tags": pl.Series([json.dumps(dict(example.tags), ensure_ascii=False, sort_keys=True) for example in held_out], dtype=pl.String),
    }
    answered = [None if error else prediction for prediction, error in zip(predictions, errors, strict=True)]
    return pl.DataFrame({**columns, **_COLUMNS[exam.family](held_out, answered)})


def _fault(prediction: Prediction, family: str) -> str | None:
    """Why this is not an answer, as a sentence; None if it is."""
    if prediction.error is not None:
        return prediction.error
    if family == "items":
        items, scores = prediction.item_ids, prediction.scores
        if items is None or scores is None or len(items) != len(scores):
            return "expected a list of items and as many scores"
        if len(set(items)) != len(items):
            return "an item is listed twice"
        if not np.isfinite(np.asarray(scores, dtype=np.float64)).all() or (np.diff(scores) > 0).any():
            return "expected finite scores, best first"
    elif family == "rating" and not (prediction.value is not None and math.isfinite(prediction.value)):
        return f"expected a finite value, got {prediction.value}"
    elif family == "binary" and not (prediction.probability is not None and 0 <= prediction.probability <= 1):
        return f"expected a probability, got {prediction.probability}"
    elif family == "text" and prediction.text is None:
        return "expected a text"
    return None


def _item_columns(held_out: Sequence[HeldOut], answered: Sequence[Prediction | None]) -> dict[str, pl.Series]:
    return {
        "items": pl.Series([list(p.item_ids) if p else [] for p in answered], dtype=pl.List(pl.String)),
        "scores": pl.Series([[float(x) for x in p.scores] if p else [] for p in answered], dtype=pl.List(pl.Float64)),
        "seen": pl.Series([sorted({event.item_id for event in example.request.history if event.seen}) for example in held_out], dtype=pl.List(pl.String)),
    }


def _rating_columns(held_out: Sequence[HeldOut], answered: Sequence[Prediction | None]) -> dict[str, pl.Series]:
    distributions = [{float(rating): float(p) for rating, p in p.distribution.items()} if p and p.distribution else None for p in answered]
    return {
        "value": pl.Series([p.value if p else None for p in answered], dtype=pl.Float64),
        "ratings": pl.Series([None if d is None else list(d) for d in distributions], dtype=pl.List(pl.Float64)),
        "probabilities": pl.Series([None if d is None else list(d.values()) for d in distributions], dtype=pl.List(pl.Float64)),
    }


def _binary_columns(held_out: Sequence[HeldOut], answered: Sequence[Prediction | None]) -> dict[str, pl.Series]:
    return {"probability": pl.Series([p.probability if p else None for p in answered], dtype=pl.Float64)}


def _text_columns(held_out: Sequence[HeldOut], answered: Sequence[Prediction | None]) -> dict[str, pl.Series]:
    return {
        "text": pl.Series([p.text if p else None for p in answered], dtype=pl.String),
        "reference": pl.Series([example.target for example in held_out], dtype=pl.String),
    }


_COLUMNS: dict[str, Callable[[Sequence[HeldOut], Sequence[Prediction | None]], dict[str, pl.Series]]] = {
    "items": _item_columns, "rating": _rating_columns, "binary": _binary_columns, "text": _text_columns,
}
