"""What was measured, for people and for programs: report.json, a self-contained report.html, and a printed table.

Separate from `evaluation`, which finds the figures: here nothing is computed but what a page needs to show them.
"""

from __future__ import annotations

import html
import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmrec import __version__, plots
from llmrec.evaluation import Report
from llmrec.metrics import HEADLINES, LOWER_IS_BETTER
from llmrec.publishing import publish_text

Record = Mapping[str, object]
# Column by column, what a table of a family shows; report.json has the rest.
COLUMNS: dict[str, tuple[str, ...]] = {
    "items": ("ndcg@10", "recall@10", "hit@1", "mrr@10", "coverage@10", "popularity@10"),
    "rating": ("rmse", "mae", "ece", "ece_expected"),
    "binary": ("auc", "uauc", "logloss", "ece", "ece_expected"),
    "text": ("rougeL", "bleu4", "rouge1", "rouge2", "distinct2", "feature_precision"),
}
DRAWN: dict[str, tuple[str, ...]] = {
    "items": ("ndcg@10", "recall@10", "hit@1"),
    "rating": ("rmse", "mae", "ece"),
    "binary": ("auc", "uauc", "ece"),
    "text": ("rougeL", "bleu4", "feature_precision"),
}
FILTERS = {"on": "seen items taken out", "off": "seen items left in", "candidates": "given candidates", None: ""}
PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "polars", "scipy", "scikit-learn", "sacrebleu")
RANDOM = "random"
# The best baselines drawn beside the models in plots of lines and squares, where more would hide each other.
BESIDE = 3
LONGEST_CURVE = 1000


