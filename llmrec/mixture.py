"""Mixture: examples of all tasks, packed into token batches, each task with its share of the loss.

Separate from the tasks (what an example is) and the loop (what is done with a batch). It holds no position: which examples make batch
`step`, in which words, follows from (seed, step) alone, so that a run resumed at any step sees what an unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from llmrec.answers import TEXT
from llmrec.composer import Composer, Example, Strand
from llmrec.tasks.task import BoundTask
from llmrec.templates import BARE, PromptTemplate, choose


@dataclass(frozen=True)
class Batch:
    """Packed examples. B rows, T tokens, S answer tokens.

    tokens, positions: (B, T) int64; positions go on from the trunk in every branch.
    example, branch: (B, T) int64; which example of the row a token belongs to (-1: padding), and which branch of it (0: the trunk).
    attach: (B, T) int64; how many trunk tokens a branch's token sees.
    slot: (S,) int64, flat place (row * T + place) of the token that predicts an answer token.   space: (S,) int64, number of its answer space.
    node: (S,) int64, the trie node before it.   target: (S,) int64, which child of the node it is; the token id for free text.
    task: (S,) int64, number of the task it counts for.   scale: (S,) float32: 1, or 1 / length for written answers, whose loss is the mean over their tokens.
    answers: (tasks,) float32, how many answers each task has here.
    """

    tokens: Tensor
    positions: Tensor
    example: Tensor
    branch: Tensor
    attach: Tensor
    slot: Tensor
    space: Tensor
    node: Tensor
    target: Tensor
    task: Tensor
    scale: Tensor
    answers: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(**{name: value.to(device, non_blocking=True) for name, value in self.__dict__.items()})

    def mask(self) -> Tensor:
        """(B, T, T) bool, True where token t sees token k: its own strand up to itself, and the trunk up to where the strand attaches. Padding sees itself only."""
        place = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        same = self.example[:, :, None] == self.example[:, None, :]
        own = (self.branch[:, :, None] == self.branch[:, None, :]) & (place[:, None] >= place[None, :])
        trunk = (self.branch[:, None, :] == 0) & (self.positions[:, None, :] < self.attach[:, :, None])
        padding = (self.example < 0)[:, :, None]
        return (same & (own | trunk) & ~padding) | (place[:, None] == place[None, :])


def pack(examples: Sequence[Example], composer: Composer, *, spaces: Mapping[str, int], tasks: Mapping[str, int], row_tokens: int, codes: int = 0) -> Batch:
    """Examples as rows of about `row_tokens` tokens (longer where one example is), longest first into the first row with room.

    spaces, tasks: the number of each answer space and task.
    codes: how many code tokens a table of the model's rows has, where it has a further one for each fold; an example's codes are then read from the table of its fold. 0: it has not.
    """
    order = sorted(range(len(examples)), key=lambda i: -examples[i].num_tokens)
    length = max(row_tokens, examples[order[0]].num_tokens)
    rows: list[list[Example]] = []
    room: list[int] = []
    for i in order:
        size = examples[i].num_tokens
        row = next((r for r in range(max(0, len(room) - 64), len(room)) if room[r] >= size), None)
        if row is None:
            rows.append([])
            room.append(length)
            row = len(rows) - 1
        rows[row].append(examples[i])
        room[row] -= size
    length -= min(room)
    shape = (len(rows), length)
    tokens, positions = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    example, branch, attach = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    table = np.zeros(shape, dtype=np.int64)
    slots = _Slots(composer, spaces)
    answers = np.zeros(len(tasks), dtype=np.float32)
    for r, members in enumerate(rows):
        at = 0
        for e, member in enumerate(members):
            trunk_start = at
            for b, strand in enumerate((member.trunk, *member.branches)):
                span = slice(at, at + len(strand.tokens))
                tokens[r, span] = strand.tokens
                positions[r, span] = np.arange(strand.attach, strand.attach + len(strand.tokens))
                example[r, span], branch[r, span], attach[r, span] = e, b, strand.attach
                table[r, span] = 0 if member.fold is None else 1 + member.fold
                before = r * length + (at - 1 if b == 0 else trunk_start + strand.attach - 1)
                slots.add(strand, r * length + at, before, tasks[member.task])
                at += len(strand.tokens)
            answers[tasks[member.task]] += member.num_answers
    tokens += codes * table * (tokens >= composer.vocabulary.size)
    arrays = dict(tokens=tokens, positions=positions, example=example, branch=branch, attach=attach, **slots.arrays())
    return Batch(**{name: torch.from_numpy(value) for name, value in arrays.items()}, answers=torch.from_numpy(answers))


class _Slots:
    """Collects, for every token of every answer, where it is predicted and among what."""

    def __init__(self, composer: Composer, spaces: Mapping[str, int]):
        self.composer, self.spaces = composer, spaces
        self.answers: list[tuple[int, int, int, int, int, int]] = []  # of each answer: where its first token is predicted, where it stands, tokens, space, row in it, task
        self.words: list[int] = []  # the tokens of written answers, one behind the other

    def add(self, strand: Strand, start: int, before: int, task: int) -> None:
        """start: flat place of the strand's first token; before: flat place of the token that precedes it."""
        spaces = self.spaces
        self.answers += [(start + first - 1 if first else before, start + first, stop - first, spaces[space], row, task) for first, stop, space, row in strand.answers]
        for first, stop, _, row in strand.answers:
            if row < 0:
                self.words.extend(strand.tokens[first:stop])

    def arrays(self) -> dict[str, np.ndarray]:
        columns = np.fromiter(chain.from_iterable(self.answers), dtype=np.int64, count=6 * len(self.answers))
        predicted, stands, sizes, spaces, rows, tasks = columns.reshape(-1, 6).T
        ends = np.cumsum(sizes)
        # A later token of an answer is predicted by the one before it.
        slots = np.repeat(stands - 1 - (ends - sizes), sizes) + np.arange(sizes.sum())
        slots[ends - sizes] = predicted
        node, target = np.zeros((2, len(slots)), dtype=np.int64)
        scale = np.ones(len(slots), dtype=np.float32)
        for name, number in self.spaces.items():
            members = np.flatnonzero(spaces == number)
            # places[a, t]: where token t of answer a stands among the slots
            steps = np.arange(sizes[members].max(initial=0))
            within = steps < sizes[members][:, None]
            places = ((ends - sizes)[members][:, None] + steps)[within]
            if name == TEXT:
                target[places] = self.words
                scale[places] = np.repeat(1 / sizes[members], sizes[members])
            elif len(members):
                trie = self.composer.spaces[name].trie
                paths = trie.paths(rows[members])
                above, below = paths[:, : len(steps)][within], paths[:, 1 : len(steps) + 1][within]
                node[places], target[places] = above, below - trie.first[above]
        return {
            "slot": slots, "space": np.repeat(spaces, sizes), "node": node, "target": target, "task": np.repeat(tasks, sizes), "scale": scale,
        }


