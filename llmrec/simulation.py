"""A seeded world of films, books and kitchen things whose every probability is known: the built-in data set, written as ordinary files.

Separate from the readers, so that the data a newcomer starts with takes the same way in as anybody's own files, while tests and calibration
plots can ask what the truth was.

    session of user 17 (hour 8, Tuesday, mobile, commute; scenario films)      the log, one row each, seconds going up
      slot 1  a popular film          not clicked                              impression
      slot 2  a film to her taste     clicked, bought, rated, reviewed         impression  click  purchase  rating (with review and summary)
      slot 3  the next of its series  clicked                                  impression  click

    click     sigmoid(base + taste + quality + context + promotion + relation to the last clicks + query - slot)
    purchase  given a click: sigmoid(base + taste + quality - price + promotion)
    rating    given a purchase: ordered logit, P(rating >= k) = sigmoid(slope * (taste + quality + the user's leniency) - threshold k)

An item's latent vector is the weighted sum of the vectors of its attributes and a small remainder, so text tells most of what taste sees.
A user is shown an item at most once: the answer to an impression is then the click that follows it, and nothing later.
Every random number of a user is a function of (seed, user number, place in the user's life), so a user has the same log in any world with the same seed,
items and days, whatever the number of users and the size of the chunks.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from tqdm import tqdm

FORMAT = 1
CONTEXT = ("hour", "weekday", "device", "place", "promotion")
SCENARIOS = ("films", "books", "kitchen")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DEVICES = ("mobile", "tablet", "laptop", "tv")
PLACES = ("home", "commute", "work", "travel")
PROMOTIONS = ("none", "discount", "editor's pick")
EVENTS = ("impression", "click", "purchase", "rating")
EPOCH = 1736121600  # 2025-01-06 00:00 UTC, a Monday: day 0 of every world

DIMENSIONS = 16
FACTS = ("genre", "genre", "mood", "mood", "creator", "subject", "subject", "length", "pace")  # what each of an item's fact places holds
FACT_WEIGHTS = np.array([0.65, 0.45, 0.50, 0.35, 0.50, 0.30, 0.30, 0.30, 0.25])  # how much of the latent vector each makes: about 0.9 of its variance
REMAINDER = 0.30
MAX_SESSIONS, MAX_SLOTS = 60, 8
CANDIDATES, SPARE = 8, 4  # drawn for a slot by its policy, and at random in case all of those were seen
SUCCESSORS_NEAR, SUCCESSORS_FAR = 10, 3  # related items kept per item: in its own scenario, and in each other one
CLICK_BASE, PURCHASE_BASE = -2.4, -0.75
TASTE_CLICK = 0.8
RATING_SLOPE, RATING_THRESHOLDS = 1.5, np.array([-1.4, -0.3, 1.1, 3.0])
PROMOTION_CLICK, PROMOTION_PURCHASE = np.array([0.0, 0.45, 0.25]), np.array([0.0, 0.6, 0.1])
SLOT_PENALTY, FOCUS_BONUS, RELATION_CLICK = 0.13, 1.8, 0.6
SESSION_GAP = 2700  # seconds between two session starts, above the longest session (8 slots of at most 266 s)
POPULAR, TASTE, RELATED, RANDOM = range(4)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64: see Dice
LIFE, SESSION, SLOT, OUTCOME, QUERY, REVIEW = range(6)  # the purposes of a throw
POLICY = np.array([0.24, 0.48, 0.16, 0.12])  # how often a slot is filled by each

# What each circumstance does to the click logit of items with an attribute value.
CUES = ("commute", "evening", "night", "weekend", "mobile", "tv", "work", "morning")
CUE_EFFECTS = {
    "commute": {"short": 1.0, "long": -1.0, "funny": 0.5, "dark": -0.4},
    "evening": {"cosy": 1.0, "hopeful": 0.4, "elegant": 0.3, "clever": -0.4},
    "night": {"tense": 0.9, "dark": 0.9, "family": -0.8, "cosy": -0.4},
    "weekend": {"long": 0.7, "family": 0.6, "baking": 0.7, "short": -0.4},
    "mobile": {"short": 0.5, "long": -0.5},
    "tv": {"adventure": 0.5, "nature": 0.5, "slow": -0.3},
    "work": {"clever": 0.7, "horror": -0.7, "storage": 0.4},
    "morning": {"coffee": 1.0, "hopeful": 0.4, "horror": -0.4},
}
# Chance of each hour by habit: commuters, evening people, night owls, people at home; the last row is everybody's weekend.
HOURS = np.array([
    [0, 0, 0, 0, 0, 1, 4, 12, 10, 2, 1, 1, 3, 2, 1, 1, 3, 10, 8, 4, 4, 3, 2, 1],
    [0, 0, 0, 0, 0, 0, 1, 2, 2, 1, 1, 1, 3, 2, 1, 1, 2, 3, 6, 12, 14, 12, 6, 1],
    [8, 6, 3, 1, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 2, 3, 5, 8, 12, 14],
    [0, 0, 0, 0, 0, 0, 2, 3, 5, 8, 8, 6, 4, 5, 7, 6, 4, 3, 3, 5, 6, 4, 2, 0],
    [2, 1, 0, 0, 0, 0, 1, 2, 4, 7, 8, 6, 5, 5, 6, 6, 5, 4, 5, 7, 8, 7, 5, 3],
], dtype=float)
HOURS_CDF = np.cumsum(HOURS / HOURS.sum(axis=1, keepdims=True), axis=1)
DEVICE_CDF = np.cumsum([[0.25, 0.20, 0.20, 0.35], [0.85, 0.10, 0.05, 0.0], [0.40, 0.0, 0.60, 0.0], [0.60, 0.35, 0.05, 0.0]], axis=1)  # by place


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
        shown, queries = _live(people, self.shelf)
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
        cues = _cues(asked["hour"].cast(pl.Int64).to_numpy(), weekday, device, place)
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


class Thing(NamedTuple):
    """One item as words. `subjects` are its two topics; for kitchen things material and use. `noun` is what a review calls it."""

    scenario: int
    title: str
    noun: str
    genres: tuple[str, ...]
    creator: str
    moods: tuple[str, ...]
    subjects: tuple[str, str]
    length: str
    pace: str
    series: str
    volume: int
    price: int
    year: int


@dataclass(frozen=True)
class Shelf:
    """The catalogue as words and as arrays over I items, items of one scenario in a row: scenario s owns `starts[s]:starts[s + 1]`.

    frame: item_id, title and attributes (String, lists joined with "|").   latent: (I, DIMENSIONS).   quality: (I,), standard normal.
    facts: (I, 9) rows of `vectors` and `words` (-1 in empty places, which is the last row: a zero vector and "").   release: (I,) day of first appearance.
    popularity_cdf: (I,) running from s to s + 1 inside scenario s.   cue_effects: (CUES, I).   promotions: (I, weeks), index into PROMOTIONS.
    successors, strengths: (I + 1, S) related items (-1: none) and how strongly they are wanted next; the last row stands for "nothing yet".
    """

    frame: pl.DataFrame
    things: list[Thing]
    starts: np.ndarray
    latent: np.ndarray
    quality: np.ndarray
    facts: np.ndarray
    vectors: np.ndarray
    words: list[str]
    release: np.ndarray
    price: np.ndarray
    popularity_cdf: np.ndarray
    cue_effects: np.ndarray
    promotions: np.ndarray
    successors: np.ndarray
    strengths: np.ndarray

    @classmethod
    def stock(cls, items: int, *, seed: int, days: int) -> Shelf:
        """A catalogue of this many items: about 45 % films, 35 % books, 20 % kitchen things; a tenth appears late."""
        rng = np.random.default_rng([seed, 1])
        counts = [items - int(items * 0.35) - int(items * 0.2), int(items * 0.35), int(items * 0.2)]
        taken: set[str] = set()
        things = _tell(rng, 0, counts[0], taken) + _tell(rng, 1, counts[1], taken) + _craft(rng, counts[2])
        starts = np.concatenate([[0], np.cumsum(counts)])
        facts, words, vectors = _facts(rng, things)
        remainder = rng.normal(size=(items, DIMENSIONS)) / np.sqrt(DIMENSIONS)
        latent = (FACT_WEIGHTS[:, None] * vectors[facts]).sum(axis=1) + REMAINDER * remainder
        quality = rng.normal(size=items)
        release = np.where(_late(rng, things), rng.uniform(0.5, 0.9, items) * days, -1.0)
        weight = np.exp(0.9 * rng.normal(size=items) + 0.4 * quality)
        cdf = np.concatenate([s + np.cumsum(weight[a:b]) / weight[a:b].sum() for s, (a, b) in enumerate(zip(starts[:-1], starts[1:], strict=True))])
        effects = np.array([[sum(CUE_EFFECTS[cue].get(words[fact], 0.0) for fact in row) for row in facts] for cue in CUES])
        promotions = rng.choice(len(PROMOTIONS), p=[0.82, 0.12, 0.06], size=(items, days // 7 + 2)).astype(np.int8)
        successors, strengths = _relate(rng, things, facts, starts)
        # Ids in a seeded shuffle: their order tells nothing about scenario, series or popularity.
        frame = _shelf_frame(things, codes=rng.permutation(items) + 1)
        price = np.array([thing.price for thing in things])
        return cls(frame, things, starts, latent, quality, facts, vectors, words, release, price, cdf, effects, promotions, successors, strengths)

    def __len__(self) -> int:
        return len(self.things)

    def taste(self, tastes: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n, k): how much users with these taste vectors (n, DIMENSIONS) like these items (n or 1, k)."""
        # Summed along the last axis, never by a matrix product: its rounding would depend on the size of the chunk.
        return (tastes[:, None, :] * self.latent[items]).sum(axis=-1)

    def appeal(self, tastes: np.ndarray, cues: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n, k): the click logit without promotion, relation, query and slot; cues (n, CUES)."""
        context = (cues[:, None, :] * self.cue_effects.T[items]).sum(axis=-1)
        return CLICK_BASE + TASTE_CLICK * self.taste(tastes, items) + 0.35 * self.quality[items] + context

    def pull(self, last: np.ndarray, before: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n, k): what the last click and, half as strongly, the one before add to the click logit of these items."""
        return RELATION_CLICK * (self.relation(last, items) + 0.5 * self.relation(before, items))

    def relation(self, anchors: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n, k): how strongly each item is wanted after its anchor (n,), -1 for none."""
        return ((self.successors[anchors][:, None, :] == items[:, :, None]) * self.strengths[anchors][:, None, :]).sum(axis=-1)


def _tell(rng: np.random.Generator, scenario: int, count: int, taken: set[str]) -> list[Thing]:
    """Films or books: by makers who keep to a genre or two, about a third of them in series. No title is one of `taken`, which grows."""
    makers = [(_maker(rng), _some(rng, tuple(STORIES), 2), _one(rng, PLACE_NAMES)) for _ in range(max(6, count // 6))]
    things: list[Thing] = []
    while len(things) < count:
        creator, favourites, place = makers[int(len(makers) * rng.random() ** 1.5)]  # a few makers are prolific
        main = favourites[int(rng.random() < 0.25)]
        genres = (main, *(g for g in _some(rng, tuple(STORIES), 1) if g != main and rng.random() < 0.35))
        moods = _some(rng, STORIES[main].moods, int(rng.integers(1, 3)))
        subject, length, pace = _one(rng, STORIES[main].subjects), _one(rng, LENGTHS), _one(rng, PACES)
        year = int(rng.integers(1972, 2021))
        volumes = min(count - len(things), int(rng.choice([1, 2, 3, 4], p=[0.78, 0.10, 0.08, 0.04])))
        series = f"{place} {SERIES_WORDS.get(main, 'Chronicle')}" if volumes > 1 else ""
        title = ""
        for volume in range(1, volumes + 1):
            if scenario == 1 or volume == 1:
                title = _unique(rng, main, taken)
            named = title
            if scenario == 0 and volume > 1:
                named = f"{title} {ROMAN[volume]}"
            elif scenario == 1 and series:
                named = f"{title}: {_capital(_article(series))}"
            taken.add(title)
            other = _one(rng, [s for s in STORIES[genres[-1]].subjects if s != subject])
            things.append(Thing(
                scenario, named, ("film", "book")[scenario], genres, creator, moods, (subject, other), length, pace, series, volume,
                int(rng.choice(3, p=[0.35, 0.45, 0.2])), min(2024, year + 2 * (volume - 1)),
            ))
    return things


def _craft(rng: np.random.Generator, count: int) -> list[Thing]:
    """Kitchen things: made by brands, in collections whose pieces go together."""
    brands = _some(rng, BRANDS, max(4, min(len(BRANDS), count // 6)))
    things: list[Thing] = []
    taken: set[str] = set()
    while len(things) < count:
        brand, line, material = _one(rng, brands), _one(rng, LINES), ""
        mood, price, year = _one(rng, KITCHEN_MOODS), int(rng.choice(3, p=[0.3, 0.45, 0.25])), int(rng.integers(2015, 2025))
        pieces = min(count - len(things), int(rng.choice([1, 2, 3, 4], p=[0.45, 0.25, 0.2, 0.1])))
        for volume in range(1, pieces + 1):
            genre = _one(rng, tuple(KITCHEN))
            noun = _one(rng, tuple(KITCHEN[genre].nouns))
            materials = KITCHEN[genre].nouns[noun]
            material = material if material in materials else _one(rng, materials)  # a collection keeps its material where it can
            title = f"{brand} {line} {material} {noun}" if pieces > 1 else f"{brand} {material} {noun}"
            sizes = [f"{title}{size}" for size in SIZES if f"{title}{size}" not in taken]
            title = sizes[0] if sizes else f"{title}, model {len(taken) + 1}"
            taken.add(title)
            series = f"{brand} {line}" if pieces > 1 else ""
            things.append(Thing(2, title, noun, (genre,), brand, (mood,), (material, _one(rng, KITCHEN[genre].uses)), "", "", series, volume, price, year))
    return things


def _unique(rng: np.random.Generator, genre: str, taken: set[str]) -> str:
    """A title of this genre that is not taken; where the words run out it gets a second half."""
    words = STORIES[genre]
    for attempt in range(60):
        first, second = _some(rng, words.nouns, 2)
        quality, place, name = _one(rng, words.qualities), _one(rng, PLACE_NAMES), _one(rng, FIRST_NAMES)
        title = _one(rng, TITLES).format(quality=quality, noun=first, other=second, place=place, name=name)
        if attempt >= 20:
            title += f", or the {_one(rng, words.qualities)} {second}"
        if title not in taken:
            return title
    return f"{title}, part {len(taken) + 1}"


def _maker(rng: np.random.Generator) -> str:
    return f"{_one(rng, FIRST_NAMES)} {_one(rng, SURNAMES)}"


def _one(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _some(rng: np.random.Generator, options: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(options[i] for i in rng.permutation(len(options))[:count])


def _article(words: str) -> str:
    """`words` behind "a" or "an". None of our words breaks the rule of the first letter."""
    return f"an {words}" if words[:1].lower() in "aeiou" else f"a {words}"


def _facts(rng: np.random.Generator, things: list[Thing]) -> tuple[np.ndarray, list[str], np.ndarray]:
    """(I, 9) fact rows, the words of the rows, and their unit vectors: makers lean to their genres, kitchen crafts to their moods; the last row is empty."""
    rows: dict[tuple[str, str], int] = {}
    vectors: list[np.ndarray] = []

    def row(kind: str, word: str, lean: Sequence[int] = ()) -> int:
        if word and (kind, word) not in rows:
            own = rng.normal(size=DIMENSIONS)
            toward = sum((vectors[i] for i in lean), np.zeros(DIMENSIONS))
            vector = 0.8 * own / np.linalg.norm(own) + 0.6 * toward / max(np.linalg.norm(toward), 1.0)
            rows[kind, word] = len(vectors)
            vectors.append(vector / np.linalg.norm(vector))
        return rows.get((kind, word), -1)

    table = np.full((len(things), len(FACTS)), -1, dtype=np.int32)
    for i, thing in enumerate(things):
        kitchen = thing.scenario == 2
        moods = [row("mood", mood) for mood in thing.moods]
        genres = [row("genre", genre, moods if kitchen else ()) for genre in thing.genres]
        table[i, : len(genres)] = genres
        table[i, 2 : 2 + len(moods)] = moods
        table[i, 4] = row("creator", thing.creator, genres)
        table[i, 5] = row("material" if kitchen else "subject", thing.subjects[0], () if kitchen else genres[:1])
        table[i, 6] = row("use" if kitchen else "subject", thing.subjects[1])
        table[i, 7], table[i, 8] = row("length", thing.length), row("pace", thing.pace)
    return table, [word for _, word in rows] + [""], np.array([*vectors, np.zeros(DIMENSIONS)])


def _late(rng: np.random.Generator, things: list[Thing]) -> np.ndarray:
    """(I,) bool: a tenth of the items, never a volume that a later one follows."""
    ends = [i for i, thing in enumerate(things) if i + 1 == len(things) or things[i + 1].volume == 1]
    late = np.zeros(len(things), dtype=bool)
    late[rng.permutation(ends)[: round(len(things) / 10)]] = True
    return late


def _relate(rng: np.random.Generator, things: list[Thing], facts: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """successors and strengths of Shelf: the next volume 3.0, the same series 1.2, maker 1.0, and each shared topic 0.5, genre 0.45, mood 0.3."""
    count, words, width = len(things), int(facts.max()) + 1, SUCCESSORS_NEAR + 2 * SUCCESSORS_FAR
    names = {name: i for i, name in enumerate(sorted({thing.series for thing in things if thing.series}))}
    series = np.array([names.get(thing.series, -1) for thing in things])
    volume = np.array([thing.volume for thing in things])
    scenario = np.array([thing.scenario for thing in things])
    successors, strengths = np.full((count + 1, width), -1), np.zeros((count + 1, width))
    # Counts of shared words as products of 0/1 tables: small whole numbers, so exact in float32 whatever the order of the sum.
    tables = [(weight, _indicator(facts[:, places], words)) for weight, places in ((0.45, (0, 1)), (0.3, (2, 3)), (0.5, (5, 6)))]
    rows = max(1, 4_000_000 // count)  # rows x items cells at a time
    for first in range(0, count, rows):
        block = np.arange(first, min(first + rows, count))
        same = (series[block, None] == series) & (series[block, None] >= 0)
        score = 1.0 * (facts[block, 4, None] == facts[:, 4]) + 1.2 * same + 1.8 * (same & (volume == volume[block, None] + 1))
        for weight, table in tables:
            score += weight * (table[block] @ table.T)
        score[np.arange(len(block)), block] = -1.0
        # Ties between equally related items are broken once, at random, and stay so.
        wish = score + 0.2 * rng.random(score.shape)
        column = np.zeros(len(block), dtype=int)
        for other in range(len(SCENARIOS)):
            keep = np.where(scenario[block] == other, SUCCESSORS_NEAR, SUCCESSORS_FAR)
            best = _best(wish[:, starts[other] : starts[other + 1]], SUCCESSORS_NEAR) + starts[other]
            for rank in range(SUCCESSORS_NEAR):
                mine = np.flatnonzero(rank < keep)
                successors[block[mine], column[mine]] = best[mine, rank]
                strengths[block[mine], column[mine]] = score[mine, best[mine, rank]]
                column[mine] += 1
    return successors, strengths


def _indicator(facts: np.ndarray, words: int) -> np.ndarray:
    """(I, distinct facts) float32, 1 where an item has the fact; facts (I, places), -1 in empty places."""
    table = np.zeros((len(facts), words + 1), dtype=np.float32)
    table[np.arange(len(facts))[:, None], facts] = 1.0
    table[:, -1] = 0.0
    return table[:, table.any(axis=0)]


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """(n, k) the columns of the k highest scores of each row, best first."""
    columns = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.take_along_axis(columns, np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable"), axis=1)


def _shelf_frame(things: list[Thing], *, codes: np.ndarray) -> pl.DataFrame:
    """items.csv in the order of `things`; a missing value is null."""
    columns = {
        "item_id": [f"i{code}" for code in codes],
        "title": [thing.title for thing in things],
        "kind": [thing.noun if thing.scenario < 2 else "kitchen" for thing in things],
        "genres": ["|".join(thing.genres) for thing in things],
        "creator": [thing.creator for thing in things],
        "series": [thing.series for thing in things],
        "moods": ["|".join(thing.moods) for thing in things],
        "subjects": ["|".join(thing.subjects) for thing in things],
        "length": [thing.length for thing in things],
        "pace": [thing.pace for thing in things],
        "price": [PRICES[thing.price] for thing in things],
        "year": [str(thing.year) for thing in things],
    }
    return pl.DataFrame(columns).with_columns(pl.all().replace("", None))


@dataclass(frozen=True)
class Dice:
    """Random numbers without a state: number `lane` of throw `(purpose, counter)` of a user is a fixed function of (seed, user).

    It is SplitMix64 read at any place: output n of the generator that starts at the user's own key. One call serves many users at once, and no user's
    numbers depend on who else is asked. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, figure 14.
    """

    keys: np.ndarray  # (users,) uint64

    @classmethod
    def of(cls, seed: int, numbers: np.ndarray) -> Dice:
        return cls(_mix(_mix(np.array([seed], dtype=np.uint64) + GOLDEN) + GOLDEN * (numbers.astype(np.uint64) + np.uint64(1))))

    def throw(self, purpose: int, counter: int = 0, *, lanes: int, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(rows, lanes) float64, uniform in (0, 1)."""
        return ((self.bits(purpose, counter, lanes=lanes, rows=rows) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def bits(self, purpose: int, counter: int = 0, *, lanes: int, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(rows, lanes) uint64."""
        first = ((purpose << 20) + counter) << 12
        return _mix(self.keys[rows, None] + GOLDEN * np.arange(first + 1, first + lanes + 1, dtype=np.uint64))


def _mix(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class People:
    """A chunk of n users: who they are and when they come.

    base, turn: (n, DIMENSIONS) a user's taste starts at `base` and turns toward `turn` by `drift` (n,) radians over the days; own: (n, 3, DIMENSIONS), what is
    particular to each scenario.   leniency, thrift, appetite: (n,) added to ratings, weight of the price, added to purchases.   fondness: (n, 3) of scenarios.
    habit: (n,) row of HOURS.   seeks, talks: (n,) chance of a search in a session and of a review with a rating.   hides: (n,) keeps the place to themself.
    begins: (n, MAX_SESSIONS) float64, session starts in seconds after EPOCH, ascending, inf where there are no more.
    """

    numbers: np.ndarray
    dice: Dice
    base: np.ndarray
    turn: np.ndarray
    own: np.ndarray
    drift: np.ndarray
    leniency: np.ndarray
    thrift: np.ndarray
    appetite: np.ndarray
    fondness: np.ndarray
    habit: np.ndarray
    seeks: np.ndarray
    talks: np.ndarray
    hides: np.ndarray
    begins: np.ndarray

    @classmethod
    def meet(cls, numbers: Sequence[int] | np.ndarray, *, seed: int, days: int, items: int) -> People:
        """The users of these numbers (0-based). Half of a small catalogue's scenario is never shown to one user: it caps the sessions."""
        numbers = np.asarray(numbers, dtype=np.int64)
        dice = Dice.of(seed, numbers)
        normal = _normal(dice.throw(LIFE, 0, lanes=2 * (5 * DIMENSIONS + 4)))
        vectors, scalars = normal[:, : 5 * DIMENSIONS].reshape(-1, 5, DIMENSIONS), normal[:, 5 * DIMENSIONS :]
        u = dice.throw(LIFE, 1, lanes=16)
        most = max(1, min(MAX_SESSIONS, 2 * days, items // 14))
        sessions = np.clip(np.exp(np.log(8.2) + 0.65 * scalars[:, 0]).astype(int), min(3, most), most)
        habit = np.searchsorted(np.cumsum([0.35, 0.3, 0.15]), u[:, 0])
        fondness = np.array([0.48, 0.34, 0.18]) * np.exp(1.1 * (2 * u[:, 1:4] - 1))
        return cls(
            numbers, dice, base=vectors[:, 0], turn=vectors[:, 1], own=vectors[:, 2:], drift=u[:, 4] / days,
            leniency=0.5 * scalars[:, 1], thrift=0.35 * np.exp(0.6 * scalars[:, 2]), appetite=0.4 * scalars[:, 3], fondness=fondness,
            habit=habit, seeks=0.05 + 0.25 * u[:, 5], talks=0.2 + 0.6 * u[:, 6], hides=u[:, 7] < 0.08,
            begins=_begins(dice, habit, sessions, join=np.where(u[:, 8] < 0.5, 0.0, 0.5 * u[:, 9]) * days, days=days),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def user_ids(self) -> list[str]:
        return [f"u{number + 1}" for number in self.numbers.tolist()]

    def tastes(self, rows: np.ndarray, day: np.ndarray, scenario: np.ndarray) -> np.ndarray:
        """(n, DIMENSIONS): the taste vectors of these users on these days (n,) in these scenarios (n,): three quarters shared between scenarios."""
        angle = (self.drift[rows] * day)[:, None]
        shared = self.base[rows] * np.cos(angle) + self.turn[rows] * np.sin(angle)
        return np.sqrt(0.75) * shared + np.sqrt(0.25) * self.own[rows, scenario]


def _normal(u: np.ndarray) -> np.ndarray:
    """Standard normals from pairs of uniforms, (n, 2 k) -> (n, k), by Box and Muller's transform."""
    half = u.shape[1] // 2
    return np.sqrt(-2.0 * np.log(u[:, :half])) * np.cos(2.0 * np.pi * u[:, half:])


def _begins(dice: Dice, habit: np.ndarray, sessions: np.ndarray, *, join: np.ndarray, days: int) -> np.ndarray:
    """Session starts as in People.begins: a random day after the user joined, an hour of their habit, and room between two sessions."""
    u = dice.throw(LIFE, 2, lanes=3 * MAX_SESSIONS).reshape(len(habit), 3, MAX_SESSIONS)
    day = np.floor(join[:, None] + u[:, 0] * (days - join[:, None]))
    hours = HOURS_CDF[np.where(day % 7 >= 5, len(HOURS) - 1, habit[:, None])]
    hour = np.minimum((u[:, 1, :, None] > hours).sum(axis=-1), 23)
    begins = day * 86400 + hour * 3600 + np.floor(u[:, 2] * 3600)
    begins[np.arange(MAX_SESSIONS) >= sessions[:, None]] = np.inf
    room = SESSION_GAP * np.arange(MAX_SESSIONS)
    return np.maximum.accumulate(np.sort(begins, axis=1) - room, axis=1) + room


def _live(people: People, shelf: Shelf) -> tuple[pl.DataFrame, list[str]]:
    """Everything that is shown to these users, one row a shown item, in the order it happened to all of them side by side; and the queries, by number."""
    life = Life.start(len(people), len(shelf))
    pieces: list[dict[str, np.ndarray]] = []
    for number in range(int(np.isfinite(people.begins).sum(axis=1).max())):
        rows = np.flatnonzero(np.isfinite(people.begins[:, number]))
        session = _open(people, shelf, life, rows, number)
        for slot in range(MAX_SLOTS):
            here = np.flatnonzero(slot < session.slots)
            items = _choose(people, shelf, life, session, here, slot)
            left = items >= 0  # a catalogue seen through shows nothing more
            pieces.append(_show(people, shelf, life, session, here[left], items[left], slot))
    return pl.DataFrame({name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}), life.queries


@dataclass(frozen=True)
class Life:
    """What changes while n users live, as arrays written in place.

    seen: (n, I) bool.   last, before: (n,) the last two clicked items, -1 for none.   clock: (n,) seconds after EPOCH.   queries: all that were typed.
    """

    seen: np.ndarray
    last: np.ndarray
    before: np.ndarray
    clock: np.ndarray
    queries: list[str]

    @classmethod
    def start(cls, users: int, items: int) -> Life:
        return cls(np.zeros((users, items), dtype=bool), np.full(users, -1), np.full(users, -1), np.zeros(users, dtype=np.int64), [])


@dataclass(frozen=True)
class Session:
    """Session number `number` of m users, who are the `rows` (m,) of their chunk; every array has m rows.

    tastes: (m, DIMENSIONS).   cues: (m, CUES).   focus, focus_slot: the item a search is for (-1 without one) and the slot that shows it.   query: its number.
    place, device, weekday, scenario: index into their constant.   slots: how many items are shown.   day: since EPOCH, with its fraction.
    """

    number: int
    rows: np.ndarray
    day: np.ndarray
    hour: np.ndarray
    weekday: np.ndarray
    place: np.ndarray
    device: np.ndarray
    scenario: np.ndarray
    slots: np.ndarray
    cues: np.ndarray
    tastes: np.ndarray
    focus: np.ndarray
    focus_slot: np.ndarray
    query: np.ndarray


def _open(people: People, shelf: Shelf, life: Life, rows: np.ndarray, number: int) -> Session:
    u = people.dice.throw(SESSION, number, lanes=32, rows=rows)
    begins = people.begins[rows, number].astype(np.int64)
    life.clock[rows] = begins
    day, hour, weekday = begins / 86400.0, begins // 3600 % 24, begins // 86400 % 7
    place, device = _where(people.habit[rows], hour, weekday, u[:, 0], u[:, 1])
    cues = _cues(hour, weekday, device, place)
    scenario = _scenario(people.fondness[rows], shelf, life.last[rows], cues, u[:, 2], u[:, 3])
    tastes = people.tastes(rows, day, scenario)
    focus = np.where(u[:, 4] < people.seeks[rows], _aim(shelf, life, rows, scenario, day, tastes, u[:, 8:16]), -1)
    query = np.full(len(rows), -1)
    bits = people.dice.bits(QUERY, number, lanes=1, rows=rows)[:, 0]
    for m in np.flatnonzero(focus >= 0):
        query[m] = len(life.queries)
        life.queries.append(_query(Wheel(int(bits[m])), shelf, int(focus[m]), int(life.last[rows[m]]), _occasion(cues[m])))
    slots, focus_slot = 4 + (5 * u[:, 5]).astype(int), (3 * u[:, 6]).astype(int)
    return Session(number, rows, day, hour, weekday, place, device, scenario, slots, cues, tastes, focus, focus_slot, query)


def _where(habit: np.ndarray, hour: np.ndarray, weekday: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place and device (indices): commuters travel at their hours, people at home seldom leave it, the television stands at home."""
    weekend = weekday >= 5
    travelling = np.isin(hour, (7, 8, 17, 18)) & (habit != 3) & ~weekend
    working = (hour >= 9) & (hour < 17) & (habit != 3) & ~weekend
    place = np.select([travelling & (u < np.where(habit == 0, 0.85, 0.35)), working & (u < 0.65), u > np.where(weekend, 0.85, 0.95)], [1, 2, 3], default=0)
    return place, np.minimum((v[:, None] > DEVICE_CDF[place]).sum(axis=1), len(DEVICES) - 1)


def _cues(hour: np.ndarray, weekday: np.ndarray, device: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(m, CUES) bool, in the order of CUES."""
    evening, night = (hour >= 18) & (hour < 23), (hour >= 23) | (hour < 5)
    return np.stack([place == 1, evening, night, weekday >= 5, device == 0, device == 3, place == 2, (hour >= 5) & (hour < 10)], axis=1)


def _scenario(fondness: np.ndarray, shelf: Shelf, last: np.ndarray, cues: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The scenario of a session: with chance 0.45 that of the last click, else by fondness (books on the way, films on the television, kitchen at the weekend)."""
    commute, weekend, tv = (cues[:, CUES.index(name)] for name in ("commute", "weekend", "tv"))
    weight = fondness * np.stack([1 + 1.5 * tv, 1 + 0.8 * commute - 0.7 * tv, 1 + 0.8 * weekend - 0.5 * tv], axis=1)
    drawn = np.minimum((v[:, None] * weight.sum(axis=1, keepdims=True) > np.cumsum(weight, axis=1)).sum(axis=1), len(SCENARIOS) - 1)
    return np.where((u < 0.45) & (last >= 0), np.searchsorted(shelf.starts, last, side="right") - 1, drawn)


def _aim(shelf: Shelf, life: Life, rows: np.ndarray, scenario: np.ndarray, day: np.ndarray, tastes: np.ndarray, u: np.ndarray) -> np.ndarray:
    """(m,) the item a search is for: the most liked of a handful, half of them related to the last click; -1 where all are seen."""
    half = u.shape[1] // 2
    related = shelf.successors[life.last[rows, None], (u[:, :half] * SUCCESSORS_NEAR).astype(int)]
    candidates = np.concatenate([related, _popular(shelf, scenario, u[:, half:])], axis=1)
    allowed = _allowed(shelf, life, rows, scenario, day, candidates)
    best = np.where(allowed, shelf.taste(tastes, candidates), -np.inf).argmax(axis=1)
    chosen = candidates[np.arange(len(rows)), best]
    return np.where(allowed.any(axis=1), chosen, -1)


def _popular(shelf: Shelf, scenario: np.ndarray, u: np.ndarray) -> np.ndarray:
    """(m, k) items of the scenario, drawn by popularity."""
    drawn = np.searchsorted(shelf.popularity_cdf, scenario[:, None] + u)
    return np.minimum(drawn, shelf.starts[scenario + 1][:, None] - 1)


def _allowed(shelf: Shelf, life: Life, rows: np.ndarray, scenario: np.ndarray, day: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(m, k): the item is of the session's scenario, has appeared, and was never shown to the user."""
    here = (items >= shelf.starts[scenario][:, None]) & (items < shelf.starts[scenario + 1][:, None])
    return here & ~life.seen[rows[:, None], items] & (shelf.release[items] <= day[:, None])


def _choose(people: People, shelf: Shelf, life: Life, session: Session, here: np.ndarray, slot: int) -> np.ndarray:
    """The item shown in this slot of the sessions `here`, -1 where none is left: the first allowed of some drawn by the policy, or the most liked of them.

    A search shows its focus in one of the first three slots, and mostly what is related to it in the others.
    """
    rows, scenario, day, focus = session.rows[here], session.scenario[here], session.day[here], session.focus[here]
    u = people.dice.throw(SLOT, session.number * MAX_SLOTS + slot, lanes=CANDIDATES + SPARE + 2, rows=rows)
    draws, spare, pick, fallback = u[:, :CANDIDATES], u[:, CANDIDATES:-2], u[:, -2], u[:, -1]
    searching = focus >= 0
    anchor = np.where(searching, focus, life.last[rows])
    policy = np.searchsorted(np.cumsum(POLICY)[:-1], pick)
    policy = np.where(searching & (pick < 0.85), RELATED, np.where((policy == RELATED) & (anchor < 0), POPULAR, policy))
    candidates = np.concatenate([_anywhere(shelf, scenario, draws), _anywhere(shelf, scenario, spare)], axis=1)
    popular, related, liked = (np.flatnonzero(policy == name) for name in (POPULAR, RELATED, TASTE))
    candidates[popular, :CANDIDATES] = _popular(shelf, scenario[popular], draws[popular])
    candidates[related, :CANDIDATES] = shelf.successors[anchor[related, None], (draws[related] ** 1.5 * shelf.successors.shape[1]).astype(int)]
    sought = np.flatnonzero(searching & (slot == session.focus_slot[here]))
    candidates[sought, 0] = focus[sought]
    allowed = _allowed(shelf, life, rows, scenario, day, candidates)
    score = np.tile(-1000.0 - np.arange(CANDIDATES + SPARE), (len(rows), 1))
    score[liked, :CANDIDATES] = shelf.taste(session.tastes[here[liked]], candidates[liked, :CANDIDATES])
    score[sought, 0] = 0.0
    items = candidates[np.arange(len(rows)), np.where(allowed, score, -np.inf).argmax(axis=1)]
    for m in np.flatnonzero(~allowed.any(axis=1)):  # seldom: everything drawn was seen, so any unseen item of the scenario
        block = np.arange(shelf.starts[scenario[m]], shelf.starts[scenario[m] + 1])
        left = block[_allowed(shelf, life, rows[[m]], scenario[[m]], day[[m]], block[None])[0]]
        items[m] = left[int(fallback[m] * len(left))] if len(left) else -1
    return items


def _anywhere(shelf: Shelf, scenario: np.ndarray, u: np.ndarray) -> np.ndarray:
    """(m, k) items of the scenario, each as likely."""
    first, stop = shelf.starts[scenario][:, None], shelf.starts[scenario + 1][:, None]
    return first + (u * (stop - first)).astype(int)


def _show(people: People, shelf: Shelf, life: Life, session: Session, here: np.ndarray, items: np.ndarray, slot: int) -> dict[str, np.ndarray]:
    """What the users of the sessions `here` do with the items of this slot: the columns of one row each; `life` goes on."""
    rows, one, focus = session.rows[here], items[:, None], session.focus[here]
    u = people.dice.throw(OUTCOME, session.number * MAX_SLOTS + slot, lanes=9, rows=rows)
    promotion = shelf.promotions[items, (session.day[here] // 7).astype(int)]
    sought = np.where(focus < 0, 0.0, np.where(items == focus, FOCUS_BONUS, 0.5 * shelf.relation(focus, one)[:, 0]))
    logit = (
        shelf.appeal(session.tastes[here], session.cues[here], one)[:, 0] + shelf.pull(life.last[rows], life.before[rows], one)[:, 0]
        + PROMOTION_CLICK[promotion] + sought - SLOT_PENALTY * slot
    )
    taste = shelf.taste(session.tastes[here], one)[:, 0]
    worth = people.appetite[rows] - people.thrift[rows] * shelf.price[items] + PROMOTION_PURCHASE[promotion]
    click_probability = _sigmoid(logit)
    purchase_probability = _sigmoid(PURCHASE_BASE + 0.7 * taste + 0.4 * shelf.quality[items] + worth)
    ratings = _ratings(0.9 * taste + 0.5 * shelf.quality[items] + people.leniency[rows])
    clicked = u[:, 0] < click_probability
    bought = clicked & (u[:, 1] < purchase_probability)
    rated = bought & (u[:, 2] < 0.7)
    seconds = np.floor(u[:, 5:9] * [15, 15, 80, 120]).astype(np.int64) + [2, 3, 15, 20]  # to the impression, from it to the click, and so on
    times = life.clock[rows, None] + np.cumsum(seconds, axis=1)
    stages = clicked.astype(int) + bought + rated
    life.clock[rows] = times[np.arange(len(rows)), stages]
    life.seen[rows, items] = True
    life.before[rows[clicked]] = life.last[rows[clicked]]
    life.last[rows[clicked]] = items[clicked]
    columns = {
        "user": rows, "session": np.full(len(rows), session.number), "slot": np.full(len(rows), slot + 1), "item": items, "stages": stages,
        "rating": 1 + (u[:, 3, None] > np.cumsum(ratings, axis=1)[:, :4]).sum(axis=1), "reviewed": rated & (u[:, 4] < people.talks[rows]),
        "promotion": promotion, "query": session.query[here], "click_probability": click_probability, "purchase_probability": purchase_probability,
    }
    for name in ("day", "hour", "weekday", "device", "place", "scenario"):
        columns[name] = getattr(session, name)[here]
    columns |= {f"time_{stage}": times[:, stage] for stage in range(len(EVENTS))}
    return columns | {f"rating_{k + 1}": ratings[:, k] for k in range(5)}


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def _ratings(utility: np.ndarray) -> np.ndarray:
    """(n, 5): the probabilities of one to five stars for these utilities (n,)."""
    above = _sigmoid(RATING_SLOPE * utility[:, None] - RATING_THRESHOLDS)
    return -np.diff(above, axis=1, prepend=1.0, append=0.0)


def _tables(shown: pl.DataFrame, queries: list[str], people: People, shelf: Shelf) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of interactions.csv and of truth.parquet."""
    shown = shown.sort("user", "session", "slot")
    stages = shown["stages"].to_numpy()
    index = np.repeat(np.arange(len(shown)), stages + 1)
    stage = np.arange(len(index)) - np.repeat(np.cumsum(stages + 1) - stages - 1, stages + 1)
    rated, asked = stage == len(EVENTS) - 1, stage <= 1
    times = np.stack([shown[f"time_{k}"].to_numpy() for k in range(len(EVENTS))], axis=1)
    reviews, summaries = _reviews(shown, people, shelf)
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


class Wheel:
    """A small stream of choices for one text, from one 64-bit number.

    Source: the high bits of the MMIX congruential generator, Knuth, The Art of Computer Programming 2, section 3.3.4.
    """

    def __init__(self, state: int):
        self.state = state

    def turn(self, size: int) -> int:
        """A number from 0 to size - 1."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % size

    def one(self, options: Sequence[str]) -> str:
        return options[self.turn(len(options))]


def _occasion(cues: np.ndarray) -> str:
    """When it is, in words: the first of the cues that holds."""
    return next((words for cue, words in OCCASIONS.items() if cues[CUES.index(cue)]), "an ordinary afternoon")


def _query(wheel: Wheel, shelf: Shelf, focus: int, last: int, occasion: str) -> str:
    """What a user types who wants the item `focus` and last clicked `last` (-1: nothing yet): one to three words, or a sentence."""
    thing = shelf.things[focus]
    kitchen = thing.scenario == 2
    topics = [topic.split(" ", 1)[1] if topic.startswith(("a ", "an ", "the ")) else topic for topic in thing.subjects]
    fields = {
        "genre": thing.genres[0], "mood": wheel.one(thing.moods), "creator": thing.creator, "topic": wheel.one(topics),
        "use": thing.subjects[1], "subject": wheel.one(thing.subjects), "noun": thing.noun, "nouns": "books" if thing.noun == "book" else "films",
        "verb": "read" if thing.noun == "book" else "watch",
        "length": thing.length, "pace": thing.pace, "material": thing.subjects[0], "occasion": occasion,
        "like": shelf.things[last].title if last >= 0 and last < shelf.starts[2] else "",
    }
    if wheel.turn(2):
        short = [form.format(**fields) for form in (KITCHEN_KEYWORDS if kitchen else STORY_KEYWORDS)]
        return wheel.one([words for words in short if len(words.split()) <= 3])
    related = last >= 0 and not kitchen and focus in shelf.successors[last] and fields["like"]
    forms = LIKE_REQUESTS if related else KITCHEN_REQUESTS if kitchen else STORY_REQUESTS
    fields["a_mood"], fields["a_length"], fields["a_genre"], fields["a_material"] = (_article(fields[name]) for name in ("mood", "length", "genre", "material"))
    return wheel.one(forms).format(**fields)


def _reviews(shown: pl.DataFrame, people: People, shelf: Shelf) -> tuple[list[str | None], list[str | None]]:
    """A review and a summary for each row that has one (else None), about the facts of the item that its user's taste weighs most."""
    reviews: list[str | None] = [None] * len(shown)
    summaries: list[str | None] = [None] * len(shown)
    places = np.flatnonzero(shown["reviewed"].to_numpy())
    columns = ("user", "session", "slot", "item", "rating", "day", "hour", "weekday", "device", "place", "scenario")
    table = {name: shown[name].to_numpy()[places] for name in columns}
    tastes = people.tastes(table["user"], table["day"], table["scenario"])
    weights = FACT_WEIGHTS * (shelf.vectors[shelf.facts[table["item"]]] * tastes[:, None, :]).sum(axis=-1)
    cues = _cues(table["hour"], table["weekday"], table["device"], table["place"])
    counter = table["session"] * MAX_SLOTS + table["slot"]
    # The bits of one throw for each row: Dice throws one counter at a time, so the key of the row is mixed with its counter here.
    bits = _mix(people.dice.bits(REVIEW, 0, lanes=1, rows=table["user"])[:, 0] + GOLDEN * counter.astype(np.uint64))
    for i, place in enumerate(places.tolist()):
        facts = shelf.facts[table["item"][i]]
        order = [k for k in np.argsort(-weights[i], kind="stable").tolist() if facts[k] >= 0]
        thing = shelf.things[table["item"][i]]
        told = [(_kind(k, thing), shelf.words[facts[k]]) for k in order]
        reviews[place], summaries[place] = _review(Wheel(int(bits[i])), thing, int(table["rating"][i]), told, _occasion(cues[i]))
    return reviews, summaries


def _kind(place: int, thing: Thing) -> str:
    """The kind of fact in this place of FACTS: the two subjects of a kitchen thing are its material and its use."""
    return ("material", "use")[place - 5] if thing.scenario == 2 and FACTS[place] == "subject" else FACTS[place]


def _review(wheel: Wheel, thing: Thing, rating: int, told: list[tuple[str, str]], occasion: str) -> tuple[str, str]:
    """One or two sentences and a summary; `told` are the item's facts (kind, word), what the user likes best of it first."""
    praise, blame = (KITCHEN_PRAISE, KITCHEN_BLAME) if thing.scenario == 2 else (STORY_PRAISE, STORY_BLAME)
    # The strongest fact three times in five, else the second: the same item is not always praised for the same thing.
    best, worst = told[wheel.turn(5) // 3], told[-1 - wheel.turn(5) // 3]
    mixed = rating == 3
    liked = rating > 3

    def say(forms: dict[str, tuple[str, ...]], fact: tuple[str, str]) -> str:
        return wheel.one(forms[fact[0]]).format(x=fact[1], **_nouns(thing))

    clause = f"{say(praise, best)}{wheel.one(BUTS)}{say(blame, worst)}" if mixed else say(praise, best) if liked else say(blame, worst)
    sentences = [f"{wheel.one(OPENERS[rating])}{wheel.one((': ', '; '))}{clause}" if wheel.turn(5) < 3 else clause]
    mood = "mixed" if mixed else "liked" if liked else "disliked"
    closing = wheel.turn(6)
    if closing < 3:
        weighed = [fact for fact in told if fact not in (best, worst)]
        reason = weighed[0] if liked else weighed[-1]
        sentences.append(wheel.one(REASONS[mood]).format(y=_liking(reason, thing)))
    elif closing == 3:
        sentences.append(wheel.one(MOMENTS[mood]).format(m=occasion))
    fields = {**_nouns(thing), "mood": wheel.one(thing.moods)}
    summary = wheel.one(SUMMARIES[rating]).format(**fields)
    return " ".join(f"{_capital(sentence)}." for sentence in sentences), _capital(summary)


def _nouns(thing: Thing) -> dict[str, str]:
    """The words a form may use for the item."""
    genre = thing.genres[0]
    if thing.scenario == 2:
        return {"noun": thing.noun, "a_noun": _article(thing.noun), "g": f"{genre} tool", "a_g": _article(f"{genre} tool"), "mass": f"{genre} gear"}
    one = f"{genre} {thing.noun}"
    part, extent = ("scene", "running time") if thing.noun == "film" else ("page", "page count")
    return {"noun": thing.noun, "a_noun": f"a {thing.noun}", "g": one, "a_g": _article(one), "mass": f"{genre} storytelling", "part": part, "extent": extent}


def _liking(fact: tuple[str, str], thing: Thing) -> str:
    """A fact as the thing somebody likes: ("mood", "cosy") of a book is "cosy books"."""
    kind, word = fact
    things = f"{thing.noun}s" if thing.scenario < 2 else "gear" if kind == "genre" else "kitchen things"
    if kind in ("genre", "mood", "length"):
        return f"{word} {things}"
    return {"pace": "a {} pace", "creator": "the work of {}", "subject": "stories about {}"}.get(kind, "{}").format(word)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


class StoryWords(NamedTuple):
    qualities: tuple[str, ...]
    nouns: tuple[str, ...]
    subjects: tuple[str, ...]
    moods: tuple[str, ...]


class KitchenWords(NamedTuple):
    nouns: dict[str, tuple[str, ...]]  # and what each is made of
    uses: tuple[str, ...]


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(","))


STORIES = {
    "mystery": StoryWords(
        _split("Silent, Crooked, Locked, Missing, Quiet, Hidden, Borrowed, Midnight, Unlikely, Velvet"),
        _split("Alibi, Witness, Inspector, Staircase, Inheritance, Key, Portrait, Lodger, Clue, Postman, Teapot, Verdict"),
        _split("a missing heiress, an old murder, a locked room, a village secret, a stolen painting, a retired detective, poisoned tea, a false confession"),
        _split("tense, cosy, clever, dark")),
    "romance": StoryWords(
        _split("Tender, Unsent, Summer, Paper, Slow, Distant, Borrowed, Almost Perfect, Rainy, Secret"),
        _split("Promise, Waltz, Letter, Proposal, Wedding, Kiss, Season, Heart, Bouquet, Balcony, Valentine, Duet"),
        _split("a second chance, a summer wedding, rival bakers, letters never sent, a pretend engagement, childhood sweethearts, a holiday romance, love across borders"),
        _split("moving, funny, hopeful, dreamy, cosy")),
    "science fiction": StoryWords(
        _split("Orbital, Hollow, Quantum, Distant, Cold, Final, Binary, Drifting, Synthetic, Solar"),
        _split("Signal, Colony, Horizon, Engine, Station, Protocol, Comet, Archive, Beacon, Satellite, Paradox, Machine"),
        _split("a lost colony, first contact, a failing spaceship, sentient machines, time loops, a dying sun, memory implants, a generation ship"),
        _split("tense, clever, dark, dreamy, hopeful")),
    "fantasy": StoryWords(
        _split("Ember, Thorn, Silver, Forgotten, Gilded, Raven, Moonlit, Hollow, Winter, Starless"),
        _split("Crown, Oath, Dragon, Throne, Spell, Gate, Forest, Sword, Prophecy, Mage, Tower, Grimoire"),
        _split("a runaway dragon, a school of magic, an exiled queen, a talking forest, a broken oath, a thieves guild, a forbidden spell, rival kingdoms"),
        _split("dreamy, dark, playful, hopeful, moving")),
    "comedy": StoryWords(
        _split("Accidental, Reluctant, Awkward, Unfortunate, Part-Time, Clumsy, Overdressed, Hopeless, Borrowed, Grumpy"),
        _split("Butler, Uncle, Bridesmaid, Landlord, Magician, Neighbour, Chef, Spy, Godfather, Choirmaster, Babysitter, Parrot"),
        _split("a disastrous dinner, office rivals, mistaken identity, a chaotic road trip, a terrible band, meddling neighbours, a fake butler, a village fete"),
        _split("funny, playful, clever, cosy")),
    "thriller": StoryWords(
        _split("Deadly, Burning, Broken, Blind, Double, Fatal, Frozen, Vanishing, Hostile, Silent"),
        _split("Pursuit, Target, Exchange, Deadline, Hostage, Border, Trigger, Cipher, Courier, Informant, Alarm, Shadow"),
        _split("a hunted witness, a double agent, a kidnapping, a race against time, a corrupt bank, a hacked city, a hijacked train, a cover-up"),
        _split("tense, dark, clever")),
    "historical": StoryWords(
        _split("Iron, Imperial, Linen, Copper, Winter, Distant, Salt, Velvet, Crimson, Pewter"),
        _split("Regiment, Harbour, Dynasty, Courier, Cathedral, Railway, Governess, Harvest, Ballroom, Weaver, Treaty, Lantern"),
        _split("wartime nurses, a merchant family, a winter siege, a royal scandal, railway builders, a weavers strike, a lighthouse keeper, a court painter"),
        _split("moving, elegant, dark, hopeful")),
    "adventure": StoryWords(
        _split("Lost, Wild, Uncharted, Thundering, Northern, Golden, Restless, Sunken, Perilous, Farthest"),
        _split("Expedition, River, Summit, Compass, Island, Caravan, Voyage, Treasure, Canyon, Map, Outpost, Monsoon"),
        _split("a treasure map, a desert crossing, a mountain rescue, pirates, a jungle expedition, a shipwreck, a balloon flight, a polar journey"),
        _split("tense, playful, hopeful, funny")),
    "horror": StoryWords(
        _split("Whispering, Hungry, Pale, Buried, Crawling, Blackened, Sleepless, Rotting, Hollow, Nameless"),
        _split("Cellar, Orchard, Doll, Chapel, Attic, Nursery, Marsh, Choir, Mirror, Scarecrow, Well, Tenant"),
        _split("a haunted house, a cursed village, something in the cellar, a sinister cult, vampires, a possessed doll, a deserted hospital, a hungry forest"),
        _split("dark, tense, clever")),
    "family": StoryWords(
        _split("Little, Brave, Muddy, Wonderful, Sleepy, Flying, Marmalade, Cheerful, Invisible, Upside-Down"),
        _split("Hedgehog, Treehouse, Holiday, Puppet, Circus, Balloon, Lighthouse, Kitten, Caravan, Snowman, Grandmother, Goose"),
        _split("an orphan and a dog, a magical summer, sibling rivalry, a school play, a runaway kitten, a secret treehouse, a travelling circus, a lost teddy"),
        _split("playful, funny, cosy, hopeful, moving")),
    "nature": StoryWords(
        _split("Living, Secret, Deep, Ancient, Restless, Vanishing, Untamed, Quiet, Salt, Feathered"),
        _split("Ocean, Glacier, Reef, Migration, Desert, Meadow, Tide, Canopy, Wetland, Tundra, Burrow, Estuary"),
        _split("whales, bees and flowers, melting glaciers, wolves, mountain birds, coral reefs, ancient trees, desert foxes"),
        _split("dreamy, elegant, moving, hopeful")),
}
KITCHEN = {
    "cutting": KitchenWords(
        {
            "chef's knife": _split("carbon steel, stainless steel"), "paring knife": _split("carbon steel, stainless steel"), "bread knife": _split("carbon steel, stainless steel"),
            "chopping board": _split("walnut, bamboo, beech"), "grater": _split("stainless steel"), "salad spinner": _split("glass, stainless steel"),
        },
        _split("meal prep, sharp slicing, big salads, crusty bread")),
    "cooking": KitchenWords(
        {
            "skillet": _split("cast iron, copper, carbon steel"), "saucepan": _split("copper, stainless steel, enamel"), "casserole": _split("cast iron, enamel"),
            "wok": _split("carbon steel, cast iron"), "stockpot": _split("stainless steel, enamel, copper"), "griddle": _split("cast iron, carbon steel"),
        },
        _split("slow stews, weekend brunch, quick suppers, camping trips")),
    "baking": KitchenWords(
        {
            "loaf tin": _split("carbon steel, enamel"), "mixing bowl": _split("ceramic, glass, stainless steel"), "rolling pin": _split("beech, walnut"),
            "cake stand": _split("glass, ceramic, walnut"), "pie dish": _split("ceramic, enamel, glass"), "proving basket": _split("rattan, bamboo"),
        },
        _split("sourdough, birthday cakes, flaky pastry, baking with children")),
    "coffee": KitchenWords(
        {
            "moka pot": _split("copper, stainless steel"), "coffee grinder": _split("walnut, stainless steel"), "milk jug": _split("ceramic, stainless steel, enamel"),
            "pour-over kettle": _split("copper, stainless steel, enamel"), "espresso cup": _split("ceramic, porcelain, glass"), "coffee press": _split("glass, ceramic, copper"),
        },
        _split("early mornings, milky coffee, iced coffee, office breaks")),
    "storage": KitchenWords(
        {
            "bread bin": _split("bamboo, enamel, walnut"), "spice rack": _split("bamboo, walnut, beech"), "storage jar": _split("glass, ceramic"),
            "lunch box": _split("bamboo, stainless steel, enamel"), "butter dish": _split("porcelain, ceramic, glass"), "fruit basket": _split("rattan, bamboo, copper"),
        },
        _split("small kitchens, packed lunches, dry pantry goods, tidy shelves")),
    "serving": KitchenWords(
        {
            "serving platter": _split("walnut, porcelain, ceramic"), "salad bowl": _split("walnut, ceramic, glass"), "carafe": _split("glass, ceramic"),
            "cheese board": _split("walnut, bamboo, beech"), "teapot": _split("porcelain, ceramic, glass, enamel"), "soup tureen": _split("porcelain, ceramic"),
        },
        _split("dinner parties, garden lunches, holiday feasts, afternoon tea")),
}
LENGTHS, PACES, PRICES = ("short", "medium", "long"), ("slow", "steady", "fast"), ("low", "medium", "high")
ROMAN = ("", "I", "II", "III", "IV")
KITCHEN_MOODS = ("cosy", "playful", "elegant", "clever")
SIZES = ("", ", small", ", large", ", set of two", ", set of four", ", gift box", ", travel size", ", limited colours")
TITLES = (
    "The {quality} {noun}", "The {quality} {noun}", "{quality} {noun}", "The {noun} of {place}", "The {noun} and the {other}",
    "The {quality} {noun} of {place}",
    "{name} and the {quality} {noun}", "Beyond the {quality} {noun}", "The Last {noun} of {place}", "{name}'s {noun}", "Return to the {noun}",
    "The {noun} at {place}",
    "Under the {quality} {noun}", "{place} {noun}", "No {noun} for {name}", "What the {noun} Knew",
)
PLACE_NAMES = _split(
    "Harrow Bay, Saltmere, Ostwick, Brannoch, Port Lumen, Velmora, Kestrel Hill, Dunmarrow, Alder Street, Tarn Hollow, Wrenfield, Larkspur Lane, Cape Merrin, "
    "Ashdown Quay, Oldgate, San Verro, Pellworth, Mirefold, Isle Corran, Tolvane, Greyhaven Sound, Easterby, Montavel, Quillbrook")
SERIES_WORDS = {"mystery": "Mystery", "romance": "Romance", "comedy": "Comedy", "thriller": "Thriller", "adventure": "Adventure", "science fiction": "Saga", "fantasy": "Saga"}
FIRST_NAMES = _split(
    "Ada, Bram, Celia, Dov, Elif, Farid, Greta, Hugo, Ines, Jonas, Kaya, Leif, Mira, Nils, Oona, Petra, Quentin, Rosa, Stellan, Tamsin, Ulla, Viktor, Wanda, Yusuf, "
    "Zora, Anselm, Beatriz, Chidi, Delphine, Emeka, Freya, Giorgio, Hanne, Idris, Junko, Katya, Lorcan, Mei, Noor, Orla")
SURNAMES = _split(
    "Arkwell, Brandvik, Castellmar, Dovrensky, Eskelund, Farrowby, Grimaudo, Hollinbrook, Ilvane, Jessamond, Kolvarin, Lindqvarn, Marchetta, Nwandu, Ostrander, "
    "Pellegrave, Quistgard, Rosenthorn, Saltonby, Tavernay, Umarova, Vantongel, Wexcombe, Yarrowell, Zielenko, Abernoth, Bellacorte, Crowmarsh, Duvenay, Okonjide")
BRANDS = _split(
    "Brindlewick, Tarnhollow, Oskerra, Pellimore, Quillmark, Vestergarn, Copperlark, Maplethorne, Hearthby, Lumafold, Saltwren, Ironvale, Kettlebrook, Nordabel, "
    "Figgins & Rye, Juniper Row, Casa Verrino, Tidewell, Aldermoss, Pipkin Lane")
LINES = _split("Hearth, Meadow, Nordic, Atelier, Campfire, Pebble, Orchard, Harbour, Heritage, Sunday, Linen, Morning")
OCCASIONS = {
    "commute": "my commute", "night": "a late night", "work": "a lunch break", "morning": "an early morning", "evening": "a quiet evening",
    "weekend": "a lazy weekend",
}

STORY_KEYWORDS = (
    "{mood} {genre}", "{topic}", "{creator}", "{genre} {noun}", "{length} {genre}", "{genre}", "{mood} {noun}", "{topic} {noun}", "{genre} {topic}",
    "{length} {mood} {noun}", "{pace} {genre}",
)
STORY_REQUESTS = (
    "{a_mood} {noun} about {subject}", "something {mood} for {occasion}", "looking for {a_genre} {noun} by {creator}",
    "{a_length} {genre} {noun} for {occasion}",
    "any {nouns} about {subject}?", "what should I {verb} if I like {mood} {genre} stories?", "I am in the mood for {genre}, preferably {mood}",
    "{a_mood} {genre} {noun}, not too complicated",
    "{nouns} with {subject} and a {pace} pace", "please find me something like the work of {creator}", "I want to {verb} something {mood} and {length}",
    "{genre} with {subject}, ideally {length}",
)
LIKE_REQUESTS = (
    "something {mood} like {like}", "what comes after {like}?", "more like {like}", "{a_mood} {noun} like {like}", "I enjoyed {like}, what next?",
    "{genre} in the style of {like}",
    "if I liked {like}, which {noun} should I {verb}?", "another {genre} {noun} like {like}",
)
KITCHEN_KEYWORDS = ("{noun}", "{material} {noun}", "{genre}", "{creator}", "{mood} {noun}", "{use}", "{noun} gift")
KITCHEN_REQUESTS = (
    "{a_mood} {noun} for {use}", "something for {use}", "{a_material} {noun} that lasts", "I need a good {noun} for {use}",
    "a gift for somebody who loves {use}",
    "which {noun} is best for {use}?", "anything {mood} by {creator}", "looking for {genre} gear made of {material}",
)

STORY_PRAISE = {
    "genre": (
        "this is {mass} at its finest", "it gets everything right that {a_g} can get right", "I rarely come across {a_g} this good",
        "it is just the {g} I was hoping for",
        "{mass} seldom feels this fresh", "I would give this to anybody who enjoys {mass}", "it is {a_g} with a heart", "it reminded me why I love {mass}"),
    "mood": (
        "it is {x} in the best way", "the {x} mood never slips", "I loved how {x} it is", "it stays {x} right to the end", "hardly any {noun} feels this {x}",
        "it turned out even more {x} than I had hoped", "the {x} tone carried me along", "it was as {x} as I wanted"),
    "creator": (
        "{x} is on top form here", "{x} never lets me down", "you can feel the hand of {x} in every {part}", "nobody does this like {x}",
        "{x} has outdone the earlier work", "I would follow {x} anywhere", "{x} keeps getting better", "this is {x} at full strength"),
    "subject": (
        "the part about {x} is wonderful", "everything around {x} works", "I adored the way it handles {x}", "it finds something new to say about {x}",
        "the idea of {x} is used so well", "I was gripped by the thread about {x}", "I could not get enough of {x}", "it brings {x} to life"),
    "length": (
        "the {x} {extent} suits it perfectly", "at this {x} {extent} nothing drags", "I was glad of the {x} {extent}", "the {x} {extent} felt just right",
        "it makes the most of its {x} {extent}", "a {x} {noun} was what I needed"),
    "pace": (
        "the {x} pace is a pleasure", "I enjoyed the {x} pace", "its {x} pace fits the story", "the {x} pace pulled me along",
        "it moves at a {x} pace and I was happy to follow",
        "I sank into its {x} pace"),
}
STORY_BLAME = {
    "genre": (
        "as {mass} it never comes alive", "it adds nothing to {mass}", "I expected more from {a_g}", "it is {a_g} without a spark",
        "it ticks the boxes of {mass} and stops there", "the {g} I hoped for is not here", "it is {mass} on tired legs", "I have seen better {mass}"),
    "mood": (
        "it tries so hard to be {x} that it tires you out", "the {x} tone wore me down", "I found it {x} in all the wrong places",
        "being {x} is not enough to carry {a_noun}",
        "it was too {x} for me", "I was not in the mood for something so {x}", "the {x} mood feels forced"),
    "creator": (
        "{x} has done better", "I do not see what people find in {x}", "{x} seems to be going through the motions", "the style of {x} grates on me",
        "{x} and I will never be friends", "{x} repeats old tricks", "it is minor work by {x}"),
    "subject": (
        "the part about {x} bored me", "I did not believe a word about {x}", "it is yet more about {x} and nothing new", "it has little to say about {x}",
        "the thread about {x} goes nowhere", "I have had my fill of {x}", "it wastes the idea of {x}"),
    "length": (
        "the {x} {extent} does it no favours", "the {x} {extent} was wrong for the story", "I struggled with the {x} {extent}",
        "at this {x} {extent} it never finds its feet",
        "a {x} {noun} is not what this needed"),
    "pace": (
        "the {x} pace spoiled it for me", "the {x} pace wore me out", "I could not get on with the {x} pace", "its {x} pace works against the story",
        "the {x} pace never lets it breathe"),
}
KITCHEN_PRAISE = {
    "genre": (
        "it makes {x} a pleasure", "it is the best piece of {mass} I own", "I reach for it before any other {mass}", "as {mass} goes it is superb",
        "my {mass} is complete at last",
        "every {g} should be like this"),
    "mood": (
        "it looks so {x} on the counter", "the {x} design makes me smile", "I love the {x} look", "guests keep noticing how {x} it is",
        "the {x} shape brightens the room",
        "hardly any {noun} looks this {x}"),
    "creator": (
        "{x} knows how to make things", "the {x} quality shows", "I trust {x} more with every purchase", "it is another winner from {x}",
        "{x} thought of everything"),
    "material": (
        "the {x} feels solid", "{x} was the right choice", "the {x} has held up beautifully", "the {x} is a joy to touch", "the {x} cleans up in no time",
        "I am very pleased with the {x}"),
    "use": (
        "it is made for {x}", "I use it for {x} all the time", "nothing beats it for {x}", "it earns its place through {x}", "it has changed {x} for me",
        "for {x} I would buy it again"),
}
KITCHEN_BLAME = {
    "genre": (
        "it makes {x} a chore", "I own better {mass}", "as {mass} it is second rate", "my old {mass} did more", "it is {a_noun} that gets in the way"),
    "mood": (
        "the {x} look is all it has", "somebody wanted it {x} and forgot to make it useful", "the {x} design is not to my taste",
        "it is too {x} for my kitchen", "it looked more {x} in the picture"),
    "creator": (
        "{x} used to do better", "I will not buy from {x} again", "{x} cut corners here", "I expected more care from {x}",
        "{x} does not listen to its customers"),
    "material": (
        "the {x} stained within a week", "the {x} feels flimsy", "{x} was the wrong choice for me", "the {x} is a pain to clean",
        "I should have avoided {x}", "the {x} let me down"),
    "use": (
        "it is no help with {x}", "I bought it for {x} and regret it", "for {x} it is useless", "it fails when it comes to {x}",
        "it was meant for {x} and sits in a drawer"),
}
BUTS = (", but ", ", yet ", ", though ", "; then again, ", ", only ")
OPENERS = {
    5: ("I loved this", "What a find", "A real treat", "Wonderful", "I could not be happier", "Superb", "An instant favourite", "Simply lovely", "This made my week", "Better than I dared hope"),
    4: ("Glad I picked this", "Good stuff", "Well worth it", "I enjoyed this", "A pleasant surprise", "Very decent", "A good choice", "Nicely done", "I was won over", "Easy to like"),
    3: ("A mixed bag", "Not sure about this", "It has its moments", "Fine, no more", "Somewhere in the middle", "So-so", "I am in doubt", "Neither here nor there", "Passable"),
    2: ("A let-down", "Not for me", "I wanted to like this", "Rather weak", "Below par", "I expected better", "Underwhelming", "It left me cold", "Sadly not my thing"),
    1: ("A waste", "I gave up", "Dreadful", "Best avoided", "What a disappointment", "I regret this", "Painful", "Never again", "I want my money back"),
}
REASONS = {
    "liked": (
        "I have a soft spot for {y}", "I can never resist {y}", "I keep coming back to {y}", "give me {y} any day", "this is why I look for {y}",
        "my shelves are full of {y}",
        "I am always after {y}", "nothing suits me better than {y}", "hardly anything pleases me like {y}", "I picked it out of love for {y}"),
    "mixed": (
        "I go back and forth on {y}", "on another day I might have been kinder to {y}", "my feelings about {y} are divided",
        "people who love {y} may see more in it",
        "I am still making up my mind about {y}"),
    "disliked": (
        "I have never warmed to {y}", "I should have known better, given how I feel about {y}", "I am done with {y} for a while", "I keep my distance from {y}",
        "my patience with {y} is short", "{y} and I do not mix", "I have little time for {y}", "others may enjoy {y} more than I do"),
}
MOMENTS = {
    "liked": ("just right for {m}", "it made {m} better", "lovely company for {m}", "it was the best part of {m}", "I would pick it again for {m}"),
    "mixed": ("passable for {m}", "it filled {m}, no more", "good enough for {m}"),
    "disliked": ("it did nothing for {m}", "a poor choice for {m}", "it spoiled {m}", "I had hoped for more from {m}"),
}
SUMMARIES = {
    5: ("A wonderful {g}", "Beautifully {mood} {noun}", "Superb {mass}", "{mood} and utterly delightful", "My new favourite {noun}", "Loved this {mood} {noun}", "A {noun} to treasure", "Pure {mood} joy"),
    4: ("A good {g}", "Solid {mass}", "Pleasantly {mood}", "{mood} and worth it", "Enjoyable {mood} {noun}", "A {noun} worth having", "Good {mass}", "Happy with this {noun}"),
    3: ("An average {g}", "{mood} but uneven", "Neither good nor bad", "Decent {mass}, little more", "A middling {noun}", "{mood} in places", "Not quite my {noun}"),
    2: ("A weak {g}", "{mood} but dull", "Not my {noun}", "Disappointing {mass}", "Expected a better {noun}", "{mood}, yet it fails", "Second-rate {mass}"),
    1: ("A dreadful {g}", "Painful {mass}", "Regret this {noun}", "{mood}, supposedly", "Avoid this {noun}", "The worst {g}", "{mood} and awful"),
}
