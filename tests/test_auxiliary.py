"""Events that are shown and never asked about, such as carts beside purchases: through the log, the stream, the prompts, what counts as seen, and the baselines."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.answers import ITEMS
from llmrec.audit.examples import audit_examples
from llmrec.baselines import BASELINES
from llmrec.baselines.histories import Histories
from llmrec.composer import AUXILIARY, Composer
from llmrec.exam import Exam, save_predictions
from llmrec.indexing import Material, build_index
from llmrec.interactions import Catalog, Corpus, Interactions
from llmrec.predictions import Request
from llmrec.prepare import main
from llmrec.recommender import Recommender
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines

from .conftest import TITLES, make_parts


def corpus_of(*, ordering: str) -> Corpus:
    """Twelve users put two items into the cart, buy three others, then (test) the first of the cart."""
    rows = []
    for user in range(12):
        items = [(user + step) % 12 for step in range(5)]
        events = [("cart", items[0]), ("cart", items[1]), *(("purchase", item) for item in items[2:]), ("purchase", items[0])]
        rows += [(f"u{user}", f"i{item}", n, event, "test" if n == 5 else "train") for n, (event, item) in enumerate(events)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part"], orient="row").sort("user_id", "position")
    items = pl.DataFrame({"item_id": [f"i{i}" for i in range(12)], "title": TITLES})
    log = Interactions(frame, ordering=ordering, positive=("purchase",), auxiliary=("cart",))
    return Corpus("carts", log, Catalog(items), split={"rule": "given", "temporal": ordering != "none"})


@pytest.fixture(params=["order", "none"])
def corpus(request) -> Corpus:
    return corpus_of(ordering=request.param)


def test_carts_stand_in_the_stream_and_are_no_questions(corpus):
    timelines = Timelines.of(corpus)
    assert timelines.asked.sum() == 12 * 4 and len(timelines.items) == 12 * 6
    assert {timelines.names[place] for _, place in timelines.places("train", "test")} == {"purchase"}
    held_out = TASKS["next_item"].held_out(timelines, "test", 0)
    assert len(held_out) == 12
    for question in held_out:
        assert sorted((event.event, event.seen) for event in question.request.history) == [("cart", False)] * 2 + [("purchase", True)] * 3
    assert audit_examples(timelines, {"next_item": held_out}, "test").findings == ()


def test_what_is_learned_is_purchases_alone_and_carts_bear_a_mark(corpus, toy_vocabulary):
    timelines = Timelines.of(corpus)
    index = build_index("atomic", Material(corpus.catalog.titles, np.zeros((12, 1), np.float32), toy_vocabulary, 0))
    composer = Composer(toy_vocabulary, corpus.catalog, index.space(corpus.catalog.item_ids, toy_vocabulary.size))
    template = next(entry for entry in make_templates() if entry.name == "bare")
    task = TASKS["next_item"].bind(timelines, seed=0)
    mark = list(toy_vocabulary.template(AUXILIARY))
    for unit in range(12):
        trunk = task.example(unit, composer, template, np.random.default_rng(unit)).trunk
        bought = {corpus.catalog.rows[event] for event in corpus.interactions.frame.filter((pl.col("user_id") == timelines.user_ids[unit]) & (pl.col("part") == "train") & (pl.col("event") == "purchase"))["item_id"]}
        assert {answer.row for answer in trunk.answers} == bought and len(trunk.answers) == 3
        for answer in trunk.answers:
            assert trunk.tokens[answer.start : answer.stop] == list(composer.spaces[ITEMS].trie.code(answer.row))
            assert trunk.tokens[answer.start - len(mark) : answer.start] != mark
        assert sum(trunk.tokens[place : place + len(mark)] == mark for place in range(len(trunk.tokens))) == 2
        assert len(trunk.tokens) == 1 + 5 + 2 * len(mark)


def make_templates():
    from llmrec.assets import folder_of
    from llmrec.recommender.folder import load_task_templates

    return load_task_templates(folder_of("prompts"), "next_item")


def test_what_is_in_the_cart_may_be_recommended(toy_llama, toy_vocabulary, tmp_path):
    corpus = corpus_of(ordering="order")
    parts = make_parts("atomic", corpus, toy_llama, toy_vocabulary, next_item=1.0)
    timelines = Timelines.of(corpus)
    held_out = tuple(TASKS["next_item"].held_out(timelines, "test", 0))
    for model in (Recommender(parts.model.eval(), parts.composer, parts.templates), BASELINES["item_knn"]().fit(timelines, seed=0)):
        for question, found in zip(held_out, model.predict([replace(question.request, k=12) for question in held_out]), strict=True):
            assert set(found.item_ids) == {f"i{n}" for n in range(12)} - {event.item_id for event in question.request.history if event.event == "purchase"}
        answers = pl.read_parquet(save_predictions(model, "model", Exam("next_item", "items", held_out), folder=tmp_path))
        assert all(target not in seen and len(seen) == 3 for target, seen in answers.select("target", "seen").iter_rows())
    histories = Histories.of([question.request for question in held_out], corpus.catalog)
    assert histories.seen.sum() == 36 and histories.where(histories.seen).seen.all() and len(histories.where(histories.seen).items) == 36


def test_a_request_says_which_of_its_events_are_not_seen():
    request = Request.from_json({"history": ["i1", {"item_id": "i2", "seen": False}, {"item_id": "i3", "seen": None}]})
    assert [event.seen for event in request.history] == [True, False, True]
    with pytest.raises(ValueError, match="seen is 'no'; expected true or false"):
        Request.from_json({"history": [{"item_id": "i2", "seen": "no"}]})


def test_prepare_names_auxiliary_events(tmp_path, capsys):
    rows = "\n".join(f"u{user},i{(user + n) % 5},{n},{event}" for user in range(5) for n, event in enumerate(["cart", "purchase", "cart", "purchase", "purchase"]))
    (tmp_path / "log.csv").write_text(f"user_id,item_id,timestamp,event\n{rows}\n")
    options = ["table", "--interactions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "corpus"), "--positive", "purchase"]
    assert main([*options, "--auxiliary", "cart"]) == 0
    corpus = Corpus.load(tmp_path / "corpus")
    assert corpus.interactions.auxiliary == ("cart",) and json.loads(capsys.readouterr().out)["auxiliary"] == ["cart"]
    held_out = corpus.interactions.frame.filter(pl.col("part") != "train")
    assert len(held_out.filter(pl.col("event") == "purchase")) == 10  # the last two purchases of five users
    assert main([*options, "--auxiliary", "vew", "--overwrite"]) != 0
    assert "no row has the event 'vew', which is named as auxiliary" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected positive ones to be named, and none to be both"):
        Interactions(corpus.interactions.frame, positive=("cart",), auxiliary=("cart",))
