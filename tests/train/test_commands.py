"""The commands as they are launched: from a corpus to answers with every index, one process and two, stopped and gone on, and what is wrong said in a sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from torch import nn

from llmrec.config import load_settings
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.predictions import Request
from llmrec.publishing import publish
from llmrec.recommender import Recommender
from train import finetune, pretrain
from train.checkpoint import Checkpoints, Progress
from train.processes import start
from train.setup import fingerprint_of

ROOT = Path(__file__).parents[2]
PLAIN = [sys.executable, "-m"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
FAST = ["precision=fp32", "threads=1", "model.width=32", "model.mlp_width=64", "pretrain.batch_tokens=512", "finetune.batch_tokens=512"]


@pytest.fixture(scope="module")
def corpus(toy_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "corpus"
    folder.mkdir()
    toy_corpus.save(folder)
    return folder


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}


def run(launcher, *arguments, code=0, stdin=""):
    done = subprocess.run([*launcher, *map(str, arguments)], input=stdin, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300)
    assert done.returncode == code, f"exit {done.returncode}, expected {code}\n{done.stderr[-3000:]}"
    return done


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


# --- the whole way -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "launcher", "more"), [("atomic", ACCELERATE, ()), ("semantic", PLAIN, ()), ("title", PLAIN, ()), ("atomic", PLAIN, ("content.collaborative=4", "expectations=true"))],
)
def test_a_corpus_becomes_answers(corpus, tmp_path, index, launcher, more):
    base, model = tmp_path / "base", tmp_path / "model"
    shared = ["--config", "tiny", *FAST, f"data.corpus={corpus}", f"index={index}", *more]
    done = run(launcher, "train.pretrain", *shared, f"output={base}", "pretrain.max_steps=10")
    assert json.loads(done.stdout) == {"output": str(base), "steps": 10, "valid": {"next_item/ndcg@10": 0.0}}  # nothing new is left to choose once a user's seen items are out
    assert (base / "config.json").is_file() and list(base.glob("*.safetensors"))
    run(launcher, "train.finetune", *shared, f"model.base={base}", f"output={model}", "finetune.max_steps=10")
    assert (model / "adapter_config.json").is_file() and (model / "adapter_model.safetensors").is_file() and (model / "prompts" / "rating.yaml").is_file()
    assert (model / "expectations.json").is_file() == ("expectations=true" in more)
    assert json.loads((model / "recommender.json").read_text())["index"] == index and sorted(path.name for path in tmp_path.iterdir()) == ["base", "model"]
    asked = [{"id": "a", "history": ["i1", "i3"], "k": 30}, {"id": "b", "task": "rating", "item_id": "i2"}, {"id": "c", "task": "search", "query": "quiet", "k": 2}, {"id": "d", "task": "click", "item_id": "i2"}]
    done = run(PLAIN, "llmrec.generate", model, stdin="".join(json.dumps(request) + "\n" for request in asked))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    items = [item["item_id"] for item in found[0]["items"]]
    assert sorted(items) == sorted({f"i{n}" for n in range(12)} - {"i1", "i3"})
    assert 1 <= found[1]["value"] <= 5 and len(found[2]["items"]) == 2 and 0 < found[3]["probability"] < 1


@pytest.mark.slow
def test_a_fraction_of_the_users_with_what_is_made_of_all_is_refused(corpus, tmp_path):
    shared = ["--config", "tiny", *FAST, f"data.corpus={corpus}", f"output={tmp_path / 'base'}", "data.fraction=0.5"]
    refused = run(PLAIN, "train.pretrain", *shared, "memory=true", code=2)
    assert "data.fraction=0.5 learns from a part of the users" in refused.stderr and not (tmp_path / "base").exists()
    run(PLAIN, "train.pretrain", *shared, "pretrain.max_steps=2")


@pytest.mark.slow
def test_pretraining_goes_on_from_a_base_with_further_tasks(corpus, tmp_path):
    shared = ["--config", "tiny", *FAST, f"data.corpus={corpus}", "pretrain.average=0", "pretrain.warmup_steps=0"]
    run(PLAIN, "train.pretrain", *shared, f"output={tmp_path / 'base'}", "pretrain.tasks={next_item: 1}", "pretrain.max_steps=10", "pretrain.learning_rate=0.01")
    onward = [*shared, f"model.base={tmp_path / 'base'}", "pretrain.tasks={next_item: 1, search: 1}"]
    run(PLAIN, "train.pretrain", *onward, f"output={tmp_path / 'same'}", "pretrain.max_steps=1", "pretrain.learning_rate=1e-12")
    run(PLAIN, "train.pretrain", *onward, f"output={tmp_path / 'more'}", "pretrain.max_steps=10", "pretrain.learning_rate=0.01")
    asked = Request(history=(Event("i1"), Event("i3")), k=10)
    base, same, more = (Recommender.from_pretrained(tmp_path / name) for name in ("base", "same", "more"))
    known, kept, changed = (dict(zip(found.item_ids, found.scores)) for [found] in (model.predict([asked]) for model in (base, same, more)))
    assert kept == pytest.approx(known, abs=1e-4) and changed != pytest.approx(known, abs=1e-2)
    assert base.predict([replace(asked, task="search", query="quiet")])[0].error and more.predict([replace(asked, task="search", query="quiet")])[0].error is None
    assert more.model.vocabulary_size == base.model.vocabulary_size and (tmp_path / "more" / "item_index.json").read_bytes() == (tmp_path / "base" / "item_index.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["static", "uncertainty", "pcgrad"])
def test_two_processes_compute_the_steps_of_one(corpus, tmp_path, balance):
    shared = ["train.pretrain", "--config", "tiny", *FAST, f"data.corpus={corpus}", "pretrain.max_steps=40", "pretrain.epochs=100", f"pretrain.balance={balance}"]
    run(PLAIN, *shared, f"output={tmp_path / 'one'}")
    run(TORCHRUN, *shared, f"output={tmp_path / 'two'}", "processes=2")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == list(two) == [20, 40]
    for step in one:
        assert two[step] == pytest.approx(one[step], rel=1e-3)
    done = run(PLAIN, "llmrec.generate", tmp_path / "two", "--task", "next_item", "--k", "5")
    assert len(json.loads(done.stdout)["items"]) == 5


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [PLAIN, ["2" if part == "1" and before == "--num_processes" else part for before, part in zip(["", *ACCELERATE], ACCELERATE)]], ids=["python", "accelerate"])
def test_one_process_where_two_are_meant_is_no_silent_half(corpus, tmp_path, launcher):
    """accelerate's own launcher starts one process on a CPU whatever number it is told."""
    done = subprocess.run(
        [*launcher, "train.pretrain", "--config", "tiny", f"data.corpus={corpus}", f"output={tmp_path / 'base'}", "processes=2"],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300,
    )
    assert "1 process(es) run, processes=2 are meant" in done.stderr and not (tmp_path / "base").exists()
    assert done.returncode == 2 if launcher is PLAIN else done.returncode != 0


