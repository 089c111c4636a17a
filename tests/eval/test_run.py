"""A suite from end to end with models that need no torch: what is asked, saved, scored and refused."""

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from eval.null_run import null_fault
from eval import asking
from eval.asking import NullRunError, evaluate_suite
from eval.suite import Suite, SuiteError
from eval.run import main
from llmrec.baselines.baseline import Baseline
from llmrec.baselines.neighbours import ItemKNN
from llmrec.baselines.popularity import MostPopular, Random
from llmrec.exam import Exam
from llmrec.interactions import Catalog, Corpus, Event, Interactions
from llmrec.predictions import HeldOut, Prediction, Request
from llmrec.recommender import save_recommender
from llmrec.report import print_table, versions, write_report
from llmrec.tasks import TASKS as REAL
from llmrec.timelines import Timelines

NUM_ITEMS, NUM_USERS = 200, 120
ABOUT = {"command": "test", "data_hash": "h", "audit_hash": "", "versions": versions(), "models": ["ours"], "corpus": "tiny <b>", "seed": 0, "training": {}}


@pytest.fixture(scope="module")
def timelines() -> Timelines:
    generator = np.random.default_rng(0)
    shares = 1 / np.arange(1, NUM_ITEMS + 1)
    rows = []
    for user in range(NUM_USERS):
        items = generator.choice(NUM_ITEMS, 10, replace=False, p=shares / shares.sum())
        rows += [(f"u{user}", f"i{item}", position, "rating", "test" if position == 9 else "train", float(1 + (item + user) % 5)) for position, item in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part", "rating"], orient="row")
    catalog = pl.DataFrame({"item_id": [f"i{i}" for i in range(NUM_ITEMS)], "title": [f"Item {i}" for i in range(NUM_ITEMS)], "kind": [[f"k{i % 7}"] for i in range(NUM_ITEMS)]})
    return Timelines.of(Corpus("tiny", Interactions(frame, ordering="order"), Catalog(catalog), rating_scale=(1.0, 2.0, 3.0, 4.0, 5.0)))


@dataclass(frozen=True)
class HeldOutTask:
    """Asks about the last event of each user: the item, its rating, or whether the rating is at least 4."""

    name: str
    family: str
    candidates: bool = False
    absent: str | None = None

    def reason_absent(self, corpus: Corpus) -> str | None:
        return self.absent

    def held_out(self, timelines: Timelines, part: str, seed: int) -> list[HeldOut]:
        examples = []
        for user, place in timelines.places(part):
            event = timelines.event(place)
            request = Request(id=f"{self.name}-{user}", task=self.name, user_id=timelines.user_ids[user], history=timelines.history(user, place, part))
            if self.family == "items":
                others = tuple(f"i{i}" for i in range(50) if f"i{i}" != event.item_id)[:49]
                examples.append(HeldOut(Request(**{**vars(request), "candidates": (*others, event.item_id)}) if self.candidates else request, event.item_id))
            else:
                asked = Request(**{**vars(request), "item_id": event.item_id})
                target = {"rating": event.rating, "binary": float(event.rating >= 4), "text": f"an item like {event.item_id}"}[self.family]
                examples.append(HeldOut(asked, target, tags={"parity": "even" if user % 2 == 0 else "odd"}))
        return examples


TASKS = {task.name: task for task in (
    HeldOutTask("next_item", "items"), HeldOutTask("ranking", "items", candidates=True), HeldOutTask("rating", "rating"), HeldOutTask("click", "binary"),
    HeldOutTask("explanation", "text"), HeldOutTask("search", "items", absent="the corpus has no queries and no titles"),
)}


class Popularity:
    """The items with most train events; the mean rating; the share of likes; one sentence."""

    tasks = tuple(TASKS)

    def fit(self, timelines: Timelines, *, seed: int = 0) -> "Popularity":
        train = timelines.parts == 0
        self.counts = np.bincount(timelines.items[train], minlength=NUM_ITEMS)
        self.mean = float(timelines.ratings[train].mean())
        self.item_ids = timelines.corpus.catalog.item_ids
        return self

    def predict(self, requests: list[Request]) -> list[Prediction]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Request) -> Prediction:
        seen = {event.item_id for event in request.history} if request.exclude_seen else set()
        rows = [row for row in np.argsort(-self.counts, kind="stable") if self.item_ids[row] not in seen and (request.candidates is None or self.item_ids[row] in request.candidates)][: request.k]
        return Prediction(request.id, request.task, [self.item_ids[row] for row in rows], [float(self.counts[row]) for row in rows],
                          value=self.mean, distribution={"3": 0.6, "4": 0.4}, probability=0.4, text="a fine item")


