"""docs/reliability.json and docs/reliability.md from a run of the tests: how many of how many things went wrong.

    pytest -p tests.reliability --reliability docs ...      # `make test-nightly` does

A figure is what a test counted (the fixture `counted`), how many of the tests behind a claim of CLAIMS failed, or how many of a file that saw any fail.
Figures of files that were not run stand as they were; without reliability.json, as `make test-nightly` begins, nothing does, and the time that all of it took is a figure, too.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

CLAIMS = {
    "Bad inputs answered otherwise than stated": "tests/test_bad_input.py::test_bad_input",
    "JSON texts of odd form that are taken for rows, or spoil one": "tests/readers/test_json_lines.py",
    "Properties of accounting (rows read = kept + merged + quarantined, in every format) that do not hold": "tests/test_accounting.py",
    "Evil model folders that are loaded, run something, or take more than 2 s or 500 MB": "tests/test_evil_files.py::test_an_evil_folder_is_refused_and_runs_nothing",
    "Kinds of planted leaks that are not found": "tests/audit/test_audit_planted.py::test_a_planted_leak_is_found",
    "Alarms on clean logs, questions and models": "tests/audit/test_audit_clean.py",
    "Processes of two that wait for one that is gone": "tests/train/test_peers.py::test_where_one_process_is_gone",
    "Processes of two that wait for one that hangs": "tests/train/test_peers.py::test_where_one_process_hangs",
    "Full disks without the code, the sentence or a clean folder": "tests/train/test_peers.py::test_a_full_disk",
    "Tensors that are not finite and were saved": "tests/train/test_checkpoint.py::test_a_tensor_that_is_not_finite",
    "Settings or data that changed under a checkpoint without a word": "tests/train/test_checkpoint.py::test_other_settings_or_data",
    "Full runs that ask for another machine or say anything of the data": "tests/test_privacy.py::test_a_full_run",
    "Kinds of item codes with prompts that name somebody": "tests/test_privacy.py::test_nobodys_id",
    "Versions with known holes that are let in": "tests/test_packaging.py::test_no_version_with_a_known_hole",
    "Broken copies that no test notices": "tests/test_mutants.py::test_a_mutant_is_caught",
}
PREAMBLE = """# Reliability

Written by `pytest -p tests.reliability --reliability docs` from its last run; do not edit. A figure says how many of how many went wrong; the goal is none.
Kills and faults are those of Linux on a CPU, and a loss of power that of a model of a disk: real drives, other systems, more than three processes and network disks are not shown here.
"""
TOLD = ("LLMREC_KILLS", "LLMREC_ROUNDS", "LLMREC_FUZZ_ROUNDS", "LLMREC_TABLES", "LLMREC_POSITIONS", "LLMREC_QUESTIONS")
"""What sets how often something is tried."""


def pytest_addoption(parser):
    parser.addoption("--reliability", metavar="FOLDER", help="write reliability.json and reliability.md into this folder")


def pytest_configure(config):
    if config.getoption("--reliability") and not hasattr(config, "workerinput"):  # workers tell the process that began them
        config.pluginmanager.register(Record(Path(config.getoption("--reliability"))), "reliability-record")


class Record:
    """What the tests of a session counted, and how those behind a claim ended."""

    def __init__(self, folder: Path):
        self.folder, self.begun = folder, time.monotonic()
        self.counted: dict[str, tuple[int, int, str]] = {}
        self.ended: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and not report.skipped or report.failed:
            self.ended[report.nodeid] = self.ended.get(report.nodeid, True) and not report.failed
        if report.when == "call":
            for kind, told in report.user_properties:
                if kind == "counted":
                    name, bad, of = told
                    before = self.counted.get(name, (0, 0, ""))
                    bad = max(bad, int(report.failed))  # what failed it need not be what it counted
                    self.counted[name] = (before[0] + bad, before[1] + of, report.nodeid.split("::")[0])

    def pytest_sessionfinish(self):
        found = [row(name, bad, of, file) for name, (bad, of, file) in self.counted.items()]
        for name, prefix in CLAIMS.items():
            mine = [passed for nodeid, passed in self.ended.items() if nodeid.startswith(prefix)]
            if mine:
                found.append(row(name, mine.count(False), len(mine), prefix.split("::")[0]))
        path = self.folder / "reliability.json"
        files: dict[str, list[bool]] = {}
        for nodeid, passed in self.ended.items():
            files.setdefault(nodeid.split("::")[0], []).append(passed)
        found += [row(f"Tests of {file} that fail", passed.count(False), len(passed), file) for file, passed in files.items() if not all(passed)]  # one may have failed before it counted
        before = []
        if path.is_file():
            before = [each for each in json.loads(path.read_text(encoding="utf-8")) if each["command"].split()[-1] not in files]
        else:
            minutes = math.ceil((time.monotonic() - self.begun) / 60)
            found.append(row("Minutes of all of it beyond 75", max(0, minutes - 75), minutes, "tests"))
        rows = {each["name"]: each for each in [*before, *found]}
        ordered = sorted(rows.values(), key=lambda each: (each["command"].split()[-1], each["name"]))
        path.write_text("[\n" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in ordered) + "\n]\n", encoding="utf-8")
        (self.folder / "reliability.md").write_text(page(ordered), encoding="utf-8")


def row(name: str, bad: int, of: int, file: str) -> dict[str, object]:
    settings = "".join(f"{key}={os.environ[key]} " for key in TOLD if key in os.environ)
    return {"name": name, "figure": f"{bad} of {of:,}", "goal": "0", "holds": bad == 0 and of > 0, "command": f'{settings}pytest -m "nightly or not nightly" {file}'}


def page(rows: list[dict[str, object]]) -> str:
    parts = [PREAMBLE]
    for command in dict.fromkeys(each["command"] for each in rows):
        lines = [f"| {each['name']} | {each['figure']} | {'holds' if each['holds'] else '**missed**'} |" for each in rows if each["command"] == command]
        parts.append("\n".join([f"`{command}`\n", "| | figure | |", "|---|---|---|", *lines]) + "\n")
    return "\n".join(parts)
