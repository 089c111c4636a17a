"""How quality grows with the model and with the data: one recipe at several widths and fractions of the users, each a training of its own.

    python -m eval.scaling --config amazon-beauty --widths 32 64 128 --fractions 0.25 0.5 1 --out docs/scaling data.corpus=corpora/beauty memory=false pretrain.max_steps=1500

Fractions below 1 refuse what is made of all users: expectations, memory and content.collaborative are to be switched off, as above.
Widths keep the config's proportions (the MLP grows with the width; so do the heads, where they divide it). Every training gets all of pretrain.max_steps, and is validated as often: what differs is the data, not how long it is learned from.
The figures are those of the valid part, of all users, at the best step. Trainings that stand in --work already, with the same settings and data, are not repeated, so a stopped study goes on.
Writes OUT.json, OUT.md and OUT.svg, and prints the table. Exit status: 0 done; 2 wrong usage; else that of the training that failed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from pathlib import Path

from llmrec.exits import USAGE

from .trainings import as_long, train_once, write_study


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="NAME_OR_PATH", help="the config of the trainings")
    parser.add_argument("--widths", type=int, nargs="+", required=True, metavar="N", help="hidden units of the models")
    parser.add_argument("--fractions", type=float, nargs="+", required=True, metavar="F", help="parts of the users that are learned from, above 0 to 1")
    parser.add_argument("--out", type=Path, required=True, metavar="NAME", help="NAME.json, NAME.md and NAME.svg are written")
    parser.add_argument("--work", type=Path, default=Path("runs/scaling"), metavar="DIR", help="where trainings and their logs stand (default runs/scaling)")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="overrides of the config, such as data.corpus=DIR seed=1")
    options = parser.parse_intermixed_args(argv)

    # After the arguments are read: --help must answer at once.
    from llmrec.config import load_settings

    try:
        settings, *_ = (load_settings(options.config, [*options.settings, f"output={options.work}", f"data.fraction={fraction}"]) for fraction in options.fractions)
        if settings.pretrain.max_steps is None:
            raise ValueError("pretrain.max_steps is not set: a part of the data has shorter epochs; give every training as many steps with pretrain.max_steps=N")
    except (FileNotFoundError, ValueError) as error:
        print(f"eval.scaling: {error}", file=sys.stderr)
        return USAGE
    rows, model, phase = [], settings.model, settings.pretrain
    for width in options.widths:
        head = model.width // model.heads
        changes = [f"model.width={width}", f"model.mlp_width={model.mlp_width * width // model.width}", f"model.heads={max(1, width // head) if width % max(1, width // head) == 0 else 1}"]
        for fraction in options.fractions:
            output = options.work / f"{width}-{fraction:g}"
            code, row = train_once("pretrain", options.config, [*options.settings, *as_long("pretrain", phase.max_steps), *changes, f"data.fraction={fraction}"], output, model=False)
            if code:
                print(f"eval.scaling: the training of width {width} on {fraction:g} of the users ended with {code}; see {options.work}", file=sys.stderr)
                return code
            shutil.rmtree(output, ignore_errors=True)  # its figures are kept
            rows.append({"width": width, "fraction": fraction, **row})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    command = shlex.join(["python", "-m", "eval.scaling", *(argv if argv is not None else sys.argv[1:])])
    table = _table(rows)
    write_study(options.out, {"command": command, "rows": rows}, f"{table}\n![the same, plotted]({options.out.name}.svg)\n")
    options.out.with_suffix(".svg").write_text(_figure(rows), encoding="utf-8")
    sys.stdout.write(table)
    return 0


def _table(rows: list[dict]) -> str:
    """A row for each training: its valid figures, and how large the model is."""
    metrics = list(rows[0]["valid"])
    lines = [f"| width | parameters | part of the users | steps | {' | '.join(metrics)} |", "|---" * (len(metrics) + 4) + "|"]
    return "\n".join([*lines, *(f"| {row['width']} | {row['parameters']:,} | {row['fraction']:g} | {row['steps']} | {' | '.join(format(row['valid'][metric], '.4f') for metric in metrics)} |" for row in rows)]) + "\n"


def _figure(rows: list[dict]) -> str:
    """One panel a metric: a line for each width over the fractions of the users."""
    from llmrec.plots import colours, lines

    metrics = list(rows[0]["valid"])
    names = [f"{width} wide" for width in dict.fromkeys(row["width"] for row in rows)]
    panels = {}
    for metric in metrics:
        panels[f"{metric} on valid"] = {
            f"{width} wide": [(f"{row['fraction']:g}", row["valid"][metric]) for row in rows if row["width"] == width] for width in dict.fromkeys(row["width"] for row in rows)
        }
    return lines(panels, colours(names, []), label="quality by model width and part of the users")


if __name__ == "__main__":
    sys.exit(main())
