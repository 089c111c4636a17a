"""The simulated world: the same whoever else lives in it, true to its own probabilities, and worth learning from."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from llmrec import simulation
from llmrec.readers import simulation as reader
from llmrec.simulation import World, truth, write_world

USERS, ITEMS = 600, 240
NUMBER_WORDS = {"one", "two", "three", "four", "five", "star", "stars"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("world")
    write_world(path, users=USERS, items=ITEMS, seed=3)
    return path


@pytest.fixture(scope="module")
def log(folder) -> pl.DataFrame:
    return pl.read_csv(folder / "interactions.csv", infer_schema_length=None).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))


@pytest.fixture(scope="module")
def items(folder) -> pl.DataFrame:
    return pl.read_csv(folder / "items.csv", infer_schema=False)


@pytest.fixture(scope="module")
def shown(folder, log) -> pl.DataFrame:
    """The impressions with what was true and what followed: clicked and purchased are 0 or 1."""
    after = log.select("row", *[(pl.col("event").shift(-k).eq(event) & pl.col("item_id").shift(-k).eq(pl.col("item_id"))).fill_null(False).cast(pl.Int8).alias(name)
                                for k, event, name in ((1, "click", "clicked"), (2, "purchase", "purchased"))])
    probabilities = truth(folder).drop("user_id", "item_id", "event")
    return log.filter(pl.col("event") == "impression").join(probabilities, on="row").join(after, on="row")


@pytest.fixture(scope="module")
def clicks(log) -> pl.DataFrame:
    return log.filter(pl.col("event") == "click").with_columns(last=pl.col("item_id").shift(1).over("user_id"), before=pl.col("item_id").shift(2).over("user_id"))


def test_a_user_is_the_same_in_a_small_and_a_large_world():
    small, large = (World.create(users=users, items=80, seed=5).simulate(0, users)[0] for users in (50, 200))
    assert small.equals(large.filter(pl.col("user_id").is_in(small["user_id"].unique().to_list())))
    assert small["user_id"].n_unique() == 50


def test_files_are_the_same_bytes_for_any_chunk(tmp_path):
    for chunk in (1, 7, 20):
        write_world(tmp_path / str(chunk), users=20, items=90, seed=1, users_per_chunk=chunk)
    for name in ("interactions.csv", "items.csv", "truth.parquet", "world.json"):
        assert len({(tmp_path / str(chunk) / name).read_bytes() for chunk in (1, 7, 20)}) == 1, name
    assert sorted(path.name for path in (tmp_path / "7").iterdir()) == ["interactions.csv", "items.csv", "truth.parquet", "world.json"]


def test_another_seed_is_another_world():
    first, second = (World.create(users=20, items=80, seed=seed) for seed in (0, 1))
    assert not first.shelf.frame.equals(second.shelf.frame)
    assert not first.simulate(0, 20)[0].equals(second.simulate(0, 20)[0])


def test_the_default_world_keeps_to_its_size():
    """The first 300 users of 1500, five times: at most 150,000 rows and 10 to 20 clicked items a user."""
    log = World.create(users=1500, items=400, seed=0).simulate(0, 300)[0]
    assert len(log) * 5 <= 150_000
    assert 10 <= (log["event"] == "click").sum() / 300 <= 20


def test_each_item_is_told_in_a_row_and_time_goes_up(log):
    assert (log.group_by("user_id", maintain_order=True).agg(pl.col("timestamp").diff().min())["timestamp"].drop_nulls() > 0).all()
    order = {"impression": 0, "click": 1, "purchase": 2, "rating": 3}
    stage = log["event"].replace_strict(order).to_numpy()
    starts = stage == 0
    assert starts[0] and (stage[1:][~starts[1:]] == stage[:-1][~starts[1:]] + 1).all()
    same = (log["item_id"] == log["item_id"].shift(1)) & (log["user_id"] == log["user_id"].shift(1))
    assert (same.fill_null(False).to_numpy() == ~starts).all()


def test_nothing_is_shown_twice_to_a_user(log):
    assert log.filter(pl.col("event") == "impression").select(pl.struct("user_id", "item_id").is_duplicated().any()).item() is False


def test_columns_hold_what_they_say(log):
    # A session begins 2 to 16 seconds before its first impression.
    for earliest in (2, 16):
        begins = log.filter((pl.col("event") == "impression") & (pl.col("slot") == 1)).with_columns(moment=pl.from_epoch(pl.col("timestamp") - earliest, time_unit="s"))
        right = (begins["moment"].dt.hour() == begins["hour"]) & (begins["moment"].dt.strftime("%A") == begins["weekday"])
        assert right.mean() > 0.99
    assert log.filter((pl.col("rating").is_not_null()) != (pl.col("event") == "rating")).is_empty()
    assert log.filter(pl.col("review").is_not_null() & (pl.col("event") != "rating")).is_empty()
    assert log.filter(pl.col("query").is_not_null() & ~pl.col("event").is_in(["impression", "click"])).is_empty()
    assert log["query"].drop_nulls().len() > 500
    assert 0.35 < log["review"].drop_nulls().len() / log["rating"].drop_nulls().len() < 0.65
    shown = log.filter(pl.col("event") == "impression")
    assert shown["slot"].min() == 1 and shown["slot"].max() <= 8


def test_truth_stands_beside_each_impression_and_rating(folder, log):
    told = truth(folder)
    wanted = log.filter(pl.col("event").is_in(["impression", "rating"]))
    assert told.select("row", "user_id", "item_id", "event").equals(wanted.select("row", "user_id", "item_id", "event"))
    total = told.select(pl.sum_horizontal(f"rating_{k}" for k in range(1, 6))).to_series()
    assert (total - 1).abs().max() < 1e-5


@pytest.mark.parametrize(("probability", "outcome", "among"), [("click_probability", "clicked", None), ("purchase_probability", "purchased", "clicked")])
def test_true_probabilities_are_calibrated(shown, probability, outcome, among):
    """Ten bins: in each the share of outcomes is within four standard errors of the mean true probability."""
    asked = shown.filter(pl.col(among) == 1) if among else shown
    bins = asked.with_columns(bin=(pl.col(probability).rank("ordinal") * 10 / (pl.len() + 1)).cast(pl.Int8)).group_by("bin").agg(
        p=pl.col(probability).mean(), y=pl.col(outcome).mean(), error=(pl.col(probability) * (1 - pl.col(probability))).sum().sqrt() / pl.len())
    assert len(bins) == 10
    assert bins.filter((pl.col("p") - pl.col("y")).abs() > 4 * pl.col("error")).is_empty()


def test_true_rating_probabilities_are_calibrated(folder, log):
    rated = truth(folder).filter(pl.col("event") == "rating").join(log.select("row", "rating"), on="row")
    stars = rated["rating"].to_numpy()
    for k in range(1, 6):
        p = rated[f"rating_{k}"].to_numpy()
        assert abs(p.mean() - (stars == k).mean()) < 4 * np.sqrt((p * (1 - p)).sum()) / len(p)
    error = np.sqrt(np.mean((rated["expected_rating"].to_numpy() - stars) ** 2))
    assert error < 0.85 * stars.std()


def test_the_truth_is_worth_knowing(shown):
    """The true probability ranks shown items far better than the item's own popularity does."""
    clicked = shown["clicked"].to_numpy()
    popularity = shown.select(pl.col("clicked").cast(pl.Int64).sum().over("item_id")).to_series()
    assert roc_auc_score(clicked, shown["click_probability"]) >= 0.78
    assert roc_auc_score(clicked, popularity) <= 0.66


