"""The command from outside: what it writes, what it says, and how it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from llmrec.interactions import Corpus
from llmrec.prepare import main
from llmrec.readers import LAYOUTS, OPTIONS, READERS

INTERACTIONS = """user_id,item_id,timestamp,rating,device
007,a,1600000000,4,tv
007,NA,1600000100,5,phone
007,b,1600000200,3,tv
007,b,1600000200,3,tv
7,b,1600000050,2,
7,a,1600000060,1,phone
"""
ITEMS = "item_id,title,genres\na,Heat,Crime|Drama\nNA,,\nb,Alien,Horror\nc,Unseen,Drama\n"


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "log.csv").write_text(INTERACTIONS)
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path


def table(folder, *options, log="log.csv", out="corpus"):
    return main(["table", "--interactions", str(folder / log), "--items", str(folder / "items.csv"), "--out", str(folder / out), *options])


def test_a_small_table_from_end_to_end(tables, capsys):
    assert table(tables, "--context", "device") == 0
    printed = capsys.readouterr()
    assert "rows read 6 = kept 5 + merged 1 + quarantined 0" in printed.err
    report = json.loads(printed.out)
    assert report["report"]["rows_read"] == 6
    corpus = Corpus.load(tables / "corpus")
    assert corpus.interactions.frame.select("user_id", "item_id", "position", "event", "part", "timestamp", "rating", "device").rows() == [
        ("007", "a", 0, "rating", "train", 1600000000.0, 4.0, "tv"),
        ("007", "NA", 1, "rating", "valid", 1600000100.0, 5.0, "phone"),
        ("007", "b", 2, "rating", "test", 1600000200.0, 3.0, "tv"),
        ("7", "b", 0, "rating", "train", 1600000050.0, 2.0, None),
        ("7", "a", 1, "rating", "train", 1600000060.0, 1.0, "phone"),
    ]
    assert {row["item_id"]: (row["title"], row["genres"]) for row in corpus.catalog.frame.to_dicts()} == {
        "a": ("Heat", ["Crime", "Drama"]), "NA": ("untitled", []), "b": ("Alien", ["Horror"]), "c": ("Unseen", ["Drama"]),
    }
    assert corpus.rating_scale == (1.0, 2.0, 4.0)
    assert corpus.split == {"rule": "leave_one_out", "temporal": True}
    assert corpus.report["audit"]["ok"]
    assert corpus.data_hash == report["data_hash"]
    assert sorted(path.name for path in tables.iterdir()) == ["corpus", "items.csv", "log.csv"]
    assert sorted(path.name for path in (tables / "corpus").iterdir()) == ["interactions.parquet", "items.parquet", "manifest.json"]


def test_formats_and_runs_give_equal_bytes(tables, capsys):
    frame = pl.read_csv(tables / "log.csv", infer_schema=False)
    lines = [{name: int(value) if name == "timestamp" else float(value) if name == "rating" else value for name, value in row.items() if value} for row in frame.to_dicts()]
    (tables / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    frame.with_columns(pl.col("timestamp").cast(pl.Int64), pl.col("rating").cast(pl.Float64)).write_parquet(tables / "log.parquet")
    (tables / "log.tsv").write_text(INTERACTIONS.replace(",", "\t"))
    for name in ("log.csv", "log.jsonl", "log.parquet", "log.tsv", "log.csv"):
        assert table(tables, "--context", "device", "--overwrite", log=name) == 0
        files = [(tables / "corpus" / file).read_bytes() for file in ("interactions.parquet", "items.parquet", "manifest.json")]
        if name == "log.csv":
            first = files
        assert files == first, name


def test_declarations_reach_the_corpus(tables, capsys):
    (tables / "log.csv").write_text("UserID,item_id,n,event,rating\n" + "".join(f"u,{item},{n},{event},{n}\n" for n, (item, event) in enumerate((("a", "Click"), ("b", "cart"), ("c", "CLICK"), ("NA", "click")))))
    options = ["--map", "user_id=UserID", "--order", "n", "--positive", "click", "--rating-scale", "3,2,1,0", "--like", "2", "--split", "leave_one_out"]
    assert table(tables, *options) == 0
    corpus = Corpus.load(tables / "corpus")
    assert (corpus.interactions.ordering, corpus.interactions.positive, corpus.rating_scale, corpus.like_threshold) == ("order", ("click",), (0.0, 1.0, 2.0, 3.0), 2.0)
    assert corpus.interactions.frame["part"].to_list() == ["train", "train", "valid", "test"]


def test_rejects_are_written_beside_the_corpus(tables, capsys):
    (tables / "log.csv").write_text(INTERACTIONS + "8,no such item,1600000000,3,tv\n")
    assert table(tables) == 3
    assert "1 unknown_item (the item table does not hold the item)" in capsys.readouterr().err
    assert not (tables / "corpus").exists()
    assert table(tables, "--max-bad", "0.2") == 0
    assert "quarantined 1 (unknown_item 1; see rejects.jsonl)" in capsys.readouterr().err
    reject = {"row": 7, "reason": "unknown_item", "values": {"user_id": "8", "item_id": "no such item", "timestamp": "1600000000", "rating": "3"}}
    assert json.loads((tables / "corpus" / "rejects.jsonl").read_text()) == reject


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "bad.csv is empty"), ("user_id,timestamp\nu,1\n", "no column 'item_id'"), ("user_id,item_id\n", "no rows"), ("user_id;item_id\nu;a\n", "separator"), ("user_id,item_id,timestamp\nu,a,1600000000000\n", "--time-unit")],
)
def test_bad_data_is_one_sentence_and_status_3(tables, capsys, text, message):
    (tables / "bad.csv").write_text(text)
    assert table(tables, log="bad.csv") == 3
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert message in error[0]
    assert not (tables / "corpus").exists()
    assert not [path for path in tables.iterdir() if path.name.startswith(".tmp")]


def test_usage_is_status_2(tables, capsys):
    assert table(tables) == 0
    before = (tables / "corpus" / "manifest.json").read_bytes()
    assert table(tables) == 2
    assert "corpus exists; name another folder or say --overwrite" in capsys.readouterr().err
    assert table(tables, log="nowhere.csv", out="other") == 2
    assert main(["movielens", "--path", str(tables), "--out", str(tables / "other")]) == 2
    assert "u.item" in capsys.readouterr().err
    for wrong in (["nosuch"], ["table", "--out", "x"], ["table", "--interactions", "x", "--out", "y", "--split", "loo"], ["table", "--interactions", "x", "--out", "y", "--map", "user_id"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2
    assert (tables / "corpus" / "manifest.json").read_bytes() == before


def test_bad_data_leaves_the_old_corpus(tables, capsys):
    assert table(tables) == 0
    (tables / "bad.csv").write_text("")
    assert table(tables, "--overwrite", log="bad.csv") == 3
    assert Corpus.load(tables / "corpus").report["rows_read"] == 6


def test_rows_wait_beside_the_corpus_and_nowhere_else(tables, capsys, monkeypatch):
    """A killed process would leave them there, and the machine's temporary folder may have no room for a large log."""
    monkeypatch.setattr("tempfile.tempdir", str(tables / "nowhere"))
    before = {*tables.iterdir()}
    assert table(tables, out="spooled") == 0 and {*tables.iterdir()} - before == {tables / "spooled"} and not list((tables / "spooled").glob(".*"))


