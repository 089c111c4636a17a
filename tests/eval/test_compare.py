"""Reports put together: seeds to a mean and a spread, folds to their mean, the best baseline, the goal; nothing typed, nothing lost."""

import json
import subprocess
import sys

import pytest

from eval.compare import main
from eval.results import reaches, results
from eval.suite import SUITES, Suite


ABOUT = {"seed": 0, "limit": 0, "history": True, "wording": "seen", "language": None, "versions": {}}


def report(figures, *, corpus="toy", models=("a", "b"), fault=None, data="d", run=1, **more):
    """figures: model -> ndcg@10, seen items out; with them in, each is half of it."""
    rows = []
    for filter_, factor in (("on", 1.0), ("off", 0.5)):
        for model, figure in figures.items():
            row = {"task": "next_item", "model": model, "filter": filter_, "split": "test", "n": 100, "seed": 0}
            rows.append({**row, "metric": "ndcg@10", "mean": figure * factor, "low": figure * factor - 0.01, "high": figure * factor + 0.01})
            rows.append({**row, "metric": "recall@10", "mean": 0.9, "low": None, "high": None})
    counts = [{"task": "next_item", "family": "items", "model": model} for model in figures]
    paired = [{**row, "baseline": "ease", "mean": row["mean"] - figures["ease"], "low": -0.01, "high": 0.03} for row in rows if "ease" in figures and row["model"] in models and row["metric"] == "ndcg@10" and row["filter"] == "on"]
    return {"rows": rows, "counts": counts, "comparisons": paired, "models": list(models), "corpus": corpus, "command": f"python -m eval.run {corpus} {run}", "data_hash": data, "audit_hash": "e", "fault": fault, **ABOUT, "recipes": dict.fromkeys(models, "r"), "hashes": {name: f"{name}{run}" for name in models}, **more}


def test_seeds_have_a_mean_and_a_spread_and_the_best_baseline_beside_them():
    (row,) = results("s", [report({"a": 0.10, "b": 0.14, "knn": 0.11, "ease": 0.12, "random": 0.9})], {"next_item": {"ndcg@10": ">= .12"}})
    assert row.mean == pytest.approx(0.12) and row.spread == pytest.approx(0.02 * 2**0.5) and row.seeds == 2 and row.n == 100
    assert (row.low, row.high) == (pytest.approx(0.11), pytest.approx(0.13))
    assert (row.baseline, row.baseline_figure, row.filter, row.holds) == ("ease", 0.12, "on", True)
    assert row.ahead == (pytest.approx(0), pytest.approx(-0.01), pytest.approx(0.03))
    (other,) = results("s", [report({"a": 0.10, "b": 0.14, "knn": 0.13, "ease": 0.12})], {"next_item": {"ndcg@10": ">= .12"}})
    assert other.baseline == "knn" and other.ahead is None  # nobody compared these question by question


def test_folds_are_averaged_and_one_seed_has_no_spread():
    folds = [report({"a": 0.10, "knn": 0.2, "ease": 0.1}, models=["a"]), report({"a": 0.20, "knn": 0.2, "ease": 0.5}, models=["a"], data="other", run=2)]
    (row,) = results("s", folds, {"next_item": {"ndcg@10": ">= .16"}})
    assert (row.mean, row.spread, row.n, row.holds) == (pytest.approx(0.15), None, 200, False)
    assert (row.baseline, row.baseline_figure) == ("ease", pytest.approx(0.3))


def test_reports_of_the_same_data_are_seeds():
    (row,) = results("s", [report({"a": 0.10, "knn": 0.2}, models=["a"]), report({"a": 0.14, "knn": 0.2}, models=["a"], run=2)], {"next_item": {"ndcg@10": ">= .12"}})
    assert (row.mean, row.seeds, row.n) == (pytest.approx(0.12), 2, 100) and row.spread > 0


def test_what_is_no_result_is_refused():
    good = report({"a": 0.1}, models=["a"])
    for reports, sentence in (([good, good], "given twice"), ([good, report({"a": 0.1}, corpus="else", models=["a"])], "several corpora"), ([report({"a": 0.1}, models=["a"], limit=10)], "sample"), ([report({"a": 0.1, "b": 0.1}, hashes={"a": "h", "b": "h"})], "same to the bit"), ([report({"a": 0.1}, models=["a"], history=False)], "without histories"), ([report({"a": 0.1}, models=["a"], wording="unseen")], "in other words")):
        with pytest.raises(ValueError, match=sentence):
            results("s", reports, {})
    for row in good["rows"]:
        row["split"] = "valid"
    with pytest.raises(ValueError, match="a part or a sample"):
        results("s", [good], {})


def test_without_goals_the_headline_metrics_stand():
    rows = results("s", [report({"a": 0.1}, models=["a"])], {})
    assert [(row.metric, row.goal, row.holds, row.baseline) for row in rows] == [("ndcg@10", None, None, None), ("recall@10", None, None, None)]
    assert rows[1].low is None


def test_a_goal_without_a_figure_is_refused():
    with pytest.raises(ValueError, match="no rmse of rating"):
        results("s", [report({"a": 0.1})], {"rating": {"rmse": "<= 1"}})


def test_goals_are_comparisons():
    assert reaches(0.5, ">= .5") and reaches(0.5, "<= .5") and not reaches(0.4, ">= .5")
    for wrong in ("> 1", "0.5", ">= much", ""):
        with pytest.raises(ValueError, match="expected"):
            reaches(0.5, wrong)


