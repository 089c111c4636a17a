"""What a run keeps of itself: whole or not at all, verified before it is used, never pruned to nothing."""

import builtins
import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import train.checkpoint
from llmrec.exits import ModelError
from llmrec.launch import guarded
from tests.evil_folders import bomb
from train.checkpoint import Checkpoints, Progress, restore_moments

ROUNDS = int(os.environ.get("LLMREC_ROUNDS", "1"))
SETTINGS = {"seed": 0, "finetune.learning_rate": 1e-3, "finetune.tasks": {"next_item": 1.0}, "data_hash": "abc"}


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """That everything is on disk before the rename is shown in test_publishing; here hundreds of saves would wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def run(tmp_path):
    """Two parameters trained a step with AdamW, and where their checkpoints go."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return Run(tmp_path / "checkpoints", model, optimizer)


class Run:
    def __init__(self, folder, model, optimizer):
        self.folder, self.model, self.optimizer = folder, model, optimizer
        self.names = {parameter: name for name, parameter in model.named_parameters()}

    def weights(self):
        return {name: parameter.detach().clone() for parameter, name in self.names.items()}

    def train(self, step):
        """Weights that depend on the step alone, so that what a checkpoint holds tells which one it is."""
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(float(step))
        self.model(torch.ones(1, 3)).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, step, *, keep=1, settings=SETTINGS, best=None, averages=None, **progress):
        self.train(step)
        Checkpoints(self.folder, settings, keep=keep).save(Progress(step=step, **progress), self.weights(), self.optimizer, self.names, {} if best is None else best, averages)

    def load(self, settings=SETTINGS):
        return Checkpoints(self.folder, settings).load()

    def steps(self):
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))


def path_of(run, step, name="weights.safetensors"):
    return run.folder / f"step-{step:08d}" / name


# --- what is kept ------------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_gives_back_all_of_a_run(run):
    best = {"weight": torch.full((2, 3), 7.0), "bias": torch.zeros(2)}
    run.save(6)
    run.save(7, best=best, best_step=3, since_best=1, skipped=2, history=[(3, 0.25), (5, 0.125)], window=[[0.1, 1 / 3]])
    weights, state = run.weights(), {run.names[p]: {k: v.clone() for k, v in s.items()} for p, s in run.optimizer.state.items()}
    progress, saved, moments, saved_best, _ = run.load()
    assert progress == Progress(step=7, best_step=3, since_best=1, skipped=2, history=[(3, 0.25), (5, 0.125)], window=[[0.1, 1 / 3]])
    assert all(torch.equal(saved[name], tensor) for name, tensor in weights.items()) and all(torch.equal(saved_best[name], tensor) for name, tensor in best.items())
    other = torch.optim.AdamW(run.model.parameters(), lr=0.1)
    restore_moments(other, run.names, moments)
    assert other.state.keys() == run.names.keys()
    for parameter, values in other.state.items():
        assert all(torch.equal(values[key], tensor) for key, tensor in state[run.names[parameter]].items())


def test_a_run_that_never_saved_begins_at_the_beginning(run):
    assert run.load() is None
    run.folder.mkdir()
    assert run.load() is None


def test_the_newest_are_kept_and_foreign_things_left_alone(run):
    run.save(1)
    foreign = ["step-final", "step-00000001-copy", "step-1", "notes", "step-00000009"]
    for name in foreign[:2]:
        shutil.copytree(path_of(run, 1, "."), run.folder / name)
    for name in foreign[2:4]:
        (run.folder / name).mkdir()
    (run.folder / "step-00000009").write_text("a file")
    (run.folder / "step-00000008").symlink_to(run.folder / "step-final")
    for step in (2, 3, 4):
        run.save(step, keep=2)
    assert run.steps() == sorted([*foreign, "step-00000003", "step-00000004", "step-00000008"])
    assert (run.folder / "step-final" / "weights.safetensors").is_file()
    assert run.load()[0].step == 4


def test_a_checkpoint_is_safetensors_and_json(run):
    run.save(1, best={"weight": torch.zeros(2, 3)})
    assert sorted(p.name for p in path_of(run, 1, ".").iterdir()) == ["best.safetensors", "files.json", "fingerprint.json", "optimizer.safetensors", "progress.json", "weights.safetensors"]


# --- faults while saving -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends the save as a kill would: nothing catches it, and nothing may clean up behind it."""


