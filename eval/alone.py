"""What tasks gain or lose by being learned together: a config's tasks trained jointly and each alone, and the difference on held-out questions.

    python -m eval.alone --config demo --phase pretrain --joint pretrain.max_steps=1500 --seeds 0 1 2 --part test --out docs/alone data.corpus=runs/demo/corpus memory=false lexical=false expectations=false

A task alone keeps the config's settings, and gets all of PHASE.max_steps, however small its data: its leading metric on valid chooses the step. The joint training gets as many, or what --joint says, and is validated as often;
what it costs is told in tokens, beside those of all others together. Finetuning begins with the same base for all; where that base was pretrained on the tasks together, so was each task alone.
What stands behind a training (memory, expectations, the words of items) is the same for both and hides what training does: switch it off, as above.
Trainings that stand in --work already, with the same settings and data, are not repeated, so a stopped comparison goes on.
Writes OUT.json and OUT.md, and prints the table. Exit status: 0 done; 2 wrong usage; else that of the training that failed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from llmrec.exits import USAGE

from .trainings import as_long, train_once, write_study

JOINT = "joint"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.alone", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="the config of the training, as the training commands take it")
    parser.add_argument("--phase", choices=["pretrain", "finetune"], default="finetune", help="which training (default finetune)")
    parser.add_argument("--part", choices=["valid", "test"], default="valid", help="whose questions are asked (default valid, on which steps were chosen, too)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="the seeds of the trainings (default 0)")
    parser.add_argument("--joint", metavar="key=value", action="append", default=[], help="an override of the config for the joint training; may be said several times")
    parser.add_argument("--out", type=Path, required=True, metavar="NAME", help="NAME.json and NAME.md are written")
    parser.add_argument("--work", type=Path, default=Path("runs/alone"), metavar="DIR", help="where trainings, their logs and answers stand (default runs/alone)")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="overrides of the config, such as data.corpus=DIR model.base=BASE")
    options = parser.parse_intermixed_args(argv)

    # After the arguments are read: --help must answer without torch or polars.
    from llmrec.audit.models import model_hash
    from llmrec.config import load_settings
    from llmrec.interactions import Corpus
    from llmrec.metrics import HEADLINES
    from llmrec.recommender import Recommender
    from llmrec.tasks import TASKS
    from llmrec.timelines import Timelines

    from .results import gains_table
    from .studies import gains
    from .suite import Suite

    try:
        settings, together = (getattr(load_settings(options.config, [*options.settings, *more, f"output={options.work / JOINT}"]), options.phase) for more in ([], options.joint))
        if settings.max_steps is None or together.max_steps is None:
            raise ValueError(f"{options.phase}.max_steps is not set: data of different size make epochs of different length; give every training as many steps with {options.phase}.max_steps=N")
        corpus = Corpus.load(load_settings(options.config, [*options.settings, f"output={options.work}"]).data.corpus)
    except (OSError, ValueError) as error:
        print(f"eval.alone: {error}", file=sys.stderr)
        return USAGE
    tasks = [name for name, share in settings.tasks.items() if name in TASKS and share > 0 and TASKS[name].reason_absent(corpus) is None]
    if not tasks:
        print(f"eval.alone: {options.config} trains no task that {corpus.name} has questions for", file=sys.stderr)
        return USAGE
    tokens: dict[str, int] = {}
    for seed in options.seeds:
        for name in (JOINT, *tasks):
            # The short form of finetune's tasks would win over the one set here.
            changes = options.joint if name == JOINT else [f"{options.phase}.tasks={json.dumps({name: 1.0})}", f"{options.phase}.tokens={{}}", "tasks=null", f"{options.phase}.validation.metric={name}/{HEADLINES[TASKS[name].family][0]}"]
            output = options.work / f"{name}-{seed}"
            code, record = train_once(options.phase, options.config, [*options.settings, *as_long(options.phase, (together if name == JOINT else settings).max_steps), *changes, f"seed={seed}"], output)
            if code:
                print(f"eval.alone: the training of {name} with seed {seed} ended with {code}; see {output}.log", file=sys.stderr)
                return code
            tokens[name] = tokens.get(name, 0) + record["steps"] * (together if name == JOINT else settings).batch_tokens
    timelines = Timelines.of(corpus)
    hashes = {name: model_hash(options.work / name) for name in (f"{name}-{seed}" for name in (JOINT, *tasks) for seed in options.seeds)}
    rows = gains(Suite(part=options.part), timelines, tasks, lambda name: Recommender.from_pretrained(options.work / name), joint=JOINT, seeds=options.seeds, folder=options.work, hashes=hashes)
    command = shlex.join(["python", "-m", "eval.alone", *(argv if argv is not None else sys.argv[1:])])
    record = {"command": command, "part": options.part, "seeds": len(options.seeds), "data_hash": corpus.data_hash, "rows": rows, "tokens": tokens, "joint_cost": tokens[JOINT] / sum(tokens[name] for name in tasks)}
    table = gains_table(record)
    write_study(options.out, record, table)
    sys.stdout.write(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
