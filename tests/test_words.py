"""Words: runs of letters, and pairs of characters where a script marks no words."""

import re

import pytest

from llmrec.words import UNSPACED, is_unspaced, pairs, run_pattern, words


def test_words_are_folded_and_chinese_counts_in_pairs():
    assert words("Children’s SCI-FI, 1995") == ["children's", "sci", "fi", "1995"]
    assert words("老电影 战") == ["老电", "电影", "战"]
    assert words("Ｆｕｌｌ　ｗｉｄｔｈ ﬁlm") == ["full", "width", "film"]  # NFKC
    assert words("'quoted' words'") == ["quoted", "words"]
    assert words("") == words("... !") == []


def test_a_run_never_mixes_scripts():
    assert run_pattern().findall("iPhone手机2号ケース") == ["iPhone", "手机", "2", "号ケース"]


@pytest.mark.parametrize(("letter", "joiners", "expected"), [
    (r"[^\W_]", "", ["don", "t", "film", "noir", "x", "y"]),
    (r"[^\W_]", "'", ["don't", "film", "noir", "x", "y"]),
    (r"\w", "", ["don", "t", "film_noir", "x", "y"]),
    (r"\w", "'-", ["don't", "film_noir", "x-y"]),
])
def test_what_joins_a_word_is_the_callers_choice(letter, joiners, expected):
    assert run_pattern(letter, joiners=joiners).findall("don't film_noir x-y") == expected


def test_a_joiner_stands_between_letters_only():
    assert run_pattern(joiners="'").findall("'a'b''c'") == ["a'b", "c"]


@pytest.mark.parametrize(("run", "expected"), [("老", True), ("ラ", True), ("㐀", True), ("豈", True), ("é", False), ("2", False), ("한국", False)])
def test_unspaced_are_ideographs_and_kana(run, expected):
    assert is_unspaced(run) is expected
    assert (re.fullmatch(f"[{UNSPACED}]+", run) is not None) is expected


def test_pairs_overlap_and_one_character_is_its_own():
    assert pairs("老电影") == ["老电", "电影"]
    assert pairs("影") == ["影"]
