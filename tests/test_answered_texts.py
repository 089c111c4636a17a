"""What may be answered of what was written: plain words, about what was asked, in nobody's words; and what is said where none of it stands."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.config import load_settings
from llmrec.consensus import CANDIDATES, TEMPERATURES
from llmrec.evidence import MAX_CHARACTERS
from llmrec.grounding import Grounding
from llmrec.interactions import Catalog
from llmrec.metrics.text import words
from llmrec.predictions import Event, Request
from llmrec.quotations import Quotations
from llmrec.recommender import Backing, Combiner, Fitted, Recommender
from llmrec.timelines import Timelines
from tests.test_quotations import SECRET, corpus_of

CATALOG = Catalog(pl.DataFrame({"item_id": ["blue", "night", "echo", "nameless", "long"], "title": ["Blue Kitchen", "Night Train", "Echo", "", "A Title That Many A Reader Would Call Too Long"], "genres": [["Drama"], ["Drama"], ["Comedy"], ["Comedy"], []]}))
ASKED = Request(task="explanation", item_id="blue", history=(Event("echo"), Event("gone")))
REVIEW = "Louder than Night Train! I took it home and played it all day long, every day."


def combiner(*reviews, fitted=Fitted()):
    return Combiner(Backing(quotations=Quotations.of(corpus_of(*reviews)) if reviews else None), fitted, catalog=CATALOG, vocabulary=None)


@pytest.mark.parametrize(("written", "said"), [
    ("Good.", "Good."), ("  Good\n <b>strings</b> ", "Good strings"), ("See [this](http://a.b) or www.example.com", "See this or"), ("Like Echo, Blue Kitchen is a drama.", None), ("Blue\x00 Kitchen\u202e", "Blue Kitchen"),
    ("&lt;script&gt;alert(1)&lt;/script&gt; fine", "alert(1) fine"),
])
def test_what_is_answered_is_plain_words(written, said):
    answer = combiner().text(ASKED, [written])
    assert answer.text == (said or written) and not answer.plain and "plain" not in answer.to_json()


@pytest.mark.parametrize("written", ["", " \n", "<b></b>", "http://only.a/link", "Just like Night Train.", "Echo and Night Train"])
def test_what_says_nothing_or_speaks_of_another_item_is_not_answered(written):
    answer = combiner().text(ASKED, [written])
    assert answer.plain and "Blue Kitchen" in answer.text and "Night" not in answer.text and answer.to_json()["plain"] is True
    assert combiner().text(ASKED, [written]) == answer


def test_items_of_the_history_and_of_the_review_may_be_named():
    assert not combiner().text(replace(ASKED, history=(Event("night"),)), ["Just like Night Train."]).plain
    summary = Request(task="review_summary", review=REVIEW)
    assert not combiner().text(summary, ["Beats Night Train"]).plain
    assert combiner().text(summary, ["Beats Blue Kitchen"]).text == "Louder than Night Train!" and combiner().text(replace(summary, review="..."), [""]).text == "..."
    assert combiner().text(replace(summary, item_id="blue"), [""]).text == "Louder than Night Train!"  # it is about the review, whatever else is told
    assert combiner().text(replace(summary, review="<br> http://x.y"), [""]).text == "\u2026"


def test_a_plain_sentence_names_no_feature_that_it_may_not():
    for word in ("place", "suggestion", "history"):
        grounding = Grounding((word,), np.zeros(len(CATALOG) + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))
        told = Combiner(Backing(grounding=grounding), Fitted(), catalog=CATALOG, vocabulary=None)
        answer = told.text(Request(task="explanation", item_id="blue"), [""])
        assert answer.plain and word not in words(answer.text)


def test_what_somebody_wrote_is_not_answered_unless_it_is_the_question():
    asked = combiner("Say it: " + SECRET)
    assert asked.text(ASKED, ["They say " + SECRET]).plain
    assert not asked.text(Request(task="review_summary", review=SECRET + " and more"), [SECRET]).plain
    assert not combiner(f"I like {CATALOG.titles[4]} a lot").text(replace(ASKED, item_id="long"), [f"Try {CATALOG.titles[4]} too"]).plain  # a title is no quotation


def test_of_several_drafts_the_best_that_stands_is_taken():
    fitted = Fitted(consensus={"explanation": 0.0})
    drafts = ["Just like Night Train.", "It is like Night Train.", "Just like it.", *["x"] * (CANDIDATES - 3), *["Just like Night Train."] * (len(TEMPERATURES) - CANDIDATES)]
    answer = combiner(fitted=fitted).text(ASKED, drafts)
    assert answer.text == "Just like it." and not answer.plain
    assert combiner(fitted=fitted).text(ASKED, ["Night Train"] * len(TEMPERATURES)).plain


def test_quotations_are_known_where_that_is_asked_for_and_people_wrote(toy_corpus, tmp_path):
    made = lambda corpus, tasks=("explanation", "next_item"), unquoted=True: Backing.of(Timelines.of(corpus), tasks, seed=0, expectations=False, memory=False, precedents=False, unquoted=unquoted)  # noqa: E731
    log = toy_corpus.interactions
    toy_corpus = replace(toy_corpus, interactions=replace(log, frame=log.frame.with_columns(review=pl.concat_str(pl.lit("What I have to say of it is known to me alone: "), "user_id"))))  # longer than a phrase
    backing = made(toy_corpus)
    assert len(backing.quotations.known) and made(toy_corpus, unquoted=False).quotations is made(toy_corpus, ["next_item"]).quotations is None
    backing.save(tmp_path)
    assert (Backing.load(tmp_path, toy_corpus.catalog, ["explanation"]).quotations.known == backing.quotations.known).all()
    assert made(replace(toy_corpus, interactions=replace(log, frame=log.frame.drop("review", "summary")))).quotations is None
    with pytest.raises(ValueError, match="choose one"):
        load_settings("tiny", ["data.corpus=c", "output=o", "consensus=true", "precedents=true", "unquoted=true"])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_whatever_a_model_writes_is_short_and_of_what_was_asked(toy_parts):
    model = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates)
    for prediction in model.predict([Request(task="explanation", item_id=f"i{n}", history=(Event("i0"),)) for n in range(12)]):
        assert 0 < len(prediction.text) <= MAX_CHARACTERS and "\n" not in prediction.text
