"""How written text compares with reference text, how varied it is, and whether the features it names are the item's.

Separate from the models that write. NumPy and sacrebleu only.

BLEU is sacrebleu's, lowercased, tokenized "13a" (Chinese: "zh"). Everything else counts words as `words` finds them: lowercased runs of letters and digits,
each Chinese character a word of its own; no stemming, no stop words.
BLEU and ROUGE are in per cent, as they are published; the other figures are fractions or counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sacrebleu.metrics import BLEU

from llmrec.metrics.statistic import Statistic, mean_of, ratio_of

ORDERS = 4
_CHINESE = "\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CHINESE}]|[^\W_{_CHINESE}]+")

# Words that are frequent in reviews and say nothing about an item: function words, verdicts, and the talk of buying and rating.
NOT_FEATURES = frozenset("""
about above actually after again against all almost already also although always amazing and another any anyone anything are aren around ask away awesome back
bad because become been before being below best better between both bought but buy buying came can cannot come could couldn day days did didn different does
doesn doing don done down during each either else enough especially ever every everyone everything excellent fact fantastic far feel few find fine first five
for found four from full gave get gets getting give given goes going gone good got great had hadn half happy has hasn have haven having her here hers him his
hope how however into isn item items its itself just keep kind knew know last least left less let like liked little long look looked looking looks lot lots
love loved made make makes making many may maybe mean might mine more most much must myself need needed needs never new next nice not nothing now off okay old
once one only onto order ordered other others otherwise our ours out over own part people perfect perfectly person place please pretty probably product
products purchase purchased put quite rather read really reason recommend recommended review reviews right said same saw say says second see seem seems seen
set several shall she should shouldn since some someone something soon star stars still such sure take taken tell terrible than that the their theirs them
then there these they thing things think this those though thought three through time times too took total tried try trying two under until upon use used
useful user uses using usually very want wanted was wasn way week weeks well went were weren what when where whether which while who whole whom whose why will
with within without won wonderful work worked working works worse worst worth would wouldn year years yes yet you your yours
""".split())


@dataclass(frozen=True)
class TextAnswers:
    """written, reference, language ("zh" or another): one each a question.

    features: the words that count as features.   supported: for each question the features its item is known to have; None where nothing is known of items.
    """

    written: Sequence[str]
    reference: Sequence[str]
    language: Sequence[str]
    features: frozenset[str] = frozenset()
    supported: Sequence[frozenset[str]] | None = None


def words(text: str) -> list[str]:
    """The words of a text: lowercased runs of letters and digits, each Chinese character one word.

    >>> words("Don't stop: 2 STRINGS, 好听!")
    ['don', 't', 'stop', '2', 'strings', '好', '听']
    """
    return _WORD.findall(text.lower())


def bleu4(answers: TextAnswers) -> Statistic:
    """Corpus BLEU with n-grams up to 4, 0 to 100: sacrebleu's, smoothing "exp", one reference a question.

    Source: Papineni et al., ACL 2002; Post, A Call for Clarity in Reporting BLEU Scores, WMT 2018.
    """
    scorers = {tokenize: BLEU(lowercase=True, tokenize=tokenize, effective_order=True) for tokenize in ("13a", "zh")}
    rows = np.zeros((len(answers.written), 2 * ORDERS + 2))
    for i, (written, reference, language) in enumerate(zip(answers.written, answers.reference, answers.language, strict=True)):
        score = scorers["zh" if language == "zh" else "13a"].sentence_score(written, [reference])
        rows[i] = [*score.counts, *score.totals, score.sys_len, score.ref_len]
    return Statistic(rows, _bleu)


def rouge1(answers: TextAnswers) -> Statistic:
    """F1 of the words shared with the reference, 0 to 100. Source: Lin, ROUGE, ACL workshop 2004; here without stemming."""
    return _rouge_n(answers, 1)


def rouge2(answers: TextAnswers) -> Statistic:
    """F1 of the pairs of neighbouring words shared with the reference, 0 to 100."""
    return _rouge_n(answers, 2)


def rouge_l(answers: TextAnswers) -> Statistic:
    """F1 of the longest common subsequence of words with the reference, 0 to 100; the whole text is one sequence."""
    pairs = _word_pairs(answers)
    return mean_of(np.array([overlap(written, reference) for written, reference in pairs]))


def overlap(written: list[str], reference: list[str], *, beta: float = 1.0) -> float:
    """What `rouge_l` says of two texts as words, 0 to 100; beta: how many times recall counts as much as precision (F measure; Lin's own has one, too)."""
    shared, size = _longest_common_subsequence(written, reference), len(written) + beta**2 * len(reference)
    return 100 * (1 + beta**2) * shared / size if size else 0.0


def distinct1(answers: TextAnswers) -> Statistic:
    """Different words over all words of the written texts, 0 to 1; it falls with the number of texts, so it has no interval. Source: Li et al., NAACL 2016."""
    return _distinct(answers, 1)


def distinct2(answers: TextAnswers) -> Statistic:
    """Different pairs of neighbouring words over all such pairs of the written texts, 0 to 1; no interval."""
    return _distinct(answers, 2)


def feature_precision(answers: TextAnswers) -> Statistic:
    """Of the features named in the texts, the share that their items are known to have. Each text counts a feature once. NaN where none is named or nothing
    is known of items."""
    named = [answers.features.intersection(words(text)) for text in answers.written]
    supported = answers.supported if answers.supported is not None else [frozenset()] * len(named)
    counted = 1 if answers.supported is not None else 0
    return ratio_of(np.array([len(n & s) for n, s in zip(named, supported, strict=True)]), np.array([len(n) * counted for n in named]))


def features_named(answers: TextAnswers) -> Statistic:
    """The mean number of features a text names: without it, feature precision is easy to please by naming none. NaN without features."""
    return mean_of(np.array([len(answers.features.intersection(words(text))) if answers.features else np.nan for text in answers.written], dtype=np.float64))


def feature_vocabulary(documents: Iterable[str], *, at_least: int = 5, at_most_fraction: float = 0.25) -> frozenset[str]:
    """The words that count as features, by a fixed rule without a tagger: words of three letters or more, letters only, not in NOT_FEATURES,
    that stand in at least `at_least` of the documents (train reviews) and in at most `at_most_fraction` of them.

    The rule fits scripts that part words; Chinese characters are words of one letter here, so Chinese text has no features.
    """
    counts: Counter[str] = Counter()
    num_documents = 0
    for document in documents:
        counts.update(set(words(document)))
        num_documents += 1
    return frozenset(
        word for word, count in counts.items()
        if at_least <= count <= at_most_fraction * num_documents and len(word) >= 3 and word.isalpha() and word not in NOT_FEATURES
    )


def _bleu(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = weights @ rows
    counts, totals, written, reference = sums[:, :ORDERS], sums[:, ORDERS:2 * ORDERS], sums[:, -2], sums[:, -1]
    brevity = np.exp(np.minimum(0.0, 1 - reference / np.maximum(written, 1e-300)))
    log_precisions, smoothing = np.zeros(len(sums)), np.ones(len(sums))
    for n in range(ORDERS):
        # "exp": the k-th order without a match gets 1 / (2^k * total) instead of 0.
        smoothing = np.where(counts[:, n] == 0, smoothing * 2, smoothing)
        matches = np.where(counts[:, n] == 0, 1 / smoothing, counts[:, n])
        with np.errstate(divide="ignore"):
            log_precisions += np.where(totals[:, n] > 0, np.log(matches / np.maximum(totals[:, n], 1)), -np.inf)
    return np.where(counts.sum(axis=1) > 0, 100 * brevity * np.exp(log_precisions / ORDERS), 0.0)


def _word_pairs(answers: TextAnswers) -> list[tuple[list[str], list[str]]]:
    return [(words(written), words(reference)) for written, reference in zip(answers.written, answers.reference, strict=True)]


def _f1(shared: int, num_written: int, num_reference: int) -> float:
    return 100 * 2 * shared / (num_written + num_reference) if num_written + num_reference else 0.0


def _rouge_n(answers: TextAnswers, n: int) -> Statistic:
    values = []
    for written, reference in _word_pairs(answers):
        ours, theirs = Counter(_ngrams(written, n)), Counter(_ngrams(reference, n))
        values.append(_f1((ours & theirs).total(), ours.total(), theirs.total()))
    return mean_of(np.array(values))


def _ngrams(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n))))


def _longest_common_subsequence(first: list[str], second: list[str]) -> int:
    """Its length, by bits of one long integer. Source: Hyyrö, Bit-parallel LCS-length computation revisited, AWOCA 2004."""
    places: dict[str, int] = {}
    for i, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << i
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & everything
    return len(first) - row.bit_count()


def _distinct(answers: TextAnswers, n: int) -> Statistic:
    numbers: dict[tuple[str, ...], int] = {}
    texts = [[numbers.setdefault(gram, len(numbers)) for gram in _ngrams(words(text), n)] for text in answers.written]
    rows = np.full((len(texts), max(map(len, texts), default=0)), -1, dtype=np.int64)
    for row, text in zip(rows, texts):
        row[: len(text)] = text
    return Statistic(rows, _distinct_share, resampled=False)


def _distinct_share(grams: np.ndarray, weights: np.ndarray) -> np.ndarray:
    chosen = [grams[weight > 0] for weight in weights]
    counts = [(len(np.unique(rows[rows >= 0])), int((rows >= 0).sum())) for rows in chosen]
    return np.array([different / every if every else np.nan for different, every in counts])
