"""A simulated world whole: its settings and catalogue, the log and the truth of its users, and the files they are written to.

Separate from the life of its users, so that what a caller asks for stands in one place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from llmrec.simulation.moments import DEVICES, EPOCH, PLACES, WEEKDAYS, cues_at
from llmrec.simulation.people import People
from llmrec.simulation.sessions import EVENTS, live
from llmrec.simulation.shelf import PROMOTIONS, Shelf
from llmrec.simulation.texts import write_reviews
from llmrec.simulation.things import SCENARIOS

FORMAT = 1


def write_world(folder: Path, *, users: int = 1500, items: int = 400, seed: int = 0, days: int = 120, users_per_chunk: int | None = None) -> None:
    """Writes interactions.csv, items.csv, truth.parquet and world.json into `folder` (created where missing), in memory that does not grow with `users`.

    interactions.csv comes last and under its name only when complete, so a folder that has it is whole. The files do not depend on `users_per_chunk`.

    Raises:
        FileExistsError: the folder holds an interactions.csv.
        ValueError: a setting is out of range (see World.create).
    """
    world = World.create(users=users, items=items, seed=seed, days=days)
    folder = Path(folder)
    if (folder / "interactions.csv").exists():
        raise FileExistsError(f"{folder / 'interactions.csv'} exists; expected a folder without a log. Choose another folder or delete the world there")
    # The table of what was shown has users x items cells: a chunk keeps it below 64 MB.
    users_per_chunk = users_per_chunk or int(np.clip(64_000_000 // items, 16, 2048))
    parts = folder / "truth.parts"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    # By number, which is a shuffle: the shelf's own order shows scenarios and series.
    world.shelf.frame.sort(pl.col("item_id").str.slice(1).cast(pl.Int64)).write_csv(folder / "items.csv")
    rows = 0
    with open(folder / "interactions.csv.part", "wb") as file, tqdm(total=users, desc="simulating users", unit="user", disable=None) as progress:
        for first in range(0, users, users_per_chunk):
            log, truth_rows = world.simulate(first, min(first + users_per_chunk, users))
            log.write_csv(file, include_header=first == 0)
            truth_rows.with_columns(pl.col("row") + rows).write_parquet(parts / f"{first:012d}.parquet", compression="uncompressed")
            rows += len(log)
            progress.update(min(users_per_chunk, users - first))
    pl.scan_parquet(sorted(parts.glob("*.parquet"))).sink_parquet(folder / "truth.parquet", row_group_size=1 << 18, maintain_order=True)
    shutil.rmtree(parts)
    (folder / "world.json").write_text(json.dumps({"format": FORMAT, **world.settings}, indent=1) + "\n", encoding="utf-8")
    (folder / "interactions.csv.part").rename(folder / "interactions.csv")


def truth(folder: Path) -> pl.DataFrame:
    """The true probabilities behind a written world: one row for each impression and each rating of interactions.csv, in file order.

    row (number of the row in interactions.csv, 0-based), user_id, item_id, event, click_probability, purchase_probability (given a click),
    rating_1 ... rating_5 (probabilities given a rating) and expected_rating (their mean), rounded to 6 digits.
    """
    return pl.read_parquet(Path(folder) / "truth.parquet")


@dataclass(frozen=True)
class World:
    """The settings and the catalogue of a simulated world; its users are made when asked for."""

    users: int
    seed: int
    days: int
    shelf: Shelf

    @classmethod
    def create(cls, *, users: int, items: int, seed: int, days: int = 120) -> World:
        """A world of this size. Raises ValueError unless users >= 1, items >= 60 (twenty a scenario), days >= 7 and 0 <= seed < 2**63."""
        for name, value, least in (("users", users, 1), ("items", items, 60), ("days", days, 7), ("seed", seed, 0)):
            if value < least:
                raise ValueError(f"{name} is {value}; a simulated world needs at least {least}")
        if seed >= 2**63:
            raise ValueError(f"seed is {seed}; expected a number below 2**63")
        return cls(users, seed, days, Shelf.stock(items, seed=seed, days=days))

    @property
    def settings(self) -> dict[str, int]:
        return {"users": self.users, "items": len(self.shelf), "seed": self.seed, "days": self.days}

    def simulate(self, first: int, stop: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The log and the truth of users number `first` to `stop - 1`, users in order, each by time; the truth's `row` counts from this log's first."""
        people = People.meet(range(first, stop), seed=self.seed, days=self.days, items=len(self.shelf))
        shown, queries = live(people, self.shelf)
        return _tables(shown, queries, people, self.shelf)

    def click_logits(self, asked: pl.DataFrame) -> np.ndarray:
        """The true click logits of the whole catalogue in given moments, unpromoted and in the first slot: (rows, items) float64, columns as in `shelf.frame`.

        asked: user_id, timestamp, hour, weekday, device, place, and last, before (item_id of the user's last and last but one click, or null).
        What the best possible recommender would rank by. An unknown (null) place counts as home.
        """
        numbers = asked["user_id"].str.slice(1).cast(pl.Int64).to_numpy() - 1
        shelf, people = self.shelf, People.meet(numbers, seed=self.seed, days=self.days, items=len(self.shelf))
        day = (asked["timestamp"].cast(pl.Float64).to_numpy() - EPOCH) / 86400
        place = asked["place"].fill_null(PLACES[0]).replace_strict({name: i for i, name in enumerate(PLACES)}).to_numpy()
        device = asked["device"].replace_strict({name: i for i, name in enumerate(DEVICES)}).to_numpy()
        weekday = asked["weekday"].replace_strict({name: i for i, name in enumerate(WEEKDAYS)}).to_numpy()
        cues = cues_at(asked["hour"].cast(pl.Int64).to_numpy(), weekday, device, place)
        row_of = {item_id: row for row, item_id in enumerate(shelf.frame["item_id"])}
        last, before = (np.array([row_of.get(item_id, -1) for item_id in asked[name]]) for name in ("last", "before"))
        everyone = np.arange(len(people))
        logits = np.empty((len(people), len(shelf)))
        for scenario in range(len(SCENARIOS)):
            block = np.arange(shelf.starts[scenario], shelf.starts[scenario + 1])
            tastes = people.tastes(everyone, day, np.full(len(people), scenario))
            for row in everyone:  # one at a time: a batch would hold users x items x dimensions
                one = slice(row, row + 1)
                logits[row, block] = shelf.appeal(tastes[one], cues[one], block[None]) + shelf.pull(last[one], before[one], block[None])
        return logits


