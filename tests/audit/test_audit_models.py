"""Model folders and saved answers: each check fires where its leak is, and a model made in the ordinary way is clean."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from llmrec.audit.models import MODEL_CHECKS, ModelFolder, audit_model, foreign_answers, model_hash, popularity_of_all
from llmrec.collaborative import STATISTICS, collaborative_vectors
from llmrec.exam import Exam, save_predictions
from llmrec.affinities import Affinities
from llmrec.expectations import Expectations
from llmrec.grounding import Grounding
from llmrec.memory import Memory
from llmrec.indexing import ItemIndex
from llmrec.interactions import Catalog
from llmrec.precedents import Precedents
from llmrec.quotations import Quotations
from llmrec.predictions import Prediction
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines


def kinds(model, corpus):
    return {finding.kind: finding for finding in audit_model(model, corpus).findings}


@pytest.fixture(scope="module")
def bare(corpus):
    """The corpus without titles and attributes: content comes from train reviews."""
    return replace(corpus, catalog=Catalog(corpus.catalog.frame.select("item_id", title=pl.lit(""))))


@pytest.mark.parametrize("scheme", ["atomic", "semantic"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_made_in_the_ordinary_way_is_clean(corpus, model_of, scheme, seed):
    audit = audit_model(model_of(corpus, scheme=scheme, seed=seed), corpus)
    assert audit.findings == ()
    assert audit.checked["items"] == 100
    assert audit.checked["pieces"] > 100  # the tokenizer was fitted here, and was looked at


def test_content_of_train_reviews_is_clean(bare, model_of):
    assert kinds(model_of(bare), bare) == {}


def test_other_data_and_another_split(model, corpus):
    assert "hash ffff" in kinds(replace(model, card={**model.card, "data_hash": "ffff"}), corpus)["other_data"].sentence
    assert "another split" in kinds(replace(model, card={**model.card, "split": {"rule": "none"}}), corpus)["other_data"].sentence
    assert kinds(replace(model, card={"data_hash": corpus.data_hash}), corpus) == {}


def test_a_step_chosen_on_test_counts_only_if_one_was_chosen(model, corpus):
    assert set(kinds(replace(model, card={**model.card, "valid_part": "test"}), corpus)) == {"chosen_on"}
    assert kinds(replace(model, card={**model.card, "valid": {}, "valid_part": None}), corpus) == {}


def test_vectors_of_a_neural_encoder_have_no_terms_to_judge_by(model, corpus):
    content = replace(model.content, terms=(), idf=np.zeros(0, np.float32), components=np.zeros((0, 0), np.float16))
    assert kinds(replace(model, content=content), corpus) == {}


def test_what_events_say_of_an_item_must_be_what_train_says(model, corpus, all_train):
    def with_company(source):
        company = np.empty((len(model.index), 8 + STATISTICS), dtype=np.float32)
        company[model.index.codes[:, 0]] = collaborative_vectors(source, size=8)
        return replace(model, index=replace(model.index, vectors=np.hstack([model.index.vectors, company])))

    assert kinds(with_company(corpus), corpus) == {}
    assert set(kinds(with_company(all_train(corpus)), corpus)) == {"codes_of_other_content"}


def test_what_is_expected_must_be_what_train_lets_expect(model, corpus, all_train):
    def with_expectations(source):
        return replace(model, expectations=Expectations.of(Timelines.of(source)))

    assert kinds(with_expectations(corpus), corpus) == {}
    assert kinds(with_expectations(all_train(corpus)), corpus)["expectations_of_held_out"].count > 10
    bare = replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.with_columns(rating=pl.lit(None, pl.Float64))), rating_scale=())
    assert kinds(with_expectations(corpus), bare)["expectations_of_held_out"].count == len(corpus.catalog)


def test_how_items_were_answered_must_be_what_train_answers(model, corpus, all_train):
    rows = corpus.interactions.frame.with_columns(rating=pl.lit(None, pl.Float64), position=2 * pl.col("position"))
    clicked = rows.filter(pl.int_range(pl.len()) % 2 == 0).with_columns(event=pl.lit("click"), position=pl.col("position") + 1)
    frame = pl.concat([rows.with_columns(event=pl.lit("impression")), clicked]).sort("user_id", "position")
    clicks = replace(corpus, interactions=replace(corpus.interactions, frame=frame), rating_scale=(), like_threshold=None)
    own = Affinities.of(Timelines.of(clicks), ["click"])
    assert "affinities_of_held_out" not in kinds(replace(model, affinities=own), clicks)
    public = Affinities.of(Timelines.of(all_train(clicks)), ["click"])
    for foreign in (replace(own, rates=public.rates), replace(own, similarity=public.similarity)):
        assert kinds(replace(model, affinities=foreign), clicks)["affinities_of_held_out"].count > 5
    for moved in (replace(own, weights={"click": own.weights["click"] + 0.1}), replace(own, means={"click": 0.9}), replace(own, words={"click": ("rating",)})):
        assert kinds(replace(model, affinities=moved), clicks)["affinities_of_held_out"].count == 1
    assert kinds(replace(model, affinities=own), corpus)["affinities_of_held_out"].count == len(corpus.catalog)  # a corpus of ratings answers no clicks


def test_what_is_remembered_must_be_what_train_holds(model, corpus, all_train):
    assert kinds(replace(model, memory=Memory.of(Timelines.of(corpus))), corpus) == {}
    found = kinds(replace(model, memory=Memory.of(Timelines.of(all_train(corpus)))), corpus)
    assert set(found) == {"memory_of_held_out"} and found["memory_of_held_out"].count > 10
    own = Memory.of(Timelines.of(corpus))
    row, other = own.similarity[[0]].toarray()[0], own.similarity.tolil()
    near, far = int(row.argmax()), int(np.flatnonzero(row == 0)[-1])  # alike to the last digits: either may be the last that counts
    other[0, far], other[0, near] = 0.0033, row[near] - 0.00330002
    tied = replace(own, similarity=sp.csr_array(other))
    assert kinds(replace(model, memory=tied), corpus) == {}
    other[0, near] = row[near]
    assert kinds(replace(model, memory=replace(own, similarity=sp.csr_array(other))), corpus).keys() == {"memory_of_held_out"}


def test_how_often_what_is_shown_is_chosen_follows_from_train(model, corpus):
    events = pl.when(pl.col("position") < 2).then(pl.lit("cart")).otherwise(pl.col("event"))
    log = replace(corpus.interactions, frame=corpus.interactions.frame.with_columns(event=events), positive=("rating",), auxiliary=("cart",))
    carts = replace(corpus, interactions=log)
    own = Memory.of(Timelines.of(carts), seed=int(model.card.get("seed", 0)))
    found = lambda memory: kinds(replace(model, memory=memory), carts).get("memory_of_held_out")  # noqa: E731
    assert (own.chosen != 1).any() and found(own) is None
    assert found(replace(own, chosen=own.chosen * 2)).count > 10
    assert found(replace(own, chosen=np.ones_like(own.chosen))) is None  # of before such things were known


def test_what_may_be_said_of_an_item_must_be_what_train_says(model, corpus, all_train):
    assert kinds(replace(model, grounding=Grounding.of(corpus)), corpus) == {}
    found = kinds(replace(model, grounding=Grounding.of(all_train(corpus))), corpus)
    assert set(found) == {"grounding_of_held_out"} and found["grounding_of_held_out"].count > 3


def test_what_no_text_may_hold_was_written_in_train(model, corpus, all_train):
    assert kinds(replace(model, quotations=Quotations.of(corpus)), corpus) == {}
    found = kinds(replace(model, quotations=Quotations.of(all_train(corpus))), corpus)
    assert set(found) == {"quotations_of_held_out"} and found["quotations_of_held_out"].count > 3


def test_what_counts_as_answered_was_answered_in_train(model, corpus, all_train):
    def with_precedents(source):
        return replace(model, precedents={"review_summary": Precedents.of(TASKS["review_summary"].held_out(Timelines.of(source), "train", 0))})

    assert kinds(with_precedents(corpus), corpus) == {}
    found = kinds(with_precedents(all_train(corpus)), corpus)
    assert set(found) == {"precedents_of_held_out"} and found["precedents_of_held_out"].count > 3


@pytest.mark.parametrize("scheme", ["atomic", "semantic"])
def test_content_of_all_reviews(bare, model_of, all_train, scheme):
    leaky = model_of(bare, scheme=scheme, fitted_on=all_train(bare))
    honest = model_of(bare)
    finding = kinds(replace(leaky, pieces=honest.pieces), bare)["content_of_held_out"]
    assert finding.severity == "error" and finding.count > 10


def test_one_item_with_the_text_of_another(model, corpus):
    vectors = model.content.vectors.copy()
    vectors[[3, 4]] = vectors[[4, 3]]
    finding = kinds(replace(model, content=replace(model.content, vectors=vectors)), corpus)["content_of_held_out"]
    assert finding.count == 2


def test_semantic_codes_of_other_vectors(corpus, model_of):
    model = model_of(corpus, scheme="semantic")
    shuffled = replace(model.index, codes=model.index.codes[np.random.default_rng(0).permutation(100)])
    assert set(kinds(replace(model, index=shuffled), corpus)) == {"codes_of_other_content"}


def test_atomic_codes_with_other_vectors(model, corpus):
    assert set(kinds(replace(model, index=replace(model.index, vectors=model.index.vectors[::-1])), corpus)) == {"codes_of_other_content"}


@pytest.mark.parametrize("direction", [1, -1])
def test_codes_in_the_order_of_the_log(model, corpus, direction):
    first = corpus.interactions.frame.sort("timestamp").unique("item_id", keep="first", maintain_order=True)["item_id"].to_list()
    order = {item_id: place for place, item_id in enumerate(first)}
    place = np.array([direction * order.get(item_id, 1000) for item_id in model.item_ids]).argsort(kind="stable").argsort()
    index = ItemIndex("atomic", place[:, None], 100, model.content.vectors[place.argsort()])
    finding = kinds(replace(model, index=index), corpus)["codes_in_file_order"]
    assert finding.severity == "error" and f"{direction * 1.0:.1f}"[:2] in finding.sentence


def test_a_last_code_in_the_order_of_the_log(corpus, model_of):
    # Ten groups of ten items that share their first code; the second numbers them as they appear.
    model = model_of(corpus)
    first = corpus.interactions.frame.sort("timestamp").unique("item_id", keep="first", maintain_order=True)["item_id"].to_list()
    order = np.array([first.index(item_id) if item_id in first else 1000 for item_id in model.item_ids])
    group = np.arange(100) % 10
    last = np.array([(order[(group == group[i])] < order[i]).sum() for i in range(100)])
    index = ItemIndex("pairs", np.stack([group, 10 + last], axis=1), 20)
    assert set(kinds(replace(model, index=index), corpus)) == {"codes_in_file_order"}
    shuffled = ItemIndex("pairs", np.stack([group, 10 + np.random.default_rng(0).permutation(100)], axis=1), 110)
    assert kinds(replace(model, index=shuffled), corpus) == {}


def test_a_tokenizer_from_elsewhere_cannot_be_judged(model, corpus):
    foreign = tuple(f"▁{word}" for word in ("Quixotium", "zebra", "quartz", "vortex", "jigsaw"))
    audit = audit_model(replace(model, pieces=foreign), corpus)
    assert audit.findings == () and audit.checked["pieces"] == 0


@pytest.mark.parametrize("text", ["The Quixotium is", "like this:\n{review}", "{sentence}"])
def test_a_prompt_with_words_of_a_held_out_review(model, corpus, text):
    review = corpus.interactions.frame.filter(pl.col("part") == "test")["review"][7]
    said = text.format(review=review, sentence=review[: len(review) - 8])
    assert set(kinds(replace(model, prompts=(*model.prompts, said)), corpus)) == (set() if said == "The Quixotium is" else {"prompt_of_held_out"})


def test_a_prompt_with_a_train_item_alone_is_no_leak(model, corpus):
    held = set(corpus.interactions.frame.filter(pl.col("part") != "train")["item_id"])
    title = next(title for item_id, title in zip(corpus.catalog.item_ids, corpus.catalog.titles) if item_id not in held)
    assert kinds(replace(model, prompts=(f"for example {title}",)), corpus) == {}


def test_popularity_of_train_is_clean_and_any_other_is_not(timelines):
    train = np.bincount(timelines.items[timelines.parts == 0], minlength=100)
    assert popularity_of_all(train, timelines) is None
    assert popularity_of_all(train.astype(float), timelines) is None
    train[7] += 1
    assert popularity_of_all(train, timelines).count == 1


class Same:
    def predict(self, requests):
        return [Prediction(r.id, r.task, value=3.0, user_id=r.user_id) for r in requests]


def test_saved_answers_are_this_models_to_these_questions(timelines, tmp_path):
    exam = Exam("rating", "rating", tuple(TASKS["rating"].held_out(timelines, "test", 0)))
    about = {"model_hash": "m", "data_hash": "d"}
    path = save_predictions(Same(), "ours", exam, folder=tmp_path, about=about)
    assert foreign_answers(path, exam.held_out, model="ours", **about) is None
    assert "model 'ours' for 'theirs'" in foreign_answers(path, exam.held_out, model="theirs", **about).sentence
    assert "data_hash 'd' for 'e'" in foreign_answers(path, exam.held_out, model="ours", model_hash="m", data_hash="e").sentence
    assert "other questions" in foreign_answers(path, exam.held_out[1:], model="ours", **about).sentence
    assert "other questions" in foreign_answers(path, [replace(h, target=1.5) for h in exam.held_out], model="ours", **about).sentence
    unmarked = save_predictions(Same(), "ours", exam, folder=tmp_path)
    assert foreign_answers(unmarked, exam.held_out, model="ours", **about).count == 2


def test_the_hash_of_a_model_is_of_what_it_answers_with(tmp_path):
    for name, text in (("recommender.json", "{}"), ("model.safetensors", "weights"), ("log.jsonl", "log"), ("base/model.safetensors", "base")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = model_hash(tmp_path)
    assert len(before) == 16
    for name, changes in (("log.jsonl", False), ("base/model.safetensors", False), ("report/predictions/next_item.m.parquet", False), ("model.safetensors", True)):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("changed")
        assert (model_hash(tmp_path) != before) == changes, name


def test_every_check_is_planted():
    assert [check.__name__ for check in MODEL_CHECKS] == [
        "other_data", "chosen_on", "content_of_held_out", "codes_of_other_content", "expectations_of_held_out", "affinities_of_held_out", "grounding_of_held_out", "memory_of_held_out", "precedents_of_held_out", "quotations_of_held_out", "codes_in_file_order", "tokenizer_of_held_out", "prompt_of_held_out",
    ]


def test_a_saved_folder_says_what_it_was_made_of(toy_parts, toy_corpus, toy_tokenizer, tmp_path):
    from llmrec.recommender import save_recommender

    content = toy_parts.content
    card = {"data_hash": toy_corpus.data_hash, "split": dict(toy_corpus.split)}
    save_recommender(
        tmp_path, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates,
        content=content, card=card, kind="base",
    )
    model = ModelFolder.load(tmp_path)
    assert model.item_ids == toy_corpus.catalog.item_ids
    assert model.card["split"] == {"rule": "leave_one_out", "temporal": True}
    assert "<s>" not in model.pieces and any(piece.startswith("▁") for piece in model.pieces)
    audit = audit_model(model, toy_corpus)
    assert audit.findings == ()
    assert audit.checked["terms"] == len(content.terms)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer.json"):
        ModelFolder.load(tmp_path)
    assert json.loads((tmp_path / "recommender.json").read_text())["split"]["rule"] == "leave_one_out"
