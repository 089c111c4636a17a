"""On a GPU a corpus becomes answers as on a CPU: the same losses but for rounding, the same answers of one model, a stopped run that goes on. Skipped where there is none."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from llmrec.interactions import Event
from llmrec.predictions import Request
from llmrec.recommender import Recommender

ROOT = Path(__file__).parents[2]
TRAIN = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m"]
SMALL = ["--config", "tiny", "threads=1", "content.collaborative=4", "expectations=true", "memory=true", "pretrain.batch_tokens=512", "finetune.batch_tokens=512", "model.lora.dropout=0"]
NEAR = 2e-3
BF16 = 0.05

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.fixture(scope="module")
def corpus(toy_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "corpus"
    folder.mkdir()
    toy_corpus.save(folder)
    return folder


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """trained(name, *settings): the folders of a base and of a model of all tasks, trained on the GPU, or on the CPU where the name is cpu."""

    def made(name, *settings):
        folder = tmp_path_factory.mktemp(name)
        shared = [*SMALL, *settings, f"data.corpus={corpus}"]
        launch("train.pretrain", *shared, f"output={folder / 'base'}", "pretrain.max_steps=40", "pretrain.epochs=1000", cpu=name == "cpu")
        launch("train.finetune", *shared, f"model.base={folder / 'base'}", f"output={folder / 'model'}", "finetune.max_steps=40", "finetune.epochs=1000", cpu=name == "cpu")
        return folder / "base", folder / "model"

    return made


@pytest.fixture(scope="module")
def on_gpu(trained):
    return trained("gpu", "precision=fp32")


def environment(cpu=False):
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **({"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""} if cpu else {})}


def launch(*arguments, cpu=False):
    done = subprocess.run([*TRAIN, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment(cpu), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_losses_are_those_of_a_cpu(trained, on_gpu):
    for mine, theirs in zip(on_gpu, trained("cpu", "precision=fp32"), strict=True):
        assert losses(mine) == pytest.approx(losses(theirs), rel=NEAR) and len(losses(mine)) == 2


def test_bf16_is_what_auto_comes_to_and_learns_as_well(trained, on_gpu):
    for mine, theirs in zip(trained("auto"), on_gpu, strict=True):
        assert losses(mine) == pytest.approx(losses(theirs), rel=BF16) and losses(mine) != losses(theirs)


def test_answers_of_one_model_are_those_of_a_cpu(on_gpu):
    history = tuple(Event(f"i{number}") for number in (1, 3, 5))
    requests = [
        Request(task="next_item", history=history, k=5), Request(task="next_item", k=12), Request(task="ranking", history=history, candidates=("i2", "i7", "i9"), k=3),
        Request(task="search", history=history, query="quiet", k=4), Request(task="rating", history=history, item_id="i2"), Request(task="click", history=history, item_id="i7"),
        Request(task="explanation", history=history, item_id="i7"), Request(task="review_summary", history=history, item_id="i7", review="The Echo is good, quiet and short."),
    ]
    for folder in on_gpu:
        gpu, cpu = Recommender.from_pretrained(folder), Recommender.from_pretrained(folder, device="cpu")
        assert gpu.model.device.type == "cuda" and cpu.model.device.type == "cpu"
        asked = [request for request in requests if request.task in gpu.tasks]
        assert len(asked) == (len(requests) if folder.name == "model" else 3)
        for request, mine, theirs in zip(asked, gpu.predict(asked), cpu.predict(asked), strict=True):
            assert mine.item_ids == theirs.item_ids and mine.text == theirs.text, request.task
            assert mine.scores == pytest.approx(theirs.scores, abs=NEAR) and mine.probability == pytest.approx(theirs.probability, abs=NEAR) and mine.value == pytest.approx(theirs.value, abs=NEAR)


def test_a_run_that_is_stopped_goes_on(corpus, tmp_path):
    arguments = [*TRAIN, "train.pretrain", *SMALL, f"data.corpus={corpus}", "pretrain.max_steps=400", "pretrain.epochs=10000", "pretrain.average=0.9", "checkpoint_steps=15", "model.residual_dropout=0.2"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    subprocess.run([*arguments, f"output={whole}"], check=True, cwd=ROOT, env=environment(), timeout=300)
    process = subprocess.Popen([*arguments, f"output={stopped}"], stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
    log = tmp_path / "stopped.run" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and '"step": 20' in log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-2000:]
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert not stopped.exists(), "it ended before it was stopped"
    done = subprocess.run([*arguments, f"output={stopped}"], check=True, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300)
    assert "resuming at step" in done.stderr and losses(stopped) == pytest.approx(losses(whole), rel=BF16)
