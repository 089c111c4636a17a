"""Attacks on membership: what can be asked of a model about a user, and how well the answers tell those it was trained on from others.

Separate from the study (`membership`), which trains the models that are attacked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from llmrec.exam import Predictor
from llmrec.interactions import TRAIN
from llmrec.predictions import HeldOut
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines

LISTED = 100
"""Places of a list; what is not on it counts as the next."""
FALSE_ALARMS = 0.01
"""Of those a model was not trained on, the share that an attack may take for others."""


def questions(timelines: Timelines, *, events: int, users: int, seed: int) -> dict[str, list[HeldOut]]:
    """For each of the users what they chose last in train, each with what stood before it."""
    found: dict[str, list[HeldOut]] = {}
    for example in TASKS["next_item"].held_out(timelines, TRAIN, seed):
        if example.request.history:
            found.setdefault(example.request.user_id, []).append(example)
    drawn = np.random.default_rng([seed, 11]).permutation(sorted(found))[:users]
    return {user: found[user][-events:] for user in drawn.tolist()}


def signals_of(model: Predictor, asked: Mapping[str, Sequence[HeldOut]]) -> dict[str, tuple[float, float]]:
    """For each user the mean log-probability of what they chose, and minus the mean logarithm of its rank."""
    flat = [(user, example) for user, examples in asked.items() for example in examples]
    chosen = model.predict([replace(example.request, include=(example.target,), k=1, exclude_seen=False) for _, example in flat])
    listed = model.predict([replace(example.request, k=LISTED, exclude_seen=False) for _, example in flat])
    found: dict[str, list[tuple[float, float]]] = {}
    for (user, example), one, many in zip(flat, chosen, listed):
        ids = list(many.item_ids)
        rank = ids.index(example.target) + 1 if example.target in ids else len(ids) + 1
        found.setdefault(user, []).append((one.scores[0], -np.log(rank)))
    return {user: tuple(np.mean(values, axis=0).tolist()) for user, values in found.items()}


def attacks(signals: Mapping[int, Mapping[str, tuple[float, float]]], members: Mapping[int, frozenset[str]], *, resamples: int = 1000) -> list[dict[str, object]]:
    """A row for each attack: auc and found, means over the models, each with the interval of a bootstrap over users; none for an attack that no model has both sides for.

    signals: seed -> user -> (mean log-probability, minus mean log rank), of the same users.   members: seed -> whom its model was trained on.
    """
    users = list(next(iter(signals.values())))
    inside = {seed: np.array([user in members[seed] for user in users]) for seed in signals}
    told = {seed: np.array([own[user] for user in users]) for seed, own in signals.items()}
    scores: dict[str, dict[int, np.ndarray]] = {"loss": {}, "rank": {}, "reference": {}}
    for seed in signals:
        scores["loss"][seed], scores["rank"][seed] = told[seed].T
        unseen = np.array([np.where(inside[other], np.nan, told[other][:, 0]) for other in signals if other != seed])
        known = ~np.isnan(unseen).all(axis=0)
        mean = np.full(len(users), np.nan)
        mean[known] = np.nanmean(unseen[:, known], axis=0)
        scores["reference"][seed] = scores["loss"][seed] - mean
    rng, rows = np.random.default_rng(0), []
    for name, by_seed in scores.items():

        def figures(chosen: np.ndarray) -> np.ndarray:
            pairs = [(values[chosen][inside[seed][chosen]], values[chosen][~inside[seed][chosen]]) for seed, values in by_seed.items()]
            pairs = [tuple(side[~np.isnan(side)] for side in pair) for pair in pairs]
            found = [told_apart(*pair) for pair in pairs if all(map(len, pair))]
            return np.mean(found, axis=0) if found else np.full(2, np.nan)

        mean = figures(np.arange(len(users)))
        if np.isnan(mean).any():
            continue
        low, high = np.nanquantile([figures(rng.integers(len(users), size=len(users))) for _ in range(resamples)], (0.025, 0.975), axis=0)
        sizes = [sum(int((side & ~np.isnan(by_seed[seed])).sum()) for seed, side in sides.items()) for sides in (inside, {seed: ~own for seed, own in inside.items()})]
        rows += [
            {"attack": name, "metric": metric, "mean": float(mean[place]), "low": float(low[place]), "high": float(high[place]), "members": sizes[0], "others": sizes[1]} for place, metric in enumerate(("auc", "found"))
        ]
    return rows


def told_apart(members: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The area under the ROC curve of two samples of scores, members the higher; and the share of members above all but FALSE_ALARMS of the others.

    >>> told_apart([2.0, 3.0], [1.0, 2.0])
    (0.875, 0.5)
    """
    members, others = np.asarray(members), np.sort(others)
    below, up_to = np.searchsorted(others, members, "left"), np.searchsorted(others, members, "right")
    limit = others[len(others) - 1 - int(FALSE_ALARMS * len(others))]
    return float((below + up_to).mean() / 2 / len(others)), float((members > limit).mean())
