"""Which items a text names."""

import pytest

from llmrec.naming import Names

TITLES = ["Blue Kitchen", "Night Train", "Echo", "Blue Kitchen", "The Blue Kitchen Returns", "夏天的海边", "海边", "", "Charade (1963)", "Children's Hour", "A B", "Night Train Blues", "Rock &amp; Roll Hits", "guitar strap", "3天", "Matrix Again, The (1999)"]
NAMES = Names(TITLES)


@pytest.mark.parametrize(("text", "named"), [
    ("Night Train, like Blue Kitchen, is set at night.", [{1}, {0, 3}]),
    ("The Blue Kitchen Returns to Blue Kitchen", [{4}, {0, 3}]),  # the longest counts, once
    ("The Blue Kitchen Return", [{0, 3}]),
    ("A Night Train Blues", [{11}]),
    ("blue kitchen, a night train and an Echo", []),  # in other letters, and a word that is no name
    ("Blue Kitchens and Overnight Train", []),  # whole words
    ("\u201cNight\u2014Train\u201d", [{1}]),
    ("因为你选过夏天的海边：海边很好", [{5}]),  # two characters are a word like any other
    ("Charade, 1963; Children\u2019s Hour", [{8}, {9}]),
    ("", []), ("A B A B", [{10}, {10}]), ("Rock & Roll Hits for a guitar strap 用了3天", [{12}]), ("The Matrix Again", [{15}]), ("Matrix Again, The", [{15}]),
])
def test_names_are_found_as_they_are_written(text, named):
    assert NAMES(text) == list(map(frozenset, named))


def test_a_long_text_is_read_once():
    assert NAMES("The Blue Kitchen Returns " * 20_000) == [frozenset({4})] * 20_000  # not once more from within each
    assert Names([])("Night Train") == []
