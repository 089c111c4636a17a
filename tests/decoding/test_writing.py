"""Texts against the plain model, one forward pass a word; and drafts of them: drawn as the model says, guarded each by itself."""

import numpy as np
import pytest
import torch

from llmrec.decoding.reading import Reading
from llmrec.decoding.writing import write
from llmrec.model import LanguageModel

PROMPTS = [[1, 300, 301, 302, 303], [1, 310, 311, 5, 7], [1, 12, 13, 14, 15]]
END = 2
WARM = (0.0, 0.5, 1.0, 1.0)


@pytest.fixture
def model(toy_llama):
    return LanguageModel(toy_llama, vocabulary_size=toy_llama.config.vocab_size, new_tokens=4).eval()


def generators(count):
    return [np.random.default_rng(n) for n in range(count)]


def test_without_warmth_a_text_is_the_most_probable_word_at_each_step(model):
    plain = model.plain().eval()
    for temperatures in ((0.0,), (0.0, 0.5, 1.0)):
        for prompt, texts in zip(PROMPTS, write(Reading.of(model, PROMPTS), end=END, forbidden=(0, 1), max_tokens=6, temperatures=temperatures, draws=generators(3))):
            assert len(texts) == len(temperatures)
            for token in texts[0]:
                with torch.no_grad():
                    logits = plain(input_ids=torch.tensor([prompt])).logits[0, -1, : model.vocabulary_size]
                logits[[0, 1]] = -torch.inf
                assert int(logits.argmax()) == token
                prompt = [*prompt, token]


def test_words_are_drawn_as_the_model_says_of_those_before_them(model):
    """The first words of 20,000 drafts, and the second words behind the commonest first, as often as their probabilities say."""
    with torch.no_grad():
        model.base.get_output_embeddings().weight.mul_(4)  # so that some words are likelier than others
    plain, drafts = model.plain().eval(), 2_000
    texts = [text for rng in generators(10) for text in write(Reading.of(model, PROMPTS[:1]), end=END, forbidden=(), max_tokens=2, temperatures=[1.0] * drafts, draws=[rng])[0]]
    first = max({text[0] for text in texts if text}, key=[text[0] for text in texts if text].count)
    for behind, words in (([], [text[0] for text in texts if text]), ([first], [text[1] for text in texts if len(text) > 1 and text[0] == first])):
        with torch.no_grad():
            logits = plain(input_ids=torch.tensor([PROMPTS[0] + behind])).logits[0, -1, : model.vocabulary_size].clone()
        logits[END] = -torch.inf
        expected = torch.softmax(logits, 0).numpy() * len(words)
        found = np.bincount(words, minlength=model.vocabulary_size)
        likely = expected > 20
        assert likely.sum() >= 5
        assert np.abs(found - expected)[likely].max() < 5 * np.sqrt(expected[likely].max()), (found[likely], expected[likely])


def test_what_is_drawn_for_a_prompt_does_not_depend_on_those_beside_it(model):
    together = write(Reading.of(model, PROMPTS), end=END, forbidden=(), max_tokens=6, temperatures=WARM, draws=generators(3))
    for row, prompt in enumerate(PROMPTS):
        assert write(Reading.of(model, [prompt]), end=END, forbidden=(), max_tokens=6, temperatures=WARM, draws=[np.random.default_rng(row)]) == [together[row]]
    assert len({tuple(text) for text in together[0]}) > 1


def test_every_draft_has_a_guard_of_its_own(model):
    class Never:
        """No token twice."""

        def __init__(self):
            self.always, self.banned = [END], []

        def add(self, token):
            self.banned.append(token)

    guards = [[Never() for _ in range(4)] for _ in PROMPTS]
    for own in write(Reading.of(model, PROMPTS), end=END, forbidden=(), max_tokens=12, guards=guards, temperatures=(0.0, 0.1, 0.1, 1.0), draws=generators(3)):
        for text in own:
            assert len(set(text)) == len(text) == 12  # and none may end
