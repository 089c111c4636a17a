"""Held-out questions: each check fires where its leak is, by hand-made changes, and nowhere else."""

from dataclasses import replace

import polars as pl
import pytest

from llmrec.audit.examples import EXAMPLE_CHECKS, audit_examples
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.predictions import HeldOut, Request
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines


def questions(timelines, task, part="test"):
    return TASKS[task].held_out(timelines, part, 0)


def changed(held_out, number=0, **fields):
    """The questions with some fields of one request replaced."""
    return [replace(h, request=replace(h.request, **fields)) if n == number else h for n, h in enumerate(held_out)]


def kinds(timelines, task, held_out, part="test"):
    return {finding.kind: finding for finding in audit_examples(timelines, {task: held_out}, part).findings}


@pytest.mark.parametrize("part", ["valid", "test"])
def test_the_tasks_own_questions_are_clean(timelines, part):
    asked = {name: questions(timelines, name, part) for name, task in TASKS.items() if task.reason_absent(timelines.corpus) is None}
    assert set(asked) == set(TASKS) - {"purchase"}
    audit = audit_examples(timelines, asked, part)
    assert audit.findings == ()
    assert audit.checked["rating: questions"] == 60
    assert audit.checked["rating: history events"] == 60 * (7 if part == "test" else 6)
    assert audit.checked["rating: without a row"] == 0


def test_a_task_without_questions_is_not_looked_at(timelines):
    assert audit_examples(timelines, {"purchase": []}, "test").checked == {}


def test_a_question_asked_twice(timelines):
    asked = questions(timelines, "rating")
    again = replace(asked[0], request=replace(asked[0].request, id="another"))
    assert kinds(timelines, "rating", [*asked, again])["asked_twice"].count == 1
    assert kinds(timelines, "rating", [*asked, asked[1], asked[2]])["asked_twice"].count == 2


def test_an_answer_of_another_row(timelines):
    asked = questions(timelines, "next_item")
    shuffled = [replace(h, target=other.target) for h, other in zip(asked, [*asked[1:], asked[0]], strict=True)]
    finding = kinds(timelines, "next_item", shuffled)["another_row"]
    assert finding.severity == "error" and finding.count > 50
    of_another_user = [replace(asked[0], row=asked[1].row), *asked[2:]]
    assert kinds(timelines, "next_item", of_another_user)["another_row"].count == 1


def test_valid_questions_that_are_those_of_test(timelines):
    finding = kinds(timelines, "rating", questions(timelines, "rating", "test"), "valid")["part_of_another"]
    assert (finding.severity, finding.count) == ("error", 60)
    assert "60 of test" in finding.sentence


def test_test_questions_that_are_trained_on(timelines):
    assert kinds(timelines, "click", questions(timelines, "click", "train"))["part_of_another"].count == 360


def test_the_event_asked_about_stands_in_its_history(timelines):
    asked = questions(timelines, "next_item")
    leaky = changed(asked, 3, history=(*asked[3].request.history, Event(asked[3].target)))
    assert kinds(timelines, "next_item", leaky)["target_in_history"].count == 1


