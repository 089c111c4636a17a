"""Tables are read as they are written: ids stay text, and what cannot be read is named with its file and line."""

import gzip

import polars as pl
import pytest

from llmrec.readers import table

ODD_IDS = ["007", "7", "NA", "null", "1e5", "100000", "None", "Ünïcødé", "a b", "9007199254740993", "<item_3>", "é", "e\u0301"]


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(log):
    return log.interactions.collect().to_dicts()


def refused(folder, name, text, match, **options):
    with pytest.raises(ValueError, match=match) as caught:
        table.read(write(folder, name, text), **options)
    assert name in str(caught.value)


def test_ids_stay_as_written(tmp_path):
    path = write(tmp_path, "log.csv", "user_id,item_id\n" + "".join(f"{user},i\n" for user in ODD_IDS))
    assert [row["user_id"] for row in rows(table.read(path))] == ODD_IDS


def test_every_format_gives_the_same_rows(tmp_path):
    expected = [{"user_id": "007", "item_id": "NA", "timestamp": "5", "rating": "4.0"}, {"user_id": "7", "item_id": 'say "x", y', "timestamp": "6", "rating": "3.5"}]
    csv = 'user_id,item_id,timestamp,rating\n007,NA,5,4.0\n7,"say ""x"", y",6,3.5\n'
    tsv = 'user_id\titem_id\ttimestamp\trating\n007\tNA\t5\t4.0\n7\t"say ""x"", y"\t6\t3.5\n'
    jsonl = '{"user_id": "007", "item_id": "NA", "timestamp": 5, "rating": 4.0}\n{"user_id": 7, "item_id": "say \\"x\\", y", "timestamp": 6, "rating": 3.5}'
    for name, text in {"a.csv": csv, "b.tsv": tsv, "c.jsonl": jsonl, "d.csv": "\ufeff" + csv.replace("\n", "\r\n"), "e.csv.gz": gzip.compress(csv.encode()), "f.jsonl.gz": gzip.compress(jsonl.encode())}.items():
        assert rows(table.read(write(tmp_path, name, text))) == expected, name
    pl.DataFrame(expected).with_columns(pl.col("timestamp").cast(pl.Int64), pl.col("rating").cast(pl.Float32)).write_parquet(tmp_path / "g.parquet")
    assert rows(table.read(tmp_path / "g.parquet")) == [{**row, "timestamp": int(row["timestamp"])} for row in expected]


def test_blank_lines_are_no_rows(tmp_path):
    assert len(rows(table.read(write(tmp_path, "a.csv", "user_id,item_id\nu,i\n\nu,j\n")))) == 2
    assert len(rows(table.read(write(tmp_path, "a.jsonl", '{"user_id":"u","item_id":"i"}\n\n{"user_id":"u","item_id":"j"}\n')))) == 2


def test_line_separators_inside_a_text_end_no_row(tmp_path):
    text = "a\u2028b\x85c"
    assert rows(table.read(write(tmp_path, "a.csv", f'user_id,item_id,review\nu,i,{text}\nv,i,"two\nlines"\n')))[0]["review"] == text
    assert rows(table.read(tmp_path / "a.csv"))[1]["review"] == "two\nlines"
    assert rows(table.read(write(tmp_path, "a.jsonl", f'{{"user_id":"u","item_id":"i","review":"{text}"}}\n')))[0]["review"] == text


def test_columns_are_mapped_and_context_kept(tmp_path):
    path = write(tmp_path, "a.csv", "UserID,item_id,Hour,when,unused\nu,i,9,2,x\n")
    log = table.read(path, columns={"user_id": "UserID", "hour": "Hour"}, order="when", context=("hour",))
    assert rows(log) == [{"user_id": "u", "item_id": "i", "hour": "9", "order": "2"}]
    assert log.context == ("hour",)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"user_id": 1.0, "item_id": "i"}', "ambiguous_id"),
        ('{"user_id": true, "item_id": "i"}', "ambiguous_id"),
        ('{"user_id": "u", "user_id": "v", "item_id": "i"}', "duplicate_key"),
        ('{"user_id": "u", "item_id": {"a": 1}}', "nested_value"),
        ('{"user_id": "u", "item_id": "i", "rating": NaN}', "bad_json"),
        ('["u", "i"]', "bad_json"),
        ("[" * 100_000, "bad_json"),
        ('{"user_id": "u", "item_id": "\\ud800"}', "lone_surrogate"),
    ],
)
def test_json_rows_that_cannot_be_read_are_handed_on_with_a_reason(tmp_path, line, reason):
    good = '{"user_id": "u", "item_id": "i"}\n'
    got = rows(table.read(write(tmp_path, "a.jsonl", good + line + "\n" + good)))
    assert [row["fault"] for row in got] == [None, reason, None]
    assert got[1]["source"] == line[: table.MAX_SOURCE_CHARACTERS]


def test_json_integers_of_any_length_are_ids_by_their_digits(tmp_path):
    digits = "9" * 5000
    assert rows(table.read(write(tmp_path, "a.jsonl", f'{{"user_id": {digits}, "item_id": 9007199254740993}}\n'))) == [{"user_id": digits, "item_id": "9007199254740993"}]


