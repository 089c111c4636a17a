"""Several processes, and faults of one: none waits for the dead, a step is taken by all or by none, and every end has its code, a sentence and a whole checkpoint."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from safetensors.torch import load_file

from llmrec.publishing import verify
from train.processes import Meter

sys.path.insert(0, str(Path(__file__).parent))  # the fork server imports it by name
from launched import Run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("LLMREC_ROUNDS", "1"))
FAST = [
    "--config", "tiny", "precision=fp32", "threads=1", "model.width=32", "model.mlp_width=64", "checkpoint_steps=2", "pretrain.batch_tokens=512", "pretrain.max_steps=12",
    "pretrain.epochs=1000", "pretrain.tasks={next_item: 0.7, item_card: 0.3}",
]


@pytest.fixture(scope="module")
def corpus(toy_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "corpus"
    folder.mkdir()
    toy_corpus.save(folder)
    return folder


def start(corpus, folder, *more, world=2, fault=None, name="run", idle=25):
    return Run("pretrain", [*FAST, f"data.corpus={corpus}", f"output={folder / name}", f"processes={world}", *more], folder / "talk", world=world, fault=fault, idle=idle)


def intact(folder, name="run"):
    """The steps of the checkpoints, all of which verify, without a number that is not finite."""
    found = sorted((folder / f"{name}.run" / "checkpoints").glob("step-*"))
    for checkpoint in found:
        verify(checkpoint)
        assert all(tensor.isfinite().all() for path in checkpoint.glob("*.safetensors") for tensor in load_file(path).values())
    return [int(checkpoint.name.removeprefix("step-")) for checkpoint in found]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("what", ["killed", "ends early", "raises"])
def test_where_one_process_is_gone_all_end_within_ten_seconds(corpus, tmp_path, what, rank):
    run = start(corpus, tmp_path, fault=(what, 7, rank))
    run.processes[rank].join(60)
    gone = time.monotonic()
    codes = run.wait(10)
    assert time.monotonic() - gone < 10 and codes[1 - rank] not in (0, None), run.said()
    assert codes[1 - rank] == 8 and "another process of this run is gone" in run.said() and "the same command goes on from it" in run.said(), (codes, run.said())
    assert intact(tmp_path) == [6] and not (tmp_path / "run").exists()
    done = start(corpus, tmp_path)
    assert done.wait() == [0, 0] and "resuming at step 6" in done.said()


@pytest.mark.parametrize(("what", "rank"), [("sleeps", 1), ("stands still", 1), ("stands still", 0), pytest.param("sleeps", 0, marks=pytest.mark.nightly)])
def test_where_one_process_hangs_the_others_end_within_a_minute_and_say_where_they_stand(corpus, tmp_path, what, rank):
    """Process 0, too, which keeps the store that all tell each other through: where it stands still, nobody answers."""
    idle, other = 6 if ROUNDS == 1 else 25, 1 - rank
    run = start(corpus, tmp_path, fault=(what, 7, rank), idle=idle)
    last, until = tmp_path / "run.run" / "checkpoints" / "step-00000006", time.monotonic() + 120
    while not last.is_dir() and time.monotonic() < until:  # how long two processes take to begin is the machine's affair
        time.sleep(0.1)
    begun = time.monotonic()
    run.processes[other].join(60)
    assert run.processes[other].exitcode == 8 and time.monotonic() - begun < 60, run.said()
    if what == "sleeps":
        run.processes[rank].join(10)
    run.send(signal.SIGKILL)  # as a launcher does with one that hears nothing any more
    run.wait(10)
    said = run.said()
    assert f"none has worked for {idle} seconds" in said and "loop.py" in said and intact(tmp_path) == [6]
    if what == "sleeps":  # and the one that hangs says so itself
        assert f"process {rank} of 2" in said and "launched.py" in said


def test_what_idling_takes_never_adds_up_to_work():
    """Left over from before, it would put off the end by IDLE_SECONDS, once for each process."""
    meter = Meter(100.0)
    assert not meter.worked(100.24)
    assert not any(meter.worked(100.24 + 0.006 * second) for second in range(1, 200))
    assert sum(meter.worked(101.44 + 0.1 * second) for second in range(1, 26)) >= 8  # one that waits for a disk or a network most of the time


def test_a_gradient_that_is_not_finite_on_one_process_is_skipped_by_all(corpus, tmp_path):
    run = start(corpus, tmp_path, fault=("no number", 7, 1))
    assert run.wait() == [0, 0] and "step 7 is skipped" in run.said()
    whole = start(corpus, tmp_path, name="whole")
    assert whole.wait() == [0, 0]
    assert losses(tmp_path / "run") != losses(tmp_path / "whole") and all(tensor.isfinite().all() for tensor in load_file(tmp_path / "run" / "model.safetensors").values())


def test_without_memory_a_run_ends_with_its_code_and_names_the_batch(corpus, tmp_path):
    run = start(corpus, tmp_path, "model.width=256", "model.mlp_width=4096", world=1, fault=("no memory", 5, 0))
    assert run.wait() == [6] and re.search(r"out of memory at step \d+, with a batch of \d+ rows of", run.said()) and "Traceback" not in run.said(), run.said()
    assert len(intact(tmp_path)) == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("worlds", [(1, 2), (2, 1), (2, 3), pytest.param((3, 4), marks=pytest.mark.nightly)])
def test_a_run_goes_on_with_another_number_of_processes(corpus, tmp_path, counted, worlds):
    """The same samples in each step; sums in another order."""
    whole = start(corpus, tmp_path, world=1, name="whole")
    assert whole.wait() == [0], whole.said()
    before, after = worlds
    first = start(corpus, tmp_path, world=before, fault=("asked to end", 6, 0))
    assert first.wait() == [143] * before, first.said()
    assert intact(tmp_path) == [7]
    then = start(corpus, tmp_path, world=after)
    assert then.wait() == [0] * after and "resuming at step 7" in then.said(), then.said()
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)
    counted(f"Loss of a run that began with {before} and went on with {after} processes, off by more than 1e-5", 0, len(losses(tmp_path / "whole")))


def test_a_second_training_into_the_same_folder_is_refused_and_spoils_nothing(corpus, tmp_path):
    first = start(corpus, tmp_path, world=1, fault=("sleeps", 5, 0))
    until = time.monotonic() + 60
    while [path.name for path in (tmp_path / "run.run").glob("checkpoints/*")] != ["step-00000004"] and time.monotonic() < until:
        time.sleep(0.1)
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "train.pretrain", *FAST, f"data.corpus={corpus}", f"output={tmp_path / 'run'}"], cwd=ROOT, capture_output=True, text=True, env=environment(), timeout=120)
    assert done.returncode == 2 and f"process {first.processes[0].pid} of {socket.gethostname()} is training into this" in done.stderr and time.monotonic() - begun < 60, done.stderr
    assert intact(tmp_path) == [4]
    first.send(signal.SIGKILL)
    first.wait(10)
    second = start(corpus, tmp_path, world=1)  # a lock whose owner was killed holds nobody up
    assert second.wait() == [0] and not (tmp_path / "run.run").exists(), second.said()


# --- under the launchers ----------------------------------------------------------------------------------------------------------


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo"}


ACCELERATE = ["-m", "accelerate.commands.launch", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
LAUNCHERS = {
    "accelerate, one process": ([*ACCELERATE, "--cpu", "--num_processes", "1", "-m"], 1), "accelerate, two": ([*ACCELERATE, "--multi_gpu", "--num_processes", "2", "-m"], 2),
    "torchrun, two": (["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"], 2),
}


def descendants(marker):
    """Processes, but this one, whose command names the marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in command and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


