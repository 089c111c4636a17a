"""Quotations: whether a text holds a run of characters that one or two people wrote in their reviews, so that what is written may be nobody's own words.

Separate from `precedents`, which are such texts and are meant to be quoted, and from the model, which may know some by heart. The reviews themselves are not kept:

    review -> hashes of all its runs of RUN characters -> those of fewer than PEOPLE users

That is eight bytes for each character of the reviews. Keeping one hash of several neighbours (winnowing) would be less, but what few wrote may overlap with what many did, and then a run is missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from llmrec.evidence import clean
from llmrec.interactions import TRAIN, Corpus
from llmrec.splits import seeded_order

FORMAT = "1"
FILE = "quotations.safetensors"
RUN = 30
"""Characters in common that make a quotation, whatever their case and the space between them."""
PEOPLE = 3
"""What as many have written is a phrase like any other."""
_NAME = RUN - 6
"""Characters of a title that with the words around it make a run."""


@dataclass(frozen=True)
class Quotations:
    """The runs that few people wrote. known: (runs,) uint64 hashes, ascending, each once."""

    known: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus) -> Quotations:
        """From the reviews and summaries of train."""
        frame, found, authors = corpus.interactions.part(TRAIN).frame, [], []
        users = frame["user_id"].rank("dense").to_numpy()
        for name in ("review", "summary"):
            for user, text in zip(users.tolist(), frame[name]) if name in frame.columns else ():
                found.append(runs(clean(text, len(text)) if text else ""))  # as texts are learned
                authors.append(np.full(len(found[-1]), user, dtype=np.int64))
        hashes, authors = (np.concatenate([np.zeros(0, dtype), *parts]) for parts, dtype in ((found, np.uint64), (authors, np.int64)))
        order = np.lexsort((authors, hashes))
        hashes, authors = hashes[order], authors[order]
        once = np.ones(len(hashes), dtype=bool)
        once[1:] = (hashes[1:] != hashes[:-1]) | (authors[1:] != authors[:-1])
        known, people = np.unique(hashes[once], return_counts=True)
        return cls(known[people < PEOPLE])

    def holds(self, text: str, own: str = "", names: Iterable[str] = ()) -> bool:
        """Whether the text holds RUN characters in a row that fewer than PEOPLE users wrote.

        own: what it may quote.   names: titles, which are nobody's words; long ones count as one character.
        """
        for name in sorted((name for name in names if len(name) >= _NAME), key=len, reverse=True):
            text = text.replace(name, "\u2026")
        found = np.setdiff1d(runs(text), runs(own))
        places = np.searchsorted(self.known, found)
        return bool((self.known[np.minimum(places, len(self.known) - 1)] == found).any()) if len(self.known) else False

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


def runs(text: str) -> np.ndarray:
    """(runs,) uint64, ascending, each once: hashes of the RUN characters in a row that a text holds, whatever their case and the space between them."""
    characters = np.frombuffer(" ".join(text.lower().split()).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    letters = seeded_order(characters, seed=0)  # a number of 64 bits for each
    hashes = np.zeros(max(0, len(letters) - RUN + 1), dtype=np.uint64)
    for place in range(RUN):  # of all runs at once; what is above 64 bits falls off
        hashes = hashes * np.uint64(0x100000001B3) + letters[place : place + len(hashes)]
    return np.unique(seeded_order(hashes, seed=0))
