"""A question as a user writes it and an answer as a user reads it: JSON in, JSON out, and what is no question says why."""

import json
import math

import pytest

from llmrec.interactions import Event
from llmrec.predictions import Item, Prediction, Request


def test_the_smallest_request_is_next_item_of_an_unknown_user():
    request = Request.from_json({})
    assert request == Request() and (request.task, request.history, request.k, request.exclude_seen, request.language) == ("next_item", (), 10, True, "en")


def test_every_field_is_read():
    request = Request.from_json({
        "id": "a", "task": "ranking", "history": ["i1", {"item_id": "i2", "rating": 4, "timestamp": 1e9, "event": "purchase", "context": {"hour": "morning", "stock": 3}}],
        "k": 3, "query": "quiet", "item_id": "i9", "candidates": ["i3"], "review": "good", "exclude": ["i4"], "include": [], "exclude_seen": False,
        "where": {"genres": ["Comedy", "Drama"]}, "context": {"place": "home"}, "timestamp": 5, "language": "zh", "user_id": "u",
    })
    assert request == Request(
        id="a", task="ranking", history=(Event("i1"), Event("i2", 4.0, 1e9, "purchase", {"hour": "morning", "stock": "3"})), k=3, query="quiet", item_id="i9", candidates=("i3",),
        review="good", exclude=("i4",), include=(), exclude_seen=False, where={"genres": ["Comedy", "Drama"]}, context={"place": "home"}, timestamp=5.0, language="zh", user_id="u",
    )


def test_ids_stay_what_they_are_written_as():
    request = Request.from_json({"id": 7, "user_id": "007", "item_id": 9007199254740993, "history": ["NA", 7, "7.0", "1e5", " "], "candidates": [1, "1"], "exclude": [10**30]})
    assert (request.id, request.user_id, request.item_id) == ("7", "007", "9007199254740993")
    assert [event.item_id for event in request.history] == ["NA", "7", "7.0", "1e5", " "]
    assert request.candidates == ("1", "1") and request.exclude == (str(10**30),)


def test_null_is_what_was_not_said():
    """A Parquet file gives every row every field, and every object every key."""
    empty = {name: None for name in ("id", "task", "history", "k", "query", "item_id", "candidates", "exclude", "include", "exclude_seen", "where", "context", "timestamp", "language", "user_id")}
    assert Request.from_json(empty) == Request()
    request = Request.from_json({
        "where": {"genres": None, "year": "1990"}, "context": {"hour": None, "place": "home"}, "history": [{"item_id": "i1", "rating": None, "timestamp": None, "event": None, "context": {"hour": None}}],
    })
    assert (request.where, request.context, request.history) == ({"year": "1990"}, {"place": "home"}, (Event("i1", context={}),))


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ("next_item", "a request is a JSON object, got str"),
        ([], "a request is a JSON object, got list"),
        (None, "a request is a JSON object, got NoneType"),
        ({"hist": []}, "unknown field 'hist'; a request has: .*history"),
        ({"k": 0}, "k is 0; expected a whole number of at least 1"),
        ({"k": -3}, "k is -3"),
        ({"k": 2.5}, "k is 2.5"),
        ({"k": "10"}, "k is '10'"),
        ({"k": True}, "k is True"),
        ({"id": 1.5}, "id is 1.5; expected a string"),
        ({"id": True}, "id is True"),
        ({"item_id": 1.0}, "item_id is 1.0"),
        ({"user_id": ["u"]}, "user_id is"),
        ({"task": 3}, "task is 3; expected a string"),
        ({"query": ["a"]}, "query is"),
        ({"query": "a\ud800"}, "query holds a lone surrogate"),
        ({"id": "\udfff"}, "id holds a lone surrogate"),
        ({"history": ["\ud800"]}, "history holds a lone surrogate"),
        ({"history": "i1,i2"}, "history is 'i1,i2'; expected an array"),
        ({"history": {"item_id": "i1"}}, "history is .*; expected an array"),
        ({"history": [1.5]}, "history is 1.5; expected a string"),
        ({"history": [None]}, "history is None"),
        ({"history": [["i1"]]}, "history is \\['i1'\\]"),
        ({"history": [{"rating": 3}]}, "an event of the history has item_id and optionally rating, timestamp, event, context, seen; got \\['rating'\\]"),
        ({"history": [{"item_id": "i1", "stars": 3}]}, "got \\['item_id', 'stars'\\]"),
        ({"history": [{"item_id": "i1", "rating": "3"}]}, "rating is '3'; expected a finite number"),
        ({"history": [{"item_id": "i1", "rating": math.nan}]}, "rating is nan"),
        ({"history": [{"item_id": "i1", "timestamp": math.inf}]}, "timestamp is inf"),
        ({"history": [{"item_id": "i1", "timestamp": True}]}, "timestamp is True"),
        ({"history": [{"item_id": "i1", "event": 3}]}, "event is 3"),
        ({"history": [{"item_id": "i1", "context": "home"}]}, "context of an event is 'home'"),
        ({"timestamp": 10**400}, "timestamp is 1000.*; expected a finite number"),
        ({"candidates": "i1"}, "candidates is 'i1'; expected an array"),
        ({"exclude": [{}]}, "exclude is {}"),
        ({"include": 3}, "include is 3"),
        ({"exclude_seen": 1}, "exclude_seen is 1; expected true or false"),
        ({"exclude_seen": "no"}, "exclude_seen is 'no'"),
        ({"where": "genres=Comedy"}, "where is 'genres=Comedy'; expected an object"),
        ({"context": ["home"]}, "context is"),
    ],
)
def test_what_is_no_request_says_what_was_got(record, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        Request.from_json(record)
    assert len(str(error.value)) < 400


def test_an_answer_holds_what_is_set_and_no_more():
    items = Prediction(id="a", task="next_item", item_ids=["i2", "i1"], scores=[-0.5, -1.0], user_id="u", skipped=2, truncated=True)
    assert items.items({"i2": "Night Train"}) == [Item("i2", "Night Train", -0.5), Item("i1", "", -1.0)]
    assert items.to_json({"i2": "Night Train", "i1": "夏天的海"}) == {
        "id": "a", "task": "next_item", "user_id": "u",
        "items": [{"item_id": "i2", "title": "Night Train", "score": -0.5}, {"item_id": "i1", "title": "夏天的海", "score": -1.0}], "skipped": 2, "truncated": True,
    }
    assert Prediction(id="b", task="rating", value=3.5, distribution={"3": 0.5, "4": 0.5}).to_json() == {"id": "b", "task": "rating", "value": 3.5, "distribution": {"3": 0.5, "4": 0.5}}
    assert Prediction(id="c", task="click", probability=0.0).to_json() == {"id": "c", "task": "click", "probability": 0.0}
    assert Prediction(id="d", task="explanation", text="").to_json() == {"id": "d", "task": "explanation", "text": ""}
    assert Prediction(id="e", task="next_item", item_ids=[], scores=[], truncated=True).to_json() == {"id": "e", "task": "next_item", "items": [], "truncated": True}


def test_an_error_stands_alone():
    refused = Prediction(id="a", task="rating", error="unknown item 'i99'", skipped=3)
    assert refused.to_json() == {"id": "a", "task": "rating", "error": "unknown item 'i99'"}
    assert json.loads(json.dumps(refused.to_json())) == refused.to_json()


def test_as_many_scores_as_items():
    with pytest.raises(ValueError):
        Prediction(item_ids=["i1", "i2"], scores=[-1.0]).items({})