class Faults:
    """Counts the file operations of a save and fails the one numbered `at`."""

    def __init__(self, monkeypatch, at, error):
        self.count, self.at, self.error, self.dead = 0, at, error, False
        save_file = train.checkpoint.save_file
        monkeypatch.setattr(train.checkpoint, "save_file", lambda tensors, path: self.torn(save_file, tensors, path))
        for module, name in [
            (os, "fsync"), (os, "rename"), (os, "mkdir"), (os, "open"), (os, "rmdir"), (os, "unlink"), (builtins, "open"), (Path, "write_text"),
        ]:
            monkeypatch.setattr(module, name, self.wrapped(getattr(module, name)))

    def wrapped(self, call):
        def counted(*arguments, **keywords):
            self.step()
            return call(*arguments, **keywords)

        return counted

    def step(self):
        if self.dead:  # a killed process does nothing more
            raise Killed
        self.count += 1
        if self.count == self.at:
            self.dead = isinstance(self.error, Killed)
            raise self.error

    def torn(self, save_file, tensors, path):
        """A write that fails leaves half its file."""
        try:
            self.step()
        except BaseException:
            Path.write_bytes(Path(path), b"half")
            raise
        save_file(tensors, path)


def test_a_fault_at_any_file_operation_leaves_a_usable_checkpoint(run, tmp_path, monkeypatch, counted):
    """ENOSPC, EIO and a kill at the N-th operation, for every N, with a single checkpoint kept."""
    for error in (OSError(28, "No space left on device"), OSError(5, "Input/output error"), Killed()):
        faults = 0
        for at in range(1, 200):
            run.folder = tmp_path / f"{type(error).__name__}{getattr(error, 'errno', '')}-{at}"
            run.save(1)
            with monkeypatch.context() as patch:
                patched = Faults(patch, at, error)
                try:
                    run.save(2, best={"weight": torch.ones(2, 3)})
                    finished = True
                except (OSError, Killed):
                    finished = False
            faults += not finished
            progress, weights, moments, *_ = run.load()
            assert progress.step == 2 or not finished
            assert torch.equal(weights["bias"], load_file(path_of(run, progress.step))["bias"]) and moments
            run.save(3)  # and the run goes on
            assert run.load()[0].step == 3 and "step-00000003" in run.steps()
            if patched.count < at:
                break
        counted(f"File operations of a save that fail ({str(error) or 'killed'}) and leave no usable checkpoint", 0, faults)
        assert finished and patched.count < 199 and faults >= 25, (error, faults, patched.count)  # five files written, hashed and synced, the folders, the rename, the pruning


