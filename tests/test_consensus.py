"""The draft that the others agree with; and whether a task has its texts chosen so."""

import json

import pytest

from llmrec.consensus import CANDIDATES, TEMPERATURES, agreed
from llmrec.exam import Exam
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.recommender import Recommender
from train.calibrate import agreement_serves


def test_the_candidate_that_shares_most_with_what_is_drawn_is_taken():
    references = ["a b c d", "a b x", "c a b"] + ["a b"] * (len(TEMPERATURES) - CANDIDATES - 3)
    assert agreed(["x", "a b c", "a b", *["y"] * (CANDIDATES - 3), *references]) == "a b"
    assert agreed(["one", *["two"] * (CANDIDATES - 1), *["three"] * (len(TEMPERATURES) - CANDIDATES)]) == "one"  # nobody agrees: the most probable
    assert sum(temperature == 0 for temperature in TEMPERATURES) == 1 and TEMPERATURES[CANDIDATES:] == (1.0,) * len(TEMPERATURES[CANDIDATES:])


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_model_whose_card_says_so_compares_drafts_alike_whatever_is_asked_beside(toy_parts):
    requests = [Request(id=str(n), task="explanation", item_id=item_id) for n, item_id in enumerate(toy_parts.composer.catalog.item_ids[:4])]
    parts = toy_parts.model.eval(), toy_parts.composer, toy_parts.templates
    plain = Recommender(*parts).predict(requests)
    several = Recommender(*parts, card={"consensus": ["explanation"]})
    answers = several.predict(requests)
    assert answers == several.predict(requests[::-1])[::-1] == [several.predict([request])[0] for request in requests]
    assert json.dumps([answer.text for answer in answers]) != json.dumps([answer.text for answer in plain])


def test_drafts_are_compared_where_that_serves_valid():
    class Writer:
        consensus = frozenset()

        def predict(self, requests):
            return [Prediction(id=request.id, text=("good strings" if self.consensus else "a nice thing") if request.item_id == "i" else None) for request in requests]

    def exam(target):
        return Exam("explanation", "text", (HeldOut(Request(id="q", task="explanation", item_id="i"), target), HeldOut(Request(id="none", task="explanation", item_id="j"), target)))

    assert agreement_serves(Writer(), exam("good strings these")) and not agreement_serves(Writer(), exam("a nice one")) and not agreement_serves(Writer(), exam("other"))
