"""What train's events say about items: company that is kept, biases that are there, and nothing from held-out rows."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.collaborative import STATISTICS, collaborative_vectors, vectors_of_others
from llmrec.interactions import FOLDS, fold_of


def with_rows(corpus, frame):
    return replace(corpus, interactions=replace(corpus.interactions, frame=frame))


@pytest.fixture
def two_circles(toy_corpus):
    """Users u0..u9 meet items 0..3, users v0..v9 items 4..7; item 0 is rated two stars above the others. Items 8.. are met by nobody."""
    ids = toy_corpus.catalog.item_ids
    rows = [
        {"user_id": f"{circle}{u}", "item_id": ids[item], "rating": 5.0 if item == 0 else 3.0}
        for start, circle in ((0, "u"), (4, "v")) for u in range(10) for item in range(start, start + 4) if (u + item) % 5
    ]
    template = toy_corpus.interactions.frame.filter(pl.col("part") == "train").head(1).to_dicts()[0]
    frame = pl.DataFrame([{**template, **row, "position": n, "part": "train"} for n, row in enumerate(rows)], schema=toy_corpus.interactions.frame.schema)
    return with_rows(toy_corpus, frame)


def test_items_of_one_circle_are_alike_and_of_two_are_not(two_circles):
    vectors = collaborative_vectors(two_circles, size=2)
    company = vectors[:, :-STATISTICS]
    alike = company @ company.T
    assert np.linalg.norm(company[:8], axis=1) == pytest.approx(1, abs=1e-5)
    assert alike[:4, :4].mean() > 0.4 and alike[4:8, 4:8].mean() > 0.4 and abs(alike[:4, 4:8]).max() < 0.1


def test_the_statistics_are_the_bias_and_the_count(two_circles):
    bias, count = collaborative_vectors(two_circles, size=6)[:, -STATISTICS:].T
    assert bias.argmax() == 0 and bias[0] > 1
    assert (count[:8] > 0).all() and (count[8:] == 0).all()


def test_an_item_nobody_met_has_no_vector(two_circles):
    vectors = collaborative_vectors(two_circles, size=6)
    assert np.abs(vectors[8:, :-STATISTICS]).max() == 0


def test_held_out_rows_say_nothing(toy_corpus):
    train = toy_corpus.interactions.frame.filter(pl.col("part") == "train")
    assert len(train) < len(toy_corpus.interactions.frame)
    np.testing.assert_array_equal(collaborative_vectors(toy_corpus, size=4), collaborative_vectors(with_rows(toy_corpus, train), size=4))


def test_a_log_without_ratings_has_no_bias(two_circles):
    frame = two_circles.interactions.frame.with_columns(rating=pl.lit(None, dtype=pl.Float64))
    assert np.abs(collaborative_vectors(with_rows(two_circles, frame), size=4)[:, -STATISTICS]).max() == 0


def test_a_fold_is_told_what_the_others_say_and_nothing_of_its_own(two_circles):
    frame = two_circles.interactions.frame
    alone = two_circles.catalog.item_ids[8]
    user = "u3"
    extra = frame.filter(pl.col("user_id") == user).head(1).with_columns(item_id=pl.lit(alone))
    corpus = with_rows(two_circles, pl.concat([frame, extra]))
    others, whole = vectors_of_others(corpus, size=4), collaborative_vectors(corpus, size=4)
    assert others.shape == (FOLDS, *whole.shape)
    assert np.linalg.norm(whole[8, :-STATISTICS]) == pytest.approx(1, abs=1e-5) and whole[8, -1] != 0
    for fold in range(FOLDS):
        told = np.abs(others[fold, 8, :-STATISTICS]).max()
        assert told == 0 if fold == fold_of(user) else told > 0


def test_the_vectors_of_others_have_the_coordinates_of_all(two_circles):
    others, whole = vectors_of_others(two_circles, size=3), collaborative_vectors(two_circles, size=3)
    for vectors in others:
        assert ((vectors[:8, :-STATISTICS] * whole[:8, :-STATISTICS]).sum(1) > 0.8).all()
        assert vectors[:, -STATISTICS].argmax() == 0
    assert len({vectors.tobytes() for vectors in others}) > 1
