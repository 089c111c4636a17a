"""What is cited is what moved the answer, on a model whose reasons are known: it adds up what its history holds."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from llmrec.citing import about, cite, strengths
from llmrec.interactions import Event
from llmrec.predictions import Prediction, Request

HISTORY = tuple(Event(item_id) for item_id in ("i0", "i1", "i2", "i3", "i4"))


@pytest.mark.parametrize("task", ["rating", "click", "next_item"])
def test_what_is_cited_is_what_speaks_most_for_the_answer(task, adding):
    request = Request(task=task, history=HISTORY, item_id=None if task == "next_item" else "i9")
    found = cite(adding, request, k=2)
    assert [citation.event.item_id for citation in found] == ["i0", "i2"] and [citation.effect for citation in found] == pytest.approx([3, 1])
    assert [citation.event.item_id for citation in cite(adding, request, k=9)] == ["i0", "i2", "i4"]  # no event that speaks against it, or says nothing
    assert cite(adding, replace(request, history=()), k=2) == []


@pytest.mark.parametrize(("task", "cited"), [("rating", ["i1"]), ("click", ["i1"]), ("next_item", ["i4"])])
def test_an_answer_below_that_of_no_history_is_made_by_what_lowers_it(task, cited, adding):
    request = Request(task=task, history=tuple(Event(item_id) for item_id in ("i1", "i3", "i4")), item_id=None if task == "next_item" else "i9")
    found = cite(adding, request)
    assert [citation.event.item_id for citation in found] == cited and found[0].effect == pytest.approx({"i1": -2, "i4": 0.5}[cited[0]])
    assert cite(adding, replace(request, history=(Event("i3"),))) == []


def test_a_list_is_asked_about_one_item_of_it(adding):
    request = Request(task="next_item", history=HISTORY, k=10)
    assert about(adding, request).candidates == ("best",) and about(adding, request, "i7").candidates == ("i7",)
    assert about(adding, Request(task="rating", item_id="i1")) == Request(task="rating", item_id="i1")
    assert strengths(adding, [about(adding, request)]) == pytest.approx([2.5])


def test_an_answer_without_strength_or_with_an_error_is_said():
    with pytest.raises(ValueError, match="a text has no strength"):
        strengths(SimpleNamespace(predict=lambda requests: [Prediction(text="fine")]), [Request(task="explanation")])
    with pytest.raises(ValueError, match="no such item"):
        strengths(SimpleNamespace(predict=lambda requests: [Prediction(error="no such item")]), [Request(task="rating")])


def test_a_list_that_nothing_may_be_on_is_refused_and_its_filters_do_not_bind_the_item_named(adding):
    nothing = SimpleNamespace(predict=lambda requests: [Prediction(item_ids=[], scores=[]) for _ in requests])
    with pytest.raises(ValueError, match="no item may be answered"):
        about(nothing, Request(task="next_item", history=HISTORY))
    named = about(adding, Request(task="next_item", history=HISTORY, exclude=("i7",), include=("i1",), where={"genre": "x"}), "i7")
    assert (named.candidates, named.exclude, named.include, named.where) == (("i7",), (), None, None)
