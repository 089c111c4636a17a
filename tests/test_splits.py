"""Every rule on logs small enough to see which row goes where."""

import numpy as np
import polars as pl
import pytest

from llmrec.splits import SPLITS, SplitSettings, seeded_order, split_files

POSITIVE = pl.col("event") != "impression"


def log(*users, moment="timestamp"):
    """Each user is a string of events: "sA" shows A, "A" clicks it."""
    rows = []
    for number, text in enumerate(users):
        for position, word in enumerate(text.split()):
            rows.append({"user_id": f"u{number}", "item_id": word.removeprefix("s"), "event": "impression" if word[0] == "s" else "click", "position": position, "row": len(rows) + 1})
    frame = pl.DataFrame(rows)
    return frame.with_columns(timestamp=pl.col("position").cast(pl.Float64)) if moment == "timestamp" else frame


def parts(tmp_path, frame, rule, *, ordering="timestamp", temporal=True, **settings):
    frame.write_parquet(tmp_path / "users.parquet")
    record = split_files([tmp_path / "users.parquet"], SplitSettings(rule, **settings), ordering=ordering, positive=POSITIVE, temporal=temporal)
    split = pl.read_parquet(tmp_path / "users.parquet")
    assert split.drop("part").equals(frame.drop("part", strict=False))
    return [part[:2] for part in split["part"]], record


def test_leave_one_out_as_drawn_for_alice_and_bob(tmp_path):
    got, record = parts(tmp_path, log("sA A B sC C C D sE", "A A B"), "leave_one_out")
    assert got == ["tr"] * 4 + ["va"] * 2 + ["te"] * 2 + ["tr"] * 3
    assert record == {"rule": "leave_one_out", "temporal": True}


def test_leave_one_out_takes_adjacent_repeats_as_one_event_and_later_ones_as_another(tmp_path):
    got, _ = parts(tmp_path, log("A B A A"), "leave_one_out")
    assert got == ["tr", "va", "te", "te"]


def test_impressions_between_repeats_do_not_part_them(tmp_path):
    got, _ = parts(tmp_path, log("A B C sD C"), "leave_one_out")
    assert got == ["tr", "va", "te", "te", "te"]


def test_adjacent_users_with_one_item_keep_apart(tmp_path):
    got, _ = parts(tmp_path, log("A B C", "C D E"), "leave_one_out")
    assert got == ["tr", "va", "te"] * 2


def test_leave_one_out_of_sets_draws_two_items_of_each_user_by_seed(tmp_path):
    frame = log(*["A B C D A"] * 30, "A B", moment="none")
    got, record = parts(tmp_path, frame, "leave_one_out", ordering="none", seed=3)
    assert record == {"rule": "leave_one_out", "temporal": False, "seed": 3}
    split = frame.with_columns(part=pl.Series(got))
    held = split.filter(pl.col("part") != "tr").group_by("user_id", "part").agg(pl.col("item_id").n_unique())
    assert held.filter(pl.col("item_id") != 1).is_empty()
    assert len(held) == 60
    # All rows of a held-out item go together, and the draw differs from user to user.
    assert split.group_by("user_id", "item_id").agg(pl.col("part").n_unique())["part"].to_list() == [1] * (30 * 4 + 2)
    assert split.filter(pl.col("part") == "te")["item_id"].n_unique() == 4
    assert parts(tmp_path, frame, "leave_one_out", ordering="none", seed=3)[0] == got != parts(tmp_path, frame, "leave_one_out", ordering="none", seed=4)[0]


def test_by_time_cuts_everyone_at_the_same_moments(tmp_path):
    frame = log("A B C D E", "A B C D E").with_columns(timestamp=pl.Series([0.0, 1, 2, 8, 9, 3, 4, 5, 6, 7]))
    got, record = parts(tmp_path, frame, "by_time", valid_fraction=0.2, test_fraction=0.1)
    assert got == ["tr", "tr", "tr", "va", "te", "tr", "tr", "tr", "tr", "va"]
    assert (record["valid_from"], record["test_from"], record["temporal"]) == (7.0, 9.0, True)


def test_by_time_keeps_rows_of_one_moment_together(tmp_path):
    frame = log(*["A"] * 10).with_columns(timestamp=pl.Series([0.0, 0, 0, 0, 0, 0, 5, 5, 5, 9]))
    assert parts(tmp_path, frame, "by_time")[0] == ["tr"] * 6 + ["va"] * 3 + ["te"]


def test_by_time_needs_times_and_different_ones(tmp_path):
    with pytest.raises(ValueError, match="needs a timestamp column"):
        parts(tmp_path, log("A B C", moment="order"), "by_time", ordering="order")
    with pytest.raises(ValueError, match="too few different times"):
        parts(tmp_path, log("A B C").with_columns(timestamp=pl.lit(1.0)), "by_time")


def test_given_parts_stay_as_they_are(tmp_path):
    frame = log("A B C").with_columns(part=pl.Series(["train", "valid", "test"]))
    assert parts(tmp_path, frame, "given") == (["tr", "va", "te"], {"rule": "given", "temporal": True})


def test_given_without_valid_holds_out_the_last_train_event_of_each_user(tmp_path):
    frame = log("A sB B B C", "A B").with_columns(part=pl.Series(["train"] * 4 + ["test", "train", "test"]))
    got, record = parts(tmp_path, frame, "given")
    assert got == ["tr", "tr", "va", "va", "te", "tr", "te"]
    assert record["temporal"] is True


def test_given_at_random_holds_out_a_seeded_tenth_of_train(tmp_path):
    frame = log("A " * 2000).with_columns(part=pl.Series(["train"] * 1800 + ["test"] * 200))
    got, record = parts(tmp_path, frame, "given", temporal=False)
    assert record["temporal"] is False
    assert got.count("te") == 200
    assert 140 < got.count("va") < 220  # 180 expected, standard deviation 13


def test_given_needs_parts(tmp_path):
    with pytest.raises(ValueError, match="needs a column part"):
        parts(tmp_path, log("A B"), "given")


def test_none_trains_on_everything(tmp_path):
    assert parts(tmp_path, log("A B C"), "none") == (["tr"] * 3, {"rule": "none", "temporal": True})


def test_nothing_to_train_on_is_refused(tmp_path):
    with pytest.raises(ValueError, match="leaves no row for train"):
        parts(tmp_path, log("A").with_columns(part=pl.lit("test")), "given", temporal=False)


def test_unknown_rules_and_fractions_are_refused():
    with pytest.raises(ValueError, match=f"unknown split 'loo'; available: {', '.join(SPLITS)}"):
        SplitSettings("loo")
    with pytest.raises(ValueError, match="leave something for train"):
        SplitSettings("by_time", valid_fraction=0.6, test_fraction=0.4)


def test_seeded_order_is_the_published_generator_and_differs_by_seed():
    # First outputs of splitmix64 with seed 0, as in the reference implementation's test vectors.
    assert [hex(x) for x in seeded_order(np.arange(2), seed=0)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]
    assert len({*seeded_order(np.arange(1000), seed=0), *seeded_order(np.arange(1000), seed=1)}) == 2000
