"""ItemIndex: the code of every item, whatever scheme made it.

Separate from the schemes (`atomic`, `semantic`, `title`), so that everything after them sees one type.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from llmrec.answers import ITEMS, AnswerSpace, Trie


@dataclass(frozen=True)
class ItemIndex:
    """A bijection between the catalogue's rows and codes; no code equals or begins another.

    scheme: its name in INDEXES.
    codes: (items, depth) int64, right-padded with -1. Where `new_tokens` > 0 they count new code tokens from 0; where it is 0 they are the tokenizer's own ids.
    new_tokens: how many code tokens the model must learn rows for.
    vectors: (new_tokens, size) float32, the content of each code token, or None; a token's row starts from it (learned vector + learned projection of the content).
    """

    scheme: str
    codes: np.ndarray
    new_tokens: int
    vectors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def tokens(self, vocabulary_size: int) -> np.ndarray:
        """(items, depth) int64: the codes as token ids of a model whose own vocabulary ends at `vocabulary_size`."""
        return np.where(self.codes >= 0, self.codes + vocabulary_size, -1) if self.new_tokens else self.codes

    def space(self, item_ids: Sequence[str], vocabulary_size: int) -> AnswerSpace:
        """The catalogue as an answer space. Raises ValueError where codes collide or do not fit the catalogue."""
        if len(item_ids) != len(self):
            raise ValueError(f"the index has {len(self)} codes, the catalogue {len(item_ids)} items; build the index for this catalogue")
        return AnswerSpace(ITEMS, tuple(item_ids), Trie.build(self.tokens(vocabulary_size)))

    def save(self, folder: Path) -> None:
        """Writes item_index.json and item_index.safetensors."""
        tensors = {"codes": np.ascontiguousarray(self.codes)}
        if self.vectors is not None:
            tensors["vectors"] = np.ascontiguousarray(self.vectors)
        save_file(tensors, folder / "item_index.safetensors")
        (folder / "item_index.json").write_text(json.dumps({"scheme": self.scheme, "items": len(self), "new_tokens": self.new_tokens}) + "\n")

    @classmethod
    def load(cls, folder: Path) -> ItemIndex:
        """Raises FileNotFoundError naming the missing file, ValueError for one that is damaged or has codes that are none."""
        for name in ("item_index.json", "item_index.safetensors"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing: the folder is not a complete model")
        about = json.loads((folder / "item_index.json").read_text())
        try:
            tensors = load_file(folder / "item_index.safetensors")
        except SafetensorError as error:
            raise ValueError(f"{folder / 'item_index.safetensors'} cannot be read: {error}") from None
        codes, vectors = tensors["codes"], tensors.get("vectors")
        if codes.ndim != 2 or codes.dtype != np.int64 or codes.min(initial=0) < -1 or (about["new_tokens"] and codes.max(initial=-1) >= about["new_tokens"]):
            raise ValueError(f"{folder / 'item_index.safetensors'} holds codes that are none of {about['new_tokens']} code tokens: it is damaged, or of another model than item_index.json")
        if vectors is not None and not np.isfinite(vectors).all():
            raise ValueError(f"{folder / 'item_index.safetensors'} holds vectors that are not finite: it is damaged")
        return cls(about["scheme"], codes, about["new_tokens"], vectors)
