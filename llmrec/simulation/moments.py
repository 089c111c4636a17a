"""When and where somebody looks: the hours of a habit, the place and device of an hour, and the cues by which a moment changes what is wanted.

Separate from people and items, which both depend on the moment and not on each other.
"""

from __future__ import annotations

import numpy as np

CONTEXT = ("hour", "weekday", "device", "place", "promotion")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DEVICES = ("mobile", "tablet", "laptop", "tv")
PLACES = ("home", "commute", "work", "travel")
EPOCH = 1736121600  # 2025-01-06 00:00 UTC, a Monday: day 0 of every world

CUES = ("commute", "evening", "night", "weekend", "mobile", "tv", "work", "morning")
OCCASIONS = {
    "commute": "my commute", "night": "a late night", "work": "a lunch break", "morning": "an early morning", "evening": "a quiet evening",
    "weekend": "a lazy weekend",
}
# Chance of each hour by habit: commuters, evening people, night owls, people at home; the last row is everybody's weekend.
HOURS = np.array([
    [0, 0, 0, 0, 0, 1, 4, 12, 10, 2, 1, 1, 3, 2, 1, 1, 3, 10, 8, 4, 4, 3, 2, 1],
    [0, 0, 0, 0, 0, 0, 1, 2, 2, 1, 1, 1, 3, 2, 1, 1, 2, 3, 6, 12, 14, 12, 6, 1],
    [8, 6, 3, 1, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 2, 3, 5, 8, 12, 14],
    [0, 0, 0, 0, 0, 0, 2, 3, 5, 8, 8, 6, 4, 5, 7, 6, 4, 3, 3, 5, 6, 4, 2, 0],
    [2, 1, 0, 0, 0, 0, 1, 2, 4, 7, 8, 6, 5, 5, 6, 6, 5, 4, 5, 7, 8, 7, 5, 3],
], dtype=float)
HOURS_CDF = np.cumsum(HOURS / HOURS.sum(axis=1, keepdims=True), axis=1)
DEVICE_CDF = np.cumsum([[0.25, 0.20, 0.20, 0.35], [0.85, 0.10, 0.05, 0.0], [0.40, 0.0, 0.60, 0.0], [0.60, 0.35, 0.05, 0.0]], axis=1)  # by place


def place_and_device(habit: np.ndarray, hour: np.ndarray, weekday: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place and device (indices): commuters travel at their hours, people at home seldom leave it, the television stands at home."""
    weekend = weekday >= 5
    travelling = np.isin(hour, (7, 8, 17, 18)) & (habit != 3) & ~weekend
    working = (hour >= 9) & (hour < 17) & (habit != 3) & ~weekend
    place = np.select([travelling & (u < np.where(habit == 0, 0.85, 0.35)), working & (u < 0.65), u > np.where(weekend, 0.85, 0.95)], [1, 2, 3], default=0)
    return place, np.minimum((v[:, None] > DEVICE_CDF[place]).sum(axis=1), len(DEVICES) - 1)


def cues_at(hour: np.ndarray, weekday: np.ndarray, device: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(m, CUES) bool, in the order of CUES."""
    evening, night = (hour >= 18) & (hour < 23), (hour >= 23) | (hour < 5)
    return np.stack([place == 1, evening, night, weekday >= 5, device == 0, device == 3, place == 2, (hour >= 5) & (hour < 10)], axis=1)


def occasion_of(cues: np.ndarray) -> str:
    """When it is, in words: the first of the cues that holds."""
    return next((words for cue, words in OCCASIONS.items() if cues[CUES.index(cue)]), "an ordinary afternoon")
