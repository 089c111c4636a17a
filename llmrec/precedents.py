"""Precedents: the texts that answered the questions of train most like one, so that what is written may agree with them, or be one of them.

Separate from the model, which writes by what it has understood, and from `consensus`, which chooses among drafts and precedents: a small model forgets how people put things, a table does not.

    question -> its traits (the item, the history's items, the words it holds) -BM25-> the nearest questions of train -> their answers

Source of asking neighbours: Khandelwal et al., Generalization through Memorization: Nearest Neighbor Language Models, ICLR 2020; here the neighbours are whole questions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file, save_file

from llmrec.baselines.search import bm25_weights
from llmrec.evidence import clean
from llmrec.metrics.text import words
from llmrec.predictions import HeldOut, Request

FORMAT = 1
NEAREST = 40
"""Precedents of a question."""
MAX_WORDS, LONGEST = 60, 400
"""Answers of train with more words or characters are no precedents: a written answer is about as short."""
MAX_READ = 4_096
"""Characters of a question that are compared."""


@dataclass(frozen=True)
class Precedents:
    """The answered questions of one task. texts: (questions,) the answers.   terms: trait -> row.   weights: (traits, questions), as bm25_weights gives them."""

    texts: tuple[str, ...]
    terms: Mapping[str, int]
    weights: sp.csr_array

    @classmethod
    def of(cls, answered: Sequence[HeldOut]) -> Precedents | None:
        """From answered questions of train; None where there is none."""
        kept = [(example.request, text) for example in answered if 0 < len(words(text := clean(str(example.target)))) <= MAX_WORDS and len(text) <= LONGEST]
        if not kept:
            return None
        terms, weights = bm25_weights([traits(request) for request, _ in kept])
        return cls(tuple(text for _, text in kept), terms, weights.astype(np.float32))

    def __call__(self, request: Request, k: int = NEAREST) -> list[tuple[str, float]]:
        """The answers to the k questions most like this one, with how alike they are (they sum to 1), the most alike first, the first in the log of equals; questions that share nothing are none of them."""
        asked = Counter(trait for trait in traits(request) if trait in self.terms)
        alike = np.array(list(asked.values()), dtype=np.float32) @ self.weights[[self.terms[trait] for trait in asked]]  # one question at a time: its sum does not depend on those beside it
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
        try:
            record, arrays = json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))
            if record.get("format") != FORMAT:
                raise ValueError(f"it has format {record.get('format')!r}; this version reads {FORMAT}. Train the model again")
            texts, terms = record["texts"], record["terms"]
            if not all(isinstance(named, list) and all(isinstance(text, str) for text in named) for named in (texts, terms)):
                raise ValueError("its texts and terms are no lists of texts")
            weights = sp.csr_array((arrays["values"], arrays["questions"], arrays["starts"]), shape=(len(terms), len(texts)))
            weights.check_format(full_check=True)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} and what belongs to it are not what training wrote: {error}") from None
        return cls(tuple(clean(text) for text in texts), {term: row for row, term in enumerate(terms)}, weights)


def traits(request: Request) -> list[str]:
    """What makes a question like another: the item it names, the history's items, and the words and pairs of neighbouring words it holds.

    >>> traits(Request(item_id="i1", review="holds its tune"))
    ['item: i1', 'holds', 'its', 'tune', 'holds its', 'its tune']
    """
    told = words(" ".join(text[:MAX_READ] for text in (request.review, request.query) if text))
    return [  # words hold no colon
        *([f"item: {request.item_id}"] if request.item_id is not None else []), *(f"had: {event.item_id}" for event in request.history),
        *told, *map(" ".join, zip(told, told[1:])),
    ]
