"""The beam and the exact search against brute force: one plain forward pass per answer."""

import numpy as np
import pytest
import torch

from llmrec.answers import AnswerSpace, Trie
from llmrec.decoding.allowed import Allowed
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import beam, exact, score
from llmrec.model import LanguageModel

NEW = 40


def codes(kind: str) -> list[list[int]]:
    rng = np.random.default_rng(1)
    if kind == "atomic":
        return [[i] for i in range(NEW)]
    if kind == "deep":
        return [list(map(int, c)) + [39] for c in np.unique(rng.integers(0, 12, (60, 3)) + np.array([0, 12, 24]), axis=0)]
    drawn = {tuple(int(x) for x in rng.integers(0, 20, rng.integers(1, 5))) for _ in range(50)}
    return [[*c, 39] for c in sorted(drawn)]  # of many lengths, closed by an end token


@pytest.fixture
def model(toy_llama):
    torch.manual_seed(3)
    model = LanguageModel(toy_llama, vocabulary_size=toy_llama.config.vocab_size, new_tokens=NEW).eval()
    with torch.no_grad():
        model.learned.normal_(std=0.5)
    return model


def space_of(model: LanguageModel, kind: str) -> Trie:
    trie = Trie.build([[model.vocabulary_size + t for t in code] for code in codes(kind)])
    model.set_spaces({"items": AnswerSpace("items", tuple(map(str, range(len(trie.codes)))), trie)})
    return trie


@torch.no_grad()
def brute_force(model: LanguageModel, prompt: list[int], trie: Trie) -> np.ndarray:
    """Joint log-probabilities, each token normalised over its node's children, from one forward pass of the plain model per answer."""
    plain = model.plain().eval()
    scores = np.zeros(len(trie.codes))
    for row in range(len(trie.codes)):
        code = trie.code(row)
        logits = plain(input_ids=torch.tensor([prompt + code])).logits[0, len(prompt) - 1 : -1].double()
        for step, token in enumerate(code):
            node = trie.steps(row)[0][step]
            children = trie.token[trie.first[node] : trie.first[node + 1]]
            scores[row] += float(logits[step, token] - torch.logsumexp(logits[step, torch.as_tensor(children)], 0))
    return scores


def masks(allowed: np.ndarray) -> Allowed:
    return Allowed(list(allowed), [np.zeros(0, dtype=np.int64)] * len(allowed))


PROMPTS = [[1, 300, 301, 302, 303], [1, 310, 311, 5, 7]]


@pytest.mark.parametrize("kind", ["atomic", "deep", "ragged"])
def test_exact_equals_brute_force_and_sums_to_one(model, kind):
    trie = space_of(model, kind)
    scores = exact(Reading.of(model, PROMPTS), trie, "items")
    for row, prompt in enumerate(PROMPTS):
        np.testing.assert_allclose(scores[row], brute_force(model, prompt, trie), atol=1e-4)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["atomic", "deep", "ragged"])
def test_a_beam_as_wide_as_the_catalogue_equals_exact(model, kind):
    trie = space_of(model, kind)
    reading = Reading.of(model, PROMPTS)
    scores = exact(reading, trie, "items")
    found, found_scores = beam(reading, trie, "items", width=len(trie.codes) + 5)
    for row in range(2):
        kept = found[row][found[row] >= 0]
        assert sorted(kept) == list(range(len(trie.codes)))
        np.testing.assert_allclose(found_scores[row][: len(kept)], scores[row][kept], atol=1e-5)
        assert (np.diff(found_scores[row][: len(kept)]) <= 0).all()


@pytest.mark.parametrize("kind", ["atomic", "deep", "ragged"])
def test_a_narrow_beam_gives_allowed_answers_once_with_unchanged_scores(model, kind):
    trie = space_of(model, kind)
    allowed = np.random.default_rng(0).random((2, len(trie.codes))) < 0.3
    reading = Reading.of(model, PROMPTS)
    whole = exact(reading, trie, "items")
    found, scores = beam(reading, trie, "items", width=4, allowed=masks(allowed))
    for row in range(2):
        kept = found[row][found[row] >= 0]
        assert len(kept) == len(set(kept)) == 4
        assert allowed[row][kept].all()
        np.testing.assert_allclose(scores[row], whole[row][kept], atol=1e-5)
    restricted = exact(reading, trie, "items", allowed=masks(allowed))
    np.testing.assert_allclose(restricted[allowed], whole[allowed], atol=1e-5)
    assert np.isneginf(restricted[~allowed]).all()


def test_fewer_allowed_answers_than_beams_gives_those_and_no_filler(model):
    trie = space_of(model, "deep")
    allowed = np.zeros((2, len(trie.codes)), dtype=bool)
    allowed[:, [3, 17]] = True
    found, scores = beam(Reading.of(model, PROMPTS), trie, "items", width=10, allowed=masks(allowed))
    for row in range(2):
        assert set(found[row][:2]) == {3, 17}
        assert (found[row][2:] == -1).all() and np.isneginf(scores[row][2:]).all()