BUSY = ["checkpoint_steps=1", "pretrain.validation.every_epochs=0.01"]
ROOM_FOR_ONE = 5_800
"""Kilobytes that a checkpoint fits into, and not another one beside it."""
SIZES = [2_000, 5_000, 9_000] if ROUNDS == 1 else [500, 1_500, 2_500, 3_500, 5_000, 6_200, 7_000, 8_000, 9_500, 11_000]
WAYS = [
    ("in a step", signal.SIGTERM, []), ("in a step", signal.SIGINT, []), ("in a step", signal.SIGHUP, []), ("while it saves", signal.SIGTERM, BUSY[:1]), ("while it validates", signal.SIGTERM, BUSY[1:]),
    ("twice", signal.SIGTERM, []), ("before it trains", signal.SIGTERM, []),
]
"""When a launcher is asked to end, and by what; by day the first alone."""


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_scheduler_that_ends_the_launcher_finds_a_checkpoint_and_no_orphan(corpus, tmp_path, counted, launcher):
    begin, world = LAUNCHERS[launcher]
    bad = 0
    for round in range(ROUNDS):
        output, (moment, number, more) = tmp_path / f"run-{round}", WAYS[round % len(WAYS)]
        command = [
            sys.executable, *begin, "train.pretrain", *FAST, f"data.corpus={corpus}", f"output={output}", f"processes={world}", "checkpoint_steps=100000", "pretrain.max_steps=100000", "pretrain.average=0", *more,
        ]
        with open(tmp_path / "talk", "w") as talk:
            process = subprocess.Popen(command, cwd=ROOT, stdout=talk, stderr=talk, env=environment())
            scratch, until = output.with_name(f"{output.name}.run"), time.monotonic() + 120
            there = {
                "before it trains": lambda: (tmp_path / "talk").stat().st_size > 0 or scratch.exists(), "while it saves": lambda: any(scratch.glob("checkpoints/.tmp-*")),
                "while it validates": lambda: (scratch / "log.jsonl").is_file() and '"valid' in (scratch / "log.jsonl").read_text(),
            }.get(moment, lambda: (scratch / "log.jsonl").is_file() and '"step": 20' in (scratch / "log.jsonl").read_text())
            while not there() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.001 if moment == "while it saves" else 0.05)
            assert process.poll() is None, (tmp_path / "talk").read_text()[-3000:]
            process.send_signal(number)
            asked = time.monotonic()
            if moment == "twice":
                time.sleep(0.05)
                process.send_signal(number)
            while descendants(str(output)) and time.monotonic() - asked < 20:
                time.sleep(0.1)
            left = descendants(str(output))
            process.wait(30)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        said = (tmp_path / "talk").read_text()
        saved = (not output.exists() and len(intact(tmp_path, output.name)) <= 1) if moment == "before it trains" else len(intact(tmp_path, output.name)) == 1 and said.count("the same command goes on from here") == 1
        bad += bool(left) or not saved or process.returncode == 0
        assert not bad, f"round {round}, {number.name} {moment}: {left} left, exit {process.returncode}\n{said[-3000:]}"
    counted(f"SIGTERM, SIGINT or SIGHUP to {launcher}, in a step, a save, a validation or before: an orphan, or no checkpoint, within 20 s", bad, ROUNDS)


