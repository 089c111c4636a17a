"""Precedents: the texts that answered the questions of train most like one, so that what is written may agree with them, or be one of them.

Separate from the model, which writes by what it has understood, and from `consensus`, which chooses among drafts and precedents: a small model forgets how people put things, a table does not.

    question -> its traits (the item, the history's items, the words it holds) -BM25-> the nearest questions of train -> their answers

Source of asking neighbours: Khandelwal et al., Generalization through Memorization: Nearest Neighbor Language Models, ICLR 2020; here the neighbours are whole questions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file, save_file

from llmrec.baselines.search import bm25_weights
from llmrec.metrics.text import words
from llmrec.predictions import HeldOut, Request
from llmrec.vocabulary import printable

FORMAT = 1
NEAREST = 40
"""Precedents of a question."""
MAX_WORDS = 60
"""Longer answers of train are no precedents: an answer has at most so many tokens."""


@dataclass(frozen=True)
class Precedents:
    """The answered questions of one task. texts: (questions,) the answers.   terms: trait -> row.   weights: (traits, questions), as bm25_weights gives them."""

    texts: tuple[str, ...]
    terms: Mapping[str, int]
    weights: sp.csr_array

    @classmethod
    def of(cls, answered: Sequence[HeldOut]) -> Precedents | None:
        """From answered questions of train; None where there is none."""
        kept = [example for example in answered if 0 < len(words(str(example.target))) <= MAX_WORDS]
        if not kept:
            return None
        terms, weights = bm25_weights([traits(example.request) for example in kept])
        return cls(tuple(printable(str(example.target)).strip() for example in kept), terms, weights.astype(np.float32))

    def __call__(self, request: Request, k: int = NEAREST) -> list[tuple[str, float]]:
        """The answers to the k questions most like this one, with how alike they are (they sum to 1), the most alike first, the first in the log of equals; questions that share nothing are none of them."""
        asked = [self.terms[trait] for trait in traits(request) if trait in self.terms]
        alike = np.asarray(self.weights[asked].sum(axis=0)).ravel()  # one question at a time: its sum does not depend on those beside it
        nearest = np.argsort(-alike, kind="stable")[:k]
        nearest = nearest[alike[nearest] > 0]
        total = float(alike[nearest].sum())
        return [(self.texts[place], float(alike[place]) / total) for place in nearest]

    def save(self, folder: Path, task: str) -> None:
        """Writes precedents/TASK.safetensors and precedents/TASK.json into an existing folder."""
        (folder / "precedents").mkdir(exist_ok=True)
        save_file({"values": self.weights.data, "questions": self.weights.indices.astype(np.int32), "starts": self.weights.indptr.astype(np.int64)}, folder / "precedents" / f"{task}.safetensors")
        (folder / "precedents" / f"{task}.json").write_text(json.dumps({"format": FORMAT, "texts": self.texts, "terms": list(self.terms)}, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, task: str) -> Precedents | None:
        """What `save` wrote; None where the folder holds none for this task. Raises ValueError for another format, or parts that do not belong together."""
        path = folder / "precedents" / f"{task}.json"
        if not path.is_file():
            return None
        record, arrays = json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))
        if record.get("format") != FORMAT:
            raise ValueError(f"{path} has format {record.get('format')!r}; this version reads {FORMAT}. Train the model again")
        if len(arrays["starts"]) != len(record["terms"]) + 1:
            raise ValueError(f"{path.with_suffix('.safetensors')} holds {len(arrays['starts']) - 1} traits, {path.name} {len(record['terms'])}: they are not of one model")
        shape = len(record["terms"]), len(record["texts"])
        return cls(tuple(record["texts"]), {term: row for row, term in enumerate(record["terms"])}, sp.csr_array((arrays["values"], arrays["questions"], arrays["starts"]), shape=shape))


def traits(request: Request) -> list[str]:
    """What makes a question like another: the item it names, the history's items, and the words and pairs of neighbouring words it holds.

    >>> traits(Request(item_id="i1", review="holds its tune"))
    ['item i1', 'holds', 'its', 'tune', 'holds its', 'its tune']
    """
    told = words(" ".join(text for text in (request.review, request.query) if text))
    return [
        *([f"item {request.item_id}"] if request.item_id is not None else []), *(f"had {event.item_id}" for event in request.history),
        *told, *map(" ".join, zip(told, told[1:])),
    ]
