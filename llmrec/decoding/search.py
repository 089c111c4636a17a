"""Search in an answer space: a beam over its trie, or every answer exactly.

A score is the joint log-probability of the answer (its end token included, where it has one) under the full answer space, without a length
penalty; over the whole space the probabilities sum to 1. What a request does not allow never changes a score: leaves, and nodes without an
allowed leaf, are set to minus infinity after normalisation. B prompts, K beams, N nodes, A answers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from llmrec.answers import Trie
from llmrec.decoding.reading import Reading

CHUNK = 512
"""Nodes of an exact search read at once: longer chunks cost more in attention among themselves than they save."""


@torch.inference_mode()
def beam(reading: Reading, trie: Trie, space: str, *, width: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The best answers a beam of `width` finds: answer rows (B, width) int64, best first, -1 where there are fewer; scores (B, width) float64, -inf there.

    allowed: (B, A) bool, or None: all. With `width` of at least the answers' number nothing can be missed.
    """
    model = reading.model
    tensors = model.spaces[space]
    alive = None if allowed is None else torch.as_tensor(trie.alive(allowed), device=model.device)
    answer = torch.as_tensor(trie.answer, device=model.device)
    token = torch.as_tensor(trie.token, device=model.device)
    size, rows = len(reading.last), model.rows()
    logits = model.space_logits(reading.last, tensors, rows)
    scores, children = model.child_log_probs(logits, torch.zeros(size, dtype=torch.long, device=model.device), tensors)
    scores = scores.double()
    if alive is not None:
        scores = scores.masked_fill(~alive.gather(1, children), -torch.inf)
    scores, nodes = _best(scores, children, width)
    ancestors: Tensor | None = None
    for depth in range(trie.depth - 1):
        finished = answer[nodes] >= 0
        if bool((finished | scores.isneginf()).all()):
            break
        beams = nodes.shape[1]
        itself = torch.eye(beams, dtype=torch.bool, device=model.device).expand(size, beams, beams)
        sees = itself if ancestors is None else torch.cat([ancestors, itself], dim=2)
        hidden = reading.grow(token[nodes], torch.full((beams,), depth, device=model.device), sees)
        # A finished beam stands in its place; its node is swapped for the root to have children to compute, which are then ignored.
        inner = torch.where(finished, 0, nodes).reshape(-1)
        wide = finished.reshape(-1)
        logits = model.space_logits(hidden.reshape(size * beams, -1), tensors, rows)
        inner_scores, inner_children = _children(model, logits, inner, wide, tensors)
        inner_scores, inner_children = inner_scores.double().view(size, beams, -1), inner_children.view(size, beams, -1)
        if alive is not None:
            dead = ~alive.gather(1, inner_children.reshape(size, -1)).view(inner_children.shape)
            inner_scores = inner_scores.masked_fill(dead, -torch.inf)
        total = scores[..., None] + inner_scores.masked_fill(finished[..., None], -torch.inf)
        total[..., 0] = torch.where(finished, scores, total[..., 0])
        inner_children[..., 0] = torch.where(finished, nodes, inner_children[..., 0])
        fan = total.shape[2]
        scores, place = _best(total.view(size, -1), torch.arange(beams * fan, device=model.device).expand(size, -1), width)
        parent = place // fan
        nodes = inner_children.reshape(size, -1).gather(1, place)
        ancestors = sees.gather(1, parent[..., None].expand(-1, -1, sees.shape[2]))
    reading.rewind()
    found = torch.where(scores.isneginf(), -1, answer[nodes])
    return found.cpu().numpy(), scores.cpu().numpy()


