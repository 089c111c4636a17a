"""The study of widths and fractions: every training once, what each is told, and what is written."""

import json

import pytest

from eval import scaling
from eval import trainings as once
from llmrec.splits import some_users


@pytest.fixture
def trainings(monkeypatch):
    told = []

    def run_training(phase, config, settings, *, log):
        told.append({key: value for key, _, value in (setting.partition("=") for setting in settings)})
        width, fraction = int(told[-1]["model.width"]), float(told[-1]["data.fraction"])
        output = once.Path(told[-1]["output"])
        output.mkdir(parents=True)
        return (7, {}) if width == 13 else (0, {"valid": {"next_item/ndcg@10": width * fraction / 1000}, "steps": 300})

    monkeypatch.setattr(once, "run_training", run_training)
    monkeypatch.setattr(once, "_parameters", lambda folder: 1000)
    return told


def test_each_pair_is_trained_once_and_plotted(trainings, tmp_path, capsys):
    arguments = ["--config", "amazon-beauty", "--widths", "64", "192", "--fractions", "0.5", "1", "--out", str(tmp_path / "docs" / "scaling"), "--work", str(tmp_path / "work"), "data.corpus=c", "memory=false", "pretrain.max_steps=300"]
    assert scaling.main(arguments) == 0
    assert [(told["model.width"], told["data.fraction"], told["model.mlp_width"], told["model.heads"]) for told in trainings] == [
        ("64", "0.5", "256", "1"), ("64", "1.0", "256", "1"), ("192", "0.5", "768", "3"), ("192", "1.0", "768", "3"),
    ]
    assert all(told["data.corpus"] == "c" for told in trainings)
    assert all((told["pretrain.max_steps"], float(told["pretrain.epochs"]), told["pretrain.validation.every_steps"], told["pretrain.validation.patience"]) == ("300", 1e6, "20", "16") for told in trainings)  # as many steps, however small the data
    record = json.loads((tmp_path / "docs" / "scaling.json").read_text())
    assert [(row["width"], row["fraction"], row["valid"]["next_item/ndcg@10"]) for row in record["rows"]] == [(64, 0.5, 0.032), (64, 1.0, 0.064), (192, 0.5, 0.096), (192, 1.0, 0.192)]
    figure = (tmp_path / "docs" / "scaling.svg").read_text()
    assert figure.startswith("<svg") and "64 wide" in figure and "192 wide" in figure and "next_item/ndcg@10 on valid" in figure
    page = (tmp_path / "docs" / "scaling.md").read_text()
    assert "| 192 | 1,000 | 0.5 | 300 | 0.0960 |" in page and "--widths 64 192" in page and "(scaling.svg)" in page
    assert capsys.readouterr().out in page
    assert scaling.main(arguments) == 0 and len(trainings) == 4
    assert scaling.main([*arguments, "seed=1"]) == 0 and len(trainings) == 8  # other settings are another study


def test_a_training_that_fails_ends_the_study(trainings, tmp_path, capsys):
    arguments = ["--config", "amazon-beauty", "--widths", "13", "--fractions", "1", "--out", str(tmp_path / "s"), "--work", str(tmp_path / "work"), "data.corpus=c", "memory=false", "pretrain.max_steps=300"]
    assert scaling.main([each for each in arguments if "max_steps" not in each]) == 2 and "pretrain.max_steps=N" in capsys.readouterr().err
    assert scaling.main(arguments) == 7 and not (tmp_path / "s.json").exists() and (tmp_path / "work" / "13-1").is_dir()  # what stands there is not ours to remove
    assert "width 13 on 1 of the users ended with 7" in capsys.readouterr().err
    trained = len(trainings)
    arguments[arguments.index("1") : arguments.index("1") + 1] = ["1", "0.5"]
    assert scaling.main([each for each in arguments if each != "memory=false"]) == 2 and len(trainings) == trained and "made of all" in capsys.readouterr().err  # before the first training
    arguments[arguments.index("0.5")] = "2"
    assert scaling.main(arguments) == 2 and "data.fraction" in capsys.readouterr().err


def test_a_broken_off_training_leaves_no_record_of_another(trainings, tmp_path, monkeypatch):
    first, second = (["data.corpus=c", "model.width=64", "data.fraction=1", f"seed={seed}"] for seed in (0, 1))
    output = tmp_path / "one"
    assert once.train_once("pretrain", "tiny", first, output)[0] == 0 and (tmp_path / "one.json").is_file()
    assert once.train_once("pretrain", "tiny", first, output)[0] == 0 and len(trainings) == 1

    def killed(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(once, "run_training", killed)
    with pytest.raises(KeyboardInterrupt):
        once.train_once("pretrain", "tiny", second, output)
    assert not (tmp_path / "one.json").exists()


@pytest.mark.parametrize("steps", [1, 4, 15, 29, 44, 1500])
def test_no_patience_ends_a_training_that_is_compared(steps):
    told = dict(setting.split("=") for setting in once.as_long("pretrain", steps))
    assert steps / int(told["pretrain.validation.every_steps"]) < int(told["pretrain.validation.patience"])


def test_another_base_is_another_training(tmp_path):
    (tmp_path / "base").mkdir()
    told = []
    for weights in (b"a", b"b"):
        (tmp_path / "base" / "model.safetensors").write_bytes(weights)
        told.append(once._told("finetune", "tiny", ["data.corpus=c", f"model.base={tmp_path / 'base'}"], tmp_path / "out"))
    assert told[0] != told[1] and json.loads(json.dumps(told[0])) == told[0]


def test_a_fraction_is_of_users_and_nested_in_larger_ones(toy_corpus):
    users = [set(some_users(toy_corpus, fraction, 0).interactions.frame["user_id"]) for fraction in (0.01, 0.25, 0.5, 1.0)]
    assert [len(found) for found in users] == [2, 6, 12, 24]
    assert users[0] < users[1] < users[2] < users[3]
    assert some_users(toy_corpus, 0.25, 1).interactions.frame["user_id"].unique().to_list() != sorted(users[1])