def test_the_command_writes_both_files_and_keeps_other_suites(tmp_path, capsys):
    suite = tmp_path / "mine.yaml"
    suite.write_text("tasks: [next_item]\ngoals:\n  next_item: {ndcg@10: '>= .2'}\n")
    for name, figures in (("one", {"a": 0.1, "b": 0.3}), ("two", {"a": 0.3, "b": 0.3})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report(figures)))
    assert main([f"{suite}={tmp_path / 'one'}", f"standard={tmp_path / 'one'}", "--out", str(tmp_path / "docs")]) == 0
    assert "**missed**" not in capsys.readouterr().out
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert [(row["suite"], row["metric"]) for row in rows] == [("mine", "ndcg@10"), ("standard", "ndcg@10"), ("standard", "recall@10")]
    suite.unlink()
    (tmp_path / "docs" / "results.json").unlink()
    assert main(["--out", str(tmp_path / "docs")]) == 0 and json.loads((tmp_path / "docs" / "results.json").read_text()) == rows  # its goals are kept, too
    suite.write_text("tasks: [next_item]\ngoals:\n  next_item: {ndcg@10: '>= .2'}\n")
    assert main([f"{suite}={tmp_path / 'two'}", "--anew", "--out", str(tmp_path / "docs")]) == 0
    rows = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert [row["mean"] for row in rows] == [pytest.approx(0.3), pytest.approx(0.2), pytest.approx(0.9)]
    page = (tmp_path / "docs" / "results.md").read_text()
    assert "| next_item | ndcg@10 | 0.3000 | ±0.0000 |" in page and "## standard" in page


def test_seeds_may_come_one_after_another_and_all_is_made_again_from_what_is_kept(tmp_path, capsys):
    for name, figure, more in (("one", 0.1, {}), ("two", 0.3, {"run": 2}), ("else", 0.5, {"run": 3, "recipes": {"a": "other"}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report({"a": figure}, models=["a"], **more)))
    docs = tmp_path / "docs"
    assert main([f"standard={tmp_path / 'one'}", "--out", str(docs)]) == 0
    assert main([f"standard={tmp_path / 'two'}", "--out", str(docs)]) == 0
    row = json.loads((docs / "results.json").read_text())[0]
    assert (row["metric"], row["seeds"], row["mean"]) == ("ndcg@10", 2, pytest.approx(0.2))
    assert main([f"standard={tmp_path / 'two'}", "--out", str(docs)]) == 0  # the same models take their own place
    written = (docs / "results.json").read_text(), (docs / "results.md").read_text()
    assert json.loads(written[0])[0]["seeds"] == 2
    (docs / "results.json").unlink()
    assert main(["--out", str(docs)]) == 0 and ((docs / "results.json").read_text(), (docs / "results.md").read_text()) == written
    capsys.readouterr()
    assert main([f"standard={tmp_path / 'else'}", "--out", str(docs)]) == 2 and "other settings" in capsys.readouterr().err
    assert (docs / "results.json").read_text() == written[0] and len(list((docs / "reports" / "standard").iterdir())) == 2
    (docs / "reports" / "standard" / "other.json").write_text("{}")
    assert main([f"standard={tmp_path / 'one'}", "--out", str(docs)]) == 2 and "other.json is not what eval.compare kept" in capsys.readouterr().err
    (docs / "reports" / "standard" / "other.json").unlink()
    assert main([f"standard={tmp_path / 'else'}", "--anew", "--out", str(docs)]) == 0 and len(list((docs / "reports" / "standard").iterdir())) == 1


@pytest.mark.parametrize("given, sentence", [("standard", "SUITE=REPORT"), ("standard=nowhere", "SUITE=REPORT"), ("nosuite={}", "no suite"), ("standard={0} eval/suites/standard.yaml={0}", "given twice")])
def test_what_cannot_be_compared_is_said(tmp_path, capsys, given, sentence):
    (tmp_path / "report.json").write_text(json.dumps(report({"a": 0.1}, models=["a"])))
    assert main([*given.format(tmp_path).split(), "--out", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err


WRONG = {"recipes": ["r"], "hashes": None, "rows": [{**report({"a": 0.1})["rows"][0], "mean": "much"}]}


@pytest.mark.parametrize("text", ["{", "[]", '{"fault": null}', '"x"', "[" * 100_000, *(json.dumps({**report({"a": 0.1}), name: value}) for name, value in WRONG.items())])
def test_a_file_that_is_no_report_is_bad_data(tmp_path, capsys, text):
    (tmp_path / "report.json").write_text(text)
    assert main([f"standard={tmp_path}", "--out", str(tmp_path)]) == 3
    assert "eval.run" in capsys.readouterr().err


def test_a_report_at_fault_is_no_result(tmp_path, capsys):
    (tmp_path / "report.json").write_text(json.dumps(report({"a": 0.1}, fault="the random model is above chance")))
    assert main([f"standard={tmp_path}", "--out", str(tmp_path)]) == 3
    assert "above chance" in capsys.readouterr().err and not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("name", sorted(path.stem for path in SUITES.glob("*.yaml")))
def test_every_shipped_suite_loads_and_its_goals_are_comparisons(name):
    for metrics in Suite.load(name).goals.values():
        assert all(isinstance(reaches(1.0, goal), bool) for goal in metrics.values())


def test_goals_that_make_no_sense_are_refused(tmp_path):
    for text, sentence in (("goals: [1]", "expected a mapping"), ("goals: {rating: {rougel: '>= 1'}}", "rougel"), ("goals: {juggling: {auc: '>= 1'}}", "juggling")):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(ValueError, match=sentence):
            Suite.load(str(tmp_path / "s.yaml"))


def test_help_answers_without_loading_anything():
    code = "import sys, eval.compare\ntry: eval.compare.main(['--help'])\nexcept SystemExit: pass\nprint(sorted({'polars', 'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("[]"), done.stdout[-200:]
