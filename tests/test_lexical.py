"""The words of items in the answers to searches: the pool by hand, scores that leaving out does not change, and a weight that valid chooses."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.baselines.search import TextIndex
from llmrec.interactions import Event
from llmrec.lexical import WEIGHTS, pooled
from llmrec.predictions import Request
from llmrec.recommender import Fitted, Recommender
from llmrec.timelines import Timelines
from train.calibrate import calibrated

SEARCH = [Request(id="1", task="search", query="the silver lake", history=(Event("i3"),), k=12, exclude_seen=False), Request(id="2", task="search", query="nothing that stands there", k=12), Request(id="3", k=12, exclude_seen=False)]


def test_a_pool_by_hand_stays_a_distribution():
    said = np.log(np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]))
    got = np.exp(pooled(said, np.array([[np.log(3), 0, 0], [0, 0, 0]]), 2.0))
    assert got[0] == pytest.approx(np.array([0.2 * 9, 0.3, 0.5]) / 2.6) and got[1] == pytest.approx([0.2, 0.3, 0.5])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_answers_are_the_pool_of_model_and_words(toy_parts, toy_corpus):
    plain = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates)
    worded = Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, card={"lexical": {"search": 1.5}})
    before, after = plain.predict(SEARCH), worded.predict(SEARCH)
    fits = TextIndex(toy_corpus.catalog)([SEARCH[0].query])[0]
    raised = {item_id: score + 1.5 * fits[toy_corpus.catalog.rows[item_id]] for item_id, score in zip(before[0].item_ids, before[0].scores)}
    whole = np.logaddexp.reduce(list(raised.values()))
    assert dict(zip(after[0].item_ids, after[0].scores)) == pytest.approx({item_id: score - whole for item_id, score in raised.items()})
    assert after[0].item_ids[0] == "i1" and fits.argmax() == toy_corpus.catalog.rows["i1"]
    for row in (1, 2):  # words that nothing holds, and a question without any
        assert after[row].item_ids == before[row].item_ids and after[row].scores == pytest.approx(before[row].scores)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_leaving_items_out_changes_no_score_and_neighbours_none(toy_parts):
    worded = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, card={"lexical": {"search": 0.7}})
    whole = dict(zip((found := worded.predict(SEARCH)[0]).item_ids, found.scores))
    for change in ({"exclude": ("i1", "i5")}, {"candidates": ("i2", "i4", "i1")}, {"where": {"genres": "Drama"}}, {"exclude_seen": True}):
        [found] = worded.predict([replace(SEARCH[0], **change)])
        assert 0 < len(found.item_ids) < 12 and dict(zip(found.item_ids, found.scores)) == pytest.approx({item_id: whole[item_id] for item_id in found.item_ids})
    assert [worded.predict([request])[0] for request in SEARCH] == worded.predict(SEARCH)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_where_words_tell_the_item_they_get_a_weight(toy_parts, toy_corpus):
    rows = [(f"u{user}", f"i{(user + n) % 12}", n, "click", part) for user in range(24) for n, part in enumerate(("train", "train", "valid"))]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part"], orient="row").sort("user_id", "position")
    corpus = replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=log, ordering="order", context=()), rating_scale=(), like_threshold=None)
    recommender = Recommender(toy_parts.model.eval(), toy_parts.composer, {name: toy_parts.templates[name] for name in ("search", "next_item")})
    found = calibrated(recommender, Timelines.of(corpus), 0, limit=100, lexical=True)
    assert found["lexical"].keys() == {"search"} and found["lexical"]["search"] in WEIGHTS[1:] and recommender.combiner.fitted == Fitted()
    assert calibrated(recommender, Timelines.of(corpus), 0, limit=100)["lexical"] == {}