# --- stopped -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unbroken(corpus, tmp_path_factory):
    """A run with every dropout there is: how it is launched, and what it left."""
    folder = tmp_path_factory.mktemp("unbroken") / "base"
    arguments = [
        "train.pretrain", "--config", "tiny", *FAST, f"data.corpus={corpus}", "pretrain.max_steps=100", "pretrain.epochs=1000", "checkpoint_steps=15",
        "model.embedding_dropout=0.2", "model.residual_dropout=0.2", "model.attention_dropout=0.1",
    ]
    run(PLAIN, *arguments, f"output={folder}")
    return arguments, folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on_by_the_same_command_to_the_same_bits(unbroken, tmp_path, number):
    arguments, whole = unbroken
    process = subprocess.Popen([*PLAIN, *arguments, f"output={tmp_path / 'stopped'}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
    log = tmp_path / "stopped.run" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and '"step": 20' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-2000:]
        time.sleep(0.02)
    process.send_signal(number)
    asked = time.monotonic()
    _, talk = process.communicate(timeout=60)
    assert time.monotonic() - asked < 20
    assert process.returncode == (-9 if number == signal.SIGKILL else 143) and "Traceback" not in talk
    assert not (tmp_path / "stopped").exists() and list((tmp_path / "stopped.run" / "checkpoints").glob("step-*"))
    if number != signal.SIGKILL:
        assert "the same command goes on from here" in talk
    done = run(PLAIN, *arguments, f"output={tmp_path / 'stopped'}")
    assert "resuming at step" in done.stderr and not (tmp_path / "stopped.run").exists()
    assert losses(tmp_path / "stopped") == losses(whole)
    for name in ("model.safetensors", "item_rows.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (whole / name).read_bytes()


# --- what is wrong -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(capsys, monkeypatch):
    """Runs a command's main in this process; gives its exit code and what it said, which is never a traceback."""
    monkeypatch.delenv("LLMREC_DEBUG", raising=False)

    def call(main, *arguments):
        try:
            code = main(["--config", "tiny", *FAST, *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err and said.out == ""
        return code, said.err

    return call


def test_wrong_keys_and_values_are_refused_before_anything_is_loaded(refused, corpus, tmp_path):
    for override, sentence in (
        ("pretrain.step=3", "unknown key pretrain.step"), ("outptu=3", "did you mean output?"), ("seed=three", "seed is"), ("nothing", "expected key=value"), ("model.base={", "is not YAML"),
    ):
        code, said = refused(pretrain.main, f"data.corpus={corpus}", f"output={tmp_path / 'base'}", override)
        assert code == 2 and sentence in said and said.startswith("train.pretrain: ")
    code, said = refused(finetune.main, f"output={tmp_path / 'base'}")
    assert code == 2 and "data.corpus is not set" in said
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_left_alone(refused, corpus, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "thesis.tex").write_text("dear")
    for overwrite, sentence in (("false", "overwrite=true"), ("true", "it was not made here and is not replaced")):
        code, said = refused(pretrain.main, f"data.corpus={corpus}", f"output={tmp_path / 'base'}", f"overwrite={overwrite}")
        assert code == 2 and sentence in said
    assert (tmp_path / "base" / "thesis.tex").read_text() == "dear"


def test_a_corpus_that_is_none_is_named(refused, corpus, tmp_path):
    code, said = refused(pretrain.main, f"data.corpus={tmp_path}", f"output={tmp_path / 'base'}")
    assert code == 2 and "is not a prepared corpus" in said and "llmrec.prepare" in said


def test_a_damaged_corpus_is_bad_data(refused, toy_corpus, tmp_path):
    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    with open(tmp_path / "corpus" / "interactions.parquet", "ab") as file:
        file.write(b"\x00")
    code, said = refused(pretrain.main, f"data.corpus={tmp_path / 'corpus'}", f"output={tmp_path / 'base'}")
    assert code == 3 and "interactions.parquet is not the file its manifest names" in said


def bare(toy_corpus, folder, **changes):
    """A corpus of the toy world with less in it."""
    log = toy_corpus.interactions
    frame = log.frame.select("user_id", "item_id", "position", "event", "part").with_columns(**changes)
    folder.mkdir()
    replace(toy_corpus, interactions=Interactions(frame, ordering="order"), rating_scale=(), like_threshold=None).save(folder)
    return folder


def test_a_corpus_without_a_wanted_task_says_so_and_one_without_any_is_refused(refused, toy_corpus, tmp_path, caplog):
    folder = bare(toy_corpus, tmp_path / "corpus")
    caplog.set_level("INFO")
    code, said = refused(pretrain.main, f"data.corpus={folder}", f"output={tmp_path / 'base'}", "pretrain.tasks={rating: 0.5, click: 0.5}")
    assert code == 3 and "none of the tasks rating, click can be trained" in said
    assert "'rating' needs ratings" in caplog.text and "'click' needs" in caplog.text
    for tasks, words in (("{ratings: 1}", "unknown task 'ratings'"), ("{next_item: 0}", "none of the tasks next_item")):
        code, said = refused(pretrain.main, f"data.corpus={folder}", f"output={tmp_path / 'base'}", f"pretrain.tasks={tasks}")
        assert code in (2, 3) and words in said
    assert not (tmp_path / "base").exists()


def test_a_corpus_with_nothing_in_train_is_refused(refused, toy_corpus, tmp_path):
    folder = bare(toy_corpus, tmp_path / "corpus", part=pl.lit("test"))
    code, said = refused(pretrain.main, f"data.corpus={folder}", f"output={tmp_path / 'base'}", "pretrain.tasks={next_item: 1}")
    assert code == 3 and "none of the tasks next_item" in said


@pytest.mark.parametrize(("kept", "words"), [({"user_id": ["u0"]}, "train has 1 user(s)"), ({"item_id": ["i0"]}, "the catalogue 1 item(s)")], ids=["one user", "one item"])
def test_a_corpus_of_one_user_or_one_item_is_refused_before_a_model_is_made(refused, toy_corpus, tmp_path, monkeypatch, kept, words):
    frame = toy_corpus.interactions.frame
    for name, values in kept.items():
        frame = frame.filter(pl.col(name).is_in(values))
    catalog = Catalog(toy_corpus.catalog.frame.filter(pl.col("item_id").is_in(frame["item_id"].unique().to_list())))
    (tmp_path / "corpus").mkdir()
    replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=frame), catalog=catalog).save(tmp_path / "corpus")
    monkeypatch.setattr("llmrec.bases.create_base", lambda *arguments, **settings: pytest.fail("a model is made"))
    code, said = refused(pretrain.main, f"data.corpus={tmp_path / 'corpus'}", f"output={tmp_path / 'base'}")
    assert code == 3 and words in said and "fewer than two of each" in said


def test_finetune_needs_a_trained_base(refused, corpus, tmp_path):
    code, said = refused(finetune.main, f"data.corpus={corpus}", f"output={tmp_path / 'model'}")
    assert code == 3 and "run train.pretrain first" in said
    code, said = refused(finetune.main, f"data.corpus={corpus}", f"output={tmp_path / 'model'}", f"model.base={tmp_path / 'gone'}")
    assert code == 2 and "gone" in said


@pytest.mark.parametrize("command", [pretrain, finetune])
def test_a_damaged_base_is_a_bad_model(refused, corpus, toy_llama, toy_tokenizer, tmp_path, command):
    base = tmp_path / "base"
    with publish(base, hashes=True) as folder:
        toy_llama.save_pretrained(folder), toy_tokenizer.save_pretrained(folder)
    weights = base / "model.safetensors"
    flipped = bytearray(weights.read_bytes())
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    code, said = refused(command.main, f"data.corpus={corpus}", f"output={tmp_path / 'model'}", f"model.base={base}")
    assert code == 4 and "model.safetensors is not the file that was published" in said and not (tmp_path / "model.run").exists()


def test_a_validation_metric_that_is_none_is_refused_before_the_first_step(refused, corpus, tmp_path):
    for metric, words in (("ndcg@10", "expected TASK/METRIC"), ("nextitem/ndcg@10", "expected TASK/METRIC"), ("next_item/ndgc@10", "next_item is judged by: recall@1,"), ("rating/ndcg@10", "rating is judged by: rmse, mae"), ("explanation/distinct1", "judged by: bleu4")):
        code, said = refused(
            pretrain.main, f"data.corpus={corpus}", f"output={tmp_path / 'base'}", "pretrain.tasks={next_item: 1}", "pretrain.max_steps=1", f"pretrain.validation.metric={metric}",
        )
        assert code == 3 and words in said and not (tmp_path / "base.run").exists()


@pytest.mark.parametrize(("changes", "words"), [(["content.rows=false"], "set content.rows=true"), (["index=title"], "set index=atomic")])
def test_collaborative_vectors_need_content_rows_of_single_items(refused, corpus, tmp_path, changes, words):
    code, said = refused(pretrain.main, f"data.corpus={corpus}", f"output={tmp_path / 'base'}", "content.collaborative=4", "pretrain.tasks={next_item: 1}", *changes)
    assert code == 3 and words in said


@pytest.mark.slow
def test_a_metric_of_a_task_that_is_not_trained_chooses_no_step(corpus, tmp_path, caplog, monkeypatch):
    """Every answer would be a refusal, and the first step the best."""
    caplog.set_level("INFO")
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)  # the handlers of this process stay its own
    shared = ["--config", "tiny", *FAST, f"data.corpus={corpus}", "pretrain.max_steps=4", "pretrain.validation.every_epochs=0.01"]
    assert pretrain.main([*shared, f"output={tmp_path / 'base'}"]) == 0
    assert finetune.main([*shared, f"output={tmp_path / 'model'}", f"model.base={tmp_path / 'base'}", "tasks={rating: 1}", "finetune.max_steps=3"]) == 0
    assert "no validation by next_item/ndcg@10: next_item is not among the trained tasks (rating)" in caplog.text
    about = json.loads((tmp_path / "model" / "recommender.json").read_text())
    assert about["valid"] == {} and about["steps"] == 3 and about["tasks"] == ["rating"]


def test_a_checkpoint_of_other_settings_is_refused_with_both_values(refused, corpus, tmp_path):
    arguments = [f"data.corpus={corpus}", f"output={tmp_path / 'base'}", "pretrain.max_steps=2", "pretrain.tasks={next_item: 1}"]
    settings = load_settings("tiny", [*FAST, *arguments])
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoints = Checkpoints(tmp_path / "base.run" / "checkpoints", fingerprint_of(settings, Corpus.load(corpus), start(settings)))
    checkpoints.save(Progress(step=1), dict(model.named_parameters()), optimizer, {}, {})
    code, said = refused(pretrain.main, *arguments, "pretrain.learning_rate=0.5")
    assert code == 4 and "pretrain.learning_rate: 0.003 -> 0.5" in said
