"""Content vectors: what an item's text says about it, as one unit vector per item.

Separate from the item rows that are made of them, so that vectors need no torch, are fitted once on what training may
know, and a new item gets its vector from its text alone.

    corpus -item_texts-> texts -terms-> TF-IDF (items, terms) -truncated SVD-> (items, width) -each row to length 1-> vectors
"""

from __future__ import annotations

import json
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sparse
from safetensors.numpy import load_file, save_file

from llmrec.interactions import TRAIN, Corpus
from llmrec.words import is_unspaced, run_pattern

FORMAT = 1
MAX_TERMS = 100_000
"""The most frequent terms are kept: the components are terms x width numbers, 51 MB at the default width, and travel with a model."""

MAX_FITTED = 200_000
"""Items the components are computed from, drawn at random where there are more: the decomposition holds several copies of items x width numbers."""

_SMALL_CATALOGUE = 100  # below it most terms stand in one item only, and dropping them would leave nothing
_RUN = run_pattern(r"\w")


@dataclass(frozen=True)
class Content:
    """The vectors of a catalogue and the fitted text pipeline behind them.

    vectors: (items, width), float32, row = row in the catalogue; each of length 1, or all zeros for an item without any known term.
    terms: the vocabulary, sorted.   idf: (terms,), float32.
    components: (width, terms), float16, which halves the file; `vectors` are computed with the stored numbers, so an item's text encodes to its vector.
    """

    vectors: np.ndarray
    terms: tuple[str, ...]
    idf: np.ndarray
    components: np.ndarray

    @property
    def width(self) -> int:
        """Numbers per vector: the size asked for, or the rank of the catalogue's text where that is smaller; 0 for a catalogue without any text."""
        return len(self.components)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of these texts, (texts, width), float32, as `item_text` writes them; a text without a known term gets zeros."""
        counts = _Counts.of(texts)
        known = np.array([self._columns.get(term, -1) for term in counts.terms], dtype=np.int64)
        return self._project(_weigh(counts, known, self.idf))

    def save(self, folder: Path) -> None:
        """Writes content.safetensors (vectors, idf, components) and content.json (terms) into an existing folder."""
        save_file({"vectors": self.vectors, "idf": self.idf, "components": self.components}, folder / "content.safetensors")
        record = {"format": FORMAT, "terms": self.terms}
        (folder / "content.json").write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Content:
        """Raises FileNotFoundError naming a missing file, ValueError for another format or files that do not belong together."""
        for path in (folder / "content.json", folder / "content.safetensors"):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: the folder holds no content vectors. Save them with Content.save")
        record = json.loads((folder / "content.json").read_text(encoding="utf-8"))
        if record.get("format") != FORMAT:
            raise ValueError(f"{folder / 'content.json'} has format {record.get('format')!r}; this version reads {FORMAT}. Make the vectors again")
        arrays = load_file(folder / "content.safetensors")
        if arrays["components"].shape[1] != len(record["terms"]):
            counts = f"{len(record['terms'])} terms and components for {arrays['components'].shape[1]}"
            raise ValueError(f"{folder} holds {counts}: the two files are not of one fit. Make the vectors again")
        return cls(arrays["vectors"], tuple(record["terms"]), arrays["idf"], arrays["components"])

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.terms)}

    def _project(self, weights: sparse.csr_matrix) -> np.ndarray:
        if not self.width:
            return np.zeros((weights.shape[0], 0), np.float32)
        vectors = weights @ np.ascontiguousarray(self.components.T, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        vectors /= lengths
        return vectors


def content_vectors(corpus: Corpus, *, size: int = 256, seed: int = 0) -> Content:
    """Content vectors by TF-IDF and truncated SVD of each item's text.

    Terms are words and pairs of neighbouring words (Chinese and Japanese: characters and pairs of them), and whole attribute values.
    Those that stand in a single item are dropped, except in catalogues under 100 items.
    A term's weight is (1 + ln count) (ln((1 + items) / (1 + items with the term)) + 1), and rows have length 1.
    The width is `size` or, where the catalogue offers less, the rank of its item-term matrix: vectors are never padded.
    Only the catalogue and train rows are read.

    Source: the weights are those of scikit-learn's user guide 6.2.3.4 (smooth idf, sublinear tf).
    """
    counts = _Counts.of(item_texts(corpus))
    frequency = np.bincount(counts.term, minlength=len(counts.terms))
    least = 1 if len(counts) < _SMALL_CATALOGUE else 2
    # Ties of the cut are settled by the term itself, never by the order of the items.
    kept = sorted(np.flatnonzero(frequency >= least).tolist(), key=lambda number: (-frequency[number], counts.terms[number]))[:MAX_TERMS]
    kept.sort(key=counts.terms.__getitem__)
    columns = np.full(len(counts.terms), -1)
    columns[kept] = np.arange(len(kept))
    idf = (np.log((1 + len(counts)) / (1 + frequency[kept].astype(np.float64))) + 1).astype(np.float32)
    weights = _weigh(counts, columns, idf)
    components = _components(weights, size, seed)
    fitted = Content(np.zeros((0, len(components)), np.float32), tuple(counts.terms[number] for number in kept), idf, components)
    return replace(fitted, vectors=fitted._project(weights))


def item_texts(corpus: Corpus) -> list[str]:
    """The text of each catalogue row: title and attributes, or, for an item that has neither, the summaries and reviews of its train rows in log order.

    "" for an item with none of these.
    """
    catalog = corpus.catalog
    values = catalog.attribute_values
    texts = [item_text(title, {name: values[name][row] for name in values}) for row, title in enumerate(catalog.titles)]
    if "" in texts:
        reviews = _train_reviews(corpus)
        texts = [text or reviews.get(item_id, "") for text, item_id in zip(texts, catalog.item_ids, strict=True)]
    return texts


def item_text(title: str, attributes: Mapping[str, Sequence[str]]) -> str:
    """The text of one item: its title in the first line, then a line for each attribute value; "" for an item that has neither.

    >>> item_text("Heat (1995)", {"genres": ["Crime", "Film-Noir"]})
    'Heat (1995)\\ngenres: Crime\\ngenres: Film-Noir'
    """
    lines = [" ".join(title.split())]
    lines += [f"{name}: {' '.join(value.split())}" for name, values in attributes.items() for value in values if value.strip()]
    return "\n".join(lines) if any(lines) else ""


def text_terms(text: str) -> Iterator[str]:
    """The terms of one item's text: 1- and 2-grams of each line, and each attribute line as a whole.

    >>> list(text_terms("Heat (1995)\\ngenres: Film-Noir"))
    ['heat', '1995', 'heat 1995', 'genres: film-noir', 'film', 'noir', 'film noir']
    """
    for number, line in enumerate(unicodedata.normalize("NFKC", text).casefold().split("\n")):
        if number:
            yield line
            line = line.partition(": ")[2]
        yield from _grams(line)


def _grams(line: str) -> Iterator[str]:
    words: list[str] = []
    for run in _RUN.findall(line):
        if is_unspaced(run):
            yield from run
            yield from (run[i : i + 2] for i in range(len(run) - 1))
        else:
            words.append(run)
    yield from words
    yield from (f"{first} {second}" for first, second in zip(words, words[1:], strict=False))


@dataclass(frozen=True)
class _Counts:
    """How often each text holds each term, text behind text: the numbers of a text's terms are term[starts[i]:starts[i + 1]], their counts count[...] likewise."""

    terms: list[str]
    starts: np.ndarray
    term: np.ndarray
    count: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Counts:
        """One text at a time: a million items' terms are never objects at once."""
        numbers: dict[str, int] = {}
        starts, term, count = array("q", [0]), array("i"), array("i")
        for text in texts:
            for word, times in Counter(text_terms(text)).items():
                term.append(numbers.setdefault(word, len(numbers)))
                count.append(times)
            starts.append(len(term))
        return cls(list(numbers), *(np.array(values) for values in (starts, term, count)))


