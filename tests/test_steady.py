"""Every answer is the same to the bit, whatever is asked beside it, in whatever order, read in batches of any size, by one thread or two."""

import json
import os
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from llmrec.assets import folder_of
from llmrec.composer import Composer
from llmrec.indexing import INDEXES, Material, build_index
from llmrec.interactions import Catalog, Event
from llmrec.model import LanguageModel
from llmrec.predictions import Request
from llmrec.recommender import Backing, Recommender, load_task_templates
from llmrec.steady import ROWS, SteadyLinear, linear, steady
from llmrec.tasks import TASKS as TASKS_OF
from llmrec.timelines import Timelines

QUESTIONS = int(os.environ.get("LLMREC_QUESTIONS", "120"))
TASKS = ("next_item", "search", "ranking", "rating", "click", "explanation")
WORDS = ["Night", "Train", "Lake", "Echo", "Moon", "夏天", "Winter", "Road", "of", "the"]


@pytest.fixture
def threads():
    yield torch.set_num_threads
    torch.set_num_threads(1)


def recommender_of(scheme, lm, vocabulary):
    import polars as pl

    rng = np.random.default_rng(7)
    titles = [" ".join(rng.choice(WORDS, int(rng.integers(1, 4)))) for _ in range(300)]
    catalog = Catalog(pl.DataFrame({"item_id": [f"i{n}" for n in range(300)], "title": titles, "half": [[str(n % 2)] for n in range(300)]}))
    index = build_index(scheme, Material(titles, rng.normal(size=(300, 8)).astype(np.float32), vocabulary, 0))
    torch.manual_seed(1)
    model = LanguageModel(lm, vocabulary_size=vocabulary.size, new_tokens=index.new_tokens, content=index.vectors).eval()
    composer = Composer(vocabulary, catalog, index.space(catalog.item_ids, vocabulary.size), max_prompt_tokens=48, rating_scale=(1, 2, 3, 4, 5))
    model.set_spaces(composer.spaces)
    return Recommender(model, composer, {task: load_task_templates(folder_of("prompts"), task) for task in TASKS})


def questions(count):
    rng = random.Random(0)
    asked = []
    for number in range(count):
        task, fields = rng.choice(TASKS), {}
        if task in ("rating", "click", "explanation"):
            fields["item_id"] = f"i{rng.randrange(300)}"
        elif task == "ranking":
            fields["candidates"] = tuple(f"i{n}" for n in rng.sample(range(300), rng.randrange(2, 30)))
        else:
            fields |= {"exclude": tuple(f"i{n}" for n in rng.sample(range(300), rng.randrange(20))), "where": {"half": "1"} if number % 5 == 0 else None}
        fields |= {"query": rng.choice(["a quiet train", "night", "drama"])} if task == "search" else {}
        history = tuple(Event(f"i{rng.randrange(30)}", float(rng.randrange(1, 6))) for _ in range(rng.randrange(9)))
        asked.append(Request(id=str(number), task=task, history=history, k=rng.choice([3, 10]), **fields))
        if number % 7 == 0:  # several questions about one history
            asked += [Request(id=f"{number}-{other}", task="click", history=history, item_id=f"i{rng.randrange(300)}") for other in range(rng.randrange(1, 4))]
    return asked


