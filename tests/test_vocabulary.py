"""Text becomes token ids that can never be control or item tokens."""

import random

import pytest

from llmrec.vocabulary import printable

STRINGS = 100_000


def special(vocabulary):
    """What the tokenizer itself holds to be control tokens, whatever the vocabulary says."""
    return {vocabulary.tokenizer.token_to_id(token) for token in ("<s>", "</s>", "<unk>")} - {None}


@pytest.mark.parametrize("text", ["<s>", "</s>", "a</s>b", "<unk>", "<|endoftext|>", "<item_3>", "</s></s> <s>\n", "<pad>"])
def test_text_that_spells_a_control_token_stays_text(toy_vocabulary, text):
    ids = toy_vocabulary.quote(text)
    assert {toy_vocabulary.start, toy_vocabulary.end} <= special(toy_vocabulary) <= toy_vocabulary.control and not set(ids) & special(toy_vocabulary)
    assert max(ids) < toy_vocabulary.size  # nor an item's code


def test_fuzzed_text_never_becomes_a_control_token(toy_vocabulary, counted):
    rng = random.Random(0)
    pieces = ["<s>", "</s>", "<unk>", "<0x0A>", "▁", "<", ">", "/", "s", "\u2028", "\x00", "é", "夏", "😀", "<item_1>", "\ud800", " "]
    bad, control = 0, special(toy_vocabulary)
    for _ in range(STRINGS):
        ids = toy_vocabulary.quote("".join(rng.choices(pieces, k=rng.randrange(1, 12))))
        bad += bool(set(ids) & control) or max(ids, default=0) >= toy_vocabulary.size
    counted("Fuzzed strings that became a control token or an item's code", bad, STRINGS)
    assert not bad


def test_text_survives_the_round_trip(toy_vocabulary):
    for text in ("The Silver Lake", "夏天的海", "naïve café", "100% – ok?"):
        assert toy_vocabulary.decode(toy_vocabulary.quote(text)) == text


def test_text_is_cut_before_it_is_tokenised(toy_vocabulary):
    assert toy_vocabulary.quote("a" * 10_000_000) == toy_vocabulary.quote("a" * 512)


def test_template_text_and_quotes_meet_at_a_token_boundary(toy_vocabulary):
    seam = [*toy_vocabulary.template("chose:"), *toy_vocabulary.quote("Night Train")]
    assert toy_vocabulary.tokenizer.decode(seam, skip_special_tokens=False) == "chose:Night Train"


def test_printable_keeps_one_line():
    assert printable("a\r\n\tb\u2028c\u202ed\ud800e") == "a b cde"
