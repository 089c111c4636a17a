"""MovieLens, in the layouts GroupLens publishes, and the order-only sequences of ML-1M.

Separate because four layouts of one source share what a movie is: a title with its year, and genres. The layout is told from the files:

    100k              1m             latest, 32m     order only
    u.data            ratings.dat    ratings.csv     sequences.parquet  (user_id, pos, movie_id, split)
    u.item            movies.dat     movies.csv      movies.dat
    u.genre           (latin-1)
    u1.base, u1.test ... ub.test   for the option `fold`

Source: F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 5 (4), 2015; https://grouplens.org/datasets/movielens/.
Licence: research use with acknowledgement; redistribution and commercial use need GroupLens' permission (README of each set).
The order-only sequences are the chronological ones of SASRec and BERT4Rec, with the original ids (asash/gSASRec-pytorch, datasets/ml1m).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from llmrec.interactions import TEST, TRAIN
from llmrec.readers.files import need_file, scan_fields, scan_table, text_lines
from llmrec.readers.raw import RawLog

FOLDS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
OPTIONS = {"fold": f"official fold of the 100k layout ({', '.join(FOLDS)}): its base file is train, its test file test"}
STARS = (1.0, 2.0, 3.0, 4.0, 5.0)
HALF_STARS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
LICENCE = "GroupLens: research use, no redistribution without permission, no commercial use"

# What the sets write where a movie has no genre.
NO_GENRE = ["", "unknown", "(no genres listed)"]
# The year closes the title, but for a mark such as "(V)" (released on video) and blanks; a series has "(2006-2007)".
YEAR = r"\((\d{4})(?:[-–]\d{0,4})?\)(?:\s*\([A-Z]+\))?\s*$"


def read(path: Path, *, fold: str | None = None) -> RawLog:
    """The ratings (or the order-only sequences) of a MovieLens folder, with titles, genres and year of its movies.

    With `fold`, `part` is train for its base file and test for its test file; these folds were drawn at random, so `temporal` is False.

    Raises:
        FileNotFoundError: a file of the layout is missing.
        ValueError: an unknown fold, or a fold of another layout than 100k.
    """
    folder = Path(path)
    layout = LAYOUTS[need_file(folder, *LAYOUTS).name.removesuffix(".gz")]
    if fold is None:
        return layout(folder)
    if layout is not _read_100k or fold not in FOLDS:
        is_100k = "is" if layout is _read_100k else "is not"
        raise ValueError(f"fold is {fold!r}; expected one of {', '.join(FOLDS)}, in a folder of the 100k layout (with u.item), which {folder} {is_100k}")
    return _read_100k(folder, fold)


def movie_items(movies: pl.LazyFrame) -> pl.LazyFrame:
    """item_id and title as they are, genres and year as lists, from a frame with item_id, title and genres ("Drama|War").

    The title keeps its "(1995)"; `year` is a list of one, or empty where the title names none.
    """
    genres = pl.col("genres").fill_null("").str.split("|").list.eval(pl.element().filter(~pl.element().is_in(NO_GENRE)))
    return movies.select("item_id", "title", genres, year=pl.concat_list(pl.col("title").str.extract(YEAR)).list.drop_nulls())


def _read_100k(folder: Path, fold: str | None = None) -> RawLog:
    fields = ("user_id", "item_id", "rating", "timestamp")
    parts = {TRAIN: "base", TEST: "test"}
    if fold is None:
        log = scan_fields(need_file(folder, "u.data"), "\t", fields)
    else:
        log = pl.concat([scan_fields(need_file(folder, f"{fold}.{end}"), "\t", fields).with_columns(part=pl.lit(part)) for part, end in parts.items()])
    items = _items_100k(need_file(folder, "u.item"), need_file(folder, "u.genre"))
    return RawLog("ml-100k", log, items, temporal=fold is None, rating_scale=STARS, notes={"layout": "100k", "fold": fold, "licence": LICENCE})


def _items_100k(movies: Path, genres: Path) -> pl.LazyFrame:
    """u.item: id | title | release date | video release date | URL | one 0/1 flag for each line of u.genre."""
    names = [line.split("|")[0] for line in text_lines(genres)]
    rows = []
    for number, line in enumerate(text_lines(movies, "latin-1"), start=1):
        fields = line.split("|")
        if len(fields) != 5 + len(names):
            raise ValueError(f"{movies}, line {number}: {len(fields)} fields; expected 5 and a flag for each of the {len(names)} genres of {genres}")
        rows.append((fields[0], fields[1], "|".join(name for name, flag in zip(names, fields[5:]) if flag == "1")))
    return movie_items(pl.LazyFrame(rows, schema=["item_id", "title", "genres"], orient="row"))


def _read_1m(folder: Path) -> RawLog:
    log = scan_fields(need_file(folder, "ratings.dat"), "::", ("user_id", "item_id", "rating", "timestamp"))
    return RawLog("ml-1m", log, _items_dat(need_file(folder, "movies.dat")), rating_scale=STARS, notes={"layout": "1m", "licence": LICENCE})


def _items_dat(path: Path) -> pl.LazyFrame:
    """movies.dat of ML-1M: id::title::genre|genre, in latin-1."""
    rows = [line.split("::") for line in text_lines(path, "latin-1")]
    odd = next((number for number, fields in enumerate(rows, start=1) if len(fields) != 3), None)
    if odd:
        raise ValueError(f"{path}, line {odd}: {len(rows[odd - 1])} fields between '::'; expected id::title::genres")
    return movie_items(pl.LazyFrame(rows, schema=["item_id", "title", "genres"], orient="row"))


def _read_latest(folder: Path) -> RawLog:
    columns = {"userId": "user_id", "movieId": "item_id", "rating": "rating", "timestamp": "timestamp"}
    log = scan_table(need_file(folder, "ratings.csv"), columns)
    movies = scan_table(need_file(folder, "movies.csv"), {"movieId": "item_id", "title": "title", "genres": "genres"})
    return RawLog("ml-latest", log, movie_items(movies), rating_scale=HALF_STARS, notes={"layout": "latest", "licence": LICENCE})


def _read_order_only(folder: Path) -> RawLog:
    """Neither ratings nor times: `order` is the place in the user's sequence. Only movies of the sequences are items, as in the published figures."""
    columns = {"user_id": "user_id", "movie_id": "item_id", "pos": "order", "split": "part"}
    log = scan_table(need_file(folder, "sequences.parquet"), columns).with_columns(pl.col("user_id", "item_id").cast(pl.String))
    items = _items_dat(need_file(folder, "movies.dat")).join(log.select("item_id").unique(), on="item_id", how="semi")
    return RawLog("ml-1m-seq", log, items, notes={"layout": "order only", "licence": LICENCE})


# A file that tells the layout -> its reader; the first one found decides.
LAYOUTS = {"u.item": _read_100k, "sequences.parquet": _read_order_only, "ratings.dat": _read_1m, "ratings.csv": _read_latest}
