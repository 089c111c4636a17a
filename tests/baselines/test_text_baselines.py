"""Baselines that answer in words."""

import pytest

from llmrec.baselines import BASELINES
from llmrec.baselines.peter import PETER
from llmrec.interactions import Event
from llmrec.predictions import HeldOut, Request


@pytest.fixture(scope="module")
def reviewed(build):
    rows = [
        {"user_id": "ann", "item_id": "tuner", "review": "Light. The display is bright.", "summary": "Fine"},
        {"user_id": "ann", "item_id": "strap", "review": None, "summary": None},
        {"user_id": "bob", "item_id": "tuner", "review": "Stays in tune. I like it.", "summary": "Good"},
        {"user_id": "bob", "item_id": "capo", "review": "", "summary": "Good"},
        {"user_id": "cat", "item_id": "strap", "review": "Soft leather.", "summary": "Fine "},
        {"user_id": "cat", "item_id": "case", "review": None, "summary": None},
        {"user_id": "dan", "item_id": "case", "review": "Never seen in train.", "summary": "Never", "part": "test"},
    ]
    items = [{"item_id": "tuner", "title": "Tuner", "features": ["Display"]}, {"item_id": "case", "title": "Case", "features": ["Leather"]}, {"item_id": "lonely", "title": "Lonely", "features": []}]
    return build(rows, items + [{"item_id": item, "title": item.title(), "features": []} for item in ("strap", "capo")])


def explain(model, item: str, *history: str, language: str = "en") -> str:
    return model.predict([Request(task="explanation", item_id=item, history=tuple(map(Event, history)), language=language)])[0].text


def test_nearest_review_is_that_of_the_most_alike_user_on_the_item(reviewed):
    model = BASELINES["nearest_review"]().fit(reviewed)
    assert explain(model, "tuner", "strap") == "The display is bright."  # ann's; the sentence that names the item's feature
    assert explain(model, "tuner", "capo") == "Stays in tune."  # bob's; no sentence names one, the first
    assert explain(model, "tuner") == "The display is bright."  # equals: the earliest


def test_nearest_review_takes_the_summary_where_there_is_no_review(reviewed):
    assert explain(BASELINES["nearest_review"]().fit(reviewed), "capo") == "Good"


def test_an_item_without_reviews_borrows_from_the_most_similar(reviewed):
    model = BASELINES["nearest_review"]().fit(reviewed)
    assert explain(model, "case", "tuner") == "Soft leather."  # the strap's: cat has both
    assert explain(model, "lonely", "capo") == "Stays in tune."  # the most reviewed item's


def test_nearest_review_without_any_review_is_the_template(build):
    timelines = build([{"user_id": "a", "item_id": item} for item in "xy"])
    template, nearest = (BASELINES[name]().fit(timelines) for name in ("template", "nearest_review"))
    assert explain(nearest, "x", "y") == explain(template, "x", "y") != ""


def test_template_names_the_item_in_the_language_asked_for(reviewed):
    model = BASELINES["template"]().fit(reviewed)
    assert "Tuner" in explain(model, "tuner", "strap", language="en")
    assert any("\u4e00" <= character <= "\u9fff" for character in explain(model, "tuner", "strap", language="zh"))
    assert explain(model, "tuner", "strap", language="fr")


@pytest.mark.parametrize("name", ["template", "nearest_review", "lead_sentence", "nearest_summaries", "most_common_summary"])
def test_batch_equals_single(name, reviewed):
    model = BASELINES[name]().fit(reviewed, seed=5)
    requests = [Request(id=str(n), task=model.tasks[0], item_id=item, review="Nice. Red.", history=(Event("capo"), Event("unheard of"))) for n, item in enumerate(["tuner", "case", "lonely"])]
    answers = model.predict(requests)
    assert answers == [model.predict([request])[0] for request in requests]
    assert all(answer.text for answer in answers)
    assert all(answer.skipped == (model.tasks == ("explanation",)) for answer in answers)


