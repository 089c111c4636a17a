"""The random choices of a simulated world: throws that depend on nothing but the seed and the user, and drawing from a list.

Separate from what is drawn, so that it is plain in one place why a user is the same whoever else lives in the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64: see Dice
LIFE, SESSION, SLOT, OUTCOME, QUERY, REVIEW = range(6)  # the purposes of a throw


@dataclass(frozen=True)
class Dice:
    """Random numbers without a state: number `lane` of throw `(purpose, counter)` of a user is a fixed function of (seed, user).

    It is SplitMix64 read at any place: output n of the generator that starts at the user's own key. One call serves many users at once, and no user's
    numbers depend on who else is asked. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, figure 14.
    """

    keys: np.ndarray  # (users,) uint64

    @classmethod
    def of(cls, seed: int, numbers: np.ndarray) -> Dice:
        return cls(mix(mix(np.array([seed], dtype=np.uint64) + GOLDEN) + GOLDEN * (numbers.astype(np.uint64) + np.uint64(1))))

    def throw(self, purpose: int, counter: int = 0, *, lanes: int, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(rows, lanes) float64, uniform in (0, 1)."""
        return ((self.bits(purpose, counter, lanes=lanes, rows=rows) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def bits(self, purpose: int, counter: int = 0, *, lanes: int, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(rows, lanes) uint64."""
        first = ((purpose << 20) + counter) << 12
        return mix(self.keys[rows, None] + GOLDEN * np.arange(first + 1, first + lanes + 1, dtype=np.uint64))


def mix(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64: uint64 to uint64, any shape, one to one."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Wheel:
    """A small stream of choices for one text, from one 64-bit number.

    Source: the high bits of the MMIX congruential generator, Knuth, The Art of Computer Programming 2, section 3.3.4.
    """

    def __init__(self, state: int):
        self.state = state

    def turn(self, size: int) -> int:
        """A number from 0 to size - 1."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % size

    def one(self, options: Sequence[str]) -> str:
        return options[self.turn(len(options))]


def draw_one(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def draw_some(rng: np.random.Generator, options: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` different options in random order, or all where there are fewer."""
    return tuple(options[i] for i in rng.permutation(len(options))[:count])