def test_every_reader_has_its_command_and_options(capsys):
    for name in READERS:
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        told = " ".join(capsys.readouterr().out.split())
        assert all(f"--{option.replace('_', '-')}" in told for option in OPTIONS[name]) and " ".join(LAYOUTS[name].split()) in told  # what it expects, and where it comes from


def test_a_simulated_world_is_prepared_by_the_same_way(tmp_path, capsys):
    arguments = ["simulation", "--path", str(tmp_path / "world"), "--users", "30", "--items", "60", "--days", "20", "--seed", "5"]
    assert main([*arguments, "--out", str(tmp_path / "corpus"), "--positive", "click,purchase,rating"]) == 0
    corpus = Corpus.load(tmp_path / "corpus")
    assert corpus.report["source"]["world"]["seed"] == 5
    assert corpus.report["quarantined"] == 0
    assert corpus.report["rows_read"] == len((tmp_path / "world" / "interactions.csv").read_text().splitlines()) - 1
    assert corpus.interactions.has("review")
    assert corpus.interactions.context == ("hour", "weekday", "device", "place", "promotion")
    assert len(corpus.catalog) == 60


def test_help_imports_no_torch():
    code = "import sys; from llmrec.prepare import main\ntry: main(['--help'])\nexcept SystemExit: print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1], env={**os.environ}, check=True)
    assert done.stdout.strip().endswith("[]")


def test_movietweetings_from_files_to_corpus(data, tmp_path, capsys):
    source = data / "movietweetings-100k" / "demo_5core"
    if not source.is_dir():
        pytest.skip(f"{source} is missing: set LLMREC_DATA")
    options = ["--map", "user_id=user", "--map", "item_id=movie", "--map", "timestamp=ts", "--like", "7"]
    arguments = ["table", "--interactions", str(source / "ratings.csv.gz"), "--items", str(source / "movies.csv.gz"), *options]
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 0
    corpus = Corpus.load(tmp_path / "a")
    assert corpus.report["rows_read"] == 68_055
    assert corpus.report["kept"] + corpus.report["merged"] + corpus.report["quarantined"] == 68_055
    assert corpus.interactions.frame["user_id"].n_unique() == 4_333
    assert len(corpus.catalog) == 2_414
    counts = corpus.interactions.frame["part"].value_counts().sort("part").rows()
    assert counts == [("test", 4_333), ("train", 59_389), ("valid", 4_333)]
    assert corpus.report["audit"]["ok"]
    # Movie ids keep their leading zeros.
    assert any(item_id.startswith("0") for item_id in corpus.catalog.item_ids)
    assert main([*arguments, "--out", str(tmp_path / "b"), "--split", "by_time"]) == 0
    by_time = Corpus.load(tmp_path / "b")
    assert by_time.interactions.part("train").frame["timestamp"].max() < by_time.interactions.part("test").frame["timestamp"].min()
    assert by_time.catalog.item_ids == corpus.catalog.item_ids
