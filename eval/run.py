"""Evaluates trained models beside their baselines: predictions, report.json, report.html, and a table.

    python -m eval.run standard --model runs/demo --out runs/demo/report data.corpus=corpora/demo
    python -m eval.run standard --model runs/demo --baseline most_popular --out report data.corpus=corpora/demo tasks=next_item,rating limit=1000

Exit status: 0 done; 2 wrong usage, or a folder that is not there; 3 the corpus cannot be read; 4 a model cannot be used; 7 the random model scores above chance or the audit finds a leak,
so the figures cannot be trusted (the report is written all the same, and says why).
"""

import argparse
import itertools
import re
import shlex
import sys
from pathlib import Path

BAD_FIGURES = 7


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    # Intermixed: settings may stand before, between and after the flags.
    options = parser().parse_intermixed_args(given)
    if options.config is not None and options.suite is not None and "=" in options.suite:
        options.settings.insert(0, options.suite)
        options.suite = None
    if (options.suite is None) == (options.config is None):
        parser().error("name one suite, as SUITE or with --config: standard, or the path of a YAML file")
    options.suite = options.suite or options.config

    # After the arguments are read: --help must answer without torch or polars.
    from llmrec.audit.finding import ERROR, combined_hash
    from llmrec.audit.models import ModelFolder, audit_model, model_hash
    from llmrec.baselines import BASELINES
    from llmrec.config import recipe_of
    from llmrec.exits import USAGE, exit_code, reading_model, refuse_other_encodings, sentence
    from llmrec.interactions import Corpus
    from llmrec.launch import collect_seldom
    from llmrec.recommender import Recommender
    from llmrec.report import print_table, read_training_logs, versions, write_report
    from llmrec.timelines import Timelines

    from .asking import NullRunError, evaluate_suite
    from .suite import Suite, SuiteError

    refuse_other_encodings()
    try:
        suite = Suite.load(options.suite, [*options.settings, *([f"baselines={','.join(options.baseline)}"] if options.baseline else [])])
    except (FileNotFoundError, ValueError) as error:
        return _fail(error, USAGE)
    models: dict[str, Recommender] = {}
    folders, recipes = _named(options.model, taken=set(BASELINES)), {}
    for name, folder in folders.items():
        try:
            with reading_model():
                recipes[name] = recipe_of(folder)
            models[name] = Recommender.from_pretrained(folder, wording=suite.wording, batch_tokens=suite.batch_tokens)
        except (OSError, ValueError) as error:
            return _fail(f"the model {folder} cannot be loaded: {error}", exit_code(error))
    place = suite.corpus or next((str(card["corpus"]) for card in (model.card for model in models.values()) if Path(str(card.get("corpus"))).is_dir()), None)
    if place is None:
        return _fail("no corpus: the suite names none and the model's is not here any more; add data.corpus=DIR", USAGE)
    try:
        corpus = Corpus.load(Path(place))
    except (OSError, ValueError) as error:
        return _fail(error, exit_code(error))
    audits = [{"subject": "log", **corpus.report["audit"]}] if "audit" in corpus.report else []
    for name, folder in folders.items():
        audits.append({"subject": f"model {name}", **audit_model(ModelFolder.load(folder), corpus).to_json()})
    for audit in audits:
        for finding in audit["findings"]:
            print(f"audit, {finding['severity']}: {audit['subject']}: {finding['sentence']}", file=sys.stderr)

    faults, hashes = [], {name: model_hash(folder) for name, folder in folders.items()}
    collect_seldom()
    try:
        report = evaluate_suite(suite, Timelines.of(corpus), models, folder=options.out, hashes=hashes)
    except NullRunError as error:
        report, faults = error.report, [str(error)]
    except SuiteError as error:
        return _fail(error, USAGE)
    except (OSError, MemoryError, RuntimeError) as error:
        if (code := exit_code(error)) == 1:
            raise
        return _fail(sentence(error), code)
    audits += report.audit
    faults += [f"{audit['subject']}: {finding['sentence']}" for audit in audits for finding in audit["findings"] if finding["severity"] == ERROR]
    fault = " | ".join(faults) or None
    about = {
        "command": f"python -m eval.run {shlex.join(given)}", "data_hash": corpus.data_hash, "versions": versions(),
        "audit": audits, "audit_hash": combined_hash({str(audit["subject"]): str(audit["hash"]) for audit in audits}),
        "corpus": corpus.name, "models": list(models), "recipes": recipes, "hashes": hashes, "seed": suite.seed, "limit": suite.limit, "history": suite.history, "wording": suite.wording, "language": suite.language, "fault": fault, "training": read_training_logs(dict(zip(models, options.model))),
    }
    write_report(report, about, options.out)
    print_table(report, list(models))
    print(f"\n{options.out / 'report.html'}", file=sys.stderr)
    return _fail(fault, BAD_FIGURES) if fault else 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.run", description="Evaluates trained models beside their baselines.")
    parser.add_argument("suite", metavar="SUITE", nargs="?", help="the name of a suite in eval/suites, or the path of a YAML file")
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="the suite, as the training commands take it")
    overrides = "overrides of the suite's settings, such as data.corpus=DIR, tasks=next_item,rating, limit=1000, seed=1, part=valid"
    parser.add_argument("settings", metavar="key=value", nargs="*", help=overrides)
    parser.add_argument("--model", metavar="RUN", type=Path, action="append", required=True, help="the folder of a trained model; may be given more than once")
    parser.add_argument("--baseline", metavar="NAME", action="append", help="a baseline to run, instead of those of the suite; may be given more than once")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder for predictions, report.json and report.html")
    return parser


def _named(folders: list[Path], *, taken: set[str]) -> dict[str, Path]:
    """Each folder under a name of its own that can stand in a file name: the folder's, with a number where it is taken."""
    named: dict[str, Path] = {}
    for folder in folders:
        name = re.sub(r"[^\w-]", "_", folder.resolve().name) or "model"
        free = (f"{name}-{number}" if number > 1 else name for number in itertools.count(1))
        named[next(candidate for candidate in free if candidate not in {*named, *taken})] = folder
    return named


def _fail(message: object, code: int) -> int:
    print(f"eval.run: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
