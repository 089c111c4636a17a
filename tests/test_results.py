"""The file of results: whole or absent, gone on from after any crash to the same bytes, one writer at a time, and never mixed of two runs."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from llmrec.results import OtherRun, ResultFile

KEY = {"model": "a", "input": "b"}
ROWS = [{"id": f"r{n}", "text": "é\u2028" * (n % 5)} for n in range(40)]
WHOLE = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)
KILLS = int(os.environ.get("LLMREC_KILLS", "12"))


def run(path, key=KEY, rows=ROWS):
    with ResultFile(path, key) as results:
        for row in rows[results.rows :] if not results.finished else ():
            results.write(row)


def test_a_torn_tail_at_any_byte_is_cut_and_gone_on_from(tmp_path, counted):
    path = tmp_path / "out.jsonl"
    begin = len(b"".join(WHOLE.splitlines(keepends=True)[:-8]))
    for end in range(begin, len(WHOLE) + 1):
        run(path, {**KEY, "input": end}, [])  # leaves the key, as a run that was killed early
        path.unlink()
        (tmp_path / ".part-out.jsonl").write_bytes(WHOLE[:end])
        run(path, {**KEY, "input": end})
        assert path.read_bytes() == WHOLE, end
    counted("Results torn at a byte of their last eight rows that differ once gone on with", 0, len(WHOLE) + 1 - begin)


@pytest.mark.parametrize("tail", [b"\0" * 50, b"\0" * 50 + b"\n", b"garbage\n", b'{"id": "r1', b'{"id": \n'])
def test_what_is_no_row_at_the_end_is_cut(tmp_path, tail):
    path = tmp_path / "out.jsonl"
    run(path, rows=[])
    path.unlink()
    (tmp_path / ".part-out.jsonl").write_bytes(b"".join(WHOLE.splitlines(keepends=True)[:5]) + tail)
    with ResultFile(path, KEY) as results:
        assert results.rows == 5
        for row in ROWS[5:]:
            results.write(row)
    assert path.read_bytes() == WHOLE


def test_a_finished_file_is_untouched(tmp_path):
    path = tmp_path / "out.jsonl"
    run(path)
    before = path.stat()
    with ResultFile(path, KEY) as results:
        assert results.finished
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns) and path.read_bytes() == WHOLE
    run(path, {**KEY, "model": "c"}, ROWS[:3])  # another run makes the file anew
    assert path.read_bytes() == b"".join(WHOLE.splitlines(keepends=True)[:3])


def test_rows_of_another_run_are_refused_and_kept(tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt), ResultFile(path, KEY) as results:
        results.write(ROWS[0])
        raise KeyboardInterrupt
    with pytest.raises(OtherRun, match="model: 'a' -> 'c'"):
        ResultFile(path, {**KEY, "model": "c"})
    run(path)
    assert path.read_bytes() == WHOLE


def test_a_run_that_cannot_be_asked_again_leaves_nothing(tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt), ResultFile(path, None) as results:
        results.write(ROWS[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".part-out.jsonl").write_bytes(WHOLE)  # as one that was killed leaves it
    run(path, None)
    assert path.read_bytes() == WHOLE and [found.name for found in tmp_path.iterdir()] == ["out.jsonl"]
    (tmp_path / ".part-out.jsonl").write_bytes(WHOLE)
    run(path)
    assert path.read_bytes() == WHOLE


def test_a_second_writer_is_refused(tmp_path):
    with ResultFile(tmp_path / "out.jsonl", KEY) as results:
        with pytest.raises(BlockingIOError, match="another process is writing"):
            ResultFile(tmp_path / "out.jsonl", KEY)
        for row in ROWS:
            results.write(row)
    assert (tmp_path / "out.jsonl").read_bytes() == WHOLE


WRITER = """
import json, sys, time
from pathlib import Path
from llmrec.results import ResultFile
rows = [{"id": f"r{n}", "text": "é\\u2028" * (n % 5)} for n in range(40)]
with ResultFile(Path(sys.argv[1]), {"model": "a", "input": "b"}) as results:
    for number, row in enumerate(rows[results.rows:] if not results.finished else ()):
        results.write(row)
        if number % 3 == 0:
            results.keep()
        time.sleep(0.002)
"""


def test_kills_at_any_time_change_no_byte(tmp_path, counted):
    rng, kills, files = random.Random(0), 0, 0
    while kills < KILLS:
        path = tmp_path / f"{files}.jsonl"
        while not path.exists():
            process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
            try:
                process.wait(timeout=rng.uniform(0.03, 0.25))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
        assert path.read_bytes() == WHOLE, f"file {files}"
        files += 1
    counted("Kills of a writer of results after which its file differs by a byte", 0, kills)
