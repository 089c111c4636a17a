"""What every baseline is: something that is fitted on train and answers requests with predictions, as the Recommender does.

Separate from the models, so that a request no baseline of this kind can answer is refused in one place, with one wording.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from llmrec.interactions import Catalog
from llmrec.predictions import Prediction, Request
from llmrec.timelines import Timelines

# The field of a request that its task cannot do without.
NEEDED = {
    "ranking": "candidates", "search": "query", "rating": "item_id", "click": "item_id", "purchase": "item_id",
    "explanation": "item_id", "review_summary": "review",
}


class Baseline(ABC):
    """A model that is cheap to explain. Subclasses write `_fit` and `_answer`.

    It learns from the part train alone; where a subclass has hyper-parameters, it chooses them on the part valid from the small grid its docstring names,
    and keeps the documented defaults where valid holds nothing. What it chose stands in `settings` after `fit`.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.catalog: Catalog | None = None
        self.settings: dict[str, float] = {}
        self.seed = 0

    def fit(self, timelines: Timelines, *, seed: int = 0) -> Self:
        """Learns from train and returns itself. The same seed gives the same model."""
        self.catalog = timelines.corpus.catalog
        self.seed = seed
        self.settings = {}
        self._fit(timelines)
        return self

    def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction for each request, in their order; a request it cannot answer gets a prediction with `error`. An answer does not depend on its neighbours.

        Raises:
            ValueError: the baseline was not fitted.
        """
        if self.catalog is None:
            raise ValueError(f"{self.name} is not fitted: call fit(timelines) before predict")
        problems = [self._problem(request) for request in requests]
        answers = self._answer([request for request, problem in zip(requests, problems, strict=True) if problem is None])
        return [
            next(answers) if problem is None else Prediction(id=request.id, task=request.task, error=problem, user_id=request.user_id)
            for request, problem in zip(requests, problems, strict=True)
        ]

    @abstractmethod
    def _fit(self, timelines: Timelines) -> None:
        """Learns; `catalog` and `seed` are set."""

    @abstractmethod
    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """The predictions of answerable requests, in their order."""

    def tune(self, grid: Sequence[Mapping[str, float]], apply: Callable[[Mapping[str, float]], None], loss: Callable[[], float] | None) -> None:
        """Applies the settings of `grid` with the least loss, the earlier of equals; without a loss (valid is empty) the first, which are the defaults. Adds them to `settings`."""
        best = 0
        if loss is not None:
            losses = []
            for settings in grid:
                apply(settings)
                losses.append(loss())
            best = int(np.argmin(losses))
        self.settings |= grid[best]
        if loss is None or best != len(grid) - 1:
            apply(grid[best])

    def _problem(self, request: Request) -> str | None:
        """Why this request cannot be answered, as a sentence, or None."""
        if request.task not in self.tasks:
            return f"{self.name} does not answer {request.task!r}; it answers {', '.join(self.tasks)}"
        needed = NEEDED.get(request.task)
        if needed and getattr(request, needed) is None:
            return f"a {request.task} request needs {needed}; this one has none"
        if needed == "item_id" and request.item_id not in self.catalog.rows:
            return f"unknown item {request.item_id!r}: the catalogue has {len(self.catalog)} items, such as {self.catalog.item_ids[:3]}"
        unknown = sorted(set(request.where or ()) - set(self.catalog.attributes))
        if unknown:
            return f"where names the attribute {unknown[0]!r}, which the catalogue lacks; it has {', '.join(self.catalog.attributes) or 'none'}"
        return None