@pytest.mark.parametrize("search", [lambda reading, trie: beam(reading, trie, "items", width=3), lambda reading, trie: exact(reading, trie, "items"), lambda reading, trie: score(reading, trie, "items", np.zeros((len(PROMPTS), 1), dtype=np.int64))], ids=["beam", "exact", "score"])
@pytest.mark.parametrize("where", ["hidden states", "logits"])
def test_weights_that_are_not_finite_are_an_error(model, where, search):
    trie = space_of(model, "atomic")
    reading = Reading.of(model, PROMPTS)
    with torch.no_grad():
        (model.lm.model.norm.weight if where == "hidden states" else model.learned)[0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite"):
        search(Reading.of(model, PROMPTS) if where == "hidden states" else reading, trie)


@pytest.mark.parametrize("kind", ["atomic", "deep", "ragged"])
def test_what_is_left_out_one_by_one_equals_a_mask_without_it(model, kind):
    trie = space_of(model, kind)
    rng = np.random.default_rng(2)
    mask = rng.random(len(trie.codes)) < 0.6
    without = [rng.choice(len(trie.codes), 7, replace=False), np.zeros(0, dtype=np.int64)]
    allowed = Allowed([mask, None], without)
    dense = np.stack([mask, np.ones_like(mask)])
    dense[0, without[0]] = False
    np.testing.assert_array_equal(allowed.dense(len(trie.codes)), dense)
    living = allowed.living(trie, model.spaces["items"])
    every = torch.arange(trie.num_nodes).expand(2, -1)
    np.testing.assert_array_equal(living(every).numpy(), np.stack([trie.alive(row) for row in dense]))
    for one, other in zip(beam(Reading.of(model, PROMPTS), trie, "items", width=9, allowed=allowed), beam(Reading.of(model, PROMPTS), trie, "items", width=9, allowed=masks(dense))):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["atomic", "deep", "ragged"])
def test_given_answers_score_as_they_do_among_all(model, kind):
    trie = space_of(model, kind)
    whole = exact(Reading.of(model, PROMPTS), trie, "items")
    rng = np.random.default_rng(4)
    rows = np.stack([rng.permutation(len(trie.codes))[:11] for _ in PROMPTS])
    rows[1, 5:] = -1
    scores = score(Reading.of(model, PROMPTS), trie, "items", rows)
    np.testing.assert_allclose(scores[0], whole[0][rows[0]], atol=1e-5)
    np.testing.assert_allclose(scores[1, :5], whole[1][rows[1, :5]], atol=1e-5)
    assert np.isneginf(scores[1, 5:]).all()


def test_a_node_with_one_answer_below_it_is_read_no_further(model, monkeypatch):
    trie = Trie.build([[model.vocabulary_size + t for t in code] for code in ([0, 10, 20, 30], [1, 11, 21, 31], [1, 11, 22, 31], [2, 12, 23, 32])])
    model.set_spaces({"items": AnswerSpace("items", ("a", "b", "c", "d"), trie)})
    grown = []
    grow = Reading.grow
    monkeypatch.setattr(Reading, "grow", lambda self, tokens, *rest: grown.append(tokens.shape[1]) or grow(self, tokens, *rest))
    found, scores = beam(Reading.of(model, PROMPTS), trie, "items", width=4)
    assert len(grown) == 2  # the node 1, then 1 11; the leaves below are told apart there
    np.testing.assert_allclose(scores[0], brute_force(model, PROMPTS[0], trie)[found[0]], atol=1e-4)


def test_places_behind_the_last_child_of_the_last_node_are_no_answers(model):
    """The last node has one child and stands beside one with many: the places it lacks would lie behind the trie's end."""
    code = [[0, 10 + i, 30] for i in range(9)] + [[1, 20, 31], [1, 20, 32]]
    trie = Trie.build([[model.vocabulary_size + t for t in c] for c in code])
    model.set_spaces({"items": AnswerSpace("items", tuple(map(str, range(11))), trie)})
    out = Allowed([None, None], [np.array([0]), np.array([10])])
    found, scores = beam(Reading.of(model, PROMPTS), trie, "items", width=14, allowed=out)
    for row, missing in ((0, 0), (1, 10)):
        assert sorted(found[row][found[row] >= 0].tolist()) == [r for r in range(11) if r != missing]
        kept = found[row] >= 0
        np.testing.assert_allclose(scores[row][kept], brute_force(model, PROMPTS[row], trie)[found[row][kept]], atol=1e-4)


def test_prompts_that_begin_alike_read_that_once_and_answer_as_alone(model, monkeypatch):
    trie = space_of(model, "deep")
    rng = np.random.default_rng(5)
    beginning = rng.integers(3, 400, 60).tolist()
    prompts = [[*beginning, *rng.integers(3, 400, 7).tolist()] for _ in range(6)]
    read = []
    hidden = LanguageModel.hidden
    monkeypatch.setattr(LanguageModel, "hidden", lambda self, tokens, *rest, **more: read.append(tuple(tokens.shape)) or hidden(self, tokens, *rest, **more))
    scores = exact(Reading.of(model, prompts, lead=60), trie, "items")
    assert read[:2] == [(1, 60), (6, 7)]
    for prompt, row in zip(prompts, scores):
        np.testing.assert_allclose(row, exact(Reading.of(model, [prompt]), trie, "items")[0], atol=1e-5)
