"""How well somebody who holds a model can tell which users it was trained on: attacks on membership, on models that each learned from half of the users.

    python -m eval.membership --config amazon-beauty --seeds 0 1 2 --out docs/membership data.corpus=corpora/beauty memory=false

A model for each seed is pretrained on the half that the seed draws. (Words, content vectors and the step that valid chooses are of all users: they say the same of both halves.) Whoever attacks it knows a user's whole history in train, asks for the last events of it, each with what stood before, and takes for members those to whom

    loss        the model gives what they chose the highest probability
    rank        it has what they chose highest on its list
    reference   it gives it a higher probability than the models of the other seeds that have not seen the user

auc is that of members against the others: .5 tells nothing. The other figure is the share of members found where one in a hundred of the others is taken for one. Sources: Yeom et al. (CSF 2018) for loss; Carlini et al., Membership Inference Attacks From First Principles (S&P 2022), for reference and for counting at few false alarms.
Trainings that stand in --work already, with the same settings and data, are not repeated. Writes OUT.json and OUT.md, and prints the table; intervals are of 95 % over users, not over seeds. Exit status: 0 done; 2 wrong usage; else that of the training that failed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from llmrec.exits import USAGE

from .trainings import train_once, write_study

HALF = 0.5


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.membership", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="the config of the trainings, as the training commands take it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="the seeds of the trainings and of their halves, at least two (default 0 1 2)")
    parser.add_argument("--events", type=int, default=5, metavar="N", help="the last events of a user that are asked for (default 5)")
    parser.add_argument("--users", type=int, default=2000, metavar="N", help="users that are asked about, the first as the seed of the first model shuffles them (default 2000)")
    parser.add_argument("--out", type=Path, required=True, metavar="NAME", help="NAME.json and NAME.md are written")
    parser.add_argument("--work", type=Path, default=Path("runs/membership"), metavar="DIR", help="where trainings and their logs stand (default runs/membership)")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="overrides of the config, such as data.corpus=DIR")
    options = parser.parse_intermixed_args(argv)
    if len(set(options.seeds)) < 2:
        parser.error(f"got the seeds {options.seeds}; a reference needs a second model, with another seed")
    if min(options.events, options.users) < 1:
        parser.error(f"got --events {options.events} and --users {options.users}; expected at least 1 of each")

    # After the arguments are read: --help must answer without torch or polars.
    from llmrec.config import load_settings
    from llmrec.interactions import Corpus
    from llmrec.recommender import Recommender
    from llmrec.splits import some_users
    from llmrec.timelines import Timelines

    from .attacks import attacks, questions, signals_of

    halves = [*options.settings, f"data.fraction={HALF}"]
    try:
        settings = load_settings(options.config, [*halves, f"output={options.work}"])
        if not settings.pretrain.tasks.get("next_item"):
            raise ValueError(f"users are asked what they chose next, and pretrain.tasks has no next_item but {', '.join(settings.pretrain.tasks)}: give it a share")
        corpus = Corpus.load(settings.data.corpus)
    except (OSError, ValueError) as error:
        print(f"eval.membership: {error}", file=sys.stderr)
        return USAGE
    for seed in options.seeds:
        output = options.work / f"half-{seed}"
        code, _ = train_once("pretrain", options.config, [*halves, f"seed={seed}"], output)
        if code:
            print(f"eval.membership: the training with seed {seed} ended with {code}; see {output}.log", file=sys.stderr)
            return code
    asked = questions(Timelines.of(corpus), events=options.events, users=options.users, seed=options.seeds[0])
    members = {seed: frozenset(some_users(corpus, HALF, seed).interactions.frame["user_id"].unique()) for seed in options.seeds}
    signals = {seed: signals_of(Recommender.from_pretrained(options.work / f"half-{seed}", backing=False), asked) for seed in options.seeds}
    command = shlex.join(["python", "-m", "eval.membership", *(argv if argv is not None else sys.argv[1:])])
    record = {"command": command, "data_hash": corpus.data_hash, "seeds": len(options.seeds), "rows": attacks(signals, members)}
    table = table_of(record)
    write_study(options.out, record, table)
    sys.stdout.write(table)
    return 0


def table_of(record: Mapping[str, object]) -> str:
    """The attacks as Markdown."""
    by = {(row["attack"], row["metric"]): row for row in record["rows"]}
    told = lambda row: f"{row['mean']:.4f} ({row['low']:.4f} to {row['high']:.4f})"  # noqa: E731
    lines = ["| attack | auc | members found at one false alarm in a hundred | members | others |", "|---|---|---|---|---|"]
    for attack in dict.fromkeys(attack for attack, _ in by):
        auc, found = by[attack, "auc"], by[attack, "found"]
        lines.append(f"| {attack} | {told(auc)} | {told(found)} | {auc['members']:,} | {auc['others']:,} |")
    return "\n".join([*lines, "", f"{record['seeds']} models, each of half of the users; users are counted once for each model they are asked about; data {record['data_hash']}."]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
