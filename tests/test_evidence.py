"""Explanation texts: built ones claim only what is true, and reviews give whole, clean sentences."""

import re

import numpy as np
import polars as pl
import pytest

from llmrec.evidence import WORDINGS, best_sentence, clean, evidence, sentences
from llmrec.interactions import Catalog

CATALOG = Catalog(
    pl.DataFrame(
        {
            "item_id": list("abcdef"),
            "title": ["Alpha", "Bravo", "Charlie", "Delta", "Echo", ""],
            "genres": [["Comedy", "War"], ["Comedy", "War"], ["Comedy"], ["Western"], ["Comedy"], ["Comedy"]],
            "director": [["Kim"], ["Lee"], ["Kim"], ["Fox"], [], []],
        },
        schema={"item_id": pl.String, "title": pl.String, "genres": pl.List(pl.String), "director": pl.List(pl.String)},
    )
)
VALUES = {"Comedy", "War", "Western", "Kim", "Lee", "Fox"}


def drawn(history: list[int], item: int, language: str = "en", times: int = 300) -> set[str]:
    rng = np.random.default_rng(0)
    return {evidence(CATALOG, history, item, rng, language) for _ in range(times)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_at_least_eight_wordings_of_what_is_shared(language):
    assert len(set(WORDINGS[language].shared)) >= 8


@pytest.mark.parametrize("language", ["en", "zh"])
def test_cites_only_items_of_the_history_and_values_really_shared(language):
    for sentence in drawn([1, 2, 3], 0, language):  # Alpha, after Bravo (Comedy, War), Charlie (Comedy, Kim) and Delta (nothing in common)
        assert "Alpha" in sentence or language == "zh"
        assert not re.search("Delta|Echo|Western|Fox|Lee", sentence), sentence
        if "Charlie" in sentence:
            assert "War" not in sentence, sentence  # Alpha shares War with Bravo alone
        if "Bravo" in sentence:
            assert "Kim" not in sentence, sentence


def test_example_is_the_one_that_shares_most_and_the_latest_of_equals():
    assert not any("Echo" in sentence for sentence in drawn([4, 1], 0) | drawn([1, 4], 0))  # Bravo shares two values, Echo one
    named = drawn([1, 2], 0)  # Bravo and Charlie share two each; Charlie is later
    assert any("Charlie" in sentence for sentence in named) and not any("Bravo" in sentence for sentence in named)


def test_counts_are_of_different_items_with_the_value():
    counted = {sentence for sentence in drawn([1, 4, 1, 3], 0) if " two " in sentence}
    assert counted and all("Comedy" in sentence for sentence in counted)  # Bravo and Echo; Bravo's repeat and Delta do not count
    assert not any(" three " in sentence or " four " in sentence for sentence in drawn([1, 4, 1, 3], 0))


def test_attribute_names_are_said_in_the_language():
    assert any("the genre Comedy" in sentence for sentence in drawn([2], 0))
    assert any("导演“Kim”" in sentence for sentence in drawn([2], 0, "zh"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_shared_is_said_plainly(language):
    made = drawn([3], 4, language)
    assert len(made) >= 3 and not any("Delta" in sentence or "Western" in sentence for sentence in made)
    assert any("nothing" in sentence.lower() or "没有" in sentence for sentence in made)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_empty_history_claims_nothing(language):
    assert not any(value in sentence for sentence in drawn([], 0, language) for value in VALUES)


def test_item_already_in_the_history_is_called_so():
    assert any("You have chosen Alpha before." == sentence for sentence in drawn([0, 1], 0))


def test_item_and_examples_without_title():
    made = drawn([5], 4)
    assert all("Echo" in sentence and "  " not in sentence for sentence in made)
    untitled = drawn([4], 5)
    assert all("this item" in sentence.lower() and sentence[0].isupper() for sentence in untitled)


def test_same_rng_same_sentence_and_unknown_language_is_named():
    assert evidence(CATALOG, [1], 0, np.random.default_rng(7), "en") == evidence(CATALOG, [1], 0, np.random.default_rng(7), "en")
    with pytest.raises(ValueError, match="'fr'.*en, zh"):
        evidence(CATALOG, [1], 0, np.random.default_rng(7), "fr")


def test_long_titles_leave_a_sentence_within_the_limit():
    frame = CATALOG.frame.with_columns(title=pl.lit("very long title " * 60))
    made = [evidence(Catalog(frame), [1, 2], 0, np.random.default_rng(seed), "en") for seed in range(50)]
    assert max(map(len, made)) <= 512 and all(sentence.endswith(("has.", "does.", "Kim.", "War.", "Comedy.", "too.", "history.", "more.", "chose.", "before.", "\u2026.")) for sentence in made)


@pytest.mark.parametrize(
    ("review", "expected"),
    [
        ("", []),
        ("One", ["One"]),
        ("Good. Bad! Why? Well...", ["Good.", "Bad!", "Why?", "Well..."]),
        ("It costs 3.50 today. Fine.", ["It costs 3.50 today.", "Fine."]),
        ("Works, e.g. with Dr. Smith. Yes", ["Works, e.g. with Dr. Smith.", "Yes"]),
        ('He said "no." Then left', ['He said "no."', "Then left"]),
        ("great.The strings last", ["great.", "The strings last"]),
        ("a line\nanother line", ["a line", "another line"]),
        ("音色很好。价格也不错！推荐", ["音色很好。", "价格也不错！", "推荐"]),
    ],
)
def test_sentences(review, expected):
    assert sentences(review) == expected


def test_best_sentence_names_most_features_and_the_first_of_equals():
    review = "I bought it. The tone is warm. The tone and the low action are fine. Tone, action."
    assert best_sentence(review, {"tone", "low action"}) == "The tone and the low action are fine."
    assert best_sentence(review, {"tone"}) == "The tone is warm."
    assert best_sentence(review, {"ton", "battery"}) == "I bought it."
    assert best_sentence("", {"tone"}) == ""
    assert best_sentence("还行。音色很好。", {"音色"}) == "音色很好。"


def test_clean_removes_markup_links_and_hidden_characters():
    assert clean("<b>Bold</b> &amp; <script src='x'>go</script>") == "Bold & go"
    assert clean("see https://a.example/x?y and www.b.example now") == "see and now"
    assert clean("[click](http://a.example) me") == "click me"
    assert clean("a\u202eb\u200bc\x00d\ud800e\nf") == "abc de f"
    assert clean("&lt;i&gt;x&lt;/i&gt; I <3 this > that") == "x I <3 this > that"


def test_clean_cuts_after_a_sentence_else_after_a_word():
    assert clean("First one here. Second one is longer.", 20) == "First one here."
    assert clean("no sentence ends in this text at all", 20) == "no sentence ends in\u2026"
    assert clean("音" * 30, 20) == "音" * 19 + "\u2026"
    assert clean("short", 5) == "short"
