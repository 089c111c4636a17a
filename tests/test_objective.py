"""One trunk, many branches: what is packed must count as if it stood alone, and decoding must give what was trained."""

import numpy as np
import pytest
import torch

from llmrec.answers import ITEMS, TEXT
from llmrec.composer import Example, Strand
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import exact
from llmrec.mixture import pack
from llmrec.objective import TableCrossEntropy


def loss_of(parts, examples):
    batch = pack(examples, parts.composer, spaces=parts.mixture.spaces, tasks=parts.mixture.tasks, row_tokens=256)
    with torch.no_grad():
        return parts.objective.eval()(batch), batch


def examples_of(parts, per_task=3):
    return [e for name in parts.mixture.names for i in range(per_task) if (e := parts.mixture.example(name, i)) is not None]


def alone(example):
    """The same answers, each as an example of its own without branches: the trunk it sees, its question, its answer."""
    for strand in (example.trunk, *example.branches):
        for answer in strand.answers:
            before = example.trunk.tokens[: strand.attach] if strand is not example.trunk else []
            tokens = before + strand.tokens[: answer.stop]
            yield Example(example.task, Strand(tokens, [answer._replace(start=answer.start + len(before), stop=answer.stop + len(before))]))


def test_packed_losses_equal_those_of_each_question_alone(toy_parts):
    examples = examples_of(toy_parts)
    assert any(e.branches for e in examples) and {e.task for e in examples} == set(toy_parts.mixture.names)
    packed, batch = loss_of(toy_parts, examples)
    assert batch.tokens.shape[0] < len(examples)  # something is packed together
    single = torch.zeros_like(packed)
    for example in examples:
        for question in alone(example):
            single += loss_of(toy_parts, [question])[0]
    torch.testing.assert_close(packed, single, atol=2e-3, rtol=1e-4)
    assert batch.answers.tolist() == [sum(e.num_answers for e in examples if e.task == name) for name in toy_parts.mixture.names]


def test_a_packed_example_does_not_move_another(toy_parts):
    examples = examples_of(toy_parts, 2)
    _, batch = loss_of(toy_parts, examples)
    row = int((batch.example.max(dim=1).values > 0).long().argmax())
    changed = batch.tokens.clone()
    others = batch.example[row] != 0
    changed[row, others] = 3
    with torch.no_grad():
        before, after = (toy_parts.model.hidden(t, batch.positions, batch.mask())[row] for t in (batch.tokens, changed))
    assert others.any()
    torch.testing.assert_close(before[~others], after[~others], atol=1e-6, rtol=0)


def test_the_score_of_decoding_is_the_loss_of_training(toy_parts):
    for example in examples_of(toy_parts, 2):
        for question in alone(example):
            answer = question.trunk.answers[0]
            if answer.space == TEXT:
                continue
            nll, _ = loss_of(toy_parts, [question])
            scores = exact(Reading.of(toy_parts.model, [question.trunk.tokens[: answer.start]]), toy_parts.composer.spaces[answer.space].trie, answer.space)
            assert -scores[0, answer.row] == pytest.approx(float(nll.sum()), abs=1e-3)


def test_every_space_is_normalised_over_its_answers_alone(toy_parts):
    prompt = [1, *toy_parts.composer.vocabulary.template("Rated:")]
    for name, space in toy_parts.composer.spaces.items():
        if space.trie is not None:
            scores = exact(Reading.of(toy_parts.model, [prompt]), space.trie, name)
            assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-5), name


def test_the_loss_of_items_equals_a_masked_full_softmax(toy_parts):
    """The gathered heads against the plain model's own logits over the whole vocabulary, masked to the children."""
    example = next(e for e in examples_of(toy_parts) if e.task == "next_item")
    plain = toy_parts.model.plain().eval()
    trie = toy_parts.composer.spaces[ITEMS].trie
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([example.trunk.tokens])).logits[0]
    expected = 0.0
    for answer in example.trunk.answers:
        nodes, children = trie.steps(answer.row)
        for token, node, child in zip(range(answer.start, answer.stop), nodes, children):
            allowed = torch.as_tensor(trie.token[trie.first[node] : trie.first[node + 1]])
            expected -= float(logits[token - 1, allowed].log_softmax(0)[child])
    nll, _ = loss_of(toy_parts, [example])
    assert float(nll.sum()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("bound", [None, 700, 30])  # logits at once: all, some slots', fewer than one slot has
def test_cross_entropy_against_a_table_equals_torchs_own_with_gradients(bound, monkeypatch):
    if bound:
        monkeypatch.setattr("llmrec.objective.MAX_LOGITS", bound)
    generator = torch.Generator().manual_seed(0)
    hidden, table = (torch.randn(size, 8, generator=generator, requires_grad=True) for size in (1300, 50))
    target, weight = torch.randint(0, 50, (1300,), generator=generator), torch.rand(1300, generator=generator)
    ours = TableCrossEntropy.apply(hidden, table, target)
    grads = torch.autograd.grad((ours * weight).sum(), (hidden, table))
    own = torch.nn.functional.cross_entropy(hidden @ table.T, target, reduction="none")
    torch.testing.assert_close(ours, own)
    for ours_, own_ in zip(grads, torch.autograd.grad((own * weight).sum(), (hidden, table))):
        torch.testing.assert_close(ours_, own_, atol=1e-5, rtol=1e-5)


def test_a_loss_in_small_pieces_is_the_same_with_the_same_gradients(toy_parts, monkeypatch):
    examples = examples_of(toy_parts)
    batch = pack(examples, toy_parts.composer, spaces=toy_parts.mixture.spaces, tasks=toy_parts.mixture.tasks, row_tokens=256)
    parameters = [p for p in toy_parts.model.parameters() if p.requires_grad]
    found = []
    monkeypatch.setattr(toy_parts.model, "whole_table", lambda name, rows: None)  # as of families that cap or scale their logits
    for bound in (1 << 24, 100):
        monkeypatch.setattr("llmrec.objective.MAX_LOGITS", bound)
        losses = toy_parts.objective(batch)
        found.append((losses, torch.autograd.grad(losses.sum(), parameters, allow_unused=True)))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-3, rtol=1e-5)
    for whole, pieces in zip(found[0][1], found[1][1]):
        if whole is not None:
            torch.testing.assert_close(whole, pieces, atol=1e-3 * float(whole.abs().max()), rtol=1e-4)


def test_the_squared_error_of_an_expected_rating_is_added_for_each_answer(toy_parts):
    examples = [e for i in range(4) if (e := toy_parts.mixture.example("rating", i)) is not None]
    plain, batch = loss_of(toy_parts, examples)
    space = toy_parts.composer.spaces["rating"]
    expected = 0.0
    for strand in (strand for example in examples for single in alone(example) for strand in [single.trunk]):
        (answer,) = strand.answers
        reading = Reading.of(toy_parts.model.eval(), [strand.tokens[: answer.start]])
        probabilities = np.exp(exact(reading, space.trie, "rating"))[0]
        expected += (probabilities @ space.values - space.values[answer.row]) ** 2
    toy_parts.objective.squared_error = 0.5
    both, _ = loss_of(toy_parts, examples)
    number = toy_parts.mixture.tasks["rating"]
    assert expected > 0.1 and float(both[number] - plain[number]) == pytest.approx(0.5 * expected, rel=1e-4)
