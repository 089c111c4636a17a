"""Title index: an item's code is its title in the tokenizer's own words, closed by the end token.

No new token: any pretrained model can name items before it has seen one of the log's events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from llmrec.indexing.index import ItemIndex
from llmrec.interactions import UNTITLED

MAX_TOKENS = 24
"""Longer titles are cut: a code's length is paid at every event and every decoding step."""


def build(titles: Sequence[str], encode: Callable[[str], Sequence[int]], *, end: int) -> ItemIndex:
    """Codes from titles. Items whose (cut) titles are the same are told apart by " 2", " 3", ... in catalogue order, which is shuffled; an item without a title is "untitled".

    encode: the tokenizer for user text, without control tokens.   end: the token that closes a code, so that none begins another.
    """
    codes: list[list[int]] = []
    taken: set[tuple[int, ...]] = set()
    counts: dict[tuple[int, ...], int] = {}
    for title in titles:
        base = tuple(encode(title.strip() or UNTITLED))[:MAX_TOKENS] or tuple(encode(UNTITLED))
        code, number = base, counts.get(base, 1)
        while code in taken:
            number += 1
            code = (*base, *encode(f" {number}"))
        counts[base] = number
        taken.add(code)
        codes.append([*code, end])
    depth = max(map(len, codes))
    matrix = np.full((len(codes), depth), -1, dtype=np.int64)
    for row, code in enumerate(codes):
        matrix[row, : len(code)] = code
    return ItemIndex("title", matrix, 0)
