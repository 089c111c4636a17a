"""Queries made from item text: they fit the items they are said to fit, keep wordings apart and never give the title away."""

import re

import numpy as np
import polars as pl
import pytest

from llmrec.interactions import Catalog
from llmrec.queries import WORDINGS, QueryMaker, reason_absent
from llmrec.words import words

GENRES = ("Comedy", "War", "Romance", "Sci-Fi", "Drama")


def catalog_of(titles: list[str], genres: list[list[str]]) -> Catalog:
    rows = {"item_id": [f"i{n}" for n in range(len(titles))], "title": titles, "genres": genres}
    return Catalog(pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String, "genres": pl.List(pl.String)}))


def films(count: int) -> Catalog:
    """Film n has the genres n and n + 1 (modulo 5), the year 1950 + n % 50 and a title no other film has."""
    genres = [[GENRES[n % 5], GENRES[(n + 1) % 5]] for n in range(count)]
    return catalog_of([f"Quux{n} Zorp{n} ({1950 + n % 50})" for n in range(count)], genres)


@pytest.fixture(scope="module")
def maker() -> QueryMaker:
    return QueryMaker(films(600), seed=0)


def all_sentences(maker: QueryMaker, split: str, language: str, count: int = 600) -> list[str]:
    rng = np.random.default_rng(3)
    return [maker.sentence(row, [(row + 5) % 600, (row + 7) % 600], rng, split=split, language=language) for row in range(count)]


def test_matches_are_the_items_that_hold_every_word():
    small = QueryMaker(catalog_of(["Red car", "Red dog", "Blue dog"], [["Toy"], ["Toy", "Pet"], ["Pet"]]), seed=0)
    assert small.matches(["red"]).tolist() == [0, 1]
    assert small.matches(["RED", "pet"]).tolist() == [1]
    assert small.matches(["dog toy"]).tolist() == [1]
    assert small.matches(["absent", "red"]).tolist() == []
    assert small.matches([]).tolist() == [0, 1, 2]


def test_keywords_fit_the_item_and_at_least_twenty(maker):
    rng = np.random.default_rng(0)
    for row in range(600):
        query = maker.keywords(row, rng)
        rows = maker.matches(query.split())
        assert row in rows and 20 <= len(rows) <= 300, query
        assert query == query.lower()


def test_keywords_are_one_to_three_terms(maker):
    rng = np.random.default_rng(0)
    assert {len(maker.keywords(row, rng).split()) for row in range(600)} == {1, 2}  # a third would fit too few of these films
    brands = catalog_of(["x"] * 60, [["Garden", "Tool", "Green"]] * 30 + [["Kitchen"]] * 30)
    small = QueryMaker(brands, seed=0)
    assert {len(small.keywords(0, rng).split()) for _ in range(50)} == {1, 2, 3}


@pytest.mark.parametrize(("items", "least"), [(600, 20), (400, 20), (399, 20), (200, 10), (41, 3), (10, 3)])
def test_small_catalogues_ask_for_one_item_in_twenty_but_three(items, least):
    assert QueryMaker(films(items), seed=0).least == least


def test_item_without_a_frequent_word_has_no_keywords():
    odd = QueryMaker(catalog_of(["Unique words", *["Common thing"] * 9], [[]] * 10), seed=0)
    assert odd.keywords(0, np.random.default_rng(0)) is None
    assert odd.sentence(0, [1, 2], np.random.default_rng(0), split="test", language="en") is None


def test_words_of_more_than_half_the_catalogue_are_not_asked_for():
    beauty = QueryMaker(catalog_of(["x"] * 100, [["Beauty", "Hair"]] * 40 + [["Beauty", "Skin"]] * 60), seed=0)
    assert {beauty.keywords(0, np.random.default_rng(seed)) for seed in range(10)} == {"hair"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sentence_wordings_of_train_and_test_are_apart(language):
    wordings = WORDINGS[language]
    assert len(set(wordings.train)) >= 12 and len(set(wordings.test)) >= 4
    assert not set(wordings.train) & set(wordings.test)
    # A sentence without its slots tells which set it came from.
    bare = {split: {re.sub(r"\{\w+\}", "", pattern) for pattern in getattr(wordings, split)} for split in ("train", "test")}
    assert not bare["train"] & bare["test"]


def test_every_wording_is_used(maker):
    for language in ("en", "zh"):
        for split in ("train", "test"):
            made = all_sentences(maker, split, language)
            for pattern in getattr(WORDINGS[language], split):
                shape = re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(pattern)), re.IGNORECASE)
                assert any(shape.fullmatch(sentence) for sentence in made), pattern


