"""Affinities: what the yes and no of others, and the likeness of items, let one expect of a yes/no question.

Separate from `expectations`, which read ratings: an impression that was clicked, or a click that became a purchase, is no rating, and a small model that has met a pair
of items once forgets what a count remembers. `calibration` weighs these log-odds against the language model's own:

    a history, an item  -logistic regression on rates, likeness and shared attributes->  -0.4
                        -the history's own rate of yes->                                  0.3

All are made from the history itself, so that a user whom training never saw is told as much as any other. The regression learns from train, where no row sees its own answer: see BinaryFeatures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp
from safetensors.numpy import load_file, save_file

from llmrec.baselines.binary_features import ITEM_PRIOR, LATEST, SHRINKAGE, USER_PRIOR, BinaryFeatures, attribute_matrix, log_odds, mean_and_largest, overlap
from llmrec.baselines.histories import Histories, in_train, train_matrix
from llmrec.baselines.neighbours import similarities
from llmrec.calibration import logistic
from llmrec.interactions import IMPRESSION, LEADING, TRAIN, Catalog, Interactions
from llmrec.predictions import Request
from llmrec.timelines import Timelines, binary_questions

FORMAT = 1
INPUTS = ("item_rate", "similarity_mean", "similarity_max", "attribute_overlap", "history_length")
"""Columns of BinaryFeatures that a request tells by itself, whoever asks, and that serve: the others' together bring next to nothing."""
ROWS = 200_000
"""Questions at most that a regression learns from: five numbers learn nothing more from further ones."""
NUM_NEIGHBOURS = 100
"""Others an item is compared with: all pairs of a large catalogue would not fit into a model's folder."""


