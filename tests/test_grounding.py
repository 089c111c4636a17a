"""Which features a text may name: the rule, however a text is cut into tokens, and a model that is held to it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.grounding import Claim, Grounding, Speller
from llmrec.interactions import Catalog, Corpus, Interactions
from llmrec.metrics.text import words
from llmrec.predictions import Request
from llmrec.recommender import Backing, Recommender

REVIEWS = [("a", "smooth neck"), ("a", "smooth tone"), ("b", "bright tone"), ("b", "bright neck"), ("c", "loud and bright"), ("c", "smooth sound")] * 3


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rows = [(f"u{n}", item, 0, "rating", "train" if n < 15 else "test", f"{text} number {n}") for n, (item, text) in enumerate(REVIEWS)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part", "review"], orient="row").sort("user_id")
    items = pl.DataFrame({"item_id": ["a", "b", "c", "d"], "title": ["Guitar", "Bass with neck", "Drum", "Smooth Horn"], "kind": [["x"]] * 4})
    return Corpus("sounds", Interactions(frame, ordering="order"), Catalog(items))


@pytest.fixture(scope="module")
def grounding(corpus) -> Grounding:
    return Grounding(("bright", "neck", "smooth", "tone"), *_rows([{1, 2, 3}, {0, 1, 3}, {0, 2}, {2}]))


def _rows(found):
    return np.cumsum([0, *map(len, found)]), np.array([n for own in found for n in sorted(own)], dtype=np.int32)


def test_features_of_items_are_those_of_train_and_of_their_own_text(corpus, monkeypatch):
    monkeypatch.setattr("llmrec.grounding.feature_vocabulary", lambda documents: frozenset({"bright", "neck", "smooth", "tone"} & {word for text in documents for word in words(text)}))
    found = Grounding.of(corpus)
    assert [found.of_item(row) for row in range(4)] == [{"neck", "smooth", "tone"}, {"bright", "neck", "tone"}, {"bright", "smooth"}, {"smooth"}]
    # The test part says nothing: without the first two rounds of reviews little is known.
    late = replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.filter(pl.col("part") == "test")))
    assert Grounding.of(late) is None
    assert Grounding.of(replace(corpus, interactions=replace(corpus.interactions, frame=corpus.interactions.frame.drop("review")))) is None


def test_a_folder_says_the_same(grounding, tmp_path):
    grounding.save(tmp_path)
    loaded = Grounding.load(tmp_path, 4)
    assert loaded.features == grounding.features and [loaded.of_item(row) for row in range(4)] == [grounding.of_item(row) for row in range(4)]
    assert Grounding.load(tmp_path / "nothing", 4) is None
    with pytest.raises(ValueError, match="holds 4 items, the catalogue 5"):
        Grounding.load(tmp_path, 5)
    (tmp_path / "grounding.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="has format 0"):
        Grounding.load(tmp_path, 4)


def test_no_way_of_cutting_a_text_spells_a_forbidden_word(toy_vocabulary):
    forbidden = frozenset({"harvest", "night", "ten", "road"})
    speller = Speller(toy_vocabulary, [*forbidden, "echo"])
    rng = np.random.default_rng(0)
    spelled = 0
    for text in range(300):
        claim, tokens = Claim(speller, forbidden), []
        free = Claim(speller, frozenset())
        for _ in range(40):
            banned = {*claim.always, *claim.banned}
            allowed = [token for token in range(toy_vocabulary.size) if token not in banned and token not in toy_vocabulary.control]
            # Now and then a token that goes on with a forbidden word where the guard lets it.
            wanted = [token for token in speller.completing(claim._begun, frozenset({"echo"})) if token in allowed]
            token = int(rng.choice(wanted)) if wanted and rng.random() < 0.1 else int(rng.choice(allowed))
            tokens.append(token)
            claim.add(token)
            assert [*free.always, *free.banned] == []
        said = set(words(toy_vocabulary.decode(tokens)))
        assert not said & forbidden, (text, said & forbidden)
        spelled += "echo" in said
    assert spelled > 10


def test_letter_by_letter_the_last_letter_is_what_is_banned(toy_vocabulary):
    speller = Speller(toy_vocabulary, ["ten"])
    claim = Claim(speller, frozenset({"ten"}))
    by_piece = {piece: token for token, piece in enumerate(speller.pieces)}
    assert {speller.pieces[token] for token in (*claim.always, *claim.banned)} >= {piece for piece in (" ten", "ten") if piece in by_piece}
    for letter in (" t", "e"):
        claim.add(by_piece[letter] if letter in by_piece else by_piece[letter.strip()])
    assert by_piece["n"] in claim.banned and by_piece["e"] not in (*claim.always, *claim.banned)
    claim.add(by_piece["e"])
    assert by_piece["n"] not in (*claim.always, *claim.banned)  # "tee" and then n is another word


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_model_names_only_what_the_item_has(toy_parts, toy_corpus):
    requests = [Request(task="explanation", item_id=f"i{n}", history=()) for n in range(12)]
    free = [prediction.text for prediction in Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates).predict(requests) if not prediction.plain]
    features = tuple(sorted({word for text in free for word in words(text) if len(word) > 2}))
    assert len(features) > 5
    nothing = Grounding(features, *_rows([set() for _ in toy_corpus.catalog.item_ids]))
    everything = Grounding(features, *_rows([set(range(len(features))) for _ in toy_corpus.catalog.item_ids]))

    def texts(grounding):
        model = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, backing=Backing(grounding=grounding))
        return [prediction.text for prediction in model.predict(requests) if not prediction.plain]

    assert any(set(words(text)) & set(features) for text in texts(everything))
    assert len(texts(nothing)) > 5 and all(not set(words(text)) & set(features) for text in texts(nothing))
    summary = Request(task="review_summary", review="A good, quiet and short record.")
    free, held = (Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, backing=Backing(grounding=found)).predict([summary])[0].text for found in (None, nothing))
    assert free == held  # about a review, not about an item