class Knowing(Popularity):
    """Ours: popularity that looks at the rating rule of the fixture, and gives up on one question."""

    def answer(self, request: Request) -> Prediction:
        if request.id == "rating-0":
            return Prediction(request.id, request.task, error="the history is too long")
        answer = super().answer(request)
        if request.item_id is None:
            return answer
        rating = 1 + (int(request.item_id[1:]) + int(request.user_id[1:])) % 5
        return Prediction(request.id, request.task, value=float(rating), distribution={str(rating): 1.0}, probability=0.9 if rating >= 4 else 0.1, text=f"an item like {request.item_id}")


BASELINES = {"random": Random, "most_popular": Popularity}


def ours(timelines: Timelines) -> Knowing:
    return Knowing().fit(timelines)


@pytest.fixture(scope="module")
def run(timelines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report = evaluate_suite(Suite(resamples=100), timelines, {"ours": ours(timelines)}, tasks=TASKS, baselines=BASELINES, folder=folder)
    write_report(report, ABOUT, folder)
    return folder, report


def test_answers_that_stand_there_are_taken_and_others_are_not(timelines, tmp_path, monkeypatch):
    asked = []

    class Counting(Knowing):
        def predict(self, requests):
            asked.append(requests[0].task)
            return super().predict(requests)

    def again(suite=Suite(resamples=50, tasks=("next_item", "rating")), model_hash="one"):
        asked.clear()
        report = evaluate_suite(suite, timelines, {"ours": Counting().fit(timelines)}, tasks=TASKS, baselines=BASELINES, folder=tmp_path, hashes={"ours": model_hash})
        return report.to_json(), list(asked)

    first, whole = again()
    assert whole == ["next_item", "rating"] and again() == (first, [])
    assert again(Suite(resamples=50, tasks=("next_item", "rating"), history=False))[1] == whole  # other questions of the same ids
    assert again(Suite(resamples=50, tasks=("next_item", "rating"), seed=5))[1] == whole  # other draws of users
    assert again()[1] == whole and again(model_hash="two")[1] == whole and again(model_hash="")[1] == whole
    again()
    (tmp_path / "predictions" / "rating.ours.parquet").write_bytes(b"PAR1")
    assert again() == (first, ["rating"])
    monkeypatch.setattr(asking, "_code_hash", lambda: "changed")
    assert again()[1] == whole


def test_baselines_whose_answers_stand_are_not_fitted_again(timelines, tmp_path, monkeypatch):
    fitted = []

    class Foreign(MostPopular):
        """Code that the hash of ours says nothing of."""

    def fit(self, *given, fit=Baseline.fit, **named):
        fitted.append(type(self).__name__)
        return fit(self, *given, **named)

    def again(seed=0, tasks=("next_item",)):
        fitted.clear()
        kinds = {"random": Random, "most_popular": MostPopular, "item_knn": ItemKNN, "foreign": Foreign}
        suite = Suite(resamples=50, tasks=tasks, baselines=("most_popular", "item_knn", "foreign"), seed=seed)
        return evaluate_suite(suite, timelines, {"ours": ours(timelines)}, tasks=TASKS, baselines=kinds, folder=tmp_path).to_json(), fitted.copy()

    monkeypatch.setattr(Baseline, "fit", fit)
    first, names = again()
    assert names == ["Random", "MostPopular", "ItemKNN", "Foreign"] and again() == (first, ["Foreign"])
    assert again(tasks=("next_item", "ranking"))[1] == ["Foreign", "Random", "MostPopular", "ItemKNN"]  # for the answers that are wanting
    assert again(seed=1)[1] == names
    monkeypatch.setattr(asking, "_code_hash", lambda: "changed")
    assert again(seed=1)[1] == names


def figure(report, task, model, metric, seen_filter=None) -> dict:
    (row,) = [row for row in report.rows if (row["task"], row["model"], row["metric"], row["filter"]) == (task, model, metric, seen_filter)]
    return row


def test_every_task_the_corpus_allows_is_measured_for_every_model(run):
    folder, report = run
    assert {(row["task"], row["model"]) for row in report.rows} == {
        *((task, model) for task in set(TASKS) - {"search"} for model in ("ours", "most_popular")), ("next_item", "random"), ("ranking", "random"),
    }
    assert all(row["n"] == NUM_USERS for row in report.rows)
    assert {row["filter"] for row in report.rows if row["task"] == "next_item"} == {"on", "off"}
    assert {row["filter"] for row in report.rows if row["task"] == "ranking"} == {"candidates"}


def test_the_figures_are_those_of_the_models(run):
    _, report = run
    assert figure(report, "click", "ours", "auc")["mean"] == 1.0
    assert figure(report, "click", "most_popular", "auc")["mean"] == 0.5
    assert figure(report, "explanation", "ours", "rougeL")["mean"] == 100.0
    assert figure(report, "next_item", "most_popular", "ndcg@10", "on")["mean"] > figure(report, "next_item", "most_popular", "ndcg@10", "off")["mean"]
    assert figure(report, "next_item", "ours", "ndcg@10", "on")["mean"] == figure(report, "next_item", "most_popular", "ndcg@10", "on")["mean"]


def test_predictions_are_saved_with_at_least_100_items_left_after_the_seen_ones(run):
    folder, _ = run
    frame = pl.read_parquet(folder / "predictions" / "next_item.most_popular.parquet")
    assert {"id", "user_id", "target", "items", "scores", "seen"} <= set(frame.columns)
    assert len(frame) == NUM_USERS
    assert all(len(set(items) - set(seen)) >= 100 for items, seen in frame.select("items", "seen").iter_rows())
    assert {"text", "reference"} <= set(pl.read_parquet_schema(folder / "predictions" / "explanation.ours.parquet"))
    assert "value" in pl.read_parquet_schema(folder / "predictions" / "rating.ours.parquet")
    assert "probability" in pl.read_parquet_schema(folder / "predictions" / "click.ours.parquet")


def test_a_question_without_an_answer_is_wrong_and_told(run):
    _, report = run
    (count,) = [count for count in report.counts if (count["task"], count["model"]) == ("rating", "ours")]
    assert (count["errors"], count["example"]) == (1, "the history is too long")
    # every other answer is exact: the error is that of the far end of the scale, for one of 120
    assert 2 / NUM_USERS <= figure(report, "rating", "ours", "mae")["mean"] <= 4 / NUM_USERS


def test_the_model_is_compared_with_the_best_baseline_on_the_same_draws(run):
    _, report = run
    (same,) = [row for row in report.comparisons if (row["task"], row["metric"], row["filter"]) == ("next_item", "ndcg@10", "on")]
    assert (same["baseline"], same["mean"], same["low"], same["high"]) == ("most_popular", 0.0, 0.0, 0.0)
    (gain,) = [row for row in report.comparisons if (row["task"], row["metric"]) == ("rating", "rmse")]
    assert gain["high"] < 0


def test_sub_groups_by_history_popularity_and_tags_add_up(run):
    _, report = run
    for task, group in (("rating", "parity"), ("next_item", "popularity")):
        rows = [row for row in report.groups if (row["task"], row["model"], row["group"]) == (task, "most_popular", group) and row["metric"] in ("mae", "ndcg@10")]
        assert len(rows) > 1 and sum(row["n"] for row in rows) == NUM_USERS
        metric, seen_filter = rows[0]["metric"], rows[0]["filter"]
        assert sum(row["n"] * row["mean"] for row in rows) / NUM_USERS == pytest.approx(figure(report, task, "most_popular", metric, seen_filter)["mean"])


def test_report_json_is_as_promised(run):
    folder, report = run
    record = json.loads((folder / "report.json").read_text())
    assert {"rows", "command", "data_hash", "audit_hash", "versions"} <= set(record)
    assert all(set(row) == {"task", "model", "metric", "filter", "split", "mean", "low", "high", "n", "seed"} for row in record["rows"])
    assert all(row["low"] is None or row["low"] <= row["mean"] <= row["high"] for row in record["rows"] if row["metric"] in ("ndcg@10", "mae", "rmse"))


def test_report_html_fetches_nothing_and_escapes_names(run):
    page = (run[0] / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|url\(\s*["']?https?:|@import|<script""", page)
    assert "tiny &lt;b&gt;" in page and "tiny <b>" not in page
    assert page.count("<svg") >= 6
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_table_names_metrics_and_models(run, capsys):
    print_table(run[1], ["ours"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "ndcg@10" in printed.err and "> ours" in printed.err and "most_popular" in printed.err and "±" in printed.err


def test_the_same_run_gives_the_same_report(run, timelines, tmp_path):
    report = evaluate_suite(Suite(resamples=100), timelines, {"ours": ours(timelines)}, tasks=TASKS, baselines=BASELINES, folder=tmp_path)
    write_report(report, ABOUT, tmp_path)
    for name in ("report.json", "report.html"):
        assert (tmp_path / name).read_bytes() == (run[0] / name).read_bytes()


def test_a_run_that_was_interrupted_and_is_started_again_gives_the_same_report(run, timelines, tmp_path, monkeypatch):
    monkeypatch.setattr("llmrec.exam.ASKED_AT_ONCE", 50)
    suite = Suite(resamples=100)
    for calls in (0, 1, 4, 7):

        class Interrupted(Knowing):
            left = calls

            def predict(self, requests):
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
                return super().predict(requests)

        broken = Interrupted().fit(timelines)
        with pytest.raises(KeyboardInterrupt):
            evaluate_suite(suite, timelines, {"ours": broken}, tasks=TASKS, baselines=BASELINES, folder=tmp_path)
        assert not list(tmp_path.rglob("*.tmp"))
    write_report(evaluate_suite(suite, timelines, {"ours": ours(timelines)}, tasks=TASKS, baselines=BASELINES, folder=tmp_path), ABOUT, tmp_path)
    assert (tmp_path / "report.json").read_bytes() == (run[0] / "report.json").read_bytes()


def test_a_baseline_that_is_tuned_on_questions_gets_those_of_valid(toy_corpus, tmp_path):
    found = []

    class Tuned(Random):
        name, tasks = "tuned", ("search",)

        def fit(self, timelines, *, seed=0, valid=()):
            found.extend(valid)
            return super().fit(timelines, seed=seed)

    timelines = Timelines.of(toy_corpus)
    evaluate_suite(Suite(tasks=("search",), resamples=10), timelines, {"ours": Random().fit(timelines)}, baselines={"tuned": Tuned}, folder=tmp_path)
    assert {question.request.task for question in found} == {"search"} and {question.request.id for question in found} == {q.request.id for q in REAL["search"].held_out(timelines, "valid", 0)}


def test_a_task_left_out_says_why(timelines, tmp_path, capsys):
    evaluate_suite(Suite(tasks=("search", "rating"), resamples=10), timelines, {"ours": ours(timelines)}, tasks=TASKS, baselines={}, folder=tmp_path)
    assert "search: left out, the corpus has no queries and no titles" in capsys.readouterr().err


def test_a_limit_keeps_all_questions_of_the_users_it_draws():
    examples = tuple(HeldOut(Request(id=f"{user}-{n}", task="rating", user_id=f"u{user}"), 3.0) for user in range(20) for n in range(3))
    drawn = Exam("rating", "rating", examples).of_users(5)
    assert len({example.request.user_id for example in drawn.held_out}) == 5
    assert len(drawn.held_out) == 15


def test_without_history_nobody_sees_one(timelines, tmp_path):
    class Sees(Random):
        shown = 0

        def predict(self, requests):
            Sees.shown += sum(len(request.history) for request in requests)
            return super().predict(requests)

    for history, shown in ((True, True), (False, False)):
        Sees.shown = 0
        evaluate_suite(Suite(tasks=("next_item",), resamples=10, history=history), timelines, {"ours": Sees().fit(timelines)}, tasks=TASKS, baselines={}, folder=tmp_path / str(history))
        assert bool(Sees.shown) == shown
    with pytest.raises(ValueError, match="history is 'no'; expected true or false"):
        Suite.load("standard", ["history='no'"])


def test_an_exam_in_which_a_user_would_count_twice_is_refused():
    with pytest.raises(ValueError, match="'a' stands twice"):
        Exam("rating", "rating", (HeldOut(Request(id="a"), 1.0), HeldOut(Request(id="a"), 1.0)))


def test_the_run_fails_when_a_random_model_knows_the_answers(timelines, tmp_path):
    answers = {example.request.id: example.target for example in TASKS["next_item"].held_out(timelines, "test", 0)}

    class Told(Random):
        """What a leak looks like: the target is first in a random list."""

        def predict(self, requests):
            lists = [(p, [answers[p.id], *(item for item in p.item_ids if item != answers[p.id])][: len(p.item_ids)]) for p in super().predict(requests)]
            return [Prediction(p.id, p.task, items, p.scores) for p, items in lists]

    with pytest.raises(NullRunError, match="a random model scores hit@10 = 1.0000") as caught:
        evaluate_suite(Suite(tasks=("next_item",), resamples=10), timelines, {"ours": ours(timelines)}, tasks=TASKS, baselines={"random": Told}, folder=tmp_path)
    assert caught.value.report.rows


def test_chance_is_not_a_fault():
    exam = Exam("next_item", "items", tuple(HeldOut(Request(id=str(i), history=(Event("x"),)), "y") for i in range(100)))
    row = {"metric": "hit@10", "filter": "on", "mean": 0.1}
    assert null_fault(exam, [row], num_items=101) is None
    assert "leak" in null_fault(exam, [{**row, "mean": 0.4}], num_items=101)


def test_suite_settings_are_checked():
    suite = Suite.load("standard", ["data.corpus=somewhere", "limit=10", "tasks=next_item,rating", "baselines=[ease]"])
    assert (suite.corpus, suite.limit, suite.tasks, suite.baselines) == ("somewhere", 10, ("next_item", "rating"), ("ease",))
    for override, message in (("limt=3", "did you mean 'limit'"), ("limit=-1", "0 or more"), ("part=dev", "train, valid, test"), ("limit", "key=value")):
        with pytest.raises(ValueError, match=message):
            Suite.load("standard", [override])
    with pytest.raises(FileNotFoundError, match="Available: .*standard"):
        Suite.load("standrad")


def test_unknown_names_are_refused_with_the_nearest(timelines, tmp_path):
    with pytest.raises(ValueError, match="unknown baseline 'most_populr'; did you mean 'most_popular'"):
        evaluate_suite(Suite(baselines=("most_populr",)), timelines, {"ours": ours(timelines)}, tasks=TASKS, baselines=BASELINES, folder=tmp_path)


def test_help_answers_at_once_without_heavy_imports():
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "eval.run", "--help"], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=30)
    assert done.returncode == 0 and "key=value" in done.stdout
    assert not re.search(r"\b(torch|polars|numpy|transformers)$", done.stderr, re.MULTILINE)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("words", [["standard"], ["--config", "standard"]])
def test_the_suite_is_named_either_way(words, tmp_path, capsys):
    assert main([*words, f"data.corpus={tmp_path / 'none'}", "--model", str(tmp_path / "gone"), "--out", str(tmp_path / "out")]) == 2
    assert "gone" in capsys.readouterr().err


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize(("error", "code"), [(OSError(28, "No space left on device"), 5), (MemoryError("not so much"), 6), (SuiteError("nothing was asked"), 2), (ValueError("a fault of ours"), 1)])
def test_what_ends_an_evaluation_has_its_exit_code(error, code, toy_parts, toy_tokenizer, toy_corpus, tmp_path, monkeypatch, capsys):
    for name in ("model", "corpus"):
        (tmp_path / name).mkdir()
    toy_corpus.save(tmp_path / "corpus")
    card = {"data_hash": Corpus.load(tmp_path / "corpus").data_hash, "seed": 0}
    save_recommender(tmp_path / "model", model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=None, card=card, kind="base")

    def fails(*arguments, **keywords):
        raise error

    monkeypatch.setattr(asking, "evaluate_suite", fails)
    arguments = ["standard", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), f"data.corpus={tmp_path / 'corpus'}"]
    if code == 1:  # with a traceback, which is Python's to print
        with pytest.raises(ValueError, match="fault of ours"):
            main(arguments)
        return
    assert main(arguments) == code
    assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["recommender.json", "train_config.yaml"])
def test_a_damaged_model_is_a_bad_model(name, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "train_config.yaml").write_text("seed: 0\ndata: {corpus: c}\noutput: o")
    (tmp_path / "model" / name).write_text("{")
    assert main(["standard", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "data.corpus=c"]) == 4
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["standard", "--config", "standard"]])
def test_no_suite_or_two_are_refused(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--model", "m", "--out", str(tmp_path)])
    assert ended.value.code == 2 and "one suite" in capsys.readouterr().err
