"""Answer spaces: the finite sets in which answers lie, each a trie of token codes held as arrays.

Separate from the tasks that use them and from the tensors that search them, so that training and decoding normalise over the very same children.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ITEMS = "items"
RATING = "rating"
TEXT = "text"


@dataclass(frozen=True)
class Trie:
    """A prefix tree of token codes, nodes numbered level by level, the root 0, siblings in a row.

    first: (nodes + 1,) int64; the children of node n are the nodes first[n]:first[n + 1].
    token: (nodes,) int64; the token on the edge into a node (-1 at the root).
    parent: (nodes,) int64 (-1 at the root).
    answer: (nodes,) int64; the answer row that ends at this leaf, -1 at inner nodes.
    low, high: (nodes,) int64; the leaves below a node are order[low:high].
    order: (answers,) int64; answer rows in the order of their codes.
    codes: (answers, depth) int64; the token codes, right-padded with -1.
    paths: (answers, depth + 1) int64; the nodes each code runs through, the root first, right-padded with -1.

    >>> trie = Trie.build([[7, 1], [7, 2], [9]])
    >>> trie.token[trie.first[0]:trie.first[1]].tolist()   # the first tokens
    [7, 9]
    >>> trie.codes[trie.answer[trie.paths[0, 2]]].tolist()
    [7, 1]
    """

    first: np.ndarray
    token: np.ndarray
    parent: np.ndarray
    answer: np.ndarray
    low: np.ndarray
    high: np.ndarray
    order: np.ndarray
    codes: np.ndarray
    paths: np.ndarray

    @classmethod
    def build(cls, codes: Sequence[Sequence[int]] | np.ndarray) -> Trie:
        """The trie of these codes; row r of `codes` is answer r. An array may be right-padded with -1.

        Raises ValueError where there is no code, an empty code, two equal codes, or one that is the beginning of another.
        """
        matrix = codes if isinstance(codes, np.ndarray) else _padded(codes)
        matrix = matrix.astype(np.int64, copy=False)
        size, depth = matrix.shape
        if size == 0 or (matrix[:, 0] < 0).any():
            raise ValueError("an answer space needs at least one answer, and each answer at least one token")
        order = np.lexsort(matrix.T[::-1])
        ordered = matrix[order]
        lengths = (ordered >= 0).sum(axis=1)
        # changed[r, l]: row r (in code order) differs from the row before it within the first l + 1 tokens
        changed = np.ones((size, depth), dtype=bool)
        changed[1:] = np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1)
        previous_end = lengths[:-1] - 1
        clash = ~changed[1:][np.arange(size - 1), previous_end]
        if clash.any():
            a, b = order[np.flatnonzero(clash)[0]], order[np.flatnonzero(clash)[0] + 1]
            raise ValueError(f"answers {a} and {b} collide: the code {_bare(matrix[a])} equals or begins the code {_bare(matrix[b])}")
        paths = np.full((size, depth + 1), -1, dtype=np.int64)
        paths[:, 0] = 0
        token, parent, answer, low, high = [np.array([-1])], [np.array([-1])], [np.array([-1])], [np.array([0])], [np.array([size])]
        nodes = 1
        for level in range(depth):
            live = lengths > level
            starts = np.flatnonzero(changed[:, level] & live)
            if not len(starts):
                break
            node = nodes + np.cumsum(changed[:, level] & live) - 1
            paths[order[live], level + 1] = node[live]
            token.append(ordered[starts, level])
            parent.append(paths[order[starts], level])
            answer.append(np.where(lengths[starts] == level + 1, order[starts], -1))
            low.append(starts)
            high.append(starts + np.bincount(node[live] - nodes, minlength=len(starts)))
            nodes += len(starts)
        parents = np.concatenate(parent)
        first = np.concatenate([[1], 1 + np.cumsum(np.bincount(parents[1:], minlength=nodes))])
        return cls(first, np.concatenate(token), parents, np.concatenate(answer), np.concatenate(low), np.concatenate(high), order, matrix, paths)

    @property
    def num_nodes(self) -> int:
        return len(self.token)

    @property
    def depth(self) -> int:
        return self.codes.shape[1]

    @cached_property
    def lengths(self) -> np.ndarray:
        """(answers,) int64, tokens of each code."""
        return (self.codes >= 0).sum(axis=1)

    @cached_property
    def level(self) -> np.ndarray:
        """(nodes,) int64, tokens from the root."""
        level = np.zeros(self.num_nodes, dtype=np.int64)
        for node_level in range(1, self.depth + 1):
            nodes = np.unique(self.paths[:, node_level])
            level[nodes[nodes >= 0]] = node_level
        return level

    def code(self, row: int) -> list[int]:
        """The tokens of one answer."""
        return self.codes[row, : self.lengths[row]].tolist()

    def steps(self, row: int) -> tuple[list[int], list[int]]:
        """The way to one answer: the nodes it is chosen at, and which child it takes there."""
        length = self.lengths[row]
        path = self.paths[row, : length + 1]
        return path[:-1].tolist(), (path[1:] - self.first[path[:-1]]).tolist()

    def alive(self, allowed: np.ndarray) -> np.ndarray:
        """Which nodes have an allowed leaf below them. allowed: (..., answers) bool -> (..., nodes) bool."""
        counts = np.concatenate([np.zeros((*allowed.shape[:-1], 1), dtype=np.int64), np.cumsum(allowed[..., self.order], axis=-1)], axis=-1)
        return counts[..., self.high] > counts[..., self.low]


@dataclass(frozen=True)
class AnswerSpace:
    """A named set of answers. `labels` are the answers as the outside knows them (item ids, "1" to "5", "no" and "yes"); row r has code r of the trie.

    `values`: (answers,) float64, what an answer counts as, for closed scales. A space without a trie is free text.
    """

    name: str
    labels: tuple[str, ...] = ()
    trie: Trie | None = None
    values: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def rows(self) -> dict[str, int]:
        """label -> row."""
        return {label: row for row, label in enumerate(self.labels)}


def free_text() -> AnswerSpace:
    """The space of written answers: any text, closed by the end token."""
    return AnswerSpace(TEXT)


def closed(name: str, codes: Sequence[Sequence[int]], labels: Sequence[str], *, end: int, values: Sequence[float] | None = None) -> AnswerSpace:
    """A closed list of answers. Where one code begins another ("1" and "10"), every code gets the end token."""
    codes = [list(code) for code in codes]
    ordered = sorted(map(tuple, codes))
    if any(b[: len(a)] == a for a, b in zip(ordered, ordered[1:])):
        codes = [[*code, end] for code in codes]
    return AnswerSpace(name, tuple(labels), Trie.build(codes), None if values is None else np.asarray(values, dtype=np.float64))


def number_label(value: float) -> str:
    """A rating as it is written in prompts and distributions: "4", "4.5"."""
    return f"{value:g}"


def _padded(codes: Sequence[Sequence[int]]) -> np.ndarray:
    matrix = np.full((len(codes), max((len(c) for c in codes), default=0) or 1), -1, dtype=np.int64)
    for row, code in enumerate(codes):
        matrix[row, : len(code)] = code
    return matrix


def _bare(code: np.ndarray) -> list[int]:
    return code[code >= 0].tolist()
