"""How much memory a piece of code takes at its highest, whatever the process took before."""

import re
from collections.abc import Callable
from pathlib import Path

STATUS = Path("/proc/self/status")


def watched() -> Callable[[], int]:
    """From here on: a function that says how many bytes more than now the process has had at its highest."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is that of now
    held = _kilobytes("VmRSS")
    return lambda: 1024 * (_kilobytes("VmHWM") - held)


def _kilobytes(name: str) -> int:
    return int(re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())[1])
