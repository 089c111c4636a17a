"""Quotations: whether a text holds a run of characters that one or two people wrote in their reviews, so that what is answered may be nobody's own words.

Separate from `precedents`, which are such texts and are meant to be quoted, and from the model, which may know some by heart:

    review -> its canonical letters -> hashes of all its runs of RUN characters -> those of fewer than PEOPLE users

That is eight bytes for each character of the reviews. It guards answers, not itself: neighbouring runs share all but one character, so the reviews can be read back out of the hashes.
Keeping one hash of several neighbours (winnowing) would be less, but what few wrote may overlap with what many did, and then a run is missed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from llmrec.evidence import plain_words
from llmrec.interactions import TRAIN, Corpus
from llmrec.splits import seeded_order

FORMAT = "1"
FILE = "quotations.safetensors"
RUN = 30
"""Characters in a row that make a quotation."""
PEOPLE = 3
"""What as many have written is a phrase like any other."""
PARTS = 16
"""The hashes are sorted in as many parts, one after the other."""


@dataclass(frozen=True)
class Quotations:
    """The runs that few people wrote. known: (runs,) uint64 hashes, ascending, each once."""

    known: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus) -> Quotations:
        """From the reviews and summaries of train; about twenty bytes of memory for each of their characters."""
        frame, found, authors = corpus.interactions.part(TRAIN).frame, [], []
        users = frame["user_id"].rank("dense").to_numpy()
        for name in ("review", "summary"):
            for user, text in zip(users.tolist(), frame[name]) if name in frame.columns else ():
                if text:
                    found.append(np.unique(runs(canonical(text))))
                    authors.append(user)
        hashes = np.concatenate([np.zeros(0, np.uint64), *found])
        people = np.repeat(np.array(authors, dtype=np.uint32), [len(own) for own in found])
        del found
        part = hashes >> np.uint64(64 - PARTS.bit_length() + 1)
        return cls(np.concatenate([_of_few(hashes[part == number], people[part == number]) for number in range(PARTS)]))

    def holds(self, text: str, own: str = "", names: Iterable[str] = ()) -> bool:
        """Whether the text holds RUN characters in a row that fewer than PEOPLE users wrote.

        own: what it may quote.   names: titles, which are nobody's words: what is written around them counts together, they do not.
        """
        text = canonical(text)
        hashes = runs(text)
        if not len(hashes) or not len(self.known):
            return False
        written = self.known[np.minimum(np.searchsorted(self.known, hashes), len(self.known) - 1)] == hashes
        written &= ~np.isin(hashes, runs(canonical(own)))
        if not written.any():
            return False
        counts = np.ones(len(text), dtype=bool)
        for name in map(canonical, names):
            place = text.find(name) if name else -1
            while place >= 0:
                counts[place : place + len(name)] = False
                place = text.find(name, place + 1)
        covered = np.convolve(written, np.ones(RUN, dtype=np.int64)) > 0
        length = 0  # of what somebody wrote in one go, without titles
        for quoted, counted in zip(covered.tolist(), counts.tolist()):
            length = length + counted if quoted else 0
            if length >= RUN:
                return True
        return False

    def save(self, folder: Path) -> None:
        """Writes quotations.safetensors into an existing folder."""
        save_file({"known": self.known}, folder / FILE, metadata={"format": FORMAT})

    @classmethod
    def load(cls, folder: Path) -> Quotations | None:
        """What `save` wrote; None where the folder holds none. Raises ValueError for another format, or numbers that are none of ours."""
        path = folder / FILE
        if not path.is_file():
            return None
        with safe_open(path, "numpy") as file:
            told = (file.metadata() or {}).get("format")
            known = file.get_tensor("known") if told == FORMAT and "known" in file.keys() else None
        if told != FORMAT:
            raise ValueError(f"{path} has format {told!r}; this version reads {FORMAT!r}. Train the model again")
        if known is None or known.dtype != np.uint64 or known.ndim != 1 or not (known[1:] > known[:-1]).all():
            raise ValueError(f"{path} is not what training wrote: its hashes are no ascending numbers")
        return cls(known)


def canonical(text: str) -> str:
    """What counts of a text: its plain words, whatever their case, the space between them, how a letter is put together, and what does not show.

    >>> canonical("It&#39;s  <b>Ne\\u0301e</b>")
    "it's née"
    """
    text = unicodedata.normalize("NFKC", plain_words(text)).casefold()
    return " ".join("".join(letter for letter in text if unicodedata.category(letter) != "Cf").split())


def runs(text: str) -> np.ndarray:
    """(characters - RUN + 1,) uint64, none for a shorter text: the hashes of the RUN characters from each place on."""
    letters = seeded_order(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32), seed=0)  # a number of 64 bits for each
    hashes = np.zeros(max(0, len(letters) - RUN + 1), dtype=np.uint64)
    for place in range(RUN):  # of all runs at once; what is above 64 bits falls off
        hashes = hashes * np.uint64(0x100000001B3) + letters[place : place + len(hashes)]
    return seeded_order(hashes, seed=0)


def _of_few(hashes: np.ndarray, people: np.ndarray) -> np.ndarray:
    """The hashes that fewer than PEOPLE of the people have, ascending. people: whose each is."""
    order = np.lexsort((people, hashes))
    hashes, people = hashes[order], people[order]
    once = np.ones(len(hashes), dtype=bool)
    once[1:] = (hashes[1:] != hashes[:-1]) | (people[1:] != people[:-1])
    known, counts = np.unique(hashes[once], return_counts=True)
    return known[counts < PEOPLE]
