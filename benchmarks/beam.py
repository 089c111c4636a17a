"""Beam search over a catalogue's codes: ours, transformers' two ways, and the floor below which no search can fall.

    python benchmarks/beam.py                    # minutes on two CPU cores
    python benchmarks/beam.py --device cuda

transformers-fn: `generate` with `prefix_allowed_tokens_fn`, as OpenP5 and LC-Rec use it.   transformers-processor: `generate` with a logits processor that looks at each beam, as MiniOneRec has.
floor: the same model reads the same prompts once and the same number of tokens in each later step, without any search.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from benchmarks.measure import Figure, in_turn, options, ratios, record
from benchmarks.models import LEVELS, Bench, bench
from llmrec.answers import ITEMS, Trie
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import beam

CELLS = ((8, 100, 20, 10), (8, 200, 20, 13), (8, 200, 50, 22), (8, 400, 20, 15), (1, 200, 20, 8))
"""(batch, prompt tokens, beams, times faster than transformers to reach)."""
FLOOR = 1.25


def ours(side: Bench, prompts: torch.Tensor, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Answer rows and scores, (B, width) each."""
    return beam(Reading.of(side.model, prompts.tolist()), side.trie, ITEMS, width=width)


def children_of(trie: Trie) -> dict[tuple[int, ...], list[int]]:
    """Allowed next tokens by the tokens so far, as the peers keep them."""
    table: dict[tuple[int, ...], set[int]] = {}
    for code in trie.codes.tolist():
        for length in range(LEVELS):
            table.setdefault(tuple(code[:length]), set()).add(code[length])
    return {prefix: sorted(tokens) for prefix, tokens in table.items()}


class PerBeam(LogitsProcessor):
    """Looks at every beam's tokens and masks all but the allowed next ones."""

    def __init__(self, table: dict[tuple[int, ...], list[int]], prompt_tokens: int):
        self.table, self.prompt_tokens = table, prompt_tokens

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        mask = torch.full_like(scores, -torch.inf)
        for row, tokens in enumerate(input_ids[:, self.prompt_tokens :].tolist()):
            mask[row, self.table.get(tuple(tokens), [2])] = 0
        return scores + mask


@torch.inference_mode()
def transformers(side: Bench, prompts: torch.Tensor, width: int, table: dict[tuple[int, ...], list[int]], *, processor: bool) -> tuple[np.ndarray, np.ndarray]:
    """The peer's answer rows and scores, (B, width) each."""
    length = prompts.shape[1]
    way: dict[str, object] = {"logits_processor": LogitsProcessorList([PerBeam(table, length)])}
    if not processor:
        way = {"prefix_allowed_tokens_fn": lambda _, tokens: table.get(tuple(tokens[length:].tolist()), [2])}
    found = side.plain.generate(
        prompts, attention_mask=torch.ones_like(prompts), num_beams=width, num_return_sequences=width, max_new_tokens=LEVELS, do_sample=False, length_penalty=0.0,
        renormalize_logits=True, return_dict_in_generate=True, output_scores=True, **way,
    )
    rows = {tuple(code): row for row, code in enumerate(side.trie.codes.tolist())}
    answers = np.array([rows[tuple(tokens)] for tokens in found.sequences[:, length:].tolist()])
    return answers.reshape(-1, width), found.sequences_scores.double().cpu().numpy().reshape(-1, width)


@torch.inference_mode()
def floor(side: Bench, prompts: torch.Tensor, width: int) -> None:
    """One read of the prompts and the later steps' own arithmetic: each beam's token behind the prompt and its ancestors, and the children's logits."""
    reading = Reading.of(side.model, prompts.tolist())
    size, space = len(prompts), side.model.spaces[ITEMS]
    side.model.space_logits(reading.last, space)
    tokens = torch.full((size, width), int(side.trie.token[1]), device=prompts.device)
    for depth in range(LEVELS - 1):
        sees = torch.eye(width, dtype=torch.bool, device=prompts.device).repeat(1, depth + 1)
        hidden = reading.grow(tokens, torch.full((width,), depth, device=prompts.device), sees)
        side.model.space_logits(hidden.reshape(size * width, -1), space)


def same(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """The largest difference of scores. Raises ValueError where the lists differ."""
    gap = float(np.abs(one[1] - other[1]).max())
    differ = int((one[0] != other[0]).sum())
    if differ or gap > 1e-4:
        raise ValueError(f"the lists differ: {differ} of {one[0].size} places, scores by {gap:.2g}")
    return gap


def main() -> None:
    arguments = options(__doc__, rounds=5).parse_args()
    side = bench(device=arguments.device)
    table, double = children_of(side.trie), side.double()
    for batch, length, width, goal in CELLS:
        prompts = side.prompts(batch, length)
        gap = max(same(ours(double, prompts, width), transformers(double, prompts, width, table, processor=processor)) for processor in (False, True))
        seconds = in_turn(
            {
                "ours": lambda: ours(side, prompts, width),  # noqa: B023
                "floor": lambda: floor(side, prompts, width),  # noqa: B023
                "transformers-fn": lambda: transformers(side, prompts, width, table, processor=False),  # noqa: B023
                "transformers-processor": lambda: transformers(side, prompts, width, table, processor=True),  # noqa: B023
            },
            rounds=arguments.rounds, device=arguments.device,
        )
        cell = f"batch {batch}, {length} tokens, {width} beams"
        record([
            Figure.of(f"beam, {cell}: times faster than transformers with prefix_allowed_tokens_fn", ratios(seconds["transformers-fn"], seconds["ours"]), goal=f">= {goal}", device=arguments.device),
            Figure.of(f"beam, {cell}: times faster than transformers with a processor per beam", ratios(seconds["transformers-processor"], seconds["ours"]), goal=f">= {goal}", device=arguments.device),
            Figure.of(f"beam, {cell}: times the floor", ratios(seconds["ours"], seconds["floor"]), goal=f"<= {FLOOR}", device=arguments.device),
            Figure.of(f"beam, {cell}: largest difference of a score, computed in 64 bits", [gap], goal="<= 1e-4", device=arguments.device),
        ])


if __name__ == "__main__":
    main()
