"""The memory: probabilities by hand, a mixture that stays one, the same from a folder, and a share that valid chooses."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from llmrec.interactions import Event
from llmrec.memory import PRIOR, Memory, chosen_of_shown, mixed
from llmrec.predictions import Request
from llmrec.recommender import Backing, Fitted, Recommender
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines
from train.calibrate import DEPTH, calibrated, contenders_of, gains, valid_exam

ROWS = {"a": 0, "b": 1, "c": 2}


@pytest.fixture
def memory() -> Memory:
    return Memory(sp.csr_array(np.array([[0, 0.5, 0.25], [0.5, 0, 0], [0.25, 0, 0]], dtype=np.float32)), 1.0, 1.0, np.array([0.5, 0.25, 0.25], dtype=np.float32), ROWS)


def in_pairs(toy_corpus) -> Timelines:
    """Items are bought in pairs, and valid asks for the second of a pair."""
    pairs = []
    for user in range(24):
        own = [(2 * n + user // 12) % 12 for n in range(6)]
        first, second = own[user // 4 % 6], (own[user // 4 % 6] + 1) % 12
        rows = [(first, "train"), (second, "train")] if user % 3 else [(first, "train"), (second, "valid"), (own[(user // 4 + 2) % 6], "test")]
        pairs += [(f"u{user}", f"i{item}", n, "click", part) for n, (item, part) in enumerate(rows)]
    log = pl.DataFrame(pairs, schema=["user_id", "item_id", "position", "event", "part"], orient="row").sort("user_id", "position")
    corpus = replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=log, ordering="order", context=()), rating_scale=(), like_threshold=None)
    return Timelines.of(corpus)


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


def cart(item_id):
    return Event(item_id, event="cart", seen=False)


def test_what_is_in_the_cart_votes_as_much_as_valid_says(memory):
    history = (cart("a"), Event("b"))
    assert memory([history])[0] == pytest.approx([0.5 / 1.25, 0.5 / 1.25, 0.25 / 1.25])
    assert replace(memory, shown_vote=0.5)([history])[0] == pytest.approx([0.5 / 0.875, 0.25 / 0.875, 0.125 / 0.875])
    assert replace(memory, shown_vote=0.0)([history, (cart("b"), Event("b"))])[:, 0] == pytest.approx([1, 1])  # bought in the end: it votes as any


def test_what_is_only_shown_has_a_distribution_of_its_own(memory):
    found = memory.shown([(cart("a"), Event("b"), cart("c")), (cart("a"), Event("a"), cart("b")), (Event("c"),), ()])
    assert found.tolist() == [[2 / 3, 0, 1 / 3], [0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_what_part_of_those_who_were_shown_an_item_chose_it(toy_corpus):
    rows = [("u1", "i1", "cart"), ("u1", "i1", "buy"), ("u1", "i2", "cart"), ("u2", "i1", "cart"), ("u2", "i1", "cart"), ("u2", "i3", "buy"), ("u3", "i2", "cart"), ("u3", "i2", "buy", "test")]
    log = pl.DataFrame([(user, item, n, event, *(part or ["train"])) for n, (user, item, event, *part) in enumerate(rows)], schema=["user_id", "item_id", "position", "event", "part"], orient="row").sort("user_id", "position")
    corpus = replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=log, ordering="none", context=(), positive=("buy",), auxiliary=("cart",)), rating_scale=(), like_threshold=None)
    found = dict(zip(corpus.catalog.item_ids, chosen_of_shown(Timelines.of(corpus)).tolist()))
    assert (found["i1"], found["i2"], found["i3"]) == pytest.approx(((1 + PRIOR / 4) / (2 + PRIOR), PRIOR / 4 / (2 + PRIOR), 0.25))  # what is bought in test tells nothing
    assert chosen_of_shown(Timelines.of(toy_corpus)).tolist() == [1.0] * len(toy_corpus.catalog)


def test_a_mixture_by_hand_stays_a_distribution(memory):
    said = np.log(np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]))
    got = np.exp(mixed(said, memory([events("a"), ()]), 0.4))
    assert got[0] == pytest.approx([0.6 * 0.2, 0.6 * 0.3 + 0.4 * 2 / 3, 0.6 * 0.5 + 0.4 / 3]) and got.sum(axis=1) == pytest.approx(1)
    assert got[1] == pytest.approx([0.2, 0.3, 0.5])  # nobody votes
    masked = said.copy()
    masked[0, 1] = -np.inf
    assert np.isneginf(mixed(masked, memory([events("a"), ()]), 0.4)).tolist() == [[False, True, False], [False] * 3]


def test_a_folder_remembers_the_same(memory, tmp_path):
    memory = replace(memory, shown_vote=0.5, decay=0.8)
    memory.save(tmp_path)
    loaded = Memory.load(tmp_path, ROWS)
    assert (loaded.shown_vote, loaded.decay) == (0.5, 0.8) and loaded([events("a")]).tolist() == memory([events("a")]).tolist() and loaded.shown([(cart("b"), cart("c"))]).tolist() == [[0, 0.5, 0.5]]
    assert Memory.load(tmp_path / "nothing", ROWS) is None
    with pytest.raises(ValueError, match="holds 3 items, the catalogue 2"):
        Memory.load(tmp_path, {"a": 0, "b": 1})
    (tmp_path / "memory.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0"):
        Memory.load(tmp_path, ROWS)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize("task, shown", [("next_item", False), ("next_item", True), ("ranking", False), ("search", False)])
def test_each_setting_gains_what_its_answers_gain(toy_parts, toy_corpus, task, shown):
    """The model is asked once; what each setting gains of it is what a recommender of that setting gains when it is asked."""
    timelines = in_pairs(toy_corpus)
    parts, backing = (toy_parts.model.eval(), toy_parts.composer, toy_parts.templates), Backing(memory=Memory.of(timelines))
    exam = valid_exam(TASKS[task], timelines, 0, limit=100)
    if shown:
        exam = replace(exam, held_out=tuple(replace(example, request=replace(example.request, history=(*example.request.history, cart(f"i{number % 12}")))) for number, example in enumerate(exam.held_out)))
    settings = [Fitted(lexical={task: weight}, shares={task: share}, shown={task: 0.3 * shown * (share < 0.9)}) for share, weight in ((0.0, 0.0), (0.4, 0.0), (0.9, 0.0), (0.0, 1.0), (0.4, 1.0))]
    recommender = Recommender(*parts, backing=backing)
    gained = gains(recommender, exam, settings)
    for row, fitted in zip(gained, settings):
        asked = Recommender(*parts, backing=backing, card={"lexical": fitted.lexical, "shares": fitted.shares, "shown": fitted.shown})
        answers = asked.predict([replace(example.request, k=10, exclude_seen=not exam.candidates) for example in exam.held_out])
        places = [list(answer.item_ids).index(example.target) if example.target in answer.item_ids else None for answer, example in zip(answers, exam.held_out)]
        assert row == pytest.approx([0.0 if place is None else 1 / np.log2(2 + place) for place in places])
    assert len({tuple(row) for row in gained[: 5 if task == "search" else 3].tolist()}) > 1 and recommender.combiner.fitted == Fitted()


def test_no_mixture_puts_another_item_before_one_than_its_contenders():
    random = np.random.default_rng(0)
    hopeless = 0
    for _ in range(300):
        said = np.log(random.dirichlet(np.full(40, 0.5)).round(3) + 1e-4)  # some alike
        said[random.random(40) < 0.2] = -np.inf  # may not be answered
        votes = [random.dirichlet(np.full(40, 0.3)) * (random.random(40) < 0.3) for _ in range(2)]
        target = int(random.integers(40))
        contenders = contenders_of(np.stack([said, *votes]), target)
        hopeless += contenders is None
        for shares in ((0.0, 0.0), (0.3, 0.0), (0.9, 0.1), (0.5, 0.6)):
            found = said[None]
            for vote, share in zip(votes, shares):
                found = mixed(found.copy(), vote[None], share) if share else found
            before = np.flatnonzero((found[0] > found[0, target]) | ((found[0] == found[0, target]) & (np.arange(40) < target)))
            if contenders is None:
                assert np.isneginf(said[target]) or len(before) >= DEPTH
            else:
                assert target in contenders and set(before) <= set(contenders.tolist())
    assert 50 < hopeless < 250


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_answers_are_the_mixture_of_model_and_memory(toy_parts, toy_corpus):
    timelines = Timelines.of(toy_corpus)
    whole = Memory.of(timelines)
    plain = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates)
    held_out = TASKS["next_item"].held_out(timelines, "valid", 0)
    asked = [replace(example.request, history=example.request.history[: 3 + number % 2], k=12, exclude_seen=False) for number, example in enumerate(held_out)]
    alone, both = plain.predict(asked), Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=Backing(memory=whole), card={"shares": {"next_item": 0.4}}).predict(asked)
    remembered = whole([request.history for request in asked])
    for request, before, after, votes in zip(asked, alone, both, remembered):
        chances = dict(zip(before.item_ids, np.exp(before.scores)))
        mixture = {item_id: 0.6 * chance + 0.4 * votes[toy_corpus.catalog.rows[item_id]] for item_id, chance in chances.items()}
        assert dict(zip(after.item_ids, np.exp(after.scores))) == pytest.approx(mixture)
    # Other tasks, and a card without shares, are answered as ever.
    search = [Request(task="search", query="quiet", history=events("i1"), k=12)]
    assert both and Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=Backing(memory=whole), card={"shares": {"next_item": 0.4}}).predict(search)[0].scores == plain.predict(search)[0].scores


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_what_is_only_shown_is_mixed_in_behind(toy_parts, toy_corpus):
    whole, rows = Memory.of(Timelines.of(toy_corpus)), toy_corpus.catalog.rows
    request = Request(history=(cart("i1"), Event("i2"), cart("i3")), k=12, exclude_seen=False)
    parts = toy_parts.model.eval(), toy_parts.composer, toy_parts.templates
    [before], [after] = (Recommender(*parts, backing=Backing(memory=whole), card=card).predict([request]) for card in ({}, {"shares": {"next_item": 0.4}, "shown": {"next_item": 0.3}}))
    votes = whole([request.history])[0]
    expected = {item_id: 0.3 * 0.5 * (item_id in ("i1", "i3")) + 0.7 * (0.6 * chance + 0.4 * votes[rows[item_id]]) for item_id, chance in zip(before.item_ids, np.exp(before.scores))}
    assert dict(zip(after.item_ids, np.exp(after.scores))) == pytest.approx(expected) and sum(expected.values()) == pytest.approx(1)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_where_only_the_memory_knows_it_gets_a_share(toy_parts, toy_corpus):
    """Neighbours know the second of a pair, an untrained model does not."""
    timelines = in_pairs(toy_corpus)
    recommender = Recommender(toy_parts.model.eval(), toy_parts.composer, {name: toy_parts.templates[name] for name in ("next_item", "ranking")}, backing=Backing(memory=Memory.of(timelines)))
    found = calibrated(recommender, timelines, 0, limit=100)["shares"]
    assert found["next_item"] > 0 and found.keys() == {"next_item", "ranking"} and recommender.combiner.fitted == Fitted()
