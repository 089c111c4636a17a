"""What stands before what: streams by hand, what a question may see, and the yes/no questions a log answers."""

from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from llmrec.exam import Exam, save_predictions
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.predictions import Prediction
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines, binary_questions

ITEMS = [*"ABCDE"]


def timelines_of(rows, *, ordering="timestamp", temporal=True, positive=(), like=None, context=()):
    """rows: dicts with user, item and optionally event (click), part (train), rating and other columns; each user's in order, a second apart."""
    places: dict[str, int] = {}
    log = []
    for row in rows:
        places[row["user_id"]] = places.get(row["user_id"], -1) + 1
        log.append({"event": "click", "part": "train", "position": places[row["user_id"]], "timestamp": float(places[row["user_id"]]), **row})
    frame = pl.DataFrame(log, infer_schema_length=None, schema_overrides={"rating": pl.Float64} if any("rating" in row for row in rows) else None)
    if ordering != "timestamp":
        frame = frame.drop("timestamp")
    catalog = Catalog(pl.DataFrame({"item_id": ITEMS, "title": ITEMS}))
    log = Interactions(frame.sort("user_id", "position"), ordering=ordering, positive=positive, context=context)
    return Timelines.of(Corpus("small", log, catalog, rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), like_threshold=like, split={"rule": "given", "temporal": temporal}))


def rows_of(text, user="u", **fields):
    """Rows from words such as "show:A click:A buy:A/test", oldest first."""
    words = {"show": "impression", "click": "click", "cart": "cart", "buy": "purchase", "rate": "rating"}
    rows = []
    for word in text.split():
        event, _, rest = word.partition(":")
        item, _, part = rest.partition("/")
        rows.append({"user_id": user, "item_id": item, "event": words[event], "part": part or "train", **fields})
    return rows


def asked(timelines, kind):
    """(user, what the question may see, item, label, part, row in the log) of each question."""
    ids = timelines.corpus.catalog.item_ids
    found = []
    for row in binary_questions(timelines, kind).iter_rows(named=True):
        history = "".join(event.item_id for event in timelines.history(row["user"], row["place"], row["part"]))
        found.append((timelines.user_ids[row["user"]], history, ids[row["item"]], row["label"], row["part"], row["row"]))
    return found


def stream(timelines, user=0):
    start, stop = timelines.span(user)
    return [(event.item_id, event.event) for event in map(timelines.event, range(start, stop))]


# --- streams -------------------------------------------------------------------------------------------------------------------


def test_the_log_at_the_top_of_the_module():
    timelines = timelines_of(rows_of("show:A click:A show:B show:C click:C buy:C"))
    assert stream(timelines) == [("A", "click"), ("C", "purchase")]
    assert asked(timelines, "click") == [("u", "", "A", 1, "train", 0), ("u", "A", "B", 0, "train", 2), ("u", "A", "C", 1, "train", 3)]
    assert asked(timelines, "purchase") == [("u", "", "A", 0, "train", 1), ("u", "A", "C", 1, "train", 4)]


def test_adjacent_repeats_are_one_event_and_later_ones_are_not():
    timelines = timelines_of(rows_of("click:A click:A click:B click:A buy:A"))
    assert stream(timelines) == [("A", "click"), ("B", "click"), ("A", "purchase")]
    assert timelines.rows.tolist() == [1, 2, 4]
    assert timelines.timestamps.tolist() == [0.0, 2.0, 3.0]


def test_a_repeat_in_a_later_part_is_an_event_of_its_own():
    timelines = timelines_of(rows_of("click:A click:A/test"))
    assert [(item, int(part)) for (item, _), part in zip(stream(timelines), timelines.parts)] == [("A", 0), ("A", 2)]


def test_a_merged_event_has_the_last_rating_that_was_given():
    rows = rows_of("click:A") + rows_of("rate:A", rating=4.0) + rows_of("click:A") + rows_of("rate:B", rating=2.0)
    timelines = timelines_of(rows)
    assert timelines.ratings.tolist() == [4.0, 2.0]