@dataclass(frozen=True)
class Affinities:
    """rates: of each task (items,) float64, the log-odds of the item's smoothed share of yes in train.   means: of each task the share of yes of all questions there.   weights: of each task (INPUTS + 1,), those of the regression and its constant.   words: of each task the words of events that say it came to what it asks about, none where it asks about no event that others lead to.   similarity: (items, items), the shrunk cosine of each item's nearest others, as ItemKNN has it."""

    NUM_ESTIMATES: ClassVar[int] = 2

    rates: Mapping[str, np.ndarray]
    means: Mapping[str, float]
    weights: Mapping[str, np.ndarray]
    words: Mapping[str, Sequence[str]]
    similarity: sp.csr_array
    catalog: Catalog

    @classmethod
    def of(cls, timelines: Timelines, tasks: Sequence[str]) -> Affinities | None:
        """From train, for those of the yes/no tasks whose answers stand there, both of them, and are no ratings; None where there is none."""
        log, catalog = timelines.corpus.interactions, timelines.corpus.catalog
        rates, means, weights, said = {}, {}, {}, {}
        asked = {task: binary_questions(timelines, task).filter(pl.col("part") == TRAIN) for task in tasks}
        # A like of a rated film is a rating: the expectations of ratings say more, and these would cost what is known of a user.
        asked = {task: questions for task, questions in asked.items() if questions["label"].n_unique() > 1 and not _rated(timelines, task, questions)}
        if not asked:
            return None
        # As a request is told, whose pairs of items are the nearest ones.
        stream = train_matrix(timelines)
        similarity = similarities(stream, num_neighbours=NUM_NEIGHBOURS, shrinkages=[SHRINKAGE])[SHRINKAGE]
        pairs = similarity.tocoo()
        counts = np.asarray(stream.sum(axis=0)).ravel()
        together = sp.coo_array((np.rint(pairs.data * (np.sqrt(counts[pairs.row] * counts[pairs.col]) + SHRINKAGE)), (pairs.row, pairs.col)), shape=pairs.shape).tocsr()
        for task, questions in asked.items():
            item, label = questions["item"].to_numpy(), questions["label"].to_numpy()
            means[task] = float(label.mean())
            answers = np.stack([np.bincount(item, minlength=len(catalog)), np.bincount(item, label, len(catalog))], axis=1)
            rates[task] = log_odds(answers, means[task], ITEM_PRIOR)
            features = BinaryFeatures(timelines, questions, together=together)
            drawn = np.sort(np.random.default_rng(0).choice(len(label), min(ROWS, len(label)), replace=False))
            weights[task] = logistic(features.of_log(questions, drawn)[:, [features.names.index(name) for name in INPUTS]], label[drawn])
            said[task] = _words_of_yes(log, task)
        return cls(rates, means, weights, said, similarity.astype(np.float32), catalog)

    def __call__(self, task: str, requests: Sequence[Request]) -> np.ndarray:
        """(requests, NUM_ESTIMATES) float64, log-odds of yes to questions of one task: by the regression; and those of the history's own events, how many of them went on to what the task asks about (0 where no event tells)."""
        whole = Histories.of(requests, self.catalog)
        histories = whole.latest(LATEST)
        items = np.array([self.catalog.rows[request.item_id] for request in requests], dtype=np.int64)
        asked = items[histories.owners]
        similarity = np.asarray(self.similarity[asked, histories.items]).astype(np.float64) if len(asked) else np.zeros(0)
        inputs = np.column_stack([self.rates[task][items], *mean_and_largest(similarity, histories), overlap(items, histories, self._attributes), np.log1p(whole.sizes), np.ones(len(items))])
        return np.column_stack([(inputs * self.weights[task]).sum(axis=1), self._history_rate(task, requests)])  # not a product of matrices, whose sums depend on how many rows there are

    def _history_rate(self, task: str, requests: Sequence[Request]) -> np.ndarray:
        if not self.words[task]:
            return np.zeros(len(requests))
        telling = dict.fromkeys(LEADING[task], False) | dict.fromkeys(self.words[task], True)
        found = [[telling[event.event] for event in request.history if event.event in telling] for request in requests]
        return log_odds(np.array([(len(events), sum(events)) for events in found], dtype=np.float64).reshape(-1, 2), self.means[task], USER_PRIOR)

    @cached_property
    def _attributes(self) -> sp.csr_array:
        return attribute_matrix(self.catalog)

    def save(self, folder: Path) -> None:
        """Writes affinities.safetensors and affinities.json into an existing folder."""
        found = self.similarity
        save_file({**self.rates, "values": found.data, "items": found.indices.astype(np.int32), "starts": found.indptr.astype(np.int64)}, folder / "affinities.safetensors")
        (folder / "affinities.json").write_text(json.dumps({"format": FORMAT, "means": self.means, "words": self.words, "weights": {task: found.tolist() for task, found in self.weights.items()}}) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, catalog: Catalog) -> Affinities | None:
        """What `save` wrote; None where the folder holds none. Raises ValueError for another format, for other items than the catalogue's, or for what is no number."""
        path = folder / "affinities.json"
        if not path.is_file():
            return None
        about = json.loads(path.read_text(encoding="utf-8"))
        if about.get("format") != FORMAT:
            raise ValueError(f"{path} has format {about.get('format')!r}; this version reads {FORMAT}. Make it anew: python -m train.refit")
        arrays, size = load_file(folder / "affinities.safetensors"), len(catalog)
        if len(arrays["starts"]) != size + 1:
            raise ValueError(f"{folder / 'affinities.safetensors'} holds {len(arrays['starts']) - 1} items, the catalogue {size}: they are not of one model")
        similarity = sp.csr_array((arrays["values"], arrays["items"], arrays["starts"]), shape=(size, size))
        similarity.check_format(full_check=True)  # a number beyond the catalogue would be read from elsewhere in memory
        rates = {task: arrays[task] for task in about["means"]}
        if not all(found.shape == (size,) and np.isfinite(found).all() for found in rates.values()) or not np.isfinite(similarity.data).all():
            raise ValueError(f"{folder / 'affinities.safetensors'} does not say of each of {size} items, as numbers, how often it got a yes and which others are like it")
        weights = {task: np.array(about["weights"][task], dtype=np.float64) for task in rates}
        if not all(found.shape == (len(INPUTS) + 1,) and np.isfinite(found).all() and 0 < about["means"][task] < 1 for task, found in weights.items()):
            raise ValueError(f"{path} has weights {about['weights']} and means {about['means']}; expected {len(INPUTS) + 1} numbers, and one between 0 and 1, for each task")
        return cls(rates, about["means"], weights, {task: tuple(about["words"][task]) for task in rates}, similarity, catalog)


def _rated(timelines: Timelines, task: str, questions: pl.DataFrame) -> bool:
    """Whether the answers of train are its ratings: most of what is asked about carries one, or the log says of each event both whether it was liked and how."""
    log = timelines.corpus.interactions
    if not log.has("rating"):
        return False
    asked = log.frame["rating"].gather(questions["row"])
    return asked.null_count() * 2 < len(asked) or log.has(task) and not np.isnan(timelines.ratings[in_train(timelines)]).any()


def _words_of_yes(log: Interactions, task: str) -> tuple[str, ...]:
    """The words of train's events that mostly stand where the user came to what the task asks about with that item: "purchase", and "rating" where what is bought is rated. None where no event of train asks."""
    train = log.part(TRAIN).frame
    if task not in LEADING or not train["event"].is_in(LEADING[task]).any():
        return ()
    came = train.filter(pl.col("event") == task).select("user_id", "item_id", came=pl.lit(True)).unique()
    shares = train.filter(~pl.col("event").is_in([*LEADING[task], IMPRESSION])).join(came, on=["user_id", "item_id"], how="left").group_by("event").agg(pl.col("came").is_not_null().mean())
    return tuple(sorted(shares.filter(pl.col("came") > 0.5)["event"]))