def test_refusals_name_file_and_line(tmp_path):
    refused(tmp_path, "empty.csv", "", "is empty")
    refused(tmp_path, "header.csv", "user_id,item_id\n", "no rows")
    refused(tmp_path, "nothing.jsonl", "", "no rows")
    refused(tmp_path, "missing.csv", "user_id,itemid\nu,i\n", "no column 'item_id'.*mean 'itemid'.*--map item_id=itemid")
    refused(tmp_path, "missing.jsonl", '{"user_id": "u"}\n', "no column 'item_id'")
    refused(tmp_path, "semicolons.csv", "user_id;item_id\nu;i\n", "is ';' its separator")
    refused(tmp_path, "twice.csv", "user_id,item_id,item_id\nu,i,j\n", "'item_id' twice")
    refused(tmp_path, "short.csv", "user_id,item_id,rating\nu,i,1\n\nu,i\n", "line 4: the row has 2 fields, the header 3")
    refused(tmp_path, "long.csv", "user_id,item_id\nu,i,1\n", "line 2: the row has 3 fields, the header 2")
    refused(tmp_path, "quote.csv", 'user_id,item_id\nu,"i\n', "line 2")
    refused(tmp_path, "returns.csv", "user_id,item_id\ru,i\r", "new-line|line 1")
    refused(tmp_path, "latin.csv", "user_id,item_id\nu,i\nu,caf\xe9\n".encode("latin-1"), "line 3: byte 0xe9")
    refused(tmp_path, "utf16.csv", "user_id,item_id\nu,i\n".encode("utf-16"), "UTF-16")
    refused(tmp_path, "utf16le.csv", "user_id,item_id\nu,i\n".encode("utf-16-le"), "zero bytes")
    refused(tmp_path, "array.jsonl", '[\n{"user_id": "u", "item_id": "i"}\n]\n', "JSON array")
    refused(tmp_path, "torn.jsonl", '{"user_id": "u", "item_id": "i"}\n{"user_id": "u", "it', "line 2: the last line is cut short")
    refused(tmp_path, "torn.csv.gz", gzip.compress(b"user_id,item_id\nu,i\n" * 1000)[:-20], "damaged or cut short")
    refused(tmp_path, "text.parquet", "user_id,item_id\nu,i\n", "Parquet")
    refused(tmp_path, "log.xlsx", "x", "'.xlsx'; expected .csv")
    refused(tmp_path, "context.csv", "user_id,item_id\nu,i\n", "no column 'hour'", context=("hour",))


def test_a_missing_file_is_no_bad_data(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv is missing"):
        table.read(tmp_path / "nowhere.csv")


def test_an_unknown_name_to_map_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'user' is not a name .* user_id"):
        table.read(write(tmp_path, "a.csv", "user_id,item_id\nu,i\n"), columns={"user": "user_id"})


def test_parquet_float_ids_are_refused_and_integers_are_digits(tmp_path):
    pl.DataFrame({"user_id": [1.0], "item_id": ["i"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="a.parquet: column 'user_id' is Float64"):
        table.read(tmp_path / "a.parquet")
    pl.DataFrame({"user_id": [2**53 + 1], "item_id": ["i"]}).write_parquet(tmp_path / "b.parquet")
    assert rows(table.read(tmp_path / "b.parquet"))[0]["user_id"] == "9007199254740993"


def test_items_keep_every_other_column_as_an_attribute(tmp_path):
    log = write(tmp_path, "a.csv", "user_id,MovieID\nu,1\n")
    csv = write(tmp_path, "items.csv", "MovieID,title,genres,fault\n1,Heat,Crime|Drama,none\n")
    jsonl = write(tmp_path, "items.jsonl", '{"item_id": 1, "title": "Heat", "genres": ["Crime", "Drama"], "fault": "none"}\n')
    expected = [{"item_id": "1", "title": "Heat", "genres": "Crime|Drama", "fault": "none"}]
    assert table.read(log, csv, columns={"item_id": "MovieID"}).items.collect().to_dicts() == expected
    assert table.read(log, jsonl, columns={"item_id": "MovieID"}).items.collect().to_dicts() == expected
    with pytest.raises(ValueError, match="bad.jsonl, line 2: nested_value"):
        table.read(log, write(tmp_path, "bad.jsonl", '{"item_id": 1}\n{"item_id": {"a": 2}}\n'), columns={"item_id": "MovieID"})


def test_parts_of_a_large_file_join_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS_PER_PART", 3)
    monkeypatch.setattr(table, "BLOCK_BYTES", 7)
    users = [f"u{n}" for n in range(10)]
    csv = write(tmp_path, "a.csv", "user_id,item_id\n" + "".join(f"{user},é\n" for user in users))
    # The rating stands in the last part alone: the others have none.
    jsonl = write(tmp_path, "a.jsonl", "".join(f'{{"user_id": "{user}", "item_id": "é"{", " + chr(34) + "rating" + chr(34) + ": 1" if user == "u9" else ""}}}\n' for user in users))
    assert [row["user_id"] for row in rows(table.read(csv))] == users
    assert [row["rating"] for row in rows(table.read(jsonl))] == [None] * 9 + ["1"]
