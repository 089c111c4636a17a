"""Prompt templates are checked when they are loaded, both ways."""

import pytest
import yaml

from llmrec.assets import folder_of
from llmrec.tasks import OBJECTIVES, TASKS
from llmrec.templates import choose, load_templates, save_templates

GOOD = {"name": "a", "language": "en", "preamble": "Rated:", "event": " {code} {rating}", "question": " Stars for {code}:"}


def write(tmp_path, *entries):
    path = tmp_path / "rating.yaml"
    path.write_text(yaml.safe_dump(list(entries)))
    return path


def load(path):
    return load_templates(path, required=("code",), offered=("code", "title", "context"))


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_shipped_template_fits_its_task(name):
    task = OBJECTIVES[name]
    assert load_templates(folder_of("prompts") / f"{name}.yaml", required=task.required, offered=task.offered)


def test_what_is_saved_is_what_is_read(tmp_path):
    templates = load(write(tmp_path, GOOD, {**GOOD, "name": "b", "split": "unseen"}))
    save_templates(tmp_path / "again.yaml", templates)
    assert load(tmp_path / "again.yaml") == templates


@pytest.mark.parametrize("change, words", [
    ({"question": " Stars:"}, "lacks {code}"),
    ({"question": " {code} {stars}:"}, "{stars}"),
    ({"event": " {rating} {code}"}, "stands before {code}"),
    ({"event": " next"}, "0 times"),
    ({"event": " {code} {query}"}, "{query}"),
    ({"preamble": "For {title}:"}, "placeholder"),
    ({"question": " {code!r}:"}, "plain"),
    ({"question": " {code"}, "plain"),
    ({"split": "test"}, "unseen"),
    ({"preable": "x"}, "preamble"),
    ({"language": 1}, "language"),
])
def test_a_template_that_does_not_fit_is_refused_with_its_name(tmp_path, change, words):
    with pytest.raises(ValueError, match="'a'|template") as error:
        load(write(tmp_path, {**GOOD, **change}))
    assert words in str(error.value)


def test_two_entries_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="twice"):
        load(write(tmp_path, GOOD, GOOD))


def test_unseen_wordings_are_kept_apart():
    templates = load_templates(folder_of("prompts") / "next_item.yaml", required=(), offered=())
    seen, unseen = (choose(templates, "zh", unseen=u) for u in (False, True))
    assert len(seen) >= 10 and len(unseen) == 2 and not set(seen) & set(unseen)
    assert choose(templates, "fr", unseen=False)[0].language == "en"


def test_no_two_tasks_of_one_answer_space_ask_in_the_same_words():
    """Asked the same, click and purchase would be answered the same: the mean of both rates."""
    asked = {}
    for name, task in TASKS.items():
        if task.required:
            for t in load_templates(folder_of("prompts") / f"{name}.yaml", required=task.required, offered=task.offered):
                words = (task.space, t.language, t.preamble, t.event, t.question)
                assert asked.setdefault(words, name) == name, f"{name} asks as {asked[words]} does: {t.name}"
