"""Rating baselines: by hand where the numbers allow it, against the plain mean on a low-rank world, and on a real fold."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from llmrec.baselines import BASELINES
from llmrec.baselines.biases import Biases, UserItemBias
from llmrec.baselines.factorization import SVD, Factors, SVDpp, ridge
from llmrec.baselines.rating_knn import RatingKNN, deviation_similarities
from llmrec.baselines.rating_model import RatingModel, Ratings
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.predictions import Request
from llmrec.timelines import Timelines

RATING_MODELS = [name for name, model in BASELINES.items() if issubclass(model, RatingModel)]


def ratings_of(table: list[list[float | None]]) -> Ratings:
    """Rows are users, columns items."""
    triples = [(user, item, value) for user, row in enumerate(table) for item, value in enumerate(row) if value is not None]
    users, items, values = map(np.array, zip(*triples, strict=True))
    return Ratings(users, items, values.astype(float), (len(table), len(table[0])))


def low_rank_rows(*, users: int, items: int, seed: int) -> list[dict]:
    """Ratings of 1 to 5 out of biases and two factors, four in five train and the rest test."""
    random = np.random.default_rng(seed)
    biases = random.normal(size=(users, 1)) / 2 + random.normal(size=(1, items)) / 2
    truth = np.clip(np.round(3 + biases + random.normal(size=(users, 2)) @ random.normal(size=(2, items))), 1, 5)
    return [
        {"user_id": f"u{user}", "item_id": f"i{item:02}", "rating": float(truth[user, item]), "part": "test" if random.random() < 0.2 else "train"}
        for user in range(users) for item in random.permutation(items).tolist()
    ]


def held_out(timelines: Timelines) -> tuple[list[Request], np.ndarray]:
    ids = timelines.corpus.catalog.item_ids
    places = list(timelines.places("test"))
    past = {user: timelines.history(user, -1, "test") for user, _ in places}
    requests = [Request(task="rating", user_id=timelines.user_ids[user], item_id=ids[timelines.items[place]], history=past[user]) for user, place in places]
    return requests, np.array([timelines.ratings[place] for _, place in places])


def rmse(model: RatingModel, requests: list[Request], truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((np.array([answer.value for answer in model.predict(requests)]) - truth) ** 2)))


@pytest.fixture(scope="module")
def small_world(build):
    return build(low_rank_rows(users=40, items=30, seed=0), rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), split={"temporal": False})


@pytest.fixture(scope="module", params=RATING_MODELS)
def fitted(request, small_world):
    return BASELINES[request.param]().fit(small_world, seed=3)


def test_batch_equals_single_for_known_and_new_users(fitted, small_world):
    requests, _ = held_out(small_world)
    requests = requests[:5] + [replace(request, user_id=None) for request in requests[20:25]] + requests[5:8]
    singles = [fitted.predict([request])[0].value for request in requests]
    assert [answer.value for answer in fitted.predict(requests)] == pytest.approx(singles, abs=1e-6)


def test_same_seed_same_values(fitted, small_world):
    requests, _ = held_out(small_world)
    assert type(fitted)().fit(small_world, seed=3).predict(requests) == fitted.predict(requests)


def test_a_known_user_without_history_is_answered_by_the_fit(fitted, small_world):
    requests, truth = held_out(small_world)
    bare = [replace(request, history=()) for request in requests]
    if fitted.name != "rating_knn":  # whose neighbours are the request's history
        assert fitted.predict(bare) == fitted.predict(requests)
    assert rmse(fitted, bare, truth) < np.std(truth)


def test_a_new_user_is_answered_by_the_history(fitted, small_world):
    requests, truth = held_out(small_world)
    strangers = [replace(request, user_id="stranger") for request in requests]
    nobodies = [replace(request, user_id="stranger", history=()) for request in requests]
    assert rmse(fitted, strangers, truth) < rmse(fitted, nobodies, truth)


def test_values_stay_on_the_scale_and_skipped_items_are_counted(fitted):
    adoring = tuple(Event(f"i{item:02}", rating=5.0) for item in range(25)) + (Event("unheard of", rating=1.0), Event("i29"))
    answers = fitted.predict([Request(task="rating", item_id=f"i{item:02}", history=adoring) for item in range(25, 30)])
    assert all(1 <= answer.value <= 5 and answer.skipped == 1 for answer in answers)


def test_an_item_out_of_the_catalogue_is_an_error(fitted):
    [answer] = fitted.predict([Request(task="rating", item_id="unheard of")])
    assert "unheard of" in answer.error and answer.value is None


@pytest.mark.parametrize("name", RATING_MODELS)
def test_an_item_without_ratings_gets_what_is_known_of_the_user(name, build):
    rows = [{"user_id": "harsh", "item_id": item, "rating": 1.0} for item in "abcd"] + [{"user_id": "kind", "item_id": item, "rating": 5.0} for item in "abcd"]
    model = BASELINES[name]().fit(build(rows, [{"item_id": "new", "title": ""}]))
    harsh, kind = model.predict([Request(task="rating", item_id="new", user_id=user) for user in ("harsh", "kind")])
    assert harsh.value < 3 < kind.value and harsh.value + kind.value == pytest.approx(6, abs=0.05)  # up to the random start of factors


@pytest.mark.parametrize("name", RATING_MODELS)
def test_a_log_without_ratings_is_refused(name, build):
    with pytest.raises(ValueError, match="needs ratings in train"):
        BASELINES[name]().fit(build([{"user_id": "a", "item_id": "x"}]))


@pytest.mark.parametrize("model", [RatingKNN, SVD, SVDpp])
def test_taste_beats_the_biased_mean_on_a_low_rank_world(model, small_world):
    requests, truth = held_out(small_world)
    assert rmse(model().fit(small_world), requests, truth) < 0.8 * rmse(UserItemBias().fit(small_world), requests, truth)


def test_biases_by_hand():
    # One user, items rated 5 and 2: mean 3.5; the user's bias stays 0 by symmetry; items +-1.5 * 1 / (1 + 2).
    biases = Biases.of(ratings_of([[5.0, 2.0, None]]), regularisation_user=3, regularisation_item=2)
    assert biases.mean == 3.5 and biases.user == pytest.approx([0])
    assert biases.item == pytest.approx([0.5, -0.5, 0])
    # A new user who gave the first 5: residual 5 - 3.5 - 0.5 = 1, over 3 + 1.
    given = Ratings(np.array([0]), np.array([0]), np.array([5.0]), (2, 3))
    assert biases.of_new_users(given) == pytest.approx([0.25, 0])


def test_biases_are_the_least_of_their_objective():
    ratings = ratings_of([[5.0, 3.0, None, 1.0], [4.0, None, 2.0, 1.0], [None, 5.0, 4.0, 2.0]])
    biases = Biases.of(ratings, regularisation_user=1.0, regularisation_item=2.0)
    error = ratings.values - biases(ratings.users, ratings.items)
    # At the least of the objective its gradient is zero.
    assert np.bincount(ratings.users, error) == pytest.approx(1.0 * biases.user, abs=1e-6)
    assert np.bincount(ratings.items, error) == pytest.approx(2.0 * biases.item, abs=1e-6)


def test_bias_settings_are_chosen_on_valid(build):
    # Every user is kind or harsh for good: the less a user's bias is shrunk the better.
    rows = [{"user_id": f"u{n}", "item_id": item, "rating": 1.0 + 4 * (n % 2), "part": "valid" if item == "d" and n > 1 else "train"} for n in range(10) for item in "abcd"]
    assert UserItemBias().fit(build(rows)).settings["regularisation_user"] == 2.0


def test_deviation_similarity_by_hand():
    # Items 0 and 1, rated by three users, deviate alike; item 2 goes against them; item 3 has one user in common with the others.
    deviations = ratings_of([[1.0, 2.0, -1.0, 1.0], [1.0, 1.0, -1.0, None], [0.0, 1.0, 0.0, None]])
    table = deviation_similarities(deviations.matrix(deviations.values), [2.0])[2.0].toarray()
    correlation = (2 + 1 + 0) / np.sqrt((1 + 1 + 0) * (4 + 1 + 1))
    assert table[0] == pytest.approx([0, correlation * 2 / (2 + 2), 0, 0])
    assert table == pytest.approx(table.T)


def test_a_rating_given_twice_counts_by_its_last():
    ratings = Ratings(np.array([0, 0, 1]), np.array([1, 1, 0]), np.array([1.0, 4.0, 0.0]), (2, 2))
    matrix = ratings.matrix(ratings.values)
    assert matrix.toarray().tolist() == [[0, 4], [0, 0]] and matrix.nnz == 2


def test_one_gradient_step_by_hand():
    train = Ratings(np.array([0]), np.array([0]), np.array([5.0]), (1, 1))
    factors = Factors(3.0, *(np.array(value, dtype=np.float32) for value in ([0.5], [0.0], [[1.0]], [[0.5]], [[2.0]])))
    model = SVDpp()
    model._rated = train.matrix(np.ones(1, np.float32))
    model._step(factors, train.users, train.items, train.values.astype(np.float32), 0.1)
    # Profile 1 + 2 = 3, estimate 3 + 0.5 + 3 * 0.5 = 5, error 0: only the shrinking by 0.01 * 0.1 is left.
    assert factors.user_bias == pytest.approx([0.5 * 0.999]) and factors.user == pytest.approx(np.array([[0.999]])) and factors.implicit == pytest.approx(np.array([[1.998]]))
    train = replace(train, values=np.array([6.0]))
    factors = Factors(3.0, *(np.array(value, dtype=np.float32) for value in ([0.5], [0.0], [[1.0]], [[0.5]], [[2.0]])))
    model._step(factors, train.users, train.items, train.values.astype(np.float32), 0.0)
    # Error 1, rate 0.01: each moves by 0.01 times the other side.
    assert factors.item == pytest.approx(np.array([[0.5 + 0.03]])) and factors.user == pytest.approx(np.array([[1.005]])) and factors.implicit == pytest.approx(np.array([[2.005]]))


def test_ridge_by_hand_with_fewer_rows_and_with_fewer_columns():
    # One row (3, 4), target 10, penalty 25: w = (3, 4) * 10 / (25 + 25). One column (1, 2), targets (3, 4), penalty 6: w = 11 / 11.
    assert ridge(np.array([[3.0, 4.0]]), np.array([10.0]), 25.0) == pytest.approx([0.6, 0.8])
    assert ridge(np.array([[1.0], [2.0]]), np.array([3.0, 4.0]), 6.0) == pytest.approx([1.0])


def test_epochs_and_regularisation_are_chosen_on_valid(build):
    rows = low_rank_rows(users=30, items=20, seed=1)
    for row in rows[::7]:
        row["part"] = "valid"
    model = SVD().fit(build(rows, split={"temporal": False}))
    assert model.settings["regularisation"] in SVD.regularisations and 1 <= model.settings["num_epochs"] <= 2 * SVD.num_epochs


@pytest.fixture(scope="module")
def fold(data: Path) -> Timelines:
    """The official fold u1 of MovieLens 100K."""
    folder = data / "ml-100k"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    parts = [
        pl.read_csv(gzip.open(folder / name).read(), separator="\t", has_header=False, new_columns=["user_id", "item_id", "rating", "timestamp"]).with_columns(part=pl.lit(part))
        for name, part in (("u1.base.gz", "train"), ("u1.test.gz", "test"))
    ]
    frame = pl.concat(parts).with_columns(pl.col("user_id", "item_id").cast(pl.String), pl.col("rating", "timestamp").cast(pl.Float64), event=pl.lit("rating"))
    frame = frame.sort("user_id", "timestamp", maintain_order=True).with_columns(position=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id"))
    catalog = Catalog(frame.select("item_id").unique(maintain_order=True).with_columns(title=pl.lit("")))
    return Timelines.of(Corpus("u1", Interactions(frame), catalog, rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), split={"rule": "given", "temporal": False}))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bound"), [("user_item_bias", 0.9605), ("rating_knn", 0.940), ("svd", 0.930), ("svdpp", 0.930)])
def test_published_errors_are_reached_on_movielens_u1(name, bound, fold):
    assert len(held_out(fold)[1]) == 20_000
    assert rmse(BASELINES[name]().fit(fold), *held_out(fold)) < bound
