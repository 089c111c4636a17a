"""A small world that somebody attacks: people of a few tastes, items with titles, ratings with reviews; and a model trained on it."""

import numpy as np
import polars as pl
import pytest

from llmrec import prepare
from train import finetune, pretrain

TASTES = 10
KINDS = ["Harbour", "Orchard", "Desert", "Glacier", "Market", "Forest", "Castle", "Engine", "River", "Signal"]
ADJECTIVES = ["Amber", "Broken", "Crimson", "Distant", "Early", "Fading", "Golden", "Hidden", "Idle", "Jagged", "Keen", "Lonely", "Marble", "Narrow", "Open", "Pale", "Quiet", "Restless", "Silver", "Tender"]
NOUNS = ["Bell", "Clock", "Drum", "Envelope", "Feather", "Garden", "Hammer", "Island", "Journey", "Key", "Ladder", "Mirror", "Needle", "Ocean", "Pillow"]


def titles_of(items: int) -> list[str]:
    """Item `n` is of the kind n % TASTES, which its title names."""
    rng = np.random.default_rng(3)
    pairs = rng.permutation([(adjective, noun) for adjective in ADJECTIVES for noun in NOUNS])[:items]
    return [f"{adjective} {noun} of the {KINDS[number % TASTES]}" for number, (adjective, noun) in enumerate(pairs)]


def log_of(users: int, items: int, events: int, *, seed: int = 0) -> pl.DataFrame:
    """Each user has two tastes; most of what they choose is of these, the well-known first."""
    rng = np.random.default_rng(seed)
    fame = 1 / (1 + rng.permutation(items)) ** 0.3
    rows = []
    for user in range(users):
        liked = np.isin(np.arange(items) % TASTES, rng.choice(TASTES, 2, replace=False))
        weights = fame * np.where(liked, 40.0, 1.0)
        chosen = rng.choice(items, events, replace=False, p=weights / weights.sum())
        rows += [(f"u{user:05}", f"i{item}", 1_000_000 + 60 * place, 4 + bool(liked[item]) - 2 * int(rng.random() < 0.1)) for place, item in enumerate(chosen)]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "rating"], orient="row")


@pytest.fixture(scope="session")
def trained():
    """trained(folder, log, titles, *settings, tasks=None): the folder of a model of the config `tiny`, trained on these events; the corpus stands beside it. tasks: shares of finetune's, if it is finetuned, too."""

    def made(folder, log, titles, *settings, tasks=None):
        log.write_csv(folder / "log.csv")
        pl.DataFrame({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles}).write_csv(folder / "items.csv")
        assert prepare.main(["table", "--interactions", str(folder / "log.csv"), "--items", str(folder / "items.csv"), "--out", str(folder / "corpus")]) == 0
        always = ["--config", "tiny", f"data.corpus={folder / 'corpus'}", "precision=fp32", "threads=1", "pretrain.epochs=1000", "finetune.epochs=1000", *settings]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ACCELERATE_USE_CPU", "true")
            assert not pretrain.main([*always, f"output={folder / 'base'}"])
            if tasks is None:
                return folder / "base"
            assert not finetune.main([*always, f"model.base={folder / 'base'}", f"output={folder / 'model'}", f"tasks={tasks}"])
        return folder / "model"

    return made
