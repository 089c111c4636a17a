"""Sides measured in turn, and the record of what was seen.

The sides of a comparison run one after the other, round after round, in one process: a neighbour on the machine slows all of them,
and the ratio of a round stands. A figure is the median of the rounds; its spread is their lowest and highest.

    python benchmarks/measure.py      # writes docs/performance.md again from docs/performance.json
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import llmrec  # noqa: F401, I001  how idle threads wait is decided before torch is imported, here as in the commands
import torch

RECORD = Path(__file__).parent.parent / "docs" / "performance.json"
GROWTH = RECORD.with_name("performance-growth.svg")

PREAMBLE = """# Performance

Written by `python benchmarks/measure.py` from `performance.json`, which the commands below write; do not edit.
Sides of one row ran in turn in one process on the same weights and inputs, and their outputs were compared. A figure is the median of its rounds, the spread their lowest and highest; times are single machines' and only their ratios are to be read.
"""


@dataclass(frozen=True)
class Figure:
    """One row of the record. figure: the median of the rounds.   goal: what it must reach, such as ">= 10" (empty: none was set).   spread: lowest and highest round."""

    name: str
    figure: float
    goal: str
    holds: bool | None
    command: str
    machine: str
    spread: tuple[float, float]

    @classmethod
    def of(cls, name: str, rounds: Sequence[float], *, goal: str = "", device: str = "cpu") -> Figure:
        """The figure of these rounds. Raises ValueError for a goal that is not a comparison with a number."""
        median = statistics.median(rounds)
        return cls(name, median, goal, holds(median, goal), command(), machine(device), (min(rounds), max(rounds)))


def holds(figure: float, goal: str) -> bool | None:
    """Whether a figure reaches a goal such as ">= 10" or "<= 1.25"; None without a goal."""
    if not goal:
        return None
    sign, number = goal.split()[:2]
    if sign not in (">=", "<="):
        raise ValueError(f"goal is {goal!r}; expected '>= NUMBER' or '<= NUMBER'")
    return figure >= float(number) if sign == ">=" else figure <= float(number)


def in_turn(sides: Mapping[str, Callable[[], object]], *, rounds: int, device: str = "cpu", warm: int = 1) -> dict[str, list[float]]:
    """Seconds of every side in every round, the sides in turn: of the call, or those it returns as a float, where only a part of it counts. `warm` rounds before are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warm + rounds):
        for name, side in sides.items():
            gc.collect()
            _settle(device)
            begun = time.perf_counter()
            own = side()
            _settle(device)
            if number >= warm:
                seconds[name].append(own if isinstance(own, float) else time.perf_counter() - begun)
            print(f"\r{name}: round {number + 1} of {warm + rounds}   ", end="", file=sys.stderr, flush=True)
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return seconds


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    """How many times the one takes the time of the other, round by round."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


@dataclass(frozen=True)
class Run:
    """What a process of its own took."""

    seconds: float
    peak_bytes: int


_RUNNER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_measured(arguments: Sequence[str]) -> Run:
    """Runs a command from the root of the checkout. Raises RuntimeError with its last words where it fails.

    A small process stands between: the peak of a child of ours would begin at our own size.
    """
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-S", "-c", _RUNNER, *arguments], cwd=RECORD.parent.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{shlex.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Run(seconds, int(done.stdout))


def record(figures: Sequence[Figure]) -> None:
    """Prints the figures, and puts them into docs/performance.json (a row of the same name and kind of machine is replaced) and docs/performance.md."""
    rows = json.loads(RECORD.read_text()) if RECORD.is_file() else []
    for figure in figures:
        row = asdict(figure)
        place = next((n for n, old in enumerate(rows) if (old["name"], old["machine"]) == (figure.name, figure.machine)), len(rows))
        rows[place : place + 1] = [row]
        print(f"{figure.name}: {_number(figure.figure)} ({_number(figure.spread[0])} to {_number(figure.spread[1])}){f', goal {figure.goal}: ' + ('holds' if figure.holds else 'missed') if figure.goal else ''}")
    RECORD.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")
    write_page()


def write_page() -> None:
    """docs/performance.md from docs/performance.json: a table a machine and command."""
    rows = json.loads(RECORD.read_text())
    parts = [PREAMBLE]
    if not any("GPU" in row["machine"] for row in rows):
        parts.append("No accelerator was available: every figure here is a CPU's.\n")
    for name in dict.fromkeys(row["machine"] for row in rows):
        parts.append(f"## {name}\n")
        for line in dict.fromkeys(row["command"] for row in rows if row["machine"] == name):
            parts.append(f"`{line}`\n\n| | figure | spread | goal | |\n|---|---|---|---|---|")
            for row in rows:
                if (row["machine"], row["command"]) == (name, line):
                    state = {None: "", True: "holds", False: "**missed**"}[row["holds"]]
                    parts.append(f"| {row['name']} | {_number(row['figure'])} | {_number(row['spread'][0])} to {_number(row['spread'][1])} | {row['goal']} | {state} |")
            parts.append("")
    if GROWTH.is_file():
        parts.append(f"## How cost grows\n\n![time of an answer over each axis alone]({GROWTH.name})\n")
    RECORD.with_suffix(".md").write_text("\n".join(parts))


def command() -> str:
    """The command this process was started with, from the root of the checkout."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def machine(device: str) -> str:
    """The machine in words: what computes, with how many threads, under which torch."""
    if device == "cuda":
        return f"GPU {torch.cuda.get_device_name()}, torch {torch.__version__}"
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.processor())
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def options(doc: str, *, rounds: int | None = None, device: bool = True) -> argparse.ArgumentParser:
    """The arguments most benchmarks share; `doc` is the benchmark's docstring, `rounds` how many it takes unless told otherwise (None: it has none)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if device:
        parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="how often the sides run in turn")
    return parser


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    write_page()