def repeats(ordering):
    """u takes A, B, A, B; v takes B, C, B, A. The last is test."""
    rows = [(user, item, place, "click", "test" if place == 3 else "train") for user, items in (("u", "ABAB"), ("v", "BCBA")) for place, item in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part"], orient="row").with_columns(timestamp=pl.col("position").cast(pl.Float64))
    catalog = Catalog(pl.DataFrame({"item_id": [*"ABC"], "title": [*"ABC"]}))
    return Timelines.of(Corpus("repeats", Interactions(frame if ordering == "timestamp" else frame.drop("timestamp"), ordering=ordering), catalog))


@pytest.mark.parametrize("ordering", ["timestamp", "order"])
def test_an_earlier_event_of_the_same_item_is_no_leak(ordering):
    timelines = repeats(ordering)
    asked = questions(timelines, "next_item")
    assert [h.target for h in asked] == ["B", "A"]
    assert kinds(timelines, "next_item", asked) == {}
    leaky = changed(asked, 0, history=(*asked[0].request.history, asked[0].request.history[1]))
    assert set(kinds(timelines, "next_item", leaky)) == {"target_in_history"}


def test_the_earlier_rows_of_the_event_asked_about_are_part_of_it():
    rows = [("u", "A", 0, "click", "train"), ("u", "B", 1, "click", "test"), ("u", "B", 2, "purchase", "test")]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part"], orient="row")
    timelines = Timelines.of(Corpus("merged", Interactions(frame, ordering="order"), Catalog(pl.DataFrame({"item_id": [*"AB"], "title": [*"AB"]}))))
    asked = questions(timelines, "next_item")
    assert kinds(timelines, "next_item", asked) == {}
    leaky = changed(asked, history=(*asked[0].request.history, Event("B", event="click")))
    assert "target_in_history" in kinds(timelines, "next_item", leaky)


def test_a_rating_from_after_the_question(timelines):
    # u rates A with 2, then with 5; a question between the two shows the 5.
    rows = [("u", "A", 2.0, "train"), ("u", "B", 3.0, "test"), ("u", "A", 5.0, "test")]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "part"], orient="row")
    frame = frame.with_columns(event=pl.lit("rating"), position=pl.int_range(3), timestamp=pl.Series([0.0, 1.0, 2.0]))
    catalog = Catalog(pl.DataFrame({"item_id": [*"AB"], "title": [*"AB"]}))
    small = Timelines.of(Corpus("two", Interactions(frame), catalog, rating_scale=(2.0, 3.0, 5.0)))
    asked = questions(small, "rating")
    assert kinds(small, "rating", asked) == {}
    assert set(kinds(small, "rating", changed(asked, history=(Event("A", 5.0, 0.0, "rating"),)))) == {"future_event"}
    assert set(kinds(small, "rating", changed(asked, history=(Event("A", 4.0, 0.0, "rating"),)))) == {"foreign_event"}


def test_an_event_of_somebody_else(timelines):
    asked = questions(timelines, "next_item")
    swapped = changed(asked, 0, history=asked[1].request.history)
    assert kinds(timelines, "next_item", swapped)["foreign_event"].count == 1


def test_a_question_without_a_row_is_held_to_its_own_time(timelines):
    asked = [HeldOut(Request(id=str(time), task="next_item", history=(Event("i1", timestamp=time),), timestamp=9.0), "i2") for time in (10.0, 8.0)]
    audit = audit_examples(timelines, {"next_item": asked}, "test")
    assert [(finding.kind, finding.count) for finding in audit.findings] == [("future_event", 1)]
    assert audit.checked["next_item: without a row"] == 2


def test_without_time_histories_are_held_to_earlier_parts(corpus):
    frame = corpus.interactions.frame.drop("timestamp")
    timelines = Timelines.of(replace(corpus, interactions=replace(corpus.interactions, frame=frame, ordering="none"), split={"rule": "leave_one_out", "temporal": False}))
    for part in ("valid", "test"):
        assert kinds(timelines, "rating", questions(timelines, "rating", part), part) == {}
    valid, test = questions(timelines, "rating", "valid"), questions(timelines, "rating", "test")
    # The test event is shown to the question of valid: known to the log, but not to this part.
    place = int((timelines.rows == test[0].row).nonzero()[0][0])
    assert set(kinds(timelines, "rating", changed(valid, 0, history=(*valid[0].request.history, timelines.event(place))), "valid")) == {"future_event"}