def _tables(shown: pl.DataFrame, queries: list[str], people: People, shelf: Shelf) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of interactions.csv and of truth.parquet."""
    shown = shown.sort("user", "session", "slot")
    stages = shown["stages"].to_numpy()
    index = np.repeat(np.arange(len(shown)), stages + 1)
    stage = np.arange(len(index)) - np.repeat(np.cumsum(stages + 1) - stages - 1, stages + 1)
    rated, asked = stage == len(EVENTS) - 1, stage <= 1
    times = np.stack([shown[f"time_{k}"].to_numpy() for k in range(len(EVENTS))], axis=1)
    reviews, summaries = write_reviews(shown, people, shelf)
    rows = shown[index]

    def words(options: Sequence[str], numbers: pl.Series | np.ndarray) -> pl.Series:
        return pl.Series(options, dtype=pl.String).gather(pl.Series(numbers).cast(pl.UInt32))

    query = np.where(asked & (rows["query"].to_numpy() >= 0), rows["query"].to_numpy(), len(queries))
    place = np.where(people.hides[rows["user"].to_numpy()], len(PLACES), rows["place"].to_numpy())
    review = np.where(rated, index, len(shown))
    log = pl.DataFrame({
        "user_id": words(people.user_ids, rows["user"]),
        "item_id": shelf.frame["item_id"].gather(rows["item"].cast(pl.UInt32)),
        "timestamp": EPOCH + times[index, stage],
        "event": words(EVENTS, stage),
        "rating": pl.select(pl.when(pl.Series(rated)).then(rows["rating"])).to_series(),
        "review": words([*reviews, None], review),
        "summary": words([*summaries, None], review),
        "query": words([*queries, None], query),
        "scenario": words(SCENARIOS, rows["scenario"]),
        "hour": rows["hour"],
        "weekday": words(WEEKDAYS, rows["weekday"]),
        "device": words(DEVICES, rows["device"]),
        "place": words([*PLACES, None], place),
        "promotion": words(PROMOTIONS, rows["promotion"]),
        "slot": rows["slot"],
    })
    names = ["click_probability", "purchase_probability", *(f"rating_{k}" for k in range(1, 6))]
    expected = pl.sum_horizontal(k * pl.col(f"rating_{k}") for k in range(1, 6))
    truth_rows = (
        pl.concat([log.select("user_id", "item_id", "event"), rows.select(names)], how="horizontal")
        .with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
        .filter(pl.Series((stage == 0) | rated)).with_columns(expected_rating=expected)
        .with_columns(pl.col(*names, "expected_rating").round(6))
    )
    return log, truth_rows
