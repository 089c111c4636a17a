"""TALLRec's rows as pseudo users."""

import json
import re

import numpy as np
import polars as pl
import pytest

from llmrec.readers.tallrec import read

HEADER = "user_id,history_movie_id,history_rating,movie_id,rating,timestamp\n"


def write(folder, part, rows, prompts):
    (folder / f"baseline_{part}.csv").write_text(HEADER + "".join(rows))
    (folder / f"{part}.json").write_text(json.dumps([{"input": prompt} for prompt in prompts]))


@pytest.fixture
def tiny(tmp_path):
    """Alice (9) in all parts, histories of two: she likes movie 1, dislikes 02."""
    prompt = 'User Preference: "One (1991)"\nUser Unpreference: "Two, The (1992)"\nWhether the user will like the target movie "{}"?'
    for part, movie, label in (("train", "3", 1), ("valid", "4", 0), ("test", "5", 1)):
        write(tmp_path, part, [f"9,\"['02', '1']\",\"[0, 1]\",{movie},{label},88\n"], [prompt.format(f"Movie {movie}")])
    return tmp_path


def test_each_row_is_a_user_with_its_history_and_one_question(tiny):
    raw = read(tiny)
    rows = raw.interactions.filter(pl.col("part") == "test").select("user_id", "order", "item_id", "event", "rating", "click").sort("order").collect().rows()
    assert rows == [("9/test/0", 0, "02", "dislike", 0.0, None), ("9/test/0", 1, "1", "like", 1.0, None), ("9/test/0", 2, "5", "asked", None, 1)]
    assert raw.positive == ("like", "dislike") and raw.interactions.select("person").collect()["person"].to_list() == ["9"] * 9


def test_titles_are_told_from_liked_then_disliked_then_asked(tiny):
    titles = dict(read(tiny).items.collect().iter_rows())
    assert titles == {"1": "One (1991)", "02": "Two, The (1992)", "3": "Movie 3", "4": "Movie 4", "5": "Movie 5"}


@pytest.fixture
def others(tmp_path):
    """MovieLens 100K of three users; user 9 is one of the rows'."""
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "u.data").write_text("9\t1\t5\t88\n7\t02\t4\t90\n7\t1\t3\t89\n8\t5\t1\t91\n")
    (folder / "u.genre").write_text("unknown|0\nDrama|1\n")
    titles = {"1": "One (1991)", "02": "Two, The (1992)", "3": "Movie 3", "4": "Movie 4", "5": "Movie 5"}
    (folder / "u.item").write_text("".join(f"{movie}|{title}|01-Jan-1995||url|0|1\n" for movie, title in titles.items()), encoding="latin-1")
    return folder


def test_others_join_train_but_those_of_valid_and_test(tiny, others):
    raw = read(tiny, shots="0", others=str(others))
    rows = raw.interactions.filter(pl.col("part") == "train").select("user_id", "order", "item_id", "event", "rating", "click").collect().rows()
    assert rows == [("7/others", 0, "1", "dislike", 0.0, 0), ("7/others", 1, "02", "like", 1.0, 1), ("8/others", 0, "5", "dislike", 0.0, 0)]
    plain, more = (read(tiny, others=chosen).interactions.filter(pl.col("part") != "train").collect() for chosen in (None, str(others)))
    assert more.select(plain.columns).equals(plain)
    assert raw.interactions.filter(pl.col("user_id") == "7/others").collect()["person"].to_list() == ["7", "7"]
    assert raw.items.collect()["genres"].to_list() == [["Drama"]] * 5
    with pytest.raises(ValueError, match="expected a number of rows from 1 to 1"):
        read(tiny, shots="0")
    (others / "u.item").write_text("1|Uno (1991)|01-Jan-1995||url|0|1\n", encoding="latin-1")
    with pytest.raises(ValueError, match="'Uno \\(1991\\)' for movie 1"):
        read(tiny, others=str(others))


def test_prompts_of_other_rows_are_refused(tiny):
    (tiny / "test.json").write_text(json.dumps([{"input": 'User Preference: "Two, The (1992)"\nUser Unpreference: "One (1991)"\n"Movie 5"?'}]))
    with pytest.raises(ValueError, match=r"test\.json, prompt 0: its titles do not fit row 0"):
        read(tiny)
    (tiny / "test.json").write_text("[]")
    with pytest.raises(ValueError, match="has 0 prompts; expected one for each of the 1 rows"):
        read(tiny)


def test_missing_prompts_are_named(tiny):
    (tiny / "valid.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"valid\.json"):
        read(tiny)


def test_real_rows_rebuild_the_published_prompt_and_labels(data):
    raw = read(data / "tallrec-movie")
    log, titles = raw.interactions.collect(), dict(raw.items.collect().iter_rows())
    asked = log.filter(pl.col("event") == "asked")
    assert dict(asked["part"].value_counts().iter_rows()) == {"train": 8_000, "valid": 1_000, "test": 1_000}
    assert asked.filter(pl.col("part") == "test")["click"].sum() == 528
    assert log.group_by("user_id").len()["len"].unique().to_list() == [11]
    first = log.filter(pl.col("user_id") == "934/test/0").sort("order")
    assert [titles[item] for item, event in first.select("item_id", "event").iter_rows() if event == "dislike"] == ["Kalifornia (1993)"]
    assert titles[first["item_id"].to_list()[-1]] == "Perez Family, The (1995)"


def test_no_answer_of_test_or_valid_stands_in_train(data):
    log = read(data / "tallrec-movie").interactions.with_columns(person=pl.col("user_id").str.extract(r"^(\d+)/")).collect()
    for part, in_own_histories in (("valid", 986), ("test", 984)):
        answers = log.filter((pl.col("event") == "asked") & (pl.col("part") == part)).select("person", "item_id")
        past = log.filter(pl.col("event") != "asked")
        assert answers.join(past.filter(pl.col("part") == "train"), on=["person", "item_id"], how="semi").is_empty()
        assert answers.join(past.filter(pl.col("part") == part), on=["person", "item_id"], how="semi").height == in_own_histories


def test_shots_are_the_head_of_a_seeded_permutation(data):
    train = read(data / "tallrec-movie", shots="16", draw="3").interactions.filter(pl.col("part") == "train").collect()
    rows = {int(re.search(r"\d+$", user).group()) for user in train["user_id"].unique()}
    assert rows == set(np.random.default_rng(3).permutation(8_000)[:16].tolist())
    assert len(train) == 16 * 11
    fewer = read(data / "tallrec-movie", shots="4", draw="3").interactions.filter(pl.col("part") == "train").collect()
    assert set(fewer["user_id"]) <= set(train["user_id"])


@pytest.mark.parametrize("options", [{"shots": "0"}, {"shots": "2"}, {"shots": "few"}, {"draw": "1"}, {"shots": "1", "draw": "x"}])
def test_senseless_shots_are_refused(tiny, options):
    with pytest.raises(ValueError, match="shots"):
        read(tiny, **options)
