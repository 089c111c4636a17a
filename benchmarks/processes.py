"""Two training processes on one machine against one, a thread each; and what two processes that know nothing of each other reach, which is the machine's own limit.

    python benchmarks/processes.py --corpus corpora/ml-100k
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.measure import Figure, options, ratios, record

STEPS = 40
"""Steps of a run; the log has a line every 20, of which the first, with its warm-up, is left out."""


def command(corpus: Path, output: Path, processes: int) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m", "train.pretrain", f"data.corpus={corpus}", f"output={output}", f"processes={processes}",
        "threads=1", "precision=fp32", f"pretrain={{tasks: {{next_item: 1.0}}, max_steps: {STEPS}, epochs: 1000, batch_tokens: 8192, row_tokens: 256, average: 0}}",
        "pretrain.validation={metric: next_item/ndcg@10, every_epochs: 1000, limit: 10}",
    ]


def log_of(output: Path) -> list[dict]:
    rows = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


def run(corpus: Path, folder: Path, *, processes: int, at_once: int = 1) -> tuple[float, float]:
    """Steps per second over `at_once` runs together, and the last loss of the first."""
    outputs = [folder / f"{processes}-{number}" for number in range(at_once)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    running = [subprocess.Popen(command(corpus, output, processes), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) for output in outputs]
    for process in running:
        _, said = process.communicate()
        if process.returncode:
            raise RuntimeError(said[-2000:])
    logs = [log_of(output) for output in outputs]
    return sum(statistics.median(row["steps_per_second"] for row in log[1:]) for log in logs), logs[0][-1]["loss"]


def main() -> None:
    parser = options(__doc__, rounds=3, device=False)
    parser.add_argument("--corpus", type=Path, required=True, help="a prepared corpus")
    arguments = parser.parse_args()
    corpus = arguments.corpus.resolve()
    one, two, apart, losses = [], [], [], []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as name:
            speed, loss = run(corpus, Path(name), processes=1)
            one.append(speed)
            speed, other = run(corpus, Path(name), processes=2)
            two.append(speed)
            losses.append(abs(loss - other) / loss)
        with tempfile.TemporaryDirectory() as name:
            apart.append(run(corpus, Path(name), processes=1, at_once=2)[0])
    record([
        Figure.of("two processes, a thread each: times the speed of one", ratios(two, one), goal=">= 1.6"),
        Figure.of("two trainings that exchange nothing, a thread each: times the speed of one alone", ratios(apart, one)),
        Figure.of(f"two processes: relative difference of the loss after {STEPS} steps", losses, goal="<= 0.001"),
    ])


if __name__ == "__main__":
    main()
