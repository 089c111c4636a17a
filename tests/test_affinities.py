"""What yes, no and likeness let expect of a question: numbers by hand, only where answers are no ratings, the same alone and from a folder, and a blend that follows them."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from llmrec.affinities import FORMAT, INPUTS, NUM_NEIGHBOURS, Affinities
from llmrec.baselines.binary_features import BinaryFeatures
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.predictions import Request
from llmrec.recommender import Backing, Recommender
from llmrec.timelines import Timelines, binary_questions
from train.calibrate import calibrated

LIKED = ("i0", "i3", "i6", "i9")
SCHEMA = ["user_id", "item_id", "position", "event", "part"]


def log_of(rows: list[tuple[str, str, str, str]]) -> Interactions:
    """rows: (user, item, event, part), each user's in order."""
    places: dict[str, int] = {}
    numbered = []
    for user, item, event, part in rows:
        places[user] = places.get(user, -1) + 1
        numbered.append((user, item, places[user], event, part))
    return Interactions(pl.DataFrame(numbered, schema=SCHEMA, orient="row").sort("user_id", "position"), ordering="order")


@pytest.fixture
def shop() -> Corpus:
    """Four buyers of a, of whom three buy it and two click b behind it; c is shown and clicked twice, d never."""
    rows = []
    for number in range(4):
        user = f"u{number}"
        rows += [(user, "a", "impression", "train"), (user, "a", "click", "train")]
        rows += [(user, "a", "purchase", "train")] if number else []
        rows += [(user, "c" if number < 2 else "d", "impression", "train")] + ([(user, "c", "click", "train")] if number < 2 else [])
        rows += [(user, "b", "click", "train")] if number > 1 else []
        rows += [(user, "d", "click", "valid"), (user, "d", "purchase", "test")]
    items = pl.DataFrame({"item_id": list("abcd"), "title": list("abcd"), "genres": [["x", "y"], ["x"], ["y", "z"], []]})
    return Corpus("shop", log_of(rows), Catalog(items), rating_scale=(), split={"rule": "given", "temporal": True})


def ask(item: str, *events: Event) -> Request:
    return Request(item_id=item, history=events)


def test_numbers_by_hand(shop):
    affinities = Affinities.of(Timelines.of(shop), ["click", "purchase"])
    assert affinities.rates.keys() == {"purchase"}  # every impression is clicked, that of d in valid, which is no answer of train then
    mean = 3 / 8  # purchases: clicks on a (3 of 4), b (0 of 2), c (0 of 2)
    assert affinities.means["purchase"] == pytest.approx(mean)
    rate = (3 + 10 * mean) / (4 + 10)
    found = affinities("purchase", [ask("a", Event("b", event="click"), Event("c", event="purchase"), Event("gone", event="purchase"), Event("c"), Event("c", event="view"))])
    assert found.shape == (1, 2)
    own = (2 + 5 * mean) / (3 + 5)  # an event without a word says nothing, nor does one that train knows nothing of
    assert found[0, 1] == pytest.approx(np.log(own / (1 - own)))
    like = 2 / (np.sqrt(4 * 2) + 10)  # two users have a and b, two a and c
    inputs = [np.log(rate / (1 - rate)), like, like, 1.0, np.log(5), 1.0]  # genre x from b, y from c; four events of the catalogue
    assert found[0, 0] == pytest.approx(np.dot(inputs, affinities.weights["purchase"]), rel=1e-6)

    def regressed(*numbers):
        return pytest.approx(np.dot(numbers, affinities.weights["purchase"]), rel=1e-6)

    nothing = np.log(mean / (1 - mean))
    assert affinities("purchase", [ask("d")])[0].tolist() == [regressed(nothing, 0, 0, 0, 0, 1), pytest.approx(nothing)]
    assert affinities("purchase", [ask("a", Event("a", event="click"))])[0, 0] == regressed(inputs[0], 0, 0, 0, np.log(2), 1)  # it is like others, not itself


def test_a_click_asks_nothing_of_the_words_of_a_history(shop):
    rows = [("u9", "b", "impression", "train"), ("u9", "c", "impression", "train"), ("u9", "c", "click", "train")]
    frame = pl.concat([shop.interactions.frame, log_of(rows).frame.select(shop.interactions.frame.columns)]).sort("user_id", "position")
    affinities = Affinities.of(Timelines.of(replace(shop, interactions=replace(shop.interactions, frame=frame))), ["click"])
    assert affinities("click", [ask("c", Event("a", event="purchase")), ask("b")])[:, 1].tolist() == [0, 0]
    c, d, b = affinities("click", [ask("c"), ask("d"), ask("b")])[:, 0]
    assert c > d > b  # clicked, never asked about in train, not clicked


