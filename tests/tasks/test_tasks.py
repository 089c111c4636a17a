"""The contract of every task of the table: what is asked about held-out events, what is trained, and that neither tells the other's answers.

Three corpora: the toy one and those of conftest.
"""

import zlib
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from llmrec.answers import ITEMS, RATING
from llmrec.assets import folder_of
from llmrec.composer import YES_NO, Composer
from llmrec.evidence import clean, sentences
from llmrec.indexing import Material, build_index
from llmrec.interactions import Corpus
from llmrec.tasks import TASKS
from llmrec.tasks.task import QuestionTask
from llmrec.templates import load_templates
from llmrec.timelines import Timelines, binary_questions

SEED = 0
UNITS = 12


@pytest.fixture(params=["toy_corpus", "simulated", "drawn"])
def world(request, toy_vocabulary):
    corpus = request.getfixturevalue(request.param)
    timelines = Timelines.of(corpus)
    frame = corpus.interactions.frame.with_row_index("row").with_columns(is_positive=corpus.interactions.is_positive)
    rows = {user_id: part.rows(named=True) for (user_id,), part in frame.partition_by("user_id", as_dict=True, maintain_order=True).items()}
    return SimpleNamespace(name=request.param, corpus=corpus, timelines=timelines, composer=composer_of(corpus, toy_vocabulary), rows=rows, log=frame.rows(named=True))


def composer_of(corpus, vocabulary):
    """A composer in whose tokens an item is its catalogue row."""
    index = build_index("atomic", Material(corpus.catalog.titles, np.zeros((len(corpus.catalog), 1), np.float32), vocabulary, 0))
    return Composer(vocabulary, corpus.catalog, index.space(corpus.catalog.item_ids, vocabulary.size), rating_scale=corpus.rating_scale, max_prompt_tokens=400)


def offered(world):
    return [task for task in TASKS.values() if task.reason_absent(world.corpus) is None]


def templates_of(task):
    return load_templates(folder_of("prompts") / f"{task.name}.yaml", required=task.required, offered=task.offered)


def examples(world, task):
    """(user number, template, example) of some units in some wordings, every language among them."""
    bound = task.bind(world.timelines, seed=SEED)
    users = bound.users if isinstance(task, QuestionTask) else bound.unit_user
    for number, unit in enumerate(np.random.default_rng(1).permutation(len(bound))[:UNITS]):
        for template in templates_of(task)[number % 3 :: 3]:
            example = bound.example(int(unit), world.composer, template, np.random.default_rng([2, number]))
            if example is not None:
                yield int(users[unit]), template, example


def items_in(world, tokens):
    """The item ids of the codes among tokens, in order."""
    size = world.composer.vocabulary.size
    return [world.corpus.catalog.item_ids[token - size] for token in tokens if token >= size]


def runs_of(rows):
    """A user's stream told anew: positive rows of one item in a row, in one part, are one event, a list of its rows."""
    runs = []
    for row in rows:
        if row["is_positive"] and runs and (runs[-1][-1]["item_id"], runs[-1][-1]["part"]) == (row["item_id"], row["part"]):
            runs[-1].append(row)
        elif row["is_positive"]:
            runs.append([row])
    return runs


def past_of(world, rows, asked, part):
    """The items a question about the row `asked` may see."""
    runs = runs_of(rows)
    if not world.timelines.temporal:
        earlier = {"valid": ("train",), "test": ("train", "valid")}[part]
        return sorted(run[0]["item_id"] for run in runs if run[0]["part"] in earlier)
    own = next((run for run in runs if asked in run), [asked])
    return [run[0]["item_id"] for run in runs if run[-1]["position"] < own[0]["position"]]


# --- held-out questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_question_shows_what_stood_before_its_row_and_no_more(world, part):
    asked = 0
    for task in offered(world):
        for h in task.held_out(world.timelines, part, SEED):
            row = world.log[h.row]
            shown = [event.item_id for event in h.request.history]
            shown = shown if world.timelines.temporal else sorted(shown)  # a set is shown in no order
            assert shown == (past_of(world, world.rows[row["user_id"]], row, part) if task.reads_history else []), (task.name, h.request.id)
            asked += 1
    assert asked > 50


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_question_is_about_its_row(world, part):
    for task in offered(world):
        held_out = task.held_out(world.timelines, part, SEED)
        assert len({h.request.id for h in held_out}) == len({h.row for h in held_out}) == len(held_out)
        for h in held_out:
            row = world.log[h.row]
            assert (h.request.task, h.request.user_id) == (task.name, row["user_id"])
            assert h.request.timestamp == row["timestamp"] or not isinstance(task, QuestionTask)
            if task.space == ITEMS:
                assert (h.target, h.request.item_id) == (row["item_id"], None)
            elif task.reads_history:
                assert h.request.item_id == row["item_id"]
            # A yes or no may be asked earlier than it is answered; everything else is asked in its own part.
            assert row["part"] == part or task.family == "binary"


