"""A world in which what comes next is certain is learnt by the commands' own main, and what they leave is one folder each."""

import dataclasses
import json
import math
import signal

import pytest

from llmrec.recommender import Recommender
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines
from train import finetune, pretrain


@pytest.fixture(scope="module")
def trained_toy(toy_corpus, tmp_path_factory):
    """Pretrained and finetuned models of the checkerboard, made by the commands' own main."""
    folder = tmp_path_factory.mktemp("checkerboard")
    (folder / "corpus").mkdir()
    toy_corpus.save(folder / "corpus")
    shared = ["--config", "tiny", f"data.corpus={folder / 'corpus'}", "precision=fp32", "threads=1", "data.languages=[en]", "model.embedding_dropout=0.1"]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    assert pretrain.main([*shared, f"output={folder / 'base'}", "pretrain.tasks={next_item: 1.0}", "pretrain.epochs=500", "pretrain.max_steps=120", "pretrain.batch_tokens=256", "pretrain.learning_rate=6e-3"]) == 0
    assert finetune.main([
        *shared, f"output={folder / 'model'}", f"model.base={folder / 'base'}", "finetune.epochs=500", "finetune.max_steps=160", "finetune.batch_tokens=512",
        "tasks={next_item: 0.8, rating: 0.2}",
    ]) == 0
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return folder


@pytest.mark.parametrize("name", ["base", "model"])
def test_the_checkerboard_is_learnt(trained_toy, toy_corpus, name):
    """What comes next is certain: the model says it, for users held out from it."""
    recommender = Recommender.from_pretrained(trained_toy / name)
    held_out = TASKS["next_item"].held_out(Timelines.of(toy_corpus), "test", 0)
    assert len(held_out) == 24
    answers = recommender.predict([dataclasses.replace(h.request, exclude_seen=False) for h in held_out])
    hits = [answer.item_ids[0] == h.target for answer, h in zip(answers, held_out, strict=True)]
    assert sum(hits) / len(hits) >= 0.95


def test_the_loss_falls_to_the_entropy_of_the_world_and_no_lower(trained_toy):
    """Six train events a user: the first is one of twelve items, the other five follow from it. Less than log(12) / 6 would be a leak."""
    losses = [json.loads(line)["loss"] for line in (trained_toy / "base" / "log.jsonl").read_text().splitlines() if '"loss"' in line]
    assert losses[-1] == pytest.approx(math.log(12) / 6, abs=0.01)
    assert min(losses) > math.log(12) / 6 - 0.001


def test_what_training_leaves_is_one_published_folder(trained_toy):
    assert sorted(path.name for path in trained_toy.iterdir()) == ["base", "corpus", "model"]
    for name in ("base", "model"):
        about = json.loads((trained_toy / name / "recommender.json").read_text())
        assert about["temperatures"].keys() <= {"rating"}  # neither answers with yes or no
        assert about["tasks"] and about["valid"].keys() == {"next_item/ndcg@10"} and about["seed"] == 0
        assert [json.loads(line)["step"] for line in (trained_toy / name / "log.jsonl").read_text().splitlines() if "loss" in line][-1] == about["steps"]
    assert not [path for path in trained_toy.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".pth", ".pickle")]
