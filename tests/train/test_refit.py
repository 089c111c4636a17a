"""What stands behind a finished model is made anew and fitted on valid; the model itself stays, and what wants a training is refused."""

import json

import pytest
import yaml

from llmrec.config import load_settings
from llmrec.interactions import Corpus
from llmrec.predictions import Request
from llmrec.publishing import verify
from llmrec.recommender import Fitted, Recommender, save_recommender
from train.refit import main
from train.setup import settings_yaml


@pytest.fixture
def run(toy_parts, toy_tokenizer, toy_corpus, tmp_path):
    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    folder = tmp_path / "run"
    folder.mkdir()
    save_recommender(
        folder, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=toy_parts.content,
        card={"data_hash": Corpus.load(tmp_path / "corpus").data_hash, "temperatures": {"click": 9.0}}, kind="base",
    )
    (folder / "train_config.yaml").write_text(settings_yaml(load_settings("tiny", [f"data.corpus={tmp_path / 'corpus'}", f"output={folder}"])), encoding="utf-8")
    return folder


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_what_stands_behind_a_model_comes_and_goes_and_the_model_stays(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("train.calibrate.USERS_FOR_DRAFTS", 2)
    new, plain = tmp_path / "new", tmp_path / "plain"
    untouched = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([str(run), f"output={new}", "memory=true", "expectations=true", "consensus=true", "precedents=true", "threads=1"]) == 0
    said = json.loads(capsys.readouterr().out)
    verify(new)
    before, after = Recommender.from_pretrained(run), Recommender.from_pretrained(new)
    backing, fitted = after.combiner.backing, after.combiner.fitted
    assert backing.memory is not None and backing.expectations is not None and backing.precedents.keys() == {task for task, share in fitted.consensus.items() if share}
    assert fitted.shares == Fitted.of(said).shares and fitted.shares.keys() >= {"next_item", "search"} and fitted.temperatures.get("click") != 9.0 and fitted.consensus == said["consensus"]
    assert before.combiner.backing.memory is None and before.combiner.fitted.temperatures == {"click": 9.0}
    after.combiner.fitted = before.combiner.fitted
    asked = Request(id="q", history=(), k=5)
    assert after.predict([asked]) == before.predict([asked])
    assert yaml.safe_load((new / "train_config.yaml").read_text())["memory"] is True and untouched == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([str(new), f"output={plain}", "memory=false", "expectations=false", "consensus=false", "precedents=false"]) == 0
    assert {path.stem for path in plain.iterdir()}.isdisjoint({"memory", "expectations", "precedents"}) and Recommender.from_pretrained(plain).combiner.fitted.shares == {}


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_what_cannot_be_refitted_is_said(run, tmp_path, capsys):
    for more, sentence in ((["output=x", "pretrain.learning_rate=1"], "is for a training"), ([], "output is not set")):
        with pytest.raises(SystemExit) as ended:
            main([str(run), *more])
        assert ended.value.code == 2 and sentence in capsys.readouterr().err
    whole = (run / "train_config.yaml").read_text()
    (run / "train_config.yaml").write_text(whole.replace("fraction: 1.0", "fraction: 0.5"))
    assert main([str(run), f"output={tmp_path / 'x'}", "memory=true"]) == 3 and "are made of all" in capsys.readouterr().err
    (run / "train_config.yaml").write_text(whole)
    assert main([str(run), f"output={tmp_path / 'x'}", "precedents=true"]) == 3 and "consensus=true" in capsys.readouterr().err
    assert main([str(run), f"output={run}"]) == 2 and "exists" in capsys.readouterr().err
    card = json.loads((run / "recommender.json").read_text())
    (run / "recommender.json").write_text(json.dumps({**card, "data_hash": "other"}))
    assert main([str(run), f"output={tmp_path / 'x'}"]) == 3 and "other data" in capsys.readouterr().err
    (run / "train_config.yaml").unlink()
    with pytest.raises(SystemExit) as ended:
        main([str(run), f"output={tmp_path / 'x'}"])
    assert ended.value.code == 2 and "no train_config.yaml" in capsys.readouterr().err and not (tmp_path / "x").exists()
