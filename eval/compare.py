"""Puts saved reports together: the seeds of a recipe to a mean and a spread, beside the best baseline and the goal, in results.json and results.md:

    python -m eval.compare amazon-beauty=runs/beauty/report ml-1m=runs/ml-1m/report --out docs
    python -m eval.compare ml-100k-fold=runs/ml-100k-u1/report ml-100k-fold=runs/ml-100k-u2/report --anew --out docs
    python -m eval.compare --out docs

Each SUITE=REPORT names a suite, which holds the goals, and a folder that eval.run wrote. What counts of a report is kept in OUT/reports/SUITE, beside those kept there before, so that seeds may come one after another; --anew leaves those out.
The models of a report, and reports of the same data, count as seeds of one recipe; reports of other data (folds) are averaged. Without a report, everything is put together again from what is kept.
Rows of a suite without kept reports stay in results.json as they are. Exit status: 0 done; 2 wrong usage; 3 a report that cannot be read or may not be trusted.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="*", metavar="SUITE=REPORT", help="a suite of eval/suites (or a YAML file), and a folder that eval.run wrote")
    parser.add_argument("--out", type=Path, required=True, help="the folder of results.json, results.md and reports/")
    parser.add_argument("--anew", action="store_true", help="leave out the reports of these suites that were kept before")
    options = parser.parse_args(argv)

    # After the arguments are read: --help must answer without polars.
    from llmrec.exits import DATA, USAGE

    from .results import Result, kept_reports, name_of, results, slim, write_page
    from .suite import Suite

    given: dict[str, dict[str, dict]] = {}
    for each in options.reports:
        suite, equals, place = each.partition("=")
        path = Path(place) / "report.json"
        if not equals or not path.is_file():
            return _fail(f"{each!r}: expected SUITE=REPORT, where REPORT/report.json is what eval.run wrote", USAGE)
        try:
            report = slim(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return _fail(f"{path} is not a report that this version of eval.run wrote: {error!r}; run eval.run again", DATA)
        if report["fault"]:
            return _fail(f"{path} may not be trusted: {report['fault']}", DATA)
        mine = given.setdefault(Path(suite).stem, {})
        if name_of(report) in mine:
            return _fail(f"{path} is about the same models and data as another report of {suite}: it is given twice", USAGE)
        try:
            mine[name_of(report)] = {**report, "goals": {task: dict(goals) for task, goals in Suite.load(suite).goals.items()}}
        except (FileNotFoundError, ValueError) as error:
            return _fail(error, USAGE)
    found: list[Result] = []
    try:
        kept = kept_reports(options.out / "reports")
        by_suite = {name: ({} if options.anew else kept.get(name, {})) | reports for name, reports in given.items()} if given else kept
        for name, reports in by_suite.items():
            goals = given.get(name, reports).values()
            found += results(name, list(reports.values()), next(iter(goals))["goals"])
    except ValueError as error:
        return _fail(error, USAGE)
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / "results.json"
    others = [row for row in json.loads(target.read_text(encoding="utf-8")) if row["suite"] not in by_suite] if target.is_file() else []
    rows = sorted([*others, *map(asdict, found)], key=lambda row: row["suite"])
    for name in given:
        folder = options.out / "reports" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, report in by_suite[name].items():
            (folder / file).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for path in folder.glob("*.json"):
            if path.name not in by_suite[name]:
                path.unlink()
    target.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n", encoding="utf-8")
    page = write_page(rows)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    sys.stdout.write(page)
    return 0


def _fail(message: object, code: int) -> int:
    print(f"eval.compare: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