def test_oracle_ranks_the_next_click_far_above_the_most_popular(folder, clicks):
    world = World.create(users=USERS, items=ITEMS, seed=3)
    asked = clicks.filter(pl.int_range(pl.len()).over("user_id") == pl.len().over("user_id") - 1).filter(pl.col("last").is_not_null())
    past = clicks.join(asked.select("row"), on="row", how="anti")
    ids = world.shelf.frame["item_id"]
    popular = ids.to_frame().join(past.group_by("item_id").len(), on="item_id", how="left", maintain_order="left")["len"].fill_null(0).to_numpy()
    row_of = {item_id: row for row, item_id in enumerate(ids)}
    target = np.array([row_of[item_id] for item_id in asked["item_id"]])
    unseen = np.ones((len(asked), len(ids)), dtype=bool)
    number = {user: n for n, user in enumerate(asked["user_id"])}
    for user, item_id in past.select("user_id", "item_id").iter_rows():
        if user in number:
            unseen[number[user], row_of[item_id]] = False

    def hit10(scores: np.ndarray) -> float:
        scores = np.where(unseen, scores, -np.inf)
        return float(((scores > scores[np.arange(len(target)), target][:, None]).sum(axis=1) < 10).mean())

    assert hit10(world.click_logits(asked)) > 2.5 * hit10(np.broadcast_to(popular, unseen.shape))


