"""An answer space holds its answers once, as a trie of codes in arrays."""

import numpy as np
import pytest

from llmrec.answers import Trie, closed, number_label


def test_every_code_leads_to_its_answer_and_back():
    rng = np.random.default_rng(0)
    codes = sorted({tuple(map(int, rng.integers(0, 9, rng.integers(1, 5)))) + (99,) for _ in range(300)}, key=lambda c: hash(c))
    trie = Trie.build(codes)
    for row, code in enumerate(codes):
        nodes, children = trie.steps(row)
        assert tuple(trie.code(row)) == code
        assert [int(trie.token[trie.first[n] + c]) for n, c in zip(nodes, children)] == list(code)
        leaf = trie.first[nodes[-1]] + children[-1]
        assert trie.leaf[row] == leaf and trie.order[trie.low[leaf]] == row and trie.first[leaf] == trie.first[leaf + 1]


def test_the_numbering_of_nodes_by_hand():
    trie = Trie.build([[5, 1], [3], [5, 0]])
    assert trie.token.tolist() == [-1, 3, 5, 0, 1]
    assert trie.first.tolist() == [1, 3, 3, 5, 5, 5]
    assert trie.leaf.tolist() == [4, 1, 3]
    assert trie.parent.tolist() == [-1, 0, 0, 2, 2]
    assert trie.paths(np.array([1, 2])).tolist() == [[0, 1, -1], [0, 2, 3]]
    assert trie.level.tolist() == [0, 1, 1, 2, 2]


@pytest.mark.parametrize("codes", [[[1, 2], [1, 2]], [[1], [1, 2]], [[1, 2, 3], [4], [1, 2]]])
def test_a_code_that_equals_or_begins_another_is_refused(codes):
    with pytest.raises(ValueError, match="collide"):
        Trie.build(codes)


@pytest.mark.parametrize("codes", [[], [[]], [[1], []]])
def test_an_empty_space_or_code_is_refused(codes):
    with pytest.raises(ValueError, match="at least one"):
        Trie.build(codes)


def test_a_node_lives_while_a_leaf_below_it_is_allowed():
    trie = Trie.build([[5, 1], [3], [5, 0]])
    assert trie.alive(np.array([True, False, False])).tolist() == [True, False, True, False, True]
    assert not trie.alive(np.zeros(3, dtype=bool)).any() and trie.alive(np.ones(3, dtype=bool)).all()


@pytest.mark.parametrize("tokens", [40, 2**20])  # the second is too wide for one number a code
def test_nodes_stand_in_the_order_of_their_codes_whatever_way_these_are_sorted(tokens):
    rng = np.random.default_rng(1)
    codes = np.unique(rng.integers(0, tokens, (500, 4)), axis=0)
    rng.shuffle(codes)
    trie = Trie.build(codes)
    assert trie.order.tolist() == sorted(range(len(codes)), key=lambda row: codes[row].tolist())
    for level in range(1, 5):
        low = trie.low[trie.levels[level] : trie.levels[level + 1]]
        assert trie.levels[level + 1] - trie.levels[level] == len(np.unique(codes[:, :level], axis=0)) and (np.diff(low) > 0).all()


def test_closed_answers_get_an_end_token_only_where_one_begins_another():
    assert closed("r", [[1], [2]], ["1", "2"], end=9).trie.codes.tolist() == [[1], [2]]
    assert closed("r", [[1], [1, 0]], ["1", "10"], end=9).trie.codes.tolist() == [[1, 9, -1], [1, 0, 9]]


def test_numbers_are_written_as_people_write_them():
    assert [number_label(x) for x in (4.0, 4.5, 10.0, 0.0)] == ["4", "4.5", "10", "0"]


@pytest.mark.parametrize("tokens", [3, 40])
def test_a_trie_with_one_code_more_is_the_trie_of_all_of_them(tokens):
    rng = np.random.default_rng(tokens)
    codes = [[int(t) for t in rng.integers(0, tokens, rng.integers(1, 6))] + [99] for _ in range(120)]
    codes = [list(code) for code in dict.fromkeys(map(tuple, codes))]
    grown = Trie.build(codes[:1])
    for count, code in enumerate(codes[1:], start=2):
        grown, whole = grown.with_code(code), Trie.build(codes[:count])
        for name in ("first", "token", "low", "high", "order", "levels", "codes"):
            np.testing.assert_array_equal(getattr(grown, name), getattr(whole, name), err_msg=f"{name} at {count}")
            assert getattr(grown, name).dtype == getattr(whole, name).dtype


@pytest.mark.parametrize("code", [[], [5], [5, 1], [5, 1, 2], [3, 0]])
def test_a_code_that_collides_is_not_added(code):
    with pytest.raises(ValueError, match="collide"):
        Trie.build([[5, 1], [3], [5, 0]]).with_code(code)
