"""CoLLM's click data, and what its given histories are."""

import polars as pl
import pytest

from llmrec.readers.collm import read


def test_counts_labels_and_titles(data):
    raw = read(data / "collm-ml1m")
    log, items = raw.interactions.collect(), raw.items.collect()
    assert dict(log["part"].value_counts().iter_rows()) == {"train": 33_891, "valid": 10_401, "test": 7_331}
    assert (log["user_id"].n_unique(), len(items)) == (838, 3_255)
    assert log.select((pl.col("event") == "like") == (pl.col("click") == 1)).to_series().all()
    assert log["click"].null_count() == 0
    assert (raw.positive, raw.temporal) == (("like",), True)
    assert items.row(0) == ("1", "Shawshank Redemption, The (1994)")


def test_given_histories_are_the_earlier_likes_of_the_stream(data):
    log = read(data / "collm-ml1m").interactions.sort("timestamp", maintain_order=True).collect()
    files = pl.concat([pl.read_parquet(data / "collm-ml1m" / f"{part}_ood2.parquet") for part in ("train", "valid", "test")])
    files = files.sort("timestamp", maintain_order=True)
    likes: dict[str, list[str]] = {}
    for (user, item, event), given in zip(log.select("user_id", "item_id", "event").iter_rows(), files["his"].to_list(), strict=True):
        past = likes.setdefault(user, [])
        assert [str(row) for row in given] == ["0", *past]
        if event == "like":
            past.append(item)


def test_small_valid_asks_half_and_keeps_every_event(data):
    full, small = (read(data / "collm-ml1m", valid=valid).interactions.collect() for valid in ("full", "small"))
    assert full.drop("click").equals(small.drop("click"))
    asked = small.filter(pl.col("click").is_not_null())["part"]
    assert dict(asked.value_counts().iter_rows()) == {"train": 33_891, "valid": 5_200, "test": 7_331}
    assert small.filter(pl.col("click").is_not_null() & (pl.col("click") != full["click"])).is_empty()


def test_histories_may_hold_dislikes(data):
    likes, every = (read(data / "collm-ml1m", history=history) for history in ("likes", "all"))
    assert (every.positive, every.rating_scale, likes.rating_scale) == (("like", "dislike"), (0.0, 1.0), ())
    log = every.interactions.collect()
    assert log.drop("rating").equals(likes.interactions.collect())
    assert log.select((pl.col("rating") == 1) == (pl.col("event") == "like")).to_series().all()


def test_unknown_valid_and_missing_file_are_named(tmp_path):
    with pytest.raises(ValueError, match="valid is 'half'; expected one of full, small"):
        read(tmp_path, valid="half")
    with pytest.raises(ValueError, match="history is 'none'; expected one of likes, all"):
        read(tmp_path, history="none")
    with pytest.raises(FileNotFoundError, match=r"train_ood2\.parquet"):
        read(tmp_path)