def test_repeats_of_two_users_stay_apart():
    timelines = timelines_of(rows_of("click:A", user="u") + rows_of("click:A", user="v"))
    assert timelines.user_ids == ["u", "v"]
    assert timelines.starts.tolist() == [0, 1, 2]


def test_only_positive_events_of_known_items_make_a_stream():
    timelines = timelines_of(rows_of("show:A click:B click:Z buy:C"), positive=("purchase",))
    assert stream(timelines) == [("C", "purchase")]
    assert stream(timelines_of(rows_of("show:A click:B click:Z buy:C"))) == [("B", "click"), ("C", "purchase")]


def test_an_event_tells_its_context_rating_and_time():
    timelines = timelines_of(rows_of("rate:A", rating=3.0, hour="9") + rows_of("click:B", rating=None, hour=None), context=("hour",))
    assert timelines.event(0) == Event("A", 3.0, 0.0, "rating", {"hour": "9"})
    assert timelines.event(1) == Event("B", None, 1.0, "click", None)


# --- what a question may see ---------------------------------------------------------------------------------------------------


def test_a_question_sees_what_stands_before_it_whatever_part_that_is():
    timelines = timelines_of(rows_of("click:A click:B/valid click:C/test click:D/test"))
    assert ["".join(e.item_id for e in timelines.history(0, place, "test")) for place in (2, 3)] == ["AB", "ABC"]


@pytest.mark.parametrize("ordering", ["timestamp", "none"])
def test_without_time_a_question_sees_the_earlier_parts_alone(ordering):
    timelines = timelines_of(rows_of("click:A/test click:B click:C/valid click:D/test click:E"), ordering=ordering, temporal=False)
    assert not timelines.temporal
    seen = ["".join(e.item_id for e in timelines.history(0, place, part)) for place, part in ((0, "test"), (3, "test"), (2, "valid"))]
    assert list(map(sorted, seen)) == [["B", "C", "E"], ["B", "C", "E"], ["B", "E"]]
    assert seen[0] == seen[1]  # one order for all questions of a user, who share their history


def test_the_history_of_a_set_is_not_in_the_order_of_the_file():
    timelines = timelines_of(rows_of(" ".join(f"click:{item}" for item in "ABCDEABCDEABCDEABCDE") + " click:A/test"), ordering="none", temporal=False)
    shown = [event.item_id for event in timelines.history(0, 20, "test")]
    assert len(shown) == 20 and "".join(shown) != "ABCDE" * 4


def test_a_set_has_no_time_whatever_its_split_says():
    assert not timelines_of(rows_of("click:A"), ordering="none", temporal=True).temporal


def test_a_yes_no_question_of_a_set_hides_no_earlier_event():
    # The impression of B stands before the click of C in the file, which means nothing in a set.
    timelines = timelines_of(rows_of("click:A show:B/test click:C click:D"), ordering="none", temporal=False)
    ((user, history, *question),) = asked(timelines, "click")
    assert (user, set(history), *question) == ("u", {"A", "C", "D"}, "B", 0, "test", 1)


# --- yes/no questions ----------------------------------------------------------------------------------------------------------


def test_an_answer_in_a_later_part_takes_its_question_there():
    timelines = timelines_of(rows_of("show:A show:B click:C click:A/valid buy:C/test"))
    assert asked(timelines, "click") == [("u", "", "A", 1, "valid", 0), ("u", "", "B", 0, "train", 1)]
    assert asked(timelines, "purchase") == [("u", "", "C", 1, "test", 2), ("u", "C", "A", 0, "valid", 3)]


def test_a_click_before_the_impression_is_no_answer():
    assert asked(timelines_of(rows_of("click:A show:A show:B")), "click") == [("u", "A", "A", 0, "train", 1), ("u", "A", "B", 0, "train", 2)]


def test_the_click_of_another_user_is_no_answer():
    timelines = timelines_of(rows_of("click:B show:A", user="u") + rows_of("click:A", user="v"))
    assert asked(timelines, "click") == [("u", "B", "A", 0, "train", 1)]


