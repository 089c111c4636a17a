"""The tasks: what can be asked, one line each."""

from __future__ import annotations

import difflib

from llmrec.tasks.binary import Binary
from llmrec.tasks.cards import ItemCard, ItemText
from llmrec.tasks.explanation import Explanation
from llmrec.tasks.next_item import NextItem
from llmrec.tasks.ranking import Ranking
from llmrec.tasks.rating import Rating
from llmrec.tasks.review_summary import ReviewSummary
from llmrec.tasks.search import Search
from llmrec.tasks.task import Task

TASKS: dict[str, Task] = {
    "next_item": NextItem(),
    "ranking": Ranking(),
    "search": Search(),
    "rating": Rating(),
    "click": Binary("click"),
    "purchase": Binary("purchase"),
    "explanation": Explanation(),
    "review_summary": ReviewSummary(),
}

OBJECTIVES: dict[str, Task] = {**TASKS, "item_card": ItemCard(), "item_text": ItemText()}
"""What a training may weigh: the tasks, and the item cards, which nobody asks."""


def find_task(name: str) -> Task:
    """The task of this name. Raises KeyError naming the known tasks and the nearest one."""
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, 1)
        raise KeyError(f"unknown task {name!r}{f'; did you mean {close[0]!r}?' if close else ''} Available: {', '.join(TASKS)}")
    return TASKS[name]


__all__ = ["OBJECTIVES", "TASKS", "Task", "find_task"]
