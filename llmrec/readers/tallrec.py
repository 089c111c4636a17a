"""The few-shot click data of TALLRec: ten rated movies and one question per row, from ML-100K.

Separate because here a row, not a user, has a history. So each row becomes a user of its own, named "<user>/<part>/<row>" (row of the file, from 0), and `person` is the user, whom intervals count:

    order    0 .. 9                                        10
    event    like or dislike, with rating 1.0 or 0.0       asked, with the label in `click`
    part     of the row's file                             of the row's file

Likes and dislikes make the stream; "asked" does not. All eleven events carry the part of their row's file. They must: a user's rows slide over one timeline,
so that 984 of the 1,000 test answers stand in the histories of later test rows; were histories train, nearly every test label would be learnt from.
Hence judge next item and ratings elsewhere: this data asks clicks.

    baseline_train.csv, baseline_valid.csv, baseline_test.csv    user_id, history_movie_id, history_rating, movie_id, rating, timestamp
    train.json (or train.rebuilt.json), valid.json, test.json    the same rows in words: here the titles come from

    others=DIR                                                   a MovieLens 100K folder: all its users but those whose rows valid and test hold join train, named "<user>/others"

Each may be gzipped. The JSON lists liked titles, disliked titles and the asked one, each in quotes, in the order of its CSV row, which names every movie:
ML-100K itself is not needed. With `others` its users come with their whole logs, every rating an event and a question (like: above 3), and its titles, genres and years are the items'.

Source: K. Bao et al., TALLRec, RecSys 2023; https://github.com/SAI990323/TALLRec, data/movie and baseline/movielens.
Licence: code Apache-2.0; ratings GroupLens: research use, no redistribution without permission, no commercial use.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.interactions import PARTS, TEST, TRAIN, VALID
from llmrec.readers import movielens
from llmrec.readers.files import need_file, scan_table
from llmrec.readers.raw import RawLog

OPTIONS = {
    "shots": "how many train rows to keep, such as 16, 64 or 256 (default: all)",
    "draw": "seed that chooses the shots (default 0)",
    "others": "a MovieLens 100K folder whose users, but those of valid and test, join train (to be declared beside any figure); shots may then be 0",
}
LIKED_ABOVE = 3.0
COLUMNS = {"user_id": "user_id", "history_movie_id": "history", "history_rating": "ratings", "movie_id": "item_id", "rating": "click"}


def read(path: Path, *, shots: str | None = None, draw: str | None = None, others: str | None = None) -> RawLog:
    """The rows of the three files as pseudo users, with titles of every movie in them.

    The shots are the first of a permutation drawn by NumPy's default generator seeded with `draw`: the rows that TALLRec's finetune_rec.py
    chooses with that seed (`Dataset.shuffle(seed).select(range(sample))`). Without shots, every train row is kept.

    Raises:
        FileNotFoundError: one of the six files is missing.
        ValueError: a JSON file is not that of its CSV, its titles are not those of `others`, or shots or draw make no sense.
    """
    folder = Path(path)
    rows = {part: _rows(need_file(folder, f"baseline_{part}.csv"), part) for part in PARTS}
    titles: dict[str, str] = {}
    for part in PARTS:
        source = need_file(folder, *((f"{part}.json", "train.rebuilt.json") if part == TRAIN else (f"{part}.json",)))
        _learn_titles(titles, rows[part], source)
    rows[TRAIN] = _choose(rows[TRAIN], shots, draw, fewest=0 if others else 1)
    log = _events(pl.concat(rows.values()))
    items = pl.LazyFrame({"item_id": list(titles), "title": list(titles.values())})
    if others is not None:
        whole = movielens.read(Path(others))
        asked = pl.concat([rows[part].select("user_id") for part in (VALID, TEST)])
        log = pl.concat([_logs_of_others(whole.interactions, asked), log], how="diagonal")
        items = _same_titles(whole.items, titles, Path(others))
    notes = {"shots": shots, "draw": draw, "others": others is not None, "licence": "GroupLens: research use, no redistribution without permission, no commercial use"}
    return RawLog("tallrec-movie", log, items, positive=("like", "dislike"), rating_scale=(0.0, 1.0), notes=notes)


def _rows(path: Path, part: str) -> pl.DataFrame:
    """One row of the file each, with its history and ratings (written as Python lists) as lists of strings."""
    as_list = pl.col("history", "ratings").str.strip_chars("[]").str.replace_all("['\" ]", "").str.split(",")
    return scan_table(path, COLUMNS).with_columns(as_list, part=pl.lit(part)).with_row_index("row").collect()


def _learn_titles(titles: dict[str, str], rows: pl.DataFrame, path: Path) -> None:
    """Adds movie id -> title for the movies of these rows, from the quoted titles of the prompts in `path`."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        prompts = json.load(file)
    if len(prompts) != len(rows):
        raise ValueError(f"{path} has {len(prompts)} prompts; expected one for each of the {len(rows)} rows of the CSV of its part")
    for row, history, ratings, asked in rows.select("row", "history", "ratings", "item_id").iter_rows():
        liked = [movie for movie, rating in zip(history, ratings) if rating == "1"]
        movies = [*liked, *(movie for movie, rating in zip(history, ratings) if rating != "1"), asked]
        named = re.findall(r'"([^"]*)"', prompts[row]["input"])
        if len(named) != len(movies) or any(titles.setdefault(movie, title) != title for movie, title in zip(movies, named)):
            raise ValueError(f"{path}, prompt {row}: its titles do not fit row {row} of the CSV of its part ({movies}); take both from one version of TALLRec")


