"""Readers: raw files -> RawLog, one module a source. A new source is a module with `read(path, **options)` and `OPTIONS`, and one line here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from llmrec.readers import amazon_reviews, collm, movielens, movietweetings, recbole, sequences, simulation, tallrec, taobao
from llmrec.readers.raw import RawLog

READERS: dict[str, Callable[..., RawLog]] = {
    "movielens": movielens.read,
    "amazon-reviews": amazon_reviews.read,
    "sequences": sequences.read,
    "recbole": recbole.read,
    "movietweetings": movietweetings.read,
    "collm": collm.read,
    "tallrec": tallrec.read,
    "taobao": taobao.read,
    "simulation": simulation.read,
}

# What each reader can be told beside the path: option -> one sentence.
OPTIONS: dict[str, Mapping[str, str]] = {name: sys.modules[read.__module__].OPTIONS for name, read in READERS.items()}

# What each reader expects to find: files, columns, source and licence.
LAYOUTS: dict[str, str] = {name: sys.modules[read.__module__].__doc__ for name, read in READERS.items()}
