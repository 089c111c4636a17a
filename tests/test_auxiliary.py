"""Events that are shown and never asked about, such as carts beside purchases: through the log, the stream, the prompts, what counts as seen, and the baselines."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from llmrec.answers import ITEMS, RATING
from llmrec.assets import folder_of
from llmrec.audit.examples import audit_examples
from llmrec.baselines import BASELINES
from llmrec.baselines.histories import Histories
from llmrec.composer import AUXILIARY, Composer
from llmrec.exam import Exam, save_predictions
from llmrec.indexing import Material, build_index
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.memory import Memory
from llmrec.predictions import Request
from llmrec.prepare import main
from llmrec.recommender import Backing, Recommender, load_task_templates
from llmrec.splits import SplitSettings, split_files
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines
from train.calibrate import calibrated


def corpus_of(*, ordering: str) -> Corpus:
    """Twelve users put two items into the cart, buy three others, then (test) the first of the cart."""
    rows = []
    for user in range(12):
        items = [(user + step) % 12 for step in range(5)]
        events = [("cart", items[0]), ("cart", items[1]), *(("purchase", item) for item in items[2:]), ("purchase", items[0])]
        rows += [(f"u{user}", f"i{item}", n, event, "test" if n == 5 else "train") for n, (event, item) in enumerate(events)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part"], orient="row").sort("user_id", "position")
    items = pl.DataFrame({"item_id": [f"i{i}" for i in range(12)], "title": ["Night Train", "Silver Lake", "Harvest", "Blue Kitchen", "Long Road", "Sea", "Echo", "Paper Moon", "Winter Law", "Small Gods", "Ten", "Stone"]})
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
    template = next(entry for entry in load_task_templates(folder_of("prompts"), "next_item") if entry.name == "bare")
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


def test_in_a_set_what_is_only_shown_stands_before_what_is_asked_about(toy_vocabulary):
    """In training as in use, where every question knows the whole cart; both in an order drawn anew."""
    corpus = corpus_of(ordering="none")
    timelines = Timelines.of(corpus)
    for question in TASKS["next_item"].held_out(timelines, "test", 0):
        assert [event.seen for event in question.request.history] == [False, False, True, True, True]
    composer = Composer(toy_vocabulary, corpus.catalog, build_index("atomic", Material(corpus.catalog.titles, np.zeros((12, 1), np.float32), toy_vocabulary, 0)).space(corpus.catalog.item_ids, toy_vocabulary.size))
    template = next(entry for entry in load_task_templates(folder_of("prompts"), "next_item") if entry.name == "bare")
    task = TASKS["next_item"].bind(timelines, seed=0)
    trunks = [task.example(0, composer, template, np.random.default_rng(seed)).trunk for seed in range(20)]
    assert all(trunk.answers[0].start == len(trunk.tokens) - 3 for trunk in trunks)  # the purchases are the last three
    assert len({tuple(answer.row for answer in trunk.answers) for trunk in trunks}) > 3 and len({tuple(trunk.tokens[: trunk.answers[0].start]) for trunk in trunks}) == 2
    assert len(timelines.drawn(np.arange(6), np.random.default_rng(0), 4)) == 4


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_model_of_sets_reads_carts_first_wherever_they_stand(toy_parts):
    bought, cart = (Event("i1"), Event("i2")), Event("i3", seen=False)
    sets, streams = (Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, card={"split": {"temporal": temporal}}) for temporal in (False, True))
    last, first = (*bought, cart), (cart, *bought)
    assert sets.recommend(last) == sets.recommend(first) == streams.recommend(first) != streams.recommend(last)


def test_what_is_in_the_cart_may_be_recommended(parts_of, tmp_path):
    corpus = corpus_of(ordering="order")
    parts = parts_of("atomic", corpus, next_item=1.0)
    timelines = Timelines.of(corpus)
    held_out = tuple(TASKS["next_item"].held_out(timelines, "test", 0))
    for model in (Recommender(parts.model.eval(), parts.composer, parts.templates), BASELINES["item_knn"]().fit(timelines, seed=0)):
        for question, found in zip(held_out, model.predict([replace(question.request, k=12) for question in held_out]), strict=True):
            assert set(found.item_ids) == {f"i{n}" for n in range(12)} - {event.item_id for event in question.request.history if event.event == "purchase"}
        answers = pl.read_parquet(save_predictions(model, "model", Exam("next_item", "items", held_out), folder=tmp_path))
        assert all(target not in seen and len(seen) == 3 for target, seen in answers.select("target", "seen").iter_rows())
    histories = Histories.of([question.request for question in held_out], corpus.catalog)
    assert histories.seen.sum() == 36 and histories.where(histories.seen).seen.all() and len(histories.where(histories.seen).items) == 36


def test_neighbours_learn_how_much_a_cart_says(corpus):
    assert BASELINES["item_knn"]().fit(Timelines.of(corpus), seed=0).settings["own_vote"] == 0  # no valid questions: the default
    log = corpus.interactions.frame.with_columns(pl.col("part").replace("test", "valid"))
    asked = replace(corpus, interactions=replace(corpus.interactions, frame=log))
    assert BASELINES["item_knn"]().fit(Timelines.of(asked), seed=0).settings["own_vote"] > 0  # valid asks for what is in the cart


def test_a_model_learns_how_much_a_cart_says(parts_of):
    corpus = corpus_of(ordering="order")
    log = corpus.interactions.frame.with_columns(pl.col("part").replace("test", "valid"))
    timelines = Timelines.of(replace(corpus, interactions=replace(corpus.interactions, frame=log)))
    parts = parts_of("atomic", corpus, next_item=1.0)
    memory = replace(Memory.of(timelines), similarity=sp.csr_array((12, 12)))  # no neighbours
    recommender = Recommender(parts.model.eval(), parts.composer, {"next_item": parts.templates["next_item"]}, backing=Backing(memory=memory))
    found = calibrated(recommender, timelines, 0, limit=100)
    assert found["shown"]["next_item"] > 0 == found["shares"]["next_item"]  # valid asks for what is in the cart, and an untrained model does not know it


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


def test_a_cart_beside_a_purchase_of_the_same_item_is_an_event_of_its_own(tmp_path):
    """Merged with it, the purchase would be no question, and what was bought would be recommended again."""
    words = ["buy a", "buy b", "buy c", "cart c", "buy d", "cart d", "cart e", "buy e", "cart f", "buy e"]
    rows = [("u", word.split()[1], n, word.split()[0], n + 1) for n, word in enumerate(words)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "row"], orient="row").with_columns(timestamp=pl.col("position").cast(pl.Float64))
    frame.write_parquet(tmp_path / "log.parquet")
    bought, shown = pl.col("event") == "buy", pl.lit(True)
    split = split_files([tmp_path / "log.parquet"], SplitSettings(), ordering="timestamp", positive=bought, shown=shown)
    log = Interactions(pl.read_parquet(tmp_path / "log.parquet").drop("row"), positive=("buy",), auxiliary=("cart",))
    items = pl.DataFrame({"item_id": list("abcdef"), "title": list("abcdef")})
    corpus = Corpus("own", log, Catalog(items), split=split)
    timelines = Timelines.of(corpus)
    assert [corpus.catalog.item_ids[item] for item in timelines.items] == list("abccddeefe")
    assert timelines.asked.tolist() == [True, True, True, False, True, False, False, True, False, True]
    for part in ("valid", "test"):  # one question each
        held_out = TASKS["next_item"].held_out(timelines, part, 0)
        assert [question.target for question in held_out] == ["e"]
        assert audit_examples(timelines, {"next_item": held_out}, part).findings == ()
    last = TASKS["next_item"].held_out(timelines, "test", 0)[0].request.history
    assert [(event.item_id, event.seen) for event in last] == [("a", True), ("b", True), ("c", True), ("c", False), ("d", True), ("d", False), ("e", False), ("e", True), ("f", False)]


def test_what_was_only_shown_may_be_a_negative_candidate():
    timelines = Timelines.of(corpus_of(ordering="order"))
    for question in TASKS["ranking"].held_out(timelines, "test", 0):
        carts, bought = ({event.item_id for event in question.request.history if event.seen == seen} for seen in (False, True))
        assert carts <= set(question.request.candidates) and not bought & set(question.request.candidates)


def test_the_rating_of_an_auxiliary_event_takes_no_loss(toy_vocabulary):
    corpus = corpus_of(ordering="order")
    index = build_index("atomic", Material(corpus.catalog.titles, np.zeros((12, 1), np.float32), toy_vocabulary, 0))
    composer = Composer(toy_vocabulary, corpus.catalog, index.space(corpus.catalog.item_ids, toy_vocabulary.size), rating_scale=(1.0, 2.0, 3.0))
    template = next(entry for entry in load_task_templates(folder_of("prompts"), "rating") if entry.name == "bare")
    trunk, _ = composer.trunk(template, [Event("i1", 3.0), Event("i2", 1.0, seen=False), Event("i3", 2.0)], learn=RATING)
    assert [answer.row for answer in trunk.answers] == [2, 1]
