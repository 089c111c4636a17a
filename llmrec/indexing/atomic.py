"""Atomic index: one new token per item.

The code of an item is its catalogue row; rows stand in a seeded shuffle (see Catalog), so a code tells nothing about time or popularity.
"""

from __future__ import annotations

import numpy as np

from llmrec.indexing.index import ItemIndex


def build(vectors: np.ndarray) -> ItemIndex:
    """One code token per item, each with the item's content vector. vectors: (items, size) float32."""
    return ItemIndex("atomic", np.arange(len(vectors), dtype=np.int64)[:, None], len(vectors), vectors.astype(np.float32, copy=False))
