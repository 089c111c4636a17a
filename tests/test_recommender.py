"""Requests in, predictions out: constraints, edges and errors, for every index; and a folder that answers alone."""

import json
import shutil

import numpy as np
import pytest
import torch

from llmrec.decoding.reading import Reading
from llmrec.interactions import Event
from llmrec.predictions import Request
from llmrec.recommender import Recommender, answering, save_recommender, where_mask

IDS = [f"i{n}" for n in range(12)]


@pytest.fixture
def recommender(toy_parts):
    return Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, card={"data_hash": "x"})


def ask(recommender, **fields):
    history = tuple(Event(x) if isinstance(x, str) else x for x in fields.pop("history", ()))
    return recommender.predict([Request(history=history, **fields)])[0]


def test_k_items_of_the_catalogue_each_once_best_first(recommender):
    found = ask(recommender, history=["i1", "i3"], k=5)
    assert len(found.item_ids) == len(set(found.item_ids)) == 5 and set(found.item_ids) <= set(IDS)
    assert not set(found.item_ids) & {"i1", "i3"}
    assert found.scores == sorted(found.scores, reverse=True) and not found.truncated


def test_scores_are_probabilities_of_the_whole_catalogue(recommender):
    found = ask(recommender, history=["i1"], k=12, exclude_seen=False)
    assert sorted(found.item_ids) == sorted(IDS) and np.exp(found.scores).sum() == pytest.approx(1, abs=1e-5)


def test_constraints_leave_items_out_and_scores_alone(recommender):
    whole = dict(zip(*(lambda p: (p.item_ids, p.scores))(ask(recommender, history=["i1"], k=12, exclude_seen=False))))
    for fields, expected in (
        ({"exclude": ("i2", "i4")}, set(IDS) - {"i1", "i2", "i4"}),
        ({"include": ("i1", "i2", "i5")}, {"i2", "i5"}),
        ({"where": {"genres": "Comedy"}}, {f"i{n}" for n in range(1, 12, 2)} - {"i1"}),
        ({"where": {"genres": "Comedy", "year": ["1990", "1991"]}, "exclude_seen": False}, {f"i{n}" for n in range(1, 12, 2) if n % 3 < 2}),
        ({"task": "ranking", "candidates": ("i1", "i7", "i8")}, {"i1", "i7", "i8"}),
    ):
        found = ask(recommender, history=["i1"], k=12, **fields)
        assert set(found.item_ids) == expected, fields
        if "task" not in fields:
            for item_id, score in zip(found.item_ids, found.scores):
                assert score == pytest.approx(whole[item_id], abs=1e-4)


def test_more_than_there_is_gives_all_and_says_so(recommender):
    found = ask(recommender, history=["i1", "i2"], k=500)
    assert len(found.item_ids) == 10 and found.truncated


def test_who_has_had_everything_is_offered_what_lies_longest_back(recommender):
    found = ask(recommender, history=[f"i{n % 12}" for n in range(500)] + ["i3"] * 400, k=3)
    assert len(found.item_ids) == 3 and "i3" not in found.item_ids


def test_an_empty_history_recommends_from_the_catalogue(recommender):
    assert len(ask(recommender, k=3).item_ids) == 3


def test_unknown_items_of_a_history_are_skipped_and_counted(recommender):
    found = ask(recommender, history=["no such item", "i1"], k=3)
    assert found.skipped == 1
    assert found.item_ids == ask(recommender, history=["i1"], k=3).item_ids


def test_an_answer_does_not_depend_on_its_neighbours(recommender):
    rng = np.random.default_rng(0)
    requests = [Request(id=str(n), history=tuple(Event(IDS[i]) for i in rng.integers(0, 12, rng.integers(0, 9))), k=4) for n in range(40)]
    together = recommender.predict(requests)
    for request, found in zip(requests, together):
        alone = recommender.predict([request])[0]
        assert found.id == request.id and found.item_ids == alone.item_ids
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)


def test_a_rating_is_the_mean_of_its_distribution(recommender):
    found = ask(recommender, task="rating", item_id="i5", history=[Event("i1", 4.0)])
    assert sum(found.distribution.values()) == pytest.approx(1)
    assert found.value == pytest.approx(sum(float(star) * p for star, p in found.distribution.items()))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_click_is_a_probability_and_an_explanation_is_text(recommender, language):
    assert 0 < ask(recommender, task="click", item_id="i5", history=["i1"], language=language).probability < 1
    assert isinstance(ask(recommender, task="explanation", item_id="i5", history=["i1"], language=language).text, str)


def test_a_temperature_flattens_the_probabilities_of_its_task_alone_and_keeps_the_mean_of_a_rating(toy_parts, recommender):
    flat, wide = (Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, card={"temperatures": {task: 2.0}}) for task in ("click", "rating"))
    rated, asked = dict(task="rating", item_id="i5", history=["i1"]), dict(task="click", item_id="i5", history=["i1"])
    before, after = ask(recommender, **asked).probability, ask(flat, **asked).probability
    assert after / (1 - after) == pytest.approx((before / (1 - before)) ** 0.5)
    assert ask(flat, **rated) == ask(recommender, **rated) and ask(wide, **asked).probability == before
    plain, found = ask(recommender, **rated), ask(wide, **rated)
    stars = np.array(list(map(float, plain.distribution)))
    old, new = (np.array(list(answer.distribution.values())) for answer in (plain, found))
    assert found.value == pytest.approx(plain.value, abs=1e-6) and found.value == pytest.approx(new @ stars) and new.sum() == pytest.approx(1)
    assert -(new @ np.log(new)) > -(old @ np.log(old))
    assert ask(flat, k=3).scores == ask(recommender, k=3).scores


