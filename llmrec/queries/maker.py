"""Chooses what a made query says of an item, and says it in words or in a sentence.

Separate from `wordings`, because what may be asked, and by how many items it must be answered, is a rule and no list.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from llmrec.interactions import Catalog
from llmrec.queries.wordings import CHINESE, GENRES, WORDINGS, Wordings
from llmrec.words import words

TYPO_RATE = 0.04
CASE_RATE = 0.06

_FITTING_ITEMS = 20
_SMALL_CATALOGUE = 400  # below it 20 items are more than one in twenty, and hardly any two words would fit that many
_LONGEST_PHRASE = 4  # a longer attribute value is a text, not something one types whole
_NO_ROWS = np.zeros(0, dtype=np.int32)
_UNSAID = frozenset({"unknown", "none", "n/a", "null", "(no genres listed)"})
_STOPWORDS = frozenset(
    "a an and are as at be by de der die el en for from i in into is it its la las le les los "
    "my no not of off on one or our out the to und up us with you your".split()
)
_CJK_STOP = frozenset("的了和与在是之也及为或")
_YEAR = re.compile(r"\((1[89]\d\d|20\d\d)\)\s*$")
_ARTICLE = re.compile(r"^(.*), (The|A|An|La|Le|Les|Der|Die|Das|El|Il)$")


class _Term(NamedTuple):
    text: str
    words: frozenset[str]
    rows: np.ndarray
    from_title: bool


class QueryMaker:
    """Makes the queries of a catalogue. A query is a function of the item, the history rows and the state of `rng` alone.

    declared: says how queries are made, for reports; `seed` is that of the generators the caller passes, and stands there.
    least: from how many items a keyword query must fit: 20, or in catalogues under 400 items one in twenty, but at least 3.
    """

    def __init__(self, catalog: Catalog, *, seed: int):
        self.catalog = catalog
        self.least = _FITTING_ITEMS if len(catalog) >= _SMALL_CATALOGUE else max(3, -(-len(catalog) // 20))
        # A word of more than half of the items asks for nothing.
        self._most = max(self.least, len(catalog) // 2)
        self.declared = (
            f"Queries were made from item text (seed {seed}), not typed by users: keywords are 1 to 3 words or phrases of the target's title and attributes "
            f"that together fit at least {self.least} items; sentences name attributes of the target, an item that shares some with it "
            "(of the history where one does) and a mood that says nothing about the target, in wordings kept apart for train and test. "
            f"No query holds the target's title in full; train queries carry typing errors ({TYPO_RATE:.0%}) and case changes ({CASE_RATE:.0%})."
        )
        self._rows = _inverted(catalog)
        self._phrases: dict[str, tuple[frozenset[str], np.ndarray]] = {}
        years = [_YEAR.search(title) for title in catalog.titles]
        genres = [any(value.casefold() in GENRES for values in catalog.attribute_values.values() for value in values[row]) for row in range(len(catalog))]
        # Only films are known by genre and year; their queries say "film" and "not too long".
        self._films = 2 * sum(genres) > len(catalog) and 2 * sum(year is not None for year in years) > len(catalog)

    def keywords(self, item_row: int, rng: np.random.Generator, *, split: str = "test") -> str | None:
        """One to three lower-case words or phrases of the item that together fit at least `least` items; None where it has none.

        Those of split "train" carry light noise, so that the words as typed may fit fewer.
        """
        chosen = self._choose(self._terms(item_row), item_row, int(rng.integers(1, 4)), rng)
        if not chosen:
            return None
        text = " ".join(term.text.lower() for term in chosen)
        return _noisy(text, rng) if split == "train" else text

    def sentence(self, item_row: int, history_rows: Sequence[int], rng: np.random.Generator, *, split: str, language: str) -> str | None:
        """A request in a sentence for this item; None where nothing can be said about it.

        Wordings are those of `split` ("train", with light noise, or "test") and `language`. Values that the Chinese dictionary lacks stand as they are.
        As an item to be like, one of the history that shares attributes with the target (of eight drawn) is named before any other.

        Raises:
            ValueError: there are no wordings in this language or for this split.
        """
        if language not in WORDINGS or split not in ("train", "test"):
            raise ValueError(f"no wordings for language {language!r}, split {split!r}; available: {', '.join(WORDINGS)} with train, test")
        wordings = WORDINGS[language]
        terms = self._terms(item_row)
        chosen = self._choose([term for term in terms if not term.from_title] or terms, item_row, int(rng.integers(1, 3)), rng)
        liked = self._reference(item_row, history_rows, frozenset().union(*(term.words for term in chosen)), rng)
        if not chosen and liked is None:
            return None
        slots = self._slots(item_row, chosen, wordings, language, rng)
        if liked is not None:
            slots["like"] = _spoken(self.catalog.titles[liked])
        patterns = [pattern for pattern in getattr(wordings, split) if _slot_names(pattern) <= slots.keys()]
        for i in rng.permutation(len(patterns)):
            text = patterns[i].format_map(slots)
            # The pattern's own words may complete a title such as "Gift".
            if not self._gives_away(frozenset(words(text)), item_row):
                return _noisy(text, rng) if split == "train" else text
        return None

    def matches(self, query_words: Iterable[str]) -> np.ndarray:
        """The rows, ascending, of the items whose title and attribute values hold every one of these words.

        A phrase counts as its words. Without any word: every row.
        """
        lists = sorted((self._rows.get(word, _NO_ROWS) for text in query_words for word in words(text)), key=len)
        rows = lists[0] if lists else np.arange(len(self.catalog), dtype=np.int32)
        for found in lists[1:]:
            rows = _common(rows, found)
        return rows

    def _terms(self, item_row: int) -> list[_Term]:
        # (what it says, whether it comes from the title) of everything the item can be asked for by
        said = []
        for values in self.catalog.attribute_values.values():
            for value in values[item_row]:
                held = words(value)
                said += [(value, False)] if len(held) <= _LONGEST_PHRASE else [(word, False) for word in _telling(held)]
        said += [(word, True) for word in _telling(words(self.catalog.titles[item_row]))]
        terms: dict[frozenset[str], _Term] = {}
        for text, from_title in said:
            found, rows = self._find(text)
            if found and found not in terms and text.casefold() not in _UNSAID and self.least <= len(rows) <= self._most:
                terms[found] = _Term(text.strip(), found, rows, from_title)
        return list(terms.values())

    def _find(self, text: str) -> tuple[frozenset[str], np.ndarray]:
        if text not in self._phrases:
            self._phrases[text] = (frozenset(words(text)), self.matches([text]))
        return self._phrases[text]

    def _choose(self, terms: Sequence[_Term], item_row: int, wanted: int, rng: np.random.Generator) -> list[_Term]:
        chosen: list[_Term] = []
        used: frozenset[str] = frozenset()
        rows = np.arange(len(self.catalog), dtype=np.int32)
        # Numbers, such as the year in a title, come last: alone they ask for nothing one would type.
        for term in sorted((terms[i] for i in rng.permutation(len(terms))), key=lambda term: term.text.isdigit()):
            common = _common(rows, term.rows)
            if len(common) < self.least or term.words <= used or self._gives_away(used | term.words, item_row):
                continue
            chosen, used, rows = [*chosen, term], used | term.words, common
            if len(chosen) == wanted:
                break
        return chosen

    def _gives_away(self, said: frozenset[str], item_row: int) -> bool:
        title = words(_YEAR.sub("", self.catalog.titles[item_row]))
        return bool(title) and set(_telling(title) or title) <= said

    def _reference(self, item_row: int, history_rows: Sequence[int], said: frozenset[str], rng: np.random.Generator) -> int | None:
        """The row of an item to name as alike: of 8 drawn from the history, else of 8 with one attribute of the target, the one that shares most."""
        features = self._features(item_row)
        shared_by = sorted(feature for feature in features if len(self._find(feature)[1]) > 1)
        pools = [np.unique(np.asarray(history_rows, dtype=np.int64))]
        if shared_by:
            pools.append(self.matches([shared_by[rng.integers(len(shared_by))]]))
        for pool in pools:
            drawn = rng.permutation(pool)[:8] if len(pool) <= 1024 else pool[rng.integers(len(pool), size=8)]
            named = [row for row in drawn.tolist() if self._may_name(row, item_row, said)]
            best = max(named, key=lambda row: len(features & self._features(row)), default=None)
            if best is not None and features & self._features(best):
                return best
        return None

    def _features(self, row: int) -> frozenset[str]:
        values = {value.casefold().strip() for values in self.catalog.attribute_values.values() for value in values[row]} - _UNSAID
        return frozenset(values or _telling(words(self.catalog.titles[row])))

    def _may_name(self, row: int, item_row: int, said: frozenset[str]) -> bool:
        title = _spoken(self.catalog.titles[row])
        return row != item_row and bool(title) and not self._gives_away(said | frozenset(words(title)), item_row)

    def _slots(self, item_row: int, chosen: Sequence[_Term], wordings: Wordings, language: str, rng: np.random.Generator) -> dict[str, str]:
        noun = wordings.film_nouns[rng.integers(len(wordings.film_nouns))] if self._films else wordings.other_noun
        moods = wordings.moods + (wordings.film_moods if self._films else ())
        mood = wordings.comma.join(moods[i] for i in rng.permutation(len(moods))[: rng.integers(1, 3)])
        slots = {"noun": noun, "mood": mood}
        year = _YEAR.search(self.catalog.titles[item_row])
        decade = int(year[1]) // 10 * 10 if year and self._films and rng.random() < 0.3 else None
        if chosen:
            slots["what"] = _english(chosen, noun, decade, rng) if language == "en" else _chinese(chosen, noun, decade)
        genres = [GENRES[term.text.casefold()] for term in chosen if term.text.casefold() in GENRES]
        if genres and language == "en":
            slots |= {"adjective": genres[0].adjective, "article": "an" if genres[0].adjective[0] in "aeiou" else "a"}
        elif genres:
            slots |= {"adjective": genres[0].chinese_adjective, "article": "一部" if self._films else "一样"}
        return slots


def reason_absent(catalog: Catalog) -> str | None:
    """Why no queries can be made for this catalogue, as a sentence; None where they can."""
    if not any(catalog.titles) and not any(values for column in catalog.attribute_values.values() for values in column):
        return "search needs queries, or item titles or attributes to make them from; this catalogue has neither"
    maker = QueryMaker(catalog, seed=0)
    if not any(maker._terms(row) for row in range(len(catalog))):
        return (
            f"search needs queries, or item text to make them from; no word of this catalogue fits at least {maker.least} of its {len(catalog)} items "
            "and at most half of them"
        )
    return None


def _inverted(catalog: Catalog) -> dict[str, np.ndarray]:
    rows: dict[str, list[int]] = {}
    words_of_value: dict[str, list[str]] = {}  # values repeat; their words are found once
    for row, title in enumerate(catalog.titles):
        held = set(words(title))
        for values in catalog.attribute_values.values():
            for value in values[row]:
                if value not in words_of_value:
                    words_of_value[value] = words(value)
                held.update(words_of_value[value])
        for word in held:
            rows.setdefault(word, []).append(row)
    return {word: np.array(found, dtype=np.int32) for word, found in rows.items()}


def _common(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    short, long = (first, second) if len(first) <= len(second) else (second, first)
    if not len(short):
        return short
    places = np.minimum(np.searchsorted(long, short), len(long) - 1)
    return short[long[places] == short]


def _telling(found: Sequence[str]) -> list[str]:
    """The words one would search by: no stopwords, no single letters or short numbers, no pair with a function character."""
    return [
        word for word in found
        if word not in _STOPWORDS and not _CJK_STOP & set(word) and (len(word) > 2 or (len(word) == 2 and not word.isascii()))
    ]


def _spoken(title: str) -> str:
    """A title as one says it: without the year, the article in front, at most eight words.

    >>> _spoken("Matrix, The (1999)")
    'The Matrix'
    """
    title = _YEAR.sub("", title).strip()
    article = _ARTICLE.match(title)
    return " ".join((f"{article[2]} {article[1]}" if article else title).split()[:8]).rstrip(" ,;:-")


def _slot_names(pattern: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(pattern) if name}


def _english(chosen: Sequence[_Term], noun: str, decade: int | None, rng: np.random.Generator) -> str:
    if any(term.from_title for term in chosen):
        return "something with " + " and ".join(f'"{term.text}"' for term in chosen) + " in the name"
    genres = all(term.text.casefold() in GENRES for term in chosen)
    what = (" and " if rng.random() < 0.5 else " ").join(term.text.lower() if genres else term.text for term in chosen)
    if genres:
        what += f" {noun}s"
    if decade is not None:
        what = f"old {what}" if decade < 1970 and rng.random() < 0.5 else f"{what} from the {decade}s"
    return what


def _chinese(chosen: Sequence[_Term], noun: str, decade: int | None) -> str:
    if any(term.from_title for term in chosen):
        return "名字里有" + "和".join(f"“{term.text}”" for term in chosen) + "的" + noun
    what = "、".join(CHINESE.get(term.text.casefold(), term.text) for term in chosen)
    if all(term.text.casefold() in GENRES for term in chosen):
        what += "电影" if noun == "电影" else "类的" + noun
    return what if decade is None else f"{decade}年代的{what}" if decade >= 1970 else f"老{what}"


def _noisy(text: str, rng: np.random.Generator) -> str:
    """The text as hastily typed: sometimes in one case, sometimes with two neighbouring letters swapped or one left out."""
    case, typo = rng.random(2)
    if case < CASE_RATE:
        text = text.lower() if case < CASE_RATE / 2 else text.upper()
    # Only words of five letters and more: a shorter one may become another word.
    places = [match.span() for match in re.finditer(r"[A-Za-z]{5,}", text)]
    if places and typo < TYPO_RATE:
        start, stop = places[rng.integers(len(places))]
        i = int(rng.integers(start + 1, stop - 1))
        text = text[:i] + (text[i + 1] + text[i] + text[i + 2 :] if rng.random() < 0.5 else text[i + 1 :])
    return text