def _choose(rows: pl.DataFrame, shots: str | None, draw: str | None, *, fewest: int) -> pl.DataFrame:
    if shots is None:
        if draw is not None:
            raise ValueError(f"draw is {draw!r} without shots: every train row is kept, nothing is drawn; give shots too")
        return rows
    if not shots.isdecimal() or not fewest <= int(shots) <= len(rows) or not (draw or "0").isdecimal():
        raise ValueError(f"shots is {shots!r} and draw {draw!r}; expected a number of rows from {fewest} to {len(rows)}, and a seed (0, 1, ...)")
    chosen = np.random.default_rng(int(draw or "0")).permutation(len(rows))[: int(shots)]
    return rows[np.sort(chosen)]


def _logs_of_others(ratings: pl.LazyFrame, asked: pl.DataFrame) -> pl.LazyFrame:
    """The logs of all users but those asked about (user_id), as train events with their own labels."""
    label = (pl.col("rating").cast(pl.Float64) > LIKED_ABOVE).cast(pl.Int64)
    return (
        ratings.join(asked.lazy().unique(), on="user_id", how="anti", maintain_order="left").sort("user_id", pl.col("timestamp").cast(pl.Float64), maintain_order=True)
        .select(
            pl.format("{}/others", "user_id").alias("user_id"), "item_id", person="user_id", part=pl.lit(TRAIN), order=pl.int_range(pl.len()).over("user_id"),
            rating=label.cast(pl.Float64), click=label, event=pl.when(label == 1).then(pl.lit("like")).otherwise(pl.lit("dislike")),
        )
    )


def _same_titles(items: pl.LazyFrame, titles: Mapping[str, str], folder: Path) -> pl.LazyFrame:
    """The items of `others`, once it is sure that they are those of the rows."""
    found = dict(items.select("item_id", "title").collect().iter_rows())
    wrong = next((item_id for item_id, title in titles.items() if found.get(item_id) != title), None)
    if wrong is not None:
        raise ValueError(f"{folder} has the title {found.get(wrong)!r} for movie {wrong}, TALLRec's prompts {titles[wrong]!r}; expected MovieLens 100K as TALLRec took it")
    return items


def _events(rows: pl.DataFrame) -> pl.LazyFrame:
    """Eleven events for each row: its history, then what it asks."""
    rows = rows.with_columns(person="user_id", user_id=pl.format("{}/{}/{}", "user_id", "part", "row"))
    liked = pl.col("rating") == 1
    past = (
        rows.select("user_id", "person", "part", item_id="history", rating="ratings").explode("item_id", "rating")
        .with_columns(pl.col("rating").cast(pl.Float64), order=pl.int_range(pl.len()).over("user_id"), click=pl.lit(None, pl.Int64))
        .with_columns(event=pl.when(liked).then(pl.lit("like")).otherwise(pl.lit("dislike")))
    )
    place, label = pl.col("history").list.len().cast(pl.Int64), pl.col("click").cast(pl.Int64)
    asked = rows.select("user_id", "person", "part", "item_id", rating=pl.lit(None, pl.Float64), order=place, click=label, event=pl.lit("asked"))
    return pl.concat([past, asked]).lazy()