def versions() -> dict[str, str]:
    """The versions the figures depend on, as far as they are installed."""
    found = {"llmrec": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_training_logs(folders: Mapping[str, Path]) -> dict[str, list[dict[str, float]]]:
    """model -> the numeric fields of the records in its log.jsonl that have a step, thinned to LONGEST_CURVE. A model without a log, and a torn line, are
    left out."""
    logs: dict[str, list[dict[str, float]]] = {}
    for name, folder in folders.items():
        path = folder / "log.jsonl"
        records = [_numbers(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()] if path.is_file() else []
        records = [record for record in records if "step" in record]
        # Validation is rare and never thinned.
        step = max(1, len(records) // LONGEST_CURVE)
        kept = [record for i, record in enumerate(records) if i % step == 0 or any(key.startswith("valid") for key in record)]
        if kept:
            logs[name] = kept
    return logs


def write_report(report: Report, about: Record, folder: Path) -> None:
    """Writes `folder`/report.json and `folder`/report.html. `about` holds command, data_hash, audit_hash, versions, and what else the page names: corpus,
    models, seed, training, fault."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {**report.to_json(), **about}
    publish_text(folder / "report.json", json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    publish_text(folder / "report.html", render(record))


def print_table(report: Report, models: Sequence[str]) -> None:
    """Prints the headline metrics to standard error: a block for each task and filter, a line for each model (`models` marked with >), the mean and half
    its interval."""
    for block in _blocks(report.to_json()):
        print(f"\n{block.title}: {block.subtitle}", file=sys.stderr)
        table = [["", *block.metrics]]
        for name in block.order:
            table.append([f"{'>' if name in models else ' '} {name}", *(_plain(block.figure(name, metric)) for metric in block.metrics)])
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table:
            print("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip(), file=sys.stderr)


def render(record: Record) -> str:
    """The page, from what report.json holds. Everything it shows is inside it: no script, no address to fetch."""
    models = list(record.get("models", ()))
    blocks = _blocks(record)
    tasks = list(dict.fromkeys(block.task for block in blocks))
    title, names = html.escape(str(record.get("corpus", ""))), html.escape(", ".join(models))
    links = "".join(f'<a href="#{html.escape(task)}">{html.escape(task)}</a>' for task in tasks)
    body = [
        f'<header><p class="kicker">Report</p><h1>{names} <span>on {title}</span></h1><nav>{links}</nav></header>',
        f'<p class="fault">{html.escape(str(record["fault"]))}</p>' if record.get("fault") else "",
        _glance(record, blocks),
        *(_task_section(record, [block for block in blocks if block.task == task], models) for task in tasks),
        _training_section(record, models), _all_rows(record), _provenance(record),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}: report</title><style>{CSS}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><main>{"".join(body)}</main></body></html>\n'


class _Block:
    """The rows of one task under one filter, as a table: its metrics, its models best first (random last), and its cells."""

    def __init__(self, rows: Sequence[Record], count: Record, seen_filter: str | None):
        self.task, self.family, self.filter, self.count = str(count["task"]), str(count["family"]), seen_filter, count
        self.cells = {(row["model"], row["metric"]): row for row in rows}
        self.metrics = [metric for metric in COLUMNS[self.family] if any(row["metric"] == metric for row in rows)]
        leading = HEADLINES[self.family][0]
        sign = 1 if leading in LOWER_IS_BETTER else -1

        def place(name: str) -> tuple[bool, float]:
            row = self.figure(name, leading)
            return (name == RANDOM, sign * row["mean"] if row else float("inf"))

        self.order = sorted(dict.fromkeys(str(row["model"]) for row in rows), key=place)
        self.title = self.task
        self.subtitle = ", ".join(filter(None, [f"{count['n']:,} questions of {count['users']:,} users", str(rows[0]["split"]), FILTERS[seen_filter]]))

    def figure(self, name: str, metric: str) -> Record | None:
        return self.cells.get((name, metric))

    def baselines(self, models: Sequence[str]) -> list[str]:
        return [name for name in self.order if name not in models and name != RANDOM]


def _blocks(record: Record) -> list[_Block]:
    blocks = []
    counts = {count["task"]: count for count in record["counts"]}
    for task, count in counts.items():
        rows = [row for row in record["rows"] if row["task"] == task]
        for seen_filter in dict.fromkeys(row["filter"] for row in rows):
            blocks.append(_Block([row for row in rows if row["filter"] == seen_filter], count, seen_filter))
    return blocks


def _plain(row: Record | None) -> str:
    if row is None:
        return "-"
    half = f" ±{plots.format_figure((row['high'] - row['low']) / 2)}" if row["low"] is not None else ""
    return plots.format_figure(row["mean"]) + half


def _numbers(line: str) -> dict[str, float]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(record, dict):
        return {}
    return {key: value for key, value in record.items() if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)}


def _glance(record: Record, blocks: Sequence[_Block]) -> str:
    """One card for each task: the leading figure of each model, and how it stands to the best baseline."""
    cards = []
    for block in blocks:
        leading = HEADLINES[block.family][0]
        for name in record.get("models", ()):
            row = block.figure(name, leading)
            if row is None or block.filter == "off":
                continue
            cards.append(
                f'<div class="card"><p class="kicker">{html.escape(block.task)}</p><p class="figure">{plots.format_figure(row["mean"])}</p>'
                f'<p class="unit">{html.escape(leading)} · {html.escape(name)}</p>{_verdict(record, block, name, leading)}</div>'
            )
    return f'<section class="cards">{"".join(cards)}</section>'


def _verdict(record: Record, block: _Block, name: str, metric: str) -> str:
    for row in record["comparisons"]:
        if (row["task"], row["model"], row["metric"], row["filter"]) == (block.task, name, metric, block.filter) and row["low"] is not None:
            gain = (-row["high"], -row["low"]) if metric in LOWER_IS_BETTER else (row["low"], row["high"])
            kind, word = ("better", "better than") if gain[0] > 0 else ("worse", "worse than") if gain[1] < 0 else ("even", "not told apart from")
            interval = f"{row['mean']:+.4f}, from {row['low']:+.4f} to {row['high']:+.4f}"
            return f'<p class="{kind}">{word} {html.escape(str(row["baseline"]))}<br><small>{interval}</small></p>'
    return ""


def _task_section(record: Record, blocks: Sequence[_Block], models: Sequence[str]) -> str:
    first = blocks[0]
    drawn = [name for name in first.order if name != RANDOM]
    colour = plots.colours(models, first.baselines(models))
    parts = [f'<section id="{html.escape(first.task)}"><h2>{html.escape(first.task)}</h2><p class="sub">{html.escape(first.subtitle)}</p>']
    panels = {metric: [first.figure(name, metric) for name in drawn if first.figure(name, metric)] for metric in DRAWN[first.family] if metric in first.metrics}
    if panels and drawn:
        caption = "Each dot is a model, each whisker its 95 % interval over users. " + _direction(panels)
        parts.append(_drawing(plots.dots_with_whiskers(panels, drawn, colour), caption))
    parts += [_table(block, models, titled=len(blocks) > 1) for block in blocks]
    parts += [_notes(record, first.task), _group_figure(record, first, models, colour)]
    parts += [_calibration_figure(record, first, models, colour), _catalogue_figure(first, drawn, colour)]
    return "".join(parts) + "</section>"


def _direction(metrics: Mapping[str, object]) -> str:
    lower = [metric for metric in metrics if metric in LOWER_IS_BETTER]
    if not lower:
        return "Further right is better."
    return "Further left is better." if len(lower) == len(metrics) else f"Further right is better; for {', '.join(lower)} further left."


def _drawing(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _table(block: _Block, models: Sequence[str], *, titled: bool) -> str:
    head = "".join(f"<th>{html.escape(metric)}</th>" for metric in block.metrics)
    body = ""
    for name in block.order:
        cells = "".join(f"<td>{_cell(block.figure(name, metric))}</td>" for metric in block.metrics)
        body += f'<tr{" class=model" if name in models else ""}><th>{html.escape(name)}</th>{cells}</tr>'
    caption = f"<caption>{html.escape(FILTERS[block.filter])}</caption>" if titled else ""
    return f'<div class="wide"><table>{caption}<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(row: Record | None) -> str:
    figure, _, half = _plain(row).partition(" ")
    return f"{figure}<small> {half}</small>" if half else figure


def _notes(record: Record, task: str) -> str:
    """What a reader must know to trust the figures: questions without an answer, and ties that matter."""
    notes = [
        f"{count['model']}: {count['errors']} of {count['n']} questions got no answer and count as wrong, such as: {count['example']}"
        for count in record["counts"] if count["task"] == task and count["errors"]
    ] + [
        f"{tie['model']}: {tie['metric']} ({FILTERS[tie['filter']]}) is {tie['mean']:.4f} with ties by expectation, "
        f"{tie['against_ties']:.4f} if every tie goes wrong"
        for tie in record["ties"] if tie["task"] == task
    ]
    return f'<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _group_figure(record: Record, block: _Block, models: Sequence[str], colour: Mapping[str, str]) -> str:
    leading = HEADLINES[block.family][0]
    names = [name for name in block.order if name in models] + block.baselines(models)[:BESIDE]
    wanted = (block.task, leading, block.filter)
    rows = [row for row in record["groups"] if (row["task"], row["metric"], row["filter"]) == wanted and row["model"] in names]
    panels: dict[str, dict[str, list[tuple]]] = {}
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        if len({row["value"] for row in own}) > 1:
            series = {name: [(row["value"], row["mean"], row["low"], row["high"]) for row in own if row["model"] == name] for name in names}
            panels[f"{leading} by {group}"] = {name: points for name, points in series.items() if points}
    if not panels:
        return ""
    caption = (
        "history: events before the question; popularity: train events of the item asked for or about. "
        "The models and the best baselines, with 95 % intervals."
    )
    return _drawing(plots.lines(panels, colour, label=", ".join(panels)), caption)


def _calibration_figure(record: Record, block: _Block, models: Sequence[str], colour: Mapping[str, str]) -> str:
    bins = {curve["model"]: curve["bins"] for curve in record["curves"] if curve["task"] == block.task}
    names = [name for name in [*models, *block.baselines(models)] if name in bins][: max(4, len(models))]
    if not names:
        return ""
    caption = "On the diagonal, what is said to happen with a probability happens that often. Larger dots stand for more answers."
    return _drawing(plots.calibration({name: bins[name] for name in names}, colour), caption)


def _catalogue_figure(block: _Block, names: Sequence[str], colour: Mapping[str, str]) -> str:
    def points(x: str, y: str) -> dict[str, tuple[float, float]]:
        return {name: (block.figure(name, x)["mean"], block.figure(name, y)["mean"]) for name in names if block.figure(name, x) and block.figure(name, y)}

    pairs = (("popularity@10", "coverage@10"), ("novelty@10", "diversity@10"))
    panels = [(x, y, points(x, y)) for x, y in pairs if points(x, y)]
    if not panels:
        return ""
    caption = (
        "popularity: mean place of the items shown among the catalogue, 1 the most popular; coverage: share of the catalogue shown to anyone; "
        "novelty in bits; diversity: how unlike the items of a list are."
    )
    return _drawing(plots.scatters(panels, colour), caption)


def _training_section(record: Record, models: Sequence[str]) -> str:
    logs = record.get("training") or {}
    measured = list(dict.fromkeys(key for log in logs.values() for entry in log for key in entry if key == "loss" or key.startswith("valid")))[:3]
    if not measured:
        return ""
    curves = {key: {name: [(entry["step"], entry[key]) for entry in log if key in entry] for name, log in logs.items()} for key in measured}
    panels = {key: {name: points for name, points in series.items() if points} for key, series in curves.items()}
    drawing = _drawing(plots.lines(panels, plots.colours(models, ()), label="training curves"), "By step.")
    return f'<section id="training"><h2>training</h2>{drawing}</section>'


def _all_rows(record: Record) -> str:
    names = ("task", "model", "metric", "filter", "split", "mean", "low", "high", "n", "seed")
    body = "".join("<tr>" + "".join(f"<td>{_text(row[name])}</td>" for name in names) + "</tr>" for row in record["rows"])
    head = "".join(f"<th>{name}</th>" for name in names)
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return f'<details><summary>All {len(record["rows"])} figures</summary>{table}</details>'


def _text(value: object) -> str:
    return "" if value is None else f"{value:.6f}" if isinstance(value, float) else html.escape(str(value))


def _provenance(record: Record) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items())
    named = {"command": "command", "data hash": "data_hash", "audit hash": "audit_hash", "seed": "seed"}
    entries = {**{label: record.get(key) for label, key in named.items()}, "versions": packages}
    items = "".join(f"<dt>{name}</dt><dd>{html.escape(str(value))}</dd>" for name, value in entries.items() if value not in (None, ""))
    return f"<footer><dl>{items}</dl><p>Intervals: 95 %, bootstrap over users. Ties count by expectation. Every question counts.</p></footer>"


CSS = """
:root{color-scheme:light;--ink:#22303c;--soft:#7b8794;--line:#e4e7eb;--model:#2563c9}
*{box-sizing:border-box}
body{margin:0;background:#fafbfc;color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1060px;margin:0 auto;padding:48px 28px 64px}
h1{font-size:30px;line-height:1.2;margin:2px 0 14px;letter-spacing:-.01em} h1 span{color:var(--soft);font-weight:400}
h2{font-size:21px;margin:0 0 2px;letter-spacing:-.005em}
.kicker{margin:0;color:var(--soft);font-size:12.5px;letter-spacing:.04em}
nav a{color:var(--model);text-decoration:none;margin-right:18px} nav a:hover{text-decoration:underline}
section{background:#fff;border:1px solid var(--line);border-radius:12px;padding:26px 28px;margin:22px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:14px;background:none;border:0;padding:0}
.card{background:#fff;border:1px solid var(--line);border-radius:12px;padding:16px 18px}
.figure{font-size:28px;line-height:1.25;margin:2px 0 0;font-variant-numeric:tabular-nums} .unit,.sub{margin:0;color:var(--soft)} .unit{font-size:13px}
.better,.worse,.even{margin:10px 0 0;font-size:13px;line-height:1.4} .better{color:#1f7a55} .worse{color:#b3402a} .even{color:var(--soft)}
.fault{background:#fdf0ed;border:1px solid #eec4ba;border-radius:12px;padding:14px 18px;color:#8f2f1c}
figure{margin:22px 0 8px} figure svg{display:block;width:100%;height:auto} figure svg text{font-family:inherit!important}
figcaption,.notes{color:var(--soft);font-size:13px} .notes{padding-left:18px}
.wide{overflow-x:auto} table{border-collapse:collapse;width:100%;margin:18px 0 4px;font-variant-numeric:tabular-nums;font-size:14px}
caption{text-align:left;color:var(--soft);font-size:13px;padding-bottom:4px}
th,td{padding:6px 12px 6px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
thead th{color:var(--soft);font-weight:500} th:first-child,tbody th{text-align:left;font-weight:400}
td small{color:var(--soft)} tr.model th,tr.model td{font-weight:600;color:var(--model)} tr.model small{font-weight:400}
details{margin:22px 0} summary{cursor:pointer;color:var(--soft)} details table{font-size:12.5px} details td:nth-child(-n+5),details th{text-align:left}
footer{color:var(--soft);font-size:13px;margin-top:34px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0} dt{color:var(--ink)}
dd{margin:0;overflow-wrap:anywhere;font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12.5px}
"""
