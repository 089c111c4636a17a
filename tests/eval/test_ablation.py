"""The study of variants: what each training is told, what is asked of it, and the table."""

import json

import pytest

from eval.ablation import load_variants, main, variants_table
from eval.studies import against_first
from llmrec.exam import Exam, save_predictions
from llmrec.predictions import HeldOut, Prediction, Request


def test_the_shipped_variants_are_settings():
    from llmrec.config import load_settings

    for name in ("balances", "signals"):
        for phase in ("pretrain", "finetune"):
            for changes in load_variants(name, phase).values():
                load_settings("ml-100k", ["data.corpus=c", "output=o", *changes])
    assert load_variants("balances", "finetune")["dwa"] == ['finetune.balance="dwa"']
    assert list(load_variants("balances", "pretrain")) == ["static", "temperature", "dwa", "uncertainty", "pcgrad"]
    assert load_variants("signals", "pretrain")["with company rows"][:2] == ["content.rows=true", "content.collaborative=64"]


@pytest.mark.parametrize(("text", "words"), [("3", "holds no variants"), ("plain: 3", "holds no variants"), ("{}", "holds no variants")])
def test_a_file_without_variants_is_refused(tmp_path, text, words):
    (tmp_path / "v.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        load_variants(str(tmp_path / "v.yaml"), "pretrain")


def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, capsys):
    assert main(["--config", "tiny", "--variants", "nosuch", "--out", str(tmp_path / "o")]) == 2
    assert "shipped: balances, signals" in capsys.readouterr().err
    (tmp_path / "v.yaml").write_text("a: {pretrain.balanse: static}")
    assert main(["--config", "tiny", "--variants", str(tmp_path / "v.yaml"), "--out", str(tmp_path / "o"), "data.corpus=c"]) == 2
    assert "did you mean balance?" in capsys.readouterr().err


def test_the_table_has_means_and_spreads():
    rows = [
        {"variant": name, "seed": seed, "seconds": seconds, "figures": {"next_item/ndcg@10": figure, "rating/rmse": None}}
        for name, seed, seconds, figure in [("plain", 0, 10, 0.1), ("plain", 1, 30, 0.2), ("more", 0, 50, 0.3), ("more", 1, 50, 0.3)]
    ]
    record = {"rows": rows, "part": "valid", "limit": 0, "data_hash": "abc", "differences": [{"variant": "more", "task": "next_item", "metric": "ndcg@10", "difference": 0.15, "low": -0.01, "high": 0.2}]}
    table = variants_table(record)
    rows.append({"variant": "rated", "seed": 0, "seconds": 20, "figures": {"rating/mae": 0.5}})  # of a task that the first lacks
    rows.append({"variant": "stopped", "seed": 0, "seconds": None, "figures": {"rating/mae": 0.5}})  # nobody knows how long it took
    assert "| rated |  |  | 0.5000 | 1.00 |" in variants_table(record) and "| stopped |  |  | 0.5000 |  |" in variants_table(record)
    assert "| plain | 0.1500 ±0.0707 |  | 1.00 |" in table and "| more | 0.3000 ±0.0000 |  | 2.50 |" in table and "Part valid, all users, 2 seeds, intervals of 95 % over users; data abc." in table
    assert "| more | next_item | ndcg@10 | +0.1500 (-0.0100 to +0.2000) |" in table


class First:
    def predict(self, requests):
        return [Prediction(request.id, request.task, item_ids=("t",), scores=(0.0,)) for request in requests]


def test_differences_are_of_what_was_asked(tmp_path):
    """Answers of other studies may lie in the same folder."""
    for task, names in (("next_item", ("a-0", "b-0")), ("search", ("a-0", "b-0", "c-0")), ("ranking", ("a-0", "b-0"))):
        for name in names:
            save_predictions(First(), name, Exam(task, "items", (HeldOut(Request(id="q", task=task, user_id="u"), "t"),)), folder=tmp_path)
    rows = against_first(tmp_path, {"a": ["a-0"], "b": ["b-0"], "c": ["c-0"]}, {"a": ["next_item", "search"], "b": ["next_item", "search"], "c": ["search"]}, resamples=10)
    assert list(dict.fromkeys((row["variant"], row["task"]) for row in rows)) == [("b", "next_item"), ("b", "search"), ("c", "search")]


@pytest.mark.slow
def test_each_variant_is_trained_once_and_asked(toy_corpus, tmp_path, capfd):
    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    (tmp_path / "v.yaml").write_text("alone: {pretrain.tasks: {next_item: 1}}\nwith ratings: {pretrain.tasks: {next_item: 1, rating: 1}}")
    arguments = [
        "--config", "tiny", "--phase", "pretrain", "--variants", str(tmp_path / "v.yaml"), "--out", str(tmp_path / "docs" / "study"), "--work", str(tmp_path / "work"), f"data.corpus={tmp_path / 'corpus'}",
        "precision=fp32", "threads=1", "model.width=32", "model.mlp_width=64", "pretrain.max_steps=3", "pretrain.batch_tokens=512", "pretrain.validation.limit=5",
    ]
    assert main(arguments) == 0
    table = capfd.readouterr().out
    record = json.loads((tmp_path / "docs" / "study.json").read_text())
    assert [row["variant"] for row in record["rows"]] == ["alone", "with ratings"]
    assert record["rows"][1]["figures"].keys() - record["rows"][0]["figures"].keys() == {"rating/rmse", "rating/mae"} and 0 < record["rows"][1]["figures"]["rating/rmse"] < 4
    (difference,) = [row for row in record["differences"] if (row["task"], row["metric"]) == ("next_item", "ndcg@10")]
    assert difference["variant"] == "with ratings" and difference["difference"] == pytest.approx(record["rows"][1]["figures"]["next_item/ndcg@10"] - record["rows"][0]["figures"]["next_item/ndcg@10"])
    assert table in (tmp_path / "docs" / "study.md").read_text() and "next_item/ndcg@10" in table
    kept = lambda: {path: path.stat().st_mtime_ns for pattern in ("*/recommender.json", "predictions/*.parquet") for path in (tmp_path / "work").glob(pattern)}  # noqa: E731
    before = kept()
    assert len(before) > 4 and main(arguments) == 0 and kept() == before  # neither trained nor asked again