def test_a_full_disk_ends_with_its_own_exit_code(run, capsys, monkeypatch):
    """safetensors reports a full disk in an error of its own, which is no OSError."""
    def full(tensors, path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(train.checkpoint, "save_file", full)
    assert guarded(lambda argv: run.save(1))([]) == 5
    assert "No space left" in capsys.readouterr().err and run.load() is None


@pytest.mark.parametrize("where", ["weights", "moments", "best"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_tensor_that_is_not_finite_is_never_saved(run, where, value):
    run.save(1)
    run.train(2)
    bad = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    bad["bias"][1] = value
    if where == "moments":
        run.optimizer.state[run.model.bias]["exp_avg"][1] = value
    weights, best = (bad if where == kind else run.weights() for kind in ("weights", "best"))
    with pytest.raises(FloatingPointError, match="bias.* not finite at step 2"):
        Checkpoints(run.folder, SETTINGS).save(Progress(step=2), weights, run.optimizer, run.names, best)
    assert run.steps() == ["step-00000001"] and run.load()[0].step == 1


# --- damage afterwards -------------------------------------------------------------------------------------------------------------


NAMES = ["weights.safetensors", "optimizer.safetensors", "best.safetensors", "average.safetensors", "progress.json", "fingerprint.json", "files.json"]
EXTRA = {"best": {"weight": torch.full((2, 3), 7.0)}, "averages": {"bias": torch.full((2,), 5.0)}}


def damages(whole: bytes, name: str) -> list[bytes | None]:
    """One bit flipped and the end torn off, at places all over the file; blocks of random length and place zeroed, swapped or overwritten, and bytes behind the end; no file."""
    places = range(0, len(whole), max(1, len(whole) // (45 if ROUNDS == 1 else 150)))
    found = [*(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :] for i in places), *(whole[:i] for i in places)]
    draw = random.Random(name)
    for _ in range(12 if ROUNDS == 1 else 60):
        size, (first, second) = draw.randrange(1, len(whole) // 4), sorted(draw.sample(range(len(whole) * 3 // 4), 2))
        first = min(first, max(0, second - size))
        block, other = whole[first : first + size], whole[second : second + size]
        found += [whole[:first] + b"\0" * size + whole[first + size :], whole[:first] + other + whole[first + size : second] + block + whole[second + size :], whole[:first] + draw.randbytes(size) + whole[first + size :], whole + draw.randbytes(size)]
    return [*(bytes_ for bytes_ in found if bytes_ != whole), None]


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_or_missing_file_is_fallen_back_from_by_name(run, caplog, name, counted):
    for step in (1, 2):
        run.save(step, keep=2, **EXTRA)
    whole = path_of(run, 2, name).read_bytes()
    harmless, tried = 0, damages(whole, name)
    for damaged in tried:
        caplog.clear()
        path_of(run, 2, name).unlink(missing_ok=True)
        if damaged is not None:
            path_of(run, 2, name).write_bytes(damaged)
        progress, weights, *_ = run.load()
        if progress.step == 2:  # white space of the listing itself: what it lists is as it was
            assert name == "files.json" and json.loads(damaged) == json.loads(whole)
            harmless += 1
            continue
        assert progress.step == 1 and torch.equal(weights["bias"], load_file(path_of(run, 1))["bias"])
        assert "passing over step-00000002" in caplog.text and (name in caplog.text or name == "files.json")
    counted(f"Damages of a checkpoint's {name} that were loaded", 0, len(tried))
    assert harmless <= 12 * (1 if ROUNDS == 1 else 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("missing", [False, True])
def test_where_no_checkpoint_verifies_the_run_is_refused_not_begun_again(run, name, missing):
    """A run keeps one."""
    run.save(1, **EXTRA)
    path_of(run, 1, name).unlink()
    if not missing:
        path_of(run, 1, name).write_bytes(b"torn")
    with pytest.raises(ModelError, match=f"{name}.*remove that folder"):
        run.load()


def test_a_link_in_a_files_place_is_not_followed(run, tmp_path):
    run.save(1)
    path_of(run, 1).rename(tmp_path / "weights.safetensors")
    path_of(run, 1).symlink_to(tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="weights.safetensors"):
        run.load()


def test_a_checkpoint_without_its_listing_gives_way_to_one_of_its_step(run):
    run.save(1, keep=2)
    run.save(2, keep=2)
    path_of(run, 2, "files.json").unlink()
    assert run.load()[0].step == 1
    run.save(2, keep=2)
    assert run.load()[0].step == 2 and run.steps() == ["step-00000001", "step-00000002"]


def test_pickles_beside_a_checkpoint_are_not_opened(run, tmp_path):
    run.save(1)
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl", "training_args.bin", "weights.bin"):
        path_of(run, 1, name).write_bytes(bomb(tmp_path / "it-ran"))
    assert run.load()[0].step == 1 and not (tmp_path / "it-ran").exists()


def test_a_damaged_newest_never_pushes_a_good_one_out(run):
    """After falling back from step 30 to 10 the run saves 20 and 30 again: the damaged 30 gives way to both."""
    run.save(10, keep=2)
    run.save(30, keep=2)
    path_of(run, 30).write_bytes(b"torn")
    assert run.load()[0].step == 10
    run.save(20)
    assert run.steps() == ["step-00000020"] and run.load()[0].step == 20
    run.save(30, keep=2)
    path_of(run, 30, "progress.json").unlink()
    assert run.load()[0].step == 20
    run.save(30, keep=2)
    assert run.load()[0].step == 30 and run.steps() == ["step-00000020", "step-00000030"]


# --- another run -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [{"seed": 1}, {"finetune.learning_rate": 2e-3}, {"finetune.tasks": {"next_item": 0.5, "rating": 0.5}}, {"data_hash": "def"}, {"new_setting": 3}])
def test_other_settings_or_data_are_refused_naming_what_changed(run, changed):
    run.save(1)
    (name, value), = changed.items()
    with pytest.raises(ModelError) as error:
        run.load({**SETTINGS, **changed})
    assert f"{name}: {SETTINGS.get(name)!r} -> {value!r}" in str(error.value) and str(run.folder) in str(error.value)
    assert run.load()[0].step == 1
