"""The event log and the catalogue: what they must hold, and a corpus that reads back as it was written or not at all."""

import json
from dataclasses import replace

import polars as pl
import pytest

from llmrec.interactions import Catalog, Corpus, Interactions, sha256
from llmrec.publishing import publish

ROWS = [("u1", "a", 0, "impression", "train"), ("u1", "a", 1, "click", "train"), ("u1", "b", 2, "purchase", "valid"), ("u2", "b", 0, "rating", "test")]


def log(**options):
    return Interactions(pl.DataFrame(ROWS, schema=["user_id", "item_id", "position", "event", "part"], orient="row"), **options)


def catalog(ids=("a", "b", "c")):
    return Catalog(pl.DataFrame({"item_id": ids, "title": ["Night Train", None, "夏天的海"][: len(ids)], "genres": [["Drama"], [], ["Comedy", "Drama"]][: len(ids)], "year": [["1990"], ["1991"], None][: len(ids)]}))


# --- the log -----------------------------------------------------------------------------------------------------------------------


def test_a_log_without_a_column_is_refused_by_name():
    with pytest.raises(ValueError, match=r"lack the columns \['position', 'part'\]"):
        Interactions(log().frame.drop("position", "part"))
    with pytest.raises(ValueError, match="ordering is 'time'"):
        log(ordering="time")


def test_a_part_is_a_new_log_of_the_same_kind():
    whole = log(ordering="order", positive=("click",), context=())
    train = whole.part("train")
    assert (len(train), len(whole), train.ordering, train.positive) == (2, 4, "order", ("click",))
    assert whole.part("valid", "test").frame["item_id"].to_list() == ["b", "b"] and len(whole.part()) == 0


def test_a_column_of_nulls_is_not_offered():
    frame = log().frame.with_columns(rating=pl.Series([None, 4.0, None, None]), review=pl.lit(None, dtype=pl.String))
    whole = Interactions(frame)
    assert whole.has("rating") and not whole.has("review") and not whole.has("query")
    assert not whole.part("test").has("rating")


def test_streams_are_of_every_event_but_impressions_unless_it_is_said():
    assert log().frame.filter(log().is_positive)["event"].to_list() == ["click", "purchase", "rating"]
    chosen = log(positive=("impression", "purchase"))
    assert chosen.frame.filter(chosen.is_positive)["event"].to_list() == ["impression", "purchase"]


# --- the catalogue -----------------------------------------------------------------------------------------------------------------


def test_an_item_stands_once_and_its_row_is_its_place():
    items = catalog()
    assert items.rows == {"a": 0, "b": 1, "c": 2} and items.row("c") == 2 and items.titles == ["Night Train", "", "夏天的海"] and len(items) == 3
    with pytest.raises(ValueError, match="twice"):
        catalog(("a", "a"))
    with pytest.raises(KeyError, match="unknown item 'd': the catalogue has 3 items, such as"):
        items.row("d")


def test_attributes_are_lists_and_know_their_holders():
    items = catalog()
    assert items.attributes == ("genres", "year")
    assert items.attribute_values == {"genres": [["Drama"], [], ["Comedy", "Drama"]], "year": [["1990"], ["1991"], []]}
    assert items.holders == {"genres": {"Drama": [0, 2], "Comedy": [2]}, "year": {"1990": [0], "1991": [1]}}


# --- the corpus --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(toy_corpus, tmp_path):
    with publish(tmp_path / "corpus") as folder:
        toy_corpus.save(folder)
    return tmp_path / "corpus"


def test_a_corpus_reads_back_as_it_was_written(saved, toy_corpus):
    again = Corpus.load(saved)
    assert again.interactions.frame.equals(toy_corpus.interactions.frame) and again.catalog.frame.equals(toy_corpus.catalog.frame)
    for name in ("name", "rating_scale", "like_threshold", "split"):
        assert getattr(again, name) == getattr(toy_corpus, name)
    assert (again.interactions.ordering, again.interactions.positive, again.interactions.context) == ("timestamp", (), ("hour",))


def test_the_manifest_counts_what_the_files_hold(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["counts"] == {"interactions": 192, "users": 24, "items_with_events": 12, "train": 144, "valid": 24, "test": 24, "items": 12}
    assert manifest["time_range"] == [1_000_000.0, 1_700_000.0]
    assert manifest["hashes"] == {name: sha256(saved / name) for name in ("interactions.parquet", "items.parquet")} and len(manifest["data_hash"]) == 16


def test_the_same_data_has_the_same_hash_and_other_data_another(toy_corpus, saved, tmp_path):
    hashes = [Corpus.load(saved).data_hash]
    for name, corpus in {"same": toy_corpus, "other": replace(toy_corpus, catalog=Catalog(toy_corpus.catalog.frame.with_columns(title=pl.lit("x"))))}.items():
        (tmp_path / name).mkdir()
        corpus.save(tmp_path / name)
        hashes.append(Corpus.load(tmp_path / name).data_hash)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("name", ["interactions.parquet", "items.parquet"])
def test_a_changed_file_is_refused_by_name(saved, name):
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not the file its manifest names"):
        Corpus.load(saved)


def test_a_folder_that_is_no_corpus_says_how_to_make_one(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="no manifest.json. Make one with `python -m llmrec.prepare`"):
        Corpus.load(tmp_path / "nothing")
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ValueError, match="has format 99; this version reads 1"):
        Corpus.load(saved)
    (saved / "manifest.json").write_text("[]")
    with pytest.raises(ValueError, match="has format None; this version reads 1"):
        Corpus.load(saved)
    (saved / "manifest.json").write_text(json.dumps({name: value for name, value in manifest.items() if name != "ordering"}))
    with pytest.raises(ValueError, match="manifest.json lacks 'ordering'"):
        Corpus.load(saved)
