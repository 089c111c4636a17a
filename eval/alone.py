"""What tasks gain or lose by being learned together: a config's tasks trained jointly and each alone, with all else equal, and the difference on held-out questions.

    python -m eval.alone --config demo --out docs/alone data.corpus=runs/demo/corpus model.base=runs/demo/base
    python -m eval.alone --config demo --phase pretrain --joint pretrain.max_steps=1500 --out docs/alone data.corpus=runs/demo/corpus

A task alone keeps the config's settings; its training is validated by its own leading metric. The joint one may be given more steps (--joint): what it costs beside all others together is told.
Trainings that stand in --work already, with the same settings, are not repeated, so a stopped comparison goes on.
Writes OUT.json and OUT.md, and prints the table. Exit status: 0 done; 2 wrong usage; else that of the training that failed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from llmrec.exits import USAGE

from .trainings import train_once, write_study

JOINT = "joint"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.alone", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="the config of the training, as the training commands take it")
    parser.add_argument("--phase", choices=["pretrain", "finetune"], default="finetune", help="which training (default finetune)")
    parser.add_argument("--part", choices=["valid", "test"], default="valid", help="whose questions are asked (default valid)")
    parser.add_argument("--joint", metavar="key=value", action="append", default=[], help="an override of the config for the joint training; may be said several times")
    parser.add_argument("--out", type=Path, required=True, metavar="NAME", help="NAME.json and NAME.md are written")
    parser.add_argument("--work", type=Path, default=Path("runs/alone"), metavar="DIR", help="where trainings, their logs and answers stand (default runs/alone)")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="overrides of the config, such as data.corpus=DIR model.base=BASE seed=1")
    options = parser.parse_intermixed_args(argv)

    # After the arguments are read: --help must answer without torch or polars.
    from llmrec.config import load_settings
    from llmrec.interactions import Corpus
    from llmrec.metrics import HEADLINES
    from llmrec.recommender import Recommender
    from llmrec.tasks import TASKS
    from llmrec.timelines import Timelines

    from .results import gains_table
    from .suite import Suite, gains

    try:
        settings = load_settings(options.config, [*options.settings, *options.joint, f"output={options.work / JOINT}"])
    except (FileNotFoundError, ValueError) as error:
        print(f"eval.alone: {error}", file=sys.stderr)
        return USAGE
    tasks = {name: share for name, share in getattr(settings, options.phase).tasks.items() if name in TASKS and share > 0}
    seconds = {}
    for name in (JOINT, *tasks):
        # The short form of finetune's tasks would win over the one set here.
        changes = options.joint if name == JOINT else [f"{options.phase}.tasks={json.dumps({name: 1.0})}", f"{options.phase}.tokens={{}}", "tasks=null", f"{options.phase}.validation.metric={name}/{HEADLINES[TASKS[name].family][0]}"]
        code, record = train_once(options.phase, options.config, [*options.settings, *changes], options.work / name)
        if code:
            print(f"eval.alone: the training of {name} ended with {code}; see {options.work / name}.log", file=sys.stderr)
            return code
        seconds[name] = record["seconds"]
    timelines = Timelines.of(Corpus.load(settings.data.corpus))
    rows = gains(Suite(part=options.part, seed=settings.seed), timelines, list(tasks), lambda name: Recommender.from_pretrained(options.work / name), joint=JOINT, folder=options.work)
    command = shlex.join(["python", "-m", "eval.alone", *(argv if argv is not None else sys.argv[1:])])
    record = {"command": command, "part": options.part, "data_hash": timelines.corpus.data_hash, "rows": rows, "seconds": seconds, "joint_cost": seconds[JOINT] / sum(seconds[name] for name in tasks)}
    table = gains_table(record)
    write_study(options.out, record, table)
    sys.stdout.write(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
