"""Search in an answer space: a beam over its trie, every answer exactly, or given answers.

A score is the joint log-probability of the answer (its end token included, where it has one) under the full answer space, without a length
penalty; over the whole space the probabilities sum to 1. What a request does not allow never changes a score: leaves, and nodes without an
allowed leaf, are set to minus infinity after normalisation. A node with one answer below it is read no further: what is left has probability 1.
B prompts, K beams, U of them unfinished, W children, N nodes, A answers, M given answers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from llmrec.answers import Trie
from llmrec.decoding.allowed import Allowed, Living
from llmrec.decoding.reading import Reading, finite
from llmrec.model import LanguageModel, SpaceTensors

CHUNK = 512
"""Nodes of an exact search read at once: longer chunks cost more in attention among themselves than they save."""


@torch.inference_mode()
def beam(reading: Reading, trie: Trie, space: str, *, width: int, allowed: Allowed | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The best answers a beam of `width` finds: answer rows (B, width) int64, best first, -1 where there are fewer; scores (B, width) float64, -inf there.

    With `width` of at least the answers' number nothing can be missed.
    """
    model = reading.model
    tensors = model.spaces[space]
    living = None if allowed is None else allowed.living(trie, tensors)
    rows = model.rows()
    scores, first = model.child_log_probs(_logits(model, reading.last, tensors, rows), torch.zeros_like(reading.last[:, 0], dtype=torch.long), tensors)
    scores, nodes, _ = _survivors(scores.double(), _children(first, scores, tensors), living, width)
    ancestors: Tensor | None = None  # (B, K, grown): which grown tokens each beam sees
    for depth in range(trie.depth - 1):
        open_ = (tensors.high[nodes] - tensors.low[nodes] > 1) & ~scores.isneginf()
        if not bool(open_.any()):
            break
        # The unfinished beams of each prompt stand first. Finished ones are read with them and ignored: how many are read must not follow from a neighbour.
        read = nodes.shape[1]
        place = open_.to(torch.int8).argsort(dim=1, descending=True, stable=True)
        asked, alive = nodes.gather(1, place), open_.gather(1, place)
        itself = torch.eye(read, dtype=torch.bool, device=model.device).expand(len(nodes), read, read)
        sees = itself if ancestors is None else torch.cat([ancestors.gather(1, place[..., None].expand(-1, -1, ancestors.shape[2])), itself], dim=2)
        hidden = reading.grow(tensors.tokens[tensors.column[asked]], torch.full((read,), depth, device=model.device), sees)
        gain, first = model.child_log_probs(_logits(model, hidden.flatten(0, 1), tensors, rows), asked.flatten(), tensors)
        fan, children = gain.shape[1], _children(first, gain, tensors)
        gain = scores.gather(1, place)[..., None] + gain.view(len(nodes), read, fan)
        gain = gain.masked_fill(~alive[..., None], -torch.inf).flatten(1)
        kept = scores.masked_fill(open_, -torch.inf)
        scores, nodes, chosen = _survivors(torch.cat([gain, kept], dim=1), torch.cat([children.view(len(nodes), -1), nodes], dim=1), living, width)
        parent = torch.where(chosen < read * fan, chosen // fan, 0)  # a finished beam is never read again, whatever it sees
        ancestors = sees.gather(1, parent[..., None].expand(-1, -1, sees.shape[2]))
    reading.rewind()
    found = torch.where(scores.isneginf(), -1, tensors.order[tensors.low[nodes]])
    return found.long().cpu().numpy(), scores.cpu().numpy()


@torch.inference_mode()
def exact(reading: Reading, trie: Trie, space: str, *, allowed: Allowed | None = None) -> np.ndarray:
    """The score of every answer: (B, A) float64, -inf where not allowed. Each node is read once, behind the prompt and its ancestors, whatever number of answers share it.

    Nodes without a leaf allowed to any of the prompts are not read.
    """
    model = reading.model
    tensors = model.spaces[space]
    size, rows = len(reading.last), model.rows()
    may = None if allowed is None else allowed.dense(len(trie.order))
    total = torch.zeros(size, trie.num_nodes, dtype=torch.float64, device=model.device)
    _put(total, model, _logits(model, reading.last, tensors, rows), np.zeros(1, dtype=np.int64), tensors)
    live = np.ones(trie.num_nodes, dtype=bool) if may is None else trie.alive(may.any(axis=0))
    wide = np.flatnonzero(live & (np.diff(trie.first) > 1))[1:]
    # Nodes in the order of a depth-first walk: a chunk then holds subtrees whole, and few ancestors are read twice.
    wide = wide[np.lexsort((trie.level[wide], trie.low[wide]))]
    for start in range(0, len(wide), CHUNK):
        chunk = wide[start : start + CHUNK]
        nodes = _with_ancestors(trie, chunk)
        hidden = _read(reading, trie, np.broadcast_to(nodes, (size, len(nodes))))[:, torch.as_tensor(np.searchsorted(nodes, chunk), device=model.device)]
        _put(total, model, _logits(model, hidden.flatten(0, 1), tensors, rows), chunk, tensors)
        reading.rewind()
    parent = torch.as_tensor(trie.parent, dtype=torch.long, device=model.device)
    for start, stop in zip(trie.levels[1:], trie.levels[2:]):  # what stands at a node is so far the step into it alone
        total[:, start:stop] += total[:, parent[start:stop]]
    scores = total[:, torch.as_tensor(trie.leaf, dtype=torch.long, device=model.device)].cpu().numpy()
    return scores if may is None else np.where(may, scores, -np.inf)


@torch.inference_mode()
def score(reading: Reading, trie: Trie, space: str, answers: np.ndarray, *, room: int = 0) -> np.ndarray:
    """The scores of given answers: (B, M) answer rows, -1 where a prompt has fewer, to (B, M) float64, -inf there.

    A prompt reads only the nodes its own answers pass. room: to how many these are padded at least.
    """
    model = reading.model
    tensors = model.spaces[space]
    rows, device = model.rows(), model.device
    put = lambda array: torch.as_tensor(np.ascontiguousarray(array), device=device)  # noqa: E731
    above, below, choice = _steps(trie, answers)
    nodes = [_passed(trie, own, chosen) for own, chosen in zip(above, choice)]
    tree = np.zeros((len(answers), max(room, *map(len, nodes))), dtype=np.int64)
    for row, own in enumerate(nodes):
        tree[row, : len(own)] = own
    logits = _logits(model, reading.last, tensors, rows)[:, None]
    if tree.shape[1]:
        hidden = _read(reading, trie, tree)
        logits = torch.cat([logits, _logits(model, hidden.flatten(0, 1), tensors, rows).view(*tree.shape, -1)], dim=1)
        reading.rewind()
    scores = np.where(answers >= 0, 0.0, -np.inf)
    known = np.concatenate([np.zeros((len(answers), 1), dtype=np.int64), tree], axis=1)
    log_probs, _ = model.child_log_probs(logits.flatten(0, 1), put(known.ravel()), tensors)
    log_probs = log_probs.double().view(*known.shape, -1)
    for level in range(choice.shape[2]):
        prompt, number = np.nonzero(choice[:, :, level])
        node = above[prompt, number, level]
        place = np.array([0 if n == 0 else 1 + np.searchsorted(nodes[p], n) for p, n in zip(prompt, node)], dtype=np.int64)
        scores[prompt, number] += log_probs[put(prompt), put(place), put(below[prompt, number, level] - trie.first[node])].cpu().numpy()
    return scores


def count_nodes(trie: Trie, answers: np.ndarray) -> int:
    """How many nodes `score` reads for the answers (M,) of one prompt."""
    above, _, choice = _steps(trie, answers[None])
    return len(_passed(trie, above[0], choice[0]))


def _steps(trie: Trie, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The steps down to answers (B, M), as (B, M, depth): the nodes above and below each, and where there is something to choose."""
    paths = trie.paths(np.maximum(answers, 0))
    above, below = np.maximum(paths[:, :, :-1], 0), paths[:, :, 1:]
    return above, below, (below >= 0) & (answers >= 0)[..., None] & (trie.first[above + 1] - trie.first[above] > 1)


def _passed(trie: Trie, above: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """The nodes of one prompt at which there is something to choose, and their ancestors."""
    return _with_ancestors(trie, np.unique(above[choice & (above > 0)]))


def _logits(model: LanguageModel, hidden: Tensor, tensors: SpaceTensors, rows: Tensor) -> Tensor:
    """Logits (S, columns) of the space behind hidden states (S, H); FloatingPointError where one is not finite: sorted among others a NaN would be the best of them."""
    return finite(model.space_logits(hidden, tensors, rows))


def _children(first: Tensor, log_probs: Tensor, tensors: SpaceTensors) -> Tensor:
    """The nodes (S, W) whose log-probabilities (S, W) are; behind the last child of a node stands any node."""
    return (first[:, None] + torch.arange(log_probs.shape[1], device=first.device)).clamp(max=len(tensors.low) - 1)


def _survivors(scores: Tensor, nodes: Tensor, living: Living | None, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `width` best of each prompt's nodes that may be answered: scores, nodes, and their places."""
    if living is not None:
        scores = scores.masked_fill(~living(nodes), -torch.inf)
    scores, place = _best(scores, width)
    return scores, nodes.gather(1, place), place


def _read(reading: Reading, trie: Trie, nodes: np.ndarray) -> Tensor:
    """Hidden states (B, N, H) of trie nodes, each read behind the prompt and its ancestors among the nodes. nodes: (B, N), ancestors before descendants; the root stands for padding."""
    device = reading.model.device
    put = lambda array: torch.as_tensor(np.ascontiguousarray(array), dtype=torch.long, device=device)  # noqa: E731
    low, high, level = (put(array[nodes]) for array in (trie.low, trie.high, trie.level))
    sees = (low[:, None] <= low[:, :, None]) & (high[:, None] >= high[:, :, None]) & (level[:, None] <= level[:, :, None]) & (level[:, None] > 0)
    itself = torch.eye(nodes.shape[1], dtype=torch.bool, device=device)
    return reading.grow(put(np.maximum(trie.token[nodes], 0)), put(np.maximum(trie.level[nodes] - 1, 0)), sees | itself)


def _best(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` best of each row and their places, best first; equal scores in the order they stand."""
    if scores.shape[1] <= 4 * width:
        scores, place = scores.sort(dim=1, descending=True, stable=True)
        return scores[:, :width], place[:, :width]
    # As a stable sort would give them, without sorting the rest: equal scores at the edge may fall either way, the same way every time.
    top, place = scores.topk(width, dim=1)
    place, order = place.sort(dim=1)
    top, order = top.gather(1, order).sort(dim=1, descending=True, stable=True)
    return top, place.gather(1, order)


def _put(total: Tensor, model: LanguageModel, logits: Tensor, nodes: np.ndarray, tensors: SpaceTensors) -> None:
    """Writes the log-probabilities of the nodes' children into total (B, N). logits: (B * nodes, columns)."""
    size = len(total)
    log_probs, first = model.child_log_probs(logits, torch.as_tensor(nodes, dtype=torch.long, device=total.device).repeat(size), tensors)
    children = _children(first, log_probs, tensors)
    prompt = torch.arange(size, device=total.device).repeat_interleave(len(nodes))[:, None].expand(children.shape)
    valid = ~log_probs.isneginf()
    total[prompt[valid], children[valid]] = log_probs[valid].double()


def _with_ancestors(trie: Trie, nodes: np.ndarray) -> np.ndarray:
    """These nodes and all inner nodes above them but the root, ascending: ancestors come first."""
    found, above = [nodes], trie.parent[nodes]
    while (above := np.unique(above[above > 0])).size:
        found.append(above)
        above = trie.parent[above]
    return np.unique(np.concatenate(found))
