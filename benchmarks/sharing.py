"""What is read once: a request's history for all its candidates, a batch's instruction for all its requests, a trie's prefixes for the whole catalogue.

    python benchmarks/sharing.py
    python benchmarks/sharing.py --device cuda
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.measure import Figure, in_turn, options, ratios, record
from benchmarks.models import Bench, bench
from llmrec.answers import ITEMS
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import beam, exact, score

LENGTH, CANDIDATES, WIDTH = 200, 100, 20


def candidates(side: Bench, device: str, rounds: int) -> None:
    """One history with 100 candidates, and with one; and each candidate behind a copy of the history, as a plain model scores them."""
    prompt = side.prompts(1, LENGTH)
    rows = np.random.default_rng(3).choice(len(side.trie.order), (1, CANDIDATES), replace=False)
    whole = torch.cat([prompt.repeat(CANDIDATES, 1), torch.as_tensor(side.trie.codes[rows[0]], device=device, dtype=torch.long)], dim=1)

    def ours(given: np.ndarray) -> np.ndarray:
        return score(Reading.of(side.model, prompt.tolist()), side.trie, ITEMS, given)

    @torch.inference_mode()
    def copies() -> np.ndarray:
        """Joint log-probabilities from the plain model's logits, each token normalised over its node's children."""
        logits = side.plain(whole, use_cache=False).logits[:, LENGTH - 1 : -1]
        scores = np.zeros(CANDIDATES)
        for place, row in enumerate(rows[0]):
            for step, node in enumerate(side.trie.steps(row)[0]):
                tokens = side.trie.token[side.trie.first[node] : side.trie.first[node + 1]]
                among = logits[place, step, torch.as_tensor(tokens, device=device, dtype=torch.long)].log_softmax(0)
                scores[place] += float(among[int(np.flatnonzero(tokens == side.trie.codes[row, step])[0])])
        return scores

    gap = np.abs(ours(rows)[0] - copies()).max()
    if gap > 1e-3:
        raise ValueError(f"candidates score differently behind a shared history, by {gap:.2g}")
    seconds = in_turn({"100": lambda: ours(rows), "1": lambda: ours(rows[:, :1]), "copies": copies}, rounds=rounds, device=device)
    record([
        Figure.of("100 candidates of one request: times the cost of one", ratios(seconds["100"], seconds["1"]), goal="<= 2", device=device),
        Figure.of("100 candidates of one request: times faster than a copy of the history each", ratios(seconds["copies"], seconds["100"]), device=device),
    ])


def instruction(side: Bench, device: str, rounds: int) -> None:
    """16 requests whose first 100 of 200 tokens are one instruction, and 16 that share nothing."""
    apart = side.prompts(16, LENGTH)
    alike = apart.clone()
    alike[:, : LENGTH // 2] = apart[0, : LENGTH // 2]
    seconds = in_turn({"apart": lambda: Reading.of(side.model, apart.tolist()), "alike": lambda: Reading.of(side.model, alike.tolist(), lead=LENGTH // 2)}, rounds=rounds, device=device)
    record([Figure.of("16 requests with half of their prompts in common: times faster to read", ratios(seconds["apart"], seconds["alike"]), device=device)])


def whole_catalogue(side: Bench, device: str) -> None:
    """Every item scored through shared prefixes; and what a beam loses against it."""
    shares, gaps = [], []
    for number in range(4):
        prompts = side.prompts(number + 1, LENGTH)[-1:].tolist()
        rows, scores = beam(Reading.of(side.model, prompts), side.trie, ITEMS, width=WIDTH)
        truth = exact(Reading.of(side.model, prompts), side.trie, ITEMS)[0]
        best = np.argsort(-truth, kind="stable")[:WIDTH]
        if np.abs(truth[rows[0]] - scores[0]).max() > 1e-3 or abs(np.exp(truth).sum() - 1) > 1e-3:
            raise ValueError("the beam's scores are not those of the exact search, or these don't sum to 1")
        shares.append(100 * float(np.isin(best, rows[0]).mean()))
        gaps.append(100 * float(1 - np.exp(truth[rows[0]]).sum() / np.exp(truth[best]).sum()))
    read = int((np.diff(side.trie.first) > 1).sum())
    record([
        Figure.of(f"exact search, 20,000 items: tokens read for all of them, per token that scoring each alone reads ({LENGTH} + 4 an item)", [read / (len(side.trie.order) * (LENGTH + 4))], device=device),
        Figure.of(f"a beam of {WIDTH}: per cent of the {WIDTH} best items it finds", shares, device=device),
        Figure.of(f"a beam of {WIDTH}: per cent of the {WIDTH} best items' probability it loses", gaps, device=device),
    ])


def main() -> None:
    arguments = options(__doc__, rounds=7).parse_args()
    side = bench(device=arguments.device)
    candidates(side, arguments.device, arguments.rounds)
    instruction(side, arguments.device, arguments.rounds)
    whole_catalogue(side, arguments.device)


if __name__ == "__main__":
    main()
