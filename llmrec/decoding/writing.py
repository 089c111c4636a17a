"""Writing: free text behind prompts, greedily, over the words of the base's vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import torch

from llmrec.decoding.reading import Reading


class Guard(Protocol):
    """What one text may not go on with, as it grows."""

    @property
    def banned(self) -> Sequence[int]: ...

    def add(self, token: int) -> None: ...


@torch.inference_mode()
def write(reading: Reading, *, end: int, forbidden: Collection[int], max_tokens: int, guards: Sequence[Guard | None] | None = None) -> list[list[int]]:
    """One text per prompt as token ids, without the end token: the most probable word at each step.

    forbidden: ids never written (control tokens; `end` may be among them and still closes the text).   guards: one each prompt, None for a text that may say anything.
    """
    model = reading.model
    banned = torch.tensor([i for i in forbidden if i != end and i < model.vocabulary_size], dtype=torch.long, device=model.device)
    size = len(reading.last)
    done = torch.zeros(size, dtype=torch.bool, device=model.device)
    hidden, written = reading.last, []
    for step in range(max_tokens):
        logits = model.text_logits(hidden)
        logits[:, banned] = -torch.inf
        for row, guard in enumerate(guards or ()):
            if guard is not None and not done[row]:
                logits[row, torch.tensor(guard.banned, dtype=torch.long, device=model.device)] = -torch.inf
        token = torch.where(done, end, logits.argmax(-1))
        done |= token == end
        if bool(done.all()):
            break
        for guard, number in zip(guards or (), token.tolist()):
            if guard is not None:
                guard.add(number)
        written.append(token)
        itself = torch.ones(1, step + 1, dtype=torch.bool, device=model.device)
        hidden = reading.grow(token[:, None], torch.tensor([step], device=model.device), itself)[:, 0]
    reading.rewind()
    texts = torch.stack(written, dim=1).tolist() if written else [[] for _ in range(size)]
    return [text[: text.index(end)] if end in text else text for text in texts]
