"""Base models: loading any Hugging Face causal LM safely, and creating the built-in small one with its tokenizer.

Separate from `model`, which adds item rows, adapters and heads to whatever base it is given.
"""

from __future__ import annotations

import io
import json
import locale
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import sentencepiece
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from llmrec.inspection import inspect_files

transformers_logging.disable_progress_bar()


class Base(NamedTuple):
    """A causal LM in float32 on the CPU, and its tokenizer (a fast one: it writes tokenizer.json)."""

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_base(name: str) -> Base:
    """A causal LM and its tokenizer by what `pretrained` takes. Raises as load_lm, and ValueError for a tokenizer that can't be used."""
    tokenizer = pretrained(AutoTokenizer, name)
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"the tokenizer of {name} is a {type(tokenizer).__name__} without tokenizer.json; a fast tokenizer is needed")
    return Base(load_lm(name), tokenizer)


def pretrained(kind: type, name: str, **options: object) -> object:
    """A tokenizer or a model of a transformers auto class: from a local folder, or from a hub by ORG/NAME@COMMIT. No code that comes with it is run, and no name that may hold something else tomorrow is fetched.

    Raises FileNotFoundError for a name that is neither.
    """
    if Path(name).is_dir():
        inspect_files(path for path in Path(name).iterdir() if path.suffix != ".safetensors")  # of those it is known below which are loaded
        with _decimal_points():
            return kind.from_pretrained(name, trust_remote_code=False, **options)
    found = re.fullmatch(r"([\w.-]+(?:/[\w.-]+)?)@([0-9a-f]{40})", name)
    if found is None:
        raise FileNotFoundError(f"{name!r} is no folder; expected one, or what a hub has at one commit: ORG/NAME@COMMIT, with its 40 hexadecimal digits")
    with _decimal_points():
        return kind.from_pretrained(found[1], revision=found[2], trust_remote_code=False, **options)


@contextmanager
def _decimal_points() -> Iterator[None]:
    """In a program that has taken over a locale of decimal commas, protobuf finds no number in the 0.9995 of a SentencePiece model."""
    before = locale.setlocale(locale.LC_NUMERIC)
    locale.setlocale(locale.LC_NUMERIC, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


def load_lm(name: str) -> PreTrainedModel:
    """A causal LM by what `pretrained` takes: safetensors only, no remote code, float32. Raises OSError where there is none, ValueError where its weights are damaged, not those of its config, or not finite."""
    try:
        if Path(name).is_dir():
            check_weights(Path(name))
        lm, found = pretrained(AutoModelForCausalLM, name, use_safetensors=True, dtype=torch.float32, output_loading_info=True)
    except (SafetensorError, RuntimeError, RecursionError, AttributeError, TypeError) as error:
        raise ValueError(f"the weights of {name} cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]}") from None
    if found["missing_keys"]:
        raise ValueError(f"{name} lacks weights that its config needs, such as {sorted(found['missing_keys'])[0]}: it is damaged, or made for another kind of model")
    check_numbers(lm, name)
    # A base model's own sampling settings must not reach constrained search.
    lm.generation_config = type(lm.generation_config)()
    return lm


def check_numbers(lm: nn.Module, name: str) -> None:
    """Raises ValueError where the weights of a model are not all finite. name: where it comes from."""
    odd = next((key for key, tensor in lm.named_parameters() if not bool(torch.isfinite(tensor).all())), None)
    if odd is not None:
        raise ValueError(f"{name} holds weights that are not finite, such as {odd}: it is damaged")


def check_weights(folder: Path) -> None:
    """Looks at what a local folder would load before anything is loaded: weights are regular files of the folder itself, and the sizes its config names are those of its tensors.

    Raises OSError where a file is missing or none, ValueError for anything else that does not fit: an index of shards may name any path, a link may lead to what has no end, and a config may ask for more memory than there is.
    """
    listing = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if listing.is_file() and not (folder / "model.safetensors").exists():
        names = set(json.loads(listing.read_text(encoding="utf-8"))["weight_map"].values())
    for name in sorted(names):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{listing} names {name!r}; expected .safetensors files of the folder itself")
        if not (folder / name).is_file():
            raise OSError(f"{folder / name} is missing or no file; expected weights in safetensors")
    inspect_files(folder / name for name in names)
    shapes = []
    for name in names:
        with safe_open(folder / name, "pt") as file:
            shapes += [file.get_slice(key).get_shape() for key in file.keys()]
    config = pretrained(AutoConfig, str(folder)).get_text_config()
    sizes = {size for shape in shapes for size in shape}
    for key in ("hidden_size", "vocab_size"):
        if (wanted := getattr(config, key, None)) is not None and wanted not in sizes:
            raise ValueError(f"config.json of {folder} says {key}={wanted}, and none of its tensors has that size: they do not belong together")
    if (layers := getattr(config, "num_hidden_layers", 0)) > len(shapes):
        raise ValueError(f"config.json of {folder} says num_hidden_layers={layers}, and its weights are {len(shapes)} tensors: they do not belong together")


def start_and_end(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """The ids of the token a prompt begins with and of the one that closes an answer. Families without a begin token (GPT-2, Qwen) begin with their end token."""
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.pad_token_id
    if end is None:
        raise ValueError("the tokenizer has neither an end-of-text nor a padding token; one is needed to close written answers")
    return (tokenizer.bos_token_id if tokenizer.bos_token_id is not None else end), end


def create_base(texts: Iterable[str], *, vocabulary: int, width: int, layers: int, heads: int, mlp_width: int, max_positions: int, rope_theta: float = 1e4, attention_dropout: float = 0.0, seed: int = 0) -> Base:
    """The built-in base: a small Llama, initialised at random (std .02), with a SentencePiece tokenizer trained on `texts`."""
    tokenizer = train_tokenizer(texts, vocabulary)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=mlp_width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=max_positions, rope_parameters={"rope_type": "default", "rope_theta": rope_theta}, tie_word_embeddings=True, attention_dropout=attention_dropout,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    )
    return Base(LlamaForCausalLM(config), tokenizer)


_SENTENCE = 15_000
"""Characters of a sentence: what is longer than max_sentence_length bytes is left out by SentencePiece without a word, and above 65,535 it fails."""


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A byte-fallback BPE SentencePiece model of at most `vocabulary` pieces, as a fast tokenizer. A small text that can't fill the vocabulary gets the largest it can."""
    lines = (text.replace("\n", " ").strip() for text in texts)
    sentences = [line[start : start + _SENTENCE] for line in lines for start in range(0, len(line), _SENTENCE)] or ["."]
    model = io.BytesIO()
    settings = dict(
        model_type="bpe", byte_fallback=True, character_coverage=0.9995, add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name="identity",
        split_digits=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1, max_sentence_length=4 * _SENTENCE, input_sentence_size=1_000_000, shuffle_input_sentence=False, minloglevel=2,
        required_chars="\u2581",  # the space, which a text without one would leave to three bytes that no decoder turns back
    )
    for _ in range(3):
        try:
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(sentences), model_writer=model, vocab_size=vocabulary, **settings)
            break
        except RuntimeError as error:  # "Vocabulary size too high (N). Please set it to a value <= M", or too small for the characters
            bounds = re.search(r"<= (\d+)", str(error)) or re.search(r"smaller than required_chars\.? ?(?:\d+ vs )?(\d+)", str(error))
            if not bounds:
                raise
            vocabulary = int(bounds.group(1)) + (0 if "<=" in str(error) else 64)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes(model.getvalue())
        about = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": False, "legacy": False, "add_prefix_space": False}
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(about))
        return pretrained(AutoTokenizer, folder)


