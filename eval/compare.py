"""Puts saved reports together: the seeds of a recipe to a mean and a spread, beside the best baseline and the goal, in results.json and results.md:

    python -m eval.compare amazon-beauty=runs/beauty/report ml-1m=runs/ml-1m/report --out docs
    python -m eval.compare ml-100k-fold=runs/ml-100k-u1/report ml-100k-fold=runs/ml-100k-u2/report --out docs

Each SUITE=REPORT names a suite, which holds the goals, and a folder that eval.run wrote. The models of a report, and reports of the same data, count as seeds of one recipe; reports of other data (folds) are averaged.
Rows of the same suite that stand in results.json already are replaced, all others kept. Exit status: 0 done; 2 wrong usage; 3 a report that cannot be read or may not be trusted.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="SUITE=REPORT", help="a suite of eval/suites (or a YAML file), and a folder that eval.run wrote")
    parser.add_argument("--out", type=Path, required=True, help="the folder of results.json and results.md")
    options = parser.parse_args(argv)

    # After the arguments are read: --help must answer without polars.
    from llmrec.exits import DATA, USAGE

    from .results import Result, results, write_page
    from .suite import Suite

    by_suite: dict[str, list[dict]] = {}
    for given in options.reports:
        name, equals, place = given.partition("=")
        path = Path(place) / "report.json"
        if not equals or not path.is_file():
            return _fail(f"{given!r}: expected SUITE=REPORT, where REPORT/report.json is what eval.run wrote", USAGE)
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            if report["fault"]:
                return _fail(f"{path} may not be trusted: {report['fault']}", DATA)
        except (ValueError, KeyError, TypeError) as error:
            return _fail(f"{path} is not a report that eval.run wrote: {error!r}", DATA)
        by_suite.setdefault(name, []).append(report)
    found: list[Result] = []
    for name, reports in by_suite.items():
        try:
            found += results(name, reports, Suite.load(name).goals)
        except (FileNotFoundError, ValueError) as error:
            return _fail(error, USAGE)
        except KeyError as error:
            return _fail(f"a report of {name} lacks {error}: it was written by another version; run eval.run again", DATA)
    target = options.out / "results.json"
    kept = [row for row in json.loads(target.read_text(encoding="utf-8")) if row["suite"] not in by_suite] if target.is_file() else []
    rows = sorted([*kept, *map(asdict, found)], key=lambda row: row["suite"])
    options.out.mkdir(parents=True, exist_ok=True)
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
