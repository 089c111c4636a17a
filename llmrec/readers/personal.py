"""Personal data in texts: how it is found, and how it is taken out where that is asked for.

Separate from `notices`, which says how much there is, and from `ingest`, which works through the log.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

TEXTS = ("review", "summary", "query", "source")
"""The columns of a log that hold what people wrote; `source` is a row that could not be read."""
REMOVED = "[removed]"
_MAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_PHONE = r"\+\d[\d ()/-]{6,}\d"
_CARD = r"\b\d(?:[ -]?\d){12,15}\b"
IN_IDS, IN_TEXTS = f"{_MAIL}|{_PHONE}", f"{_MAIL}|{_PHONE}|{_CARD}"
"""Mail addresses and phone numbers after +; in texts card numbers, too, which ids may look like."""


def redacted(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """The frame with REMOVED in place of what these columns, where it has them, hold of personal data; and how many texts held any.

    >>> redacted(pl.DataFrame({"review": ["call +49 30 1234567!", "fine"]}), ["review"])[0]["review"].to_list()
    ['call [removed]!', 'fine']
    """
    names = [name for name in columns if frame.schema.get(name) == pl.String]
    count = sum(int(frame[name].str.contains(IN_TEXTS).sum()) for name in names)
    return frame.with_columns(pl.col(name).str.replace_all(IN_TEXTS, REMOVED) for name in names), count
