"""From answers to a saved file to figures that can be checked by hand; what counts as wrong; what is the same whatever the order."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.evaluation import Background, best_model, compare, score
from llmrec.exam import LISTED, Exam, save_predictions
from llmrec.interactions import Event
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.timelines import Timelines


class Fixed:
    """Answers with the prediction written down for each request id."""

    def __init__(self, **answers: Prediction):
        self.answers = answers

    def predict(self, requests: list[Request]) -> list[Prediction]:
        return [replace(self.answers[request.id], id=request.id) for request in requests]


def evaluate(model, name, exam, *, folder, **scoring):
    return score(save_predictions(model, name, exam, folder=folder), **scoring)


def item_exam(*targets: str, seen: tuple[str, ...] = ()) -> Exam:
    history = tuple(Event(item_id) for item_id in seen)
    return Exam("next_item", "items", tuple(HeldOut(Request(id=f"q{i}", user_id=f"u{i}", history=history), target) for i, target in enumerate(targets)))


def figures(report, metric: str, seen_filter: str | None = None) -> float:
    (row,) = [row for row in report.rows if (row["metric"], row["filter"]) == (metric, seen_filter)]
    return row["mean"]


def listed(*item_ids: str, scores: tuple[float, ...] | None = None) -> Prediction:
    return Prediction(item_ids=item_ids, scores=scores or tuple(-float(i) for i in range(len(item_ids))))


def test_the_seen_filter_takes_the_history_out_of_the_list(tmp_path):
    report = evaluate(Fixed(q0=listed("a", "b", "c")), "fixed", item_exam("c", seen=("a", "x")), folder=tmp_path, resamples=10)
    assert figures(report, "mrr@10", "off") == pytest.approx(1 / 3)
    assert figures(report, "mrr@10", "on") == pytest.approx(1 / 2)


def test_models_are_asked_for_enough_items_to_filter():
    exam = item_exam("c", seen=("a", "b", "a"))
    assert (exam.requests[0].k, exam.requests[0].exclude_seen) == (LISTED + 2, False)
    candidates = Exam("ranking", "items", (HeldOut(Request(id="q", candidates=("a", "b", "c")), "a"),), candidates=True)
    assert (candidates.requests[0].k, candidates.requests[0].exclude_seen) == (3, False)


def test_ties_in_a_list_count_by_expectation_and_the_report_says_when_they_matter(tmp_path):
    report = evaluate(Fixed(q0=listed("a", "b", "c", "d", scores=(2.0, 1.0, 1.0, 0.0))), "fixed", item_exam("b"), folder=tmp_path, resamples=10)
    assert figures(report, "mrr@10", "on") == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert {tie["metric"] for tie in report.ties} == {"ndcg@10"}  # recall@10 does not depend on their order


def test_a_constant_model_that_lists_everything_hits_with_k_over_n(tmp_path):
    items = [f"i{i}" for i in range(50)]
    exam = item_exam(*items[:20])
    answers = {f"q{i}": listed(*items, scores=(0.0,) * 50) for i in range(20)}
    assert figures(evaluate(Fixed(**answers), "constant", exam, folder=tmp_path, resamples=10), "hit@10", "off") == pytest.approx(10 / 50, abs=1e-12)


@pytest.mark.parametrize("broken, sentence", [
    (Prediction(error="too long"), "too long"),
    (Prediction(text="a"), "expected a list of items"),
    (listed("a", "a"), "listed twice"),
    (listed("b", "a", scores=(0.0, 1.0)), "best first"),
    (listed("a", scores=(float("nan"),)), "finite"),
])
def test_an_answer_that_is_none_is_wrong_and_its_reason_is_kept(tmp_path, broken, sentence):
    report = evaluate(Fixed(q0=broken, q1=listed("a")), "fixed", item_exam("a", "a"), folder=tmp_path, resamples=10)
    assert figures(report, "hit@10", "on") == 0.5
    assert report.counts[0]["errors"] == 1 and sentence in report.counts[0]["example"]


def rating_exam(*targets: float) -> Exam:
    return Exam("rating", "rating", tuple(HeldOut(Request(id=f"q{i}", user_id=f"u{i}", item_id="a"), target) for i, target in enumerate(targets)))


def test_a_missing_rating_is_off_by_as_much_as_the_scale_allows(tmp_path):
    model = Fixed(q0=Prediction(value=1.0), q1=Prediction(value=float("nan")), q2=Prediction(value=5.0))
    assert figures(evaluate(model, "fixed", rating_exam(1.0, 4.0, 5.0), folder=tmp_path, resamples=10), "mae") == pytest.approx(3 / 3)


def test_a_missing_probability_is_certain_of_the_wrong_thing(tmp_path):
    exam = Exam("click", "binary", tuple(HeldOut(Request(id=f"q{i}", user_id="u", item_id="a"), label) for i, label in enumerate((1.0, 0.0))))
    report = evaluate(Fixed(q0=Prediction(probability=0.8), q1=Prediction(probability=1.5)), "fixed", exam, folder=tmp_path, resamples=10)
    assert (figures(report, "auc"), figures(report, "precision"), report.counts[0]["errors"]) == (0.0, 0.5, 1)


def test_rating_distributions_are_saved_and_their_calibration_measured(tmp_path):
    sure = Prediction(value=4.75, distribution={"4": 0.25, "5": 0.75})
    exam = rating_exam(5.0, 5.0, 5.0, 4.0)
    report = evaluate(Fixed(q0=sure, q1=sure, q2=sure, q3=sure), "fixed", exam, folder=tmp_path, resamples=10)
    assert figures(report, "ece") == 0.0
    assert report.curves[0]["bins"] == [{"probability": 0.75, "share": 0.75, "count": 4}]


def test_a_model_that_leaves_out_a_question_is_refused(tmp_path):
    class Forgetful(Fixed):
        def predict(self, requests):
            return super().predict(requests)[1:]

    with pytest.raises(ValueError, match="asked 2 questions of next_item and gave 1 answers"):
        save_predictions(Forgetful(q0=listed("a"), q1=listed("a")), "forgetful", item_exam("a", "a"), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_a_path_is_refused(tmp_path):
    with pytest.raises(ValueError, match="names a file"):
        save_predictions(Fixed(q0=listed("a")), "../model", item_exam("a"), folder=tmp_path)


def test_scores_come_from_the_file_alone_and_do_not_depend_on_its_order_or_shards(tmp_path):
    generator = np.random.default_rng(0)
    items = [f"i{i}" for i in range(300)]
    answers = {f"q{i}": listed(*generator.permutation(items)[:120].tolist()) for i in range(60)}
    exam = item_exam(*generator.choice(items, 60).tolist(), seen=tuple(items[:10]))
    path = save_predictions(Fixed(**answers), "fixed", exam, folder=tmp_path)
    rows = score(path, resamples=50).rows
    whole = {(row["metric"], row["filter"]): row["mean"] for row in rows}
    shuffled, metadata = pl.read_parquet(path).sample(fraction=1.0, shuffle=True, seed=1), {k: v for k, v in pl.read_parquet_metadata(path).items() if k != "ARROW:schema"}
    parts = {"shuffled": shuffled, "first": shuffled[:25], "second": shuffled[25:]}
    found = {}
    for name, frame in parts.items():
        frame.write_parquet(tmp_path / f"{name}.parquet", metadata=metadata)
        found[name] = {(row["metric"], row["filter"]): row["mean"] for row in score(tmp_path / f"{name}.parquet", resamples=10).rows}
    again = score(tmp_path / "shuffled.parquet", resamples=50).rows
    assert [row["metric"] for row in again] == [row["metric"] for row in rows]
    for name in ("mean", "low", "high", "n"):  # intervals, too
        assert [row[name] for row in again] == pytest.approx([row[name] for row in rows], abs=1e-12), name
    for key, value in whole.items():
        assert found["shuffled"][key] == pytest.approx(value, abs=1e-12)
        assert (25 * found["first"][key] + 35 * found["second"][key]) / 60 == pytest.approx(value, abs=1e-12)


def test_compare_refuses_files_with_other_questions(tmp_path):
    first = save_predictions(Fixed(q0=listed("a")), "one", item_exam("a"), folder=tmp_path)
    second = save_predictions(Fixed(q0=listed("a")), "other", item_exam("b"), folder=tmp_path)
    with pytest.raises(ValueError, match="do not hold the same questions"):
        compare(first, second, resamples=10)


def test_the_best_model_has_the_highest_ndcg_or_the_lowest_rmse():
    rows = [{"task": "t", "model": model, "metric": metric, "filter": None, "mean": mean} for model, metric, mean in
            (("a", "rmse", 0.9), ("b", "rmse", 0.8), ("c", "rmse", None), ("a", "ndcg@10", 0.1), ("b", "ndcg@10", 0.2))]
    assert best_model(rows, task="t", family="rating", among=["a", "b", "c"]) == "b"
    assert best_model(rows, task="t", family="items", among=["a"]) == "a"
    assert best_model(rows, task="t", family="rating", among=[]) is None


def test_background_knows_train_alone(toy_corpus):
    timelines = Timelines.of(toy_corpus)
    background = Background.of(timelines)
    assert background.popularity.sum() == (timelines.parts == 0).sum() == 24 * 6
    assert background.attributes[0] == {"genres: Drama", "year: 1990"}
    assert len(background.reviews) == 24 * 6


def test_features_of_an_item_are_its_own_words_and_what_others_wrote_of_it():
    reviews = [("a", "anna", "smooth neck"), ("a", "ben", "warm tone"), ("b", "anna", "neck"), *[("c", "x", "neck tone smooth warm")] * 4, *[("c", "y", "plain")] * 20]
    background = Background({"a": 0, "b": 1, "c": 2}, np.zeros(3, dtype=np.int64), [frozenset()] * 3, ["Neck strap", "", ""], reviews)
    assert background.features == {"neck", "tone", "smooth", "warm"}
    assert background.features_of("a", "anna") == {"neck", "tone", "warm"}
    assert background.features_of("a", None) == {"neck", "tone", "warm", "smooth"}
    assert background.features_of("unknown", None) == frozenset()


def test_popularity_groups_are_of_the_item_asked_for(tmp_path):
    background = Background({"a": 0, "b": 1}, np.array([200, 2]), [frozenset()] * 2, ["", ""])
    report = evaluate(Fixed(q0=listed("a"), q1=listed("a")), "fixed", item_exam("a", "b"), folder=tmp_path, background=background, resamples=10)
    found = {(row["group"], row["value"]): row["mean"] for row in report.groups if row["metric"] == "recall@10"}
    assert found == {("history", "0"): 0.5, ("popularity", "1-4"): 0.0, ("popularity", "100+"): 1.0}
