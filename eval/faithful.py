"""Whether explanations can be believed: do the events a model cites move its answer, and does what it writes agree with what it predicts?

    python -m eval.faithful --model runs/demo/model --task next_item --out runs/faithful data.corpus=runs/demo/corpus

Faithfulness by deletion (ERASER: DeYoung et al. 2020): how far the answer moves when the cited events are left out of the history, beside as many drawn at random. What is cited is chosen in one wording and measured in one
that training never saw and that shows the same of a history, where the model has two such: the largest of several differences is larger than their mean even where all are chance, so that only another reading shows whether a citation tells more (above 1).
The answer is what `llmrec.citing` says: a rating, the log-odds of yes, or the log-probability of the item recommended first.
Sentiment: of the explanations whose words have one (VADER: Hutto and Gilbert 2014; needs `pip install 'llmrec[faithful]'`), the share whose sign is that of the predicted rating above or below the scale's middle.
Writes faithful.json; intervals of 95 %, bootstrapped over users. Exit status: 0 done; 2 wrong usage; 3, 4 what cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from llmrec.exits import USAGE, exit_code


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.faithful", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the folder of a trained model")
    parser.add_argument("--task", default="next_item", help="whose answers are explained (default next_item)")
    parser.add_argument("--cited", type=int, default=3, metavar="K", help="events cited for each answer (default 3); histories of fewer than twice as many are left out")
    parser.add_argument("--users", type=int, default=300, metavar="N", help="users asked about, drawn by the seed (default 300)")
    parser.add_argument("--draws", type=int, default=5, metavar="N", help="random deletions for each answer (default 5)")
    parser.add_argument("--part", choices=["valid", "test"], default="test", help="whose questions (default test)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where faithful.json is written")
    parser.add_argument("setting", metavar="data.corpus=DIR", help="the prepared corpus")
    options = parser.parse_args(argv)
    name, _, folder = options.setting.partition("=")
    if name != "data.corpus" or not folder:
        parser.error(f"got {options.setting!r}; expected data.corpus=DIR")

    # After the arguments are read: --help must answer without torch or polars.
    from llmrec.interactions import Corpus
    from llmrec.recommender import Recommender
    from llmrec.tasks import TASKS
    from llmrec.timelines import Timelines

    from .honesty import Asked, deletions, sentiment_analyser, sentiments, two_wordings

    try:
        corpus, recommender, again = Corpus.load(folder), Recommender.from_pretrained(options.model), Recommender.from_pretrained(options.model)
    except (OSError, ValueError) as error:
        print(f"eval.faithful: {error}", file=sys.stderr)
        return exit_code(error)
    if options.task not in recommender.tasks or TASKS[options.task].family == "text":
        parser.error(f"the model explains no answers of {options.task!r}; expected one of: {', '.join(task for task in recommender.tasks if TASKS[task].family != 'text')}")
    wordings = two_wordings(recommender.templates[options.task])
    if wordings is not None:
        recommender.templates[options.task], again.templates[options.task] = [(wording,) for wording in wordings]
    timelines = Timelines.of(corpus)
    asked = Asked(timelines, options.part, options.users, int(recommender.card.get("seed", 0)))
    explains = {"explanation", "rating"} <= set(recommender.tasks) and bool(asked.questions("explanation"))
    try:
        if explains:
            sentiment_analyser()  # what is not installed is said before the long part
        record = {"model": options.model, "data_hash": corpus.data_hash, "part": options.part, "wordings": [wording.name for wording in wordings or ()]}
        record["faithfulness"] = deletions(recommender, asked, options.task, cited=options.cited, draws=options.draws, measured=again)
        if explains:
            record["sentiment"] = sentiments(recommender, asked, middle=(min(corpus.rating_scale) + max(corpus.rating_scale)) / 2)
    except ValueError as error:
        print(f"eval.faithful: {error}", file=sys.stderr)
        return USAGE
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "faithful.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
