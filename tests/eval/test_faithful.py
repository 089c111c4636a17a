"""Whether explanations can be believed, on models whose reasons are known: one that adds up what its history holds."""

import json
from types import SimpleNamespace

import pytest

from eval import faithful
from eval.honesty import Asked, agreement, deletions, two_wordings
from llmrec.interactions import Event
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.templates import PromptTemplate
from llmrec.timelines import Timelines

HISTORY = tuple(Event(item_id) for item_id in ("i0", "i1", "i2", "i3", "i4"))


def test_deletion_by_hand(adding):
    asked = SimpleNamespace(questions=lambda task: [HeldOut(Request(id=str(n), task="rating", item_id="i9", history=HISTORY, user_id=f"u{n}"), 3.0) for n in range(40)])
    found = deletions(adding, asked, "rating", cited=1, draws=200)
    # Without i0 the sum falls by 3; without one of five at random it moves by (3 + 2 + 1 + 0 + .5) / 5.
    assert found["answers"] == 40 and found["moved_without_cited"] == pytest.approx(3) and found["moved_without_random"] == pytest.approx(1.3, abs=0.05)
    assert found["ratio"] == pytest.approx(3 / 1.3, rel=0.05) and found["low"] <= found["ratio"] <= found["high"]
    other = deletions(adding, asked, "rating", cited=1, draws=200, measured=Flat())
    assert other["moved_without_cited"] == other["moved_without_random"] == 1 and other["ratio"] == pytest.approx(1)  # cited by one, measured by another, to whom all events are alike
    with pytest.raises(ValueError, match="no history of rating has 6 events"):
        deletions(adding, asked, "rating", cited=3)


def test_only_what_may_be_cited_is_drawn(adding):
    long = HeldOut(Request(id="q", task="rating", item_id="i9", history=(Event("i0"),) * 100 + HISTORY[1:] * 16, user_id="u"), 3.0)
    found = deletions(adding, SimpleNamespace(questions=lambda task: [long]), "rating", cited=1, draws=200)
    assert found["answers"] == 1 and found["moved_without_random"] == pytest.approx((2 + 1 + 0 + 0.5) / 4, abs=0.15)  # i0 stands further back than the newest 64


class Flat:
    """Every event is worth one."""

    def predict(self, requests):
        return [Prediction(request.id, request.task, value=float(len(request.history))) for request in requests]


def test_two_wordings_show_the_same():
    wordings = [PromptTemplate("bare", "en", "", "{code}{rating}"), PromptTemplate("said", "en", "Said:", "{code}"), PromptTemplate("zh", "zh", "说", "{code}{rating}", unseen=True), PromptTemplate("new", "en", "New:", "{code}", unseen=True)]
    assert [wording.name for wording in two_wordings(wordings)] == ["said", "new"] and two_wordings(wordings[:3]) is None


def test_agreement_by_hand():
    found = agreement([0.8, -0.5, 0.0, 0.6, -0.7], [4.5, 2.0, 1.0, 2.5, 4.0], middle=3.0, users=list("abcde"))
    assert found["texts"] == 5 and found["with_sentiment"] == pytest.approx(0.8) and found["positive"] == pytest.approx(0.5) and found["agreement"] == pytest.approx(0.5)
    assert agreement([0.0], [1.0], middle=3.0, users=["a"])["positive"] is None


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_command_writes_both_figures(toy_parts, toy_corpus, toy_tokenizer, tmp_path, capsys):
    from llmrec.recommender import save_recommender

    corpus, model = tmp_path / "corpus", tmp_path / "model"
    corpus.mkdir(), model.mkdir()
    toy_corpus.save(corpus)
    save_recommender(model, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=None, card={"seed": 0}, kind="base")
    assert faithful.main(["--model", str(model), "--task", "rating", "--cited", "1", "--users", "4", "--out", str(tmp_path / "out"), f"data.corpus={corpus}"]) == 0
    record = json.loads((tmp_path / "out" / "faithful.json").read_text())
    assert json.loads(capsys.readouterr().out) == record
    assert len(record["wordings"]) == 2 and record["faithfulness"]["answers"] + record["faithfulness"]["without_citation"] == 4 and record["faithfulness"]["ratio"] > 0 and record["sentiment"]["texts"] == 4
    with pytest.raises(SystemExit) as ended:
        faithful.main(["--model", str(model), "--task", "explanation", "--out", str(tmp_path / "out"), f"data.corpus={corpus}"])
    assert ended.value.code == 2 and "explains no answers of 'explanation'" in capsys.readouterr().err
    assert faithful.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path / "out"), f"data.corpus={corpus}"]) == 2
    assert len({question.request.user_id for question in Asked(Timelines.of(toy_corpus), "test", 3).questions("rating")}) == 3
