"""Tokenizers from any text that read back what they wrote, bases of any family that begin and end a prompt, and none that brings code or a pickle."""

import json
import re

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import llmrec.bases
from llmrec.bases import Base, add_residual_dropout, create_base, decoder_layers, dropout, load_base, load_lm, pretrained, start_and_end, train_tokenizer

HARD = ["The Silver Lake", "夏天的海，下雨了。", "naïve café – 100 %", "😀👍🏽 ok", "  two  spaces ", "\ttab", "ÀÉÎ 한국어 ภาษา", "a" * 300, "007 3.14", "<s> </s> <unk>"]
ENGLISH = ["What comes next in this list of films?", "The user liked Night Train and Paper Moon, but not Harvest."] * 20
CHINESE = ["这位用户依次选择了以下商品：", "为什么推荐这个？因为他喜欢安静的电影。"] * 20
RARE = "".join(chr(0x4E00 + n) for n in range(3000))
"""3,000 characters, each once."""


def written(tokenizer, text):
    return tokenizer.decode(tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)


# --- the tokenizer that is trained for a corpus ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "wanted", "size"),
    [
        ([], 4000, 261),  # 3 control tokens, 256 bytes, the space and the stop that stands for no text
        (["", "\n", "  "], 300, 261),
        (["a"], 4000, 261),
        (["ab"], 300, 263),  # a, b, the space and their pair
        (ENGLISH, 320, 320),
        (ENGLISH + CHINESE, 400, 400),
        ([RARE], 3100, None),  # more characters than pieces
        ([RARE], 300, None),
        ([RARE * 30], 4000, 4000),  # one line of 90,000 characters
        (["word"] * 5 + ["number one two three four five " * 3000], 330, None),
    ],
    ids=["none", "blank", "one", "two", "english", "both", "rare", "rarer", "long", "longer"],
)
def test_any_text_gives_a_tokenizer_that_reads_back_what_it_wrote(texts, wanted, size):
    tokenizer = train_tokenizer(texts, wanted)
    assert tokenizer.is_fast and (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)
    assert len(tokenizer) == size or size is None
    for text in HARD[:-1]:
        assert written(tokenizer, text) == text
        assert 0 not in tokenizer(text, add_special_tokens=False).input_ids  # what no piece covers is bytes, never unknown


def test_text_joins_where_it_was_cut():
    """Prompt and answer are encoded apart: neither begins with a space of the tokenizer's own."""
    tokenizer = train_tokenizer(ENGLISH, 330)
    ids = [i for part in ("Night", " Train", "!") for i in tokenizer(part, add_special_tokens=False).input_ids]
    assert tokenizer.decode(ids) == "Night Train!"


def test_digits_stand_alone():
    tokenizer = train_tokenizer(["1990 1990 1990"] * 50, 300)
    assert len(tokenizer("1990", add_special_tokens=False).input_ids) == 4


def test_every_sentence_is_learnt_from_however_long():
    """SentencePiece leaves long lines out without a word; a review of 6,000 characters is one."""
    long = "extraordinarily " * 400
    assert train_tokenizer([long, "a b"], 400).tokenize("extraordinarily") == ["extraordinarily"]


def test_the_same_text_gives_the_same_tokenizer():
    one, two = (train_tokenizer(ENGLISH + CHINESE, 400).backend_tokenizer.to_str() for _ in range(2))
    assert one == two


def test_line_breaks_are_no_pieces_of_text_but_can_be_written():
    tokenizer = train_tokenizer(["one\ntwo\nthree"] * 20, 300)
    assert written(tokenizer, "one\ntwo") == "one\ntwo"


# --- the built-in base -------------------------------------------------------------------------------------------------------------


def made(**changes):
    settings = {"vocabulary": 330, "width": 16, "layers": 2, "heads": 2, "mlp_width": 32, "max_positions": 64, **changes}
    return create_base(ENGLISH, **settings)


