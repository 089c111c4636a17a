"""Item indexes: how an item becomes a code, and back. Built from train alone (content vectors are), saved with the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from llmrec.indexing import atomic, semantic, title
from llmrec.indexing.index import ItemIndex
from llmrec.vocabulary import Vocabulary


class Material(NamedTuple):
    """What a scheme may build from: titles in catalogue order, content vectors (items, size) float32, the base model's vocabulary, a seed."""

    titles: list[str]
    vectors: np.ndarray
    vocabulary: Vocabulary
    seed: int


INDEXES: dict[str, Callable[[Material], ItemIndex]] = {
    "atomic": lambda m: atomic.build(m.vectors),
    "semantic": lambda m: semantic.build(m.vectors, seed=m.seed),
    "title": lambda m: title.build(m.titles, m.vocabulary.quote, end=m.vocabulary.end),
}


def build_index(scheme: str, material: Material) -> ItemIndex:
    """The index of this scheme. Raises KeyError naming the known schemes."""
    if scheme not in INDEXES:
        raise KeyError(f"unknown index {scheme!r}; available: {', '.join(INDEXES)}")
    return INDEXES[scheme](material)


__all__ = ["INDEXES", "ItemIndex", "Material", "build_index"]
