"""Taobao carts and purchases."""

import polars as pl
import pytest

from llmrec.readers.taobao import read


def test_counts_of_both_behaviours_and_one_test_purchase_per_user(data):
    raw = read(data / "taobao-ehcf-cart-buy")
    log = raw.interactions.collect()
    counts = dict(log.group_by("event", "part").len().select(pl.concat_str("event", "part", separator="/"), "len").iter_rows())
    assert counts == {"cart/train": 193_747, "purchase/train": 211_022, "purchase/test": 48_749}
    assert (log["user_id"].n_unique(), log["item_id"].n_unique()) == (48_749, 39_493)
    assert log.filter(pl.col("part") == "test")["user_id"].n_unique() == 48_749
    assert (raw.positive, raw.auxiliary, raw.temporal, raw.items) == (("purchase",), ("cart",), False, None)


def test_carts_of_the_held_out_purchase_are_as_many_as_the_docstring_warns_of(data):
    log = read(data / "taobao-ehcf-cart-buy").interactions.collect()
    held_out = log.filter(pl.col("part") == "test")
    assert log.filter(pl.col("event") == "cart").join(held_out, on=["user_id", "item_id"], how="semi").height == 8_326


def test_missing_file_is_named(tmp_path):
    (tmp_path / "cart.csv").write_text("uid\tsid\t3\n0\t5\tcart\n")
    with pytest.raises(FileNotFoundError, match=r"buy\.train\.txt"):
        read(tmp_path)
