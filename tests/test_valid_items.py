"""Every generated position is an item of the catalogue that the request allows, and no item stands twice: counted over 100,000 positions for each index, and over catalogues of one item to 5,000."""

import os

import numpy as np
import polars as pl
import pytest
import torch

from llmrec.answers import ITEMS
from llmrec.assets import folder_of
from llmrec.composer import Composer
from llmrec.indexing import INDEXES, Material, build_index
from llmrec.interactions import Catalog, Event
from llmrec.model import LanguageModel
from llmrec.predictions import Request
from llmrec.recommender import Recommender, load_task_templates

POSITIONS = int(os.environ.get("LLMREC_POSITIONS", "100000"))
CATALOGUES = 50 if POSITIONS > 100_000 else 5
"""How many besides the one of 400 items."""
WORDS = ["Night", "Train", "Lake", "Echo", "Moon", "夏天", "Winter", "Road", "of", "the"]


def recommender_of(scheme, size, lm, vocabulary, rng):
    titles = [" ".join(rng.choice(WORDS, int(rng.integers(1, 4)))) for _ in range(size)]  # many share a title, or begin another's
    catalog = Catalog(pl.DataFrame({"item_id": [f"i{n}" for n in range(size)], "title": titles, "half": [[str(n % 2)] for n in range(size)]}))
    index = build_index(scheme, Material(titles, rng.normal(size=(size, 8)).astype(np.float32), vocabulary, 0))
    torch.manual_seed(1)
    model = LanguageModel(lm, vocabulary_size=vocabulary.size, new_tokens=index.new_tokens, content=index.vectors).eval()
    composer = Composer(vocabulary, catalog, index.space(catalog.item_ids, vocabulary.size), max_prompt_tokens=48)
    model.set_spaces(composer.spaces)
    assert len(composer.spaces[ITEMS]) == size
    return Recommender(model, composer, {task: load_task_templates(folder_of("prompts"), task) for task in ("next_item", "search")})


def asked(count, size, rng, most):
    for number in range(count):
        yield Request(
            id=str(number), history=tuple(Event(f"i{n}") for n in rng.integers(0, size, int(rng.integers(0, 6)))), k=int(rng.integers(1, most)), task=("next_item", "search")[number % 2],
            query="a quiet train" if number % 2 else None, exclude=tuple(f"i{n}" for n in rng.integers(0, size, min(20, size // 2))), where={"half": "1"} if number % 5 == 0 else None, exclude_seen=bool(number % 3),
        )


def wrong(request, found, size):
    """How many places of an answer hold what they should not, or are missing."""
    offered = {f"i{n}" for n in range(size) if not (request.where and n % 2 == 0)} - set(request.exclude)
    seen = {event.item_id for event in request.history} if request.exclude_seen else set()
    if len(seen) == size:  # who has had everything is offered some of it again: the older half at least
        seen = {event.item_id for event in request.history[-(size // 2) :]} if size > 1 else set()
        allowed, least = offered, len(offered - seen)
    else:
        allowed = offered - seen
        least = len(allowed)
    assert min(request.k, least) <= len(found.item_ids) <= min(request.k, len(allowed)) and np.isfinite(found.scores).all() and found.truncated == (request.k > len(found.item_ids))
    return sum(item_id not in allowed for item_id in found.item_ids) + len(found.item_ids) - len(set(found.item_ids))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", INDEXES)
def test_no_position_is_invalid_repeated_or_left_out(scheme, toy_llama, toy_vocabulary, counted):
    rng = np.random.default_rng(7)
    recommender, bad, seen = recommender_of(scheme, 400, toy_llama, toy_vocabulary, rng), 0, 0
    while seen < POSITIONS:
        requests = list(asked(500, 400, rng, most=60))
        for request, found in zip(requests, recommender.predict(requests, beams=8)):
            bad, seen = bad + wrong(request, found, 400), seen + len(found.item_ids)
    counted(f"Items ({scheme} codes) that are invalid, excluded or repeated", bad, seen)
    assert not bad, f"{bad} of {seen} positions"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", INDEXES)
def test_in_catalogues_of_any_size_as_many_are_answered_as_there_are(scheme, toy_llama, toy_vocabulary, counted):
    rng = np.random.default_rng(8)
    bad = seen = 0
    for size in [1, 5_000, *np.exp(rng.uniform(0, np.log(5_000), CATALOGUES - 2)).astype(int).tolist()]:
        recommender, requests = recommender_of(scheme, size, toy_llama, toy_vocabulary, rng), list(asked(60, size, rng, most=101))
        for request, found in zip(requests, recommender.predict(requests, beams=8)):
            bad, seen = bad + wrong(request, found, size), seen + len(found.item_ids)
    counted(f"Items ({scheme} codes) of catalogues of 1 to 5,000 items that are invalid, excluded or repeated", bad, seen)
    assert not bad, f"{bad} of {seen} positions"