def test_the_words_that_say_yes_are_those_of_train(shop):
    rated = shop.interactions.frame.filter(pl.col("event") == "purchase").with_columns(event=pl.lit("rating"), position=pl.col("position") + 100)
    viewed = shop.interactions.frame.filter(pl.col("event") == "click").with_columns(event=pl.lit("view"), position=pl.col("position") + 200)
    frame = pl.concat([shop.interactions.frame, rated, viewed]).sort("user_id", "position")
    affinities = Affinities.of(Timelines.of(replace(shop, interactions=replace(shop.interactions, frame=frame))), ["purchase"])
    assert affinities.words == {"purchase": ("purchase", "rating")}  # what is rated was bought; three of eight that are viewed
    said = {word: affinities("purchase", [ask("a", *[Event("b", event=word)] * 10)])[0, 1] for word in ("rating", "purchase", "click", "cart", "view", "Click", "unheard")}
    assert said["rating"] == said["purchase"] > said["view"] == said["Click"] == said["unheard"] > said["click"] == said["cart"]


def test_a_request_is_told_by_what_was_learned(shop):
    """More items than are kept as neighbours: what the regression reads in training and in use is cut alike."""
    rng = np.random.default_rng(0)
    rows = [(f"u{user:03}", f"i{item}", event, "train") for user in range(60) for item in rng.choice(150, 60, replace=False) for event in (["impression", "click"] if (item + user) % 3 else ["impression"])]
    rows += [(f"u{user:03}", f"i{item}", "impression", "valid") for user in range(60) for item in rng.choice(150, 3, replace=False)]
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(150)], "title": ["x"] * 150, "genres": [[str(item % 7)] for item in range(150)]})
    timelines = Timelines.of(replace(shop, interactions=log_of(rows), catalog=Catalog(items)))
    affinities = Affinities.of(timelines, ["click"])
    assert np.diff(affinities.similarity.indptr).max() == NUM_NEIGHBOURS
    asked = binary_questions(timelines, "click")
    train, valid = (asked.filter(pl.col("part") == part) for part in ("train", "valid"))
    scale = affinities.similarity.tocoo()
    users = np.bincount(timelines.items, minlength=150)
    together = affinities.similarity.copy()
    together.data = np.rint(scale.data * (np.sqrt(users[scale.row] * users[scale.col]) + 10))
    features = BinaryFeatures(timelines, train, together=together)
    requests = [ask(timelines.corpus.catalog.item_ids[item], *timelines.history(user, place, "valid")) for user, place, item in valid.select("user", "place", "item").iter_rows()]
    inputs = features.of_log(valid)[:, [features.names.index(name) for name in INPUTS]]
    assert affinities("click", requests)[:, 0] == pytest.approx(inputs @ affinities.weights["click"][:-1] + affinities.weights["click"][-1], rel=1e-5, abs=1e-5)
    chosen = np.array([3, 50, 700])
    assert features.of_log(train, chosen).tolist() == features.of_log(train)[chosen].tolist()


def test_ratings_and_single_answers_have_none(shop, toy_corpus):
    assert Affinities.of(Timelines.of(toy_corpus), ["click"]) is None  # a like is a rating
    # So it is where the answers stand in a column of their own, beside rows whose ratings say the same.
    frame = shop.interactions.frame.filter(pl.col("event") != "impression").with_row_index("row")
    liked = frame.with_columns(rating=(pl.col("row") % 2).cast(pl.Float64), event=pl.lit("like"), click=pl.lit(None, pl.Int8))
    asked = liked.with_columns(click=(pl.col("row") % 2).cast(pl.Int8), rating=pl.lit(None, pl.Float64), event=pl.lit("impression"), position=pl.col("position") + 100)
    likes = replace(shop, interactions=replace(shop.interactions, frame=pl.concat([liked, asked]).drop("row").sort("user_id", "position")), rating_scale=(0.0, 1.0))
    assert set(binary_questions(Timelines.of(likes), "click").filter(pl.col("part") == "train")["label"]) == {0, 1}
    assert Affinities.of(Timelines.of(likes), ["click"]) is None
    frame = shop.interactions.frame.filter(pl.col("event") != "purchase")
    assert Affinities.of(Timelines.of(replace(shop, interactions=replace(shop.interactions, frame=frame))), ["purchase"]) is None
    assert Affinities.of(Timelines.of(shop), []) is None
    with pytest.raises(ValueError, match="expectations=true needs in train ratings .* corpus 'shop' has none"):
        Backing.of(Timelines.of(shop), ["next_item"], seed=0, expectations=True, memory=False, precedents=False)
    made = Backing.of(Timelines.of(shop), ["purchase"], seed=0, expectations=True, memory=False, precedents=False)
    assert made.expectations is None and made.expects("purchase") and not made.expects("click")