LEFT = """
import json, sys; from pathlib import Path; from llmrec.publishing import verify
folder = Path(sys.argv[1]); steps = sorted(folder.glob("run.run/checkpoints/step-*"))
for step in steps: verify(step)
print(json.dumps([[path.name for path in folder.iterdir()], [path.name for path in folder.glob("run.run/checkpoints/*")], len(steps)]))
"""


@pytest.mark.parametrize("kilobytes", SIZES)
def test_a_full_disk_ends_with_its_code_the_folder_and_the_bytes(corpus, tmp_path, kilobytes):
    """A file system of so many kilobytes, which only this command sees: too small for a checkpoint, or for a second one beside it, or for the model. Then it grows."""
    disk = tmp_path / "disk"
    disk.mkdir()
    arguments = [*FAST, "model.width=128", f"data.corpus={corpus}", f"output={disk / 'run'}"]
    inside = f'mount -t tmpfs -o size={kilobytes}k none "{disk}" && shift 0 && "$@"; code=$?; "$1" -c \'{LEFT}\' "{disk}"; mount -o remount,size=100m none "{disk}"; "$@" > /dev/null; echo $?; exit $code'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", inside, "sh", sys.executable, "-m", "train.pretrain", *arguments], cwd=ROOT, capture_output=True, text=True, env=environment(), timeout=120)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this machine lets nobody mount: {done.stderr.strip()}")
    assert done.returncode == 5 and "were written and" in done.stderr and str(disk) in done.stderr and "Traceback" not in done.stderr, done.stderr[-2000:]
    left, again = done.stdout.splitlines()
    assert again == "0", done.stderr[-2000:]  # once there is room the same command goes on
    beside, checkpoints, whole = json.loads(left)
    assert beside == ["run.run"] and len(checkpoints) == whole == (kilobytes >= ROOM_FOR_ONE), done.stderr[-2000:]
