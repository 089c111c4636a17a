"""The memory: probabilities by hand, a mixture that stays one, the same from a folder, and a share that valid chooses."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from llmrec.exam import Exam
from llmrec.interactions import Event
from llmrec.memory import SHARES, Memory, mixed
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.recommender import Backing, Fitted, Recommender
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines
from train.calibrate import LEAST, by_length, calibrated, gains

ROWS = {"a": 0, "b": 1, "c": 2}


@pytest.fixture
def memory() -> Memory:
    return Memory(sp.csr_array(np.array([[0, 0.5, 0.25], [0.5, 0, 0], [0.25, 0, 0]], dtype=np.float32)), 0.0, 1.0, ROWS)


def events(*item_ids):
    return tuple(Event(item_id) for item_id in item_ids)


def test_votes_by_hand(memory):
    found = memory([events("a"), events("a", "b", "a"), events("gone"), ()])
    assert found[0] == pytest.approx([0, 2 / 3, 1 / 3])
    assert found[1] == pytest.approx([0.5 / 1.25, 0.5 / 1.25, 0.25 / 1.25])  # an item votes once
    assert found[2:].tolist() == [[0, 0, 0]] * 2


def test_what_stands_further_back_votes_less(memory):
    found = replace(memory, decay=0.5)([events("a", "b"), events("a", "b", "a")])
    assert found[0] == pytest.approx(np.array([0.5, 0.5 * 0.5, 0.5 * 0.25]) / 0.875)
    assert found[1] == pytest.approx(np.array([0.5 * 0.5, 0.5, 0.25]) / 1.0)  # a stands last, and votes once


def test_what_is_in_the_cart_votes_for_itself(memory):
    history = (Event("a", event="cart", seen=False), Event("b"))
    assert memory([history])[0] == pytest.approx([0.5 / 1.25, 0.5 / 1.25, 0.25 / 1.25])
    assert replace(memory, own_vote=0.75)([history])[0] == pytest.approx([1.25 / 2, 0.5 / 2, 0.25 / 2])  # b was bought: it gets none


def test_a_mixture_by_hand_stays_a_distribution(memory):
    said = np.log(np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]))
    got = np.exp(mixed(said, memory([events("a"), ()]), 0.4))
    assert got[0] == pytest.approx([0.6 * 0.2, 0.6 * 0.3 + 0.4 * 2 / 3, 0.6 * 0.5 + 0.4 / 3]) and got.sum(axis=1) == pytest.approx(1)
    assert got[1] == pytest.approx([0.2, 0.3, 0.5])  # nobody votes
    masked = said.copy()
    masked[0, 1] = -np.inf
    assert np.isneginf(mixed(masked, memory([events("a"), ()]), 0.4)).tolist() == [[False, True, False], [False] * 3]


def test_a_folder_remembers_the_same(memory, tmp_path):
    memory = replace(memory, own_vote=0.2, decay=0.8)
    memory.save(tmp_path)
    loaded = Memory.load(tmp_path, ROWS)
    assert (loaded.own_vote, loaded.decay) == (0.2, 0.8) and loaded([events("a")]).tolist() == memory([events("a")]).tolist()
    assert Memory.load(tmp_path / "nothing", ROWS) is None
    with pytest.raises(ValueError, match="holds 3 items, the catalogue 2"):
        Memory.load(tmp_path, {"a": 0, "b": 1})
    (tmp_path / "memory.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0"):
        Memory.load(tmp_path, ROWS)


def test_each_question_gains_by_the_place_of_its_answer():
    class Model:
        combiner = SimpleNamespace(fitted=Fitted())

        def predict(self, requests):
            places = {0.3: 1, 0.5: 0, 0.6: 0}
            place = places.get(self.combiner.fitted.shares["next_item"][0][1], 2)
            return [Prediction(id=request.id, item_ids=["x"] * place + ["target"], scores=[0.0] * (place + 1)) for request in requests]

    exam = Exam("next_item", "items", (HeldOut(Request(id="q"), "target"),))
    gained = gains(Model(), exam, [Fitted(shares={"next_item": [(0, share)]}) for share in SHARES])
    assert gained[:, 0] == pytest.approx([1 / np.log2(2 + {0.3: 1, 0.5: 0, 0.6: 0}.get(share, 2)) for share in SHARES]) and Model.combiner.fitted == Fitted()
    assert by_length(gained, np.array([7])) == [(0, 0.5)]  # the smallest of the best


def test_long_histories_have_a_share_of_their_own():
    """Questions with up to nine events are best answered with a share of .2, those with ten and more with one of .8."""
    lengths = np.tile(np.arange(20), LEAST)
    gained = np.array([np.where(lengths < 10, share == 0.2, share == 0.8) for share in SHARES], dtype=float)
    assert by_length(gained, lengths) == [(0, 0.2), (10, 0.8)]
    assert by_length(gained[:, : LEAST - 1], lengths[: LEAST - 1]) == [(0, 0.2)]  # too few to be cut
    assert by_length(gained[:, lengths == 3], lengths[lengths == 3]) == [(0, 0.2)]  # all of one length


@pytest.mark.parametrize("shares", [0.4, [[0, 0.4], [4, 0.7]]], ids=["one share", "by length"])
@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_answers_are_the_mixture_of_model_and_memory(toy_parts, toy_corpus, shares):
    timelines = Timelines.of(toy_corpus)
    whole = Memory.of(timelines)
    plain = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates)
    held_out = TASKS["next_item"].held_out(timelines, "valid", 0)
    asked = [replace(example.request, history=example.request.history[: 3 + number % 2], k=12, exclude_seen=False) for number, example in enumerate(held_out)]
    alone, both = plain.predict(asked), Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=Backing(memory=whole), card={"shares": {"next_item": shares}}).predict(asked)
    remembered = whole([request.history for request in asked])
    for request, before, after, votes in zip(asked, alone, both, remembered):
        share = 0.7 if shares != 0.4 and len(request.history) >= 4 else 0.4
        chances = dict(zip(before.item_ids, np.exp(before.scores)))
        mixture = {item_id: (1 - share) * chance + share * votes[toy_corpus.catalog.rows[item_id]] for item_id, chance in chances.items()}
        assert dict(zip(after.item_ids, np.exp(after.scores))) == pytest.approx(mixture)
    # Other tasks, and a card without shares, are answered as ever.
    search = [Request(task="search", query="quiet", history=events("i1"), k=12)]
    assert both and Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=Backing(memory=whole), card={"shares": {"next_item": shares}}).predict(search)[0].scores == plain.predict(search)[0].scores


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_where_only_the_memory_knows_it_gets_a_share(toy_parts, toy_corpus):
    """Items are bought in pairs, and valid asks for the second of a pair: neighbours know it, an untrained model does not."""
    pairs = []
    for user in range(24):
        own = [(2 * n + user // 12) % 12 for n in range(6)]
        first, second = own[user // 4 % 6], (own[user // 4 % 6] + 1) % 12
        rows = [(first, "train"), (second, "train")] if user % 3 else [(first, "train"), (second, "valid"), (own[(user // 4 + 2) % 6], "test")]
        pairs += [(f"u{user}", f"i{item}", n, "click", part) for n, (item, part) in enumerate(rows)]
    log = pl.DataFrame(pairs, schema=["user_id", "item_id", "position", "event", "part"], orient="row").sort("user_id", "position")
    corpus = replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=log, ordering="order", context=()), rating_scale=(), like_threshold=None)
    timelines = Timelines.of(corpus)
    recommender = Recommender(toy_parts.model.eval(), toy_parts.composer, {name: toy_parts.templates[name] for name in ("next_item", "ranking")}, backing=Backing(memory=Memory.of(timelines)))
    found = calibrated(recommender, timelines, 0, limit=100)["shares"]
    [(_, share)] = found["next_item"]
    assert share > 0 and found.keys() == {"next_item", "ranking"} and recommender.combiner.fitted == Fitted()