def test_sentences_are_in_the_language_asked_for(maker):
    assert all(sentence.isascii() for sentence in all_sentences(maker, "test", "en"))
    assert all(re.search("[\u4e00-\u9fff]", sentence) for sentence in all_sentences(maker, "test", "zh"))


def test_chinese_sentences_translate_common_genres(maker):
    made = " ".join(all_sentences(maker, "test", "zh"))
    assert "喜剧" in made and "战争" in made and "Comedy" not in made


def test_target_title_is_never_given(maker):
    for language in ("en", "zh"):
        for row, sentence in enumerate(all_sentences(maker, "train", language)):
            assert not {f"quux{row}", f"zorp{row}"} <= set(words(sentence)), sentence


def test_title_made_of_an_attribute_word_is_not_said():
    catalog = catalog_of(["Comedy", *[f"Film{n} Name{n}" for n in range(9)]], [["Comedy", "War"]] * 5 + [["Drama"]] * 5)
    rng = np.random.default_rng(0)
    maker = QueryMaker(catalog, seed=0)
    made = [maker.keywords(0, rng) for _ in range(20)] + [maker.sentence(0, [], rng, split="test", language="en") for _ in range(50)]
    assert not any("comedy" in words(query) for query in made)


def test_item_of_the_history_that_shares_an_attribute_is_named_before_others(maker):
    rng = np.random.default_rng(0)
    # Of the history, only film 5 shares a genre with film 0; films 2 and 7 (both Romance and Sci-Fi) share none.
    made = [maker.sentence(0, [2, 5, 7], rng, split="test", language="en") for _ in range(60)]
    named = {number for sentence in made for number in re.findall(r"Quux(\d+)", sentence)}
    assert named == {"5"}


def test_history_that_shares_nothing_is_not_named(maker):
    rng = np.random.default_rng(0)
    made = [maker.sentence(0, [2, 7], rng, split="test", language="en") for _ in range(60)]
    named = {int(number) for sentence in made for number in re.findall(r"Quux(\d+)", sentence)}
    assert named and all(set(maker.catalog.attribute_values["genres"][row]) & {"Comedy", "War"} for row in named)


def test_same_state_of_rng_gives_the_same_query(maker):
    first, second = ([maker.keywords(row, rng, split="train") for row in range(50)] for rng in (np.random.default_rng(5), np.random.default_rng(5)))
    assert first == second
    assert all_sentences(maker, "train", "en", 50) == all_sentences(QueryMaker(films(600), seed=0), "train", "en", 50)


def test_noise_is_light_and_only_in_train(maker):
    clean = [maker.keywords(row, np.random.default_rng(row)) for row in range(600)]
    noisy = [maker.keywords(row, np.random.default_rng(row), split="train") for row in range(600)]
    changed = sum(a != b for a, b in zip(clean, noisy, strict=True))
    assert 600 * 0.01 < changed < 600 * 0.15


@pytest.mark.parametrize(
    ("titles", "genres"),
    [(["love song", "love story", "love train", "war song", "war story", "war train"], [[]] * 6), ([""] * 6, [["War"]] * 3 + [["Love"]] * 3)],
    ids=["titles only", "attributes only"],
)
def test_titles_alone_or_attributes_alone_are_enough(titles, genres):
    maker = QueryMaker(catalog_of(titles, genres), seed=0)
    rng = np.random.default_rng(0)
    assert reason_absent(maker.catalog) is None
    assert maker.keywords(0, rng) in ("love", "war")
    for language in ("en", "zh"):
        assert re.search("love|war|战争|Love|War", maker.sentence(0, [], rng, split="test", language=language))


def test_reason_absent_says_what_is_lacking():
    assert "neither" in reason_absent(catalog_of([""] * 5, [[]] * 5))
    assert "no word of this catalogue fits at least 3 of its 5 items" in reason_absent(catalog_of([f"name{n}" for n in range(5)], [[]] * 5))


def test_declared_says_the_rule(maker):
    assert "made from item text" in maker.declared and "at least 20 items" in maker.declared and "seed 0" in maker.declared


def test_unknown_language_or_split_is_named(maker):
    with pytest.raises(ValueError, match="'fr'.*en, zh"):
        maker.sentence(0, [], np.random.default_rng(0), split="test", language="fr")
