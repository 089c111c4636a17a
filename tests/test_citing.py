"""What is cited is what moved the answer, on a model whose reasons are known: it adds up what its history holds."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from llmrec.citing import about, cite, strengths
from llmrec.interactions import Event
from llmrec.predictions import Prediction, Request

WEIGHTS = {"i0": 3.0, "i1": -2.0, "i2": 1.0, "i3": 0.0, "i4": 0.5}


class Sum:
    """Its rating is the sum of what each item of the history weighs, its yes has the sum as log-odds; it recommends "best" with the sum as score."""

    tasks = ["rating", "click", "next_item"]
    card = {"seed": 0}

    def predict(self, requests):
        found = []
        for request in requests:
            total = sum(WEIGHTS.get(event.item_id, 0.1) for event in request.history)
            answer = {"rating": {"value": total}, "click": {"probability": 1 / (1 + math.exp(-total))}}.get(request.task, {"item_ids": list(request.candidates or ("best", "second")), "scores": [total]})
            found.append(Prediction(id=request.id, task=request.task, **answer))
        return found


HISTORY = tuple(Event(item_id) for item_id in ("i0", "i1", "i2", "i3", "i4"))


@pytest.mark.parametrize("task", ["rating", "click", "next_item"])
def test_what_is_cited_is_what_speaks_most_for_the_answer(task):
    request = Request(task=task, history=HISTORY, item_id=None if task == "next_item" else "i9")
    found = cite(Sum(), request, k=2)
    assert [citation.event.item_id for citation in found] == ["i0", "i2"] and [citation.effect for citation in found] == pytest.approx([3, 1])
    assert [citation.event.item_id for citation in cite(Sum(), request, k=9)] == ["i0", "i2", "i4"]  # no event that speaks against it, or says nothing
    assert cite(Sum(), replace(request, history=()), k=2) == []


def test_a_list_is_asked_about_one_item_of_it():
    request = Request(task="next_item", history=HISTORY, k=10)
    assert about(Sum(), request).candidates == ("best",) and about(Sum(), request, "i7").candidates == ("i7",)
    assert about(Sum(), Request(task="rating", item_id="i1")) == Request(task="rating", item_id="i1")
    assert strengths(Sum(), [about(Sum(), request)]) == pytest.approx([2.5])


def test_an_answer_without_strength_or_with_an_error_is_said():
    with pytest.raises(ValueError, match="a text has no strength"):
        strengths(SimpleNamespace(predict=lambda requests: [Prediction(text="fine")]), [Request(task="explanation")])
    with pytest.raises(ValueError, match="no such item"):
        strengths(SimpleNamespace(predict=lambda requests: [Prediction(error="no such item")]), [Request(task="rating")])


def test_a_list_that_nothing_may_be_on_is_refused_and_its_filters_do_not_bind_the_item_named():
    nothing = SimpleNamespace(predict=lambda requests: [Prediction(item_ids=[], scores=[]) for _ in requests])
    with pytest.raises(ValueError, match="no item may be answered"):
        about(nothing, Request(task="next_item", history=HISTORY))
    named = about(Sum(), Request(task="next_item", history=HISTORY, exclude=("i7",), include=("i1",), where={"genre": "x"}), "i7")
    assert (named.candidates, named.exclude, named.include, named.where) == (("i7",), (), None, None)
