"""The page and the table: complete, safe to open, and kind to what is missing."""

import json
import re
from xml.etree import ElementTree

import pytest

from llmrec import plots
from llmrec.evaluation import Report
from llmrec.report import print_table, read_training_logs, render, versions, write_report

EVIL = '"><script>alert(1)</script>$x$'


def row(task: str, model: str, metric: str, mean: float, seen_filter: str | None = None, low: float | None = None, high: float | None = None) -> dict[str, object]:
    return {"task": task, "model": model, "metric": metric, "filter": seen_filter, "split": "test", "mean": mean, "low": low, "high": high, "n": 10, "seed": 0}


def count(task: str, family: str, model: str, errors: int = 0) -> dict[str, object]:
    return {"task": task, "family": family, "model": model, "n": 10, "users": 9, "errors": errors, "example": EVIL if errors else None}


@pytest.fixture
def report() -> Report:
    rows = [
        row("rating", "ours", "rmse", 0.9, low=0.85, high=0.95), row("rating", "svd", "rmse", 0.95, low=0.9, high=1.0), row("rating", "ours", "mae", 0.7, low=0.6, high=0.8),
        row("next_item", "ours", "ndcg@10", 0.06, "on", 0.05, 0.07), row("next_item", "ease", "ndcg@10", 0.05, "on", 0.04, 0.06), row("next_item", "ours", "coverage@10", 0.4, "on"),
        row("next_item", "ours", "ndcg@10", 0.04, "off", 0.03, 0.05),
    ]
    return Report(
        rows=rows,
        groups=[{**row("rating", model, "rmse", 0.9, low=0.8, high=1.0), "group": "history", "value": value} for model in ("ours", "svd") for value in ("1-4", "50+")],
        comparisons=[{**row("rating", "ours", "rmse", -0.05, low=-0.06, high=-0.04), "baseline": "svd"}, {**row("next_item", "ours", "ndcg@10", 0.01, "on", -0.01, 0.03), "baseline": "ease"}],
        curves=[{"task": "rating", "model": "ours", "bins": [{"probability": 0.5, "share": 0.4, "count": 5}, {"probability": 0.9, "share": 0.95, "count": 5}]}],
        counts=[count("rating", "rating", "ours", errors=2), count("rating", "rating", "svd"), count("next_item", "items", "ours"), count("next_item", "items", "ease")],
    )


@pytest.fixture
def about() -> dict[str, object]:
    training = {"ours": [{"step": float(i), "loss": 5.0 - i, "valid_ndcg@10": 0.1 * i} for i in range(4)]}
    return {"command": EVIL, "data_hash": "d", "audit_hash": "a", "versions": versions(), "corpus": EVIL, "models": ["ours"], "seed": 0, "fault": None, "training": training}


def test_the_page_fetches_nothing_and_runs_nothing(report, about):
    page = render({**report.to_json(), **about})
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|url\(\s*["']?https?:|@import|<script|<link|<iframe""", page)
    assert "&lt;script&gt;" in page
    assert len(set(ids := re.findall(r'\bid="([^"]+)"', page))) == len(ids)


def test_every_drawing_is_whole_and_named(report, about):
    drawings = re.findall(r"<svg.*?</svg>", render({**report.to_json(), **about}), re.DOTALL)
    assert len(drawings) == 5  # rating: figures, groups, calibration; next_item: figures; training
    for drawing in drawings:
        assert ElementTree.fromstring(drawing).attrib["aria-label"]
        assert "metadata" not in drawing


def test_the_verdicts_say_which_way_is_better(report, about):
    page = render({**report.to_json(), **about})
    assert "better than svd" in page  # a lower rmse
    assert "not told apart from ease" in page  # the interval holds 0


def test_questions_without_an_answer_are_told(report, about):
    assert "ours: 2 of 10 questions got no answer" in render({**report.to_json(), **about})


def test_a_fault_of_the_null_run_stands_on_top(report, about):
    page = render({**report.to_json(), **about, "fault": "a random model knows too much"})
    assert page.index("a random model knows too much") < page.index("<h2>")


def test_an_empty_report_is_still_a_page(about):
    assert "All 0 figures" in render({**Report().to_json(), **about, "training": {}})


def test_json_holds_what_was_found(report, about, tmp_path):
    write_report(report, about, tmp_path / "new")
    record = json.loads((tmp_path / "new" / "report.json").read_text(encoding="utf-8"))
    assert record["rows"] == report.rows
    assert record["command"] == EVIL


def test_the_table_has_a_block_for_each_task_and_filter_best_first(report, capsys):
    print_table(report, ["ours"])
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert [line.split(":")[0] for line in lines if "questions" in line] == ["rating", "next_item", "next_item"]
    assert lines[2].split() == [">", "ours", "0.9000", "±0.0500", "0.7000", "±0.1000"]
    assert lines[3].split() == ["svd", "0.9500", "±0.0500", "-"]


def test_training_logs_are_read_as_far_as_they_can_be(tmp_path):
    for name in ("good", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "good" / "log.jsonl").write_text('{"step": 1, "loss": 2.5, "phase": "x", "flag": true}\n{"step": 2, "loss": NaN, "valid_rmse": 0.9}\n[1]\n{"loss": 1}\n{"step": 3, "lo')
    assert read_training_logs({name: tmp_path / name for name in ("good", "none")}) == {"good": [{"step": 1, "loss": 2.5}, {"step": 2, "valid_rmse": 0.9}]}


def test_a_long_log_is_thinned_but_keeps_its_validations(tmp_path):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps({"step": i, "loss": 1.0, **({"valid": 0.5} if i % 501 == 0 else {})}) + "\n" for i in range(10_000)))
    log = read_training_logs({"m": tmp_path})["m"]
    assert len(log) < 1100
    assert sum("valid" in record for record in log) == 20


def test_the_same_figure_gives_the_same_bytes():
    points = {"panel": {"m": [("1-4", 0.1, 0.0, 0.2), ("5-9", 0.3, None, None)]}}
    assert plots.lines(points, {"m": "#000"}, label="x") == plots.lines(points, {"m": "#000"}, label="x")
