"""Amazon reviews: real 2014 reviews, hand-made metadata of 2014 and files of 2018 and 2023."""

import gzip
import json

import pytest

from llmrec.readers.amazon_reviews import read

REVIEW = {"reviewerID": "A1", "asin": "0001", "helpful": [0, 1], "reviewText": "Good\nsound", "overall": 5.0, "summary": "Yes", "unixReviewTime": 1393545600}


def write_lines(path, *records):
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else open(path, "w", encoding="utf-8") as file:
        file.writelines((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)


def test_musical_instruments_has_its_counts_and_no_items(data):
    raw = read(data / "amazon-musical-instruments-2014-5core")
    log = raw.interactions.collect()
    assert (log["user_id"].n_unique(), log["item_id"].n_unique(), len(log)) == (1_429, 900, 10_261)
    assert {float(stars): count for stars, count in log["rating"].value_counts().iter_rows()} == {5: 6_938, 4: 2_084, 3: 772, 2: 250, 1: 217}
    assert log.select("user_id", "item_id", "summary", "timestamp").row(0) == ("A2IBPI20UZIR0U", "1384719342", "good", "1393545600")
    assert log["review"][0].startswith("Not much to write about here")
    assert raw.items is None and raw.rating_scale == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_metadata_of_2014_is_a_python_literal_and_only_reviewed_products_are_items(tmp_path):
    write_lines(tmp_path / "reviews_Toys_5.json.gz", REVIEW)
    write_lines(
        tmp_path / "meta_Toys.json.gz",
        "{'asin': '0001', 'title': \"Tom &amp; Jerry's  Drum\", 'brand': 'Acme', 'categories': [['Toys', 'Drums'], ['Toys', 'Music']]}",
        "{'asin': '0001', 'title': 'Listed again'}",
        "{'asin': '0002', 'title': 'Never reviewed'}",
    )
    expected = {"item_id": "0001", "title": "Tom & Jerry's Drum", "brand": ["Acme"], "categories": ["Toys", "Drums", "Music"]}
    assert read(tmp_path).items.collect().rows(named=True) == [expected]


def test_metadata_is_never_executed(tmp_path):
    write_lines(tmp_path / "reviews_Toys_5.json", REVIEW)
    marker = tmp_path / "executed"
    write_lines(tmp_path / "meta_Toys.json", "{'asin': '0001'}", f"{{'asin': open({str(marker)!r}, 'w')}}")
    with pytest.raises(ValueError, match=r"meta_Toys\.json, line 2: neither JSON nor a Python literal"):
        read(tmp_path)
    assert not marker.exists()


def test_2018_drops_page_code_and_lets_text_be_missing(tmp_path):
    write_lines(
        tmp_path / "Toys_5.json.gz",
        {"overall": 4.0, "verified": True, "reviewerID": "A1", "asin": "0001", "unixReviewTime": 1500000000, "style": {"Color:": "Red"}, "vote": "2"},
        {**REVIEW, "verified": False, "asin": "0002"},
    )
    write_lines(
        tmp_path / "meta_Toys.json.gz",
        {"asin": "0001", "title": "var x = (new Date()).getTime();", "brand": '<a href="x">Acme</a>', "category": ["Toys", "</span></span>", "Drums"]},
        {"asin": "0002", "title": "1 < 2: a Maths Game", "brand": "by\n    \n    Acme", "category": []},
    )
    raw = read(tmp_path)
    log = raw.interactions.collect()
    assert log.select("user_id", "item_id", "summary", "review", "timestamp").rows() == [
        ("A1", "0001", None, None, "1500000000"), ("A1", "0002", "Yes", "Good\nsound", "1393545600"),
    ]
    assert log["rating"].cast(float).to_list() == [4.0, 5.0]
    assert raw.items.sort("item_id").collect().rows() == [("0001", None, [], ["Toys", "Drums"]), ("0002", "1 < 2: a Maths Game", ["by Acme"], [])]


def test_2023_takes_the_parent_product_and_seconds(tmp_path):
    review = {"rating": 5.0, "title": "Nice", "text": "Works.", "images": [], "asin": "CHILD", "user_id": "U1", "timestamp": 1588687728923}
    write_lines(tmp_path / "Toys.jsonl", {**review, "parent_asin": "PARENT"}, {**review, "timestamp": 1588687728000})
    product = {"parent_asin": "PARENT", "title": "Drum", "store": "Acme", "categories": ["Toys"], "average_rating": 4.8, "price": 9.99}
    write_lines(tmp_path / "meta_Toys.jsonl", product)
    raw = read(tmp_path)
    assert raw.interactions.select("user_id", "item_id", "summary", "review", "timestamp").collect().rows() == [
        ("U1", "PARENT", "Nice", "Works.", 1588687728.923), ("U1", "CHILD", "Nice", "Works.", 1588687728.0),
    ]
    # A reviewed product without metadata is an item all the same, or its reviews would be turned away.
    assert raw.items.sort("item_id").collect().rows() == [("CHILD", None, None, None), ("PARENT", "Drum", ["Acme"], ["Toys"])]


def test_2023_5core_table_without_text(tmp_path):
    write_lines(tmp_path / "Toys.csv.gz", "user_id,parent_asin,rating,timestamp", "U1,0001,5.0,1588687728923")
    assert read(tmp_path).interactions.collect().rows(named=True) == [{"user_id": "U1", "item_id": "0001", "rating": "5.0", "timestamp": 1588687728.923}]


def test_several_categories_follow_each_other_and_editions_do_not_mix(tmp_path):
    write_lines(tmp_path / "B_5.json", {**REVIEW, "asin": "b"})
    write_lines(tmp_path / "A_5.json", {**REVIEW, "asin": "a"})
    assert read(tmp_path).interactions.collect()["item_id"].to_list() == ["a", "b"]
    write_lines(tmp_path / "C.csv", "user_id,parent_asin,rating,timestamp", "U1,0001,5.0,1588687728923")
    with pytest.raises(ValueError, match=r"mixes editions: A_5\.json \(2014/2018\).*C\.csv \(2023 5-core\)"):
        read(tmp_path)


def test_missing_reviews_and_strange_keys_are_named(tmp_path):
    write_lines(tmp_path / "meta_Toys.json", {"asin": "0001"})
    with pytest.raises(FileNotFoundError, match=r"CATEGORY_5\.json"):
        read(tmp_path)
    write_lines(tmp_path / "Toys.json", {"uid": 1})
    with pytest.raises(ValueError, match=r"Toys\.json: the first line has the keys uid; expected reviewerID"):
        read(tmp_path)
