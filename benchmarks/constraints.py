"""What a request's own constraints cost a beam search, and how long a catalogue takes to change.

    python benchmarks/constraints.py
    python benchmarks/constraints.py --device cuda

Each prompt of the batch has constraints of its own: a history of 50 items left out, and for half of them one of two predicates that a third of the catalogue satisfies.
The sides search the same prompts; what is found is compared with the unconstrained scores of the same answers.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from benchmarks.measure import Figure, in_turn, options, ratios, record
from benchmarks.models import Bench, bench, catalogue
from llmrec.answers import ITEMS
from llmrec.decoding.allowed import Allowed
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import beam, score

BATCH, LENGTH, WIDTH, HISTORY = 8, 200, 20, 50


def constraints(num_items: int) -> Allowed:
    """A history for every prompt and a predicate for every other."""
    rng = np.random.default_rng(2)
    thirds = [rng.random(num_items) < 1 / 3 for _ in range(2)]
    return Allowed([thirds[row // 2 % 2] if row % 2 else None for row in range(BATCH)], [rng.choice(num_items, HISTORY, replace=False) for _ in range(BATCH)])


def check(side: Bench, prompts: list[list[int]], allowed: Allowed) -> None:
    """Raises ValueError where an answer is not allowed or its score is another than without constraints."""
    rows, scores = beam(Reading.of(side.model, prompts), side.trie, ITEMS, width=WIDTH, allowed=allowed)
    if not np.take_along_axis(allowed.dense(len(side.trie.order)), rows, axis=1).all():
        raise ValueError("an answer that is not allowed was given")
    gap = np.abs(score(Reading.of(side.model, prompts), side.trie, ITEMS, rows) - scores).max()
    if gap > 1e-3:
        raise ValueError(f"scores change by {gap:.2g} under constraints")


def changes(side: Bench, device: str, rounds: int) -> None:
    """An item more: the trie with its code. An item less: left out of a stock list that every request of a batch shares, from the list to what a search asks of it."""
    known = {tuple(code) for code in side.trie.codes.tolist()}
    more = [code for code in catalogue(2 * len(known), seed=1).tolist() if tuple(code) not in known][:rounds]
    space, stock = side.model.spaces[ITEMS], np.ones(len(side.trie.order), dtype=bool)
    added, removed = [], []
    for number, code in enumerate(more):
        begun = time.perf_counter()
        side.trie.with_code(code)
        added.append(1e3 * (time.perf_counter() - begun))
        begun = time.perf_counter()
        stock[number] = False
        Allowed([stock] * BATCH, [np.zeros(0, dtype=np.int64)] * BATCH).living(side.trie, space)
        removed.append(1e3 * (time.perf_counter() - begun))
    items = f"{len(side.trie.order):,} items"
    goal = "<= 1" if len(side.trie.order) <= 20_000 else ""
    record([
        Figure.of(f"{items}: milliseconds to add one", added[1:], goal=goal, device=device),
        Figure.of(f"{items}: milliseconds to take one out of stock", removed[1:], goal=goal, device=device),
    ])


def main() -> None:
    arguments = options(__doc__, rounds=9).parse_args()
    for num_items in (20_000, 1_000_000):
        side = bench(num_items, device=arguments.device)
        prompts, allowed = side.prompts(BATCH, LENGTH).tolist(), constraints(num_items)
        check(side, prompts, allowed)
        seconds = in_turn(
            {
                "free": lambda: beam(Reading.of(side.model, prompts), side.trie, ITEMS, width=WIDTH),  # noqa: B023
                "constrained": lambda: beam(Reading.of(side.model, prompts), side.trie, ITEMS, width=WIDTH, allowed=allowed),  # noqa: B023
            },
            rounds=arguments.rounds, device=arguments.device,
        )
        record([Figure.of(f"constraints of each request, {num_items:,} items: times an unconstrained search", ratios(seconds["constrained"], seconds["free"]), goal="<= 1.1", device=arguments.device)])
        changes(side, arguments.device, 20)


if __name__ == "__main__":
    main()
