"""Expectations: what the ratings of others let one expect of somebody's next rating, as grades that a prompt can hold.

Separate from the baselines that compute them, so that a language model reads what the specialists say, in training as in use:

    a history of ratings, an item  -neighbours, factors->  3.7, 4.1  -grades->  "r", "u"

A grade is a letter, "a" for the lowest 26th of the scale to "z" for the highest: a single token of any vocabulary, where a number is several.
In training nobody's rating may stand behind the grade beside the question that asks for it, so each user's grades come from models fitted without that user's fold.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file, save_file

from llmrec.baselines.biases import Biases
from llmrec.baselines.factorization import SVD, Factors
from llmrec.baselines.rating_knn import RatingKNN
from llmrec.baselines.rating_model import Ratings
from llmrec.interactions import FOLDS, TRAIN, VALID, Event
from llmrec.timelines import Timelines

FORMAT = 1
GRADES = string.ascii_lowercase


class _Factors(SVD):
    """SVD with a third of its factors: a new user's are estimated from a history, and each fold lacks a fifth of the users."""

    num_factors, learning_rate, num_epochs = 32, 0.01, 40


@dataclass(frozen=True)
class Expectations:
    """Two specialists fitted on train: item-based neighbours, and factors whose user side is the ridge regression of a history.

    scale: the lowest and the highest rating.   rows: item id -> catalogue row.   folds: user id -> the expectations fitted without that user; empty in a finished model.
    """

    neighbours: RatingKNN
    factors: SVD
    scale: tuple[float, float]
    rows: Mapping[str, int]
    folds: Mapping[str, Expectations] = field(default_factory=dict)

    @classmethod
    def of(cls, timelines: Timelines, *, seed: int = 0, for_training: bool = True) -> Expectations:
        """Fitted on train, with settings chosen on valid; for training also without each fold of users. Raises ValueError for a corpus without ratings in train, or with those of a single fold."""
        corpus = timelines.corpus
        train, valid = (Ratings.of(timelines, part) for part in (TRAIN, VALID))
        if not len(train) or len(corpus.rating_scale) < 2:
            raise ValueError(f"expectations=true needs ratings in train and a scale of at least two values; corpus {corpus.name!r} has none: set expectations=false")
        fold = timelines.folds
        if for_training and len(np.unique(fold[train.users])) < 2:
            raise ValueError(f"expectations=true needs ratings by users of at least two folds, to tell each what the others say; corpus {corpus.name!r} has too few users: set expectations=false")
        scale = (float(min(corpus.rating_scale)), float(max(corpus.rating_scale)))

        def fit(kept: np.ndarray) -> Expectations:
            neighbours, factors = (model.fit_ratings(_of_users(train, kept), _of_users(valid, kept), scale, seed=seed) for model in (RatingKNN(), _Factors()))
            neighbours.similarity = neighbours.similarity.astype(np.float32)  # as it is stored
            return cls(neighbours, factors, scale, corpus.catalog.rows)

        whole = fit(np.ones(len(fold), dtype=bool))
        if not for_training:
            return whole
        parts = [fit(fold != number) for number in range(FOLDS)]
        return replace(whole, folds={user_id: parts[number] for user_id, number in zip(timelines.user_ids, fold)})

    def for_training(self, user_id: str) -> Expectations:
        """Those fitted without this user."""
        return self.folds.get(user_id, self)

    def __call__(self, histories: Sequence[Sequence[Event]], users: np.ndarray, items: np.ndarray) -> list[str]:
        """The grades, by neighbours and by factors, for n pairs of a history's number and a catalogue row."""
        rated = [(user, self.rows[event.item_id], event.rating) for user, events in enumerate(histories) for event in events if event.rating is not None and event.item_id in self.rows]
        owners, known, values = np.array(rated, dtype=np.float64).reshape(-1, 3).T
        given = Ratings(owners.astype(np.int64), known.astype(np.int64), values, (len(histories), len(self.rows)))
        estimates = np.stack([model.fold_in(given, users, items) for model in (self.neighbours, self.factors)], axis=1)
        low, high = self.scale
        grades = np.clip(len(GRADES) * (estimates - low) / (high - low), 0, len(GRADES) - 1).astype(np.int64)
        return ["".join(GRADES[grade] for grade in pair) for pair in grades]

    def save(self, folder: Path) -> None:
        """Writes expectations.safetensors and expectations.json into an existing folder."""
        biases, similarity, factors = self.neighbours.biases, self.neighbours.similarity, self.factors.factors
        arrays = {
            "item_bias": biases.item, "similarity": similarity.data, "similar": similarity.indices.astype(np.int32), "starts": similarity.indptr.astype(np.int64),
            "factor_bias": factors.item_bias, "factors": factors.item,
        }
        save_file(arrays, folder / "expectations.safetensors")
        record = {
            "format": FORMAT, "scale": self.scale, "mean": biases.mean, "regularisation_user": biases.regularisation_user, "num_neighbours": self.neighbours.num_neighbours,
            "factor_mean": factors.mean, "factor_regularisation": self.factors.regularisation,
        }
        (folder / "expectations.json").write_text(json.dumps(record) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, rows: Mapping[str, int]) -> Expectations | None:
        """What `save` wrote; None where the folder holds no expectations. Raises ValueError for another format, or for other items than the catalogue's."""
        path = folder / "expectations.json"
        if not path.is_file():
            return None
        record, arrays = json.loads(path.read_text(encoding="utf-8")), load_file(folder / "expectations.safetensors")
        if record.get("format") != FORMAT:
            raise ValueError(f"{path} has format {record.get('format')!r}; this version reads {FORMAT}. Train the model again")
        num_items, item = len(rows), arrays["factors"]
        if not num_items == len(item) == len(arrays["item_bias"]) == len(arrays["starts"]) - 1:
            raise ValueError(f"{folder / 'expectations.safetensors'} holds {len(item)} items, the catalogue {num_items}: they are not of one model")
        neighbours, factors = RatingKNN(), _Factors()
        neighbours.biases = Biases(record["mean"], np.zeros(0), arrays["item_bias"], record["regularisation_user"])
        neighbours.similarity = sp.csr_array((arrays["similarity"], arrays["similar"], arrays["starts"]), shape=(num_items, num_items))
        neighbours.num_neighbours = record["num_neighbours"]
        nobody = np.zeros((0, item.shape[1]), np.float32)
        factors.factors = Factors(record["factor_mean"], np.zeros(0, np.float32), arrays["factor_bias"], nobody, item, np.zeros_like(item))
        factors.regularisation = record["factor_regularisation"]
        return cls(neighbours, factors, tuple(record["scale"]), rows)


def _of_users(ratings: Ratings, chosen: np.ndarray) -> Ratings:
    """The ratings of these users, who keep their numbers. chosen: (users,) bool."""
    kept = chosen[ratings.users]
    return Ratings(ratings.users[kept], ratings.items[kept], ratings.values[kept], ratings.shape)
