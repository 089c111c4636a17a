"""Bad inputs, each a folder of tests/bad: what `prepare table` makes of it, what it says, and that every row is accounted for.

    tests/bad/NN_name/  log.* and items.*, the input         expect.json, what must come of it:
        input    the fault in words              exit     the exit status
        options  of prepare, beside the files    says     words that stand on stderr          silent   words that stand nowhere in it
        kept, merged, quarantined (by reason)    users, items, titles, scale    of the corpus
        make     a function of MAKERS that writes what is too large or too odd to be kept as a file
        untitled    items without a title
        plain    titles become text and nothing else in a prompt             same_as   a log that gives the same corpus to the byte
        file     the log's name, where it is not log.*                       prompt    titles as prompts show them

NN is the number of the fault in the plan these cases were drawn from; several cases may share one.
"""

import gzip
import json
import shutil
import time
from pathlib import Path

import pytest

from llmrec.interactions import Corpus
from llmrec.prepare import main
from llmrec.vocabulary import printable

CASES = sorted(Path(__file__).with_name("bad").glob("*/expect.json"))
HEADER = "user_id,item_id,timestamp,rating\n"
SECONDS = 30


def _gzip_bomb(folder):
    (folder / "log.csv.gz").write_bytes(gzip.compress(HEADER.encode() + b"u,i,1600000000,3\n" * 2_000_000, 9))


def _long_line(folder):
    (folder / "log.csv").write_text(HEADER + "u,i,1600000000," + "3" * 17_000_000 + "\n")


def _long_json_line(folder):
    (folder / "log.jsonl").write_text('{"user_id": "u", "item_id": "i", "timestamp": 1600000000, "review": "' + "3" * 17_000_000 + '"}\n')


def _deep_nesting(folder):
    rows = "".join(json.dumps({"user_id": f"u{n % 3}", "item_id": f"i{n}", "timestamp": 1600000000 + n, "rating": 3}) + "\n" for n in range(6))
    (folder / "log.jsonl").write_text(rows + "[" * 100_000 + "\n")


def _long_title(folder):
    (folder / "items.csv").write_text("item_id,title\n" + f"i0,{'word ' * 2_000_000}\n" + "".join(f"i{n},Title {n}\n" for n in range(1, 6)))


def _long_history(folder):
    (folder / "log.csv").write_text(HEADER + "".join(f"u0,i{n % 50},{1_000_000_000 + n},{1 + n % 5}\n" for n in range(100_000)))


MAKERS = {"gzip_bomb": _gzip_bomb, "long_line": _long_line, "long_json_line": _long_json_line, "deep_nesting": _deep_nesting, "long_title": _long_title, "long_history": _long_history}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_bad_input(path, tmp_path, capsys, toy_vocabulary):
    expect = json.loads(path.read_text(encoding="utf-8"))
    work = shutil.copytree(path.parent, tmp_path / "in")
    if "make" in expect:
        MAKERS[expect["make"]](work)
    begun = time.monotonic()
    code, said = prepared(work, tmp_path / "corpus", expect, capsys)
    assert time.monotonic() - begun < SECONDS
    assert code == expect["exit"], said
    assert "Traceback" not in said
    for words in expect.get("says", ()):
        assert words in said
    for words in expect.get("silent", ()):
        assert words not in said
    if code:
        assert not (tmp_path / "corpus").exists() and not list(tmp_path.glob("*.tmp*"))
        return
    corpus = Corpus.load(tmp_path / "corpus")
    report = corpus.report
    reasons = expect.get("quarantined", {})
    assert report["rows_read"] == report["kept"] + report["merged"] + report["quarantined"]
    assert (report["kept"], report["merged"], report["reasons"]) == (expect["kept"], expect.get("merged", 0), reasons)
    assert len(corpus.interactions.frame) == expect["kept"]
    rejects = tmp_path / "corpus" / "rejects.jsonl"
    assert (len(rejects.read_text(encoding="utf-8").split("\n")) - 1 if rejects.exists() else 0) == sum(reasons.values())
    if "users" in expect:
        assert corpus.interactions.frame["user_id"].unique().sort().to_list() == sorted(expect["users"])
    if "items" in expect:
        assert sorted(corpus.catalog.item_ids) == sorted(expect["items"])
    titles = dict(zip(corpus.catalog.item_ids, corpus.catalog.titles, strict=True))
    assert {item: titles[item] for item in expect.get("titles", {})} == expect.get("titles", {})
    assert {item: printable(titles[item]) for item in expect.get("prompt", {})} == expect.get("prompt", {})
    if "untitled" in expect:
        assert report["untitled_items"] == expect["untitled"]
    if "scale" in expect:
        assert list(corpus.rating_scale) == expect["scale"]
    if expect.get("plain"):
        for title in corpus.catalog.titles:
            ids = toy_vocabulary.quote(title)
            assert ids and not set(ids) & toy_vocabulary.control and max(ids) < toy_vocabulary.size
            assert toy_vocabulary.decode(ids).split() == title[:512].split()
    if "same_as" in expect:
        for log in work.glob("log.*"):
            log.unlink()
        (work / "log.csv").write_text(expect["same_as"])
        prepared(work, tmp_path / "same", expect, capsys)
        for name in ("interactions.parquet", "items.parquet"):
            assert (tmp_path / "same" / name).read_bytes() == (tmp_path / "corpus" / name).read_bytes()


def prepared(work, out, expect, capsys):
    [log] = work.glob(expect.get("file", "log.*"))
    items = [option for path in work.glob("items.*") for option in ("--items", str(path))]
    code = main(["table", "--interactions", str(log), *items, "--split", "none", *expect.get("options", ()), "--out", str(out)])
    return code, capsys.readouterr().err


def test_every_case_says_what_it_is_and_has_its_number():
    assert len(CASES) > 60
    for path in CASES:
        expect = json.loads(path.read_text(encoding="utf-8"))
        assert path.parent.name[:2].isdigit() and expect["input"] and expect["exit"] in (0, 3)
        assert ("kept" in expect) == (expect["exit"] == 0) and (expect["exit"] == 0 or expect["says"])