def test_oracle_is_the_logit_of_the_truth(shown, clicks):
    """In the first slot, unpromoted and without a query, the oracle's logit is the written probability."""
    world = World.create(users=USERS, items=ITEMS, seed=3)
    past = clicks.select("user_id", "timestamp", "item_id").with_columns(before=pl.col("item_id").shift(1).over("user_id")).rename({"item_id": "last"})
    asked = (
        shown.filter((pl.col("slot") == 1) & (pl.col("promotion") == "none") & pl.col("query").is_null() & pl.col("place").is_not_null()).sort("timestamp")
        .join_asof(past.sort("timestamp"), on="timestamp", by="user_id", strategy="backward", check_sortedness=False).head(100)
    )
    row_of = {item_id: row for row, item_id in enumerate(world.shelf.frame["item_id"])}
    logits = world.click_logits(asked)[np.arange(len(asked)), [row_of[item_id] for item_id in asked["item_id"]]]
    # The impression stands some seconds after the session began, so a taste has drifted by a hair.
    assert np.abs(1 / (1 + np.exp(-logits)) - asked["click_probability"].to_numpy()).max() < 1e-4


def test_what_follows_is_related_far_beyond_chance(clicks, items):
    """Two clicks in a row share a maker much more often than two random clicks of a user do."""
    maker = dict(items.select("item_id", "creator").iter_rows())
    pairs = clicks.filter(pl.col("last").is_not_null())
    together = np.mean([maker[a] == maker[b] for a, b in pairs.select("item_id", "last").iter_rows()])
    anyhow = pairs.with_columns(other=pl.col("last").shuffle(seed=0).over("user_id"))
    within = np.mean([maker[a] == maker[b] for a, b in anyhow.select("item_id", "other").iter_rows() if a != b])
    chance = np.mean([maker[a] == maker[b] for a, b in zip(pairs["item_id"], pairs["item_id"].shuffle(seed=0), strict=True)])
    assert together > 1.3 * within > 1.3 * chance


def test_context_changes_what_is_clicked(shown, items):
    """Short items gain and long ones lose on the way to work; cosy ones gain in the evening."""
    asked = shown.join(items, on="item_id")

    def rate(*conditions: pl.Expr) -> float:
        return asked.filter(*conditions)["clicked"].mean()

    short, long, commute = pl.col("length") == "short", pl.col("length") == "long", pl.col("place") == "commute"
    assert rate(short, commute) / rate(long, commute) > 1.3 * rate(short, ~commute) / rate(long, ~commute)
    cosy, evening = pl.col("moods").str.contains("cosy"), pl.col("hour").is_between(18, 22)
    assert rate(cosy, evening) / rate(~cosy, evening) > 1.1 * rate(cosy, ~evening) / rate(~cosy, ~evening)
    assert rate(pl.col("promotion") == "discount") > 1.1 * rate(pl.col("promotion") == "none")


def test_text_of_items_predicts_taste(shown, clicks, items):
    """The share of an item's attribute values among those of the user's earlier clicks, in all scenarios, tells later clicks."""
    words = {row[0]: {word for cell in row[2:] if cell for word in cell.split("|")} for row in items.drop("price", "year", "kind", "series").iter_rows()}
    history: dict[str, dict[str, int]] = {}
    scores, labels = [], []
    for user, item_id, clicked in shown.select("user_id", "item_id", "clicked").iter_rows():
        known = history.setdefault(user, {})
        total = sum(known.values())
        if total > 60:
            scores.append(sum(known.get(word, 0) for word in words[item_id]) / total)
            labels.append(clicked)
        if clicked:
            for word in words[item_id]:
                known[word] = known.get(word, 0) + 1
    assert len(labels) > 3000
    assert roc_auc_score(labels, scores) > 0.6


def test_titles_are_unique_and_of_plausible_length(items):
    assert items["title"].n_unique() == len(items) == ITEMS
    lengths = items["title"].str.split(" ").list.len()
    assert 2 <= lengths.min() and lengths.max() <= 14 and 3 <= lengths.mean() <= 7
    assert set(items["kind"].unique()) == {"film", "book", "kitchen"}
    assert not items.select(pl.any_horizontal(pl.all().str.contains("[{}]")).any()).item()


