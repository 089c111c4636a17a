"""Item-kNN: an item is scored by how similar it is to the items of the history, by how often it came right after them, and by how alike their texts are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import scipy.sparse as sp

from llmrec.baselines.catalog_model import CELLS, CatalogModel, next_item_questions
from llmrec.baselines.histories import Histories, in_train, train_matrix, users_of_events
from llmrec.content import content_vectors
from llmrec.predictions import Request
from llmrec.timelines import Timelines

NUM_NEIGHBOURS = (100, 20, 500)
SHRINKAGES = (10.0, 0.0, 100.0)
SHOWN_VOTES = (1.0, 0.5, 0.0)
OWN_VOTES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
FOLLOWING = (1.0, 0.0)
FOLLOWING_SHRINKAGE = 30.0
DECAYS = (0.8, 1.0)
LIKENESS = (0.0, 0.02, 0.05, 0.1, 0.2)
ALIKE = 20
MAX_ALIKE = 100_000
"""Items whose texts are compared each with each at most: a matter of minutes; likeness is left out of larger catalogues."""


class ItemKNN(CatalogModel):
    """Scores an item by the sum of its cosine similarities to the items of the history, each of which votes for its `num_neighbours` nearest only.

    With c_ij the users who have both items: similarity = c_ij / (sqrt(c_i c_j) + shrinkage); an item is no neighbour of itself,
    but one that is shown without being seen (in the cart, not bought) gets `own_vote` on top: it may be what comes next. Its vote for others counts `shown_vote`.
    Chosen on valid: num_neighbours of (20, 100, 500) and shrinkage of (0, 10, 100), then shown_vote of (1, .5, 0) and own_vote of (0, .05, .1, .2, .5, 1); defaults 100, 10, 1 and 0. An empty history falls back to popularity.

    Source: Deshpande and Karypis, Item-based top-N recommendation algorithms, 2004 (cosine); the shrunk denominator after Bell and Koren, 2007.
    """

    name = "item_knn"
    decay = 1.0

    def _learn(self, timelines: Timelines) -> None:
        tables = similarities(train_matrix(timelines), num_neighbours=max(NUM_NEIGHBOURS), shrinkages=SHRINKAGES)

        def apply(settings: Mapping[str, float]) -> None:
            self.similarity = nearest(tables[settings["shrinkage"]], int(settings["num_neighbours"]))

        grid = [{"num_neighbours": k, "shrinkage": shrinkage} for shrinkage, k in product(SHRINKAGES, NUM_NEIGHBOURS)]
        self.shown_vote, self.own_vote = 1.0, 0.0
        questions = next_item_questions(timelines, seed=self.seed)
        self.tune_on(questions, grid, apply)
        if not timelines.asked.all():
            self.tune_on(questions, [{"shown_vote": shown, "own_vote": own} for shown, own in product(SHOWN_VOTES, OWN_VOTES)], lambda settings: vars(self).update(settings))

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        return votes(histories, self.similarity, shown_vote=self.shown_vote, own_vote=self.own_vote, decay=self.decay)


class SequentialKNN(ItemKNN):
    """Item-kNN that knows an order: an item of the history also votes for what came right after it, and the longer ago it stands, the less it votes.

    With n_ij the times j stands right after i in a train stream: similarity + following * n_ij / (sqrt(c_i c_j) + 30); the vote of an item with n events behind it counts decay ** n.
    Chosen on valid behind what ItemKNN chooses: following of (0, 1) and decay of (1, .8); where the log has no order, it is ItemKNN.

    Source: the sequential rules and the decaying weights of Ludewig and Jannach, Evaluation of Session-based Recommendation Algorithms, UMUAI 2018.
    """

    name = "sequential_knn"

    def _learn(self, timelines: Timelines) -> None:
        super()._learn(timelines)
        beside = self.similarity
        if timelines.corpus.interactions.ordering == "none":
            return
        after = followers(timelines, self.popularity)

        def apply(settings: Mapping[str, float]) -> None:
            self.similarity = (beside + settings["following"] * after).tocsr() if settings["following"] else beside
            self.decay = settings["decay"]

        self.tune_on(next_item_questions(timelines, seed=self.seed), [{"following": following, "decay": decay} for following, decay in product(FOLLOWING, DECAYS)], apply)


class HybridKNN(SequentialKNN):
    """Item-kNN that has read the catalogue, too: an item of the history also votes for the 20 items whose text is most like its own, bought before or not.

    Its votes are those of SequentialKNN + likeness * the square of the cosine between the items' content vectors (see llmrec.content).
    Chosen on valid behind what SequentialKNN chooses: likeness of (0, .02, .05, .1, .2), default 0; where the catalogue's texts are all the same, or it has more than 100,000 items, it is SequentialKNN.

    Source: a weighted hybrid, Burke, Hybrid Recommender Systems: Survey and Experiments, UMUAI 2002.
    """

    name = "hybrid_knn"

    def _learn(self, timelines: Timelines) -> None:
        super()._learn(timelines)
        known = self.similarity
        vectors = content_vectors(timelines.corpus, seed=self.seed).vectors if len(self.catalog) <= MAX_ALIKE else np.zeros((0, 0))
        alike = likenesses(vectors) if vectors.shape[1] > 1 else sp.csr_array(known.shape)  # one number tells nothing apart: every item is "untitled"

        def apply(settings: Mapping[str, float]) -> None:
            self.similarity = (known + settings["likeness"] * alike).tocsr() if settings["likeness"] else known

        if alike.nnz:
            self.tune_on(next_item_questions(timelines, seed=self.seed), [{"likeness": weight} for weight in LIKENESS], apply)


def votes(histories: Histories, similarity: sp.csr_array, *, shown_vote: float = 1.0, own_vote: float = 0.0, decay: float = 1.0) -> np.ndarray:
    """(histories, items) float64: what the items of each history say for every item of the catalogue, as ItemKNN and SequentialKNN add it up."""
    num_items = similarity.shape[1]
    voters = histories.matrix(num_items, decay=decay)
    if shown_vote != 1:
        voters = voters - (1 - shown_vote) * voters * only_shown(histories, num_items)
    found = voters @ similarity
    if own_vote:
        found = found + own_vote * only_shown(histories, num_items)
    return found.toarray()


def only_shown(histories: Histories, num_items: int) -> sp.csr_array:
    """(histories, num_items) with 1 where the item is shown in the history without being seen: in the cart, and not bought."""
    shown, seen = (histories.where(chosen).matrix(num_items) for chosen in (~histories.seen, histories.seen))
    return (shown - shown * seen).tocsr()


def followers(timelines: Timelines, counts: np.ndarray) -> sp.csr_array:
    """(items, items) sparse: how often an item stands right after another in train, over the root of the product of both `counts`, shrunk. An item does not follow itself."""
    chosen, users = in_train(timelines), users_of_events(timelines)
    items, users = timelines.items[chosen], users[chosen]
    follows = (users[1:] == users[:-1]) & (items[1:] != items[:-1])
    first, second = items[:-1][follows], items[1:][follows]
    found = sp.coo_array((np.ones(len(first)), (first, second)), shape=(len(counts), len(counts))).tocsr().tocoo()
    return sp.coo_array((found.data / (np.sqrt(counts[found.row] * counts[found.col]) + FOLLOWING_SHRINKAGE), (found.row, found.col)), shape=found.shape).tocsr()


def similarities(events: sp.csr_array, *, num_neighbours: int, shrinkages: Sequence[float]) -> dict[float, sp.csr_array]:
    """shrinkage -> (items, items) sparse, in each row the shrunk cosine of the item's `num_neighbours` nearest others. `events`: (users, items), 0 and 1."""
    counts = np.asarray(events.sum(axis=0)).ravel()
    blocks: dict[float, list[sp.csr_array]] = {shrinkage: [] for shrinkage in shrinkages}
    for start, together in _co_occurrence(events):
        together = together.tocoo()
        keep = together.row + start != together.col
        row, column, count = together.row[keep], together.col[keep], together.data[keep]
        norm = np.sqrt(counts[row + start] * counts[column])
        for shrinkage, parts in blocks.items():
            parts.append(nearest(sp.coo_array((count / (norm + shrinkage), (row, column)), shape=together.shape).tocsr(), num_neighbours))
    return {shrinkage: sp.vstack(parts, format="csr") for shrinkage, parts in blocks.items()}


