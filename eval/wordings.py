"""What the words of a prompt are worth: the wordings of every task asked of the same questions, those that training never saw beside those it saw, Chinese beside English, and the prompt without words beside those with.

    python -m eval.wordings --model runs/ml-100k/model --out runs/ml-100k/wordings data.corpus=corpora/ml-100k

A figure is the mean over all wordings of its kind: one wording alone differs from another by more than kinds do. Only wordings (and the prompt without words) that show the same of a history as an unseen one of their language are asked:
titles, say, are more than words, and leave room for fewer events. Languages are those of the model's training; a search's query is English in all of them.
Saves all answers below DIR, writes DIR/wordings.json, and prints a table; a loss is in per cent, with its interval (95 %, bootstrap over users). Exit status: 0 done; 2 wrong usage, or nothing to be compared; 3 bad data; 4 bad model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from llmrec.exits import USAGE, exit_code, reading_model
from llmrec.templates import BARE, PromptTemplate


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.wordings", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the folder of a trained model")
    parser.add_argument("--task", action="append", metavar="TASK", help="only these tasks (default all of the model's that end in no text)")
    parser.add_argument("--part", choices=["valid", "test"], default="test", help="whose questions (default test)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="ask the questions of N users (default all)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where answers and wordings.json are written")
    parser.add_argument("setting", metavar="data.corpus=DIR", help="the prepared corpus")
    options = parser.parse_args(argv)
    name, _, folder = options.setting.partition("=")
    if name != "data.corpus" or not folder:
        parser.error(f"got {options.setting!r}; expected data.corpus=DIR")

    # After the arguments are read: --help must answer without torch or polars.
    from llmrec.audit.models import model_hash
    from llmrec.config import load_settings
    from llmrec.evaluation import contrast
    from llmrec.interactions import Corpus
    from llmrec.recommender import Recommender
    from llmrec.tasks import TASKS
    from llmrec.timelines import Timelines

    from .studies import answers
    from .suite import Suite

    try:
        corpus, recommender, trained = Corpus.load(folder), Recommender.from_pretrained(options.model), Path(options.model) / "train_config.yaml"
        with reading_model():
            languages = load_settings(str(trained), []).data.languages if trained.is_file() else None
    except (OSError, ValueError) as error:
        print(f"eval.wordings: {error}", file=sys.stderr)
        return exit_code(error)
    unknown = sorted(set(options.task or ()) - set(recommender.tasks))
    if unknown:
        parser.error(f"the model does not answer {unknown[0]!r}; expected some of: {', '.join(recommender.tasks)}")
    timelines, rows, answered_by = Timelines.of(corpus), [], model_hash(Path(options.model))
    for task in options.task or [task for task in recommender.tasks if TASKS[task].family != "text"]:
        kinds: dict[tuple[str, bool], list[Path]] = {}
        bare: list[Path] = []
        for template in comparable(recommender.templates[task], languages):
            recommender.templates[task] = (template,)
            suite = Suite(tasks=(task,), part=options.part, limit=options.limit, language=template.language)
            path = answers(suite, timelines, recommender, name=template.name, folder=options.out, model_hash=answered_by)
            if path is not None:
                (bare if template.name == BARE else kinds.setdefault((template.language, template.unseen), [])).append(path)
        seen, unseen = ([path for (_, kind), paths in kinds.items() if kind == wanted for path in paths] for wanted in (False, True))
        pairs = {"unseen against seen": (unseen, seen), "without words against seen": (bare, seen), **{f"{language} against en": (kinds[language, False], kinds.get(("en", False), [])) for language, kind in kinds if language != "en" and not kind}}
        rows += [{"kind": kind, **row} for kind, (first, second) in pairs.items() if first and second for row in contrast(first, second)]
    if not rows:
        print(f"eval.wordings: {options.model} has no two kinds of wordings for these tasks: nothing can be compared", file=sys.stderr)
        return USAGE
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"model": options.model, "data_hash": corpus.data_hash, "part": options.part, "limit": options.limit, "rows": rows}
    (options.out / "wordings.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(losses_table(rows))
    return 0


def comparable(templates: Sequence[PromptTemplate], languages: Sequence[str] | None) -> list[PromptTemplate]:
    """The wordings in these languages (None: in any) that show the same fields as an unseen one of their language."""
    asked = [template for template in templates if languages is None or template.language in languages]
    fields = {(template.language, template.fields) for template in asked if template.unseen}
    return [template for template in asked if (template.language, template.fields) in fields]


def losses_table(rows: Sequence[dict]) -> str:
    """The contrasts as Markdown: what the first kind loses against the second, in per cent of it."""
    from llmrec.metrics import LOWER_IS_BETTER

    lines = ["| task | metric | | first | second | loss, per cent |", "|---|---|---|---|---|---|"]
    for row in rows:
        told = ""
        if row["second"]:
            sign = 100 / abs(row["second"]) * (1 if row["metric"] in LOWER_IS_BETTER else -1)
            low, high = sorted((sign * row["low"], sign * row["high"]))
            told = f"{sign * row['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
        lines.append(f"| {row['task']} | {row['metric']} | {row['kind']} | {row['first']:.4f} | {row['second']:.4f} | {told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
