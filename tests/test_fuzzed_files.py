"""Files with damaged bytes: whatever is flipped, cut, doubled or thrown in, `prepare` ends with one of its exit codes and a sentence, and leaves a whole corpus or none."""

import gzip
import json
import os
import random

import polars as pl
import pytest

from llmrec.interactions import Corpus
from llmrec.prepare import main
from tests.highest_memory import watched

ROUNDS = int(os.environ.get("LLMREC_FUZZ_ROUNDS", "40"))
FLIPS = 200
ROWS = [{"user_id": f"u{n % 5}", "item_id": f"i{n % 7}", "timestamp": str(1_600_000_000 + n), "rating": str(1 + n % 5), "review": f"A “nice” one, number {n}"} for n in range(40)]


def text_of(separator):
    return "\n".join([separator.join(ROWS[0]), *(separator.join(f'"{value}"' for value in row.values()) for row in ROWS)]) + "\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    pl.DataFrame(ROWS).write_parquet(folder / "log.parquet")
    (folder / "log.csv").write_text(text_of(","))
    (folder / "log.tsv").write_text(text_of("\t"))
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "log.jsonl.gz").write_bytes(gzip.compress((folder / "log.jsonl").read_bytes(), mtime=0))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damaged(content: bytes, rng: random.Random) -> bytes:
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        content = content or bytearray(b"x")
        place, kind = rng.randrange(len(content)), rng.randrange(6)
        if kind == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[place] = rng.choice(b"\x00\x09\x0a\x0d\x22\x2c\x7b\x7d\x5b\x5c\x80\xc0\xed\xff")
        elif kind == 2:
            del content[place : place + rng.randrange(1, 40)]
        elif kind == 3:
            content[place:place] = content[place : place + rng.randrange(1, 40)]
        elif kind == 4:
            content[place:place] = rng.choice([b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\\ud800", b"NaN", b"1e999", b"[" * 2000, b'"', b"\xf4\x90\x80\x80"])
        else:
            del content[place:]
    return bytes(content)


@pytest.mark.parametrize("name", ["log.csv", "log.tsv", "log.jsonl", "log.jsonl.gz", "log.parquet"])
def test_a_damaged_file_ends_with_an_exit_code_and_a_sentence(files, name, tmp_path, capsys, counted):
    memory = watched()
    for seed in range(ROUNDS):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        (folder / name).write_bytes(damaged(files[name], random.Random(f"{name} {seed}")))
        code = main(["table", "--interactions", str(folder / name), "--out", str(folder / "corpus"), "--split", "none", "--max-bad", "0.5"])
        said = capsys.readouterr().err
        assert code in (0, 3) and "Traceback" not in said, f"seed {seed}: exit {code}\n{said}"
        if code:
            assert said.startswith("error: ") and os.listdir(folder) == [name], f"seed {seed}: {said}"
        else:
            report = Corpus.load(folder / "corpus").report
            assert report["rows_read"] == report["kept"] + report["merged"] + report["quarantined"], f"seed {seed}"
    assert memory() < 500 << 20, "files of a few kilobytes took half a gigabyte"
    counted(f"Damaged files ({name}) that ended otherwise than with 0 or 3 and a sentence", 0, ROUNDS)


def test_a_flipped_bit_of_a_corpus_is_found_before_anything_is_read(files, tmp_path, capsys, counted):
    """Parquet files with a flipped bit may be read without a word; the manifest's hashes tell."""
    (tmp_path / "log.csv").write_bytes(files["log.csv"])
    assert main(["table", "--interactions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "corpus"), "--split", "none"]) == 0
    rng, bad = random.Random(0), 0
    for number in range(FLIPS):
        path = tmp_path / "corpus" / ("items.parquet" if number % 2 else "interactions.parquet")
        whole = path.read_bytes()
        place = rng.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        try:
            Corpus.load(tmp_path / "corpus")
            bad += 1
        except ValueError as error:
            bad += f"{path} is not the file its manifest names" not in str(error)
        path.write_bytes(whole)
    counted("Flipped bits of a corpus that are not found by the file's name", bad, FLIPS)
    assert not bad and Corpus.load(tmp_path / "corpus").report["kept"] == len(ROWS)
