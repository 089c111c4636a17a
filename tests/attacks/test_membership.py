"""Whether a model tells whom it was trained on: the attacks on scores whose answer is known, the study end to end, and what a model of the small world gives away."""

import json

import numpy as np
import polars as pl
import pytest

from eval.attacks import attacks, questions, signals_of, told_apart
from eval.membership import main
from llmrec import prepare
from llmrec.predictions import Prediction
from llmrec.timelines import Timelines
from tests.attacks.conftest import log_of, titles_of

USERS, ITEMS, EVENTS = 6400, 150, 14


def test_a_model_that_knows_its_users_is_found_out_and_one_that_does_not_is_not():
    rng = np.random.default_rng(0)
    users = [f"u{n}" for n in range(600)]
    members = {seed: frozenset(rng.choice(users, 300, replace=False).tolist()) for seed in range(3)}
    hard = {user: rng.normal(0, 3) for user in users}

    def found(gain):
        signals = {seed: {user: (hard[user] + gain * (user in members[seed]) + rng.normal(0, 0.1), float(rng.normal())) for user in users} for seed in members}
        return {(row["attack"], row["metric"]): row for row in attacks(signals, members, resamples=100)}

    none, some = found(0.0), found(1.0)
    for attack in ("loss", "rank", "reference"):
        assert abs(none[attack, "auc"]["mean"] - 0.5) < 0.05 and none[attack, "found"]["mean"] < 0.05
    # How hard a user is hides it from who looks at one model alone.
    assert 0.55 < some["loss", "auc"]["mean"] < 0.7 and some["loss", "found"]["mean"] < 0.1
    assert some["reference", "auc"]["mean"] > 0.99 and some["reference", "found"]["mean"] > 0.95 and abs(some["rank", "auc"]["mean"] - 0.5) < 0.05
    row = some["loss", "auc"]
    assert row["low"] < row["mean"] < row["high"] < row["low"] + 0.2 and row["members"] == row["others"] == 900
    assert some["reference", "auc"]["members"] < 900  # some are known to both other models
    halves = {0: frozenset(users[:300]), 1: frozenset(users[:300])}  # nobody of them is unknown to the other model
    signals = {seed: {user: (0.0, 0.0) for user in users} for seed in halves}
    assert {row["attack"] for row in attacks(signals, halves, resamples=5)} == {"loss", "rank"}


def test_scores_are_told_apart_by_hand():
    assert told_apart([1, 1], [1, 1]) == (0.5, 0.0) and told_apart([2, 2], [1, 1]) == (1.0, 1.0) and told_apart([0, 0], [1, 1]) == (0.0, 0.0)
    others = np.arange(100)
    assert told_apart([98.5, 99.5], others)[1] == 1.0 and told_apart([97.5, 98.0, 98.5, 99.0], others)[1] == 0.5  # one of a hundred is above


def test_what_is_asked_is_how_a_user_of_train_went_on(toy_corpus):
    asked = questions(Timelines.of(toy_corpus), events=2, users=5, seed=0)
    assert len(asked) == 5 and all(len(own) == 2 for own in asked.values())
    frame = toy_corpus.interactions.frame
    for user, own in asked.items():
        mine = frame.filter((pl.col("user_id") == user) & (pl.col("part") == "train"))["item_id"].to_list()
        assert [example.target for example in own] == mine[-2:] and [len(example.request.history) for example in own] == [len(mine) - 2, len(mine) - 1]

    class Model:
        tasks = ("next_item",)

        def predict(self, requests):
            given = ["i0", "i1", "i2"]
            return [Prediction(item_ids=list(request.include) if request.include else given, scores=[-2.0] if request.include else [-1.0, -2.0, -3.0]) for request in requests]

    signals = signals_of(Model(), asked)
    user, own = next(iter(asked.items()))
    ranks = [["i0", "i1", "i2"].index(example.target) + 1 if example.target in ("i0", "i1", "i2") else 4 for example in own]
    assert signals[user] == pytest.approx((-2.0, -np.log(ranks).mean()))


