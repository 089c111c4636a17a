"""Model folders: an untrained base that recommends by titles, an adapter with and without its merged model, and what is refused."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch

from llmrec.bases import Base
from llmrec.encoders import sentence_vectors, token_embeddings
from llmrec.interactions import Event
from llmrec.predictions import Request
from llmrec.recommender import Recommender, prepare_model, save_recommender


@pytest.fixture
def saved_base(toy_llama, toy_tokenizer, tmp_path):
    folder = tmp_path / "hf base"
    toy_llama.save_pretrained(folder)
    toy_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def saved_corpus(toy_corpus, tmp_path):
    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    return tmp_path / "corpus"


def test_an_untrained_base_recommends_by_titles(saved_base, saved_corpus, tmp_path):
    prepare_model(str(saved_base), saved_corpus, tmp_path / "run")
    shutil.rmtree(saved_base)
    recommender = Recommender.from_pretrained(tmp_path / "run")
    found = recommender.recommend(["i1"], k=11)
    assert len({item.item_id for item in found}) == 11 and {"next_item", "search", "rating"} <= set(recommender.tasks)
    # The two items called Echo are told apart.
    assert {"i6", "i7"} <= {item.item_id for item in recommender.recommend([], k=12)}


def test_a_folder_that_exists_is_not_replaced_unasked(saved_base, saved_corpus, tmp_path):
    prepare_model(str(saved_base), saved_corpus, tmp_path / "run")
    with pytest.raises(FileExistsError, match="run"):
        prepare_model(str(saved_base), saved_corpus, tmp_path / "run")
    prepare_model(str(saved_base), saved_corpus, tmp_path / "run", overwrite=True)


def test_an_adapter_answers_as_its_merged_model_does(toy_parts, toy_tokenizer, saved_base, tmp_path):
    model = toy_parts.model
    model.add_adapter(rank=4, alpha=8, dropout=0.0, targets="all-linear")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    folder = tmp_path / "run"
    folder.mkdir()
    save_recommender(
        folder, model=model.eval(), tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=toy_parts.content,
        card={"base": str(saved_base)}, kind="adapter", base_folder=saved_base,
    )
    assert (folder / "adapter_model.safetensors").stat().st_size < 300_000  # adapters alone, no table
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]
    requests = [Request(history=(Event("i1"), Event("i4")), k=12), Request(task="rating", item_id="i2", history=(Event("i1", 5.0),))]
    merged = Recommender.from_pretrained(folder).predict(requests)
    shutil.rmtree(folder / "merged")
    apart = Recommender.from_pretrained(folder).predict(requests)
    in_memory = Recommender(model, toy_parts.composer, toy_parts.templates).predict(requests)
    for other in (apart, in_memory):
        assert other[0].item_ids == merged[0].item_ids
        np.testing.assert_allclose(other[0].scores, merged[0].scores, atol=1e-4)
        assert other[1].value == pytest.approx(merged[1].value, abs=1e-4)


def test_a_folder_of_another_format_is_refused(saved_base, saved_corpus, tmp_path):
    prepare_model(str(saved_base), saved_corpus, tmp_path / "run")
    about = tmp_path / "run" / "recommender.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
    with pytest.raises(ValueError, match="99"):
        Recommender.from_pretrained(tmp_path / "run")


def test_token_embeddings_are_the_mean_of_the_rows(toy_llama, toy_tokenizer):
    vectors = token_embeddings(Base(toy_llama, toy_tokenizer), ["Night Train", "", "Night Train"])
    ids = toy_tokenizer("Night Train", add_special_tokens=False).input_ids
    mean = toy_llama.get_input_embeddings().weight[ids].mean(0).detach().numpy()
    np.testing.assert_allclose(vectors[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert not vectors[1].any() and (vectors[0] == vectors[2]).all()


def test_a_sentence_encoder_gives_one_vector_a_text_whatever_its_neighbours(tmp_path, toy_tokenizer):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(toy_tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)).save_pretrained(tmp_path)
    tokenizer = copy.deepcopy(toy_tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    texts = ["Night Train", "The Silver Lake, a quiet and long story", "Ten"]
    together, alone = sentence_vectors(str(tmp_path), texts), np.concatenate([sentence_vectors(str(tmp_path), [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
