"""Corpora for the tests of tasks: a simulated world with impressions, purchases and reviews, and the toy corpus as a set, whose parts were drawn without time."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.interactions import Corpus, write_manifest
from llmrec.readers import READERS
from llmrec.readers.ingest import IngestSettings, assemble
from llmrec.readers.ingest import clean as clean_rows
from llmrec.splits import SplitSettings, split_files


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("simulated")
    raw = READERS["simulation"](folder / "world", users="40", items="90", days="60", seed="1")
    (folder / "work").mkdir()
    cleaned = clean_rows(raw, folder / "work", IngestSettings())
    split = split_files(cleaned.files, SplitSettings(), ordering=cleaned.ordering, positive=cleaned.is_positive)
    write_manifest(folder, assemble(cleaned, folder, split=split))
    return Corpus.load(folder)


@pytest.fixture(scope="session")
def drawn(toy_corpus) -> Corpus:
    """The toy corpus as folds drawn at random: any of a user's events may be held out."""
    rng = np.random.default_rng(0)
    parts = rng.choice(["train", "valid", "test"], len(toy_corpus.interactions), p=[0.7, 0.1, 0.2])
    # One event of each item a user has: a second one in train would not be held out.
    frame = toy_corpus.interactions.frame.with_columns(part=pl.Series(parts)).unique(["user_id", "item_id"], keep="first", maintain_order=True)
    return replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=frame), split={"rule": "given", "temporal": False})
