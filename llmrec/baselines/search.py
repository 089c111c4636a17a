"""BM25 over item text: the items whose title and attributes hold the words of the query.

Separate from the other catalogue models, because it reads words and no histories.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from llmrec.baselines.catalog_model import CatalogModel
from llmrec.baselines.histories import Histories
from llmrec.interactions import Catalog
from llmrec.predictions import HeldOut, Request
from llmrec.timelines import Timelines
from llmrec.words import is_unspaced, pairs, run_pattern

K1 = 1.2
B = 0.75
POPULARITY_WEIGHTS = (0.3, 0.0, 0.1, 1.0, 3.0)
_RUN = run_pattern()


def words(text: str) -> list[str]:
    """The terms of a text: lower-case runs of letters and digits; a run of Chinese or Japanese characters gives its character bigrams (a single one itself).

    >>> words("Die Hard 2: 功夫熊猫")
    ['die', 'hard', '2', '功夫', '夫熊', '熊猫']
    """
    return [term for run in _RUN.findall(text.lower()) for term in (pairs(run) if is_unspaced(run) else [run])]


def item_texts(catalog: Catalog) -> list[str]:
    """The text of each row: title, then the values of every attribute."""
    values = catalog.attribute_values
    return [" ".join([title, *(value for name in catalog.attributes for value in values[name][row])]) for row, title in enumerate(catalog.titles)]


def bm25_weights(documents: Sequence[Sequence[str]]) -> tuple[dict[str, int], sp.csr_array]:
    """The terms (term -> row) and their weights (terms, documents): a query's score is the sum of its terms' weights, once for each time the query holds them.

    With N documents, n of them holding the term, f times here, in a document of length |d| terms:
    weight = ln(1 + (N - n + 0.5) / (n + 0.5)) * f (K1 + 1) / (f + K1 (1 - B + B |d| / mean length)), K1 = 1.2, B = 0.75, the middle of the ranges the source recommends.

    Source: Robertson and Zaragoza, The probabilistic relevance framework: BM25 and beyond, 2009, section 3; 1 + inside the logarithm keeps the weight of frequent terms positive.
    """
    terms: dict[str, int] = {}
    rows, columns, frequencies = [], [], []
    for column, document in enumerate(documents):
        for term, frequency in Counter(document).items():
            rows.append(terms.setdefault(term, len(terms)))
            columns.append(column)
            frequencies.append(frequency)
    rows, columns, frequency = np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64), np.array(frequencies, dtype=np.float64)
    lengths = np.array([len(document) for document in documents], dtype=np.float64)
    holding = np.bincount(rows, minlength=len(terms))
    inverse = np.log1p((len(documents) - holding + 0.5) / (holding + 0.5))
    norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9))
    values = inverse[rows] * frequency * (K1 + 1) / (frequency + norm[columns])
    return terms, sp.coo_array((values, (rows, columns)), shape=(len(terms), len(documents))).tocsr()


class TextIndex:
    """The words of a catalogue's items, ready to be asked: title, then the values of every attribute, as `bm25_weights` weighs them."""

    def __init__(self, catalog: Catalog):
        self._terms, self._weights = bm25_weights([words(text) for text in item_texts(catalog)])

    def __call__(self, queries: Sequence[str]) -> np.ndarray:
        """(queries, items) float64: BM25; 0 for items that hold no word of the query."""
        found = [(row, self._terms[word]) for row, query in enumerate(queries) for word in words(query) if word in self._terms]
        rows, columns = np.array(found, dtype=np.int64).reshape(-1, 2).T
        asked = sp.coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(queries), len(self._terms))).tocsr()
        return (asked @ self._weights).toarray()


class BM25(CatalogModel):
    """Scores items by BM25 of the query over title and attributes, without stemming or stop words. Items that hold no word of the query score 0, the popular first."""

    name = "bm25"
    tasks = ("search",)

    def _learn(self, timelines: Timelines) -> None:
        self._texts = TextIndex(self.catalog)

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        return self._texts([request.query for request in requests])


class BM25Popular(BM25):
    """BM25 + weight * ln(1 + train events of the item), for the items that hold a word of the query; the others follow, the popular first.

    The weight is chosen by ndcg@10 on the valid search questions given to `fit`, of (0, 0.1, 0.3, 1, 3); default 0.3.
    """

    name = "bm25_popular"

    def fit(self, timelines: Timelines, *, seed: int = 0, valid: Sequence[HeldOut] = ()) -> BM25Popular:
        """Learns from train; `valid` are search questions of the part valid, by which the weight is chosen."""
        self._weight = POPULARITY_WEIGHTS[0]
        super().fit(timelines, seed=seed)

        def apply(settings: Mapping[str, float]) -> None:
            self._weight = settings["popularity_weight"]

        questions = [question for question in valid if question.request.task in self.tasks]
        self.tune_on(questions, [{"popularity_weight": weight} for weight in POPULARITY_WEIGHTS], apply)
        return self

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        scores = super().score(requests, histories)
        return np.where(scores > 0, scores + self._weight * np.log1p(self.popularity), 0.0)