def _weigh(counts: _Counts, columns: np.ndarray, idf: np.ndarray) -> sparse.csr_matrix:
    """(texts, terms kept) TF-IDF with rows of length 1. columns: of each term of `counts`, its column, -1 for one that is left out."""
    column = columns[counts.term]
    known = column >= 0
    starts = np.concatenate([[0], np.cumsum(known)])[counts.starts]
    column = column[known]
    data = (1 + np.log(counts.count[known].astype(np.float32))) * idf[column]
    text = np.repeat(np.arange(len(counts)), np.diff(starts))
    order = np.lexsort((column, text))  # columns ascend within a row, so that sums run in one order whatever the order of the words
    column, data = column[order].astype(np.int32), data[order]
    lengths = np.sqrt(np.bincount(text, weights=data**2, minlength=len(counts)))
    return sparse.csr_matrix(((data / lengths[text]).astype(np.float32), column, starts), shape=(len(counts), len(idf)))


def _components(weights: sparse.csr_matrix, size: int, seed: int) -> np.ndarray:
    width = min(size, *weights.shape)
    if not width:
        return np.zeros((0, weights.shape[1]), np.float16)
    from sklearn.utils.extmath import randomized_svd

    if weights.shape[0] > MAX_FITTED:
        weights = weights[np.sort(np.random.default_rng(seed).choice(weights.shape[0], MAX_FITTED, replace=False))]
    # Not TruncatedSVD: it refuses a vocabulary of one term.
    _, strengths, components = randomized_svd(weights, width, n_iter=5, random_state=seed)
    # Directions beyond the rank hold rounding noise: a new item's text would be projected onto chance.
    components = components[strengths > 1e-5 * strengths[0]]
    # safetensors would write an array in Fortran order as if it were in C order.
    return np.ascontiguousarray(components, dtype=np.float16)


def _train_reviews(corpus: Corpus) -> dict[str, str]:
    names = [name for name in ("summary", "review") if name in corpus.interactions.frame.columns]
    if not names:
        return {}
    train = corpus.interactions.part(TRAIN).frame
    texts = train.select("item_id", text=pl.concat_str(names, separator=" ", ignore_nulls=True)).group_by("item_id", maintain_order=True).agg("text")
    return {item_id: " ".join(" ".join(reviews).split()) for item_id, reviews in texts.iter_rows()}
