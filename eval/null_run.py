"""The null run: a model that knows nothing goes through the whole harness, and the run fails if it scores above chance.

Separate from the suite, which asks whom it is told to: this tests the measuring, not the models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from llmrec.evaluation import CANDIDATES, ON
from llmrec.exam import Exam
from llmrec.predictions import Request


def null_fault(exam: Exam, rows: Sequence[Mapping[str, object]], *, num_items: int) -> str | None:
    """A sentence where the rows of the random model are far above chance in an item task, else None.

    Far: hit@10 more than 6 standard deviations of a binomial and 3 hits above 10 / N, N the items left to choose from.
    """
    for row in rows:
        if row["metric"] != "hit@10":
            continue
        chances = np.array([_chance(example.request, row["filter"], num_items) for example in exam.held_out])
        bound = (chances.sum() + 6 * math.sqrt((chances * (1 - chances)).sum()) + 3) / len(chances)
        if row["mean"] > bound:
            return (
                f"{exam.task}: a random model scores hit@10 = {row['mean']:.4f} (seen filter: {row['filter']}); "
                f"chance is {chances.mean():.4f}, and at most {bound:.4f} by luck. "
                "The questions leak their answers or the metric is wrong: no figure of this run can be trusted"
            )
    return None


def _chance(request: Request, seen_filter: str, num_items: int) -> float:
    """The probability that the target is among the first ten of a list in random order."""
    if seen_filter == CANDIDATES:
        living = len(request.candidates or ())
    else:
        living = num_items - (len({event.item_id for event in request.history if event.seen}) if seen_filter == ON else 0)
    return min(1.0, 10 / max(living, 1))
