"""BM25: its words, its weights by hand, and what popularity adds."""

import math

import pytest

from llmrec.baselines.search import BM25, BM25Popular, bm25_weights, words
from llmrec.predictions import HeldOut, Request


@pytest.mark.parametrize(("text", "expected"), [
    ("Die Hard 2: Die Harder", ["die", "hard", "2", "die", "harder"]),
    ("功夫熊猫", ["功夫", "夫熊", "熊猫"]),
    ("看 iPhone手机壳", ["看", "iphone", "手机", "机壳"]),
    ("Amélie_(2001)", ["amélie", "2001"]),
    ("...", []),
])
def test_words(text, expected):
    assert words(text) == expected


def test_bm25_weights_by_hand():
    terms, weights = bm25_weights([["funny", "film"], ["film", "film", "war", "war"]])
    # Mean length 3. funny: 1 of 2 documents; film: 2 of 2.
    funny = math.log(1 + 1.5 / 1.5) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3))
    film = math.log(1 + 0.5 / 2.5) * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 4 / 3))
    table = weights.toarray()
    assert table[terms["funny"]] == pytest.approx([funny, 0])
    assert table[terms["film"], 1] == pytest.approx(film)


@pytest.fixture(scope="module")
def shelf(build):
    items = [
        {"item_id": "quiet", "title": "Quiet war", "genres": ["Drama"]}, {"item_id": "loud", "title": "Loud war", "genres": ["Drama", "Comedy"]},
        {"item_id": "panda", "title": "功夫熊猫", "genres": ["Comedy"]}, {"item_id": "hit", "title": "Romance", "genres": []},
    ]
    rows = [{"user_id": f"u{n}", "item_id": "hit"} for n in range(9)] + [{"user_id": f"v{n}", "item_id": "loud"} for n in range(3)]
    return build(rows, items)


def test_query_words_find_items_and_repeated_words_count_twice(shelf):
    model = BM25().fit(shelf)
    once, twice = (model.predict([Request(task="search", query=query, k=1)])[0] for query in ("a quiet one", "quiet quiet"))
    assert once.item_ids == twice.item_ids == ["quiet"] and twice.scores[0] == pytest.approx(2 * once.scores[0])


def test_attributes_and_chinese_bigrams_are_searched(shelf):
    model = BM25().fit(shelf)
    assert model.predict([Request(task="search", query="comedy", k=2)])[0].item_ids == ["loud", "panda"]  # texts of four words both, the popular first
    assert model.predict([Request(task="search", query="有熊猫的电影", k=1)])[0].item_ids == ["panda"]


def test_a_query_nothing_matches_falls_back_to_popularity(shelf):
    [answer] = BM25().fit(shelf).predict([Request(task="search", query="zzz", k=2)])
    assert answer.item_ids == ["hit", "loud"] and answer.scores == [0, 0]


def test_popularity_reorders_matches_and_never_lifts_what_does_not_match(shelf):
    plain, popular = (model().fit(shelf).predict([Request(task="search", query="war drama", k=4)])[0] for model in (BM25, BM25Popular))
    assert plain.item_ids[:2] == ["quiet", "loud"] and popular.item_ids[:3] == ["loud", "quiet", "hit"]
    assert popular.scores[0] == pytest.approx(plain.scores[1] + 0.3 * math.log(4))


def test_the_weight_of_popularity_is_chosen_on_valid_questions(shelf):
    question = HeldOut(Request(task="search", query="war drama"), "quiet")
    assert BM25Popular().fit(shelf, valid=[question]).settings == {"popularity_weight": 0.0}
    assert BM25Popular().fit(shelf).settings == {"popularity_weight": 0.3}


def test_search_without_a_query_is_an_error(shelf):
    assert "query" in BM25().fit(shelf).predict([Request(task="search")])[0].error
