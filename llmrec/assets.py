"""Where the words, configs and suites stand: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def folder_of(name: str) -> Path:
    """The folder "prompts", "train" or "eval". Raises FileNotFoundError where the installation lacks it."""
    package = Path(__file__).parent
    for place in (package / name, package.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"the folder {name!r} stands neither in {package} nor beside it; install the wheel or run from a checkout")