def test_nothing_of_valid_and_test_is_counted(shop):
    own = Affinities.of(Timelines.of(shop), ["purchase"])
    frame = shop.interactions.frame.filter(pl.col("part") == "train")
    alone = Affinities.of(Timelines.of(replace(shop, interactions=replace(shop.interactions, frame=frame))), ["purchase"])
    assert own.rates["purchase"].tolist() == alone.rates["purchase"].tolist() and own.means == alone.means and own.weights["purchase"].tolist() == alone.weights["purchase"].tolist() and abs(own.similarity - alone.similarity).sum() == 0
    public = Affinities.of(Timelines.of(replace(shop, interactions=replace(shop.interactions, frame=shop.interactions.frame.with_columns(part=pl.lit("train"))))), ["purchase"])
    assert public.rates["purchase"].tolist() != own.rates["purchase"].tolist()


def test_a_question_is_told_the_same_whoever_asks_beside_it(shop):
    affinities = Affinities.of(Timelines.of(shop), ["purchase"])
    rng = np.random.default_rng(0)
    requests = [ask(rng.choice(list("abcd")), *(Event(str(rng.choice(list("abcd"))), event=str(rng.choice(["click", "purchase"]))) for _ in range(rng.integers(0, 60)))) for _ in range(40)]
    together = affinities("purchase", requests)
    assert together.tolist() == [affinities("purchase", [request])[0].tolist() for request in requests]
    assert affinities("purchase", requests[::-1]).tolist() == together[::-1].tolist()


def test_a_folder_gives_the_same_and_other_folders_are_refused(shop, tmp_path):
    affinities = Affinities.of(Timelines.of(shop), ["purchase"])
    affinities.save(tmp_path)
    request = ask("a", Event("b", event="click"))
    assert Affinities.load(tmp_path, shop.catalog)("purchase", [request]).tolist() == affinities("purchase", [request]).tolist()
    assert Affinities.load(tmp_path / "nothing", shop.catalog) is None
    with pytest.raises(ValueError, match="holds 4 items, the catalogue 3"):
        Affinities.load(tmp_path, Catalog(shop.catalog.frame.head(3)))
    arrays = load_file(tmp_path / "affinities.safetensors")
    for damaged in ({"purchase": np.full(4, np.nan)}, {"purchase": arrays["purchase"][:3]}, {"values": np.full_like(arrays["values"], np.inf)}):
        save_file({**arrays, **damaged}, tmp_path / "affinities.safetensors")
        with pytest.raises(ValueError, match="does not say of each of 4 items"):
            Affinities.load(tmp_path, shop.catalog)
    save_file({**arrays, "items": arrays["items"] + 100}, tmp_path / "affinities.safetensors")
    with pytest.raises(ValueError, match="indices"):
        Affinities.load(tmp_path, shop.catalog)
    affinities.save(tmp_path)
    about = json.loads((tmp_path / "affinities.json").read_text())
    for weights in ([0.0] * len(INPUTS), [float("nan")] * (len(INPUTS) + 1)):
        (tmp_path / "affinities.json").write_text(json.dumps({**about, "weights": {"purchase": weights}}))
        with pytest.raises(ValueError, match="expected 6 numbers, and one between 0 and 1, for each task"):
            Affinities.load(tmp_path, shop.catalog)
    for mean in (float("nan"), 2.0):
        (tmp_path / "affinities.json").write_text(json.dumps({**about, "means": {"purchase": mean}}))
        with pytest.raises(ValueError, match="one between 0 and 1"):
            Affinities.load(tmp_path, shop.catalog)
    (tmp_path / "affinities.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(ValueError, match="has format 2; this version reads 1"):
        Affinities.load(tmp_path, shop.catalog)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_blend_follows_what_the_item_was_answered(toy_parts, toy_corpus, monkeypatch):
    monkeypatch.setattr("llmrec.calibration.LEAST", 10)
    rng = np.random.default_rng(0)
    rows = []
    for user in range(40):
        for number in range(10):
            asked = f"u{user:02}", f"i{rng.integers(12)}"
            part = "train" if number < 8 else "valid"
            rows += [(*asked, "impression", part)] + [(*asked, "click", part)] * (asked[1] in LIKED)
    corpus = replace(toy_corpus, interactions=log_of(rows), rating_scale=(), like_threshold=None)
    timelines = Timelines.of(corpus)
    backing = Backing.of(timelines, ["click"], seed=0, expectations=True, memory=False, precedents=False)
    made = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, backing=backing)
    blends = calibrated(made, timelines, 0, limit=100)["blends"]
    assert {name: len(weights) for name, weights in blends.items()} == {"click": 2 + 2} and blends["click"][1] > 0.2
    with pytest.raises(ValueError, match="the card's blend of click has 6 weights, for 2 estimates"):
        Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=backing, card={"blends": {"click": [0.1] * 6}})
    fitted = Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=backing, card={"blends": blends})
    yes, no = (answer.probability for answer in fitted.predict([Request(task="click", item_id=item) for item in ("i3", "i4")]))
    assert yes > 10 * no
