"""Personal data in texts: how it is found, and how it is taken out where that is asked for.

Separate from `notices`, which says how much there is, and from `ingest`, which works through the log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

TEXTS = ("review", "summary", "query", "source")
"""The columns of a log that hold what people wrote; `source` is a row that could not be read."""
REMOVED = "[removed]"
_ADDRESS = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\+\d[\d ().\-/\x{A0}]{6,}\d"
"""Mail addresses, and phone numbers that begin with +."""
_DIGITS = r"\b\d(?:[ \-\x{A0}]?\d){12,18}\b"


def addresses(ids: pl.Series) -> pl.Series:
    """Which ids hold a mail address or a phone number; a card number may be any id."""
    return ids.str.contains(_ADDRESS)


def personal(texts: pl.Series) -> pl.Series:
    """Which texts hold a mail address, a phone number that begins with +, or a card number: 13 to 19 digits whose check digit is right."""
    found = addresses(texts)
    cards = _cards(texts)
    return found | texts.str.contains_any(cards) if cards else found


def redacted(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """The frame with REMOVED in place of what these columns, where it has them as texts or lists of texts, hold of personal data; and how many texts held any.

    >>> redacted(pl.DataFrame({"review": ["call +49 30 1234567!", "fine"]}), ["review"])[0]["review"].to_list()
    ['call [removed]!', 'fine']
    """
    count, changed = 0, []
    for name in columns:
        kind = frame.schema.get(name)
        if kind not in (pl.String, pl.List(pl.String)):
            continue
        texts = frame[name] if kind == pl.String else frame[name].explode(empty_as_null=True)
        cards = _cards(texts)
        count += int(personal(texts).sum())

        def without(text: pl.Expr, cards: Sequence[str] = cards) -> pl.Expr:
            text = text.str.replace_all(_ADDRESS, REMOVED)
            return text.str.replace_many(cards, [REMOVED] * len(cards)) if cards else text

        changed.append(without(pl.col(name)) if kind == pl.String else pl.col(name).list.eval(without(pl.element())))
    return frame.with_columns(changed), count


def _cards(texts: pl.Series) -> list[str]:
    """The card numbers of texts as they are written, longest first. ISBNs, article numbers and times have as many digits, and a check digit of another kind or none."""
    found = texts.drop_nulls().str.extract_all(_DIGITS).explode().drop_nulls().unique()
    return sorted((number for number in found.to_list() if _luhn(re.sub(r"\D", "", number))), key=lambda number: (-len(number), number))


def _luhn(digits: str) -> bool:
    """Whether the last digit is that of ISO/IEC 7812-1.

    >>> _luhn("4111111111111111"), _luhn("4111111111111112")
    (True, False)
    """
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0