@pytest.mark.parametrize(("task", "field", "text"), [
    ("next_item", "context", lambda title, row: {"shown": f"page of {title}"}), ("search", "query", lambda title, row: title.upper()),
    ("ranking", "review", lambda title, row: f"they said of {title} that it is fine"), ("rating", "review", lambda title, row: f"{row['rating']:g} stars"),
    ("rating", "review", lambda title, row: row["review"]), ("click", "review", lambda title, row: f"Once more: {row['review']}"),
    ("explanation", "context", lambda title, row: {"note": row["review"]}), ("review_summary", "query", lambda title, row: row["summary"]),
])
def test_a_prompt_that_says_its_answer(timelines, task, field, text):
    asked = questions(timelines, task)
    row = timelines.corpus.interactions.frame.row(asked[5].row, named=True)
    title = timelines.corpus.catalog.titles[timelines.corpus.catalog.row(row["item_id"])]
    assert kinds(timelines, task, changed(asked, 5, **{field: text(title, row)}))["target_in_prompt"].count == 1


@pytest.mark.parametrize(("task", "fields"), [
    ("rating", {"review": "I waited 2 weeks for it and it came with 4 strings."}), ("search", {"query": "something warm with strings"}),
    ("next_item", {"context": {"hour": "noon"}}), ("explanation", {"query": "why?"}),
])
def test_a_prompt_that_does_not(timelines, task, fields):
    assert kinds(timelines, task, changed(questions(timelines, task), 5, **fields)) == {}


def test_users_who_type_the_title_are_a_warning_and_only_if_many_do(corpus):
    catalog = corpus.catalog
    frame = corpus.interactions.frame.join(catalog.frame.select("item_id", "title"), on="item_id", maintain_order="left")
    for typed, expected in ((pl.lit(True), {"own_query"}), (pl.col("user_id") == "u05", set())):
        query = pl.when(typed).then("title").otherwise(pl.lit("something warm"))
        own = Timelines.of(replace(corpus, interactions=replace(corpus.interactions, frame=frame.with_columns(query=query).drop("title"))))
        found = kinds(own, "search", questions(own, "search"))
        assert set(found) == expected
        assert all(finding.severity == "warning" for finding in found.values())


def test_a_summary_that_stands_in_its_review_is_a_warning(timelines):
    asked = questions(timelines, "review_summary")
    finding = kinds(timelines, "review_summary", changed(asked, 0, review=f"{asked[0].target}, as I said."))["summary_in_review"]
    assert (finding.severity, finding.count) == ("warning", 1)


@pytest.mark.parametrize("task", ["rating", "click", "next_item"])
def test_a_context_made_from_the_answers(timelines, task):
    asked = [*questions(timelines, task), *questions(timelines, task, "valid")]
    told = [replace(h, request=replace(h.request, context={**(h.request.context or {}), "shelf": f"shelf {h.target}"})) for h in asked]
    finding = kinds(timelines, task, told)["context_tells_target"]
    assert finding.severity == "error" and "shelf" in finding.sentence and "hour" not in finding.sentence
    assert "context_tells_target" not in kinds(timelines, task, asked)


def test_candidates_that_lack_the_target_or_repeat_an_item(timelines):
    asked = questions(timelines, "ranking")
    assert kinds(timelines, "ranking", asked) == {}
    without = tuple(item for item in asked[0].request.candidates if item != asked[0].target)
    assert kinds(timelines, "ranking", changed(asked, candidates=without))["candidates"].count == 1
    assert kinds(timelines, "ranking", changed(asked, candidates=(*asked[0].request.candidates, asked[0].target)))["candidates"].count == 1


@pytest.mark.parametrize("last", [False, True])
def test_targets_that_stand_at_one_end_of_their_candidates(timelines, last):
    asked = questions(timelines, "ranking")
    moved = [replace(h, request=replace(h.request, candidates=tuple(sorted(h.request.candidates, key=lambda item: (item == h.target) == last)))) for h in asked]
    assert kinds(timelines, "ranking", moved)["candidates_order"].count == len(asked)


def test_every_check_is_planted_here_or_among_the_twelve():
    assert [check.__name__ for check in EXAMPLE_CHECKS] == [
        "asked_twice", "another_row", "part_of_another", "target_in_history", "future_event", "foreign_event",
        "target_in_prompt", "own_query", "summary_in_review", "context_tells_target", "candidates", "candidates_order",
    ]
