"""What kinds of wordings lose against each other: figures averaged over the wordings of a kind, on the same draws of users."""

import json

import pytest

from eval import wordings
from llmrec.evaluation import contrast
from llmrec.exam import Exam, save_predictions
from llmrec.predictions import HeldOut, Prediction, Request


class Saying:
    """Lists the target at a place of each question's own."""

    def __init__(self, places):
        self.places = places

    def predict(self, requests):
        lists = [[*(f"x{n}" for n in range(self.places[int(request.id)])), "t"] for request in requests]
        return [Prediction(request.id, "next_item", item_ids=tuple(listed), scores=tuple(-float(n) for n in range(len(listed)))) for request, listed in zip(requests, lists)]


def saved(tmp_path, name, places):
    exam = Exam("next_item", "items", tuple(HeldOut(Request(id=str(n), task="next_item", user_id=f"u{n}"), "t") for n in range(len(places))))
    return save_predictions(Saying(places), name, exam, folder=tmp_path)


def test_a_contrast_by_hand(tmp_path):
    one, other, bad = saved(tmp_path, "one", [0, 2, 0]), saved(tmp_path, "other", [2, 0, 0]), saved(tmp_path, "bad", [2, 2, 2])
    rows = {row["metric"]: row for row in contrast([bad], [one, other], resamples=200)}
    third = 1 / 2  # at place 3: 1 / log2(4)
    assert rows["ndcg@10"]["first"] == pytest.approx(third) and rows["ndcg@10"]["second"] == pytest.approx((2 + third) / 3)
    assert rows["ndcg@10"]["difference"] == pytest.approx(third - (2 + third) / 3) and rows["ndcg@10"]["low"] <= rows["ndcg@10"]["difference"] <= rows["ndcg@10"]["high"] < 0
    assert rows["recall@10"]["difference"] == 0
    assert all(row["low"] == row["high"] == 0 for row in contrast([one, other], [other, one], resamples=50))  # the same draws of users for both
    with pytest.raises(ValueError, match="do not hold the same questions"):
        contrast([one], [saved(tmp_path, "fewer", [0])])


def test_a_figure_that_the_questions_do_not_have_is_left_out(tmp_path):
    class Sure:
        def predict(self, requests):
            return [Prediction(request.id, "click", probability=0.9) for request in requests]

    exam = Exam("click", "binary", tuple(HeldOut(Request(id=str(n), task="click", item_id="i", user_id=f"u{n}"), 1.0) for n in range(3)))
    paths = [[save_predictions(Sure(), name, exam, folder=tmp_path)] for name in "ab"]
    rows = contrast(*paths, resamples=10)
    assert "auc" not in {row["metric"] for row in rows} and all(row["difference"] == 0 for row in rows)


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_command_asks_every_wording_and_tells_losses(toy_parts, toy_corpus, toy_tokenizer, tmp_path, capsys):
    from llmrec.recommender import save_recommender

    corpus, model, out = tmp_path / "corpus", tmp_path / "model", tmp_path / "out"
    corpus.mkdir(), model.mkdir()
    toy_corpus.save(corpus)
    save_recommender(model, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=None, card={"seed": 0}, kind="base")
    assert wordings.main(["--model", str(model), "--task", "next_item", "--task", "rating", "--limit", "10", "--out", str(out), f"data.corpus={corpus}"]) == 0
    rows = json.loads((out / "wordings.json").read_text())["rows"]
    assert {(row["task"], row["metric"], row["kind"]) for row in rows} == {
        (task, metric, kind) for task, metrics in (("next_item", ("ndcg@10", "recall@10")), ("rating", ("rmse", "mae"))) for metric in metrics for kind in ("unseen against seen", "without words against seen", "zh against en")
    }
    asked = {path.name for path in (out / "predictions").iterdir()}
    assert {"next_item.bare.parquet", "next_item.plain.parquet", "next_item.spirit.parquet", "next_item.zh-plain.parquet"} <= asked and not {"next_item.titled.parquet", "next_item.zh-rated.parquet"} & asked  # those show more
    clicks = wordings.comparable(toy_parts.templates["click"], None)
    assert clicks and all(template.fields == {"code"} for template in clicks)  # without words ratings are shown, too
    assert {template.language for template in wordings.comparable(toy_parts.templates["next_item"], ["en"])} == {"en"}
    assert "| rating | rmse | unseen against seen |" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        wordings.main(["--model", str(model), "--task", "chess", "--out", str(out), f"data.corpus={corpus}"])
    assert ended.value.code == 2 and "the model does not answer 'chess'" in capsys.readouterr().err


def test_an_error_that_grows_is_a_loss():
    table = wordings.losses_table([{"task": "rating", "metric": "rmse", "kind": "zh against en", "first": 1.1, "second": 1.0, "difference": 0.1, "low": 0.05, "high": 0.2}, {"task": "next_item", "metric": "ndcg@10", "kind": "unseen against seen", "first": 0.11, "second": 0.1, "difference": 0.01, "low": -0.01, "high": 0.02}])
    assert "| 1.1000 | 1.0000 | +10.0 (+5.0 to +20.0) |" in table and "| 0.1100 | 0.1000 | -10.0 (-20.0 to +10.0) |" in table
