"""RecBole's atomic files."""

import pytest

from llmrec.readers.recbole import read

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t0242\t3\t881250949\n"


def test_interactions_and_items(tmp_path):
    (tmp_path / "ml.inter").write_text(INTER)
    (tmp_path / "ml.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tprice:float\n"
        '0242\tThe "Big" One, again\t1997\tDrama, War\t9.5\n'
        "7\tOther\t\t\t\n"
    )
    raw = read(tmp_path)
    assert raw.name == "ml"
    assert raw.interactions.collect().rows(named=True) == [{"user_id": "196", "item_id": "0242", "rating": "3", "timestamp": "881250949"}]
    assert raw.items.collect().rows(named=True) == [
        {"item_id": "0242", "title": 'The "Big" One, again', "release_year": ["1997"], "class": ["Drama", "War"]},
        {"item_id": "7", "title": "Other", "release_year": [], "class": []},
    ]


def test_interactions_alone_have_no_items_and_only_what_is_there(tmp_path):
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\n1\t2\n")
    raw = read(tmp_path)
    assert raw.interactions.collect().rows() == [("1", "2")]
    assert raw.items is None


def test_items_without_title_or_attributes(tmp_path):
    (tmp_path / "a.inter").write_text(INTER)
    (tmp_path / "a.item").write_text("item_id:token\tweight:float\n0242\t1.5\n")
    assert read(tmp_path).items.collect().rows() == [("0242", None)]


def test_fields_of_other_names_are_named_by_options(tmp_path):
    (tmp_path / "lastfm.inter").write_text("user_id:token\tartist_id:token\tweight:float\n2\t51\t13883\n")
    (tmp_path / "lastfm.item").write_text("artist_id:token\tname:token_seq\n51\tDuran Duran\n")
    with pytest.raises(ValueError, match="has no field item_id; it has user_id, artist_id, weight"):
        read(tmp_path)
    raw = read(tmp_path, item_field="artist_id", rating_field="weight")
    assert raw.interactions.collect().rows(named=True) == [{"user_id": "2", "item_id": "51", "rating": "13883"}]
    assert raw.items.collect().rows() == [("51", "Duran Duran")]


def test_several_sets_need_a_choice(tmp_path):
    for name in ("a.inter", "b.inter"):
        (tmp_path / name).write_text(INTER)
    with pytest.raises(ValueError, match=r"holds a\.inter, b\.inter"):
        read(tmp_path)
    assert read(tmp_path, name="b").name == "b"


def test_missing_file_and_header_without_types_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"NAME\.inter"):
        read(tmp_path)
    (tmp_path / "a.inter").write_text("user_id,item_id\n1,2\n")
    with pytest.raises(ValueError, match="header is 'user_id,item_id'; expected fields such as user_id:token"):
        read(tmp_path)