def test_all_events_of_a_part_are_asked(world):
    for part in ("valid", "test"):
        events = sum(run[0]["part"] == part for rows in world.rows.values() for run in runs_of(rows))
        for name in ("next_item", "ranking"):
            assert len(TASKS[name].held_out(world.timelines, part, SEED)) == events


def test_answers_are_those_of_the_log(world):
    for name in ("rating", "review_summary", "explanation"):
        for h in TASKS[name].held_out(world.timelines, "test", SEED):
            row = world.log[h.row]
            if name == "rating":
                assert h.target == row["rating"]
            elif name == "review_summary":
                assert (h.request.review, h.target) == (row["review"], row["summary"].strip())
            else:
                assert h.target in sentences(clean(row["review"])) and h.request.review is None


def test_questions_do_not_depend_on_what_else_is_asked(world):
    for task in offered(world):
        first, again = (task.held_out(Timelines.of(world.corpus), "test", SEED) for _ in range(2))
        assert first == again


def test_candidates_hold_the_target_once_and_no_other_item_of_the_user(world):
    firsts = 0
    for h in TASKS["ranking"].held_out(world.timelines, "test", SEED):
        had = {row["item_id"] for row in world.rows[h.request.user_id] if row["is_positive"]}
        assert len(set(h.request.candidates)) == len(h.request.candidates) == h.request.k
        assert had & set(h.request.candidates) == {h.target}
        others = len(world.corpus.catalog) - len(had)
        assert len(h.request.candidates) == 1 + min(99, others)
        firsts += h.request.candidates[0] == h.target
    assert firsts < 0.8 * len(TASKS["ranking"].held_out(world.timelines, "test", SEED))


# --- training ------------------------------------------------------------------------------------------------------------------


def test_a_training_history_holds_train_events_alone(world):
    for task in offered(world):
        seen = 0
        for user, _, example in examples(world, task):
            runs = runs_of(world.rows[world.timelines.user_ids[user]])
            train = [run[0]["item_id"] for run in runs if run[0]["part"] == "train"]
            shown = items_in(world, example.trunk.tokens)
            seen += len(shown)
            if world.timelines.temporal:
                assert any(shown == train[start : start + len(shown)] for start in range(len(train) + 1)), task.name
            else:
                assert not Counter(shown) - Counter(train)
        assert seen > 0 or not task.reads_history


def test_a_training_answer_is_that_of_a_train_row(world):
    spaces = world.composer.spaces
    binary = {name: binary_questions(world.timelines, name).filter(pl.col("part") == "train") for name in ("click", "purchase")}
    for task in offered(world):
        for user, template, example in examples(world, task):
            rows = [row for row in world.rows[world.timelines.user_ids[user]] if row["part"] == "train"]
            assert not isinstance(task, QuestionTask) or example.branches or (template.event_is_question and example.trunk.answers)
            for branch in example.branches:
                (answer,) = branch.answers
                about = items_in(world, branch.tokens[: answer.start])
                if answer.space == ITEMS:
                    assert about == [] and spaces[ITEMS].labels[answer.row] in {row["item_id"] for row in rows if row["is_positive"]}
                elif answer.space == RATING:
                    assert (about[0], spaces[RATING].values[answer.row]) in {(row["item_id"], row["rating"]) for row in rows}
                elif task.family == "binary":
                    asked = binary[task.name].filter((pl.col("user") == user) & (pl.col("item") == world.corpus.catalog.row(about[0])))
                    assert float(spaces[answer.space].values[answer.row]) in asked["label"].to_list()
                else:
                    written = world.composer.vocabulary.decode(branch.tokens[answer.start : answer.stop])
                    texts = [clean(row["review"]) if task.reads_history else row["summary"] for row in rows if row["review"] and (not about or row["item_id"] == about[0])]
                    assert any(plain(written) in plain(text) for text in texts), written
            for answer in example.trunk.answers:
                if answer.space == ITEMS:
                    assert spaces[ITEMS].labels[answer.row] in {row["item_id"] for row in rows}
                else:  # behind the item it rates
                    (item,) = items_in(world, example.trunk.tokens[answer.start - 1 : answer.start])
                    assert template.event_is_question and (item, spaces[RATING].values[answer.row]) in {(row["item_id"], row["rating"]) for row in rows}


def test_ratings_that_stand_between_train_s_are_no_answers(drawn, toy_vocabulary):
    """A split by hand may hold out events in the middle of a timeline."""
    corpus = replace(drawn, split={"rule": "given", "temporal": True})
    timelines = Timelines.of(corpus)
    world = SimpleNamespace(corpus=corpus, timelines=timelines, composer=composer_of(corpus, toy_vocabulary))
    train = corpus.interactions.part("train").frame
    known = {user_id: set(items) for user_id, items in train.group_by("user_id").agg("item_id").iter_rows()}
    learned = 0
    for user, template, example in examples(world, TASKS["rating"]):
        if template.event_is_question:
            learned += len(example.trunk.answers)
            assert set(items_in(world, example.trunk.tokens)) <= known[timelines.user_ids[user]]
    assert learned >= 10


