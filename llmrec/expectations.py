"""Expectations: what the ratings of others let one expect of somebody's next rating, said by four specialists.

Separate from the baselines that compute them and from `calibration`, which weighs them against the language model's own answer:

    a history of ratings, an item  -biases, neighbours, SVD, SVD++->  3.6, 3.7, 4.1, 4.0

All are estimates from the history itself, so that a user whom training never saw is told as much as any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from safetensors.numpy import load_file, save_file

from llmrec.baselines.biases import Biases
from llmrec.baselines.factorization import SVD, Factorization, Factors, SVDpp
from llmrec.baselines.rating_knn import RatingKNN
from llmrec.baselines.rating_model import Ratings
from llmrec.interactions import TRAIN, VALID, Event
from llmrec.timelines import Timelines

FORMAT = 3
FACTORIZATIONS: tuple[type[Factorization], ...] = (SVD, SVDpp)


@dataclass(frozen=True)
class Expectations:
    """Biases, item-based neighbours, and factors whose user side is the ridge regression of a history; fitted on train, with settings chosen on valid.

    factorizations: one of each of FACTORIZATIONS.   scale: the lowest and the highest rating.   rows: item id -> catalogue row.
    """

    NUM_ESTIMATES: ClassVar[int] = 2 + len(FACTORIZATIONS)

    neighbours: RatingKNN
    factorizations: tuple[Factorization, ...]
    scale: tuple[float, float]
    rows: Mapping[str, int]

    @classmethod
    def of(cls, timelines: Timelines, *, seed: int = 0) -> Expectations | None:
        """None for a corpus without ratings in train, on a scale of at least two values."""
        corpus = timelines.corpus
        train, valid = (Ratings.of(timelines, part) for part in (TRAIN, VALID))
        if not len(train) or len(corpus.rating_scale) < 2:
            return None
        scale = (float(min(corpus.rating_scale)), float(max(corpus.rating_scale)))
        neighbours, *factorizations = (model().fit_ratings(train, valid, scale, seed=seed) for model in (RatingKNN, *FACTORIZATIONS))
        neighbours.similarity = neighbours.similarity.astype(np.float32)  # as it is stored
        return cls(neighbours, tuple(factorizations), scale, corpus.catalog.rows)

    def __call__(self, histories: Sequence[Sequence[Event]], users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n, NUM_ESTIMATES) float64: the estimates by biases, neighbours, SVD and SVD++ for n pairs of a history's number and a catalogue row, within the scale."""
        rated = [(user, self.rows[event.item_id], event.rating) for user, events in enumerate(histories) for event in events if event.rating is not None and event.item_id in self.rows]
        owners, known, values = np.array(rated, dtype=np.float64).reshape(-1, 3).T
        given = Ratings(owners.astype(np.int64), known.astype(np.int64), values, (len(histories), len(self.rows)))
        biases = self.neighbours.biases
        estimates = [biases.mean + biases.of_new_users(given)[users] + biases.item[items], *(model.fold_in(given, users, items) for model in (self.neighbours, *self.factorizations))]
        return np.clip(np.stack(estimates, axis=1), *self.scale)

    def save(self, folder: Path) -> None:
        """Writes expectations.safetensors and expectations.json into an existing folder."""
        biases, similarity = self.neighbours.biases, self.neighbours.similarity
        arrays = {"item_bias": biases.item, "similarity": similarity.data, "similar": similarity.indices.astype(np.int32), "starts": similarity.indptr.astype(np.int64)}
        record: dict[str, object] = {
            "format": FORMAT, "scale": self.scale, "mean": biases.mean, "regularisation_user": biases.regularisation_user, "num_neighbours": self.neighbours.num_neighbours,
        }
        for model in self.factorizations:
            factors = model.factors
            arrays |= {f"{model.name}_bias": factors.item_bias, f"{model.name}_items": factors.item, f"{model.name}_implicit": factors.implicit}
            record[model.name] = {"mean": factors.mean, "regularisation": model.regularisation}
        save_file(arrays, folder / "expectations.safetensors")
        (folder / "expectations.json").write_text(json.dumps(record) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, rows: Mapping[str, int]) -> Expectations | None:
        """What `save` wrote; None where the folder holds no expectations. Raises ValueError for another format, or for other items than the catalogue's."""
        path = folder / "expectations.json"
        if not path.is_file():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("format") != FORMAT:
            raise ValueError(f"{path} has format {record.get('format')!r}; this version reads {FORMAT}. Train the model again")
        arrays, num_items = load_file(folder / "expectations.safetensors"), len(rows)
        if not num_items == len(arrays["item_bias"]) == len(arrays["starts"]) - 1:
            raise ValueError(f"{folder / 'expectations.safetensors'} holds {len(arrays['item_bias'])} items, the catalogue {num_items}: they are not of one model")
        neighbours = RatingKNN()
        neighbours.biases = Biases(record["mean"], np.zeros(0), arrays["item_bias"], record["regularisation_user"])
        neighbours.similarity = sp.csr_array((arrays["similarity"], arrays["similar"], arrays["starts"]), shape=(num_items, num_items))
        neighbours.similarity.check_format(full_check=True)  # a number beyond the catalogue would be read from elsewhere in memory
        neighbours.num_neighbours = record["num_neighbours"]
        factorizations = []
        for kind in FACTORIZATIONS:
            model, items = kind(), arrays[f"{kind.name}_items"]
            nobody = np.zeros((0, items.shape[1]), np.float32)
            model.factors = Factors(record[kind.name]["mean"], np.zeros(0, np.float32), arrays[f"{kind.name}_bias"], nobody, items, arrays[f"{kind.name}_implicit"])
            model.regularisation = record[kind.name]["regularisation"]
            factorizations.append(model)
        return cls(neighbours, tuple(factorizations), tuple(record["scale"]), rows)
