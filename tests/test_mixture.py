"""Which examples make a batch follows from (seed, step) alone; a packed batch says of each example what the example said."""

from collections import Counter

import numpy as np
import pytest
import torch

from llmrec.answers import ITEMS, TEXT
from llmrec.composer import Answer, Example, Strand
from llmrec.mixture import Mixture, pack
from llmrec.objective import Objective

SHARES = {"next_item": 0.5, "rating": 0.25, "explanation": 0.25}


@pytest.fixture
def parts(toy_parts):
    return toy_parts


def mixture(parts, shares=SHARES, **changes):
    settings = {"batch_tokens": 600, "row_tokens": 200, "languages": ["en", "zh"], "seed": 0, **changes}
    return Mixture({name: parts.mixture.bound[name] for name in shares}, {name: parts.templates[name] for name in shares}, parts.composer, shares, **settings)


def examples(batch):
    """The examples of a batch as they were before packing, each once: tokens, positions, branches, and for each answer token what is predicted where."""
    slots = {}
    for number, slot in enumerate(batch.slot.tolist()):
        row, place = divmod(slot, batch.tokens.shape[1])
        slots.setdefault((row, int(batch.example[row, place])), []).append((place, *(int(getattr(batch, name)[number]) for name in ("space", "node", "target", "task")), float(batch.scale[number])))
    found = Counter()
    for row in range(len(batch.tokens)):
        for example in range(int(batch.example[row].max()) + 1):
            places = torch.nonzero(batch.example[row] == example).squeeze(1).tolist()
            strands = tuple(tuple(getattr(batch, name)[row, places].tolist()) for name in ("tokens", "positions", "branch", "attach"))
            answers = tuple(sorted((place - places[0], *rest) for place, *rest in slots.get((row, example), [])))
            found[strands, answers] += 1
    return found


def equal(one, two):
    return one.__dict__.keys() == two.__dict__.keys() and all(torch.equal(value, two.__dict__[name]) for name, value in one.__dict__.items())