class Mixture:
    """The batches of a run. `shares`: each task's share of the loss (they are normalised), and of the tokens unless `tokens` names another.

    temperature: where it is given, shares are multiplied with the tokens of each task's data to the power of 1 / temperature (Raffel et al. 2020, section 3.5.2).

    codes: as in `pack`.

    One epoch is as many tokens as one pass over all tasks' units would have.
    """

    def __init__(
        self, bound: Mapping[str, BoundTask], templates: Mapping[str, Sequence[PromptTemplate]], composer: Composer, shares: Mapping[str, float],
        *, batch_tokens: int, row_tokens: int, languages: Sequence[str], seed: int, tokens: Mapping[str, float] | None = None, temperature: float | None = None, codes: int = 0,
    ):
        self.bound, self.composer, self.seed = bound, composer, seed
        self.batch_tokens, self.row_tokens, self.codes = batch_tokens, row_tokens, codes
        self.names = list(bound)
        empty = [name for name in self.names if not len(bound[name])]
        if empty:
            raise ValueError(f"task {empty[0]!r} finds nothing to train on in this corpus; leave it out of tasks")
        self.tasks = {name: number for number, name in enumerate(self.names)}
        self.spaces = {name: number for number, name in enumerate(composer.spaces)}
        self.templates = {name: [t for language in languages for t in choose(templates[name], language, unseen=False)] for name in self.names}
        self.mean_tokens = {name: self._mean_tokens(name) for name in self.names}
        if temperature is not None:
            factors = {name: (len(bound[name]) * self.mean_tokens[name]) ** (1 / temperature) for name in self.names}
            shares, tokens = ({name: share * factors[name] for name, share in given.items() if name in factors} for given in (shares, tokens or {}))
        self.shares = torch.tensor(_normalised([shares[name] for name in self.names]))
        drawn = _normalised([{**shares, **(tokens or {})}[name] for name in self.names])
        self.units_per_step = {name: max(1, round(share * batch_tokens / self.mean_tokens[name])) for name, share in zip(self.names, drawn)}
        self._order = lru_cache(maxsize=2 * len(self.names))(self._shuffle)

    @property
    def steps_per_epoch(self) -> int:
        tokens = sum(len(self.bound[name]) * self.mean_tokens[name] for name in self.names)
        return max(1, round(tokens / self.batch_tokens))

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The rows of batch `step` that process `rank` of `world` computes."""
        examples: list[Example] = []
        for name in self.names:
            count = self.units_per_step[name]
            for index in range(step * count + rank, (step + 1) * count, world):
                example = self.example(name, index)
                if example is not None:
                    examples.append(example)
        if examples:
            return pack(examples, self.composer, spaces=self.spaces, tasks=self.tasks, row_tokens=self.row_tokens, codes=self.codes)
        # None of this step's units is this process's, or fits a prompt. An empty batch would stop the other processes: one without weight takes its place.
        batch = pack([self._any], self.composer, spaces=self.spaces, tasks=self.tasks, row_tokens=self.row_tokens, codes=self.codes)
        return replace(batch, scale=torch.zeros_like(batch.scale), answers=torch.zeros_like(batch.answers))

    @cached_property
    def _any(self) -> Example:
        found = (self.example(name, index) for name in self.names for index in range(min(len(self.bound[name]), 1_000)))
        example = next((example for example in found if example is not None), None)
        if example is None:
            raise ValueError(f"no example of {', '.join(self.names)} fits {self.composer.max_prompt_tokens} tokens; raise max_prompt_tokens")
        return example

    def example(self, name: str, index: int) -> Example | None:
        """Example number `index` of a task's endless sequence: pass after pass over its units, each in an order of its own."""
        bound = self.bound[name]
        cycle, place = divmod(index, len(bound))
        rng = np.random.default_rng([self.seed, self.tasks[name], index])
        template = self._wording(name, rng)
        return bound.example(int(self._order(name, cycle)[place]), self.composer, template, rng)

    def _wording(self, name: str, rng: np.random.Generator) -> PromptTemplate:
        """Any wording of a task; the bare one, where there is one, half of the time: it is what a finished model answers in unless asked otherwise, and the cheapest."""
        templates = self.templates[name]
        if templates[0].name == BARE and rng.random() < 0.5:
            return templates[0]
        return templates[int(rng.integers(len(templates)))]

    def _shuffle(self, name: str, cycle: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 1_000 + self.tasks[name], cycle]).permutation(len(self.bound[name]))

    def _mean_tokens(self, name: str) -> float:
        bound = self.bound[name]
        rng = np.random.default_rng([self.seed, 2_000])
        sizes = []
        for unit in rng.integers(len(bound), size=64):
            template = self._wording(name, rng)
            example = bound.example(int(unit), self.composer, template, rng)
            sizes.append(example.num_tokens if example is not None else 0)
        return max(1.0, float(np.mean(sizes)))


def _normalised(shares: Sequence[float]) -> list[float]:
    if not sum(shares) > 0:
        raise ValueError("the shares of all tasks are 0; give one of them a larger one")
    return [share / sum(shares) for share in shares]
