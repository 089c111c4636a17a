"""A row is converted, or the first thing wrong with it is named; the rows of a user are merged and sorted."""

import polars as pl

from llmrec.readers.rows import REASONS, RowRules, seconds


def rows(*records, **common):
    """Raw rows of these records, all values text, numbered from 1."""
    return pl.DataFrame([{**common, **record} for record in records]).with_row_index("row", offset=1)


def test_times_as_text():
    texts = ["1970-01-02", "1970-01-02T00:00:00Z", "1970-01-02 01:00:00+01:00", "1970-01-01T22:30:00.25-0130", "2100-01-01", "1970-13-01", "1970-01-01T25:00", "x", None]
    assert seconds(pl.Series(texts)).to_list() == [86400, 86400, 86400, 86400.25, 4102444800, None, None, None, None]


def test_the_first_thing_wrong_with_a_row_is_its_reason():
    rules = RowRules(ordering="timestamp", scale=(1.0, 5.0), items=pl.Series(["a"]))
    log = rows(
        {"user_id": "u", "item_id": "a", "timestamp": "10", "rating": "5"},
        {"user_id": "", "item_id": "", "timestamp": "soon", "rating": "7"},
        {"user_id": "u", "item_id": "b", "timestamp": "soon", "rating": "7"},
        {"user_id": "u", "item_id": "b", "timestamp": "11", "rating": "7"},
        {"user_id": "u", "item_id": "b", "timestamp": "11", "rating": "1"},
    )
    done = rules.clean(log)
    assert done.kept["rating"].to_list() == [5.0]
    reasons = done.rejected["reason"].to_list()
    assert reasons == ["empty_user_id", "bad_timestamp", "off_scale", "unknown_item"]
    assert set(reasons) <= set(REASONS)
    assert done.rejected["timestamp"].to_list() == ["soon", "soon", "11", "11"]  # as they were written


def test_rows_are_sorted_by_user_time_and_place_in_the_file():
    log = rows(*({"user_id": user, "item_id": item, "timestamp": time} for user, item, time in [("v", "a", "5"), ("u", "b", "9"), ("u", "c", "7"), ("u", "d", "9")]))
    kept = RowRules(ordering="timestamp").clean(log).kept
    assert kept.select("user_id", "item_id", "position").rows() == [("u", "c", 0), ("u", "b", 1), ("u", "d", 2), ("v", "a", 0)]


def test_repeats_merge_with_times_and_stay_without():
    timed = rows(*[{"user_id": "u", "item_id": "a", "timestamp": "5"}] * 3)
    done = RowRules(ordering="timestamp").clean(timed)
    assert (len(done.kept), done.merged) == (1, 2)
    untimed = timed.drop("timestamp")
    assert [RowRules(ordering="none", merge_repeats=merge).clean(untimed).merged for merge in (False, True)] == [0, 2]


def test_of_two_ratings_at_one_time_the_later_row_counts():
    done = RowRules(ordering="timestamp").clean(rows({"rating": "4"}, {"rating": "2"}, user_id="u", item_id="a", timestamp="5"))
    assert done.kept["rating"].to_list() == [2.0]
    assert done.rejected["reason"].to_list() == ["conflict"]
