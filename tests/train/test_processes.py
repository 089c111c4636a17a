"""How the processes of a run begin, their share of the cores and a number that is the one meant, and end."""

import subprocess
import sys
from pathlib import Path

import pytest

from llmrec.config import Settings
from train.processes import own_cores, start

SETTINGS = Settings(data={"corpus": "unused"}, output="no-such-folder", precision="fp32", threads=1)


@pytest.mark.parametrize("processes, threads", [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_the_processes_of_a_machine_share_its_physical_cores(monkeypatch, processes, threads):
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 12 if logical else 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as launchers set it
    monkeypatch.setattr("psutil.Process.cpu_affinity", lambda self: range(12))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert own_cores() == threads


def test_a_process_bound_to_few_cores_takes_no_more(monkeypatch):
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 8 if logical else None)  # as in some containers
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("psutil.Process.cpu_affinity", lambda self: [0, 3])
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert own_cores() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # by a launcher that binds each of them
    assert own_cores() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert own_cores() == 5


@pytest.mark.parametrize("number", [1, 3])
def test_another_number_of_processes_than_meant_ends_with_a_sentence(number, capsys):
    settings = SETTINGS.model_copy(update={"processes": number})
    if number == 1:
        assert start(settings).num_processes == 1
        return
    with pytest.raises(SystemExit) as end:
        start(settings)
    assert end.value.code == 2 and "1 process(es) run, processes=3 are meant" in capsys.readouterr().err


ENDINGS = """
import os, sys, time
from torch.distributed import TCPStore
from train import processes

processes.TELLING = 0  # always in the store
children = []
for _ in range(20):
    child = os.fork()
    if not child:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(store.port))
        processes.Watch(0, 2).start()
        time.sleep(0.2)
        sys.exit()
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.mark.slow
def test_a_process_that_is_watched_ends_as_it_means_to():
    """A thread found inside the store at the interpreter's end would abort it."""
    done = subprocess.run([sys.executable, "-c", ENDINGS], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120, check=False)
    assert done.stdout.strip() == str([0] * 20), done.stdout + done.stderr[-2000:]
