"""A run that is killed at any time, any number of times, comes to the bits of one that was never touched; and at every moment it can be gone on with."""

import json
import math
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from llmrec.publishing import verify

sys.path.insert(0, str(Path(__file__).parent))  # the fork server imports it by name
from launched import Run

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("LLMREC_KILLS", "6"))
SEED = int(os.environ.get("LLMREC_SEED", "0"))
FAST = ["--config", "tiny", "precision=fp32", "threads=1", "model.width=32", "model.mlp_width=64", "checkpoint_steps=4"]
DROPOUT = ["model.embedding_dropout=0.2", "model.residual_dropout=0.2", "model.attention_dropout=0.1"]
PHASES = {
    "pretrain": [
        *DROPOUT, "pretrain.tasks={next_item: 0.5, rating: 0.3, item_card: 0.1, item_text: 0.1}", "pretrain.batch_tokens=512", "pretrain.max_steps=24", "pretrain.epochs=1000",
        "pretrain.validation={metric: rating/rmse, every_steps: 5, patience: 9, limit: 200}",
    ],
    "finetune": [
        *DROPOUT, "model.lora.dropout=0.1", "finetune.batch_tokens=512", "finetune.max_steps=24", "finetune.epochs=1000", "finetune.validation={metric: rating/rmse, every_steps: 5, patience: 9, limit: 200}",
    ],
}
"""Few steps, for each kill costs a run, and a rating that moves with them: one gets better with each validation, the other worse."""
KEPT = ("model.safetensors", "item_rows.safetensors", "adapter_model.safetensors")


@pytest.fixture(scope="module")
def runs(toy_corpus, tmp_path_factory):
    """Runs nobody touched, by phase and number of processes: their arguments, their folder, and how long they took."""
    folder = tmp_path_factory.mktemp("untouched")
    (folder / "corpus").mkdir()
    toy_corpus.save(folder / "corpus")
    made = {}

    def run(phase, world):
        if (phase, world) not in made:
            arguments = [*FAST, *PHASES[phase], f"data.corpus={folder / 'corpus'}", f"processes={world}"]
            if phase == "finetune":
                arguments.append(f"model.base={run('pretrain', 1)[1]}")
            output = folder / f"{phase}-{world}"
            for _ in range(2):  # the first waits for the fork server
                begun = time.monotonic()
                whole = Run(phase, [*arguments, f"output={output}", "overwrite=true"], folder / "talk", world=world)
                assert whole.wait() == [0] * world, whole.said()
            made[phase, world] = arguments, output, time.monotonic() - begun
        return made[phase, world]

    return run


def figures(folder):
    return [line.partition(', "steps_per_second"')[0] + line.partition('"loss_')[1] + line.partition('"loss_')[2] for line in (folder / "log.jsonl").read_text().splitlines()]


def whole_checkpoints(scratch):
    """The checkpoints that verify, newest last."""
    found = []
    for folder in sorted((scratch / "checkpoints").glob("step-*")):
        try:
            verify(folder)
            found.append(folder.name)
        except ValueError:
            pass
    return found


def same(output, untouched):
    return figures(output) == figures(untouched) and all((output / name).read_bytes() == (untouched / name).read_bytes() for name in KEPT if (untouched / name).exists())


def test_killed_at_any_file_operation_of_any_save_a_run_comes_to_the_same_bits(runs, tmp_path, counted):
    """Of every checkpoint and of the finished model. By night all of them, else a few."""
    arguments = [*runs("finetune", 1)[0], "finetune.max_steps=8", "finetune.validation.every_steps=3"]
    untouched = tmp_path / "untouched"
    whole = Run("finetune", [*arguments, f"output={untouched}"], tmp_path / "talk")
    assert whole.wait() == [0], whole.said()

    def killed(at):
        """How much of what must hold does not, of a run killed at its operation of this number; None where it has fewer."""
        output, talk = tmp_path / f"run-{at}", tmp_path / f"talk-{at}"
        run = Run("finetune", [*arguments, f"output={output}"], talk, fault=("killed while it writes", at, 0))
        code, = run.wait()
        if code == 0:
            return None
        assert code == -signal.SIGKILL, run.said()
        written = list(output.with_name(f"{output.name}.run").glob("checkpoints/step-*"))
        bad = bool(written) and not whole_checkpoints(output.with_name(f"{output.name}.run")) or output.exists() and not (output / "files.json").is_file()
        again = Run("finetune", [*arguments, f"output={output}", "overwrite=true"], talk)
        assert again.wait() == [0], again.said()
        return bad + (not same(output, untouched))

    step, found = 1 if KILLS > 100 else 29, {}
    with ThreadPoolExecutor(2) as pool:
        for at in count(1, 2 * step):
            found |= zip((at, at + step), pool.map(killed, (at, at + step)))
            if None in found.values():
                break
        last = min(at for at, bad in found.items() if bad is None)
        near = range(last - step + 1, last, 5)  # what takes away what is not needed any more stands close together at the end
        found |= zip(near, pool.map(killed, near))
    tried = [bad for bad in found.values() if bad is not None]
    counted("Kills at a file operation of a save that leave another result, or no checkpoint", sum(tried), len(tried))
    assert not any(tried) and last > 100


@pytest.mark.parametrize(("phase", "world"), [("pretrain", 1), ("finetune", 1), ("finetune", 2), pytest.param("pretrain", 2, marks=pytest.mark.nightly)])
def test_killed_at_random_times_a_run_comes_to_the_same_bits(runs, tmp_path, counted, phase, world):
    arguments, untouched, seconds = runs(phase, world)
    last = json.loads((untouched / "recommender.json").read_text(encoding="utf-8"))["steps"]
    rng, kills, bad, finished = random.Random(SEED), 0, 0, 0
    while kills < math.ceil(KILLS / 4):
        output, seen = tmp_path / f"run-{finished}", False
        while True:
            run = Run(phase, [*arguments, f"output={output}"], tmp_path / "talk", world=world)
            run.processes[0].join(rng.uniform(0, seconds))
            if world > 1 and rng.random() < 0.5:  # one of them alone: the others notice
                met = "parameters trained" in run.said()
                run.send(signal.SIGKILL, rank=rng.randrange(world))
                if not met:  # the others wait to meet it: a launcher ends them
                    run.send(signal.SIGKILL)
                codes = run.wait(20)
                # The main process is done where its output stands; the others once the last step is kept.
                assert (codes[0] != 0 or output.exists()) and (codes[1] != 0 or output.exists() or list(output.with_name(f"{output.name}.run").glob(f"checkpoints/step-{last:08d}"))), (codes, run.said())
            else:
                run.send(signal.SIGKILL)
                codes = run.wait(20)
                assert set(codes) <= {0, -signal.SIGKILL}, (codes, run.said())  # one that ends by itself otherwise was not killed, it failed
            if codes == [0] * world or output.exists():
                break
            kills += 1
            usable = bool(whole_checkpoints(output.with_name(f"{output.name}.run")))
            bad += seen and not usable
            seen = seen or usable
        finished += 1
        bad += not same(output, untouched)
    counted(f"Runs killed at random times ({phase}, {world} {'processes' if world > 1 else 'process'}) that differ or are left without a checkpoint", bad, kills)
    assert not bad, f"{bad} of {kills} kills, {finished} runs, seed {SEED}"
