"""Answering a file of requests: against the engine in memory, and how memory grows with the file.

    python benchmarks/generate.py --model runs/demo/model                       # 10,000 and 100,000 requests
    python benchmarks/generate.py --model runs/demo/model --largest 1000000
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from benchmarks.measure import Figure, in_turn, options, record, run_measured
from llmrec.launch import collect_seldom
from llmrec.predictions import Request
from llmrec.recommender import Recommender

HISTORY = (1, 40)
"""Events of a history, at least and at most."""


def requests(items: list[str], count: int, *, seed: int = 0) -> list[dict]:
    """next_item requests over random histories."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(*HISTORY, count)
    return [{"id": str(number), "history": [items[row] for row in rng.integers(0, len(items), size)], "k": 10} for number, size in enumerate(sizes)]


class Files:
    """Files of requests, answered by the command."""

    def __init__(self, model: str, items: list[str], folder: Path):
        self.model, self.items, self.folder = model, items, folder
        self.peaks: dict[int, int] = {}

    def ask(self, count: int) -> float:
        """Answers a file of so many requests, and checks that the answers stand in the order of the requests. Returns the command's seconds."""
        source, target = self.folder / f"{count}.jsonl", self.folder / "results.jsonl"
        if not source.is_file():
            source.write_text("".join(json.dumps(request) + "\n" for request in requests(self.items, count)))
        done = run_measured([sys.executable, "-m", "llmrec.generate", self.model, "--input", str(source), "--output", str(target)])
        self.peaks[count] = done.peak_bytes
        with open(target) as answers:
            if [json.loads(line)["id"] for line in answers] != [str(number) for number in range(count)]:
                raise ValueError("the answers are not in the order of the requests")
        return done.seconds


def main() -> None:
    parser = options(__doc__, rounds=3, device=False)
    parser.add_argument("--model", required=True, help="a trained model's folder")
    parser.add_argument("--largest", type=int, default=100_000, help="requests of the largest file")
    arguments = parser.parse_args()
    recommender = Recommender.from_pretrained(arguments.model)
    items = list(recommender.catalog.item_ids)
    small = 10_000
    collect_seldom()  # as the command does
    with tempfile.TemporaryDirectory() as folder:
        files = Files(arguments.model, items, Path(folder))
        # Starting is no part of throughput: the time of the last 40,000 is that of 50,000 less that of 10,000.
        more = [Request.from_json(request) for request in requests(items, 5 * small)[small:]]
        seconds = in_turn(
            {"memory": lambda: [answer.to_json(recommender.titles) for answer in recommender.predict(more)], "10,000": lambda: files.ask(small), "50,000": lambda: files.ask(5 * small)},
            rounds=arguments.rounds, warm=0,
        )
        record([Figure.of("generate over a file: throughput over that of the engine in memory", [a / (c - b) for a, b, c in zip(*seconds.values())], goal=">= 0.9")])
        for count in (10**power for power in range(5, 8) if 10**power <= arguments.largest):
            files.ask(count)
            grown = (files.peaks[count] - files.peaks[5 * small]) / (count - 5 * small)  # both are larger than a window of requests
            record([
                Figure.of(f"generate, {count:,} requests in a file: megabytes at its peak", [files.peaks[count] / 1e6]),
                Figure.of(f"generate, {count:,} requests in a file: bytes of memory for each request beyond {5 * small:,}", [grown]),
            ])


if __name__ == "__main__":
    main()
