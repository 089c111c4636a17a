"""Any table at all: every row is kept, merged or quarantined; the format it comes in and the order of its rows change nothing; what is read is what was written."""

import csv
import io
import json
import os
import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.readers import table
from llmrec.readers.ingest import IngestSettings, assemble, clean
from llmrec.splits import SplitSettings, split_files

TABLES = int(os.environ.get("LLMREC_TABLES", "60"))
EXAMPLES = settings(deadline=None, derandomize=True, max_examples=TABLES, database=None)  # the same ones at every run

ids = st.one_of(st.sampled_from(["u1", "U1", "007", "7", "NA", "null", "1e5", "é", "e\u0301", " a", "<s>", "a,b", 'a"b', "👩‍👩‍👧", "=1+1", "../x"]), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(str.strip))
times = st.one_of(st.integers(0, 1_700_000_000).map(str), st.sampled_from(["2020-01-02", "2020-01-02T03:04:05Z", "-1", "soon", "", "1e18", "nan"]))
ratings = st.sampled_from(["1", "2.0", "3", "4.5", "5", "-0.0", "", "NaN", "inf", "five"])
texts = st.one_of(st.just(""), st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda text: "\x00" not in text and "\r" not in text))
row = st.fixed_dictionaries({"user_id": st.one_of(ids, st.just("")), "item_id": st.one_of(ids, st.just("")), "timestamp": times, "rating": ratings, "review": texts})
tables = st.lists(row, min_size=1, max_size=25)


def corpus_of(path: Path, folder: Path):
    """The corpus of a log, every row of which may be bad; None where no row is left."""
    folder.mkdir()
    try:
        cleaned = clean(table.read(path), folder, IngestSettings(max_bad_fraction=1.0))
    except ValueError as error:
        assert "none is left" in str(error), error
        return None
    split = split_files(cleaned.files, SplitSettings("leave_one_out"), ordering=cleaned.ordering, positive=cleaned.is_positive, shown=cleaned.is_shown, temporal=True)
    return assemble(cleaned, folder, split=split)


def written(rows, folder: Path) -> dict[str, Path]:
    """The same rows in three formats."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (folder / "log.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pl.DataFrame([{name: str(value) for name, value in row.items()} for row in rows]).write_parquet(folder / "log.parquet")
    return {path.suffix: path for path in folder.glob("log.*")}


@EXAMPLES
@given(rows=tables)
def test_every_row_is_accounted_for_in_every_format_alike(rows):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {suffix: corpus_of(path, folder / f"from{suffix}") for suffix, path in written(rows, folder).items()}
        reports = [corpus and dict(corpus.report) for corpus in found.values()]
        assert all(report == reports[0] for report in reports)
        if reports[0] is None:
            return
        report = reports[0]
        assert report["rows_read"] == len(rows) == report["kept"] + report["merged"] + report["quarantined"] and report["quarantined"] == sum(report["reasons"].values())
        bytes_of = [[(folder / f"from{suffix}" / file).read_bytes() for file in ("interactions.parquet", "items.parquet")] for suffix in found]
        assert all(files == bytes_of[0] for files in bytes_of)
        frame = found[".csv"].interactions.frame
        assert len(frame) == report["kept"] and set(frame["user_id"]) <= {row["user_id"] for row in rows} and set(frame["item_id"]) <= {row["item_id"] for row in rows}
        assert set(frame["review"].drop_nulls() if "review" in frame.columns else ()) <= {row["review"] for row in rows}


numbers = st.fixed_dictionaries({
    "user_id": ids, "item_id": ids, "timestamp": st.integers(0, 1_700_000_000), "rating": st.one_of(st.integers(1, 5).map(float), st.floats(-1e9, 1e9), st.sampled_from([0.1, 1e-7, 5e-324, 123456789.123])), "click": st.integers(0, 1),
})


@EXAMPLES
@given(rows=st.lists(numbers, min_size=1, max_size=25))
def test_numbers_are_the_same_whether_a_format_has_types_or_not(rows):
    """JSON's and Parquet's own numbers, and their text in CSV."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        typed = written(rows, folder)
        pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "rating": pl.Float64, "click": pl.Int64}).write_parquet(typed[".parquet"])
        found = {suffix: corpus_of(path, folder / f"from{suffix}") for suffix, path in typed.items()}
        assert len({corpus is None for corpus in found.values()}) == 1
        if found[".csv"] is None:
            return
        assert found[".csv"].report["rows_read"] == len(rows) and all(corpus.report == found[".csv"].report for corpus in found.values())
        bytes_of = [(folder / f"from{suffix}" / "interactions.parquet").read_bytes() for suffix in found]
        assert len(set(bytes_of)) == 1
        assert set(found[".csv"].interactions.frame["rating"].drop_nulls()) <= {row["rating"] for row in rows}


@EXAMPLES
@given(rows=st.lists(st.tuples(ids, ids), min_size=1, max_size=25), shuffled=st.randoms())
def test_the_order_of_rows_of_different_times_changes_nothing(rows, shuffled):
    log = [{"user_id": user, "item_id": item, "timestamp": str(1_000_000_000 + number), "rating": str(1 + number % 5), "review": ""} for number, (user, item) in enumerate(rows)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = corpus_of(written(log, folder)[".csv"], folder / "first")
        shuffled.shuffle(log)
        second = corpus_of(written(log, folder)[".csv"], folder / "second")
        assert (folder / "first" / "interactions.parquet").read_bytes() == (folder / "second" / "interactions.parquet").read_bytes() and len(first.interactions.frame) == len(second.interactions.frame) == len(log)
        again = folder / "again.csv"
        frame = first.interactions.frame
        frame.select("user_id", "item_id", pl.col("timestamp").cast(pl.Int64), "rating").write_csv(again)
        assert corpus_of(again, folder / "third").interactions.frame.equals(frame.drop("review"))  # what was read, written and read again
