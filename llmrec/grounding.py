"""Grounding: which features a written explanation may name, so that it says of an item nothing that nobody has said of it.

Separate from `decoding`, which is told what to leave out, and from the metrics, whose rule of what a feature is it shares:

    train reviews, item texts  ->  features of each item  ->  Claim: the tokens that would complete any other feature word, at each step of a text
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file

from llmrec.interactions import TRAIN, Corpus
from llmrec.metrics.text import feature_vocabulary, words
from llmrec.vocabulary import Vocabulary

FORMAT = 1
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Grounding:
    """The feature words of a corpus and which of them each item is known to have.

    features: ascending.   starts: (items + 1,) int64, known: int32 numbers of features; item `row` has `known[starts[row]:starts[row + 1]]`.
    """

    features: tuple[str, ...]
    starts: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus) -> Grounding | None:
        """From train reviews and the items' own texts, by the rule of metrics.text.feature_vocabulary; None for a corpus without reviews in train, or without features in them."""
        log = corpus.interactions.part(TRAIN)
        if not log.has("review"):
            return None
        reviews = log.frame.filter(pl.col("review").is_not_null()).select("item_id", "review").rows()
        features = tuple(sorted(feature_vocabulary(review for _, review in reviews)))
        if not features:
            return None
        numbers = {feature: number for number, feature in enumerate(features)}
        rows = corpus.catalog.rows
        found = [{numbers[word] for word in words(text) if word in numbers} for text in corpus.catalog.texts]
        for item_id, review in reviews:
            if item_id in rows:
                found[rows[item_id]].update(numbers[word] for word in words(review) if word in numbers)
        starts = np.cumsum([0, *map(len, found)]).astype(np.int64)
        return cls(features, starts, np.array([number for own in found for number in sorted(own)], dtype=np.int32))

    def of_item(self, row: int) -> frozenset[str]:
        """The features the item in this row of the catalogue is known to have."""
        return frozenset(self.features[number] for number in self.known[self.starts[row] : self.starts[row + 1]])

    def save(self, folder: Path) -> None:
        """Writes grounding.safetensors and grounding.json into an existing folder."""
        save_file({"starts": self.starts, "known": self.known}, folder / "grounding.safetensors")
        (folder / "grounding.json").write_text(json.dumps({"format": FORMAT, "features": self.features}, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, num_items: int) -> Grounding | None:
        """What `save` wrote; None where the folder holds none. Raises ValueError for another format, or for another number of items."""
        path = folder / "grounding.json"
        if not path.is_file():
            return None
        record, arrays = json.loads(path.read_text(encoding="utf-8")), load_file(folder / "grounding.safetensors")
        if record.get("format") != FORMAT:
            raise ValueError(f"{path} has format {record.get('format')!r}; this version reads {FORMAT}. Train the model again")
        if len(arrays["starts"]) != num_items + 1:
            raise ValueError(f"{folder / 'grounding.safetensors'} holds {len(arrays['starts']) - 1} items, the catalogue {num_items}: they are not of one model")
        return cls(tuple(record["features"]), arrays["starts"], arrays["known"])


class Speller:
    """Which tokens of a vocabulary complete which of some words, whatever way a text is cut into tokens."""

    def __init__(self, vocabulary: Vocabulary, spelled: Sequence[str]):
        # What a token adds to a text shows behind another token only: at its beginning a space is dropped.
        letter = list(vocabulary.quote("a"))
        before = len(vocabulary.tokenizer.decode(letter, skip_special_tokens=False))
        self.pieces = ["" if i in vocabulary.control else vocabulary.tokenizer.decode([*letter, i], skip_special_tokens=False)[before:].lower() for i in range(vocabulary.size)]
        # Parts of characters: what they spell depends on the tokens beside them.
        self.bytes = [i for i, piece in enumerate(self.pieces) if "\ufffd" in piece or _BYTE.fullmatch(vocabulary.tokenizer.id_to_token(i) or "")]
        self._wanted = frozenset(spelled)
        # A token's first run of letters goes on the word before it, where nothing parts them; its other runs are words of their own.
        self._joining: dict[str, list[int]] = defaultdict(list)
        self._within: dict[str, list[int]] = defaultdict(list)
        for token, piece in enumerate(self.pieces):
            runs = words(piece)
            if runs and piece.startswith(runs[0]):
                self._joining[runs.pop(0)].append(token)
            for run in runs:
                if run in self._wanted:
                    self._within[run].append(token)

    @cached_property
    def _endings(self) -> dict[str, dict[str, list[int]]]:
        """Letters begun with -> the words that one token more makes of them -> those tokens."""
        found: dict[str, dict[str, list[int]]] = defaultdict(dict)
        for word in sorted(self._wanted):
            for length in range(len(word)):
                if tokens := self._joining.get(word[length:]):
                    found[word[:length]][word] = tokens
        return dict(found)

    def anywhere(self, forbidden: frozenset[str]) -> list[int]:
        """The tokens that hold one of these words whatever stands before them."""
        return [token for word in sorted(forbidden & self._within.keys()) for token in self._within[word]]

    def completing(self, begun: str, forbidden: frozenset[str]) -> list[int]:
        """The tokens that make one of these words of the letters `begun`."""
        return [token for word, tokens in self._endings.get(begun, {}).items() if word in forbidden for token in tokens]


class Claim:
    """One text while it is written: the tokens it may not go on with, so that it never holds one of the forbidden words (all known to the speller), nor, where there are any, parts of characters."""

    def __init__(self, speller: Speller, forbidden: frozenset[str]):
        self.speller, self.forbidden = speller, forbidden
        self.always = [*speller.bytes, *speller.anywhere(forbidden)] if forbidden else []
        self._at_start = speller.completing("", forbidden)
        self._begun = ""

    @property
    def banned(self) -> list[int]:
        """Token ids, beside those of `always`."""
        return self.speller.completing(self._begun, self.forbidden) if self._begun else self._at_start

    def add(self, token: int) -> None:
        """The text goes on with this token."""
        text = self._begun + self.speller.pieces[token]
        last = next(reversed(words(text)), "")
        # A Chinese character is a word by itself: no letter goes on with it.
        goes_on = text.endswith(last) and words("a" + last) == ["a" + last]
        self._begun = last if goes_on else ""
