"""Precedents: answers of train to the questions most like one; which of them an answer may be; a folder that finds the same."""

from dataclasses import replace

import numpy as np
import pytest

from llmrec.consensus import CANDIDATES, TEMPERATURES
from llmrec.grounding import Grounding
from llmrec.interactions import Event
from llmrec.precedents import MAX_WORDS, Precedents, traits
from llmrec.predictions import HeldOut, Request
from llmrec.recommender import Backing, Fitted, Recommender
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines


def summary(review, text):
    return HeldOut(Request(task="review_summary", review=review), text)


@pytest.fixture
def precedents():
    return Precedents.of([
        summary("these strings sound warm and last long", "Warm strings"), summary("the cable broke after a week", "Broken cable"), summary("nice strings, warm sound", "Nice"),
        summary("a cable of good length", "Good\ncable"), summary("nothing", " "), summary("strings strings", "word " * (MAX_WORDS + 1)),
    ])


def test_the_answers_to_the_questions_most_alike_come_first_and_their_weights_sum_to_one(precedents):
    found = precedents(Request(review="warm strings that sound nice"))
    assert [text for text, _ in found] == ["Nice", "Warm strings"] and sum(weight for _, weight in found) == pytest.approx(1) and found[0][1] > found[1][1]
    assert [text for text, _ in precedents(Request(review="the cable broke"), k=1)] == ["Broken cable"]
    assert precedents(Request(review="unheard")) == precedents(Request()) == []


def test_answers_stand_on_one_line_and_empty_or_long_ones_are_none(precedents):
    assert set(precedents.texts) == {"Warm strings", "Broken cable", "Nice", "Good cable"}
    assert Precedents.of([]) is None and Precedents.of([summary("a", "!")]) is None


def test_an_item_is_told_by_itself_and_by_who_has_had_what():
    found = Precedents.of([
        HeldOut(Request(item_id="a", history=(Event("x"),)), "of a, by one with x"), HeldOut(Request(item_id="a", history=(Event("y"),)), "of a, by one with y"), HeldOut(Request(item_id="b", history=(Event("y"),)), "of b, by one with y"),
    ])
    assert [text for text, _ in found(Request(item_id="a", history=(Event("y"),)))][0] == "of a, by one with y"
    assert {text for text, _ in found(Request(item_id="a"))} == {"of a, by one with x", "of a, by one with y"}
    assert traits(Request(item_id="a", history=(Event("y"),))) == ["item: a", "had: y"]


def test_a_folder_finds_the_same(precedents, tmp_path):
    precedents.save(tmp_path, "review_summary")
    again = Precedents.load(tmp_path, "review_summary")
    assert again(Request(review="warm strings that sound nice")) == precedents(Request(review="warm strings that sound nice"))
    assert Precedents.load(tmp_path, "explanation") is None
    path = tmp_path / "precedents" / "review_summary.json"
    path.write_text(path.read_text().replace('"terms": ["these", ', '"terms": ['))
    with pytest.raises(ValueError, match="not what training wrote"):
        Precedents.load(tmp_path, "review_summary")
    path.write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0"):
        Precedents.load(tmp_path, "review_summary")


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_what_names_features_of_other_items_is_no_precedent_of_a_grounded_task(toy_parts):
    ids = toy_parts.composer.catalog.item_ids
    told = Precedents.of([HeldOut(Request(task="explanation", item_id=ids[0]), text) for text in ("a smooth neck", "a bright tone", "fine")])
    grounding = Grounding(("bright", "smooth"), np.cumsum([0, 1, *[0] * (len(ids) - 1)]), np.array([1], dtype=np.int32))  # the first item is smooth, no other anything
    model = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, backing=Backing(grounding=grounding, precedents={"explanation": told}), card={"consensus": {"explanation": 0.75}})
    request = Request(task="explanation", item_id=ids[0])
    found = model.combiner.precedents(request)
    assert {text for text, _ in found} == {"a smooth neck", "fine"} and sum(weight for _, weight in found) == pytest.approx(1)
    drafts = [*["dull"] * CANDIDATES, *["a bright bright tone"] * (len(TEMPERATURES) - CANDIDATES)]  # what is likely to be said shares most with the forbidden one
    assert model.combiner.text(request, drafts).text == "a smooth neck"
    model.combiner.backing = replace(model.combiner.backing, grounding=None)
    assert len(model.combiner.precedents(request)) == 3 and model.combiner.text(request, drafts).text == "a bright tone"


def test_they_come_from_train_alone(toy_corpus):
    timelines = Timelines.of(toy_corpus)
    tasks = ["explanation", "review_summary", "next_item"]
    made = Backing.of(timelines, tasks, seed=0, expectations=False, memory=False, precedents=True)
    assert made.precedents.keys() == {"explanation", "review_summary"}
    for name, found in made.precedents.items():
        assert list(found.texts) == [" ".join(example.target.split()) for example in TASKS[name].held_out(timelines, "train", 0)]
    assert Backing.of(timelines, tasks, seed=0, expectations=False, memory=False, precedents=False).precedents == {}
    # Sentences made for one history are nobody else's answers.
    log = toy_corpus.interactions
    silent = replace(toy_corpus, interactions=replace(log, frame=log.frame.drop("review", "summary")))
    assert TASKS["explanation"].reason_absent(silent) is None and Backing.of(Timelines.of(silent), tasks, seed=0, expectations=False, memory=False, precedents=True).precedents == {}


def test_only_precedents_with_a_share_are_kept():
    told = {name: Precedents.of([HeldOut(Request(item_id="a"), "text")]) for name in ("explanation", "review_summary")}
    assert Backing(precedents=told).used(Fitted(consensus={"explanation": 0.5, "review_summary": 0.0})).precedents.keys() == {"explanation"}


def test_a_question_of_any_length_is_read_in_bounds_and_markup_is_no_answer():
    found = Precedents.of([summary("the neck is smooth", 'Smooth <a href="http://evil.example">neck</a>'), summary("the box is dull", "Dull"), summary("long", "x" * 500)])
    assert found.texts == ("Smooth neck", "Dull")
    long = Request(review="the " * 300_000)
    assert [text for text, _ in found(long)] == [text for text, _ in found(Request(review="the"))]
