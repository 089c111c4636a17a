"""What stays where it belongs: who somebody is never enters a prompt, what logs say holds nothing of the data, and a full run talks to nobody."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from llmrec import prepare
from llmrec.assets import folder_of
from llmrec.recommender import load_task_templates
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines

ROOT = Path(__file__).parents[1]
WHO = "Xanthippe"
SAID = "Quibbleworth"
ALONE = ["unshare", "-rn"] if shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0 else []
"""In a network of its own, without any other machine in it."""
GUARD = """
import sys

def listen(event, arguments):
    # What is asked of a socket: the address, in whatever form it is said.
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = address[0] if isinstance(address, tuple) else address
        if not (host is None or str(host).startswith(("127.", "/", "\\0")) or host in ("localhost", "::1", "", b"")):
            with open({path!r}, "a") as file:
                file.write(f"{{event}} {{address}}\\n")

sys.addaudithook(listen)
"""
"""A sitecustomize.py that notes every other machine that Python code asks for: one that fails may pass unseen."""


@pytest.fixture
def named(toy_corpus):
    """The toy corpus with names and mail addresses as user ids, and a word of their own in every review."""
    frame = toy_corpus.interactions.frame.with_columns(user_id=pl.concat_str(pl.lit(f"{WHO}."), "user_id", pl.lit("@example.com")), review=pl.concat_str("review", pl.lit(f" Says {SAID}.")))
    return replace(toy_corpus, interactions=replace(toy_corpus.interactions, frame=frame.sort("user_id", "position")))


@pytest.mark.parametrize("scheme", ["atomic", "title"])
def test_nobodys_id_stands_in_a_prompt(named, parts_of, scheme):
    parts = parts_of(scheme, named)
    timelines, decode = Timelines.of(named), parts.composer.vocabulary.tokenizer.decode
    composed = 0
    for name, task in TASKS.items():
        if task.reason_absent(named) is not None:
            continue
        bound = task.bind(timelines, seed=0)
        for template in load_task_templates(folder_of("prompts"), name):
            for unit in range(6):
                example = bound.example(unit, parts.composer, template, np.random.default_rng(unit))
                for strand in () if example is None else (example.trunk, *example.branches):
                    text = decode([token for token in strand.tokens if token < parts.composer.vocabulary.size], skip_special_tokens=False)
                    assert WHO.lower() not in text.lower() and "example.com" not in text
                    composed += 1
            for question in bound.held_out("test"):
                text = decode([token for token in parts.composer.question(template, question.request) if token < parts.composer.vocabulary.size], skip_special_tokens=False)
                assert WHO.lower() not in text.lower() and "example.com" not in text
                composed += 1
    assert composed > 1000


def test_a_refusal_says_nothing_of_the_data(named, tmp_path, capsys):
    named.interactions.frame.select("user_id", "item_id", "review", rating=pl.lit(SAID)).write_csv(tmp_path / "log.csv")
    assert prepare.main(["table", "--interactions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "corpus")]) == 3
    said = capsys.readouterr().err
    assert "The first is row 1." in said and WHO not in said and SAID not in said


def guarded(folder, noted):
    """A folder for PYTHONPATH."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GUARD.format(path=str(noted)))
    return str(folder)


@pytest.mark.parametrize("asking", ["socket.create_connection(('192.0.2.1', 80), timeout=.1)", "socket.getaddrinfo('example.com', 80)", "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 80))", "__import__('urllib.request').request.urlopen('http://example.com', timeout=.1)"])
def test_the_guard_hears_whoever_asks_for_another_machine(tmp_path, asking):
    path = guarded(tmp_path / "guard", tmp_path / "noted")
    run = lambda code: subprocess.run([*ALONE, sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)  # noqa: E731
    done = run(f"import socket\ntry:\n    {asking}\nexcept OSError:\n    pass\nprint('unseen')")
    assert done.stdout == "unseen\n" and "socket." in (tmp_path / "noted").read_text(), done.stderr
    (tmp_path / "noted").unlink()
    assert run("import socket\nsocket.getaddrinfo('localhost', 80)\ntry:\n    socket.create_connection(('127.0.0.1', 1))\nexcept OSError:\n    print('here')").stdout == "here\n"
    assert not (tmp_path / "noted").exists()


@pytest.mark.slow
def test_a_full_run_says_nothing_of_the_data_and_talks_to_nobody(named, tmp_path):
    log = named.interactions.frame.select("user_id", "item_id", pl.col("timestamp").cast(pl.Int64), "rating", "review")
    log.write_csv(tmp_path / "log.csv")
    titles = [f"{title} {SAID}" for title in named.catalog.titles]
    pl.DataFrame({"item_id": [f"{SAID}{item}" for item in named.catalog.item_ids], "title": titles, "genres": ["Drama"] * len(titles)}).write_csv(tmp_path / "items.csv")
    log.with_columns(item_id=pl.concat_str(pl.lit(SAID), "item_id")).write_csv(tmp_path / "log.csv")
    (tmp_path / "asked.jsonl").write_text(f'{{"id": "1", "user_id": "{WHO}", "history": ["{SAID}i1", "{SAID}gone"], "k": 3}}\n{{"task": "search", "query": "{SAID}"}}\n{{"task": "nonsense {SAID}"}}\nno json {SAID}\n')
    fast = ["--config", "tiny", f"data.corpus={tmp_path / 'corpus'}", "precision=fp32", "threads=1", "model.width=32", "model.mlp_width=64", "expectations=true", "memory=true"]
    commands = [
        ["llmrec.prepare", "table", "--interactions", tmp_path / "log.csv", "--items", tmp_path / "items.csv", "--out", tmp_path / "corpus", "--like", "4"],
        ["train.pretrain", *fast, f"output={tmp_path / 'base'}", "pretrain.max_steps=4"],
        ["train.finetune", *fast, f"model.base={tmp_path / 'base'}", f"output={tmp_path / 'model'}", "finetune.max_steps=4"],
        ["llmrec.generate", tmp_path / "model", "--input", tmp_path / "asked.jsonl", "--output", tmp_path / "answers.jsonl"],
        ["eval.run", "standard", "--model", tmp_path / "model", "--out", tmp_path / "report", f"data.corpus={tmp_path / 'corpus'}", "resamples=20", "baselines=most_popular,item_knn,user_item_bias"],
    ]
    guard, noted = guarded(tmp_path / "guard", tmp_path / "noted"), tmp_path / "noted"
    for command in commands:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "0", "PYTHONPATH": os.pathsep.join([guard, str(ROOT)])}
        done = subprocess.run([*ALONE, sys.executable, "-m", *map(str, command)], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300, check=False)
        assert done.returncode == 0, f"{command[0]}: {done.stderr[-2000:]}"
        for marker in (WHO, SAID):
            assert marker not in done.stderr + done.stdout, f"{command[0]} says {marker}: {done.stderr}{done.stdout}"
        assert not noted.exists(), f"{command[0]}: {noted.read_text()}"
    told = [tmp_path / "report" / name for name in ("report.json", "report.html")]
    for folder in (tmp_path / "base", tmp_path / "model"):
        told += [folder / name for name in ("README.md", "recommender.json", "log.jsonl", "train_config.yaml")] + [path for path in (folder / "tensorboard").rglob("*") if path.is_file()]
    for path in told:
        assert path.is_file() and not any(marker.encode() in path.read_bytes() for marker in (WHO, SAID)), path.name
