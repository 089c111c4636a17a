"""What is prepared around the loop: what the item rows may tell whom, and how sure the finished model is of its answers."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.collaborative import collaborative_vectors, vectors_of_others
from llmrec.config import Settings
from llmrec.indexing import Material, build_index
from llmrec.expectations import Expectations
from llmrec.interactions import FOLDS
from llmrec.recommender import Backing, Recommender
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines
from train.calibrate import calibrated
from train.items import content_of_others


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_what_is_fitted_makes_the_valid_answers_more_probable(toy_parts, toy_corpus, monkeypatch):
    monkeypatch.setattr("llmrec.calibration.LEAST", 10)
    timelines = Timelines.of(toy_corpus)
    held_out = TASKS["click"].held_out(timelines, "valid", 0)

    def loss(card, expectations=None):
        model = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, backing=Backing(expectations=expectations), card=card)
        predictions = model.predict([h.request for h in held_out])
        chances = [p.probability if h.target else 1 - p.probability for p, h in zip(predictions, held_out, strict=True)]
        return -np.log(chances).mean()

    fitted = calibrated(Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates), timelines, 0, limit=100)
    assert fitted["temperatures"].keys() == {"click", "rating"} and fitted["blends"] == {}
    assert fitted["temperatures"]["click"] > 1.5 and loss(fitted) < loss({}) - 0.1  # an untrained model is far too sure
    # With expectations a blend takes its place, and ratings get one, too.
    expectations = Expectations.of(timelines)
    both = calibrated(Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, backing=Backing(expectations=expectations)), timelines, 0, limit=100)
    assert both["temperatures"].keys() == {"rating"} and both["blends"].keys() == {"click", "rating"} and all(len(weights) == 6 for weights in both["blends"].values())
    assert loss(both, expectations) < loss(fitted) - 0.01
    rated = TASKS["rating"].held_out(timelines, "valid", 0)

    def error(card):
        model = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, backing=Backing(expectations=expectations), card=card)
        predictions = model.predict([h.request for h in rated])
        assert all(sum(float(label) * chance for label, chance in p.distribution.items()) == pytest.approx(p.value) for p in predictions)
        return np.mean([(p.value - h.target) ** 2 for p, h in zip(predictions, rated, strict=True)])

    assert error(both) < error({}) - 0.1

    def rating_loss(card):
        model = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, card=card)
        return -np.mean([np.log({float(star): chance for star, chance in p.distribution.items()}[h.target]) for p, h in zip(model.predict([h.request for h in rated]), rated, strict=True)])

    spread = {"temperatures": {"rating": fitted["temperatures"]["rating"]}}
    assert fitted["temperatures"]["rating"] != 1 and rating_loss(spread) < rating_loss({}) - 0.01  # surer or less sure, as serves valid


def test_each_fold_reads_the_content_of_items_and_the_company_that_others_see(toy_corpus, toy_vocabulary):
    content = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    index = build_index("atomic", Material(toy_corpus.catalog.titles, content, toy_vocabulary, 0))
    codes, seed = index.codes[:, 0], 5
    company = collaborative_vectors(toy_corpus, size=4, seed=seed)
    whole = np.empty((12, 3 + company.shape[1]), dtype=np.float32)
    whole[codes] = np.hstack([content, company])
    settings = Settings(data={"corpus": "unused"}, output="unused", seed=seed, content={"collaborative": 4})
    found = content_of_others(settings, toy_corpus, replace(index, vectors=whole))
    others = vectors_of_others(toy_corpus, size=4, seed=seed)
    assert found.shape == (FOLDS, *whole.shape)
    for fold in range(FOLDS):
        np.testing.assert_array_equal(found[fold][codes], np.hstack([content, others[fold]]))
    # A base that learned from another log has other vectors: those of this one would not be in their coordinates.
    fewer = replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=toy_corpus.interactions.frame.filter(pl.col("user_id") < "u2")))
    assert content_of_others(settings, fewer, replace(index, vectors=whole)) is None
    # Vectors of content alone, narrower than company would be; codes that several items share.
    assert content_of_others(settings, toy_corpus, replace(index, vectors=whole[:, :3])) is None
    semantic = build_index("semantic", Material(toy_corpus.catalog.titles, content, toy_vocabulary, 0))
    assert content_of_others(settings, toy_corpus, semantic) is None
    assert content_of_others(settings.model_copy(update={"content": settings.content.model_copy(update={"collaborative": 0})}), toy_corpus, replace(index, vectors=whole)) is None