def _prepared(folder, users):
    log_of(users, ITEMS, EVENTS, seed=1).write_csv(folder / "log.csv")
    pl.DataFrame({"item_id": [f"i{n}" for n in range(ITEMS)], "title": titles_of(ITEMS)}).write_csv(folder / "items.csv")
    assert prepare.main(["table", "--interactions", str(folder / "log.csv"), "--items", str(folder / "items.csv"), "--out", str(folder / "corpus")]) == 0
    return ["--config", "tiny", f"data.corpus={folder / 'corpus'}", "precision=fp32", "threads=1", "pretrain.tasks={next_item: 1.0}", "--work", str(folder / "work")]


def test_usage(tmp_path, capsys):
    for told in (["--seeds", "0"], ["--seeds", "0", "0"], ["--events", "0"]):
        with pytest.raises(SystemExit) as ended:
            main(["--config", "tiny", "--out", str(tmp_path / "m"), f"data.corpus={tmp_path}", *told])
        assert ended.value.code == 2
    assert main(["--config", "tiny", "--out", str(tmp_path / "m"), f"data.corpus={tmp_path}"]) == 2 and "not a prepared corpus" in capsys.readouterr().err
    assert main(["--config", "tiny", "--out", str(tmp_path / "m"), f"data.corpus={tmp_path}", "memory=true"]) == 2 and "made of all" in capsys.readouterr().err
    assert main(["--config", "tiny", "--out", str(tmp_path / "m"), f"data.corpus={tmp_path}", "pretrain.tasks={click: 1.0}"]) == 2 and "no next_item but click" in capsys.readouterr().err


@pytest.mark.slow
def test_the_study_from_end_to_end(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    corpus = _prepared(tmp_path, 120)
    capfd.readouterr()
    told = [*corpus, "--seeds", "0", "1", "--users", "100", "--events", "2", "--out", str(tmp_path / "docs" / "membership"), "pretrain.max_steps=4", "model.width=32", "model.mlp_width=64"]
    assert main(told) == 0
    record = json.loads((tmp_path / "docs" / "membership.json").read_text())
    assert {(row["attack"], row["metric"]) for row in record["rows"]} == {(attack, metric) for attack in ("loss", "rank", "reference") for metric in ("auc", "found")}
    assert all(0 <= row["low"] <= row["mean"] <= row["high"] <= 1 for row in record["rows"]) and record["rows"][0]["members"] + record["rows"][0]["others"] == 200
    table = capfd.readouterr().out
    assert "| reference | 0." in table and table in (tmp_path / "docs" / "membership.md").read_text()
    before = (tmp_path / "work" / "half-0" / "recommender.json").stat().st_mtime_ns
    assert main(told) == 0 and (tmp_path / "work" / "half-0" / "recommender.json").stat().st_mtime_ns == before


@pytest.mark.nightly
def test_a_model_of_the_small_world_gives_nobody_away(tmp_path, monkeypatch, counted):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    def found(users, folder, *settings):
        folder.mkdir()
        assert main([*_prepared(folder, users), "pretrain.epochs=1000", "pretrain.max_steps=300", *settings, "--out", str(folder / "membership")]) == 0
        print((folder / "membership.md").read_text())
        return json.loads((folder / "membership.json").read_text())["rows"]

    # As such data want it: rows of content alone, dropout, and the step that valid chooses.
    rows = found(USERS, tmp_path / "well", "content.learned=false", "model.embedding_dropout=.5", "model.residual_dropout=.5", "pretrain.learning_rate=1e-3", "pretrain.validation.every_steps=20")
    valid = json.loads((tmp_path / "well" / "work" / "half-0" / "recommender.json").read_text())["valid"]["next_item/ndcg@10"]
    assert valid > 0.2  # it has learned: by chance it would be .03
    over = [row for row in rows if row["mean"] > {"auc": 0.55, "found": 0.02}[row["metric"]]]
    counted("Attacks on membership above an auc of .55, or above 2 members in a hundred at 1 false alarm in a hundred", len(over), len(rows))
    assert not over
    # Few users, known by heart, are found out.
    assert max(row["mean"] for row in found(USERS // 16, tmp_path / "badly", "pretrain.validation.every_steps=300", "--seeds", "0", "1") if row["metric"] == "auc") > 0.8
