"""The items of a simulated world as words: films and books told by their makers, kitchen things made by brands.

Separate from the shelf they stand on, which turns words into the numbers that tastes meet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llmrec.simulation.chance import draw_one, draw_some
from llmrec.simulation.lexicon import (
    BRANDS, FIRST_NAMES, KITCHEN, KITCHEN_MOODS, LENGTHS, LINES, PACES, PLACE_NAMES, ROMAN, SERIES_WORDS, SIZES, STORIES, SURNAMES, TITLES, article, capital,
)

SCENARIOS = ("films", "books", "kitchen")


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


def tell(rng: np.random.Generator, scenario: int, count: int, taken: set[str]) -> list[Thing]:
    """Films or books: by makers who keep to a genre or two, about a third of them in series. No title is one of `taken`, which grows."""
    makers = [(_maker(rng), draw_some(rng, tuple(STORIES), 2), draw_one(rng, PLACE_NAMES)) for _ in range(max(6, count // 6))]
    things: list[Thing] = []
    while len(things) < count:
        creator, favourites, place = makers[int(len(makers) * rng.random() ** 1.5)]  # a few makers are prolific
        main = favourites[int(rng.random() < 0.25)]
        genres = (main, *(g for g in draw_some(rng, tuple(STORIES), 1) if g != main and rng.random() < 0.35))
        moods = draw_some(rng, STORIES[main].moods, int(rng.integers(1, 3)))
        subject, length, pace = draw_one(rng, STORIES[main].subjects), draw_one(rng, LENGTHS), draw_one(rng, PACES)
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
                named = f"{title}: {capital(article(series))}"
            taken.add(title)
            other = draw_one(rng, [s for s in STORIES[genres[-1]].subjects if s != subject])
            things.append(Thing(
                scenario, named, ("film", "book")[scenario], genres, creator, moods, (subject, other), length, pace, series, volume,
                int(rng.choice(3, p=[0.35, 0.45, 0.2])), min(2024, year + 2 * (volume - 1)),
            ))
    return things


def craft(rng: np.random.Generator, count: int) -> list[Thing]:
    """Kitchen things: made by brands, in collections whose pieces go together."""
    brands = draw_some(rng, BRANDS, max(4, min(len(BRANDS), count // 6)))
    things: list[Thing] = []
    taken: set[str] = set()
    while len(things) < count:
        brand, line, material = draw_one(rng, brands), draw_one(rng, LINES), ""
        mood, price, year = draw_one(rng, KITCHEN_MOODS), int(rng.choice(3, p=[0.3, 0.45, 0.25])), int(rng.integers(2015, 2025))
        pieces = min(count - len(things), int(rng.choice([1, 2, 3, 4], p=[0.45, 0.25, 0.2, 0.1])))
        for volume in range(1, pieces + 1):
            genre = draw_one(rng, tuple(KITCHEN))
            noun = draw_one(rng, tuple(KITCHEN[genre].nouns))
            materials = KITCHEN[genre].nouns[noun]
            material = material if material in materials else draw_one(rng, materials)  # a collection keeps its material where it can
            title = f"{brand} {line} {material} {noun}" if pieces > 1 else f"{brand} {material} {noun}"
            sizes = [f"{title}{size}" for size in SIZES if f"{title}{size}" not in taken]
            title = sizes[0] if sizes else f"{title}, model {len(taken) + 1}"
            taken.add(title)
            series = f"{brand} {line}" if pieces > 1 else ""
            things.append(Thing(2, title, noun, (genre,), brand, (mood,), (material, draw_one(rng, KITCHEN[genre].uses)), "", "", series, volume, price, year))
    return things


def _unique(rng: np.random.Generator, genre: str, taken: set[str]) -> str:
    """A title of this genre that is not taken; where the words run out it gets a second half."""
    words = STORIES[genre]
    for attempt in range(60):
        first, second = draw_some(rng, words.nouns, 2)
        quality, place, name = draw_one(rng, words.qualities), draw_one(rng, PLACE_NAMES), draw_one(rng, FIRST_NAMES)
        title = draw_one(rng, TITLES).format(quality=quality, noun=first, other=second, place=place, name=name)
        if attempt >= 20:
            title += f", or the {draw_one(rng, words.qualities)} {second}"
        if title not in taken:
            return title
    return f"{title}, part {len(taken) + 1}"


def _maker(rng: np.random.Generator) -> str:
    return f"{draw_one(rng, FIRST_NAMES)} {draw_one(rng, SURNAMES)}"
