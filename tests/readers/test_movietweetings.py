"""MovieTweetings: the .dat snapshot, and the 5-core tables."""

import polars as pl
import pytest

from llmrec.readers.movietweetings import read


def test_snapshot_has_its_published_counts_and_keeps_leading_zeros(data):
    raw = read(data / "movietweetings-100k")
    log, items = raw.interactions.collect(), raw.items.collect()
    assert (log["user_id"].n_unique(), log["item_id"].n_unique(), len(log)) == (16_554, 10_506, 100_000)
    assert log.row(0) == ("1", "1074638", "7", "1365029107")
    assert items.row(0) == ("0002844", "Fantômas - À l'ombre de la guillotine (1913)", ["Crime", "Drama"], ["1913"])
    assert raw.rating_scale == tuple(range(11))


def test_5core_reads_the_same_from_parquet_and_from_csv(data, tmp_path):
    folder = data / "movietweetings-100k" / "demo_5core"
    parquet = read(folder)
    for name in ("ratings.csv.gz", "movies.csv.gz"):
        (tmp_path / name).symlink_to(folder / name)
    csv = read(tmp_path)
    log = parquet.interactions.collect()
    assert (log["user_id"].n_unique(), log["item_id"].n_unique(), len(log)) == (4_333, 2_414, 68_055)
    assert log.cast(pl.String).equals(csv.interactions.collect())
    assert parquet.items.collect().equals(csv.items.collect())


def test_missing_movies_are_named(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::0104257::8::1364690142\n")
    with pytest.raises(FileNotFoundError, match=r"movies\.dat"):
        read(tmp_path)