@pytest.mark.parametrize("toy_parts", ["atomic", "title"], indirect=True)
def test_a_batch_is_the_same_however_it_is_reached(parts):
    steps = [0, 1, 7, 100, 3]
    in_turn = mixture(parts)
    batches = {step: in_turn.batch(step) for step in range(8)}
    for step in steps:
        again = mixture(parts).batch(step)
        assert equal(again, in_turn.batch(step)) and (step not in batches or equal(again, batches[step]))
    assert not equal(in_turn.batch(0), in_turn.batch(1))
    assert not equal(mixture(parts, seed=1).batch(0), in_turn.batch(0))


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize("world", [2, 3, 8])
def test_the_processes_of_a_step_share_the_examples_of_one(parts, world):
    """However many there are, and where some get none of a task's few units."""
    whole = mixture(parts)
    for step in range(4):
        alone = whole.batch(step)
        shared = [mixture(parts).batch(step, rank=rank, world=world) for rank in range(world)]
        weighed = [batch for batch in shared if float(batch.answers.sum())]
        assert sum((examples(batch) for batch in weighed), Counter()) == examples(alone)
        assert torch.equal(sum(batch.answers for batch in shared), alone.answers)
        for batch in shared:
            assert len(batch.tokens) and len(batch.slot)  # no process stands idle: the others wait for its gradient
            assert float(batch.answers.sum()) or not float(batch.scale.abs().sum())


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_more_processes_than_units_change_no_loss(parts):
    """A process without a unit of its own adds nothing: neither to a sum nor to a count."""
    few = mixture(parts, {"next_item": 1.0}, batch_tokens=64)
    count = few.units_per_step["next_item"]
    objective = Objective(parts.model.eval(), spaces=few.spaces, num_tasks=1)
    with torch.no_grad():
        whole = objective(few.batch(3))
        shared = [objective(few.batch(3, rank=rank, world=count + 2)) for rank in range(count + 2)]
    assert [float(x) for x in shared[count:]] == [0.0, 0.0]
    assert sum(shared) == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_pass_has_every_unit_once_and_the_next_one_in_another_order(parts):
    whole = mixture(parts)
    bound, seen = whole.bound["next_item"], []

    class Spied:
        def __len__(self):
            return len(bound)

        def example(self, unit, *arguments):
            seen.append(unit)
            return bound.example(unit, *arguments)

    whole.bound["next_item"] = Spied()
    count = whole.units_per_step["next_item"]
    for step in range(2 * len(bound) // count + 1):
        whole.batch(step)
    first, second = seen[: len(bound)], seen[len(bound) : 2 * len(bound)]
    assert sorted(first) == sorted(second) == list(range(len(bound))) and first != second


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_shares_are_normalised_and_decide_the_tokens(parts):
    whole = mixture(parts, {"next_item": 6.0, "rating": 2.0}, batch_tokens=4000)
    assert whole.shares.tolist() == [0.75, 0.25]
    tokens = Counter()
    for step in range(10):
        batch = whole.batch(step)
        for (strands, answers), times in examples(batch).items():
            tokens[whole.names[answers[0][4]]] += times * len(strands[0])
    assert tokens["next_item"] / sum(tokens.values()) == pytest.approx(0.75, abs=0.08)
    assert sum(tokens.values()) / 10 == pytest.approx(4000, rel=0.15)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_task_may_have_another_share_of_the_tokens_than_of_the_loss(parts):
    whole = mixture(parts, {"next_item": 3.0, "rating": 1.0}, batch_tokens=4000, tokens={"rating": 0.01})
    assert whole.shares.tolist() == [0.75, 0.25]
    assert whole.units_per_step["rating"] == 1
    assert whole.units_per_step["next_item"] * whole.mean_tokens["next_item"] == pytest.approx(4000, rel=0.1)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_shares_that_are_all_zero_are_refused(parts):
    with pytest.raises(ValueError, match="shares of all tasks are 0"):
        mixture(parts, {"next_item": 3.0, "rating": 1.0}, tokens={"next_item": 0.0, "rating": 0.0})


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_training_never_draws_a_wording_kept_for_evaluation(parts):
    whole = mixture(parts)
    for name, templates in whole.templates.items():
        assert templates and not any(template.unseen for template in templates)
        assert {template.language for template in templates} == {"en", "zh"}
    assert {template.language for template in mixture(parts, languages=["zh"]).templates["rating"]} == {"zh"}


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_no_held_out_item_is_written_in_any_batch(parts):
    """A user's test and valid events stand in no prompt and no answer of theirs: every stream of the toy world ends before them."""
    whole = mixture(parts, {"next_item": 1.0})
    streams = set()
    for user in range(24):
        start, stop = parts.timelines.span(user)
        streams.add(tuple(parts.timelines.items[start : stop - 2].tolist()))
    ordered = parts.composer.spaces[ITEMS].trie
    codes = {tuple(ordered.code(row)): row for row in range(12)}
    seen = set()
    for step in range(6):
        for strands, answers in examples(whole.batch(step)):
            seen.add(tuple(codes[token,] for token in strands[0] if (token,) in codes))
    assert seen == streams


# --- packing -----------------------------------------------------------------------------------------------------------------------


def strand(*tokens, answers=(), attach=0):
    return Strand(list(tokens), list(answers), attach)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_what_a_packed_row_holds_by_hand(parts):
    """Two examples in one row of ten: a trunk of four with a branch of two behind its third token, and a trunk of three whose first token is an answer."""
    text = [Answer(1, 3, TEXT, -1)]
    composer, code = parts.composer, parts.composer.spaces[ITEMS].trie.code(5)[0]
    long = Example("a", strand(5, 6, code, 7, answers=[Answer(2, 3, ITEMS, 5)]), [strand(8, 9, answers=[Answer(0, 1, TEXT, -1)], attach=3)])
    short = Example("b", strand(1, 2, 3, answers=text))
    batch = pack([short, long], composer, spaces={ITEMS: 0, TEXT: 1}, tasks={"a": 0, "b": 1}, row_tokens=10)
    assert batch.tokens.tolist() == [[5, 6, code, 7, 8, 9, 1, 2, 3]]  # one token of room is cut away
    assert batch.positions.tolist() == [[0, 1, 2, 3, 3, 4, 0, 1, 2]]
    assert batch.example.tolist() == [[0] * 6 + [1] * 3] and batch.branch.tolist() == [[0, 0, 0, 0, 1, 1, 0, 0, 0]]
    assert batch.attach.tolist() == [[0, 0, 0, 0, 3, 3, 0, 0, 0]]
    # Predicted from the token before: the code from place 1, the branch's first token from place 2 of its trunk, the text of two tokens from 6 and 7.
    assert batch.slot.tolist() == [1, 2, 6, 7] and batch.space.tolist() == [0, 1, 1, 1] and batch.task.tolist() == [0, 0, 1, 1]
    assert batch.target.tolist()[1:] == [8, 2, 3] and batch.scale.tolist() == [1.0, 1.0, 0.5, 0.5]
    trie = composer.spaces[ITEMS].trie
    assert trie.token[trie.first[0] + batch.target[0]] == code and batch.node.tolist() == [0, 0, 0, 0]
    assert batch.answers.tolist() == [2.0, 1.0]
    seen = [[k for k in range(9) if batch.mask()[0, t, k]] for t in range(9)]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 4, 5], [6], [6, 7], [6, 7, 8]]


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_codes_are_read_from_the_table_of_the_examples_fold(parts):
    trie, size = parts.composer.spaces[ITEMS].trie, parts.composer.vocabulary.size
    code, answer = (trie.code(row)[0] for row in (5, 2))
    examples = [Example("a", strand(3, code, answer, answers=[Answer(2, 3, ITEMS, 2)]), [strand(4, code, answers=[Answer(0, 1, TEXT, -1)], attach=2)], fold=fold) for fold in (None, 0, 3)]
    packed = {codes: pack(examples, parts.composer, spaces={ITEMS: 0, TEXT: 1}, tasks={"a": 0}, row_tokens=5, codes=codes) for codes in (0, 12)}
    plain = [3, code, answer, 4, code]
    assert packed[0].tokens.tolist() == [plain] * 3
    assert packed[12].tokens.tolist() == [[token + 12 * table if token >= size else token for token in plain] for table in (0, 1, 4)]
    for name in ("slot", "node", "target", "positions"):  # what is asked and answered is the same
        assert torch.equal(getattr(packed[0], name), getattr(packed[12], name))


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_an_example_longer_than_a_row_makes_the_rows_longer_and_padding_sees_itself(parts):
    long, short = Example("a", strand(*range(3, 33), answers=[Answer(1, 2, TEXT, -1)])), Example("a", strand(1, 2, answers=[Answer(1, 2, TEXT, -1)]))
    batch = pack([short, long, long], parts.composer, spaces={TEXT: 0}, tasks={"a": 0}, row_tokens=8)
    assert batch.tokens.shape == (3, 30)  # no room behind a long one
    assert batch.example[2].tolist() == [0, 0] + [-1] * 28
    assert torch.equal(batch.mask()[2, 2:], torch.eye(30, dtype=torch.bool)[2:])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_packing_wastes_little(parts):
    rng = np.random.default_rng(0)
    many = [Example("a", strand(*[3] * int(size), answers=[Answer(1, 2, TEXT, -1)])) for size in rng.integers(2, 40, 300)]
    batch = pack(many, parts.composer, spaces={TEXT: 0}, tasks={"a": 0}, row_tokens=128)
    assert (batch.example >= 0).float().mean() > 0.97 and int(batch.answers) == 300


# --- what cannot be trained --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_where_no_example_fits_the_prompt_it_is_said(parts):
    small = mixture(parts, {"next_item": 1.0}, languages=["en"])
    parts.composer.max_prompt_tokens = 1
    with pytest.raises(ValueError, match="no example of next_item fits 1 tokens; raise max_prompt_tokens"):
        small.batch(0)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_task_without_a_single_unit_is_refused_by_name(parts):
    class Nothing:
        def __len__(self):
            return 0

    with pytest.raises(ValueError, match="'rating' finds nothing to train on"):
        Mixture({"rating": Nothing()}, {"rating": parts.templates["rating"]}, parts.composer, {"rating": 1.0}, batch_tokens=100, row_tokens=50, languages=["en"], seed=0)


def test_half_of_a_tasks_examples_are_bare(toy_parts):
    """The wording a finished model answers in must not be one of many in training."""
    mixture = toy_parts.mixture
    drawn = [mixture._wording("next_item", np.random.default_rng(n)).name for n in range(400)]
    assert 170 < drawn.count("bare") < 270 and len(set(drawn)) == 21
    assert set(mixture._wording("search", np.random.default_rng(n)).name for n in range(400)) == {t.name for t in mixture.templates["search"]}
