"""The words in prompts/*.yaml: what every file must offer, whatever loads it."""

import string
from collections import Counter
from pathlib import Path

import pytest
import yaml

PROMPTS = Path(__file__).parents[1] / "prompts"
KEYS = {"name", "language", "preamble", "event", "question", "split"}
EVENT_FIELDS = {"code", "rating", "context", "gap", "title"}
BEFORE_CODE = {"context", "gap"}

# task -> (fields a question must hold, further fields it may hold); None: the task has no question.
QUESTION_FIELDS = {
    "next_item": None,
    "ranking": None,
    "search": ({"query"}, set()),
    "rating": ({"code"}, {"title", "context"}),
    "click": ({"code"}, {"title", "context"}),
    "purchase": ({"code"}, {"title", "context"}),
    "explanation": ({"code"}, {"title"}),
    "review_summary": ({"review"}, set()),
}


def entries(task: str) -> list[dict]:
    """The wordings of a task. The bare entry of codes alone has no words to judge; templates' own tests load it."""
    return [entry for entry in yaml.safe_load((PROMPTS / f"{task}.yaml").read_text(encoding="utf-8")) if entry["name"] != "bare"]


def placeholders(text: str) -> list[str]:
    return [name for _, name, specification, conversion in string.Formatter().parse(text) if name is not None]


@pytest.fixture(params=sorted(QUESTION_FIELDS))
def task(request) -> str:
    return request.param


def test_every_task_has_a_file():
    assert set(QUESTION_FIELDS) <= {path.stem for path in PROMPTS.glob("*.yaml")}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ten_wordings_to_train_with_and_exactly_two_unseen(task, language):
    mine = [entry for entry in entries(task) if entry["language"] == language]
    assert len(mine) >= 12
    assert sum(entry.get("split") == "unseen" for entry in mine) == 2


def test_entries_have_known_keys_and_values(task):
    for entry in entries(task):
        assert {"name", "language", "preamble", "event"} <= set(entry) <= KEYS, entry
        assert entry["language"] in ("en", "zh")
        assert entry.get("split", "unseen") == "unseen"
        assert all(isinstance(value, str) for value in entry.values())


def test_names_and_preambles_differ_within_a_file(task):
    for key in ("name", "preamble"):
        assert Counter(entry[key] for entry in entries(task)).most_common(1)[0][1] == 1


def test_unseen_questions_are_not_those_of_training(task):
    if QUESTION_FIELDS[task] is None:
        return
    seen = {entry["question"] for entry in entries(task) if "split" not in entry}
    assert not seen & {entry["question"] for entry in entries(task) if "split" in entry}


def test_preambles_hold_no_field_and_are_short(task):
    for entry in entries(task):
        preamble = entry["preamble"]
        assert placeholders(preamble) == [] and preamble == preamble.strip()
        length = len(preamble.split()) if entry["language"] == "en" else len(preamble)
        assert (3 if entry["language"] == "en" else 4) <= length <= (14 if entry["language"] == "en" else 28), preamble


def test_events_hold_the_code_once_with_only_known_things_before_it(task):
    for entry in entries(task):
        names = placeholders(entry["event"])
        assert names.count("code") == 1 and set(names) <= EVENT_FIELDS, entry
        assert set(names[: names.index("code")]) <= BEFORE_CODE, entry
        assert entry["event"][0] in " \n", f"events are written one after another: {entry}"
        assert len(entry["event"]) <= 30


def test_most_events_are_compact(task):
    compact = [entry for entry in entries(task) if "title" not in placeholders(entry["event"])]
    assert len(compact) >= 0.8 * len(entries(task))


def test_questions_hold_the_fields_of_the_task(task):
    for entry in entries(task):
        if QUESTION_FIELDS[task] is None:
            assert "question" not in entry, entry
            continue
        required, offered = QUESTION_FIELDS[task]
        names = placeholders(entry["question"])
        assert len(names) == len(set(names)) and required <= set(names) <= required | offered, entry
        if "title" in names:
            assert names.index("code") < names.index("title"), entry
        assert len(entry["question"]) <= 60


def test_an_answer_can_follow_the_question(task):
    for entry in entries(task):
        if "question" in entry:
            assert entry["question"][0] in " \n" and entry["question"].endswith((":", "?", "->", "=", "：", "？")), entry


def test_chinese_entries_are_chinese_and_english_ones_are_not(task):
    for entry in entries(task):
        chinese = any("\u4e00" <= letter <= "\u9fff" for letter in entry["preamble"])
        assert chinese == (entry["language"] == "zh")
        if entry["language"] == "en":
            assert (entry["preamble"] + entry["event"] + entry.get("question", "")).isascii()


def test_rating_events_show_the_rating():
    assert all("rating" in placeholders(entry["event"]) for entry in entries("rating"))
