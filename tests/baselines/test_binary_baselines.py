"""Click and purchase baselines: no training row sees its own answer, and each model learns what there is to learn."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from llmrec.baselines import BASELINES
from llmrec.baselines.binary_features import COLUMNS, BinaryFeatures, _sums
from llmrec.baselines.binary_models import BinaryModel, ClickMean
from llmrec.interactions import Event
from llmrec.predictions import Request
from llmrec.timelines import Timelines, binary_questions

BINARY_MODELS = [name for name, model in BASELINES.items() if issubclass(model, BinaryModel)]


def tastes(*, users: int, seed: int, noise: float = 0.1) -> list[dict]:
    """Even users like even items, odd users odd ones; each rates eight of the ten of that colour and four others, the last one in test, the one before in valid."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        chosen = np.concatenate([random.permutation(10)[:8] * 2 + user % 2, random.permutation(10)[:4] * 2 + 1 - user % 2])
        for place, item in enumerate(random.permutation(chosen).tolist()):
            likes = (user + item) % 2 == 0
            rating = 5.0 if likes != (random.random() < noise) else 1.0
            rows.append({"user_id": f"u{user}", "item_id": f"i{item}", "rating": rating, "part": "test" if place == 11 else "valid" if place == 10 else "train"})
    return rows


def requests_of(timelines: Timelines, part: str) -> tuple[list[Request], np.ndarray]:
    ids = timelines.corpus.catalog.item_ids
    questions = binary_questions(timelines, "click").filter(pl.col("part") == part)
    return [
        Request(id=str(place), task="click", user_id=timelines.user_ids[user], item_id=ids[item], history=timelines.history(user, place, part))
        for user, place, item in questions.select("user", "place", "item").iter_rows()
    ], questions["label"].to_numpy()


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmrec.baselines.binary_models.MAX_TREES", 30)
        yield


@pytest.fixture(scope="module")
def liked(build):
    return build(tastes(users=80, seed=0), like_threshold=4.0)


@pytest.fixture(scope="module", params=BINARY_MODELS)
def fitted(request, liked):
    return BASELINES[request.param]().fit(liked)


def test_batch_equals_single_and_probabilities_are_probabilities(fitted, liked):
    requests, _ = requests_of(liked, "test")
    answers = fitted.predict(requests[:20])
    assert answers == [fitted.predict([request])[0] for request in requests[:20]]
    assert all(0 < answer.probability < 1 for answer in answers)


def test_same_seed_same_answers(fitted, liked):
    requests, _ = requests_of(liked, "test")
    assert type(fitted)().fit(liked).predict(requests) == fitted.predict(requests)


@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting"])
def test_features_find_taste_where_the_mean_cannot(name, liked):
    requests, truth = requests_of(liked, "test")
    figures = {model: roc_auc_score(truth, [answer.probability for answer in BASELINES[model]().fit(liked).predict(requests)]) for model in (name, "click_mean")}
    assert figures[name] > 0.72 > 0.65 > figures["click_mean"]


@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting"])
def test_shuffled_labels_score_chance(name, build):
    rows = tastes(users=150, seed=1)
    random = np.random.default_rng(2)
    for row in rows:
        row["rating"] = float(random.choice([1.0, 5.0]))
    timelines = build(rows, like_threshold=4.0)
    requests, truth = requests_of(timelines, "test")
    figure = roc_auc_score(truth, [answer.probability for answer in BASELINES[name]().fit(timelines).predict(requests)])
    assert abs(figure - 0.5) < 4 * np.sqrt(1 / 12 / 75 * 2)  # four standard errors of the rank-sum statistic with 75 of each kind