def test_titles_stay_unique_in_a_large_catalogue():
    frame = World.create(users=1, items=2000, seed=0).shelf.frame
    assert frame["title"].n_unique() == frame["item_id"].n_unique() == 2000


def test_a_tenth_of_the_items_appears_late(shown):
    first = shown.group_by("item_id").agg(day=(pl.col("timestamp").min() - simulation.EPOCH) / 86400)
    assert 0.07 <= (first["day"] > 50).mean() <= 0.14


def test_reviews_are_short_true_and_never_tell_the_stars(log, items):
    reviews = log.filter(pl.col("review").is_not_null()).join(items, on="item_id")
    mentions = 0
    for row in reviews.iter_rows(named=True):
        said = set(re.findall(r"[a-z]+", f"{row['review']} {row['summary']}".lower()))
        assert not said & NUMBER_WORDS and not re.search(r"[0-9{}]", row["review"] + row["summary"]), row["review"]
        assert row["title"] not in row["review"]
        assert 1 <= row["review"].count(".") <= 2 and 2 <= len(row["summary"].split()) <= 6
        facts = [word for name in ("genres", "moods", "subjects", "creator", "length", "pace") if row[name] for word in row[name].split("|")]
        mentions += any(fact.lower() in row["review"].lower() for fact in facts)
    assert mentions > 0.97 * len(reviews)
    assert reviews["review"].n_unique() > 0.9 * len(reviews)


def test_reviews_feel_as_the_stars_do(log):
    words = {"liked": "wonderful|superb|loved|favourite|solid|good", "disliked": "dreadful|painful|avoid|regret|weak|disappointing|dull"}
    told = log.filter(pl.col("summary").is_not_null())
    share = {name: told.select(pl.col("rating").filter(pl.col("summary").str.to_lowercase().str.contains(pattern)).mean()).item() for name, pattern in words.items()}
    assert share["liked"] > 4 > 2.5 > share["disliked"]


def test_queries_are_words_and_sentences_about_items(log):
    queries = log["query"].drop_nulls().unique()
    short = (queries.str.split(" ").list.len() <= 3).mean()
    assert 0.2 < short < 0.8
    assert queries.str.contains("like ").any()
    assert not queries.str.contains("[{}|]").any()


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="items is 10; a simulated world needs at least 60"):
        World.create(users=5, items=10, seed=0)
    with pytest.raises(ValueError, match="seed is -1"):
        World.create(users=5, items=60, seed=-1)


def test_the_smallest_world_runs_dry_in_peace():
    log = World.create(users=30, items=60, seed=0, days=7).simulate(0, 30)[0]
    assert log["user_id"].n_unique() == 30


def test_an_existing_log_is_not_overwritten(folder):
    with pytest.raises(FileExistsError, match="interactions.csv exists"):
        write_world(folder, users=5, items=60)


def test_reader_writes_a_world_once_and_reads_it_as_text(tmp_path):
    raw = reader.read(tmp_path / "new", users="8", items="60", seed="2", days="30")
    frame = raw.interactions.collect()
    assert set(frame.dtypes) == {pl.String} and "slot" not in frame.columns
    assert frame["user_id"].n_unique() == 8 and frame["query"].null_count() > 0 and not (frame["query"] == "").any()
    assert raw.context == ("hour", "weekday", "device", "place", "promotion") and len(raw.items.collect()) == 60
    again = reader.read(tmp_path / "new")
    assert again.interactions.collect().equals(frame) and again.notes["world"] == {"users": 8, "items": 60, "seed": 2, "days": 30}


def test_reader_refuses_other_settings_and_strange_folders(tmp_path):
    reader.read(tmp_path / "world", users="4", items="60")
    with pytest.raises(ValueError, match="holds a world with users=4, asked for was users=5"):
        reader.read(tmp_path / "world", users="5")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "interactions.csv").write_text("user_id,item_id\na,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no simulated world"):
        reader.read(tmp_path / "own")


@pytest.mark.parametrize(("option", "message"), [({"usres": "5"}, "unknown option 'usres'.*available: users"), ({"users": "many"}, "users is 'many'; expected a whole number")])
def test_reader_names_a_wrong_option(tmp_path, option, message):
    with pytest.raises(ValueError, match=message):
        reader.read(tmp_path, **option)
