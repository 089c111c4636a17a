"""The users of a simulated world: their tastes, which drift, their habits, and when they come.

Separate from what happens to them, so that a user is known before a world is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmrec.simulation.chance import LIFE, Dice
from llmrec.simulation.moments import HOURS, HOURS_CDF
from llmrec.simulation.shelf import DIMENSIONS

MAX_SESSIONS, MAX_SLOTS = 60, 8
SESSION_GAP = 2700  # seconds between two session starts, above the longest session (8 slots of at most 266 s)


@dataclass(frozen=True)
class People:
    """A chunk of n users: who they are and when they come.

    base, turn: (n, DIMENSIONS) a user's taste starts at `base` and turns toward `turn` by `drift` (n,) radians over the days; own: (n, 3, DIMENSIONS), what is
    particular to each scenario.   leniency, thrift, appetite: (n,) added to ratings, weight of the price, added to purchases.   fondness: (n, 3) of scenarios.
    habit: (n,) row of HOURS.   seeks, talks: (n,) chance of a search in a session and of a review with a rating.   hides: (n,) keeps the place to themself.
    begins: (n, MAX_SESSIONS) float64, session starts in seconds after EPOCH, ascending, inf where there are no more.
    """

    numbers: np.ndarray
    dice: Dice
    base: np.ndarray
    turn: np.ndarray
    own: np.ndarray
    drift: np.ndarray
    leniency: np.ndarray
    thrift: np.ndarray
    appetite: np.ndarray
    fondness: np.ndarray
    habit: np.ndarray
    seeks: np.ndarray
    talks: np.ndarray
    hides: np.ndarray
    begins: np.ndarray

    @classmethod
    def meet(cls, numbers: Sequence[int] | np.ndarray, *, seed: int, days: int, items: int) -> People:
        """The users of these numbers (0-based). Half of a small catalogue's scenario is never shown to one user: it caps the sessions."""
        numbers = np.asarray(numbers, dtype=np.int64)
        dice = Dice.of(seed, numbers)
        normal = _normal(dice.throw(LIFE, 0, lanes=2 * (5 * DIMENSIONS + 4)))
        vectors, scalars = normal[:, : 5 * DIMENSIONS].reshape(-1, 5, DIMENSIONS), normal[:, 5 * DIMENSIONS :]
        u = dice.throw(LIFE, 1, lanes=16)
        most = max(1, min(MAX_SESSIONS, 2 * days, items // 14))
        sessions = np.clip(np.exp(np.log(8.2) + 0.65 * scalars[:, 0]).astype(int), min(3, most), most)
        habit = np.searchsorted(np.cumsum([0.35, 0.3, 0.15]), u[:, 0])
        fondness = np.array([0.48, 0.34, 0.18]) * np.exp(1.1 * (2 * u[:, 1:4] - 1))
        return cls(
            numbers, dice, base=vectors[:, 0], turn=vectors[:, 1], own=vectors[:, 2:], drift=u[:, 4] / days,
            leniency=0.5 * scalars[:, 1], thrift=0.35 * np.exp(0.6 * scalars[:, 2]), appetite=0.4 * scalars[:, 3], fondness=fondness,
            habit=habit, seeks=0.05 + 0.25 * u[:, 5], talks=0.2 + 0.6 * u[:, 6], hides=u[:, 7] < 0.08,
            begins=_begins(dice, habit, sessions, join=np.where(u[:, 8] < 0.5, 0.0, 0.5 * u[:, 9]) * days, days=days),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def user_ids(self) -> list[str]:
        return [f"u{number + 1}" for number in self.numbers.tolist()]

    def tastes(self, rows: np.ndarray, day: np.ndarray, scenario: np.ndarray) -> np.ndarray:
        """(n, DIMENSIONS): the taste vectors of these users on these days (n,) in these scenarios (n,): three quarters shared between scenarios."""
        angle = (self.drift[rows] * day)[:, None]
        shared = self.base[rows] * np.cos(angle) + self.turn[rows] * np.sin(angle)
        return np.sqrt(0.75) * shared + np.sqrt(0.25) * self.own[rows, scenario]


def _normal(u: np.ndarray) -> np.ndarray:
    """Standard normals from pairs of uniforms, (n, 2 k) -> (n, k), by Box and Muller's transform."""
    half = u.shape[1] // 2
    return np.sqrt(-2.0 * np.log(u[:, :half])) * np.cos(2.0 * np.pi * u[:, half:])


def _begins(dice: Dice, habit: np.ndarray, sessions: np.ndarray, *, join: np.ndarray, days: int) -> np.ndarray:
    """Session starts as in People.begins: a random day after the user joined, an hour of their habit, and room between two sessions."""
    u = dice.throw(LIFE, 2, lanes=3 * MAX_SESSIONS).reshape(len(habit), 3, MAX_SESSIONS)
    day = np.floor(join[:, None] + u[:, 0] * (days - join[:, None]))
    hours = HOURS_CDF[np.where(day % 7 >= 5, len(HOURS) - 1, habit[:, None])]
    hour = np.minimum((u[:, 1, :, None] > hours).sum(axis=-1), 23)
    begins = day * 86400 + hour * 3600 + np.floor(u[:, 2] * 3600)
    begins[np.arange(MAX_SESSIONS) >= sessions[:, None]] = np.inf
    room = SESSION_GAP * np.arange(MAX_SESSIONS)
    return np.maximum.accumulate(np.sort(begins, axis=1) - room, axis=1) + room
