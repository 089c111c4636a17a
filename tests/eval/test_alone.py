"""Tasks learned together against each alone: what is trained, what is measured, and which way a gain points."""

import json

import numpy as np
import pytest

from eval.alone import main
from eval.studies import gains
from eval.suite import Suite
from llmrec.predictions import Prediction
from llmrec.timelines import Timelines


class Rater:
    """Rates every item the same; lists the catalogue from one end."""

    tasks = ("rating", "next_item")

    def __init__(self, value, items):
        self.value, self.items = value, items

    def predict(self, requests):
        answer = lambda r: {"value": self.value} if r.task == "rating" else {"item_ids": self.items[: r.k], "scores": np.linspace(0, -1, len(self.items[: r.k])).tolist()}  # noqa: E731
        return [Prediction(r.id, r.task, **answer(r)) for r in requests]


def test_a_gain_is_positive_where_the_joint_model_is_better(toy_corpus, tmp_path):
    items = list(toy_corpus.catalog.item_ids)
    models = {"joint-0": Rater(3.0, items), "joint-1": Rater(3.5, items), "rating-0": Rater(5.0, items), "rating-1": Rater(5.0, items), "next_item-0": Rater(1.0, items), "next_item-1": Rater(1.0, items)}
    rows, first = (gains(Suite(part="valid", resamples=50), Timelines.of(toy_corpus), ["next_item", "rating"], models.__getitem__, joint="joint", seeds=seeds, folder=tmp_path) for seeds in ([0, 1], [0]))
    by = {(row["task"], row["metric"], row["filter"]): row for row in rows}
    rmse = by["rating", "rmse", None]
    assert rmse["joint"] < rmse["alone"] and rmse["difference"] == pytest.approx(rmse["joint"] - rmse["alone"]) and rmse["gain"] == pytest.approx(-100 * rmse["difference"] / rmse["alone"])
    assert rmse["gain"] > 0 and rmse["low"] <= rmse["difference"] <= rmse["high"]
    assert by["next_item", "ndcg@10", "on"]["difference"] == 0  # the same lists
    alone = next(row for row in first if row["metric"] == "rmse")
    assert alone["spread"] is None and by["next_item", "ndcg@10", "on"]["spread"] == 0
    second = 2 * rmse["difference"] - alone["difference"]  # the mean over both seeds tells it
    assert rmse["spread"] == pytest.approx(abs(alone["difference"] - second) / 2**0.5)


@pytest.mark.slow
def test_each_task_is_trained_alone_and_jointly_and_a_stopped_comparison_goes_on(toy_corpus, tmp_path, capfd):
    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    arguments = [
        "--config", "tiny", "--phase", "pretrain", "--joint", "pretrain.max_steps=5", "--out", str(tmp_path / "docs" / "study"), "--work", str(tmp_path / "out"), f"data.corpus={tmp_path / 'corpus'}", "precision=fp32", "model.width=32", "model.mlp_width=64",
        "pretrain.tasks={next_item: .5, rating: .3, item_card: .1, purchase: .1}", "pretrain.epochs=0.01", "pretrain.max_steps=4", "pretrain.batch_tokens=512", "pretrain.validation.limit=5",
    ]
    assert main(arguments) == 0
    record = json.loads((tmp_path / "docs" / "study.json").read_text())
    assert [json.loads((tmp_path / "out" / f"{name}-0" / "recommender.json").read_text())["steps"] for name in ("joint", "rating", "next_item")] == [5, 4, 4]  # however few an epoch has
    assert {row["task"] for row in record["rows"]} == {"next_item", "rating"} and record["tokens"] == {"joint": 5 * 512, "next_item": 4 * 512, "rating": 4 * 512} and record["joint_cost"] == 5 / 8  # nothing was bought
    assert json.loads((tmp_path / "out" / "rating-0" / "recommender.json").read_text())["tasks"] == ["rating"]
    table = capfd.readouterr().out
    assert "| rating | rmse |" in table and table in (tmp_path / "docs" / "study.md").read_text()
    kept = lambda: {path: path.stat().st_mtime_ns for pattern in ("*/recommender.json", "predictions/*.parquet") for path in (tmp_path / "out").glob(pattern)}  # noqa: E731
    before = kept()
    assert len(before) > 3 and main(arguments) == 0 and kept() == before  # neither trained nor asked again


def test_what_is_wrong_is_said_before_anything_is_trained(toy_corpus, tmp_path, capsys):
    assert main(["--config", "nosuch", "--out", str(tmp_path)]) == 2
    assert "nosuch" in capsys.readouterr().err
    assert main(["--config", "amazon-beauty", "--phase", "pretrain", "--out", str(tmp_path), "data.corpus=c"]) == 2
    assert "pretrain.max_steps=N" in capsys.readouterr().err
    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    assert main(["--config", "tiny", "--phase", "pretrain", "--out", str(tmp_path / "study"), f"data.corpus={tmp_path / 'corpus'}", "pretrain.tasks={item_card: 1}"]) == 2
    assert "trains no task" in capsys.readouterr().err
