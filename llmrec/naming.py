"""Which items of a catalogue a text names, by their titles.

Separate from `grounding`, which says what may be claimed of an item, and from whoever asks: a text that names an item nobody spoke of is wrong whatever else it says.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from llmrec.evidence import plain_words
from llmrec.words import is_unspaced, run_pattern

_RUN = run_pattern()
_YEAR = re.compile(r"\s*\(\d{4}\)$")
_ARTICLE = re.compile(r"^(.+), (The|A|An)( \(\d{4}\))?$")
_SHORTEST = 4
"""Characters of a title in a script that marks no words; shorter ones are words like any other."""


class Names:
    """The titles of a catalogue, to be found in texts.

    A title counts as whole words in its own letters, whatever stands between them, with or without a year behind it and with an article where it belongs; and where two of its words are written as names are: "Echo" and "guitar strap"
    are words that anybody may say, "Blue Kitchen" is a name. Shorter forms, such as a title without its subtitle, are not known.
    """

    def __init__(self, titles: Sequence[str]):
        self._rows: dict[str, tuple[int, ...]] = {}  # by its words, one space between them: a million titles are a quarter of a gigabyte
        for row, title in enumerate(titles):
            for form in _forms(title):
                words = _words(form)
                unspaced = sum(map(is_unspaced, words))
                if unspaced >= _SHORTEST or sum(not word[0].islower() and not is_unspaced(word) for word in words) >= 2:
                    name = " ".join(words)
                    self._rows[name] = (*self._rows.get(name, ()), row)
        lengths: dict[str, set[int]] = defaultdict(set)
        for name in self._rows:
            lengths[name[: name.find(" ")]].add(name.count(" ") + 1)
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def __call__(self, text: str) -> list[frozenset[int]]:
        """For each name in the text, in order, the rows of the items that have it. Of names within one another the longest counts.

        >>> Names(["Blue Kitchen", "Night Train", "Blue Kitchen", "The Blue Kitchen Returns"])("Like Night Train, Blue Kitchen is set at night.")
        [frozenset({1}), frozenset({0, 2})]
        """
        words, found, place = _words(text), [], 0
        while place < len(words):
            length = next((length for length in self._lengths.get(words[place], ()) if " ".join(words[place : place + length]) in self._rows), 0)
            if length:
                found.append(frozenset(self._rows[" ".join(words[place : place + length])]))
            place += length or 1
        return found


def _forms(title: str) -> set[str]:
    """A title as texts may write it.

    >>> sorted(_forms("Matrix, The (1999)"))
    ['Matrix, The', 'Matrix, The (1999)', 'The Matrix', 'The Matrix (1999)']
    """
    title = plain_words(title)
    forms = {title, _YEAR.sub("", title)}
    return forms | {_ARTICLE.sub(r"\2 \1\3", form) for form in forms}


def _words(text: str) -> list[str]:
    return [word for run in _RUN.findall(text) for word in (run if is_unspaced(run) else [run])]
