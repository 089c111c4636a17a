"""The evaluation's command, killed at any time and begun again: the figures of a run that nobody touched."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmrec.interactions import Corpus
from llmrec.recommender import save_recommender

KILLS = max(2, int(os.environ.get("LLMREC_KILLS", "0")) // 30)
FIGURES = ("rows", "groups", "comparisons", "curves", "ties", "counts", "audit", "data_hash", "audit_hash", "hashes")


@pytest.mark.nightly
@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_an_evaluation_killed_at_any_time_comes_to_the_same_figures(toy_parts, toy_tokenizer, toy_corpus, tmp_path, counted):
    for name in ("model", "corpus"):
        (tmp_path / name).mkdir()
    toy_corpus.save(tmp_path / "corpus")
    card = {"data_hash": Corpus.load(tmp_path / "corpus").data_hash, "seed": 0}
    save_recommender(tmp_path / "model", model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=None, card=card, kind="base")

    def begin(out):
        settings = [f"data.corpus={tmp_path / 'corpus'}", "resamples=3000", "baselines=random,most_popular,item_knn", "tasks=next_item,ranking,search"]
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        with open(tmp_path / "talk", "w") as talk:
            return subprocess.Popen([sys.executable, "-m", "eval.run", "standard", "--model", str(tmp_path / "model"), "--out", str(tmp_path / out), *settings], stdout=talk, stderr=talk, env=surroundings)

    def figures(out):
        report = json.loads((tmp_path / out / "report.json").read_text())
        return {name: report[name] for name in FIGURES}

    assert begin("whole").wait(300) == 0, (tmp_path / "talk").read_text()
    rng, bad, kills, midway, folders = random.Random(0), 0, 0, 0, 0
    while kills < KILLS:
        out, folders = f"run-{folders}", folders + 1
        for _ in range(4):
            process, begun = begin(out), time.time()
            while process.poll() is None and time.time() - begun < 60 and not any(path.stat().st_mtime > begun for path in (tmp_path / out).glob("predictions/*.parquet")):
                time.sleep(0.01)
            try:  # what comes before the first answers is the time to load
                process.wait(rng.uniform(0, 0.5))
                break
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                midway += (tmp_path / out / "predictions").exists() and not (tmp_path / out / "report.json").exists()
        again = begin(out)
        assert again.wait(300) == 0, (tmp_path / "talk").read_text()
        bad += figures(out) != figures("whole")
    counted("Kills of an evaluation after which its figures differ", bad, kills)
    assert not bad and midway
