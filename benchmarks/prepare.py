"""Preparing a large log: 20 million rows of Parquet, in a process of its own.

    python benchmarks/prepare.py                  # 20,000,000 rows
    python benchmarks/prepare.py --rows 2000000
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import polars as pl

from benchmarks.measure import Figure, options, record, run_measured


def write_log(folder: Path, rows: int, *, items: int, seed: int = 0) -> tuple[Path, Path]:
    """A log with popular and rare items, about 100 events a user, a time, a rating and an event word in each row; and its items, with titles of six words. Returns both files."""
    rng = np.random.default_rng(seed)
    users = max(10, rows // 100)
    part = 1_000_000
    (folder / "log").mkdir()
    for number, start in enumerate(range(0, rows, part)):
        size = min(part, rows - start)
        item = (items * rng.random(size) ** 3).astype(np.int64)
        pl.DataFrame({
            "user_id": pl.Series(rng.integers(0, users, size)).cast(pl.String), "item_id": "i" + pl.Series(item).cast(pl.String), "timestamp": rng.integers(1_600_000_000, 1_700_000_000, size),
            "event": np.array(["impression", "click", "purchase"])[rng.choice(3, size, p=[0.6, 0.3, 0.1])], "rating": rng.integers(1, 6, size).astype(np.float64),
        }).write_parquet(folder / "log" / f"{number:04d}.parquet")
    log = folder / "log.parquet"
    pl.scan_parquet(folder / "log").sink_parquet(log)
    catalogue = folder / "items.parquet"
    words = (20_000 * rng.random((items, 6)) ** 3).astype(np.int64)  # as in language, a few words are in most titles
    titles = [" ".join(f"word{word}" for word in title) for title in words.tolist()]
    pl.DataFrame({"item_id": [f"i{n}" for n in range(items)], "title": titles, "genre": [f"g{n % 30}" for n in range(items)]}).write_parquet(catalogue)
    return log, catalogue


def main() -> None:
    parser = options(__doc__, device=False)
    parser.add_argument("--rows", type=int, default=20_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent.parent / "runs") as name:
        log, items = write_log(Path(name), arguments.rows, items=arguments.rows // 400)
        done = run_measured([sys.executable, "-m", "llmrec.prepare", "table", "--interactions", str(log), "--items", str(items), "--out", str(Path(name) / "corpus")])
    goal = lambda text: text if arguments.rows >= 20_000_000 else ""  # noqa: E731
    record([
        Figure.of(f"prepare, {arguments.rows:,} rows: minutes", [done.seconds / 60], goal=goal("<= 5")),
        Figure.of(f"prepare, {arguments.rows:,} rows: gigabytes at its peak", [done.peak_bytes / 1e9], goal=goal("<= 4")),
    ])


if __name__ == "__main__":
    main()
