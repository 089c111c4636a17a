"""Trainings in processes forked from one that has imported everything: a kill costs a second instead of ten, and faults can be planted at a step of one process.

Not a test: tests/train/test_survival.py and test_peers.py start these. Forked by multiprocessing's fork server, so that nothing of pytest's own process is copied.
"""

import atexit
import builtins
import io
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["train.pretrain", "train.finetune", "train.setup", "train.items", "torch.utils.tensorboard", "launched"])


class Run:
    """A training of `world` processes. fault: (what, at which step, of which process), as `planted` knows them. talk: what all processes said. idle: seconds without work after which all end."""

    def __init__(self, phase, arguments, talk, *, world=1, fault=None, idle=25):
        self.talk = Path(talk)
        self.talk.write_bytes(b"")
        shared = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo"}
        if world > 1:
            shared |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {} for rank in range(world)]
        self.processes = [
            SERVER.Process(target=begin, args=(phase, [str(argument) for argument in arguments], {**shared, **rank}, str(talk), fault if fault and fault[2] == number else None, idle))
            for number, rank in enumerate(ranks)
        ]
        atexit.register(self.send, signal.SIGKILL)  # a test that fails waits for nobody
        for process in self.processes:
            process.start()

    def wait(self, seconds=120):
        """The exit codes, minus the number of the signal for one that was killed. Fails where a process is still there after so many seconds, and leaves none behind."""
        until = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, until - time.monotonic()))
        late = [process.pid for process in self.processes if process.exitcode is None]
        for pid in late:
            os.kill(pid, signal.SIGKILL)
        assert not late, f"{len(late)} of {len(self.processes)} processes were still there after {seconds} s\n{self.said()}"
        return [process.exitcode for process in self.processes]

    def send(self, number, rank=None):
        for process in self.processes if rank is None else [self.processes[rank]]:
            if process.exitcode is None:
                os.kill(process.pid, number)

    def said(self):
        return self.talk.read_text(errors="replace")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def begin(phase, arguments, environment, talk, fault, idle):
    """What a forked process does: the command's own main, with its talk in a file."""
    descriptor = os.open(talk, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.environ.update(environment)
    from train import finetune, loop, pretrain, processes

    processes.IDLE_SECONDS, loop.LOG_STEPS = idle, 1  # every step's loss is compared

    if fault is not None:
        planted(*fault[:2])
    sys.exit({"pretrain": pretrain, "finetune": finetune}[phase].main(arguments))


def planted(what, at):
    """Something happens when step `at` begins; or the process is killed at its file operation number `at`, counted from the first that belongs to this run's output."""
    from train import loop

    if what == "killed while it writes":
        return _killed_at_operation(at)

    seed = loop._seed

    def seeded(number, step, process):
        seed(number, step, process)
        if step == at:
            FAULTS[what]()

    loop._seed = seeded


OPERATIONS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")


def _killed_at_operation(at):
    """Before the operation takes place; of a file that is opened to be written, once it is there and empty."""
    done = 0

    def step():
        nonlocal done
        done += 1
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting(call):
        def counted(*arguments, **keywords):
            step()
            return call(*arguments, **keywords)

        return counted

    def opening(file, mode="r", *arguments, _open=open, **keywords):
        found = _open(file, mode, *arguments, **keywords)
        if set(mode) & set("wax") and ".tmp-" in str(file):  # what is to be published; a line of the log is opened at every step
            step()
        return found

    for name in OPERATIONS:
        setattr(os, name, counting(getattr(os, name)))
    builtins.open = io.open = opening


def _no_number():
    """The gradient of this process, and not its loss, is NaN in this step."""
    from train.balance import Weighing

    forward = Weighing.forward

    def poisoned(self, batch):
        Weighing.forward = forward
        sums, counted = forward(self, batch)
        return sums, counted + (counted - counted.detach()).abs().sqrt()  # adds 0, whose derivative is none

    Weighing.forward = poisoned


def _no_memory():
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held, resource.RLIM_INFINITY))


FAULTS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL), "ends early": lambda: os._exit(0), "raises": lambda: 1 / 0, "sleeps": lambda: time.sleep(1000),
    "stands still": lambda: os.kill(os.getpid(), signal.SIGSTOP), "no number": _no_number, "no memory": _no_memory, "asked to end": lambda: os.kill(os.getpid(), signal.SIGTERM),
}
