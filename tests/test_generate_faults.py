"""The command that answers, killed at any time and on disks that fill: nothing is lost, nothing stands twice, and the same command comes to the same bytes."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmrec import generate
from llmrec.recommender import save_recommender

pytestmark = pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
KILLS = max(2, int(os.environ.get("LLMREC_KILLS", "0")) // 30)
SIZES = [0, 1, 100, 5_000, 20_000, 60_000, 100_000, 150_000, 200_000, 250_000]
"""Bytes a file may have at most, as on a disk that is full behind them; the answers have some 300,000."""


def undisturbed(count, toy_parts, toy_tokenizer, tmp_path):
    """A model, requests for it (one in ten of which is none), and what an undisturbed run answers: the arguments without an output, and the bytes."""
    model, rng = tmp_path / "model", random.Random(0)
    model.mkdir()
    save_recommender(model, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=None, card={}, kind="base")
    requests = [{"id": f"r{n}", "history": rng.choices([f"i{n}" for n in range(12)], k=rng.randrange(8)), "k": 0 if n % 10 == 0 else 3} for n in range(count)]
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(request) + "\n" for request in requests))
    arguments = [str(model), "--input", str(tmp_path / "requests.jsonl")]
    assert generate.main([*arguments, "--output", str(tmp_path / "whole.jsonl")]) == 0
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert [json.loads(line)["id"] for line in whole.splitlines()] == [request["id"] for request in requests] and whole.count(b'"error"') == count // 10
    return arguments, whole


@pytest.mark.nightly
def test_the_command_killed_at_any_time_comes_to_the_same_bytes(toy_parts, toy_tokenizer, tmp_path, counted):
    arguments, whole = undisturbed(40_000, toy_parts, toy_tokenizer, tmp_path)  # three windows, of which each is kept once it is answered
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    rng, kills, files, going_on = random.Random(0), 0, 0, 0
    while kills < KILLS:
        output, part = tmp_path / f"{files}.jsonl", tmp_path / f".part-{files}.jsonl"
        mine = 0
        while not output.exists():
            process = subprocess.Popen([sys.executable, "-m", "llmrec.generate", *arguments, "--output", str(output)], env=surroundings, stderr=subprocess.DEVNULL)
            before, until = part.stat().st_size if part.exists() else 0, time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until and not (part.exists() and part.stat().st_size > before):
                time.sleep(0.01)
            try:  # what comes before the first rows is the time to load: kills are drawn around the writing
                process.wait(timeout=rng.uniform(0, 1.5) if mine < 5 else 120)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills, mine = kills + 1, mine + 1
                going_on += part.exists() and part.stat().st_size > 0
        assert output.read_bytes() == whole, f"file {files}"
        files += 1
    counted("Kills of the command that answers after which its file differs by a byte", 0, kills)
    assert going_on


def test_a_full_disk_leaves_whole_rows_that_the_same_command_goes_on_behind(toy_parts, toy_tokenizer, tmp_path, capsys, counted):
    arguments, whole = undisturbed(2_000, toy_parts, toy_tokenizer, tmp_path)
    for size in SIZES:
        output, part = tmp_path / f"{size}.jsonl", tmp_path / f".part-{size}.jsonl"
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            code = generate.main([*arguments, "--output", str(output)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        said = capsys.readouterr().err
        assert code == 5 and "File too large" in said and "Traceback" not in said and not output.exists(), f"{size}: exit {code}, {said}"
        assert not part.exists() or whole.startswith(part.read_bytes()), size
        assert generate.main([*arguments, "--output", str(output)]) == 0 and output.read_bytes() == whole, size
    counted("Disks that fill while the command answers, after which its file differs by a byte", 0, len(SIZES))
