"""What a choice is worth: one config trained in several variants, each a few changed settings, with all else equal, and their figures on held-out questions in one table.

    python -m eval.ablation --config ml-100k --phase pretrain --variants balances --out docs/balances data.corpus=corpora/ml-100k
    python -m eval.ablation --config amazon-beauty --phase pretrain --variants signals --seeds 0 1 2 --out docs/signals data.corpus=corpora/beauty

--variants names a file of eval/variants, or the path of one: a mapping from a variant's name to its settings. Times are told against the first's, where no training was stopped in between.
Finished models are asked, so that what stands behind a training (memory, expectations) counts; on valid, unless --part says test. Trainings that stand in --work already, with the same settings and data, are not repeated.
Writes OUT.json and OUT.md, and prints the table. Exit status: 0 done; 2 wrong usage; else that of the training that failed.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmrec.exits import USAGE

from .trainings import train_once, write_study

VARIANTS = Path(__file__).parent / "variants"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="the config of the trainings, as the training commands take it")
    parser.add_argument("--phase", choices=["pretrain", "finetune"], default="finetune", help="which training (default finetune)")
    parser.add_argument("--variants", required=True, metavar="NAME_OR_PATH", help="which settings are changed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="the seeds of the trainings (default 0)")
    parser.add_argument("--part", choices=["valid", "test"], default="valid", help="whose questions are asked (default valid)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="ask the questions of N users (default all)")
    parser.add_argument("--out", type=Path, required=True, metavar="NAME", help="NAME.json and NAME.md are written")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"), metavar="DIR", help="where trainings, their logs and answers stand (default runs/ablation)")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="overrides of the config for all variants, such as data.corpus=DIR model.base=BASE")
    options = parser.parse_intermixed_args(argv)

    # After the arguments are read: --help must answer at once.
    from llmrec.audit.models import model_hash
    from llmrec.config import load_settings
    from llmrec.interactions import Corpus
    from llmrec.recommender import Recommender
    from llmrec.timelines import Timelines

    from .studies import against_first, headlines
    from .suite import Suite

    try:
        variants = load_variants(options.variants, options.phase)
        settings = [load_settings(options.config, [*options.settings, *changes, f"output={options.work}"]) for changes in variants.values()]
        timelines = Timelines.of(Corpus.load(settings[0].data.corpus))
    except (OSError, ValueError) as error:
        print(f"eval.ablation: {error}", file=sys.stderr)
        return USAGE
    suite = Suite(part=options.part, limit=options.limit)
    rows = []
    for name, changes in variants.items():
        for seed in options.seeds:
            output = options.work / _named(name, seed)
            code, record = train_once(options.phase, options.config, [*options.settings, *changes, f"seed={seed}"], output)
            if code:
                print(f"eval.ablation: the training of {name} with seed {seed} ended with {code}; see {output}.log", file=sys.stderr)
                return code
            figures = headlines(suite, timelines, Recommender.from_pretrained(output), name=output.name, folder=options.work, model_hash=model_hash(output))
            rows.append({"variant": name, "seed": seed, "settings": changes, "seconds": record["seconds"], "figures": figures})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    command = shlex.join(["python", "-m", "eval.ablation", *(argv if argv is not None else sys.argv[1:])])
    asked = {row["variant"]: list(dict.fromkeys(metric.partition("/")[0] for metric in row["figures"])) for row in rows}
    differences = against_first(options.work / "predictions", {name: [_named(name, seed) for seed in options.seeds] for name in variants}, asked, resamples=suite.resamples)
    record = {"command": command, "part": options.part, "limit": options.limit, "data_hash": timelines.corpus.data_hash, "rows": rows, "differences": differences}
    table = variants_table(record)
    write_study(options.out, record, table)
    sys.stdout.write(table)
    return 0


def load_variants(name: str, phase: str) -> dict[str, list[str]]:
    """Each variant's overrides as key=value, with `phase` for a leading "phase". Raises FileNotFoundError naming the shipped files, ValueError for a file that is no mapping of mappings."""
    import yaml

    shipped = {path.stem: path for path in sorted(VARIANTS.glob("*.yaml"))}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise FileNotFoundError(f"there are no variants {name!r}; shipped: {', '.join(shipped)}; or give the path of a .yaml file")
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not found or not all(isinstance(changes, dict) for changes in found.values()):
        raise ValueError(f"{path} holds no variants; expected names with settings each, such as `plain: {{content.rows: false}}`")
    return {str(variant): [f"{re.sub('^phase[.]', f'{phase}.', str(key))}={json.dumps(value)}" for key, value in changes.items()] for variant, changes in found.items()}


def variants_table(record: Mapping) -> str:
    """The figures as Markdown, a row for each variant: means over the seeds, ± their standard deviation where there are several; the seconds of a training against the first variant's. Below, each variant minus the first, with its interval."""
    by_name: dict[str, list[Mapping]] = {}
    for row in record["rows"]:
        by_name.setdefault(row["variant"], []).append(row)
    metrics = list(dict.fromkeys(metric for row in record["rows"] for metric in row["figures"]))
    first = _mean(by_name[record["rows"][0]["variant"]], "seconds")
    lines = [f"| variant | {' | '.join(metrics)} | time |", "|---" * (len(metrics) + 2) + "|"]
    for name, rows in by_name.items():
        figures = [[row["figures"][metric] for row in rows if row["figures"].get(metric) is not None] for metric in metrics]
        told = [f"{statistics.mean(values):.4f}{f' ±{statistics.stdev(values):.4f}' if len(values) > 1 else ''}" if values else "" for values in figures]
        mine = _mean(rows, "seconds")
        lines.append(f"| {name} | {' | '.join(told)} | {f'{mine / first:.2f}' if mine and first else ''} |")
    seeds = len(by_name[record["rows"][0]["variant"]])
    users = f"{record['limit']} users" if record["limit"] else "all users"
    lines += ["", f"| minus {record['rows'][0]['variant']} | task | metric | difference |", "|---|---|---|---|"]
    lines += [f"| {row['variant']} | {row['task']} | {row['metric']} | {row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}) |" for row in record["differences"]]
    return "\n".join([*lines, "", f"Part {record['part']}, {users}, {seeds} {'seeds' if seeds > 1 else 'seed'}, intervals of 95 % over users; data {record['data_hash']}."]) + "\n"


def _named(variant: str, seed: int) -> str:
    return f"{variant}-{seed}".replace(" ", "-")


def _mean(rows: Sequence[Mapping], column: str) -> float | None:
    known = [row[column] for row in rows if row[column] is not None]
    return statistics.mean(known) if known else None


if __name__ == "__main__":
    sys.exit(main())
