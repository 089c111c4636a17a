"""MovieLens layouts: real 100k and ml-1m-seq, hand-made 1m and latest."""

import polars as pl
import pytest

from llmrec.readers.movielens import movie_items, read


def test_100k_has_its_published_counts_and_the_first_row_as_written(data):
    raw = read(data / "ml-100k")
    log, items = raw.interactions.collect(), raw.items.collect()
    assert (len(log), log["user_id"].n_unique(), len(items)) == (100_000, 943, 1_682)
    assert log.row(0, named=True) == {"user_id": "196", "item_id": "242", "rating": "3", "timestamp": "881250949"}
    assert raw.rating_scale == (1.0, 2.0, 3.0, 4.0, 5.0) and raw.temporal and "part" not in log.columns
    assert items.row(0, named=True) == {"item_id": "1", "title": "Toy Story (1995)", "genres": ["Animation", "Children's", "Comedy"], "year": ["1995"]}
    assert items.filter(pl.col("title") == "unknown").row(0, named=True) == {"item_id": "267", "title": "unknown", "genres": [], "year": []}
    assert items.filter(pl.col("title").str.contains("é")).height > 0


@pytest.mark.parametrize("fold, train, test", [("u1", 80_000, 20_000), ("ua", 90_570, 9_430)])
def test_folds_of_100k_are_not_temporal(data, fold, train, test):
    raw = read(data / "ml-100k", fold=fold)
    parts = raw.interactions.collect()["part"]
    assert ((parts == "train").sum(), (parts == "test").sum()) == (train, test)
    assert raw.temporal is False


def test_five_folds_test_every_rating_once(data):
    whole = read(data / "ml-100k").interactions.collect()
    tested = pl.concat([read(data / "ml-100k", fold=f"u{k}").interactions.filter(pl.col("part") == "test") for k in range(1, 6)]).drop("part").collect()
    assert tested.sort(tested.columns).equals(whole.sort(whole.columns))


def test_unknown_fold_and_fold_of_another_layout_are_refused(data):
    with pytest.raises(ValueError, match="fold is 'u9'; expected one of u1, u2"):
        read(data / "ml-100k", fold="u9")
    with pytest.raises(ValueError, match="is not"):
        read(data / "ml-1m-seq", fold="u1")


def test_order_only_sequences_have_their_own_split_and_only_their_own_movies(data):
    raw = read(data / "ml-1m-seq")
    log, items = raw.interactions.collect(), raw.items.collect()
    assert (log["user_id"].n_unique(), len(items), len(log)) == (6_040, 3_416, 999_611)
    assert log.columns == ["user_id", "item_id", "order", "part"]
    assert log.row(0, named=True) == {"user_id": "1", "item_id": "3186", "order": 0, "part": "train"}
    assert dict(log["part"].value_counts().iter_rows()) == {"train": 987_531, "valid": 6_040, "test": 6_040}
    assert items.filter(pl.col("item_id") == "73")["title"].item() == "Misérables, Les (1995)"


def test_1m_layout(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    (tmp_path / "movies.dat").write_bytes("661::Star Wars: A Café (1977)::Action|Sci-Fi\n1193::Untitled::\n".encode("latin-1"))
    raw = read(tmp_path)
    assert raw.interactions.collect().rows() == [("1", "1193", "5", "978300760"), ("1", "661", "3", "978302109")]
    assert raw.items.collect().rows() == [("661", "Star Wars: A Café (1977)", ["Action", "Sci-Fi"], ["1977"]), ("1193", "Untitled", [], [])]


def test_latest_layout_with_a_quoted_title_and_half_stars(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,110,0.5,1225734739\n")
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n110,"Matrix, The (1999)",(no genres listed)\n')
    raw = read(tmp_path)
    assert raw.interactions.collect().rows() == [("1", "110", "0.5", "1225734739")]
    assert raw.items.collect().rows() == [("110", "Matrix, The (1999)", [], ["1999"])]
    assert raw.rating_scale[0] == 0.5


@pytest.mark.parametrize(
    "title, year",
    [
        ("Two Friends (1986) ", ["1986"]),
        ("Land Before Time III (1995) (V)", ["1995"]),
        ("Ghost (Show) (2006–2007)", ["2006"]),
        ("2001: A Space Odyssey (1968)", ["1968"]),
        ("(1999) Nights", []),
    ],
)
def test_year_is_the_one_that_closes_the_title(title, year):
    movies = pl.LazyFrame({"item_id": ["1"], "title": [title], "genres": [None]}, schema_overrides={"genres": pl.String})
    assert movie_items(movies).collect()["year"].to_list() == [year]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"u\.item or sequences\.parquet or ratings\.dat or ratings\.csv"):
        read(tmp_path)
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    with pytest.raises(FileNotFoundError, match=r"movies\.csv"):
        read(tmp_path)


def test_damaged_item_lines_are_named(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::1::5::978300760\n")
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Comedy\n2::Jumanji (1995)\n")
    with pytest.raises(ValueError, match=r"movies\.dat, line 2: 2 fields"):
        read(tmp_path)
