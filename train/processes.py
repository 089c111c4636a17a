"""The processes of a run: how each begins, and whether all of them still work.

Separate from the loop, which asks the accelerator alone what number it has and how many there are.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress

import psutil
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch.distributed import PrefixStore, TCPStore

from llmrec.config import Settings
from llmrec.exits import PEER_LOST, USAGE
from llmrec.publishing import check_free

IDLE_SECONDS = 25
"""How long no process of the run may do anything before all end: with the launcher's own 30 seconds for one that hears nothing any more, less than a minute."""
WORK, IDLING = 0.25, 0.01
"""Seconds of computing that count as work, and those in each second that count as none: this thread, the store and progress bars take some thousandths."""
TELLING = 1.0
"""Seconds between two words to the other processes."""


def start(settings: Settings) -> Accelerator:
    """The accelerator of this run. Exits with 2 and a sentence where the number of processes is not the one meant.

    Raises FileExistsError where the output stands already, before anything long begins.
    """
    check_free(settings.output, overwrite=settings.overwrite)
    follow_launcher()
    torch.set_num_threads(settings.threads or own_cores())
    bf16 = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.ops.mkldnn._is_mkldnn_bf16_supported()
    precision = {"auto": "bf16" if bf16 else "no", "fp32": "no", "bf16": "bf16"}[settings.precision]
    # Some parameters take no part in some batches (a projection, where no item stands in one).
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available(), kwargs_handlers=[unused])
    logging.basicConfig(level=logging.INFO if accelerator.is_main_process else logging.ERROR, format="%(message)s", stream=sys.stderr)
    if accelerator.num_processes != settings.processes:
        sys.stderr.write(
            f"{accelerator.num_processes} process(es) run, processes={settings.processes} are meant. On GPUs say `accelerate launch --num_processes {settings.processes} -m train.finetune ...`: left alone, it starts one for each. "
            f"On CPUs say `torchrun --standalone --nproc_per_node {settings.processes} -m train.finetune ...`: accelerate's own launcher starts one there without a word.\n"
        )
        sys.exit(USAGE)
    if accelerator.num_processes > 1:
        Watch(accelerator.process_index, accelerator.num_processes).start()
    return accelerator


def own_cores() -> int:
    """This process's part of the machine's physical cores. Launchers give each process one thread (OMP_NUM_THREADS=1) however many cores stand idle; a larger OMP_NUM_THREADS is taken as meant."""
    meant = int(os.environ.get("OMP_NUM_THREADS") or 1)
    if meant > 1:
        return meant
    bound_to = getattr(psutil.Process(), "cpu_affinity", lambda: range(psutil.cpu_count()))()  # macOS binds nothing
    cores = min(psutil.cpu_count(logical=False) or len(bound_to), len(bound_to))
    shared = len(bound_to) >= psutil.cpu_count()  # a launcher that binds processes has shared the cores out already
    return max(1, cores // (int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if shared else 1))


def follow_launcher() -> None:
    """Asks the kernel for SIGTERM when the launcher that started this process is gone: accelerate's, ended while it runs one process, passes nothing on and would leave it behind.

    Linux only, and only under a launcher: a training started from a shell outlives it as any program does.
    """
    if sys.platform == "linux" and ("TORCHELASTIC_RUN_ID" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG


class Meter:
    """Tells whether a process has computed WORK seconds since it was last seen to. What idling takes runs off, so that it never adds up to work, nor fills up what was left from before."""

    def __init__(self, now: float):
        self._counted = now

    def worked(self, now: float) -> bool:
        """To be asked every second. now: the seconds the process has computed so far."""
        self._counted = min(now, self._counted + IDLING)
        worked = now - self._counted >= WORK
        if worked:
            self._counted = now
        return worked


class Watch(threading.Thread):
    """Ends this process with PEER_LOST, and says where it stands, when no process of the run has worked for IDLE_SECONDS.

    A process works while it computes or waits for a disk. One that waits for another does not, so a single one that hangs, however it hangs, makes the whole run idle.
    The processes tell each other through the store that the launcher gave them (MASTER_ADDR, MASTER_PORT). Time is counted in wakings, so that a run that is suspended as a whole is not idle.
    """

    def __init__(self, rank: int, world: int):
        super().__init__(daemon=True, name="watch")
        self.rank, self.world = rank, world
        self._untold = self._told = 0
        self._over = threading.Event()
        self._teller = threading.Thread(target=self._tell, daemon=True, name="watch-store")
        self._store = PrefixStore("watch", TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False))

    def start(self) -> None:
        self._teller.start()
        atexit.register(self._end)
        super().start()

    def run(self) -> None:
        process, meter, seen, idle = psutil.Process(), Meter(time.process_time()), 0, 0
        while idle < IDLE_SECONDS:
            time.sleep(1)
            worked = meter.worked(time.process_time()) or process.status() == psutil.STATUS_DISK_SLEEP
            self._untold += worked
            before, seen = seen, self._told
            idle = 0 if worked or seen != before else idle + 1
        sys.stderr.write(f"process {self.rank} of {self.world}: none has worked for {IDLE_SECONDS} seconds, so one of them hangs; the last checkpoint is intact. Where this one stands:\n")
        faulthandler.dump_traceback()
        os._exit(PEER_LOST)

    def _tell(self) -> None:
        """Apart from the counting: where the process that keeps the store stands still, the store never answers."""
        with suppress(RuntimeError):  # the store is gone with the process that kept it: what this one does is all that is known
            while not self._over.wait(TELLING):
                news, self._untold = self._untold, 0
                self._told = self._store.add("worked", news)

    def _end(self) -> None:
        """A thread that the interpreter's end finds inside the store takes the process with it, by SIGABRT, though all was done."""
        self._over.set()
        self._teller.join(timeout=5)