@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("kind", ["rating", "click"])
def test_turning_the_answer_of_a_training_row_leaves_its_features(kind, temporal, build):
    random = np.random.default_rng(4)
    pairs = [(f"u{user}", f"i{item}") for user in range(20) for item in random.permutation(12)[:8].tolist()]
    answers = random.random(len(pairs)) < 0.5

    def features(answers: np.ndarray, row: int) -> np.ndarray:
        rows = []
        for (user, item), yes in zip(pairs, answers, strict=True):
            if kind == "rating":
                rows.append({"user_id": user, "item_id": item, "rating": 5.0 if yes else 1.0})
            else:
                rows += [{"user_id": user, "item_id": item, "event": event} for event in ("impression", "impression", "click")[: 2 + yes]]
        timelines = build(rows, like_threshold=4.0, split={"temporal": temporal})
        questions = binary_questions(timelines, "click")
        made = BinaryFeatures(timelines, questions)
        made.rate, made._mean_rating = 0.5, 3.0  # the means over all rows, which one row hardly moves
        user, item = timelines.user_ids.index(pairs[row][0]), timelines.corpus.catalog.rows[pairs[row][1]]
        chosen = ((questions["user"] == user) & (questions["item"] == item)).to_numpy()
        assert set(questions["label"].to_numpy()[chosen]) == {int(answers[row])}
        return made.of_log(questions)[chosen]

    for row in (0, 5, 60, 100):
        turned = answers.copy()
        turned[row] = not turned[row]
        assert features(answers, row) == pytest.approx(features(turned, row), abs=1e-12)


def test_the_similarities_of_a_training_row_are_those_it_would_have_held_out(build):
    rows = [row for row in tastes(users=12, seed=3) if row["part"] == "train"]
    last = max(n for n, row in enumerate(rows) if row["user_id"] == "u5")
    held = [{**row, "part": "valid"} if n == last else row for n, row in enumerate(rows)]
    features = []
    for log, part in ((rows, "train"), (held, "valid")):
        timelines = build(log, like_threshold=4.0)
        questions = binary_questions(timelines, "click")
        made = BinaryFeatures(timelines, questions.filter(pl.col("part") == "train"))
        asked = questions.filter(pl.col("part") == part)
        user, item = timelines.user_ids.index("u5"), timelines.corpus.catalog.rows[rows[last]["item_id"]]
        [row] = made.of_log(asked)[((asked["user"] == user) & (asked["item"] == item)).to_numpy()]
        features.append([row[COLUMNS.index(name)] for name in ("similarity_mean", "similarity_max", "attribute_overlap", "history_length", "user_questions")])
    assert features[0] == pytest.approx(features[1]) and features[0][0] > 0


def test_features_of_a_request_equal_those_of_the_same_row_of_the_log(liked):
    made = BinaryFeatures(liked, binary_questions(liked, "click").filter(pl.col("part") == "train"))
    questions = binary_questions(liked, "click").filter(pl.col("part") == "test")
    assert made.of_requests(requests_of(liked, "test")[0]) == pytest.approx(made.of_log(questions))


def test_features_by_hand(build):
    timelines = build(
        [
            {"user_id": "a", "item_id": "x", "rating": 5.0}, {"user_id": "a", "item_id": "y", "rating": 1.0},
            {"user_id": "b", "item_id": "x", "rating": 5.0}, {"user_id": "b", "item_id": "z", "rating": 5.0},
        ],
        [{"item_id": item, "title": "", "genres": genres} for item, genres in (("x", ["drama"]), ("y", ["comedy"]), ("z", ["drama", "war"]))], like_threshold=4.0,
    )
    made = BinaryFeatures(timelines, binary_questions(timelines, "click"))
    history = (Event("x", rating=5.0), Event("y", rating=1.0), Event("unheard of"))
    [row] = made.of_requests([Request(task="click", item_id="z", user_id="a", history=history)])
    found = dict(zip(made.names, row, strict=True))
    cosine = 1 / (np.sqrt(2) + 10)  # x and z: user b of the two of x and the one of z, shrunk by 10
    assert found == pytest.approx({
        "item_questions": np.log(2), "item_rate": np.log((1 + 7.5) / (11 - 8.5)), "item_events": np.log(2),
        "user_questions": np.log(3), "user_rate": np.log((1 + 3.75) / (7 - 4.75)), "history_length": np.log(3), "repeats": 0,
        "similarity_mean": cosine / 2, "similarity_max": cosine, "attribute_overlap": 1 / 2, "history_rating": 3 - 4, "similar_rating": cosine * 2 / (cosine + 0.1),
    })


