"""Which tasks a corpus allows: each says what it lacks, and the table names them all."""

from dataclasses import replace

import polars as pl
import pytest

from llmrec.interactions import Catalog
from llmrec.tasks import OBJECTIVES, TASKS, find_task
from llmrec.timelines import Timelines

SEED = 0


def lacking(corpus, *columns, titles=True, attributes=True, **fields):
    catalog = corpus.catalog.frame
    catalog = catalog if attributes else catalog.select("item_id", "title")
    catalog = catalog if titles else catalog.with_columns(title=pl.lit(""))
    log = replace(corpus.interactions, frame=corpus.interactions.frame.drop(columns))
    return replace(corpus, interactions=log, catalog=Catalog(catalog), **fields)


@pytest.mark.parametrize(("name", "change", "told"), [
    ("rating", lambda c: lacking(c, "rating"), "task 'rating' needs ratings in train"),
    ("rating", lambda c: lacking(c, rating_scale=(3.0,)), "a scale of at least two values"),
    ("click", lambda c: lacking(c, like_threshold=None), "--like THRESHOLD"),
    ("click", lambda c: lacking(c, "rating"), "impressions or a 0/1 column 'click'"),
    ("purchase", lambda c: c, "task 'purchase' needs a 0/1 column 'purchase'"),
    ("search", lambda c: lacking(c, titles=False, attributes=False), "search needs queries"),
    ("explanation", lambda c: lacking(c, "review", "summary", attributes=False), "needs reviews, summaries or item attributes"),
    ("review_summary", lambda c: lacking(c, "summary"), "the columns 'review' and 'summary'"),
    ("next_item", lambda c: replace(c, interactions=replace(c.interactions, positive=("purchase",))), "positive events in train"),
    ("ranking", lambda c: replace(c, interactions=replace(c.interactions, positive=("purchase",))), "task 'ranking' needs positive events"),
])
def test_a_task_says_what_the_corpus_lacks(toy_corpus, name, change, told):
    assert told in TASKS[name].reason_absent(change(toy_corpus))


def test_what_only_held_out_rows_have_does_not_count(toy_corpus):
    frame = toy_corpus.interactions.frame
    for column, name in (("rating", "rating"), ("review", "review_summary")):
        held = frame.with_columns(pl.when(pl.col("part") != "train").then(column).alias(column))
        assert TASKS[name].reason_absent(replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=held))) is not None


def test_the_simulated_world_offers_every_task(simulated):
    assert [name for name, task in TASKS.items() if task.reason_absent(simulated) is not None] == []


def test_explanations_without_reviews_are_made_from_history_and_catalogue(toy_corpus):
    bare = lacking(toy_corpus, "review", "summary")
    asked = TASKS["explanation"].held_out(Timelines.of(bare), "test", SEED)
    titles = dict(zip(bare.catalog.item_ids, bare.catalog.titles))
    assert len(asked) == 24
    for h in asked:
        seen = {titles[event.item_id] for event in h.request.history}
        named = {title for title in bare.catalog.titles if title in h.target}
        assert named <= seen | {titles[h.request.item_id]}


def test_the_table_names_its_tasks():
    assert all(name == task.name for name, task in OBJECTIVES.items())
    assert set(OBJECTIVES) - set(TASKS) == {"item_card", "item_text"}
    with pytest.raises(KeyError, match="did you mean 'next_item'"):
        find_task("nextitem")


def test_item_cards_hold_nothing_out_and_nothing_of_held_out_reviews(simulated):
    bare = replace(simulated, catalog=Catalog(simulated.catalog.frame.select("item_id", title=pl.lit(""))))
    held = bare.interactions.frame.filter((pl.col("part") != "train") & (pl.col("review").str.len_chars() > 40))["review"].to_list()
    for name in ("item_card", "item_text"):
        bound = OBJECTIVES[name].bind(Timelines.of(bare), seed=SEED)
        assert bound.held_out("test") == []
        assert held and not any(review in text for text in bound.texts for review in held)
