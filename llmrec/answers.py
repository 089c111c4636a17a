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
    """A prefix tree of token codes in arrays of 32 bits, nodes numbered level by level, the root 0, siblings in a row.

    first: (nodes + 1,); the children of node n are the nodes first[n]:first[n + 1], none at a leaf.
    token: (nodes,); the token on the edge into a node (-1 at the root).
    low, high: (nodes,); the answers below a node are order[low:high].
    order: (answers,); answer rows in the order of their codes.
    levels: (depth + 2,); the nodes at level l are levels[l]:levels[l + 1].
    codes: (answers, depth); the token codes, right-padded with -1.

    >>> trie = Trie.build([[7, 1], [7, 2], [9]])
    >>> trie.token[trie.first[0]:trie.first[1]].tolist()   # the first tokens
    [7, 9]
    >>> trie.steps(1)                                      # the way to answer 1: at the root its first child, there the second
    ([0, 1], [0, 1])
    """

    first: np.ndarray
    token: np.ndarray
    low: np.ndarray
    high: np.ndarray
    order: np.ndarray
    levels: np.ndarray
    codes: np.ndarray

    @classmethod
    def build(cls, codes: Sequence[Sequence[int]] | np.ndarray) -> Trie:
        """The trie of these codes; row r of `codes` is answer r. An array may be right-padded with -1.

        Raises ValueError where there is no code, an empty code, two equal codes, or one that is the beginning of another.
        """
        matrix = codes if isinstance(codes, np.ndarray) else _padded(codes)
        matrix = matrix.astype(np.int32, copy=False)
        size, depth = matrix.shape
        if size == 0 or (matrix[:, 0] < 0).any():
            raise ValueError("an answer space needs at least one answer, and each answer at least one token")
        order = _sorted(matrix).astype(np.int32)
        ordered = matrix[order]
        lengths = (ordered >= 0).sum(axis=1)
        token, low, high, fans = [np.array([-1])], [np.array([0])], [np.array([size])], []
        new = np.zeros(size, dtype=bool)  # whether a code differs from the one before it within its first `level + 1` tokens
        new[0] = True
        for level in range(depth):
            new[1:] |= ordered[1:, level] != ordered[:-1, level]
            clash = np.flatnonzero(~new[1:] & (lengths[:-1] == level + 1))
            if len(clash):
                one, other = order[clash[0]], order[clash[0] + 1]
                raise ValueError(f"answers {one} and {other} collide: the code {_bare(matrix[one])} equals or begins the code {_bare(matrix[other])}")
            edges = np.flatnonzero(new)
            starts = edges[lengths[edges] > level]
            if not len(starts):
                break
            parents = np.searchsorted(low[-1], starts, side="right") - 1
            fans.append(np.bincount(parents, minlength=len(low[-1])))
            token.append(ordered[starts, level])
            high.append(np.append(edges, size)[np.searchsorted(edges, starts, side="right")])
            low.append(starts)
        fans.append(np.zeros(len(low[-1]), dtype=np.int64))
        first = np.concatenate([[1], 1 + np.cumsum(np.concatenate(fans))])
        levels = np.concatenate([[0], np.cumsum([len(part) for part in low])])
        small = lambda parts: np.concatenate(parts).astype(np.int32)  # noqa: E731
        return cls(first.astype(np.int32), small(token), small(low), small(high), order, levels, matrix)

    @property
    def num_nodes(self) -> int:
        return len(self.token)

    @property
    def depth(self) -> int:
        return self.codes.shape[1]

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in (self.first, self.token, self.low, self.high, self.order, self.levels, self.codes))

    @cached_property
    def lengths(self) -> np.ndarray:
        """(answers,) int64, tokens of each code."""
        return (self.codes >= 0).sum(axis=1)

    @cached_property
    def rank(self) -> np.ndarray:
        """(answers,) int32, the place of each answer in `order`."""
        rank = np.empty_like(self.order)
        rank[self.order] = np.arange(len(rank), dtype=rank.dtype)
        return rank

    @cached_property
    def leaf(self) -> np.ndarray:
        """(answers,) int32, the leaf each answer ends at."""
        leaves = np.flatnonzero(self.first[1:] == self.first[:-1]).astype(np.int32)
        leaf = np.empty_like(self.order)
        leaf[self.order[self.low[leaves]]] = leaves
        return leaf

    @cached_property
    def parent(self) -> np.ndarray:
        """(nodes,) int32, -1 at the root."""
        return np.concatenate([[-1], np.repeat(np.arange(self.num_nodes), np.diff(self.first))]).astype(np.int32)

    @cached_property
    def level(self) -> np.ndarray:
        """(nodes,) int64, tokens from the root."""
        return np.repeat(np.arange(len(self.levels) - 1), np.diff(self.levels))

    def code(self, row: int) -> list[int]:
        """The tokens of one answer."""
        return self.codes[row, : self.lengths[row]].tolist()

    def paths(self, rows: np.ndarray) -> np.ndarray:
        """The nodes the codes of these answers run through, the root first, right-padded with -1: (...,) -> (..., depth + 1) int64."""
        paths = np.zeros((*rows.shape, self.depth + 1), dtype=np.int64)
        for level in range(1, len(self.levels) - 1):
            start, stop = self.levels[level : level + 2]
            paths[..., level] = start + np.searchsorted(self.low[start:stop], self.rank[rows], side="right") - 1
        paths[np.arange(self.depth + 1) > self.lengths[rows][..., None]] = -1
        return paths

    def steps(self, row: int) -> tuple[list[int], list[int]]:
        """The way to one answer: the nodes it is chosen at, and which child it takes there."""
        path = self.paths(np.asarray(row))[: self.lengths[row] + 1]
        return path[:-1].tolist(), (path[1:] - self.first[path[:-1]]).tolist()

    def with_code(self, code: Sequence[int]) -> Trie:
        """The trie with one answer more, the last row, as `build` would make it; without sorting, in a fraction of the time. Raises ValueError as `build` does."""
        path = [0]
        while len(path) <= len(code):
            first, stop = self.first[path[-1] : path[-1] + 2]
            child = int(first + np.searchsorted(self.token[first:stop], code[len(path) - 1]))
            if child == stop or self.token[child] != code[len(path) - 1]:
                break
            path.append(child)
        level = len(path) - 1
        if level == len(code) or first == stop:
            other = self.order[self.low[path[-1]]]
            raise ValueError(f"answers {other} and {len(self.order)} collide: one of the codes {self.code(int(other))} and {list(code)} equals or begins the other")
        place = int(self.low[child] if child < stop else self.high[path[-1]])  # of the new answer in the order of codes
        depth, added = max(self.depth, len(code)), len(code) - level
        levels = np.concatenate([self.levels, np.full(depth + 2 - len(self.levels), self.num_nodes)])
        at = np.array([start + np.searchsorted(self.low[start:stop], place) for start, stop in zip(levels[level + 1 : len(code) + 1], levels[level + 2 : len(code) + 2])])
        # Children shift by the new nodes that stand before them: those of the branching node's later siblings, and of whoever stands behind a new parent.
        numbers = np.arange(self.num_nodes + 1)
        first = self.first + (numbers > path[-1])
        for parent in at[:-1]:
            first += numbers >= parent
        begin = np.append(at[1:] + np.arange(1, added), first[at[-1]])
        low, high = self.low + (self.low >= place), self.high + (self.high > place)
        low[path], high[path] = self.low[path], self.high[path] + 1
        codes = np.full((len(self.order) + 1, depth), -1, dtype=np.int32)
        codes[:-1, : self.depth], codes[-1, : len(code)] = self.codes, code
        small = lambda array: array.astype(np.int32, copy=False)  # noqa: E731
        return Trie(
            small(np.insert(first, at, begin)), np.insert(self.token, at, code[level:]), small(np.insert(low, at, place)), small(np.insert(high, at, place + 1)),
            np.insert(self.order, place, len(self.order)), levels + np.clip(np.arange(depth + 2) - level - 1, 0, added), codes,
        )

    def alive(self, allowed: np.ndarray) -> np.ndarray:
        """(nodes,) bool, which nodes have an allowed answer below them. allowed: (answers,) bool."""
        counts = np.concatenate([[0], np.cumsum(allowed[self.order])])
        return counts[self.high] > counts[self.low]


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


def _sorted(codes: np.ndarray) -> np.ndarray:
    """Rows in the order of their codes. Codes that fit a number of 63 bits are sorted as one, several times faster."""
    span = codes.max(axis=0).astype(np.int64) + 2
    if np.log2(span).sum() >= 63:
        return np.lexsort(codes.T[::-1])
    key = np.zeros(len(codes), dtype=np.int64)
    for column, size in zip(codes.T, span):
        key = key * size + column + 1
    return np.argsort(key, kind="stable")


def _bare(code: np.ndarray) -> list[int]:
    return code[code >= 0].tolist()
