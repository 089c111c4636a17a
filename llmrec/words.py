"""Splits text into words, Chinese and Japanese by their characters, for whatever counts, weighs or matches words.

Separate from those who use words, so that which scripts mark no words, and how their runs are cut instead, is decided once.
What a module counts as one word ("don't", "film_noir") is its own choice: `run_pattern` takes it.

    "Sci-Fi 老电影"   -run_pattern().findall->   "Sci"  "Fi"  "老电影"   -pairs of what is_unspaced->   "老电"  "电影"
"""

from __future__ import annotations

import re
import unicodedata

# Kana, ideographs with their first extension, compatibility ideographs: the inside of a character class.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


def run_pattern(letter: str = r"[^\W_]", *, joiners: str = "") -> re.Pattern[str]:
    """A pattern whose matches are the runs of a text: unspaced characters, or letters of the other scripts; never both in one run.

    letter: the pattern of one letter: letters and digits, unless told otherwise.   joiners: characters that may stand alone between two letters of a word.

    >>> run_pattern(joiners="'").findall("Don't 老电影2")
    ["Don't", '老电影', '2']
    """
    spaced = f"(?:(?![{UNSPACED}]){letter})+"
    joined = f"(?:[{joiners}]{spaced})*" if joiners else ""
    return re.compile(f"[{UNSPACED}]+|{spaced}{joined}")


def is_unspaced(run: str) -> bool:
    """Whether a run of `run_pattern` is of a script that marks no words."""
    return _UNSPACED_START.match(run) is not None


def pairs(run: str) -> list[str]:
    """The overlapping pairs of an unspaced run's characters; a single character itself.

    >>> pairs("老电影"), pairs("影")
    (['老电', '电影'], ['影'])
    """
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def words(text: str) -> list[str]:
    """The words one would search a text by: NFKC, case-folded; an apostrophe within a word belongs to it; an unspaced run counts as its pairs.

    >>> words("Children\u2019s Sci-Fi"), words("老电影")
    (["children's", 'sci', 'fi'], ['老电', '电影'])
    """
    runs = _SEARCHED.findall(unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'"))
    return [word for run in runs for word in (pairs(run) if is_unspaced(run) else [run])]


_UNSPACED_START = re.compile(f"[{UNSPACED}]")
_SEARCHED = run_pattern(joiners="'")
