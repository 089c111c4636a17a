"""What is known about a yes/no question before it is answered, as columns of numbers: for models that read features instead of histories.

Separate from the models, because every leak a click model can have is a leak of its features: no training row may see its own answer in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from llmrec.baselines.histories import Histories, in_train, presence, train_matrix, users_of_events
from llmrec.interactions import TRAIN, Catalog
from llmrec.predictions import Request
from llmrec.timelines import Timelines

LATEST = 50  # Events of a history that are compared with the item: older ones say little, and a few users have thousands.
ITEM_PRIOR = 10.0  # How many answers the mean rate is worth in an item's smoothed rate.
USER_PRIOR = 5.0  # The same for a user.
SHRINKAGE = 10.0  # Of the similarity of two items, as in item_knn.
MAX_CATEGORIES = 50  # Columns one context may have; its rarer values have none.
FOLDS = 10  # Of users and of items: a training row reads statistics of the other folds.
QUESTIONS = 20_000  # Questions whose features are made at a time: with LATEST, up to a million pairs of items.

COLUMNS = (
    "item_questions", "item_rate", "item_events", "user_questions", "user_rate", "history_length", "repeats",
    "similarity_mean", "similarity_max", "attribute_overlap", "history_rating", "similar_rating",
)


@dataclass(frozen=True)
class Asked:
    """A batch of yes/no questions.

    items: (questions,) catalogue row.   histories: the latest LATEST events.   lengths: (questions,) of the whole histories.
    before: (questions, 2), how often the user was asked and answered yes before.   answers: (questions, 2), the same of the item.   events: (questions,) of the item in the streams.
    in_stream: (questions,) bool, for a training row whether train's stream holds its user and item, a trace to be taken out of the co-occurrences; False for any other row.
    contexts: name -> (questions,) values.
    """

    items: np.ndarray
    histories: Histories
    lengths: np.ndarray
    before: np.ndarray
    answers: np.ndarray
    events: np.ndarray
    in_stream: np.ndarray
    contexts: dict[str, list[str | None]]


class BinaryFeatures:
    """Counts of train, and the features they give a question. `names`: the columns.

    Of the item: how often it was asked about, its smoothed rate of yes, its events in the streams. Of the user: how often asked before, the smoothed rate of yes then.
    Of the history: its length, how often it holds the item, its mean rating. Of both: the mean and maximum of the item's shrunk cosine similarities to the history's items,
    the share of the item's attribute values found there, and the similarity-weighted mean rating there. And one column for each value of each context.
    Rates are log-odds, counts are logarithms, ratings are distances from the mean; 0 where nothing is known.

    No training row sees its answer. Item counts come from the users of the other folds, so that neither this answer nor another of this user (one click may answer several
    impressions) is among them; leaving out just the row would betray it, for the item's rate would be a little lower behind each yes. Of the user only earlier answers count,
    and only an earlier history; where the corpus has no order, those on items of the other folds. From the co-occurrences the row's own user is taken out.
    """

    def __init__(self, timelines: Timelines, questions: pl.DataFrame, *, together: sp.csr_array | None = None):
        """questions: those of train, as `binary_questions` gives them.   together: (items, items) how many users of train have both, where not all pairs are to be looked at."""
        self._timelines = timelines
        catalog = timelines.corpus.catalog
        num_items = len(catalog)
        chosen = in_train(timelines)
        self._stream = train_matrix(timelines)
        self._together = (self._stream.T @ self._stream).tocsr() if together is None else together
        self._users_of_item = np.asarray(self._stream.sum(axis=0)).ravel()
        self._attributes = attribute_matrix(catalog)
        ratings = timelines.ratings[chosen]
        self._mean_rating = float(np.nanmean(ratings)) if (~np.isnan(ratings)).any() else 0.0
        user, item, label = (questions[name].to_numpy() for name in ("user", "item", "label"))
        self.rate = float(label.mean())
        self._user_fold, self._item_fold = _folds(len(timelines)), _folds(num_items)
        self._item_answers = _sums(self._user_fold[user], item, label, num_items)
        self._user_answers = _sums(self._item_fold[item], user, label, len(timelines))
        stream_users, stream_items = users_of_events(timelines)[chosen], timelines.items[chosen]
        self._item_events = _sums(self._user_fold[stream_users], stream_items, np.ones(len(stream_items)), num_items)[:, :, 0]
        self._user_rows = {user_id: row for row, user_id in enumerate(timelines.user_ids)}
        self._categories = self._common_contexts(questions)
        self.names = COLUMNS + tuple(f"{name}={value}" for name, values in self._categories.items() for value in values)
        # Where the corpus has no order, the train events of a user stand for the past of each other.
        self._train_places = np.flatnonzero(chosen)
        self._train_starts = np.searchsorted(users_of_events(timelines)[chosen], np.arange(len(timelines) + 1))

    def of_log(self, questions: pl.DataFrame, chosen: np.ndarray | None = None) -> np.ndarray:
        """(questions, columns) float64, for questions of one part as `binary_questions` gives them; those of train must be all there are: what is known of a user depends on all earlier ones. chosen: the places of those that are wanted, ascending."""
        train = len(questions) > 0 and questions["part"][0] == TRAIN
        # Its own row is neither earlier nor about another item; in the order of the log.
        earlier = questions.with_columns(one=1).select(
            (pl.col(name).cum_sum().over("user") - pl.col(name).cum_sum().over("user", "item")).alias(name) for name in ("one", "label")
        ).to_numpy()
        chunks = [np.empty((0, len(self.names)))]
        wanted = np.arange(len(questions)) if chosen is None else chosen
        for start in range(0, len(wanted), QUESTIONS):
            chunk = wanted[start:start + QUESTIONS]
            user, item, place, row = (questions[name].to_numpy()[chunk] for name in ("user", "item", "place", "row"))
            contexts = {name: self._timelines.corpus.interactions.frame[name].gather(row).to_list() for name in self._categories}
            histories, lengths = self._histories(user, item, place, train)
            known = self._known(user, item, train)
            if train and self._timelines.temporal:
                known["before"] = earlier[chunk]
            chunks.append(self._features(Asked(items=item, histories=histories, lengths=lengths, contexts=contexts, **known)))
        return np.concatenate(chunks)

    def of_requests(self, requests: Sequence[Request]) -> np.ndarray:
        """(requests, columns) float64. A user is known by user_id, for the answers given in train; an unknown one has given none."""
        catalog = self._timelines.corpus.catalog
        chunks = [np.empty((0, len(self.names)))]
        for start in range(0, len(requests), QUESTIONS):
            batch = requests[start:start + QUESTIONS]
            users = np.array([self._user_rows.get(request.user_id, -1) for request in batch])
            histories = Histories.of(batch, catalog)
            contexts = {name: [(request.context or {}).get(name) for request in batch] for name in self._categories}
            items = np.array([catalog.rows[request.item_id] for request in batch])
            known = self._known(users, items, train=False)
            chunks.append(self._features(Asked(items=items, histories=histories.latest(LATEST), lengths=histories.sizes, contexts=contexts, **known)))
        return np.concatenate(chunks)

    def _known(self, users: np.ndarray, items: np.ndarray, train: bool) -> dict[str, np.ndarray]:
        """What train says of these users (-1: unknown) and items; for training rows the other folds of train."""
        before, answers, events = self._user_answers[:, users].sum(axis=0), self._item_answers[:, items].sum(axis=0), self._item_events[:, items].sum(axis=0)
        if not train:
            return {"before": np.where((users >= 0)[:, None], before, 0), "answers": answers, "events": events, "in_stream": np.zeros(len(items), dtype=bool)}
        user_fold, item_fold = self._user_fold[users], self._item_fold[items]
        return {
            "before": before - self._user_answers[item_fold, users], "answers": answers - self._item_answers[user_fold, items],
            "events": events - self._item_events[user_fold, items], "in_stream": np.asarray(self._stream[users, items]) > 0,
        }

    def _histories(self, user: np.ndarray, item: np.ndarray, place: np.ndarray, train: bool) -> tuple[Histories, np.ndarray]:
        """The latest events before each question of the log, and how many there are in all."""
        timelines = self._timelines
        if timelines.temporal:
            start, stop, events = timelines.starts[user], place, np.arange(len(timelines.items))
        else:
            start, stop, events = self._train_starts[user], self._train_starts[user + 1], self._train_places
        sizes = np.minimum(stop - start, LATEST)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        places = events[np.repeat(stop - sizes - offsets[:-1], sizes) + np.arange(offsets[-1])]
        histories = Histories(offsets, timelines.items[places], timelines.ratings[places], timelines.asked[places], np.zeros(len(user), dtype=np.int64))
        if timelines.temporal or not train:
            return histories, stop - start
        others = histories.where(self._item_fold[histories.items] != self._item_fold[item][histories.owners])
        return others, stop - start - (histories.sizes - others.sizes)

    def _features(self, asked: Asked) -> np.ndarray:
        items, histories = asked.items, asked.histories
        similarity, together = self._similarities(asked)
        columns = [
            np.log1p(asked.answers[:, 0]), log_odds(asked.answers, self.rate, ITEM_PRIOR), np.log1p(asked.events),
            np.log1p(asked.before[:, 0]), log_odds(asked.before, self.rate, USER_PRIOR), np.log1p(asked.lengths),
            np.log1p(np.bincount(histories.owners[histories.items == items[histories.owners]], minlength=len(items))),
            *together, overlap(items, histories, self._attributes), *self._ratings(histories, similarity),
        ]
        one_hot = [[value == wanted for value in asked.contexts[name]] for name, values in self._categories.items() for wanted in values]
        return np.column_stack([*columns, *np.array(one_hot, dtype=np.float64).reshape(-1, len(items))])

    def _similarities(self, asked: Asked) -> tuple[np.ndarray, list[np.ndarray]]:
        """(events,) similarity of each event's item to the item asked about; and (questions,) their mean and maximum."""
        histories, owners = asked.histories, asked.histories.owners
        item = asked.items[owners]
        both = np.zeros(len(owners))
        if len(owners):
            both = np.asarray(self._together[item, histories.items]).astype(np.float64)
        # Leave-one-out: without this user, the pair and the item are one less, if train's stream holds the item for this user.
        own = asked.in_stream[owners] & (both > 0)
        norm = np.sqrt((self._users_of_item[item] - asked.in_stream[owners]) * self._users_of_item[histories.items])
        similarity = np.where(histories.items == item, 0.0, (both - own) / (norm + SHRINKAGE))
        return similarity, mean_and_largest(similarity, histories)

    def _ratings(self, histories: Histories, similarity: np.ndarray) -> list[np.ndarray]:
        """(questions,) the mean rating of the history, from the mean of train; and the similarity-weighted one, from the history's."""
        rated = ~np.isnan(histories.ratings)
        owners, size = histories.owners[rated], len(histories)
        counts = np.bincount(owners, minlength=size)
        mean = np.bincount(owners, histories.ratings[rated] - self._mean_rating, size) / np.maximum(1, counts)
        distance = histories.ratings[rated] - self._mean_rating - mean[owners]
        weight = np.bincount(owners, similarity[rated], size)
        return [mean, np.bincount(owners, similarity[rated] * distance, size) / (weight + 0.1)]  # 0.1: a few faint similarities are no verdict

    def _common_contexts(self, questions: pl.DataFrame) -> dict[str, list[str]]:
        frame, rows = self._timelines.corpus.interactions.frame, questions["row"].to_numpy()
        return {
            name: sorted(frame[name].gather(rows).drop_nulls().value_counts(sort=True).sort("count", name, descending=[True, False])[name].head(MAX_CATEGORIES).to_list())
            for name in self._timelines.corpus.interactions.context
        }