@torch.inference_mode()
def exact(reading: Reading, trie: Trie, space: str, *, allowed: np.ndarray | None = None) -> np.ndarray:
    """The score of every answer: (B, A) float64, -inf where not allowed. Each inner node is read once, behind the prompt and its ancestors, whatever number of answers share it.

    allowed: (B, A) bool, or None: all. Nodes without a leaf allowed to any of the prompts are not read.
    """
    model = reading.model
    tensors = model.spaces[space]
    size, rows = len(reading.last), model.rows()
    if trie.depth == 1:  # the root is the only node: its children's log-probabilities are the scores
        log_probs, children = model.child_log_probs(model.space_logits(reading.last, tensors, rows), torch.zeros(size, dtype=torch.long, device=model.device), tensors)
        scores = np.empty((size, len(trie.codes)))
        scores[:, trie.answer[children[0].cpu().numpy()]] = log_probs.double().cpu().numpy()
        return scores if allowed is None else np.where(allowed, scores, -np.inf)
    live = np.ones(trie.num_nodes, dtype=bool) if allowed is None else trie.alive(allowed).any(axis=0)
    edge = torch.full((size, trie.num_nodes), -torch.inf, dtype=torch.float64, device=model.device)
    _put(edge, model, model.space_logits(reading.last, tensors, rows), np.zeros(1, dtype=np.int64), tensors)
    inner = np.flatnonzero(live & (trie.answer < 0))[1:]
    # Nodes in the order of a depth-first walk: a chunk then holds subtrees whole, and few ancestors are read twice.
    inner = inner[np.lexsort((trie.level[inner], trie.low[inner]))]
    for start in range(0, len(inner), CHUNK):
        chunk = inner[start : start + CHUNK]
        nodes = _with_ancestors(trie, chunk)
        sees = (trie.low[nodes][None] <= trie.low[nodes][:, None]) & (trie.high[nodes][None] >= trie.high[nodes][:, None]) & (trie.level[nodes][None] <= trie.level[nodes][:, None])
        put = lambda array: torch.as_tensor(array, device=model.device)  # noqa: E731
        hidden = reading.grow(put(trie.token[nodes]).expand(size, -1), put(trie.level[nodes] - 1), put(sees))
        wanted = np.searchsorted(nodes, chunk)
        hidden = hidden[:, put(wanted)]
        _put(edge, model, model.space_logits(hidden.reshape(size * len(chunk), -1), tensors, rows).view(size, len(chunk), -1), chunk, tensors)
        reading.rewind()
    total = edge
    total[:, 0] = 0.0
    parent = torch.as_tensor(trie.parent, device=model.device)
    level = torch.as_tensor(trie.level, device=model.device)
    for depth in range(1, trie.depth + 1):
        nodes = torch.nonzero(level == depth).squeeze(1)
        total[:, nodes] += total[:, parent[nodes]]
    leaves = trie.paths[np.arange(len(trie.codes)), trie.lengths]
    scores = total[:, torch.as_tensor(leaves, device=model.device)].cpu().numpy()
    return scores if allowed is None else np.where(allowed, scores, -np.inf)


def _best(scores: Tensor, values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The `width` best of each row, best first; equal scores in the order they stand."""
    scores, place = scores.sort(dim=1, descending=True, stable=True) if scores.shape[1] <= 4 * width else _top(scores, width)
    return scores[:, :width], values.gather(1, place[:, :width])


def _top(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """As a stable sort would give them, without sorting the rest: equal scores at the edge may fall either way, the same way every time."""
    top, place = scores.topk(width, dim=1)
    place, order = place.sort(dim=1)
    top = top.gather(1, order)
    top, order = top.sort(dim=1, descending=True, stable=True)
    return top, place.gather(1, order)


def _children(model, logits: Tensor, nodes: Tensor, ignored: Tensor, tensors) -> tuple[Tensor, Tensor]:
    """Children of inner nodes; rows of `ignored` are not computed (their root would be the widest of all)."""
    if not bool(ignored.any()):
        return model.child_log_probs(logits, nodes, tensors)
    kept = torch.nonzero(~ignored).squeeze(1)
    some_scores, some_children = model.child_log_probs(logits[kept], nodes[kept], tensors)
    scores = torch.full((len(nodes), some_scores.shape[1]), -torch.inf, dtype=some_scores.dtype, device=logits.device)
    children = torch.zeros(len(nodes), some_scores.shape[1], dtype=torch.long, device=logits.device)
    scores[kept], children[kept] = some_scores, some_children
    return scores, children


def _put(edge: Tensor, model, logits: Tensor, nodes: np.ndarray, tensors) -> None:
    """Writes the log-probabilities of the nodes' children into edge (B, N). logits: (B, columns) for one node, else (B, nodes, columns)."""
    size = edge.shape[0]
    flat = logits.reshape(size * len(nodes), -1)
    at = torch.as_tensor(nodes, device=edge.device).repeat(size)
    log_probs, children = model.child_log_probs(flat, at, tensors)
    batch = torch.arange(size, device=edge.device).repeat_interleave(len(nodes))[:, None].expand(children.shape)
    valid = ~log_probs.isneginf()
    edge[batch[valid], children[valid]] = log_probs[valid].double()


def _with_ancestors(trie: Trie, nodes: np.ndarray) -> np.ndarray:
    """These nodes and all inner nodes above them but the root, ascending: ancestors come first."""
    found, above = [nodes], trie.parent[nodes]
    while (above := np.unique(above[above > 0])).size:
        found.append(above)
        above = trie.parent[above]
    return np.unique(np.concatenate(found))