def test_contexts_become_columns_and_unknown_values_none(build):
    rows = [{"user_id": f"u{n}", "item_id": "x", "click": n % 2, "event": "view", "hour": "night" if n % 2 else "day"} for n in range(40)]
    timelines = build(rows, context=("hour",))
    model = BASELINES["logistic_regression"]().fit(timelines)
    night, day, dawn = (model.predict([Request(task="click", item_id="x", context={"hour": hour})])[0].probability for hour in ("night", "day", "dawn"))
    assert day < dawn < night and night > 0.6
    assert BASELINES["click_mean"]().fit(timelines).predict([Request(task="click", item_id="x")])[0].probability == pytest.approx(0.5)


def test_impressions_answered_by_one_click_do_not_tell_each_other(build):
    rows = [{"user_id": "a", "item_id": "x", "event": event} for event in ("impression", "impression", "click")]
    timelines = build(rows + [{"user_id": "b", "item_id": item, "event": event} for item, event in (("y", "click"), ("x", "impression"))], positive=("click",))
    questions = binary_questions(timelines, "click")
    made = BinaryFeatures(timelines, questions)
    made._user_fold = np.array([0, 1])
    made._item_answers = _sums(made._user_fold[questions["user"].to_numpy()], questions["item"].to_numpy(), questions["label"].to_numpy(), 2)
    found = [dict(zip(made.names, row, strict=True)) for row in made.of_log(questions)]
    # For a, only b's no is left of the item's answers, and nothing of a's own; for b, only a's two.
    assert [row["item_questions"] for row in found] == pytest.approx([np.log(2), np.log(2), np.log(3)])
    assert [row["user_questions"] for row in found] == [0, 0, 0]


def test_click_mean_by_hand(build):
    rows = [{"user_id": f"u{n}", "item_id": "x", "rating": 5.0} for n in range(3)] + [{"user_id": "u3", "item_id": "y", "rating": 1.0}]
    model = ClickMean().fit(build(rows, [{"item_id": "z", "title": ""}], like_threshold=4.0))
    answers = model.predict([Request(task="click", item_id=item) for item in "xyz"])
    assert [answer.probability for answer in answers] == pytest.approx([(3 + 7.5) / 13, 7.5 / 11, 0.75])


def test_one_answer_only_is_answered_by_its_rate(build):
    rows = [{"user_id": f"u{n}", "item_id": "x", "rating": 5.0} for n in range(3)]
    [answer] = BASELINES["gradient_boosting"]().fit(build(rows, like_threshold=4.0)).predict([Request(task="click", item_id="x")])
    assert answer.probability == 1


@pytest.mark.parametrize("name", BINARY_MODELS)
def test_questions_the_log_does_not_answer_are_refused(name, build, liked):
    with pytest.raises(ValueError, match="needs questions of click or purchase"):
        BASELINES[name]().fit(build([{"user_id": "a", "item_id": "x"}]))
    [answer] = BASELINES[name]().fit(liked).predict([Request(task="purchase", item_id="i0")])
    assert "no purchase question" in answer.error


@pytest.mark.parametrize("name", BINARY_MODELS)
def test_click_and_purchase_are_learned_apart(name, build):
    rows = []
    for n in range(90):
        rows += [{"user_id": f"u{n}", "item_id": "x", "event": "impression"}, {"user_id": f"u{n}", "item_id": "x", "event": "click"}]
        rows += [{"user_id": f"u{n}", "item_id": "y", "event": "impression"}] + [{"user_id": f"u{n}", "item_id": "y", "event": event} for event in ("click", "purchase") if n % 3 == 0]
    model = BASELINES[name]().fit(build(rows))
    history = {"x": (), "y": (Event("x"),)}
    [[x_click, x_buy], [y_click, y_buy]] = [
        [answer.probability for answer in model.predict([Request(task=task, item_id=item, history=history[item]) for task in ("click", "purchase")])] for item in "xy"
    ]
    assert x_click > y_click and x_buy < y_buy
