"""Item cards: what train.pretrain learns of the catalogue beside the streams, an item's code from its words and its words from its code.

No tasks of the product: nothing is held out, nobody asks them. They tie words and codes together before any question is put in words.
"""

from __future__ import annotations

import numpy as np

from llmrec.answers import ITEMS, TEXT
from llmrec.composer import Composer, Example
from llmrec.content import item_texts
from llmrec.interactions import Corpus
from llmrec.predictions import HeldOut, Request
from llmrec.tasks.task import BoundTask, Task
from llmrec.templates import PromptTemplate
from llmrec.timelines import Timelines

CARDS = 4
"""Cards behind one instruction: they share its tokens, not each other."""


class ItemCard(Task):
    """The code of an item from some of its words."""

    name = "item_card"
    family = "items"
    space = ITEMS
    required = ("query",)
    offered = ("query",)
    reads_history = False

    def reason_absent(self, corpus: Corpus) -> str | None:
        return None if any(item_texts(corpus)) else f"{self.name!r} needs titles, attributes or train reviews; the corpus has none"

    def bind(self, timelines: Timelines, *, seed: int) -> BoundTask:
        return BoundCards(self, timelines)

    def card(self, text: str, item_id: str, rng: np.random.Generator) -> tuple[Request, str]:
        return Request(task=self.name, query=some_of(text, rng)), item_id


class ItemText(ItemCard):
    """The words of an item from its code."""

    name = "item_text"
    family = "text"
    space = TEXT
    required = ("code",)
    offered = ("code",)

    def card(self, text: str, item_id: str, rng: np.random.Generator) -> tuple[Request, str]:
        return Request(task=self.name, item_id=item_id), some_of(text, rng)


class BoundCards(BoundTask):
    """Units are groups of CARDS items in catalogue order, which is shuffled."""

    def __init__(self, task: ItemCard, timelines: Timelines):
        self.task = task
        self.ids = timelines.corpus.catalog.item_ids
        self.texts = item_texts(timelines.corpus)
        self.rows = [row for row, text in enumerate(self.texts) if text]

    def __len__(self) -> int:
        return -(-len(self.rows) // CARDS)

    def example(self, unit: int, composer: Composer, template: PromptTemplate, rng: np.random.Generator) -> Example:
        trunk, _ = composer.trunk(template, ())
        example = Example(self.task.name, trunk)
        for row in self.rows[unit * CARDS : (unit + 1) * CARDS]:
            request, label = self.task.card(self.texts[row], self.ids[row], rng)
            example.branches.append(composer.branch(template, request, space=self.task.space, attach=len(trunk.tokens), label=label))
        return example

    def held_out(self, part: str) -> list[HeldOut]:
        return []


def some_of(text: str, rng: np.random.Generator) -> str:
    """The text, or a run of its lines: a card must be known by any of its parts. Lines are what item_text separates: the title, then attribute by attribute."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and rng.random() < 0.5:
        lines = [lines[i] for i in sorted(rng.choice(len(lines), int(rng.integers(1, len(lines))), replace=False))]
    return "; ".join(lines)