@pytest.mark.slow
@pytest.mark.parametrize("exhaustive", [False, True], ids=["", "exact"])
@pytest.mark.parametrize("scheme", INDEXES)
def test_answers_are_the_same_bytes_for_any_batch_order_and_number_of_threads(scheme, exhaustive, toy_llama, toy_vocabulary, threads, monkeypatch, counted):
    monkeypatch.setattr("llmrec.decoding.reading.SHARED_TOKENS", 4)  # the instructions of these prompts are short
    recommender, asked = recommender_of(scheme, toy_llama, toy_vocabulary), questions(QUESTIONS // 4 if exhaustive else QUESTIONS)
    first, bad, of = None, 0, 0
    for number in (1, 2):
        threads(number)
        for size in (1, 3, 8, 64):
            recommender.batch_tokens = size * 40 if size > 1 else 1  # prompts of 48 tokens at most
            random.Random(size).shuffle(asked)
            found = {answer.id: json.dumps(answer.to_json(recommender.titles)) for answer in recommender.predict(asked, beams=8, exhaustive=exhaustive)}
            first = first or found
            bad += sum(found[id] != answer for id, answer in first.items())
            of += len(found)
    assert not any("error" in json.loads(answer) for answer in first.values())
    counted(f"Answers ({scheme} codes{', exact' if exhaustive else ''}) that depend on batch size, order or threads", bad, of)
    assert bad == 0, f"{bad} of {of}"


@pytest.mark.slow
@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_so_are_answers_with_all_that_may_stand_behind_them(toy_parts, toy_corpus, threads, counted):
    """Memory, expectations, words of items, temperatures, and texts by the consensus of drafts and precedents."""
    timelines = Timelines.of(toy_corpus)
    toy_parts.model.eval()
    made = Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=Backing.of(timelines, list(toy_parts.templates), seed=0, expectations=True, memory=True, precedents=True))
    items, texts = ([name for name in made.tasks if TASKS_OF[name].family == family] for family in ("items", "text"))
    weights = [0.6, *([0.3] * made.combiner.backing.num_estimates("rating")), -0.2]
    card = {
        "shares": dict.fromkeys(items, 0.4), "lexical": {"search": 0.5}, "consensus": dict.fromkeys(texts, 0.5), "quoting": {"review_summary": 1.3}, "blends": dict.fromkeys(("rating", "click"), weights), "temperatures": {"rating": 0.9},
    }
    recommender = Recommender(toy_parts.model, toy_parts.composer, toy_parts.templates, backing=made.combiner.backing, card=card)
    assert recommender.combiner.backing.precedents
    asked = [replace(example.request, id=f"{name} {number}") for name in made.tasks for number, example in enumerate(TASKS_OF[name].held_out(timelines, "test", 0)[: 2 if name in texts else 12])]
    assert {request.task for request in asked} == set(made.tasks) and len(asked) > 60
    first, bad, of = None, 0, 0
    for number in (1, 2):
        threads(number)
        for size in (1, 3, 64):
            recommender.batch_tokens = size * 60 if size > 1 else 1
            random.Random(size).shuffle(asked)
            found = {answer.id: json.dumps(answer.to_json(recommender.titles)) for answer in recommender.predict(asked)}
            first = first or found
            bad += sum(found[id] != answer for id, answer in first.items())
            of += len(found)
    assert not any("error" in json.loads(answer) for answer in first.values())
    counted("Answers with memory, expectations and consensus that depend on batch size, order or threads", bad, of)
    assert bad == 0, f"{bad} of {of}"


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 96), (8, 8), (32, 1), (32, 2), (128, 3), (384, 5), (1024, 24), (2048, 40), (700, 300)])
def test_a_row_of_a_product_is_the_same_alone_and_among_many(threads, inputs, outputs):
    torch.manual_seed(0)
    layer, rows = nn.Linear(inputs, outputs), torch.randn(600, inputs)
    steady(layer)
    assert type(layer) is SteadyLinear
    with torch.no_grad():
        whole = layer(rows)
        torch.testing.assert_close(whole, nn.functional.linear(rows, layer.weight, layer.bias))
        for number in (1, 2):
            threads(number)
            for count in (1, 2, 3, 5, 7, 13, ROWS, 17, 30, 3 * ROWS, 101, 200, 599):
                assert torch.equal(layer(rows[:count]), whole[:count]) and torch.equal(linear(rows[:count].view(1, count, inputs), layer.weight, layer.bias), whole[:count][None]), count


def test_a_few_rows_pass_their_gradient_on():
    torch.manual_seed(0)
    layer, plain = nn.Linear(8, 5), nn.Linear(8, 5)
    plain.load_state_dict(layer.state_dict())
    steady(layer)
    for each in (layer, plain):
        each(torch.ones(2, 8)).sum().backward()
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad)
