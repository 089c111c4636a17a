"""Reading: a batch of prompts of one length, read once, and tokens grown behind them under a tree mask.

Beams, candidates and the nodes of an exact search all stand in the sequence dimension behind one copy of the prompt's cache:
each sees the prompt, its ancestors and itself. B prompts, P prompt tokens, C grown tokens.
Source: tree attention as in SpecInfer (Miao et al. 2023, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from llmrec.model import LanguageModel


SHARED_TOKENS = 32
"""Tokens from which on a beginning that prompts share is read apart: it costs a read of its own."""


@dataclass
class Reading:
    """Prompts that have been read. last: (B, H), the hidden state behind each prompt.   cache: its keys and values, and those of what was grown."""

    model: LanguageModel
    last: Tensor
    cache: DynamicCache
    prompt_tokens: int

    @classmethod
    def of(cls, model: LanguageModel, prompts: Sequence[Sequence[int]], *, lead: int = 0) -> Reading:
        """Reads prompts of one length. lead: how many tokens all begin with, an instruction: read once, and apart whatever number of prompts there is, so that each is read as it would be alone. Raises FloatingPointError where a hidden state is not finite."""
        tokens = torch.tensor(prompts, dtype=torch.long, device=model.device)
        size, length = tokens.shape
        cache = DynamicCache(config=model.base.config)
        lead = min(lead, length - 1)
        if lead < SHARED_TOKENS:
            lead = 0
        if lead:
            _causal(model, tokens[:1, :lead], cache)
            cache.batch_repeat_interleave(size)
        return cls(model, finite(_causal(model, tokens[:, lead:], cache)[:, -1]), cache, length)

    @classmethod
    def fans(cls, model: LanguageModel, trunks: Sequence[Sequence[int]], tails: Sequence[Sequence[Sequence[int]]], *, lead: int = 0, room: int = 0) -> Reading:
        """Reads trunks of one length once, and behind each its tails: as many prompts as there are tails, those of the first trunk first. Nothing can grow behind them: for answers of one token. room: to how many tokens the tails of a trunk are padded at least."""
        reading = cls.of(model, trunks, lead=lead)
        size, length = len(trunks), max(room, *(sum(map(len, own)) for own in tails))
        tokens = np.zeros((size, length), dtype=np.int64)
        depth = np.zeros((size, length), dtype=np.int64)
        tail = np.full((size, length), -1, dtype=np.int64)  # padding sees itself
        ends = []
        for row, own in enumerate(tails):
            sizes = np.array([len(each) for each in own])
            stop = int(sizes.sum())
            tokens[row, :stop] = np.concatenate(own)
            tail[row, :stop] = np.repeat(np.arange(len(own)), sizes)
            depth[row, :stop] = np.arange(stop) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            ends.append(row * length + np.cumsum(sizes) - 1)
        put = lambda array: torch.as_tensor(array, device=model.device)  # noqa: E731
        tail, place = put(tail), torch.arange(length, device=model.device)
        sees = (tail[:, :, None] == tail[:, None]) & (tail[:, :, None] >= 0) & (place[:, None] >= place) | (place[:, None] == place)
        hidden = reading.grow(put(tokens), put(depth), sees)
        return cls(model, hidden.flatten(0, 1)[put(np.concatenate(ends))], reading.cache, reading.prompt_tokens)

    def grow(self, tokens_BC: Tensor, depth_C: Tensor, sees_CK: Tensor) -> Tensor:
        """Hidden states (B, C, H) of tokens grown behind the prompts. depth: (C,) or (B, C), how many tokens stand between each and its prompt. sees: (C, grown so far + C) or (B, C, ...) bool, which grown tokens each sees; all see the prompt."""
        size, count = tokens_BC.shape
        sees = sees_CK if sees_CK.dim() == 3 else sees_CK.expand(size, *sees_CK.shape)
        prompt = torch.ones(size, count, self.prompt_tokens, dtype=torch.bool, device=tokens_BC.device)
        positions = (self.prompt_tokens + depth_C).expand(size, count)
        return finite(self.model.hidden(tokens_BC, positions, torch.cat([prompt, sees], dim=2), cache=self.cache))

    def rewind(self) -> None:
        """Forgets what was grown; the prompts stay read."""
        grown = self.cache.get_seq_length() - self.prompt_tokens
        if grown:
            self.cache.crop(-grown)


def _causal(model: LanguageModel, tokens: Tensor, cache: DynamicCache) -> Tensor:
    """Hidden states (B, T, H) of tokens behind what the cache holds, each seeing all before it and itself."""
    size, length = tokens.shape
    before = cache.get_seq_length()
    positions = torch.arange(before, before + length, device=tokens.device)
    sees = torch.arange(before + length, device=tokens.device) <= positions[:, None]
    return model.hidden(tokens, positions.expand(size, length), sees.expand(size, length, before + length), cache=cache)


def finite(values: Tensor) -> Tensor:
    """The values, all of them finite; FloatingPointError where one is not."""
    if not bool(torch.isfinite(values).all()):
        raise FloatingPointError("the model gave a value that is not finite; its weights are damaged or overflow in this precision")
    return values
