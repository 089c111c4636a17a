"""The catalogue of a simulated world as arrays: what each item is in the space of tastes, what follows it, when it is promoted.

Separate from users, whose part in every probability is a vector in the same space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from llmrec.simulation.lexicon import PRICES
from llmrec.simulation.moments import CUES
from llmrec.simulation.things import SCENARIOS, Thing, craft, tell

PROMOTIONS = ("none", "discount", "editor's pick")
DIMENSIONS = 16
FACTS = ("genre", "genre", "mood", "mood", "creator", "subject", "subject", "length", "pace")  # what each of an item's fact places holds
FACT_WEIGHTS = np.array([0.65, 0.45, 0.50, 0.35, 0.50, 0.30, 0.30, 0.30, 0.25])  # how much of the latent vector each makes: about 0.9 of its variance
REMAINDER = 0.30
SUCCESSORS_NEAR, SUCCESSORS_FAR = 10, 3  # related items kept per item: in its own scenario, and in each other one
CLICK_BASE, TASTE_CLICK, RELATION_CLICK = -2.4, 0.8, 0.6

# What each cue of a moment does to the click logit of items with an attribute value.
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
        things = tell(rng, 0, counts[0], taken) + tell(rng, 1, counts[1], taken) + craft(rng, counts[2])
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
