"""Every index, the same contract: a bijection that survives saving, names each item once, and has no code that begins another."""

import numpy as np
import pytest

from llmrec.indexing import INDEXES, ItemIndex, Material, build_index
from llmrec.indexing.semantic import codebook_size, k_means

TITLES = ["Echo", "Echo", "Echo 2", "", "", "夏天的海", "A", "A B", "x" * 900, "x" * 900] + [f"Story {i}" for i in range(90)]


@pytest.fixture
def material(toy_vocabulary):
    vectors = np.random.default_rng(0).normal(size=(len(TITLES), 16)).astype(np.float32)
    vectors[10:20] = vectors[10]  # items no content can tell apart
    vectors[20:30] = 0
    return Material(TITLES, vectors, toy_vocabulary, 0)


@pytest.mark.parametrize("scheme", INDEXES)
def test_codes_are_a_bijection_and_survive_saving(scheme, material, tmp_path, toy_vocabulary):
    index = build_index(scheme, material)
    ids = [f"item {i}" for i in range(len(TITLES))]
    trie = index.space(ids, toy_vocabulary.size).trie  # raises where codes collide
    tokens = trie.token[1:]
    assert (tokens >= toy_vocabulary.size).all() == (index.new_tokens > 0)
    assert tokens.max() < toy_vocabulary.size + index.new_tokens
    index.save(tmp_path)
    again = ItemIndex.load(tmp_path)
    assert again.scheme == scheme and again.new_tokens == index.new_tokens
    np.testing.assert_array_equal(again.codes, index.codes)
    paths = trie.paths(np.arange(len(ids)))
    assert trie.order[trie.low[paths[np.arange(len(ids)), trie.lengths]]].tolist() == list(range(len(ids)))


@pytest.mark.parametrize("scheme", INDEXES)
def test_the_same_seed_gives_the_same_codes(scheme, material):
    np.testing.assert_array_equal(build_index(scheme, material).codes, build_index(scheme, material).codes)


def test_title_codes_hold_no_control_token_but_the_closing_end(material, toy_vocabulary):
    codes = build_index("title", material).codes
    for code in codes:
        code = code[code >= 0]
        assert code[-1] == toy_vocabulary.end and not set(code[:-1].tolist()) & toy_vocabulary.control


def test_items_of_like_content_share_semantic_codes(toy_vocabulary):
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(4, 16)) * 10
    vectors = (centres[np.arange(80) % 4] + rng.normal(size=(80, 16)) * 0.01).astype(np.float32)
    first = build_index("semantic", Material([""] * 80, vectors, toy_vocabulary, 0)).codes[:, 0]
    groups = [set(first[g::4].tolist()) for g in range(4)]
    assert sum(map(len, groups)) == len(set.union(*groups)) <= codebook_size(80)  # no first code names items of two kinds


def test_k_means_finds_separate_clusters_by_hand():
    points = np.array([[0.0], [0.2], [10.0], [10.2]], dtype=np.float32)
    centres, nearest = k_means(points, 2, seed=0)
    assert sorted(np.round(centres.ravel(), 3)) == [pytest.approx(0.1), pytest.approx(10.1)]
    assert nearest[0] == nearest[1] != nearest[2] == nearest[3]


def test_k_means_in_blocks_and_from_a_sample_finds_them_too(monkeypatch):
    rng = np.random.default_rng(3)
    kind = rng.integers(4, size=5_000)
    points = (np.eye(4, dtype=np.float32)[kind] * 10 + rng.normal(size=(5_000, 4)) * 0.1).astype(np.float32)
    whole = k_means(points, 4, seed=1)[1]
    monkeypatch.setattr("llmrec.indexing.semantic.BLOCK", 64)
    assert (k_means(points, 4, seed=1)[1] == whole).all()
    monkeypatch.setattr("llmrec.indexing.semantic.POINTS", 100)
    assert len(set(zip(kind, k_means(points, 4, seed=1)[1]))) == 4  # one centre for each kind


def test_an_unknown_index_names_the_known_ones(material):
    with pytest.raises(KeyError, match="atomic, semantic, title"):
        build_index("atomc", material)
