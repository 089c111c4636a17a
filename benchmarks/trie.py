"""The trie of a catalogue: how long it takes to build, how large it is, and what a step of a search pays for it; beside STATIC's.

    git clone https://github.com/youtube/static-constraint-decoding runs/peers/static-constraint-decoding
    python benchmarks/trie.py                        # minutes on two CPU cores; --largest 10000000 for the last decade
    python benchmarks/trie.py --device cuda

A step here is the masking and gathering of 160 beams (batch 8, 20 beams): from logits to the log-probabilities of each node's children. STATIC (Su et al. 2026) normalises over all
tokens of a level and then masks; for the comparison of outputs its children's log-probabilities are normalised among themselves, outside the time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.measure import Figure, in_turn, options, ratios, record
from benchmarks.models import CODES, LEVELS, WORDS, bench, catalogue, space_of
from llmrec.answers import Trie
from llmrec.decoding.reading import Reading
from llmrec.model import LanguageModel, SpaceTensors

PEER = Path(__file__).parent.parent / "runs" / "peers" / "static-constraint-decoding"
BEAMS = 160
REPEATS = 200
"""Steps timed as one: a single one is too short for the clock."""


def shared_tokens(num_items: int) -> np.ndarray:
    """The catalogue with the same 256 tokens at every level, as STATIC has them: its logits are then the same as ours."""
    return (catalogue(num_items) - WORDS) % CODES


class Ours:
    """One masking step at each level below the root."""

    def __init__(self, codes: np.ndarray, device: str):
        begun = time.perf_counter()
        self.trie = Trie.build(codes)
        self.seconds = time.perf_counter() - begun
        self.space = SpaceTensors.of(space_of(self.trie), torch.device(device))
        rows = np.random.default_rng(1).integers(0, len(codes), BEAMS)
        self.nodes = torch.as_tensor(self.trie.paths(rows)[:, 1:LEVELS].T.copy(), device=device)

    def step(self, logits: torch.Tensor, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of the children, and the first child of each node."""
        return LanguageModel.child_log_probs(None, logits, self.nodes[level], self.space)


class Static:
    """STATIC's own functions over the same codes and nodes: a dense table for the second token, CSR rows for those behind it."""

    def __init__(self, codes: np.ndarray, ours: Ours, device: str):
        sys.path.insert(0, str(PEER))
        from static_decoding import csr_utils, decoding_pt

        ordered = codes[np.lexsort(codes.T[::-1])]
        begun = time.perf_counter()
        packed, indptr, self.widest, start, mask, states = csr_utils.build_static_index(ordered, vocab_size=CODES)
        self.seconds = time.perf_counter() - begun
        self.kernel, self.device = decoding_pt.generate_and_apply_logprobs_mask, torch.device(device)
        self.packed, self.indptr, self.mask, self.table = (torch.as_tensor(array, device=device) for array in (packed, indptr, mask, states))
        levels = ours.trie.levels
        first = ours.space.tokens[ours.space.column[ours.nodes[0]]] + 1
        self.states = [first, CODES + 1 + ours.nodes[1] - int(levels[2]), CODES + 1 + int(levels[3] - levels[2]) + ours.nodes[2] - int(levels[3])]

    def step(self, logits: torch.Tensor, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The children's log-probabilities, not normalised among them, and their tokens."""
        log_probs = logits.log_softmax(-1)
        if level == 0:
            parent = self.states[0] - 1
            scores = torch.where(self.mask[parent], log_probs, torch.tensor(-float("inf"), device=self.device))
            self.table[parent]
            return scores, torch.arange(CODES, device=self.device).expand(scores.shape)
        scores, tokens, _ = self.kernel(log_probs, self.states[level], self.packed, self.indptr, self.widest[level + 1], CODES, self.device)
        return scores, tokens


def check(ours: Ours, static: Static, logits: torch.Tensor) -> None:
    """Raises ValueError where the two disagree on a child or its log-probability."""
    for level in range(LEVELS - 1):
        tables = []
        scores, first = ours.step(logits, level)
        children = (first[:, None] + torch.arange(scores.shape[1], device=first.device)).clamp(max=ours.trie.num_nodes - 1)
        for scores, tokens in ((scores, ours.space.tokens[ours.space.column[children]]), static.step(logits, level)):
            scores = scores - scores.logsumexp(-1, keepdim=True)
            table = torch.full((BEAMS, CODES), -torch.inf, device=logits.device)
            table.scatter_reduce_(1, tokens.long().clamp(max=CODES - 1), scores, "amax")
            tables.append(table)
        if not torch.allclose(*tables, atol=1e-5):
            raise ValueError(f"the children at level {level + 1} differ")


@torch.inference_mode()
def main() -> None:
    parser = options(__doc__, rounds=7)
    parser.add_argument("--largest", type=int, default=1_000_000, help="items of the largest catalogue")
    arguments = parser.parse_args()
    device = arguments.device
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BEAMS, CODES, generator=generator).to(device)
    sizes = [10**power for power in range(3, 9) if 10**power <= arguments.largest]
    steps = {}
    for size in sizes:
        codes = shared_tokens(size)
        ours = Ours(codes, device)
        steps[f"{size:,}"] = lambda ours=ours: [ours.step(logits, level) for _ in range(REPEATS) for level in range(LEVELS - 1)]
        if size == 1_000_000:
            built = [Ours(codes, "cpu").seconds for _ in range(arguments.rounds)]
            record([
                Figure.of("trie of 1,000,000 items: seconds to build", built, goal="<= 5", device=device),
                Figure.of("trie of 1,000,000 items: megabytes", [ours.trie.num_bytes / 1e6], goal="<= 100", device=device),
            ])
        if not PEER.is_dir():
            print(f"{PEER} is not there: not compared with STATIC (see the head of this file)", file=sys.stderr)
            continue
        static = Static(codes, ours, device)
        check(ours, static, logits)
        seconds = in_turn(
            {
                "ours": steps[f"{size:,}"],
                "STATIC": lambda: [static.step(logits, level) for _ in range(REPEATS) for level in range(LEVELS - 1)],  # noqa: B023
            },
            rounds=arguments.rounds, device=device,
        )
        record([Figure.of(f"masking step, {size:,} items: times as fast as STATIC", ratios(seconds["STATIC"], seconds["ours"]), goal=">= 1", device=device)])
        if size == 1_000_000:
            rebuilt = [Static(codes, ours, "cpu").seconds for _ in range(3)]
            record([Figure.of("trie of 1,000,000 items: times as fast to build as STATIC's from sorted codes", [a / b for a, b in zip(rebuilt, built)], device=device)])
    side = bench(device=device)
    reading = Reading.of(side.model, side.prompts(8, 200).tolist())
    tokens = torch.full((8, 20), int(side.trie.token[1]), device=device)
    alone = torch.eye(20, dtype=torch.bool, device=device)

    def whole_step() -> None:
        for _ in range(5):
            reading.grow(tokens, torch.zeros(20, dtype=torch.long, device=device), alone)
            reading.rewind()

    seconds = in_turn({**steps, "model": whole_step}, rounds=arguments.rounds, device=device)
    record([
        Figure.of(f"masking step: per cent of a step of the model, {name} items", [100 * (a / REPEATS / (LEVELS - 1)) / (b / 5 + a / REPEATS / (LEVELS - 1)) for a, b in zip(seconds[name], seconds["model"])], goal="<= 3", device=device)
        for name in steps
    ])
    record([Figure.of(f"masking step: times its time at 1,000 items, {name} items", ratios(seconds[name], seconds["1,000"]), device=device) for name in list(steps)[1:]])


if __name__ == "__main__":
    main()
