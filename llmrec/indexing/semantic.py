"""Semantic index: three residual codes from the content vectors, and a fourth that tells apart items which share them.

Items with like content share the first codes, so what is learned of one helps the other.
Source: residual quantisation as in TIGER (Rajput et al. 2023, section 3.1), with k-means in place of the RQ-VAE.
"""

from __future__ import annotations

import numpy as np

from llmrec.indexing.index import ItemIndex

LEVELS = 3
POINTS = 512
"""Points a centre that k-means is fitted on, at most."""
BLOCK = 65_536
"""Points whose distances stand in memory at once."""


def build(vectors: np.ndarray, *, seed: int) -> ItemIndex:
    """Residual codes of these content vectors. vectors: (items, size) float32; equal or zero vectors are fine, the last code tells them apart."""
    size = codebook_size(len(vectors))
    residual = vectors.astype(np.float32, copy=True)
    columns, centroids = [], []
    for level in range(LEVELS):
        centres, nearest = k_means(residual, size, seed=seed + level)
        for code, centre in enumerate(centres):  # one centre at a time: a copy of all points would be as large as they are
            residual[nearest == code] -= centre
        columns.append(nearest + level * size)
        centroids.append(centres)
    codes = np.stack(columns, axis=1)
    # A catalogue's order must not become the order of the last code: items that share codes are numbered in a seeded shuffle.
    shuffle = np.random.default_rng(seed).permutation(len(codes))
    _, group = np.unique(codes, axis=0, return_inverse=True)
    rank = np.empty(len(codes), dtype=np.int64)
    order = shuffle[np.argsort(group.ravel()[shuffle], kind="stable")]
    sizes = np.bincount(group.ravel())
    rank[order] = np.arange(len(codes)) - np.repeat(np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    last = int(rank.max()) + 1
    if last > 1:
        codes = np.concatenate([codes, rank[:, None] + LEVELS * size], axis=1)
        centroids.append(np.zeros((last, vectors.shape[1]), dtype=np.float32))
    return ItemIndex("semantic", codes.astype(np.int64), LEVELS * size + (last if last > 1 else 0), np.concatenate(centroids).astype(np.float32))


def codebook_size(num_items: int) -> int:
    """Codes per level: about four times the cube root of the catalogue, from 8 to 256, so that three levels name each item with room to spare."""
    return int(np.clip(2 ** round(np.log2(4 * num_items ** (1 / 3))), 8, 256))


def k_means(points: np.ndarray, size: int, *, seed: int, iterations: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's k-means: centres (size, dimensions) and the nearest centre of each point. An empty cluster is moved to the point farthest from its centre.

    Centres are fitted on at most POINTS points a centre, drawn at random: more move them little.
    """
    rng = np.random.default_rng(seed)
    drawn = points if len(points) <= POINTS * size else points[rng.choice(len(points), POINTS * size, replace=False)]
    centres = drawn[rng.choice(len(drawn), size, replace=len(drawn) < size)].copy()
    for _ in range(iterations):
        nearest, distance = _nearest(drawn, centres)
        counts = np.bincount(nearest, minlength=size)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, drawn)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres).astype(np.float32)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            centres[empty] = drawn[np.argsort(-distance, kind="stable")[: len(empty)]] if len(drawn) >= len(empty) else centres[empty]
    return centres, _nearest(points, centres)[0]


def _nearest(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each point, and its squared distance; BLOCK points at a time, so that memory does not grow with points times centres."""
    nearest, least = np.empty(len(points), dtype=np.int64), np.empty(len(points), dtype=np.float32)
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        distance = (centres**2).sum(axis=1)[None] - 2 * block @ centres.T
        found = distance.argmin(axis=1)
        nearest[start : start + BLOCK] = found
        least[start : start + BLOCK] = distance[np.arange(len(block)), found] + (block**2).sum(axis=1)
    return nearest, least
