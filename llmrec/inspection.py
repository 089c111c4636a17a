"""Looks at the files of a model before any library opens them: what is too large to be read, or says one thing twice, is refused by name.

Separate from what loads them: libraries read a file of any size whole, and of two tensors with one name take either.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path

MAX_TEXT = 200 << 20
"""Bytes of a text that describes a model, such as tokenizer.json, whose largest have some tens of megabytes."""
MAX_HEADER = 8 << 20
"""Bytes of a safetensors header: some 80,000 tensors."""
TEXTS = (".json", ".yaml", ".jinja", ".txt", ".model")


def inspect_files(paths: Iterable[Path]) -> None:
    """Raises ValueError naming the first file that is too large for what it is, or a safetensors file whose header is damaged or names a tensor twice. Files of other kinds are nobody's to load, and are left alone."""
    for path in sorted(paths):
        if path.suffix in TEXTS and path.is_file() and path.stat().st_size > MAX_TEXT:
            raise ValueError(f"{path} has {path.stat().st_size:,} bytes; expected at most {MAX_TEXT:,}: it is no file of a model")
        if path.suffix == ".safetensors" and path.is_file():
            _inspect_header(path)


def _inspect_header(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < size <= MAX_HEADER:
            raise ValueError(f"{path} has a header of {size:,} bytes; expected safetensors, with at most {MAX_HEADER:,}: it is damaged, or no file of a model")
        header = file.read(size)
    try:
        json.loads(header, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} has a damaged header ({error}); expected safetensors") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} stands twice")
        found[name] = value
    return found