def plain(text):
    """A text as the tokenizer gives it back: it may close a long answer in the middle of a word."""
    return "".join(letter for letter in text if letter.isalnum())


def test_the_items_asked_about_are_not_in_the_history_of_a_set(drawn, toy_vocabulary):
    world = SimpleNamespace(corpus=drawn, timelines=Timelines.of(drawn), composer=composer_of(drawn, toy_vocabulary))
    asked = 0
    for name in ("rating", "click", "search", "explanation"):
        for _, _, example in examples(world, TASKS[name]):
            for branch in example.branches:
                (answer,) = branch.answers
                about = items_in(world, branch.tokens)
                assert about and not set(about) & set(items_in(world, example.trunk.tokens)), name
                assert branch.attach == len(example.trunk.tokens)
                asked += 1
    assert asked > 50


def test_a_question_sees_the_events_before_its_own(world):
    """Behind the trunk a question attaches where its event would stand."""
    if not world.timelines.temporal:
        pytest.skip("a set has no before")
    for user, template, example in examples(world, TASKS["rating"]):
        runs = [run for run in runs_of(world.rows[world.timelines.user_ids[user]]) if run[0]["part"] == "train"]
        for branch in example.branches:
            shown = items_in(world, example.trunk.tokens[: branch.attach])
            about = items_in(world, branch.tokens)[0]
            places = [number for number, run in enumerate(runs) if run[0]["item_id"] == about and any(row["rating"] is not None for row in run)]
            assert any(shown == [run[0]["item_id"] for run in runs[:place]][-len(shown) or place :] for place in places)


def test_an_example_is_a_function_of_its_generator(world):
    for task in offered(world):
        bound, template = task.bind(world.timelines, seed=SEED), templates_of(task)[1]
        for unit in range(min(4, len(bound))):
            first, again = (bound.example(unit, world.composer, template, np.random.default_rng(unit)) for _ in range(2))
            assert first == again
        assert len(task.bind(world.timelines, seed=SEED)) == len(bound)


def test_training_asks_at_most_so_many_questions_behind_a_trunk(world):
    for task in offered(world):
        if isinstance(task, QuestionTask):
            for _, template, example in examples(world, task):
                assert len(example.branches) <= task.max_questions
                # A temporal history of answered questions needs no branch.
                assert example.branches or (template.event_is_question and example.trunk.answers)


@pytest.mark.parametrize("name", ["click", "purchase"])
def test_yes_and_no_are_words_of_the_prompt_s_language(world, name):
    task = TASKS[name]
    if task.reason_absent(world.corpus) is not None:
        pytest.skip(task.reason_absent(world.corpus))
    vocabulary = world.composer.vocabulary
    said = {"en": set(), "zh": set()}
    for _, template, example in examples(world, task):
        for branch in example.branches:
            (answer,) = branch.answers
            assert answer.space == f"yes_no.{template.language}"
            assert vocabulary.decode(branch.tokens[answer.start : answer.stop]) == YES_NO[template.language][answer.row]
            said[template.language].add(answer.row)
    assert said == {"en": {0, 1}, "zh": {0, 1}}


# --- search --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def wordless(simulated) -> Corpus:
    """The simulated world without its users' queries: all are made from item text."""
    return replace(simulated, interactions=replace(simulated.interactions, frame=simulated.interactions.frame.drop("query")))


def apart(item_id):
    return zlib.crc32(item_id.encode()) % 10 == 0


def test_items_kept_apart_are_never_targets_of_made_training_queries(wordless, toy_vocabulary):
    timelines = Timelines.of(wordless)
    composer = composer_of(wordless, toy_vocabulary)
    bound, template = TASKS["search"].bind(timelines, seed=SEED), templates_of(TASKS["search"])[0]
    made = [bound.example(unit, composer, template, np.random.default_rng([unit, again])) for unit in range(len(bound)) for again in range(2)]
    targets = [wordless.catalog.item_ids[branch.answers[0].row] for example in made if example for branch in example.branches]
    assert len(targets) > 100
    assert not any(map(apart, targets))
    asked = [h for part in ("valid", "test") for h in TASKS["search"].held_out(timelines, part, SEED)]
    assert any(apart(h.target) for h in asked)
    assert all(h.tags["items"] == ("apart" if apart(h.target) else "shared") for h in asked)
    assert {h.tags["query"] for h in asked} == {"keywords", "sentence"}


def test_a_user_s_own_words_are_asked_as_they_were_typed(simulated):
    asked = TASKS["search"].held_out(Timelines.of(simulated), "test", SEED)
    own = [h for h in asked if h.tags["query"] == "own"]
    queries = simulated.interactions.frame["query"]
    assert own and all(h.request.query == queries[h.row] for h in own)
    assert all(queries[h.row] is None for h in asked if h.tags["query"] != "own")
