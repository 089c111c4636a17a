"""Reads the built-in simulated world, and writes it first where it is not there yet.

Separate from `llmrec.simulation`, because reading knows nothing of the truth: the log and the items come in like anybody's CSV files.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from llmrec.readers.raw import RawLog
from llmrec.simulation import CONTEXT, write_world

OPTIONS = {
    "users": "number of users (default 1500)",
    "items": "number of items (default 400)",
    "seed": "seed of the world (default 0)",
    "days": "days the log covers (default 120)",
}


def read(path: Path, **options: str) -> RawLog:
    """The log of the world in the folder `path`, which is simulated there with these options if the folder has no interactions.csv.

    The display position (`slot`) stays in the file: it is no property of the moment a recommendation is asked for.

    Raises:
        ValueError: an option is unknown or no whole number, or the folder holds a world of other settings, or a log that is no simulated world.
    """
    path, settings = Path(path), {name: _number(name, value) for name, value in options.items()}
    if not (path / "interactions.csv").exists():
        write_world(path, **settings)
    if not (path / "world.json").is_file():
        raise ValueError(f"{path} holds an interactions.csv but no world.json, so it is no simulated world; read it with the reader `table`, or choose another folder")
    found = json.loads((path / "world.json").read_text(encoding="utf-8"))
    for name, value in settings.items():
        if found[name] != value:
            raise ValueError(f"{path} holds a world with {name}={found[name]}, asked for was {name}={value}; leave the option out, or choose another folder")
    return RawLog(
        name="simulation",
        # Every column as text, like any user's file: ids stay as written, an empty field is missing.
        interactions=pl.scan_csv(path / "interactions.csv", infer_schema=False).drop("slot"),
        items=pl.scan_csv(path / "items.csv", infer_schema=False),
        context=CONTEXT,
        rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0),
        notes={"world": {name: found[name] for name in OPTIONS}},
    )


def _number(name: str, value: str) -> int:
    if name not in OPTIONS:
        raise ValueError(f"unknown option {name!r} of the reader simulation; available: {', '.join(OPTIONS)}")
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{name} is {value!r}; expected a whole number: {OPTIONS[name]}") from None
