"""How the cost of an answer grows: catalogue, history, beams, batch and model, each alone, all else at the middle of the table.

    python benchmarks/growth.py                       # minutes on two CPU cores
    python benchmarks/growth.py --largest 10000000    # the catalogue up to 10,000,000 items: 6 GB
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import matplotlib
import torch
from matplotlib.figure import Figure as Drawing

from benchmarks.measure import GROWTH, Figure, in_turn, options, ratios, record, write_page
from benchmarks.models import Bench, bench, catalogue, space_of
from llmrec.answers import ITEMS, Trie
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import beam

ITEMS_, LENGTH, WIDTH, BATCH = 20_000, 200, 20, 8
HISTORY, BEAMS, BATCHES = (10, 30, 100, 300, 1_000), (1, 3, 10, 30, 100), (1, 4, 16, 64, 256)
MODELS = ((32, 2, 2), (128, 4, 2), (384, 5, 6), (896, 8, 14))
"""Hidden units, layers and heads: 1 to 107 million parameters with the tables of the vocabulary."""


def answer(side: Bench, prompts: torch.Tensor, width: int) -> Callable[[], object]:
    return lambda: beam(Reading.of(side.model, prompts.tolist()), side.trie, ITEMS, width=width)


def with_items(side: Bench, number: int) -> Bench:
    """The same model over another catalogue."""
    trie = Trie.build(catalogue(number))
    side.model.set_spaces({ITEMS: space_of(trie)})
    return Bench(side.model, side.plain, trie)


def sweeps(device: str, largest: int) -> Iterator[tuple[str, float, Callable[[], object], Callable[[], object]]]:
    """Axis, place on it, the answer there, and the answer at the middle of the table."""
    side = bench(ITEMS_, device=device)
    middle = answer(side, side.prompts(BATCH, LENGTH), WIDTH)
    for length in HISTORY:
        yield "tokens of history", length, answer(side, side.prompts(BATCH, length), WIDTH), middle
    for width in BEAMS:
        yield "beams", width, answer(side, side.prompts(BATCH, LENGTH), width), middle
    for batch in BATCHES:
        yield "requests in a batch", batch, answer(side, side.prompts(batch, LENGTH), WIDTH), middle
    for hidden, layers, heads in MODELS:
        other = bench(ITEMS_, device=device, hidden=hidden, layers=layers, heads=heads)
        yield "million parameters", round(sum(p.numel() for p in other.plain.parameters()) / 1e6, 1), answer(other, other.prompts(BATCH, LENGTH), WIDTH), middle
    for power in range(3, 8):
        if 10**power <= largest:
            # Two models: each knows one catalogue at a time.
            other = with_items(bench(1_000, device=device), 10**power)
            yield "items in the catalogue", 10**power, answer(other, other.prompts(BATCH, LENGTH), WIDTH), middle


def draw(curves: dict[str, list[tuple[float, float]]]) -> None:
    """docs/performance-growth.svg: one panel an axis, both scales logarithmic."""
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "llmrec"}  # text stays text, and the same figure gives the same bytes
    drawing = Drawing(figsize=(13, 2.8), layout="constrained")
    for axes, (axis, points) in zip(drawing.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        axes.loglog(*zip(*points, strict=True), "o-", color="#2563c9", markersize=4)
        axes.set_xlabel(axis)
        axes.grid(alpha=0.3)
    drawing.axes[0].set_ylabel("time of an answer, middle = 1")
    drawing.savefig(GROWTH, metadata={"Date": None})


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--largest", type=int, default=1_000_000, help="items of the largest catalogue")
    arguments = parser.parse_args()
    curves: dict[str, list[tuple[float, float]]] = {}
    for axis, place, here, middle in sweeps(arguments.device, arguments.largest):
        seconds = in_turn({"here": here, "middle": middle}, rounds=arguments.rounds, device=arguments.device)
        figure = Figure.of(f"cost of an answer, {place:,} {axis}: times that of {ITEMS_:,} items, {LENGTH} tokens, {WIDTH} beams, batch {BATCH}, 22 million parameters", ratios(seconds["here"], seconds["middle"]), device=arguments.device)
        record([figure])
        curves.setdefault(axis, []).append((place, figure.figure))
    draw(curves)
    write_page()


if __name__ == "__main__":
    main()