def _folds(size: int) -> np.ndarray:
    """(size,) a fold for each, drawn once and for all: the seed of a model is not to change what it sees."""
    return np.random.default_rng(0).integers(FOLDS, size=size)


def _sums(folds: np.ndarray, groups: np.ndarray, labels: np.ndarray, size: int) -> np.ndarray:
    """(FOLDS, size, 2) float64: questions and yes of each fold and group."""
    cells = folds * size + groups
    counts = [np.bincount(cells, minlength=FOLDS * size), np.bincount(cells, labels, FOLDS * size)]
    return np.stack(counts, axis=-1).reshape(FOLDS, size, 2).astype(np.float64)


def log_odds(answers: np.ndarray, rate: float, prior: float) -> np.ndarray:
    """(n,) of the smoothed share of yes. answers: (n, 2), how many and how many of them yes; `prior` answers with the mean `rate` stand beside them."""
    smoothed = (answers[:, 1] + prior * rate) / (answers[:, 0] + prior)
    smoothed = np.clip(smoothed, 1e-6, 1 - 1e-6)  # all answers of train may be the same
    return np.log(smoothed / (1 - smoothed))


def mean_and_largest(similarity: np.ndarray, histories: Histories) -> list[np.ndarray]:
    """Two columns, (questions,), of what was found for each event; 0 for an empty history."""
    largest = np.zeros(len(histories))
    np.maximum.at(largest, histories.owners, similarity)
    return [np.bincount(histories.owners, similarity, len(histories)) / np.maximum(1, histories.sizes), largest]


def overlap(items: np.ndarray, histories: Histories, attributes: sp.csr_array) -> np.ndarray:
    """(questions,) the share of the item's attribute values that other items of the history have, too. attributes: as `attribute_matrix` gives them."""
    others = histories.where(histories.items != items[histories.owners])
    profile = others.matrix(attributes.shape[0]) @ attributes
    shared = np.asarray(attributes[items].multiply(profile > 0).sum(axis=1)).ravel()
    return shared / np.maximum(1, np.diff(attributes.indptr)[items])


def attribute_matrix(catalog: Catalog) -> sp.csr_array:
    """(items, attribute values) with 1 where the item has the value."""
    columns: dict[tuple[str, str], int] = {}
    pairs = [
        (row, columns.setdefault((name, value), len(columns)))
        for name, rows in catalog.attribute_values.items() for row, values in enumerate(rows) for value in values
    ]
    rows, places = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return presence(rows, places, (len(catalog), max(1, len(columns))))
