"""The draft that the others agree with, beside what was answered to like questions; and whether a task has its texts chosen so."""

import json

import polars as pl
import pytest

from llmrec.consensus import CANDIDATES, TEMPERATURES, agreed
from llmrec.exam import Exam
from llmrec.interactions import Catalog
from llmrec.precedents import Precedents
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.recommender import Backing, Combiner, Fitted, Recommender
from train.calibrate import best_consensus


def test_the_candidate_that_shares_most_with_what_is_drawn_is_taken():
    references = ["a b c d", "a b x", "c a b"] + ["a b"] * (len(TEMPERATURES) - CANDIDATES - 3)
    assert agreed(["x", "a b c d e f", "a b", *["y"] * (CANDIDATES - 3), *references]) == "a b"
    assert agreed(["one", *["two"] * (CANDIDATES - 1), *["three"] * (len(TEMPERATURES) - CANDIDATES)]) == "one"  # nobody agrees: the most probable
    assert sum(temperature == 0 for temperature in TEMPERATURES) == 1 and TEMPERATURES[CANDIDATES:] == (1.0,) * len(TEMPERATURES[CANDIDATES:])


def test_recall_counts_more_than_precision():
    """Half of what is said has two words more: the longer text shares as much with the short half as the short text with the longer one, and recalls more."""
    references = ["a b", "a b c d"] * ((len(TEMPERATURES) - CANDIDATES) // 2)
    assert agreed(["a b", "a b c d", *["y"] * (CANDIDATES - 2), *references]) == "a b c d"


def test_precedents_count_by_their_share_and_may_be_the_answer():
    drafts = [*["a b"] * CANDIDATES, *["a b"] * (len(TEMPERATURES) - CANDIDATES)]
    precedents = [("p q r", 0.4), ("p q", 0.3), ("z", 0.3)]
    assert agreed(drafts, precedents, 0.0) == agreed(drafts, (), 0.9) == agreed(drafts, precedents, 0.25) == "a b"
    assert agreed(drafts, precedents, 0.9) == "p q r"  # which says all of the next likeliest
    # One precedent has nobody but itself to agree with it.
    assert agreed(drafts, [("alone", 1.0)], 0.75) == "a b"


def test_words_of_the_question_may_be_the_answer():
    drafts = ["good cable", *["x"] * (CANDIDATES - 1), *["a good cable"] * (len(TEMPERATURES) - CANDIDATES)]
    assert agreed(drafts, quotes=["A good cable", "it"]) == "A good cable"  # as good a candidate as a draft
    assert agreed(drafts, quotes=["cable here"]) == "good cable" and agreed(drafts, quotes=["cable here"], quoting=3.0) == "cable here"
    assert agreed(drafts, [("good good cable", 1.0)], 0.25, ["nothing"]) == "good cable"


def test_a_question_is_quoted_where_that_serves_valid():
    """The writer says of everything that it is so nice; people sum up in the first two words of their review, or do not."""
    def combiner():
        return Combiner(Backing(), Fitted(), catalog=Catalog(pl.DataFrame({"item_id": ["i", "j"], "title": ["", ""]})), vocabulary=None)

    class Writer:
        def __init__(self):
            self.combiner = combiner()

        def predict(self, requests):
            drafts = ["nice", *["so nice"] * (CANDIDATES - 1), *["so it is"] * (len(TEMPERATURES) - CANDIDATES)]
            return [Prediction(id=request.id, text=self.combiner.text(request, drafts if len(self.combiner.temperatures(request.task)) > 1 else drafts[:1]).text) for request in requests]

    def exam(targets):
        return Exam("review_summary", "text", tuple(HeldOut(Request(id=str(n), task="review_summary", review=f"So {word} strings. They last."), target) for n, (word, target) in enumerate(targets)))

    quoted = exam([("bright", "So bright"), ("mellow", "So mellow")])
    found = best_consensus(Writer(), quoted)
    assert found.consensus == {"review_summary": 0.0} and found.quoting["review_summary"] > 1
    fitted = combiner()
    fitted.fitted = found
    assert fitted.text(quoted.requests[0], ["nice", *["so nice"] * (CANDIDATES - 1), *["so it is"] * 16]).text == "So bright"
    assert best_consensus(Writer(), exam([("bright", "so nice"), ("mellow", "so nice")])).quoting == {}
    # A card that says nothing of it quotes nobody.
    fitted.fitted = Fitted.of({"consensus": {"review_summary": 0.0}})
    assert fitted.text(quoted.requests[0], ["nice", *["so nice"] * (CANDIDATES - 1), *["so it is"] * 16]).text == "so nice"


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_model_whose_card_says_so_compares_drafts_alike_whatever_is_asked_beside(toy_parts):
    requests = [Request(id=str(n), task="explanation", item_id=item_id) for n, item_id in enumerate(toy_parts.composer.catalog.item_ids[:4])]
    parts = toy_parts.model.eval(), toy_parts.composer, toy_parts.templates
    plain = Recommender(*parts).predict(requests)
    several = Recommender(*parts, card={"consensus": {"explanation": 0.0}})
    answers = several.predict(requests)
    assert answers == several.predict(requests[::-1])[::-1] == [several.predict([request])[0] for request in requests]
    assert answers == Recommender(*parts, card={"consensus": ["explanation"]}).predict(requests)  # as older folders say it
    assert json.dumps([answer.text for answer in answers]) != json.dumps([answer.text for answer in plain])


def test_drafts_are_compared_and_precedents_asked_where_that_serves_valid():
    class Writer:
        """Writes "a nice thing", or drafts of which most say "good strings"."""

        def __init__(self, precedents):
            self.combiner = Combiner(Backing(precedents=precedents), Fitted(), catalog=Catalog(pl.DataFrame({"item_id": ["i", "j"], "title": ["", ""]})), vocabulary=None)

        def predict(self, requests):
            found = []
            for request in requests:
                drafts = ["a nice thing", *["good strings"] * (len(TEMPERATURES) - 1)] if self.combiner.temperatures(request.task) == TEMPERATURES else ["a nice thing"]
                found.append(Prediction(id=request.id, text=self.combiner.text(request, drafts).text if request.item_id == "i" else None))
            return found

    def exam(target):
        return Exam("explanation", "text", (HeldOut(Request(id="q", task="explanation", item_id="i"), target), HeldOut(Request(id="none", task="explanation", item_id="j"), target)))

    known = Precedents.of([HeldOut(Request(item_id="i"), text) for text in ("long lasting cable", "long lasting cable", "lasting cable")])
    plain, told = Writer({}), Writer({"explanation": known})
    def share(writer, target):
        return best_consensus(writer, exam(target)).consensus.get("explanation")

    assert share(plain, "good strings these") == share(told, "good strings these") == 0.0
    assert share(told, "a long lasting cable") > 0 and share(plain, "a long lasting cable") is None
    assert share(plain, "a nice one") is None and share(told, "a nice one") is None
    assert plain.combiner.fitted == Fitted() and type(told.combiner) is Combiner