def test_a_request_that_cannot_be_answered_says_why_and_stops_no_other(recommender):
    requests = [
        Request(id="task", task="nextitem"), Request(id="item", task="rating", item_id="gone"), Request(id="none", task="rating"),
        Request(id="query", task="search"), Request(id="where", where={"colour": "red"}), Request(id="fine", k=2), Request(id="c", task="ranking", candidates=("i1", "gone")),
    ]
    found = {p.id: p for p in recommender.predict(requests)}
    for name, words in {"task": "next_item", "item": "gone", "none": "item_id", "query": "query", "where": "genres", "c": "gone"}.items():
        assert words in found[name].error, found[name].error
    assert len(found["fine"].item_ids) == 2


def test_a_damaged_model_is_an_error_of_the_row_not_an_answer(recommender):
    with torch.no_grad():
        recommender.model.lm.model.norm.weight[0] = float("nan")
    assert "finite" in ask(recommender, history=["i1"]).error


def test_the_verbs(recommender):
    assert [x.item_id for x in recommender.recommend(["i1"], k=2)] == ask(recommender, history=["i1"], k=2).item_ids
    assert {x.item_id for x in recommender.rank(["i4", "i2"])} == {"i2", "i4"}
    assert len(recommender.search("quiet drama", k=3)) == 3 and recommender.search("x", k=1)[0].title
    assert 1 <= recommender.rate("i3") <= 5 and 0 < recommender.click("i3") < 1
    with pytest.raises(KeyError, match="gone"):
        recommender.rate("gone")


def test_a_folder_answers_alone_and_the_same(toy_parts, recommender, toy_tokenizer, tmp_path):
    (tmp_path / "a").mkdir()
    save_recommender(
        tmp_path / "a", model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates,
        content=toy_parts.content, card={"data_hash": "x"}, kind="base",
    )
    moved = shutil.move(tmp_path / "a", tmp_path / "elsewhere ü")
    again = Recommender.from_pretrained(moved)
    requests = [Request(history=(Event("i1"), Event("i4")), k=6), Request(task="rating", item_id="i2"), Request(task="click", item_id="i2", language="zh")]
    for one, two in zip(recommender.predict(requests), again.predict(requests)):
        assert one.item_ids == two.item_ids and one.value == pytest.approx(two.value, abs=1e-5) if one.value else True
        if one.scores:
            np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
    assert json.loads((tmp_path / "elsewhere ü" / "recommender.json").read_text())["data_hash"] == "x"
    (tmp_path / "elsewhere ü" / "item_index.json").unlink()
    with pytest.raises(FileNotFoundError, match="item_index.json"):
        Recommender.from_pretrained(moved)


def test_where_names_the_attributes_there_are(toy_corpus):
    with pytest.raises(ValueError, match="genres, year"):
        where_mask(toy_corpus.catalog, {"colour": "red"})


def test_unseen_wordings_are_another_prompt(toy_parts):
    seen, unseen = (Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, wording=w) for w in ("seen", "unseen"))
    assert seen.predict([Request(k=3)])[0].scores != unseen.predict([Request(k=3)])[0].scores
    with pytest.raises(ValueError, match="unseen"):
        Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, wording="new")


@pytest.mark.parametrize("task", ["rating", "click"])
def test_questions_that_share_a_history_are_answered_as_each_alone(recommender, task):
    histories = ([], ["i1", "i3"], [Event("i2", 4.0), Event("i5", 1.0), Event("i7")])
    requests = [
        Request(id=f"{h}:{item}", task=task, item_id=item, history=tuple(Event(x) if isinstance(x, str) else x for x in history), language=language)
        for h, history in enumerate(histories) for item in IDS for language in ("en", "zh")
    ]
    together = recommender.predict(requests)
    for request, found in zip(requests, together):
        alone = recommender.predict([request])[0]
        figure = "value" if task == "rating" else "probability"
        assert getattr(found, figure) == pytest.approx(getattr(alone, figure), abs=1e-5)


@pytest.mark.parametrize("fan_tokens", [5, 512])
def test_histories_of_one_length_are_read_together_with_the_questions_of_each(recommender, monkeypatch, fan_tokens):
    monkeypatch.setattr(answering, "FAN_TOKENS", fan_tokens)  # 5: the questions of one history go into several pieces
    sizes = []
    fans = Reading.fans
    monkeypatch.setattr(Reading, "fans", lambda model, trunks, tails, **more: sizes.append(sorted(map(len, tails))) or fans(model, trunks, tails, **more))
    histories = {"a": (["i1", "i3"], IDS[:3]), "b": (["i2", "i7"], IDS), "c": (["i5", "i4"], IDS[2:5])}
    requests = [
        Request(id=f"{name}:{item}", task="rating", item_id=item, history=tuple(Event(x, 3.0) for x in history)) for name, (history, items) in histories.items() for item in items
    ]
    together = recommender.predict(requests[::-1])[::-1]
    assert max(map(len, sizes)) > 1 or recommender.composer.spaces["items"].trie.depth > 2  # several histories in one read, where as many tokens stand behind them
    assert sum(map(sum, sizes)) <= len(requests) and (fan_tokens == 512) == (max(map(max, sizes)) == len(IDS))
    for request, found in zip(requests, together, strict=True):
        assert found.id == request.id and found.value == pytest.approx(recommender.predict([request])[0].value, abs=1e-5)