def test_summaries(reviewed):
    request = Request(task="review_summary", review="<b>Nice</b> and red!  It works. ")
    assert BASELINES["lead_sentence"]().fit(reviewed).predict([request])[0].text == "Nice and red!"
    assert BASELINES["most_common_summary"]().fit(reviewed).predict([request])[0].text == "Fine"  # twice, as Good; ann's stands first
    assert "review" in BASELINES["lead_sentence"]().fit(reviewed).predict([Request(task="review_summary")])[0].error


def test_summaries_of_a_log_without_any_are_refused(build):
    with pytest.raises(ValueError, match="needs summaries in train"):
        BASELINES["most_common_summary"]().fit(build([{"user_id": "a", "item_id": "x"}]))


def test_a_review_is_summarised_as_those_most_like_it_were(build):
    rows = [("warm and round strings", "Warm strings"), ("strings sound warm and clear", "Nice warm strings"), ("warm strings, dull box", "Dull"), ("the cable broke", "Broke"), ("cable of metal", "Metal cable")]
    timelines = build([{"user_id": f"u{n}", "item_id": f"i{n}", "review": review, "summary": summary} for n, (review, summary) in enumerate(rows)])
    model = BASELINES["nearest_summaries"]().fit(timelines)
    asked = [Request(task="review_summary", review=review) for review in ("my strings sound warm", "it broke", "unheard")]
    assert [answer.text for answer in model.predict(asked)] == ["Warm strings", "Broke", "Warm strings"] and model.settings == {"k": 10}
    # Valid says that the very nearest is best: k follows.
    tuned = BASELINES["nearest_summaries"]().fit(timelines, valid=[HeldOut(Request(task="review_summary", review="dull box warm strings sound"), "Dull")])
    assert tuned.settings == {"k": 1} and tuned.predict([Request(task="review_summary", review="dull box warm strings sound")])[0].text == "Dull"
    with pytest.raises(ValueError, match="needs reviews with summaries in train"):
        BASELINES["nearest_summaries"]().fit(build([{"user_id": "a", "item_id": "x"}]))


def test_peter_says_what_the_user_and_the_item_are_known_for(build):
    nouns = ["tuner", "strap", "capo", "case", "cable", "stand"]
    rows = [
        {"user_id": f"u{user}", "item_id": item, "rating": 5.0 - user % 2 * 4, "review": f"I {'hate' if user % 2 else 'love'} this {item}, really!", "part": "test" if (user + place) % 6 == 0 else "train"}
        for user in range(6) for place, item in enumerate(nouns)
    ]
    timelines = build(rows, [{"item_id": item, "title": item.title()} for item in [*nouns, "lonely"]])
    model = PETER(width=32, layers=1, num_epochs=300).fit(timelines, seed=1)
    asked = [Request(id=str(n), task="explanation", user_id=row["user_id"], item_id=row["item_id"]) for n, row in enumerate(rows) if row["part"] == "test"]
    truth = [row["review"].lower() for row in rows if row["part"] == "test"]
    found = [answer.text for answer in model.predict(asked)]
    assert len(found) == 6 and sum(one == other for one, other in zip(found, truth)) >= 5  # pairs it has not seen
    assert [model.predict([request])[0].text for request in asked] == found
    assert [answer.text for answer in PETER(width=32, layers=1, num_epochs=300).fit(timelines, seed=1).predict(asked)] == found
    assert model.predict([Request(task="explanation", item_id="lonely")])[0].text  # of nobody, about what nobody reviewed


def test_peter_keeps_the_best_epoch_of_valid_and_needs_words(build):
    rows = [{"user_id": f"u{user}", "item_id": f"i{item}", "review": f"word{(user * 7 + item * 3) % 11} here", "part": "valid" if item == 3 else "train"} for user in range(8) for item in range(4)]
    model = PETER(width=16, layers=1, num_epochs=400).fit(build(rows))
    assert 1 <= model.settings["epochs"] < 400  # random words are learned by heart, and valid sees it
    with pytest.raises(ValueError, match="peter needs reviews or summaries in train"):
        PETER().fit(build([{"user_id": "a", "item_id": "x"}]))
