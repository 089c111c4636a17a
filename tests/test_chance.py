"""A model that learned from noise knows nothing: trained and asked as any other, it stays at chance."""

import json
import math

import numpy as np
import polars as pl
import pytest

from eval import run
from llmrec import prepare
from train import pretrain

USERS, ITEMS, EVENTS = 400, 60, 10


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_of_noise_stays_at_chance(tmp_path, seed, counted, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    rng = np.random.default_rng(seed)
    rows = [(f"u{user}", f"i{item}", 1_000_000 + place, int(rng.integers(1, 6)), int(rng.integers(2))) for user in range(USERS) for place, item in enumerate(rng.choice(ITEMS, EVENTS, replace=False))]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "rating", "click"], orient="row").write_csv(tmp_path / "log.csv")
    assert prepare.main(["table", "--interactions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "corpus")]) == 0
    settings = ["--config", "tiny", f"data.corpus={tmp_path / 'corpus'}", "precision=fp32", "threads=1", "expectations=true", "memory=true"]
    assert not pretrain.main([*settings, f"output={tmp_path / 'model'}", "pretrain.max_steps=150", "pretrain.epochs=1000", "pretrain.tasks={next_item: 0.5, ranking: 0.1, click: 0.2, rating: 0.2}"])
    assert not run.main(["standard", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "report"), f"data.corpus={tmp_path / 'corpus'}", "resamples=20", "baselines=[]"])
    found = {(row["task"], row["metric"], row["filter"]): row["mean"] for row in json.loads((tmp_path / "report" / "report.json").read_text())["rows"] if row["model"] == "model"}
    off = {}
    for (task, metric, shown), mean in found.items():
        if metric == "hit@10":  # the whole catalogue, what was not seen, or a hundred candidates at most
            chance = 10 / (ITEMS if shown == "off" else ITEMS - EVENTS + 1)
            off[task, metric, shown] = abs(mean - chance) / math.sqrt(chance * (1 - chance) / USERS)
        elif metric == "auc":
            off[task, metric, shown] = abs(mean - 0.5) * math.sqrt(3 * USERS)
        elif metric == "rmse":
            off[task, metric, shown] = (math.sqrt(2) - mean) * math.sqrt(USERS)  # the scale's own deviation: none is below it
    assert {"next_item", "click", "rating"} <= {task for task, *_ in off}
    far = {name: deviations for name, deviations in off.items() if deviations > 4}
    counted("Figures of models of noise that are more than four standard deviations from chance", len(far), len(off))
    assert not far, far
