"""Every generated position is an item of the catalogue that the request allows, and no item stands twice: counted over 100,000 positions for each index."""

import os

import numpy as np
import pytest
import torch

from llmrec.answers import ITEMS
from llmrec.composer import Composer
from llmrec.indexing import INDEXES, Material, build_index
from llmrec.interactions import Catalog, Event
from llmrec.model import LanguageModel
from llmrec.predictions import Request
from llmrec.recommender import Recommender, load_task_templates
from llmrec.assets import folder_of

POSITIONS = int(os.environ.get("LLMREC_POSITIONS", "100000"))
WORDS = ["Night", "Train", "Lake", "Echo", "Moon", "夏天", "Winter", "Road", "of", "the"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", INDEXES)
def test_no_position_is_invalid_repeated_or_left_out(scheme, toy_llama, toy_vocabulary, counted):
    import polars as pl

    rng = np.random.default_rng(7)
    titles = [" ".join(rng.choice(WORDS, int(rng.integers(1, 4)))) for _ in range(400)]  # many share a title, or begin another's
    catalog = Catalog(pl.DataFrame({"item_id": [f"i{n}" for n in range(400)], "title": titles, "half": [[str(n % 2)] for n in range(400)]}))
    vectors = rng.normal(size=(400, 8)).astype(np.float32)
    index = build_index(scheme, Material(titles, vectors, toy_vocabulary, 0))
    torch.manual_seed(1)
    model = LanguageModel(toy_llama, vocabulary_size=toy_vocabulary.size, new_tokens=index.new_tokens, content=index.vectors).eval()
    composer = Composer(toy_vocabulary, catalog, index.space(catalog.item_ids, toy_vocabulary.size), max_prompt_tokens=48)
    model.set_spaces(composer.spaces)
    templates = {task: load_task_templates(folder_of("prompts"), task) for task in ("next_item", "search")}
    recommender = Recommender(model, composer, templates)
    assert len(composer.spaces[ITEMS]) == 400

    seen = invalid = repeated = 0
    while seen < POSITIONS:
        requests = []
        for number in range(500):
            drawn = [f"i{n}" for n in rng.integers(0, 400, int(rng.integers(0, 6)))]
            requests.append(Request(
                id=str(number), history=tuple(map(Event, drawn)), k=int(rng.integers(1, 60)), task=("next_item", "search")[number % 2], query="a quiet train" if number % 2 else None,
                exclude=tuple(f"i{n}" for n in rng.integers(0, 400, 20)), where={"half": "1"} if number % 5 == 0 else None, exclude_seen=bool(number % 3),
            ))
        for request, found in zip(requests, recommender.predict(requests, beams=8)):
            allowed = set(catalog.item_ids) - set(request.exclude) - ({e.item_id for e in request.history} if request.exclude_seen else set())
            allowed -= {f"i{n}" for n in range(0, 400, 2)} if request.where else set()
            assert len(found.item_ids) == request.k and np.isfinite(found.scores).all()
            seen += len(found.item_ids)
            invalid += sum(item_id not in allowed for item_id in found.item_ids)
            repeated += len(found.item_ids) - len(set(found.item_ids))
    counted(f"Items ({scheme} codes) that are invalid, excluded or repeated", invalid + repeated, seen)
    assert (invalid, repeated) == (0, 0), f"{invalid} invalid and {repeated} repeated of {seen} positions"