def test_carts_ask_for_purchases_as_clicks_do():
    timelines = timelines_of(rows_of("cart:A cart:B buy:B"))
    assert [question[1:4] for question in asked(timelines, "purchase")] == [("", "A", 0), ("A", "B", 1)]


def test_a_like_is_a_rating_from_the_threshold_on():
    rows = [row for item, rating in (("A", 4.0), ("B", 3.5), ("C", 5.0)) for row in rows_of(f"rate:{item}", rating=rating)]
    assert [question[1:4] for question in asked(timelines_of(rows, like=4.0), "click")] == [("", "A", 1), ("A", "B", 0), ("AB", "C", 1)]
    assert asked(timelines_of(rows), "click") == []


def test_a_column_of_its_own_comes_before_events():
    rows = [{"user_id": "u", "item_id": item, "click": click, "part": part} for item, click, part in (("A", 1, "train"), ("B", None, "train"), ("C", 0, "test"))]
    assert asked(timelines_of(rows + rows_of("show:D")), "click") == [("u", "", "A", 1, "train", 0), ("u", "AB", "C", 0, "test", 2)]


def test_a_question_about_an_unknown_item_is_not_asked():
    assert asked(timelines_of(rows_of("show:Z click:A")), "click") == []


def test_a_log_without_any_asks_nothing():
    timelines = timelines_of(rows_of("rate:A", rating=4.0))
    assert asked(timelines, "click") == asked(timelines, "purchase") == []


def test_a_rating_that_follows_a_click_does_not_stand_in_the_history_of_its_own_like():
    rows = rows_of("click:B") + rows_of("click:A") + rows_of("rate:A", rating=5.0)
    assert asked(timelines_of(rows, like=4.0), "click") == [("u", "B", "A", 1, "train", 2)]


def test_a_question_between_a_click_and_its_purchase_does_not_see_the_purchase():
    timelines = timelines_of(rows_of("click:C click:A show:B buy:A"))
    assert asked(timelines, "click") == [("u", "C", "B", 0, "train", 2)]
    assert asked(timelines, "purchase") == [("u", "", "C", 0, "train", 0), ("u", "C", "A", 1, "train", 1)]


def test_the_second_of_two_clicks_does_not_see_that_they_ended_in_a_purchase():
    assert asked(timelines_of(rows_of("click:A click:A buy:A")), "purchase") == [("u", "", "A", 1, "train", 0), ("u", "", "A", 1, "train", 1)]


def test_users_that_are_pieces_of_a_person_count_as_that_person(tmp_path):
    rows = [(f"p{number % 2}/{number}", f"i{n}", n, "rating", "test" if n == 2 else "train", f"p{number % 2}", float(1 + (number + n) % 5)) for number in range(6) for n in range(3)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part", "person", "rating"], orient="row").sort("user_id", "position")
    items = pl.DataFrame({"item_id": ["i0", "i1", "i2"], "title": ["a", "b", "c"]})
    corpus = Corpus("pieces", Interactions(frame), Catalog(items), rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), split={"rule": "given", "temporal": True})
    timelines = Timelines.of(corpus)
    assert timelines.persons == ["p0"] * 3 + ["p1"] * 3
    for task, family in (("rating", "rating"), ("next_item", "items")):
        held_out = tuple(TASKS[task].held_out(timelines, "test", 0))
        assert [example.person for example in held_out] == timelines.persons and [example.request.user_id for example in held_out] == timelines.user_ids
        exam = Exam(task, family, held_out)
        assert {example.person for example in exam.of_users(1).held_out} in ({"p0"}, {"p1"}) and len(exam.of_users(1).held_out) == 3
        model = SimpleNamespace(predict=lambda requests: [Prediction(id=request.id, value=3.0, item_ids=["i1"], scores=[0.0]) for request in requests])
        assert pl.read_parquet(save_predictions(model, "model", exam, folder=tmp_path))["user_id"].to_list() == timelines.persons
    without = replace(corpus, interactions=replace(corpus.interactions, frame=frame.drop("person")))
    assert Timelines.of(without).persons == [None] * 6
