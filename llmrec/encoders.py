"""Content vectors from neural text encoders, where TF-IDF is not wanted: the base model's own token embeddings, or a sentence encoder.

Separate from `content`, which needs no torch and is what every corpus gets by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from llmrec.bases import Base, check_weights, pretrained

BATCH = 64
MAX_TOKENS = 128


@torch.no_grad()
def token_embeddings(base: Base, texts: Sequence[str]) -> np.ndarray:
    """The mean of the base's input rows of each text's tokens: (texts, width), float32, each of length 1, or all zeros for an empty text."""
    table = base.lm.get_input_embeddings().weight
    means = []
    for text in texts:
        ids = base.tokenizer(text, add_special_tokens=False, truncation=True, max_length=MAX_TOKENS).input_ids
        means.append(table[torch.tensor(ids)].mean(0) if ids else torch.zeros(table.shape[1]))
    return _unit(torch.stack(means))


@torch.no_grad()
def sentence_vectors(encoder: str, texts: Sequence[str]) -> np.ndarray:
    """Mean-pooled last hidden states of an encoder, by what llmrec.bases.pretrained takes: (texts, width), float32, each of length 1.

    Source of the pooling: Reimers and Gurevych 2019, section 3.
    """
    if Path(encoder).is_dir():
        check_weights(Path(encoder))
    tokenizer = pretrained(AutoTokenizer, encoder, padding_side="right")  # padded left, a text's positions would depend on its neighbours
    model = pretrained(AutoModel, encoder, use_safetensors=True, dtype=torch.float32).eval()
    vectors = []
    for start in tqdm(range(0, len(texts), BATCH), desc="encode items", mininterval=1, disable=len(texts) < 20 * BATCH):
        batch = tokenizer(list(texts[start : start + BATCH]), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        hidden = model(**batch).last_hidden_state
        weight = batch["attention_mask"][..., None].float()
        vectors.append((hidden * weight).sum(1) / weight.sum(1).clamp(min=1))
    return _unit(torch.cat(vectors))


def _unit(vectors: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vectors.float(), dim=1).numpy()
