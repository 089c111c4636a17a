"""The twelve kinds of leaks an audit must find, each planted in clean data, by the check that must name it."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from llmrec.audit.examples import audit_examples
from llmrec.audit.finding import Audit
from llmrec.audit.log import audit_log
from llmrec.audit.models import audit_model, foreign_answers, popularity_of_all
from llmrec.exam import Exam, save_predictions
from llmrec.interactions import Catalog
from llmrec.predictions import HeldOut, Prediction
from llmrec.tasks import TASKS


class World(NamedTuple):
    """What a leak is planted in."""

    corpus: object
    timelines: object
    model: object
    model_of: Callable
    all_train: Callable
    folder: object

    def questions(self, task: str, part: str = "test") -> list[HeldOut]:
        return TASKS[task].held_out(self.timelines, part, 0)

    def asked(self, task: str, change: Callable[[HeldOut], HeldOut], part: str = "test") -> Audit:
        """The audit of a task's questions, every third of them changed."""
        return audit_examples(self.timelines, {task: [change(h) if n % 3 == 0 else h for n, h in enumerate(self.questions(task, part))]}, part)


@pytest.fixture
def world(corpus, timelines, model, model_of, all_train, tmp_path):
    return World(corpus, timelines, model, model_of, all_train, tmp_path)


def told(h: HeldOut, **fields) -> HeldOut:
    return replace(h, request=replace(h.request, **fields))


def row_of(world: World, h: HeldOut) -> dict[str, object]:
    return world.corpus.interactions.frame.row(h.row, named=True)


def with_frame(corpus, frame):
    return replace(corpus, interactions=replace(corpus.interactions, frame=frame))


def event_at(world: World, h: HeldOut):
    return world.timelines.event(int(np.flatnonzero(world.timelines.rows == h.row)[0]))


def target_in_history(world):
    return world.asked("rating", lambda h: told(h, history=(*h.request.history, event_at(world, h))))


def target_in_prompt(world):
    titles = dict(zip(world.corpus.catalog.item_ids, world.corpus.catalog.titles))
    return world.asked("search", lambda h: told(h, query=f"I want the {titles[h.target].lower()}, please"))


def future_event(world):
    # The valid questions are shown the test event that follows theirs.
    last = {h.request.user_id: event_at(world, h) for h in world.questions("next_item")}
    return world.asked("next_item", lambda h: told(h, history=(*h.request.history, last[h.request.user_id])), "valid")


def duplicate_user(world):
    frame = world.corpus.interactions.frame
    twin = frame.filter(pl.col("user_id") == "u09").with_columns(user_id=pl.lit("v"))
    return audit_log(with_frame(world.corpus, pl.concat([frame, twin])))


def same_event_twice(world):
    frame = world.corpus.interactions.frame
    copies = frame.filter(pl.col("part") == "test").with_columns(part=pl.lit("train"))
    return audit_log(with_frame(world.corpus, pl.concat([frame, copies])))


def metadata_from_the_future(world):
    counts = dict(world.corpus.interactions.frame["item_id"].value_counts().rows())
    frame = world.corpus.catalog.frame.with_columns(sold=pl.Series([[str(counts.get(item_id, 0))] for item_id in world.corpus.catalog.item_ids]))
    return audit_log(replace(world.corpus, catalog=Catalog(frame)))


def popularity_of_the_whole_log(world):
    found = popularity_of_all(np.bincount(world.timelines.items, minlength=len(world.corpus.catalog)), world.timelines)
    return Audit((found,))


def tokenizer_fitted_on_test(world):
    leaky = world.model_of(world.corpus, fitted_on=world.all_train(world.corpus))
    return audit_model(replace(world.model, pieces=leaky.pieces), world.corpus)


def stopped_on_test(world):
    return audit_model(replace(world.model, card={**world.model.card, "valid_part": "test"}), world.corpus)


def prompt_example_from_test(world):
    h = world.questions("next_item")[0]
    titles = dict(zip(world.corpus.catalog.item_ids, world.corpus.catalog.titles))
    example = f"Example: after {titles[h.request.history[-1].item_id]} came {titles[h.target]}."
    return audit_model(replace(world.model, prompts=(*world.model.prompts, example)), world.corpus)


class Same:
    def predict(self, requests):
        return [Prediction(r.id, r.task, value=3.0, user_id=r.user_id) for r in requests]


def cached_answer(world):
    exam = Exam("rating", "rating", tuple(world.questions("rating")))
    path = save_predictions(Same(), "ours", exam, folder=world.folder, about={"data_hash": "d", "model_hash": "old weights"})
    return Audit((foreign_answers(path, exam.held_out, model="ours", model_hash="new weights", data_hash="d"),))


def target_in_explanation(world):
    return world.asked("explanation", lambda h: told(h, review=row_of(world, h)["review"]))


PLANTS = {
    target_in_history: "target_in_history", target_in_prompt: "target_in_prompt", future_event: "future_event", duplicate_user: "duplicate_users",
    same_event_twice: "event_in_two_parts", metadata_from_the_future: "future_metadata", popularity_of_the_whole_log: "popularity_of_all",
    tokenizer_fitted_on_test: "tokenizer_of_held_out", stopped_on_test: "chosen_on", prompt_example_from_test: "prompt_of_held_out",
    cached_answer: "foreign_answers", target_in_explanation: "target_in_prompt",
}


IMPLIED = {"target_in_history": {"future_event"}, "event_in_two_parts": {"part_order", "copied_review"}}
"""What else is true of a planted leak: the asked event is not yet known, and a test row copied to train stands behind others of test, its review in both."""


def test_there_are_twelve_kinds():
    assert len(PLANTS) == 12


@pytest.mark.parametrize(("plant", "kind"), PLANTS.items(), ids=[plant.__name__ for plant in PLANTS])
def test_a_planted_leak_is_found_and_nothing_else_is_claimed(plant, kind, world):
    audit = plant(world)
    found = {finding.kind: finding for finding in audit.findings}
    assert kind in found
    assert set(found) - {kind} <= IMPLIED.get(kind, set())
    assert found[kind].count > 0
    # A user under two names is a warning: the log may hold two people with one taste.
    assert audit.ok == (kind == "duplicate_users")
