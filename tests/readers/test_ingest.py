"""Raw rows become a clean, sorted log; every row is kept, merged or quarantined with a reason."""

import json

import numpy as np
import polars as pl
import pytest

from llmrec.readers import ingest
from llmrec.readers.ingest import IngestSettings, assemble, clean, quantile_bins
from llmrec.readers.raw import RawLog

TIME = 1_600_000_000


def raw(rows, *, items=None, **options):
    columns = list({name: None for row in rows for name in row})
    log = pl.LazyFrame([{name: row.get(name) for name in columns} for row in rows], schema={name: pl.String for name in columns})
    return RawLog("test", log, None if items is None else pl.LazyFrame(items), **options)


def cleaned(tmp_path, rows, *, items=None, settings=None, **options):
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    return clean(raw(rows, items=items, **options), folder, settings or IngestSettings(max_bad_fraction=1.0))


def log(result):
    return pl.read_parquet(list(result.files))


def event(**values):
    return {"user_id": "u", "item_id": "i", "timestamp": str(TIME), **values}


BAD = [
    (event(user_id=""), "empty_user_id"), (event(user_id=None), "empty_user_id"), (event(item_id=" "), "empty_item_id"), (event(item_id="a\tb"), "control_character"),
    (event(timestamp=""), "empty_timestamp"), (event(timestamp="soon"), "bad_timestamp"), (event(timestamp="inf"), "bad_timestamp"), (event(timestamp="-1"), "implausible_time"),
    (event(timestamp=str(TIME * 1000)), "implausible_time"), (event(rating="good"), "bad_rating"), (event(rating="NaN"), "bad_rating"), (event(rating="1e999"), "bad_rating"),
    (event(rating="4,5"), "bad_rating"), (event(rating="6"), "off_scale"), (event(click="2"), "bad_click"), (event(purchase="yes"), "bad_purchase"), (event(item_id="x"), "unknown_item"),
    (event(fault="bad_json", source="{"), "bad_json"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[f"{reason}-{number}" for number, (_, reason) in enumerate(BAD)])
def test_a_bad_row_is_quarantined_with_its_reason(tmp_path, bad, reason):
    good = [event(user_id="a", rating="1"), event(user_id="b", rating="2")]
    result = cleaned(tmp_path, [good[0], bad, good[1]], items={"item_id": ["i"], "title": ["I"]}, rating_scale=(1.0, 2.0))
    assert result.report["reasons"] == {reason: 1}
    assert (result.report["rows_read"], result.report["kept"], result.report["merged"], result.report["quarantined"]) == (3, 2, 0, 1)
    reject = json.loads(result.rejects[0])
    assert (reject["row"], reject["reason"]) == (2, reason)
    assert reject.get("text") == bad.get("source")


def test_too_many_bad_rows_are_refused_with_what_to_do(tmp_path):
    rows = [event(user_id=str(n)) for n in range(9)] + [event(rating="x")]
    with pytest.raises(ValueError, match=r"1 of 10 rows cannot be used.*1 bad_rating.*The first is row 10\. .*--max-bad 0.1: rejects"):
        cleaned(tmp_path, rows, settings=IngestSettings())
    assert cleaned(tmp_path, rows, settings=IngestSettings(max_bad_fraction=0.1)).report["quarantined"] == 1


def test_milliseconds_are_refused_with_a_hint_and_taken_when_declared(tmp_path):
    rows = [event(timestamp=str(TIME * 1000 + 500))]
    with pytest.raises(ValueError, match="is it --time-unit ms"):
        cleaned(tmp_path, rows, settings=IngestSettings())
    assert log(cleaned(tmp_path, rows, settings=IngestSettings(time_unit="ms")))["timestamp"].to_list() == [TIME + 0.5]


def test_exact_repeats_with_a_time_are_merged_and_without_are_events(tmp_path):
    timed = cleaned(tmp_path, [event(rating="4"), event(rating="4"), event(rating="4.0"), event(rating="4", timestamp=str(TIME + 1))])
    assert (timed.report["kept"], timed.report["merged"]) == (2, 2)
    untimed = [{"user_id": "u", "item_id": item} for item in "aba"]
    assert cleaned(tmp_path, untimed).report["merged"] == 0
    merged = cleaned(tmp_path, untimed, settings=IngestSettings(merge_repeats=True))
    assert log(merged)["item_id"].to_list() == ["a", "b"]


def test_of_conflicting_ratings_the_last_in_the_file_counts(tmp_path):
    result = cleaned(tmp_path, [event(rating="4"), event(rating="2"), event(rating="2"), event(rating="4", item_id="j")])
    assert result.report["reasons"] == {"conflict": 1}
    assert result.report["merged"] == 1
    assert log(result).select("item_id", "rating").rows() == [("i", 2.0), ("j", 4.0)]


def test_rows_are_sorted_by_time_and_ties_keep_the_order_of_the_file(tmp_path):
    rows = [event(item_id=item, timestamp=str(TIME + moment)) for item, moment in (("d", 2), ("a", 1), ("c", 1), ("b", 1))] + [event(user_id="a", item_id="z")]
    frame = log(cleaned(tmp_path, rows))
    assert frame.select("user_id", "item_id", "position").rows() == [("a", "z", 0), ("u", "a", 0), ("u", "c", 1), ("u", "b", 2), ("u", "d", 3)]


def test_shuffled_ties_follow_the_seed_and_move_nothing_else(tmp_path):
    rows = [event(item_id=f"i{n}", timestamp=str(TIME + n // 20)) for n in range(40)]
    file_order = [f"i{n}" for n in range(40)]
    orders = [log(cleaned(tmp_path, rows, settings=IngestSettings(shuffle_ties=seed)))["item_id"].to_list() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != file_order
    assert set(orders[0][:20]) == set(file_order[:20])


def test_order_column_sorts_as_numbers(tmp_path):
    result = cleaned(tmp_path, [{"user_id": "u", "item_id": item, "order": order} for item, order in (("b", "10"), ("a", "9"))])
    assert result.ordering == "order"
    assert log(result)["item_id"].to_list() == ["a", "b"]
    assert "order" not in log(result).columns


def test_events_are_lower_case_and_default_to_what_the_row_says(tmp_path):
    rows = [
        event(event=" Click "), event(rating="3", event=""), event(click="0"), event(click="1"), event(purchase="1"), event(purchase="0"), event(), event(click="0", rating="2"), event(event="Sale", click="1"),
    ]
    rows = [{**row, "user_id": str(n)} for n, row in enumerate(rows)]
    frame = log(cleaned(tmp_path, rows))
    assert frame["event"].to_list() == ["click", "rating", "impression", "click", "purchase", "impression", "interaction", "rating", "sale"]
    assert frame.schema["click"] == pl.Int8
    assert frame["click"].to_list() == [None, None, 0, 1, None, None, None, 0, 1]


def test_a_positive_event_no_row_has_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'buy', .* the log has interaction"):
        cleaned(tmp_path, [event()], settings=IngestSettings(positive=("buy",)))


def test_catalogue_is_shuffled_by_id_whatever_the_order_of_the_file(tmp_path):
    ids = [str(n) for n in range(50)]
    results = [cleaned(tmp_path, [event(item_id="0")], items={"item_id": order, "title": order}).catalog.item_ids for order in (ids, ids[::-1])]
    assert results[0] == results[1] != ids
    assert sorted(results[0]) == sorted(ids)
    assert cleaned(tmp_path, [event(item_id="0")], items={"item_id": ids, "title": ids}, settings=IngestSettings(seed=1)).catalog.item_ids != results[0]


def test_titles_and_attributes_are_tidied(tmp_path):
    items = {"item_id": ["i", "j"], "title": ["A\nfilm\x00", " "], "genres": ["Crime| Drama||", None], "cast": [["x", ""], None], "year": [1995, None]}
    result = cleaned(tmp_path, [event()], items=items)
    found = {row["item_id"]: row for row in result.catalog.frame.to_dicts()}
    assert found["i"] == {"item_id": "i", "title": "A film", "genres": ["Crime", "Drama"], "cast": ["x"], "year": ["1995"]}
    assert found["j"] == {"item_id": "j", "title": "untitled", "genres": [], "cast": [], "year": []}
    assert result.report["untitled_items"] == 1


def test_without_an_item_table_the_items_are_those_of_the_log(tmp_path):
    result = cleaned(tmp_path, [event(), event(item_id="j")])
    assert sorted(result.catalog.item_ids) == ["i", "j"]
    assert result.catalog.titles == ["", ""]


def test_an_item_id_twice_is_refused_with_examples(tmp_path):
    with pytest.raises(ValueError, match="6 item ids stand twice.*'0', '1', '2', '3', '4' ..."):
        cleaned(tmp_path, [event()], items={"item_id": [str(n) for n in range(6)] * 2, "title": ["t"] * 12})


def with_part(result, parts):
    frame = log(result).with_columns(part=pl.Series(parts))
    frame.write_parquet(result.files[0])
    return result


def test_rating_scale_is_the_train_values(tmp_path):
    result = with_part(cleaned(tmp_path, [event(user_id=str(n), rating=str(rating)) for n, rating in enumerate((5, 1, 3, 2))]), ["train", "train", "train", "test"])
    corpus = assemble(result, tmp_path, split={"rule": "given"})
    assert corpus.rating_scale == (1.0, 3.0, 5.0)
    assert corpus.report["held_out_ratings_off_scale"] == 1
    assert (tmp_path / "interactions.parquet").is_file()
    assert (tmp_path / "items.parquet").is_file()


def test_many_rating_values_become_bins_and_ratings_their_means(tmp_path):
    result = with_part(cleaned(tmp_path, [event(user_id=f"{n:02}", rating=str(n)) for n in range(40)]), ["train"] * 39 + ["test"])
    corpus = assemble(result, tmp_path, split={})
    assert len(corpus.rating_scale) == 10
    # 39 train ratings 0..38: the first bin is 0, 1, 2, the last 35..38; 39, held out, is above the last edge.
    assert corpus.rating_scale[0] == 1.0
    assert corpus.rating_scale[-1] == 36.5
    assert corpus.interactions.frame["rating"].to_list()[:4] == [1.0, 1.0, 1.0, corpus.rating_scale[1]]
    assert corpus.interactions.frame["rating"].to_list()[-1] == 36.5


def test_quantile_bins_of_few_heavy_values():
    means, edges = quantile_bins(np.array([0.0] * 50 + [1.0] * 50))
    assert (means, edges) == ((0.0, 1.0), (1.0,))


def test_groups_of_users_give_the_same_log_as_one(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [event(user_id=f"u{rng.integers(30)}", item_id=f"i{rng.integers(9)}", timestamp=str(TIME + int(rng.integers(5))), rating=str(rng.integers(1, 3))) for _ in range(500)]
    rows[7]["user_id"] = None
    whole = cleaned(tmp_path, rows)
    frame = log(whole)
    monkeypatch.setattr(ingest, "ROWS_PER_GROUP", 60)
    parts = cleaned(tmp_path, rows)
    assert len(parts.files) > 3
    assert log(parts).equals(frame)
    assert (parts.report, parts.rejects) == (whole.report, whole.rejects)
    assert whole.report["merged"] > 0 < whole.report["reasons"]["conflict"]
