"""Sequences as S3-Rec, SASRec and P5 write them, and the Parquet of amazon-beauty-p5."""

import json

import polars as pl
import pytest

from llmrec.readers.sequences import read

ALICE_AND_BOB = [("1", "34", 0), ("1", "12", 1), ("1", "34", 2), ("02", "12", 3)]


def triples(raw):
    return raw.interactions.select("user_id", "item_id", "order").collect().rows()


def test_beauty_has_its_published_counts_under_the_ids_of_the_source(data):
    raw = read(data / "amazon-beauty-p5")
    log, items = raw.interactions.collect(), raw.items.collect()
    assert (log["user_id"].n_unique(), len(items), len(log)) == (22_363, 12_101, 198_502)
    assert log.row(0, named=True) == {"user_id": "A1YJEY40YUW4SE", "item_id": "B004756YJA", "order": 0, "part": "train"}
    assert dict(log["part"].value_counts().iter_rows()) == {"train": 153_776, "valid": 22_363, "test": 22_363}
    assert items.row(0, named=True) == {
        "item_id": "B004756YJA", "title": "OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce", "attributes": ["OPI", "Makeup", "Nails", "Nail Polish"],
    }
    assert items["title"].null_count() == 7


def test_a_line_per_user_and_a_line_per_pair_read_the_same(tmp_path):
    lists, pairs = tmp_path / "lists.txt", tmp_path / "pairs.txt"
    lists.write_text("1 34 12 34\n\n02 12 \n")
    pairs.write_text("1 34\n1 12\n1 34\n02 12\n")
    assert triples(read(lists)) == triples(read(pairs)) == ALICE_AND_BOB
    assert read(lists).items is None


def test_order_goes_on_where_a_user_comes_again(tmp_path):
    (tmp_path / "a.txt").write_text("1 5\n2 6\n1 7\n")
    assert triples(read(tmp_path)) == [("1", "5", 0), ("2", "6", 1), ("1", "7", 2)]


def test_a_user_without_items_leaves_a_row_to_be_quarantined(tmp_path):
    (tmp_path / "a.txt").write_text("1 5\n2\n")
    assert triples(read(tmp_path)) == [("1", "5", 0), ("2", None, 1)]


def test_several_text_files_need_a_choice_but_the_names_of_p5_are_known(tmp_path):
    for name in ("Beauty.txt", "Toys.txt"):
        (tmp_path / name).write_text("1 2\n")
    with pytest.raises(ValueError, match=r"holds 2 text files \(Beauty\.txt, Toys\.txt\)"):
        read(tmp_path)
    assert read(tmp_path, file="Toys.txt").name == "Toys"
    (tmp_path / "sequential_data.txt").write_text("1 3\n")
    assert triples(read(tmp_path)) == [("1", "3", 0)]


def test_s3rec_attributes_are_numbers_unless_named(tmp_path):
    (tmp_path / "Beauty.txt").write_text("1 34 12\n")
    (tmp_path / "Beauty_item2attributes.json").write_text(json.dumps({"34": [1, 2], "12": [2]}))
    assert read(tmp_path).items.select("item_id", "title", "attributes").collect().rows() == [("34", None, ["1", "2"]), ("12", None, ["2"])]


def test_datamaps_of_p5_give_ids_and_names_back(tmp_path):
    (tmp_path / "sequential.txt").write_text("1 34 12\n")
    (tmp_path / "sequential_item2attributes.json").write_text(json.dumps({"34": [1]}))
    (tmp_path / "items.json").write_text(json.dumps({"34": "Soap", "B12": "Comb"}))
    maps = {"id2user": {"1": "A1"}, "id2item": {"34": "B34", "12": "B12"}, "id2attribute": {"1": "Bath"}}
    (tmp_path / "datamaps.json").write_text(json.dumps(maps))
    raw = read(tmp_path)
    assert triples(raw) == [("A1", "B34", 0), ("A1", "B12", 1)]
    assert raw.items.select("item_id", "title", "attributes").sort("item_id").collect().rows() == [("B12", "Comb", None), ("B34", "Soap", ["Bath"])]


@pytest.mark.parametrize(
    "name, text",
    [
        ("items.csv", "color,item_id,title\nred,007,Soap\n"),
        ("items.jsonl", '{"item_id": "007", "title": "Soap", "color": "red"}\n'),
        ("items.json", '[{"item_id": "007", "title": "Soap", "color": "red"}]'),
        ("items.json", '{"007": {"title": "Soap", "color": "red"}}'),
    ],
)
def test_item_tables_of_every_format(tmp_path, name, text):
    (tmp_path / "a.txt").write_text("1 007\n")
    (tmp_path / name).write_text(text)
    assert read(tmp_path).items.collect().rows(named=True) == [{"item_id": "007", "title": "Soap", "color": "red"}]


def test_item_numbers_in_json_and_parquet_become_text(tmp_path):
    (tmp_path / "a.txt").write_text("1 7\n")
    (tmp_path / "named.json").write_text('[{"item_id": 7, "title": "Soap"}]')
    pl.DataFrame({"item_id": [7], "title": ["Soap"], "tags": [[1, 2]]}).write_parquet(tmp_path / "items.parquet")
    assert read(tmp_path).items.collect().rows() == [("7", "Soap", ["1", "2"])]
    assert read(tmp_path, items="named.json").items.collect().rows() == [("7", "Soap")]


def test_missing_files_and_columns_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"interactions\.parquet or sequential_data\.txt"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt does not exist"):
        read(tmp_path / "nowhere.txt")
    (tmp_path / "a.txt").write_text("1 7\n")
    (tmp_path / "items.csv").write_text("item_id,name\n7,Soap\n")
    with pytest.raises(ValueError, match=r"items\.csv lacks the column title; it has item_id, name"):
        read(tmp_path)
