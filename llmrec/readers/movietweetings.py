"""MovieTweetings: movie ratings from 0 to 10 that people tweeted, with times, titles and genres.

Separate from `movielens`, whose `::` files it resembles, for its own scale, encoding and table layouts:

    ratings.dat   user::movie::rating::unix seconds          or   ratings.csv | ratings.parquet   user,movie,rating,ts
    movies.dat    movie::title (year)::genre|genre                movies.csv  | movies.parquet    movie,title,genres

Each may be gzipped. Movie ids are IMDb numbers with leading zeros ("0013442").
Source: S. Dooms, T. De Pessemier and L. Martens, MovieTweetings, CrowdRec at RecSys 2013; https://github.com/sidooms/MovieTweetings.
Licence: MIT (Copyright (c) 2013 Simon Dooms); the notice must go with copies.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from llmrec.readers.files import find_file, need_file, scan_fields, scan_table
from llmrec.readers.movielens import movie_items
from llmrec.readers.raw import RawLog

OPTIONS: dict[str, str] = {}
SCALE = tuple(float(points) for points in range(11))


def read(path: Path) -> RawLog:
    """The ratings of a MovieTweetings folder, with titles, genres and year of its movies.

    Where a folder has several layouts, .dat is read before Parquet, and Parquet before CSV.

    Raises:
        FileNotFoundError: ratings or movies are missing.
    """
    folder = Path(path)
    if find_file(folder, "ratings.dat"):
        log = scan_fields(need_file(folder, "ratings.dat"), "::", ("user_id", "item_id", "rating", "timestamp"))
        movies = scan_fields(need_file(folder, "movies.dat"), "::", ("item_id", "title", "genres"))
    else:
        columns = {"user": "user_id", "movie": "item_id", "rating": "rating", "ts": "timestamp"}
        log = scan_table(need_file(folder, "ratings.parquet", "ratings.csv", "ratings.dat"), columns).with_columns(pl.col("user_id", "item_id").cast(pl.String))
        movies = scan_table(need_file(folder, "movies.parquet", "movies.csv"), {"movie": "item_id", "title": "title", "genres": "genres"})
    return RawLog("movietweetings", log, movie_items(movies), rating_scale=SCALE, notes={"licence": "MIT, Copyright (c) 2013 Simon Dooms"})
