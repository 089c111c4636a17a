"""The search of settings: its journal, where it goes on, what it keeps, and what it refuses."""

import json

import pytest

from train import tune
from train.tune import Search, load_search, main

SPACE = {"pretrain.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "model.width": [16, 32], "model.layers": {"low": 1, "high": 3, "whole": True}}


@pytest.fixture
def trainings(monkeypatch):
    """Trainings that take no time: the nearer the learning rate is to 1e-3, the better; three layers fail."""
    run = []

    def train(search, overrides, output, *, number, chosen):
        run.append(chosen)
        valid = {} if chosen["model.layers"] == 3 else {"rating/rmse": 1 + abs(chosen["pretrain.learning_rate"] - 1e-3)}
        if valid:
            (output / f"trial-{number:03d}").mkdir()
            (output / f"trial-{number:03d}" / "number").write_text(str(number))
        return {"trial": number, "settings": chosen, "criterion": valid.get("rating/rmse"), "valid": valid, "seconds": 0, "exit": 0 if valid else 7}

    monkeypatch.setattr(tune, "_train", train)
    return run


def test_a_search_is_logged_goes_on_and_keeps_the_best_model(trainings, tmp_path):
    search = Search(config="tiny", space=SPACE)
    first = tune.tune(search, [], tmp_path, trials=6, seed=0)
    assert len(trainings) == 6 and all(set(chosen) == set(SPACE) and 1e-4 <= chosen["pretrain.learning_rate"] <= 1e-2 for chosen in trainings)
    best = tune.tune(search, [], tmp_path, trials=20, seed=0)
    assert len(trainings) == 20 and best["criterion"] <= first["criterion"]
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [line["trial"] for line in lines] == list(range(20)) and [line["settings"] for line in lines] == trainings
    assert best == min((line for line in lines if line["valid"]), key=lambda line: line["criterion"])
    assert any(not line["valid"] for line in lines)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["best"] and (tmp_path / "best" / "number").read_text() == str(best["trial"])
    assert tune.tune(search, [], tmp_path, trials=20, seed=0) == best and len(trainings) == 20


def test_a_search_without_a_figure_says_where_to_look(trainings, tmp_path):
    with pytest.raises(ValueError, match="no trial of 2 ended with a figure; their logs"):
        tune.tune(Search(config="tiny", space={"model.layers": [3], "pretrain.learning_rate": [1e-3]}), [], tmp_path, trials=2, seed=0)


@pytest.mark.parametrize("name", [path.stem for path in sorted((tune.folder_of("train") / "searches").glob("*.yaml"))])
def test_every_shipped_search_varies_settings_that_exist(name):
    search = load_search(name)
    for key, choices in search.space.items():
        for value in choices if isinstance(choices, list) else (choices.low, choices.high):
            tune.load_settings(search.config, ["data.corpus=a", "output=b", f"{key}={tune._text(int(value) if getattr(choices, 'whole', False) else value)}"])


def test_what_is_no_search_is_refused(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("config: tiny\nspace: {model.widht: [16]}\n")
    assert main(["--search", str(tmp_path / "a.yaml"), "data.corpus=a", "output=b"]) == 3
    assert "unknown key model.widht; did you mean width" in capsys.readouterr().err
    assert main(["--search", "nothing", "data.corpus=a", "output=b"]) == 2
    assert "there is no search 'nothing'; shipped: collm-ml1m" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trial_is_a_training(tmp_path):
    from llmrec.prepare import main as prepare

    rows = "\n".join(f"u{user},i{(user + n) % 12},{n}" for user in range(24) for n in range(8))
    (tmp_path / "log.csv").write_text(f"user_id,item_id,timestamp\n{rows}\n")
    assert prepare(["table", "--interactions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "corpus")]) == 0
    (tmp_path / "search.yaml").write_text("config: tiny\nspace: {pretrain.learning_rate: [1.0e-3, 1.0e-2]}\n")
    overrides = ["--trials", "2", f"data.corpus={tmp_path / 'corpus'}", f"output={tmp_path / 'tune'}", "pretrain.max_steps=3", "pretrain.tasks={next_item: 1.0}", "threads=1"]
    assert main(["--search", str(tmp_path / "search.yaml"), *overrides]) == 0
    lines = [json.loads(line) for line in (tmp_path / "tune" / "trials.jsonl").read_text().splitlines()]
    assert [line["exit"] for line in lines] == [0, 0] and all("next_item/ndcg@10" in line["valid"] for line in lines)
    assert (tmp_path / "tune" / "best" / "recommender.json").is_file()