def decoder_of(lm: PreTrainedModel) -> nn.Module:
    """The part of a causal LM below its head: embeddings in, last hidden states (after the final norm) out."""
    return getattr(lm, lm.base_model_prefix)


def decoder_layers(lm: PreTrainedModel) -> nn.ModuleList:
    """The stack of decoder layers, whatever the family calls it. Raises ValueError where there is none of the right length."""
    for module in decoder_of(lm).modules():
        if isinstance(module, nn.ModuleList) and len(module) == lm.config.num_hidden_layers:
            return module
    raise ValueError(f"no stack of {lm.config.num_hidden_layers} decoder layers in {type(lm).__name__}; this family is not supported")


_BRANCHES = ("self_attn", "attn", "attention", "mlp")


def dropout(values: Tensor, probability: float) -> Tensor:
    """Zeroes each value with this probability and scales up the others. On a CPU a byte decides over each value (so the probability is rounded to 1/256), several times faster than torch's own draws."""
    if values.device.type != "cpu":
        return nn.functional.dropout(values, probability)
    zeroed = min(round(256 * probability), 255)
    drawn = torch.empty((values.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)[: values.numel()].view(values.shape)
    return values * ((drawn >= zeroed).to(values.dtype) * (256 / (256 - zeroed)))


def add_residual_dropout(lm: PreTrainedModel, probability: float) -> list[torch.utils.hooks.RemovableHandle]:
    """Dropout on what each attention and each MLP adds to the residual stream, by hooks: the saved model stays plain. Works for any family whose layers name them as the common ones do."""
    if not probability:
        return []

    def drop(module: nn.Module, inputs: object, output: object) -> object:
        if not module.training:
            return output
        first, *rest = output if isinstance(output, tuple) else (output,)
        first = dropout(first, probability)
        return (first, *rest) if isinstance(output, tuple) else first

    found = [child for layer in decoder_layers(lm) for name, child in layer.named_children() if name in _BRANCHES]
    if not found:
        raise ValueError(f"residual dropout finds no attention or MLP in the layers of {type(lm).__name__}; set model.residual_dropout=0")
    return [child.register_forward_hook(drop) for child in found]
