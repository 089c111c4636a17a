"""eval.run with the audit: what is searched for leaks, where it is told, and that a leak is no success."""

import json
from dataclasses import replace

import polars as pl
import pytest

from eval.run import BAD_FIGURES, main
from eval.asking import evaluate_suite
from eval.suite import Suite
from llmrec.baselines.popularity import MostPopular, Random
from llmrec.interactions import Corpus, write_manifest
from llmrec.predictions import Prediction
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines


class Mean:
    """Ours: the middle of the scale."""

    tasks = ("rating",)

    def predict(self, requests):
        return [Prediction(r.id, r.task, value=3.0, user_id=r.user_id) for r in requests]


class Leaky(type(TASKS["rating"])):
    """The rating task, whose histories hold the event they are asked about."""

    def held_out(self, timelines, part, seed):
        places = {int(row): place for place, row in enumerate(timelines.rows)}
        asked = super().held_out(timelines, part, seed)
        return [replace(h, request=replace(h.request, history=(*h.request.history, timelines.event(places[h.row])))) for h in asked]


def evaluated(corpus, folder, tasks=TASKS, baselines={}):
    suite = Suite(tasks=("rating",), resamples=10)
    return evaluate_suite(suite, Timelines.of(corpus), {"ours": Mean()}, tasks=tasks, baselines=baselines, folder=folder, hashes={"ours": "m"})


def test_questions_answers_and_popularity_are_audited(toy_corpus, tmp_path):
    report = evaluated(toy_corpus, tmp_path)
    assert [audit["subject"] for audit in report.audit] == ["questions of rating", "answers to rating", "popularity"]
    assert all(audit["ok"] and audit["findings"] == [] for audit in report.audit)
    assert report.audit[0]["checked"]["rating: questions"] == 24
    about = pl.read_parquet_metadata(tmp_path / "predictions" / "rating.ours.parquet")
    assert (about["model_hash"], about["data_hash"]) == ("m", toy_corpus.data_hash)


def test_a_leak_is_said_and_stands_in_the_report(toy_corpus, tmp_path, capsys):
    report = evaluated(toy_corpus, tmp_path, {**TASKS, "rating": Leaky()})
    (audit,) = [audit for audit in report.audit if not audit["ok"]]
    assert audit["subject"] == "questions of rating"
    assert "audit, error: rating: 24 histories hold the event that is asked about" in capsys.readouterr().err
    assert report.rows  # what was measured is kept


def test_the_popularity_of_every_baseline_is_audited_and_answers_of_one_that_leaks_are_not_kept(toy_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(MostPopular, "_learn", lambda self, timelines: setattr(self, "popularity", self.popularity + 1))
    suite = Suite(tasks=("next_item",), resamples=10)
    models = {"ours": Random().fit(Timelines.of(toy_corpus))}
    for _ in range(2):
        report = evaluate_suite(suite, Timelines.of(toy_corpus), models, baselines={"random": Random, "most_popular": MostPopular}, folder=tmp_path)
        (audit,) = [audit for audit in report.audit if audit["subject"] == "popularity"]
        assert [(finding["kind"], finding["count"]) for finding in audit["findings"]] == [("popularity_of_all", 12)]


@pytest.fixture
def saved(toy_parts, toy_corpus, toy_tokenizer, tmp_path):
    """A corpus and a model folder on disk."""
    from llmrec.audit.log import audit_log
    from llmrec.recommender import save_recommender

    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    write_manifest(tmp_path / "corpus", replace(toy_corpus, report={"audit": audit_log(toy_corpus).to_json()}))
    (tmp_path / "model").mkdir()
    save_recommender(
        tmp_path / "model", model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates,
        content=toy_parts.content,
        card={"data_hash": Corpus.load(tmp_path / "corpus").data_hash, "split": dict(toy_corpus.split)}, kind="base",
    )
    return tmp_path


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_model_of_other_data_ends_with_7_after_its_report(saved, capsys):
    arguments = ["standard", "--model", str(saved / "model"), "--baseline", "most_popular", f"data.corpus={saved / 'corpus'}", "tasks=rating", "resamples=10"]
    assert main([*arguments, "--out", str(saved / "clean")]) == 0
    clean = json.loads((saved / "clean" / "report.json").read_text())
    assert [audit["subject"] for audit in clean["audit"]] == ["log", "model model", "questions of rating", "answers to rating", "popularity"]
    assert clean["fault"] is None and len(clean["audit_hash"]) == 16

    card = saved / "model" / "recommender.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "data_hash": "of other rows"}))
    capsys.readouterr()
    assert main([*arguments, "--out", str(saved / "leaky")]) == BAD_FIGURES
    said = capsys.readouterr().err
    assert "audit, error: model model: the model was made with other data (hash of other rows)" in said
    leaky = json.loads((saved / "leaky" / "report.json").read_text())
    assert "other data" in leaky["fault"] and leaky["rows"]
    assert leaky["audit_hash"] != clean["audit_hash"]
    assert "other data" in (saved / "leaky" / "report.html").read_text()
