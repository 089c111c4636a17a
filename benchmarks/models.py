"""The model and the catalogue that the decoding benchmarks share: 22 million random parameters over semantic codes of depth 4."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llmrec.answers import ITEMS, AnswerSpace, Trie
from llmrec.model import LanguageModel

WORDS = 32_976
"""Tokens of the vocabulary that are words; with 4 levels of 256 codes it holds 34,000."""
LEVELS, CODES = 4, 256


@dataclass(frozen=True)
class Bench:
    """A model, ours and as the peer has it (the same weights in one plain Hugging Face model), and the catalogue's trie."""

    model: LanguageModel
    plain: LlamaForCausalLM
    trie: Trie

    def double(self) -> Bench:
        """A copy that computes in 64 bits, in which two right ways to one score can't be told apart by their roundings."""
        model = deepcopy(self.model).double()
        model.set_spaces({ITEMS: space_of(self.trie)})
        return Bench(model, deepcopy(self.plain).double(), self.trie)

    def prompts(self, batch: int, length: int) -> torch.Tensor:
        """(batch, length) random token ids: words and codes, as histories hold them."""
        generator = torch.Generator().manual_seed(batch * 10_000 + length)
        return torch.randint(3, WORDS + LEVELS * CODES, (batch, length), generator=generator).to(self.model.device)


def catalogue(num_items: int, *, seed: int = 0) -> np.ndarray:
    """(num_items, LEVELS) int64: distinct random codes, each level with tokens of its own behind the words."""
    rng = np.random.default_rng(seed)
    numbers = np.unique(rng.integers(0, CODES**LEVELS, 2 * num_items))
    numbers = rng.permutation(numbers)[:num_items]
    return np.stack([(numbers // CODES**level) % CODES + level * CODES for level in range(LEVELS)], axis=1) + WORDS


def bench(num_items: int = 20_000, *, device: str = "cpu", hidden: int = 384, layers: int = 5, heads: int = 6) -> Bench:
    """The fixed model of the tables: hidden 384, 5 layers, `initializer_range` .2 so that its distributions are far from flat."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS + LEVELS * CODES, hidden_size=hidden, intermediate_size=1024 * hidden // 384, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=2048, initializer_range=0.2, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )
    plain = LlamaForCausalLM(config).eval().requires_grad_(False)
    ours = LlamaForCausalLM(config)
    ours.load_state_dict(plain.state_dict())
    model = LanguageModel(ours, vocabulary_size=WORDS, new_tokens=LEVELS * CODES).eval().requires_grad_(False)
    trie = Trie.build(catalogue(num_items))
    model.to(device)
    plain.to(device)
    model.set_spaces({ITEMS: space_of(trie)})
    return Bench(model, plain, trie)


def space_of(trie: Trie) -> AnswerSpace:
    """The catalogue as an answer space; its items are called by their numbers."""
    return AnswerSpace(ITEMS, tuple(map(str, range(len(trie.order)))), trie)
