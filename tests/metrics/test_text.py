"""BLEU against sacrebleu, ROUGE and the rest by hand."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from llmrec.metrics import text
from llmrec.metrics.text import TextAnswers, feature_vocabulary, words


def answers(*pairs: tuple[str, str], language: str = "en", features=frozenset(), supported=None) -> TextAnswers:
    return TextAnswers([w for w, _ in pairs], [r for _, r in pairs], [language] * len(pairs), frozenset(features), supported)


def random_pairs(generator: np.random.Generator, number: int, vocabulary: list[str], longest: int) -> list[tuple[str, str]]:
    def sentence() -> str:
        return " ".join(generator.choice(vocabulary, generator.integers(0, longest)).tolist())

    return [(sentence(), sentence()) for _ in range(number)]


@pytest.mark.parametrize("longest", [2, 4, 6, 30])
def test_bleu_equals_sacrebleu(longest):
    vocabulary = ["The", "the", "cat", "sat,", "on", "a", "mat.", "it's", "3.5", "dogs!", "well-made"]
    generator = np.random.default_rng(longest)
    for _ in range(20):
        pairs = random_pairs(generator, 12, vocabulary, longest)
        expected = BLEU(lowercase=True, tokenize="13a").corpus_score([w for w, _ in pairs], [[r for _, r in pairs]]).score
        assert float(text.bleu4(answers(*pairs))) == pytest.approx(expected, abs=1e-9)


def test_bleu_of_chinese_equals_sacrebleu():
    pairs = [("这把吉他的声音很好听", "这把吉他声音真的很好听"), ("做工不错", "做工很不错，值得")]
    expected = BLEU(lowercase=True, tokenize="zh").corpus_score([w for w, _ in pairs], [[r for _, r in pairs]]).score
    assert expected > 10
    assert float(text.bleu4(answers(*pairs, language="zh"))) == pytest.approx(expected, abs=1e-9)


def test_bleu_under_weights_equals_that_of_repeated_sentences():
    pairs = random_pairs(np.random.default_rng(0), 10, ["a", "b", "c"], 12)
    weights = [3, 0, 1, 2, 0, 1, 1, 0, 4, 1]
    repeated = [pair for pair, weight in zip(pairs, weights) for _ in range(weight)]
    assert text.bleu4(answers(*pairs)).under(np.array([weights], dtype=float))[0] == pytest.approx(float(text.bleu4(answers(*repeated))), abs=1e-9)


def test_rouge_by_hand():
    pair = ("the cat sat on the mat", "the cat was on a mat")
    # shared words: the (once in the reference), cat, on, mat of 6 and 6; shared pairs: "the cat" of 5 and 5; subsequence: the cat on mat
    found = answers(pair)
    assert [float(f(found)) for f in (text.rouge1, text.rouge2, text.rouge_l)] == [pytest.approx(100 * 4 / 6), pytest.approx(100 * 1 / 5), pytest.approx(100 * 4 / 6)]


def test_rouge_of_the_same_text_is_100_and_of_an_empty_one_0():
    for function in (text.rouge1, text.rouge2, text.rouge_l):
        assert float(function(answers(("A fine guitar.", "a fine guitar")))) == 100
        assert float(function(answers(("", "a fine guitar")))) == 0
        assert float(function(answers(("", "")))) == 0


def test_longest_common_subsequence_equals_the_table_of_the_textbook():
    def table(first: list[str], second: list[str]) -> int:
        lengths = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
        for i, one in enumerate(first):
            for j, other in enumerate(second):
                lengths[i + 1, j + 1] = lengths[i, j] + 1 if one == other else max(lengths[i, j + 1], lengths[i + 1, j])
        return int(lengths[-1, -1])

    for written, reference in random_pairs(np.random.default_rng(0), 300, list("abcdefgh"), 90):
        first, second = words(written), words(reference)
        expected = 100 * 2 * table(first, second) / (len(first) + len(second)) if first or second else 0
        assert float(text.rouge_l(answers((written, reference)))) == pytest.approx(expected, abs=1e-12)


def test_distinct_by_hand():
    found = answers(("a b a", ""), ("a b", ""))
    assert float(text.distinct1(found)) == 2 / 5
    assert float(text.distinct2(found)) == 2 / 3
    assert not text.distinct1(found).resampled


def test_feature_vocabulary_follows_its_rule():
    documents = ["the neck is smooth"] * 5 + ["great strings"] * 4 + ["neck 123 abc1 is"] * 1 + ["other"] * 20
    assert feature_vocabulary(documents) == {"neck", "smooth"}  # strings: 4 documents; great, the, is: not features; other: too frequent


def test_feature_precision_counts_each_feature_of_a_text_once():
    features = {"neck", "strings", "tuner"}
    found = answers(("The neck, the neck and the tuner.", ""), ("strings", ""), ("nothing said", ""), features=features,
                    supported=[frozenset({"neck"}), frozenset({"strings"}), frozenset()])
    assert float(text.feature_precision(found)) == 2 / 3
    assert float(text.features_named(found)) == 1.0


def test_features_are_not_defined_where_nothing_is_known():
    found = answers(("neck", ""))
    assert np.isnan(float(text.feature_precision(found)))
    assert np.isnan(float(text.features_named(found)))
