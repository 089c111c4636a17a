"""How a training is asked to end: signals that only set a flag.

Separate from the loop, which decides at which steps the flag is looked at.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ONE_KEY = 1.0
"""Seconds within which interrupts are one press of a key: a terminal sends it to every process, and a launcher passes its own on."""


class Stopped(Exception):
    """The run was asked to end while it did what can be done again."""


class Stop:
    """Remembers that the run was asked to end. A launcher may send the signal twice, and one may come while a checkpoint is written: the handler only sets a flag.

    Where a signal was ignored when the process began (nohup, a job in the background), it stays so. A second interrupt from the keyboard, ONE_KEY after the first, ends at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self._when = 0.0
        self._interrupts = False
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ask)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A block that takes long and changes nothing that is kept: it ends with Stopped as soon as the run is asked to end."""
        if self.asked:
            raise Stopped
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    def _ask(self, number: int, frame: object) -> None:
        if self.asked and number == signal.SIGINT and time.monotonic() - self._when > ONE_KEY:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._when = True, time.monotonic()
        if self._interrupts:
            self._interrupts = False
            raise Stopped
