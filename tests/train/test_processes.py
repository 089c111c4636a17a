"""How the processes of a run begin: their share of the cores, and a number that is the one meant."""

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
