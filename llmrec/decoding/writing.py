"""Writing: free text behind prompts over the words of the base's vocabulary, the most probable word at each step; and further drafts of it, drawn.

B prompts, D drafts of each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import torch

from llmrec.decoding.reading import Reading, finite


class Guard(Protocol):
    """What one text may not go on with: `always`, and beside it `banned`, as it grows."""

    always: Sequence[int]

    @property
    def banned(self) -> Sequence[int]: ...

    def add(self, token: int) -> None: ...


@torch.inference_mode()
def write(
    reading: Reading, *, end: int, forbidden: Collection[int], max_tokens: int, guards: Sequence[Sequence[Guard | None]] | None = None, temperatures: Sequence[float] = (0.0,), draws: Sequence[np.random.Generator] = ()
) -> list[list[list[int]]]:
    """The drafts of each prompt as token ids, without the end token.

    forbidden: ids never written (control tokens; `end` may be among them and still closes the text).   guards: (B, D), None for a text that may say anything.
    temperatures: (D,), ascending; 0 takes the most probable word at each step, any other draws one.   draws: where anything is drawn, one each prompt: what is drawn for it does not depend on those beside it.
    """
    model, device = reading.model, reading.model.device
    size, drafts, drawn = len(reading.last), len(temperatures), sum(temperature > 0 for temperature in temperatures)
    warmth = torch.tensor(temperatures[-drawn:] if drawn else (), device=device)[:, None]
    never = torch.zeros(size, drafts, model.vocabulary_size, dtype=torch.bool, device=device)
    never[..., [i for i in forbidden if i != end and i < model.vocabulary_size]] = True
    guarded = [(row, draft, guard) for row, own in enumerate(guards or ()) for draft, guard in enumerate(own) if guard is not None]
    for row, draft, guard in guarded:
        never[row, draft, guard.always] = True
    done = torch.zeros(size, drafts, dtype=torch.bool, device=device)
    hidden, written = reading.last[:, None].expand(-1, drafts, -1), []
    for step in range(max_tokens):
        logits = finite(model.text_logits(hidden.flatten(0, 1))).view(size, drafts, -1)
        logits.masked_fill_(never, -torch.inf)
        places = [(row, draft, token) for row, draft, guard in guarded for token in guard.banned]
        if places:
            logits[tuple(torch.tensor(places, device=device).T)] = -torch.inf
        token = logits.argmax(-1)
        if drawn:
            token[:, -drawn:] = _drawn(logits[:, -drawn:] / warmth, np.stack([own.random(drawn) for own in draws]))
        token = torch.where(done, end, token)
        done |= token == end
        if bool(done.all()):
            break
        numbers, ended = token.tolist(), done.tolist()
        guarded = [(row, draft, guard) for row, draft, guard in guarded if not ended[row][draft]]
        for row, draft, guard in guarded:
            guard.add(numbers[row][draft])
        written.append(token)
        itself = torch.eye(drafts, dtype=torch.bool, device=device).repeat(1, step + 1)
        hidden = reading.grow(token, torch.full((drafts,), step, device=device), itself)
    reading.rewind()
    texts = torch.stack(written, dim=2).tolist() if written else [[[]] * drafts for _ in range(size)]
    return [[text[: text.index(end)] if end in text else text for text in own] for own in texts]


def _drawn(logits: torch.Tensor, chance: np.ndarray) -> torch.Tensor:
    """Draws from the softmax of logits (B, D, V) with one number of [0, 1) each: (B, D). What is minus infinity is never drawn."""
    heights = torch.softmax(logits.double(), -1).cumsum(-1)
    return torch.searchsorted(heights, torch.as_tensor(chance, device=logits.device)[..., None] * heights[..., -1:], right=True)[..., 0]
