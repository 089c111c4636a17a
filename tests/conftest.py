"""Fixtures every test file may use: small corpora and models made in memory, and the folder of real data."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported: see llmrec/__init__.py
os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets: LLMREC_DATA, else ../shared/data. Tests that need it are skipped, with its path, where it is missing."""
    folder = Path(os.environ.get("LLMREC_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: set LLMREC_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny models are slower, not faster, on several threads; and sums keep their order."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def counted(request):
    """counted(name, bad, of): a figure of docs/reliability.md, `bad` of `of` where the goal is 0. See tests/reliability.py."""
    return lambda name, bad, of: request.node.user_properties.append(("counted", (name, int(bad), int(of))))


TITLES = ["Night Train", "The Silver Lake", "Harvest", "Blue Kitchen", "Long Road Home", "夏天的海", "Echo", "Echo", "Paper Moon", "Winter Law", "Small Gods", "Ten"]


@pytest.fixture(scope="session")
def toy_corpus():
    """12 items, 24 users; users of even number choose even items in turn, users of odd number odd ones: what comes next is certain."""
    import polars as pl

    from llmrec.interactions import Catalog, Corpus, Interactions

    rows = []
    for user in range(24):
        mine = [i for i in range(12) if i % 2 == user % 2]
        start = user // 2 % len(mine)
        for n in range(8):
            item = mine[(start + n) % len(mine)]
            part = "test" if n == 7 else "valid" if n == 6 else "train"
            rows.append((f"u{user}", f"i{item}", n, "rating", part, float(1_000_000 + 100_000 * n), float(1 + (item + user) % 5), f"The {TITLES[item]} is good, quiet and short.", f"Liked {TITLES[item]}", "evening" if n % 2 else "morning"))
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part", "timestamp", "rating", "review", "summary", "hour"], orient="row")
    items = pl.DataFrame({
        "item_id": [f"i{i}" for i in range(12)], "title": TITLES,
        "genres": [["Drama"] if i % 2 == 0 else ["Comedy", "Short"] for i in range(12)], "year": [[str(1990 + i % 3)] for i in range(12)],
    })
    log = Interactions(frame.sort("user_id", "position"), ordering="timestamp", context=("hour",))
    return Corpus("toy", log, Catalog(items), rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0), like_threshold=4.0, split={"rule": "leave_one_out", "temporal": True})


@pytest.fixture(scope="session")
def toy_tokenizer():
    """A real SentencePiece tokenizer trained on the toy titles."""
    from llmrec.bases import train_tokenizer

    return train_tokenizer([*TITLES, "The user chose, in order:", "How many stars? yes no 是 否 1 2 3 4 5", "为什么推荐这个？"] * 4, 420)


@pytest.fixture
def toy_llama(toy_tokenizer):
    """A Llama of 2 layers and 32 units with large random weights: with the usual small ones every answer would be as likely as any other."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=len(toy_tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=512, initializer_range=0.2, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )).eval()


@pytest.fixture
def toy_vocabulary(toy_tokenizer):
    from tokenizers import Tokenizer

    from llmrec.vocabulary import Vocabulary

    return Vocabulary(Tokenizer.from_str(toy_tokenizer.backend_tokenizer.to_str()), size=len(toy_tokenizer), start=1, end=2)


@pytest.fixture(params=["atomic", "semantic", "title"])
def toy_parts(request, toy_corpus, toy_llama, toy_vocabulary):
    """Model, composer, mixture and objective of all tasks on the toy corpus, for each index."""
    return make_parts(request.param, toy_corpus, toy_llama, toy_vocabulary)


@pytest.fixture
def parts_of(toy_llama, toy_vocabulary):
    """The same for another corpus, and for the tasks named with a share: parts_of("atomic", corpus, next_item=1.0)."""
    return lambda scheme, corpus, **shares: make_parts(scheme, corpus, toy_llama, toy_vocabulary, **shares)


def make_parts(scheme, corpus, lm, vocabulary, **shares):
    from types import SimpleNamespace

    import torch

    from llmrec.assets import folder_of
    from llmrec.composer import Composer
    from llmrec.content import content_vectors
    from llmrec.indexing import Material, build_index
    from llmrec.mixture import Mixture
    from llmrec.model import LanguageModel
    from llmrec.objective import Objective
    from llmrec.recommender import load_task_templates
    from llmrec.tasks import TASKS
    from llmrec.timelines import Timelines

    content = content_vectors(corpus, size=8)
    index = build_index(scheme, Material(corpus.catalog.titles, content.vectors, vocabulary, 0))
    torch.manual_seed(5)
    model = LanguageModel(lm, vocabulary_size=vocabulary.size, new_tokens=index.new_tokens, content=index.vectors)
    composer = Composer(vocabulary, corpus.catalog, index.space(corpus.catalog.item_ids, vocabulary.size), rating_scale=corpus.rating_scale, max_prompt_tokens=300)
    model.set_spaces(composer.spaces)
    timelines = Timelines.of(corpus)
    shares = shares or {name: 1.0 for name, task in TASKS.items() if task.reason_absent(corpus) is None}
    templates = {name: load_task_templates(folder_of("prompts"), name) for name in shares}
    bound = {name: TASKS[name].bind(timelines, seed=0) for name in shares}
    mixture = Mixture(bound, templates, composer, shares, batch_tokens=2000, row_tokens=400, languages=["en", "zh"], seed=0)
    objective = Objective(model, spaces=mixture.spaces, num_tasks=len(mixture.names))
    return SimpleNamespace(model=model, composer=composer, mixture=mixture, objective=objective, templates=templates, index=index, timelines=timelines, content=content)


@pytest.fixture
def adding():
    """A model whose reasons are known: a rating is the sum of what each item of the history weighs (i0 3, i1 -2, i2 1, i3 0, i4 .5), a yes has it as log-odds, and of items "best" has it as score."""
    import math
    from types import SimpleNamespace

    from llmrec.predictions import Prediction

    weights = {"i0": 3.0, "i1": -2.0, "i2": 1.0, "i3": 0.0, "i4": 0.5}

    def answer(request):
        total = sum(weights[event.item_id] for event in request.history)
        if request.task == "rating":
            return Prediction(value=total)
        if request.task == "click":
            return Prediction(probability=1 / (1 + math.exp(-total)))
        return Prediction(item_ids=list(request.candidates or ("best", "second")), scores=[total])

    return SimpleNamespace(predict=lambda requests: [answer(request) for request in requests])