def test_the_built_in_base_is_a_small_llama_of_its_text():
    base = made()
    assert isinstance(base.lm, LlamaForCausalLM) and base.lm.config.vocab_size == len(base.tokenizer) == 330
    assert base.lm.get_output_embeddings().weight is base.lm.get_input_embeddings().weight
    assert (base.lm.config.bos_token_id, base.lm.config.eos_token_id, base.lm.config.max_position_embeddings) == (1, 2, 64)
    assert float(base.lm.get_input_embeddings().weight.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_its_weights_follow_from_the_seed():
    weights = [made(seed=seed).lm.get_input_embeddings().weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


# --- bases that are given ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    base = made()
    base.lm.generation_config.update(do_sample=True, temperature=0.6, top_p=0.9)
    base.lm.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_a_folder_is_loaded_as_it_was_saved_but_for_its_sampling(folder):
    base = load_base(str(folder))
    assert isinstance(base, Base) and base.tokenizer.is_fast and base.lm.dtype == torch.float32
    for name, tensor in made().lm.state_dict().items():
        assert torch.equal(base.lm.state_dict()[name], tensor)
    assert base.lm.generation_config.temperature in (None, 1.0) and not base.lm.generation_config.do_sample
    assert [written(base.tokenizer, text) for text in HARD[:-1]] == HARD[:-1]


def test_weights_in_a_pickle_are_not_read(folder):
    torch.save(made().lm.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="model.safetensors"):
        load_lm(str(folder))


def test_code_that_comes_with_a_model_is_not_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="mine", auto_map={"AutoConfig": "evil.MyConfig", "AutoModelForCausalLM": "evil.MyModel"}, architectures=["MyModel"])
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises((ValueError, OSError)):
        load_lm(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_without_its_fast_form_is_refused(folder, monkeypatch):
    class Slow:
        is_fast = False

    monkeypatch.setattr(llmrec.bases.AutoTokenizer, "from_pretrained", lambda *arguments, **keywords: Slow())
    with pytest.raises(ValueError, match="is a Slow without tokenizer.json; a fast tokenizer is needed"):
        load_base(str(folder))


@pytest.mark.parametrize("name", ["gone", "org/model", "org/model@main", "org/model@v1.0", f"org/model@{'a' * 39}", f"../model@{'a' * 40}/..", f"https://somewhere/model@{'a' * 40}"])
def test_a_base_that_is_not_there_or_may_be_another_tomorrow_is_refused(name):
    with pytest.raises(FileNotFoundError, match=f"{re.escape(name)}.*ORG/NAME@COMMIT"):
        load_base(name)


def test_a_base_of_a_hub_is_fetched_at_its_commit_and_brings_no_code():
    class Kind:
        @staticmethod
        def from_pretrained(name, **options):
            return name, options

    assert pretrained(Kind, f"org/model@{'0a' * 20}", use_safetensors=True) == ("org/model", {"revision": "0a" * 20, "trust_remote_code": False, "use_safetensors": True})


# --- where a prompt begins and an answer ends --------------------------------------------------------------------------------------


def words(**special):
    return PreTrainedTokenizerFast(tokenizer_object=word_level(*special.values()), **special)


def word_level(*special):
    tokenizer = Tokenizer(models.WordLevel({name: n for n, name in enumerate(dict.fromkeys(["a", "b", *special]))}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        ({"bos_token": "<s>", "eos_token": "</s>"}, (2, 3)),  # Llama
        ({"eos_token": "<|endoftext|>"}, (2, 2)),  # Qwen: no begin token
        ({"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}, (2, 2)),  # GPT-2: one token for both
        ({"pad_token": "<pad>"}, (2, 2)),
        ({"bos_token": "<s>", "pad_token": "<pad>"}, (2, 3)),
    ],
)
def test_a_family_without_a_begin_token_begins_with_its_end(special, expected):
    assert start_and_end(words(**special)) == expected


def test_a_tokenizer_that_can_close_no_answer_is_refused():
    with pytest.raises(ValueError, match="neither an end-of-text nor a padding token"):
        start_and_end(words(bos_token="<s>"))


# --- inside a base -----------------------------------------------------------------------------------------------------------------


def gpt2(layers=3):
    return GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=layers, n_head=2, n_positions=32))


def llama(layers=2):
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=layers, num_attention_heads=2, max_position_embeddings=32))


@pytest.mark.parametrize(("lm", "layers"), [(gpt2(3), 3), (llama(2), 2), (llama(1), 1)])
def test_the_stack_of_layers_is_found_by_its_length(lm, layers):
    found = decoder_layers(lm)
    assert len(found) == layers and all(hasattr(layer, "mlp") for layer in found)


@pytest.mark.parametrize("lm", [gpt2(), llama()])
def test_residual_dropout_leaves_the_saved_model_plain(lm):
    names, tokens = list(lm.state_dict()), torch.arange(6)[None]
    lm.eval()
    plain = lm(tokens).logits
    handles = add_residual_dropout(lm, 0.5)
    assert len(handles) == 2 * lm.config.num_hidden_layers and list(lm.state_dict()) == names
    assert torch.equal(lm(tokens).logits, plain)
    lm.train()
    for layer in (module for module in lm.modules() if isinstance(module, torch.nn.Dropout)):
        layer.p = 0.0
    torch.manual_seed(0)
    assert not torch.equal(lm(tokens).logits, plain)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(lm(tokens).logits, plain)
    assert add_residual_dropout(lm, 0.0) == []


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_zeroes_its_share_and_keeps_the_mean(probability):
    torch.manual_seed(0)
    values = torch.full((300, 301), 2.0, requires_grad=True)
    dropped = dropout(values, probability)
    kept = dropped != 0
    assert float(kept.float().mean()) == pytest.approx(1 - probability, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(2.0, abs=0.04) and len(dropped[kept].unique()) == 1
    dropped.sum().backward()
    assert torch.equal(values.grad != 0, kept)
    torch.manual_seed(0)
    assert torch.equal(dropout(values, probability), dropped)
    assert float((dropped[0] != dropped[1]).float().mean()) > 0.05  # drawn for each value, not for a row
