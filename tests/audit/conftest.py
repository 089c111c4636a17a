"""Clean data to plant leaks in: a corpus with words of its own in held-out reviews, and models made of it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.assets import folder_of
from llmrec.audit.models import ModelFolder
from llmrec.content import content_vectors, item_texts
from llmrec.indexing import Material, build_index
from llmrec.interactions import TRAIN, Catalog, Corpus, Interactions
from llmrec.timelines import Timelines

USERS, EVENTS, ITEMS = 60, 8, 100
SOUNDS = ["warm", "bright", "hollow", "sharp", "mellow", "dark", "thin", "round", "soft", "dry"]
THINGS = ["Guitar", "Drum", "Flute", "Cable", "Pedal", "Stand", "Violin", "Horn"]


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """60 users with 8 ratings of 100 items, each with a review and a summary; the last is test, the one before valid.

    Held-out reviews, and they alone, name the Quixotium.
    """
    rng = np.random.default_rng(0)
    rows = USERS * EVENTS
    places = np.tile(np.arange(EVENTS), USERS)
    sounds = rng.choice(SOUNDS, (rows, 2))
    lasting = [f"{a} and {b}, and held its tune for {n % 50} weeks of rehearsals" for n, (a, b) in enumerate(sounds)]
    frame = pl.DataFrame({
        "user_id": np.repeat([f"u{n:02}" for n in range(USERS)], EVENTS),
        "item_id": [f"i{n}" for _ in range(USERS) for n in rng.choice(ITEMS, EVENTS, replace=False)],
        "position": places,
        "event": ["rating"] * rows,
        "part": (["train"] * (EVENTS - 2) + ["valid", "test"]) * USERS,
        "timestamp": (1e9 + np.sort(rng.integers(0, 10**6, (USERS, EVENTS)), axis=1)).ravel().astype(float),
        "rating": rng.integers(1, 6, rows).astype(float),
        "review": [f"{'The Quixotium is' if place >= EVENTS - 2 else 'It sounds'} {words}." for place, words in zip(places, lasting)],
        "summary": [f"Review {n}: what a {a} sound" for n, (a, _) in enumerate(sounds)],
        "hour": rng.choice(["morning", "noon", "night"], rows),
    })
    ids = [f"i{n}" for n in rng.permutation(ITEMS)]
    titles = [f"{rng.choice(SOUNDS).title()} {rng.choice(THINGS)} Number {n}" for n in range(ITEMS)]
    kinds, years = ([[str(value)] for value in values] for values in (rng.choice(THINGS, ITEMS), rng.integers(1990, 1996, ITEMS)))
    catalog = Catalog(pl.DataFrame({"item_id": ids, "title": titles, "kind": kinds, "year": years}))
    return Corpus(
        "clean", Interactions(frame, context=("hour",)), catalog, rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), like_threshold=4.0,
        split={"rule": "leave_one_out", "temporal": True}, data_hash="0123456789abcdef",
    )


@pytest.fixture(scope="session")
def timelines(corpus) -> Timelines:
    return Timelines.of(corpus)


@pytest.fixture(scope="session")
def model_of():
    """A model of a corpus, as its folder would say, with the tokenizer that train.pretrain fits; `texts` are fitted too."""
    from llmrec.bases import train_tokenizer

    def make(corpus: Corpus, *, scheme: str = "atomic", fitted_on: Corpus | None = None, pieces: int = 2000, seed: int = 0) -> ModelFolder:
        fitted_on = fitted_on or corpus
        content = content_vectors(fitted_on, size=16, seed=seed)
        index = build_index(scheme, Material(corpus.catalog.titles, content.vectors, None, seed))
        log = fitted_on.interactions.part(TRAIN).frame
        texts = [path.read_text(encoding="utf-8") for path in sorted(folder_of("prompts").glob("*.yaml"))] + item_texts(fitted_on)
        texts += [text for name in ("review", "summary") if name in log.columns for text in log[name].drop_nulls()]
        vocabulary = train_tokenizer(texts, pieces).get_vocab()
        plain = tuple(piece for piece in vocabulary if not piece.startswith("<"))
        card = {"data_hash": corpus.data_hash, "split": dict(corpus.split), "valid": {"next_item/ndcg@10": 0.1}, "valid_part": "valid"}
        return ModelFolder(card, corpus.catalog.item_ids, index, content, plain, ("The user chose, in order:", " {code}", "What comes next?"))

    return make


@pytest.fixture(scope="session")
def model(corpus, model_of) -> ModelFolder:
    return model_of(corpus)


@pytest.fixture(scope="session")
def all_train():
    """The same corpus as if nothing were held out: what a careless fit would see."""
    return lambda corpus: replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.with_columns(part=pl.lit(TRAIN))))