def likenesses(vectors: np.ndarray) -> sp.csr_array:
    """(items, items) sparse: in each row the squared cosine of the ALIKE other items that are most like it, none below 0. `vectors`: (items, width), of length 1 or 0."""
    blocks, step = [], max(1, CELLS // max(1, len(vectors)))
    for start in range(0, len(vectors), step):
        cosine = vectors[start : start + step] @ vectors.T
        cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = 0
        least = np.partition(cosine, -ALIKE, axis=1)[:, -ALIKE, None] if cosine.shape[1] > ALIKE else 0
        blocks.append(nearest(sp.csr_array(np.where((cosine >= least) & (cosine > 0), cosine, 0).astype(np.float64) ** 2), ALIKE))
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_array((0, 0))


def nearest(matrix: sp.csr_array, k: int) -> sp.csr_array:
    """The `k` largest values of each row, the smaller column first among equals; the others are dropped."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[:-1][rows]  # `rows` is sorted already, so place counts within each row
    kept = order[place < k]
    return sp.coo_array((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape).tocsr()


def _co_occurrence(events: sp.csr_array) -> Iterator[tuple[int, sp.csr_array]]:
    """(first row, rows of events.T @ events) in blocks whose size is bounded, so that a large catalogue fits in memory."""
    by_item = events.T.tocsr()
    step = max(1, CELLS // max(1, events.shape[1]))
    for start in range(0, events.shape[1], step):
        yield start, by_item[start:start + step] @ events
