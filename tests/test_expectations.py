"""What others' ratings let expect: nobody's own ratings behind the grades in training, the same grades from a folder, and the same tokens in training and in use."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.answers import RATING
from llmrec.assets import folder_of
from llmrec.composer import Composer
from llmrec.expectations import GRADES, Expectations
from llmrec.indexing import Material, build_index
from llmrec.interactions import FOLDS, Catalog, Corpus, Event, Interactions
from llmrec.predictions import Request
from llmrec.tasks import TASKS
from llmrec.templates import load_templates
from llmrec.timelines import Timelines

USERS, ITEMS = 60, 20


def corpus_of(ratings: np.ndarray, *, temporal: bool = True) -> Corpus:
    """ratings: (users, items); each user rates the items in turn, the last two are valid and test."""
    rows = [
        {"user_id": f"u{user}", "item_id": f"i{item}", "position": item, "event": "rating", "rating": float(ratings[user, item]), "part": "train" if item < ITEMS - 2 else "valid" if item == ITEMS - 2 else "test"}
        for user in range(USERS) for item in range(ITEMS)
    ]
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(ITEMS)], "title": [f"title {item}" for item in range(ITEMS)]})
    log = Interactions(pl.DataFrame(rows).sort("user_id", "position"), ordering="order" if temporal else "none")
    return Corpus("tastes", log, Catalog(items), rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), split={"rule": "given", "temporal": temporal})


@pytest.fixture(scope="module")
def tastes() -> np.ndarray:
    """Two tastes: half of the users like the even items, half the odd ones."""
    rng = np.random.default_rng(0)
    agree = (np.arange(USERS)[:, None] % 2) == (np.arange(ITEMS)[None] % 2)
    return np.clip(np.where(agree, 4, 2) + rng.integers(0, 2, (USERS, ITEMS)), 1, 5)


@pytest.fixture(scope="module")
def expectations(tastes) -> Expectations:
    return Expectations.of(Timelines.of(corpus_of(tastes)))


def history(tastes, user: int, count: int = ITEMS - 2) -> tuple[Event, ...]:
    return tuple(Event(f"i{item}", float(tastes[user, item])) for item in range(count))


def test_grades_follow_the_taste_of_the_history(expectations, tastes):
    histories = [history(tastes, 0)[:16], history(tastes, 1)[:16]]
    grades = expectations(histories, np.array([0, 0, 1, 1]), np.array([16, 17, 16, 17]))
    assert all(len(grade) == 2 and set(grade) <= set(GRADES) for grade in grades)
    liked, disliked = [grades[0], grades[3]], [grades[1], grades[2]]
    for good in liked:
        for bad in disliked:
            assert good[0] > bad[0] and good[1] > bad[1]


def test_without_a_history_everybody_expects_the_same(expectations):
    one, two = expectations([(), (Event("i3", None), Event("gone", 5.0))], np.array([0, 1]), np.array([4, 4]))
    assert one == two


def test_nobodys_ratings_stand_behind_their_own_grades(expectations, tastes):
    changed = tastes.copy()
    changed[7, 5] = 1 if tastes[7, 5] > 2 else 5
    again = Expectations.of(Timelines.of(corpus_of(changed)))
    asked = ([history(tastes, 7, 5)], np.zeros(ITEMS, dtype=int), np.arange(ITEMS))
    own = [found.for_training("u7") for found in (expectations, again)]
    assert own[0](*asked) == own[1](*asked)
    for part in own:  # to the last digit, not to a letter alone
        assert part.neighbours.biases.item.tolist() == own[0].neighbours.biases.item.tolist()
        assert part.factors.factors.item.tolist() == own[0].factors.factors.item.tolist()
    assert again.neighbours.biases.item.tolist() != expectations.neighbours.biases.item.tolist()
    assert len({id(found) for found in expectations.folds.values()}) == FOLDS


def test_a_folder_gives_the_same_grades(expectations, tastes, tmp_path):
    expectations.save(tmp_path)
    loaded = Expectations.load(tmp_path, expectations.rows)
    asked = ([history(tastes, user) for user in range(USERS)], np.repeat(np.arange(USERS), ITEMS), np.tile(np.arange(ITEMS), USERS))
    assert loaded(*asked) == expectations(*asked)
    assert loaded.for_training("u1") is loaded
    assert Expectations.load(tmp_path / "nothing", expectations.rows) is None
    with pytest.raises(ValueError, match="holds 20 items, the catalogue 19"):
        Expectations.load(tmp_path, dict(list(expectations.rows.items())[:19]))
    (tmp_path / "expectations.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0; this version reads 1"):
        Expectations.load(tmp_path, expectations.rows)


def test_a_corpus_without_ratings_is_refused(tastes):
    corpus = corpus_of(tastes)
    bare = replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.with_columns(rating=pl.lit(None, pl.Float64))), rating_scale=())
    with pytest.raises(ValueError, match="expectations=true needs ratings in train"):
        Expectations.of(Timelines.of(bare))
    alone = replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.filter(pl.col("user_id") == "u3")))
    with pytest.raises(ValueError, match="users of at least two folds"):
        Expectations.of(Timelines.of(alone))


@pytest.mark.parametrize("temporal", [True, False])
def test_training_reads_the_grades_that_use_would_give_without_the_user(tastes, expectations, toy_vocabulary, temporal):
    corpus = corpus_of(tastes, temporal=temporal)
    timelines, found = Timelines.of(corpus), Expectations.of(Timelines.of(corpus))
    index = build_index("atomic", Material(corpus.catalog.titles, np.zeros((ITEMS, 1), np.float32), toy_vocabulary, 0))
    composer = lambda with_them: Composer(toy_vocabulary, corpus.catalog, index.space(corpus.catalog.item_ids, toy_vocabulary.size), rating_scale=corpus.rating_scale, expectations=with_them)  # noqa: E731
    task = TASKS["rating"]
    bound = task.bind(timelines, seed=0)
    for template in load_templates(folder_of("prompts") / "rating.yaml", required=task.required, offered=task.offered)[:3]:
        plain, telling = composer(None), composer(found)
        assert telling.expects(template) and not plain.expects(template)
        for unit in (3, 8):
            example = bound.example(unit, telling, template, np.random.default_rng(unit))
            user = int(bound.users[unit])
            used = composer(found.for_training(timelines.user_ids[user]))
            events = {event.item_id: event for event in timelines.history(user, timelines.span(user)[1], "test")}
            assert example.branches
            for branch in example.branches:
                codes = [token - toy_vocabulary.size for token in branch.tokens if token >= toy_vocabulary.size]
                shown = [token - toy_vocabulary.size for token in example.trunk.tokens[: branch.attach] if token >= toy_vocabulary.size]
                request = Request(task="rating", item_id=corpus.catalog.item_ids[codes[0]], history=tuple(events[corpus.catalog.item_ids[row]] for row in shown))
                prompt = used.prompt(template, request, space=RATING)
                assert prompt.tokens == example.trunk.tokens[: branch.attach] + branch.tokens[: branch.answers[0].start]
                assert len(prompt.tokens) == len(plain.prompt(template, request, space=RATING).tokens) + 2
