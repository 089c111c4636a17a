"""Answers requests with a trained model:

    python -m llmrec.generate runs/demo/model --prompt "something funny for a rainy evening" --k 5
    python -m llmrec.generate runs/demo/model --input requests.jsonl --output results.jsonl

A request is a JSON object: id, task (default next_item), history (oldest first), k, query, item_id, candidates, review, exclude, include, exclude_seen, where, context, timestamp, language, user_id.
Without --prompt, --task or --input, requests are read from standard input, one a line. Results go to standard output (or --output), one JSON object a line; talk goes to standard error.
An output appears when it is whole; the same command goes on behind the rows that a stopped one has left, and leaves a finished file as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

WINDOW = 16_384
"""Requests in memory at once: enough that equal lengths meet in a batch, few enough that a file of any size fits."""


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    single = options.prompt is not None or options.task is not None
    stray = next((f"--{name.replace('_', '-')}" for name in ("history", "item_id", "candidates", "language", "k") if getattr(options, name) is not None), None)
    if stray and not single:
        parser.error(f"{stray} is of a single request: say its --task, such as --task next_item, or its --prompt; requests of a file or of standard input bring their own")
    options.k = 10 if options.k is None else options.k
    if options.k < 1 or options.beams < 1:
        parser.error("--k and --beams are whole numbers of at least 1")
    if options.input and options.output and os.path.realpath(options.input) == os.path.realpath(options.output):
        parser.error(f"--input and --output are both {options.input}; name another output")
    if options.input and not Path(options.input).is_file():
        parser.error(f"--input {options.input} is no file")
    if options.output and Path(options.output).is_dir():
        parser.error(f"--output {options.output} is a folder; name a file in it")
    if options.output and Path(options.output).exists() and not Path(options.output).is_file():
        parser.error(f"--output {options.output} is a device or a pipe, which a finished file would replace; leave --output out and redirect standard output")
    if options.input and single:
        parser.error("--input brings its own requests; leave out --prompt and --task")
    # Heavy imports after the arguments: `--help` and usage errors answer at once.
    from llmrec.exits import DATA, DISK, MEMORY, MODEL, USAGE, disk_failed, exit_code, out_of_memory, refuse_other_encodings
    from llmrec.launch import collect_seldom
    from llmrec.predictions import Prediction, Request
    from llmrec.recommender import Recommender
    from llmrec.results import OtherRun, ResultFile, encode

    refuse_other_encodings()

    try:
        recommender = Recommender.from_pretrained(options.model, device=options.device)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_code(error)

    collect_seldom()

    def answers(records: list[object]) -> Iterator[dict[str, object]]:
        requests: list[Request] = []
        refused: dict[int, dict[str, object]] = {}
        for number, record in enumerate(records):
            try:
                if isinstance(record, ValueError):
                    raise record
                requests.append(Request.from_json(record))
            except ValueError as error:
                known = record if isinstance(record, dict) else {}
                named = {name: _writable(known[name]) for name in ("id", "task") if known.get(name) is not None}
                refused[number] = Prediction(**{"task": "next_item", **named}, error=str(error)).to_json()
        predicted = iter(recommender.predict(requests, beams=options.beams, exhaustive=options.exact, progress=len(records) > 64))
        for number in range(len(records)):
            yield refused[number] if number in refused else next(predicted).to_json(recommender.titles)

    windows = iter([[_single(options)]]) if single else _windows(_records(options))
    try:
        if options.output is None:
            sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal's own encoding
            for window in windows:
                for answer in answers(window):
                    sys.stdout.write(encode(answer) + "\n")
            return 0
        with ResultFile(Path(options.output), _key(options)) as results:
            if results.finished:
                sys.stderr.write(f"{options.output} is finished: the same model has answered the same requests\n")
                return 0
            if results.rows:
                sys.stderr.write(f"going on behind the {results.rows} rows that are there\n")
            skipped = results.rows
            for window in windows:
                behind = window[skipped:]
                skipped = max(0, skipped - len(window))
                for answer in answers(behind):
                    results.write(answer)
                results.keep()
    except UnreadableInput as error:
        sys.stderr.write(f"error: {error}\n")
        return DATA
    except OtherRun as error:
        sys.stderr.write(f"error: {error}\n")
        return MODEL
    except (OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not out_of_memory(error):
            raise
        sys.stderr.write(f"error: {error or 'out of memory'}\n")
        return DISK if disk_failed(error) else MEMORY if out_of_memory(error) else USAGE
    return 0


def _key(options: argparse.Namespace) -> dict[str, object] | None:
    """What the rows of an output answer; None for requests from standard input or flags, which are there only once."""
    if not options.input:
        return None
    with open(options.input, "rb") as file:
        asked = hashlib.file_digest(file, "sha256").hexdigest()
    return {"model": _fingerprint(Path(options.model)), "input": asked, "exact": options.exact, "beams": options.beams}


def _fingerprint(folder: Path) -> str:
    """What a model folder's answers follow from, as one hash: names and bytes of its files, but those that merely tell."""
    from llmrec.recommender.folder import FREE

    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] not in (*FREE, "files.json")):
        with open(path, "rb") as file:
            total.update(f"{path.relative_to(folder)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:16]


class UnreadableInput(ValueError):
    """The input as a whole cannot be read."""


def _writable(value: object) -> str:
    """A field of a refused request as text that can be written: what is no Unicode text, which may be why it was refused, as question marks."""
    return str(value).encode("utf-8", "replace").decode()


def _single(options: argparse.Namespace) -> dict[str, object]:
    """The request the flags put; wrong values are reported as any request's are."""
    record = {
        "task": options.task or "search", "query": options.prompt, "history": [x for x in (options.history or "").split(",") if x], "k": options.k, "item_id": options.item_id,
        "candidates": options.candidates.split(",") if options.candidates else None, "language": options.language or _language(options.prompt or ""),
    }
    return {name: value for name, value in record.items() if value is not None}


def _language(text: str) -> str:
    """Chinese where the words hold Chinese characters, else English."""
    return "zh" if any("\u4e00" <= c <= "\u9fff" for c in text) else "en"


def _records(options: argparse.Namespace) -> Iterator[object]:
    if options.input and options.input.endswith(".parquet"):
        from llmrec.parquet import batches

        try:
            for batch in batches(options.input, rows=WINDOW):
                yield from batch.iter_rows(named=True)
        except ValueError as error:
            raise UnreadableInput(str(error)) from None
        return
    file = open(options.input, "rb") if options.input else sys.stdin.buffer
    try:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield ValueError(f"line {number} is not JSON: {error}")
    finally:
        if options.input:
            file.close()


def _windows(records: Iterator[object]) -> Iterator[list[object]]:
    window: list[object] = []
    for record in records:
        window.append(record)
        if len(window) == WINDOW:
            yield window
            window = []
    if window:
        yield window


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llmrec.generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder of a trained model")
    parser.add_argument("--prompt", help="words of your own, English or Chinese: answered by items of the catalogue")
    parser.add_argument("--task", help="the task of a single request, such as next_item or rating")
    parser.add_argument("--history", help="item ids the user has had, oldest first, separated by commas")
    parser.add_argument("--item-id", help="the item asked about (rating, click, purchase, explanation)")
    parser.add_argument("--candidates", help="item ids to rank, separated by commas (ranking)")
    parser.add_argument("--language", choices=["en", "zh"], help="language of the prompt's wording (default: that of --prompt)")
    parser.add_argument("--k", type=int, help="how many items (default 10)")
    parser.add_argument("--input", help="requests as JSON Lines or Parquet")
    parser.add_argument("--output", help="results as JSON Lines or Parquet (default: standard output)")
    parser.add_argument("--exact", action="store_true", help="score the whole catalogue instead of a beam")
    parser.add_argument("--beams", type=int, default=20, help="width of the beam, where an item's code has several tokens (default 20)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
