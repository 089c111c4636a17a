"""What others' ratings let expect: it follows the history, is the same from a folder, and moves a finished model's answers as its blend says."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.expectations import Expectations
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.timelines import Timelines

USERS, ITEMS = 60, 20


def corpus_of(ratings: np.ndarray, *, temporal: bool = True) -> Corpus:
    """ratings: (users, items); each user rates the items in turn, the last two are valid and test."""
    rows = [
        {"user_id": f"u{user}", "item_id": f"i{item}", "position": item, "event": "rating", "rating": float(ratings[user, item]), "part": "train" if item < ITEMS - 2 else "valid" if item == ITEMS - 2 else "test"}
        for user in range(USERS) for item in range(ITEMS)
    ]
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(ITEMS)], "title": [f"title {item}" for item in range(ITEMS)]})
    log = Interactions(pl.DataFrame(rows).sort("user_id", "position"), ordering="order" if temporal else "none")
    return Corpus("tastes", log, Catalog(items), rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), split={"rule": "given", "temporal": temporal})


@pytest.fixture(scope="module")
def tastes() -> np.ndarray:
    """Two tastes: half of the users like the even items, half the odd ones."""
    rng = np.random.default_rng(0)
    agree = (np.arange(USERS)[:, None] % 2) == (np.arange(ITEMS)[None] % 2)
    return np.clip(np.where(agree, 4, 2) + rng.integers(0, 2, (USERS, ITEMS)), 1, 5)


@pytest.fixture(scope="module")
def expectations(tastes) -> Expectations:
    return Expectations.of(Timelines.of(corpus_of(tastes)))


def history(tastes, user: int, count: int = ITEMS - 2) -> tuple[Event, ...]:
    return tuple(Event(f"i{item}", float(tastes[user, item])) for item in range(count))


def test_estimates_follow_the_taste_of_the_history(expectations, tastes):
    histories = [history(tastes, 0)[:16], history(tastes, 1)[:16]]
    estimates = expectations(histories, np.array([0, 0, 1, 1]), np.array([16, 17, 16, 17]))
    assert estimates.shape == (4, 4) and estimates.min() >= 1 and estimates.max() <= 5
    for liked in (0, 3):
        for disliked in (1, 2):
            assert (estimates[liked, 1:] > estimates[disliked, 1:] + 1).all()
    bias = expectations.neighbours.biases
    values = tastes[0, :16] - bias.mean - bias.item[:16]
    assert estimates[0, 0] == pytest.approx(bias.mean + bias.item[16] + values.sum() / (16 + bias.regularisation_user))


def test_without_a_history_everybody_expects_the_same(expectations):
    one, two = expectations([(), (Event("i3", None), Event("gone", 5.0))], np.array([0, 1]), np.array([4, 4]))
    assert one.tolist() == two.tolist()


def test_a_folder_gives_the_same_estimates(expectations, tastes, tmp_path):
    expectations.save(tmp_path)
    loaded = Expectations.load(tmp_path, expectations.rows)
    asked = ([history(tastes, user) for user in range(USERS)], np.repeat(np.arange(USERS), ITEMS), np.tile(np.arange(ITEMS), USERS))
    assert loaded(*asked).tolist() == expectations(*asked).tolist()
    assert Expectations.load(tmp_path / "nothing", expectations.rows) is None
    with pytest.raises(ValueError, match="holds 20 items, the catalogue 19"):
        Expectations.load(tmp_path, dict(list(expectations.rows.items())[:19]))
    (tmp_path / "expectations.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0; this version reads 3"):
        Expectations.load(tmp_path, expectations.rows)


def test_a_corpus_without_ratings_has_none(tastes):
    corpus = corpus_of(tastes)
    bare = replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.with_columns(rating=pl.lit(None, pl.Float64))), rating_scale=())
    assert Expectations.of(Timelines.of(bare)) is None
