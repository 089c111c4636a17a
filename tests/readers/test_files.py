"""Finding and scanning files."""

import gzip

import pytest

from llmrec.readers.files import find_file, need_file, scan_fields, scan_table, text_lines


def test_plain_file_is_found_before_the_gzipped_one_and_names_in_their_order(tmp_path):
    for name in ("b.txt", "b.txt.gz", "c.txt.gz"):
        (tmp_path / name).write_bytes(b"")
    assert find_file(tmp_path, "a.txt", "b.txt", "c.txt") == tmp_path / "b.txt"
    assert find_file(tmp_path, "c.txt", "b.txt") == tmp_path / "c.txt.gz"
    assert find_file(tmp_path, "a.txt") is None


def test_missing_file_and_missing_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"u\.data or ratings\.dat .*has none"):
        need_file(tmp_path, "u.data", "ratings.dat")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        need_file(tmp_path / "nowhere", "u.data")


def test_only_newlines_end_a_line(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\u2028still one\r\n\ntwo".encode())
    assert list(text_lines(tmp_path / "a.txt")) == ["one\u2028still one", "two"]


def test_wrong_encoding_names_file_and_line(tmp_path):
    with gzip.open(tmp_path / "a.txt.gz", "wb") as file:
        file.write(b"good\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"a\.txt\.gz, line 2: not utf-8"):
        list(text_lines(tmp_path / "a.txt.gz"))
    assert list(text_lines(tmp_path / "a.txt.gz", "latin-1")) == ["good", "café"]


def test_fields_stay_text_and_odd_lines_stay_visible(tmp_path):
    (tmp_path / "a.dat").write_text('007::"NA"::5\n7::1e5\n8::9::4::extra\n\n', encoding="utf-8")
    rows = scan_fields(tmp_path / "a.dat", "::", ("user_id", "item_id", "rating")).collect().rows()
    assert rows == [("007", '"NA"', "5"), ("7", "1e5", None), ("8", "9", "4::extra")]


def test_table_columns_are_renamed_in_order_and_missing_ones_named(tmp_path):
    (tmp_path / "a.csv").write_text('u,title,m\n01,"a, b",NA\n', encoding="utf-8")
    assert scan_table(tmp_path / "a.csv", {"m": "item_id", "u": "user_id"}).collect().rows(named=True) == [{"item_id": "NA", "user_id": "01"}]
    with pytest.raises(ValueError, match=r"a\.csv lacks the column stars; it has u, title, m"):
        scan_table(tmp_path / "a.csv", {"u": "user_id", "stars": "rating"})
