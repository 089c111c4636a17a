"""Answers requests with a trained model:

    python -m llmrec.generate runs/demo/model --prompt "something funny for a rainy evening" --k 5
    python -m llmrec.generate runs/demo/model --input requests.jsonl --output results.jsonl

A request is a JSON object: id, task (default next_item), history, k, query, item_id, candidates, exclude, include, exclude_seen, where, context, language, user_id.
Without --prompt, --task or --input, requests are read from standard input, one a line. Results go to standard output (or --output), one JSON object a line; talk goes to standard error.
"""

from __future__ import annotations

import argparse
import errno
import glob
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
    if options.input and (options.prompt is not None or options.task is not None):
        parser.error("--input brings its own requests; leave out --prompt and --task")
    # Heavy imports after the arguments: `--help` and usage errors answer at once.
    from llmrec.launch import collect_seldom
    from llmrec.predictions import Prediction, Request
    from llmrec.recommender import Recommender

    try:
        recommender = Recommender.from_pretrained(options.model, device=options.device)
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"error: {error.args[0] if isinstance(error, KeyError) else error}\n")
        return 2 if isinstance(error, FileNotFoundError) else 4

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

    windows = _windows(_records(options)) if options.prompt is None and options.task is None else iter([[_single(options)]])
    try:
        with _sink(options.output) as write:
            for window in windows:
                for answer in answers(window):
                    write(answer)
    except UnreadableInput as error:
        sys.stderr.write(f"error: {error}\n")
        return 3
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 5 if error.errno == errno.ENOSPC else 2
    return 0


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


_encode = json.JSONEncoder(ensure_ascii=False).encode


class _sink:
    """Where results go: standard output, a JSON Lines file, or a Parquet file, which is made of a JSON Lines file. A file appears when it is whole."""

    def __init__(self, path: str | None):
        self.path = Path(path) if path else None

    def __enter__(self):
        if self.path is None:
            sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal's own encoding
            return lambda answer: sys.stdout.write(_encode(answer) + "\n")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.temporary = self.path.with_name(f".tmp-{self.path.name}-{os.getpid()}")
        self.file = open(self.temporary, "wb")
        return lambda answer: self.file.write(_encode(answer).encode() + b"\n")

    def __exit__(self, kind: object, *error: object) -> None:
        if self.path is None:
            return
        columns = self.temporary.with_name(f"{self.temporary.name}.columns")
        try:
            with self.file:
                self.file.flush()
                os.fsync(self.file.fileno())
            if kind is None and self.path.suffix == ".parquet":
                try:
                    _to_parquet(self.temporary, columns)
                except OSError:
                    kept = self.path.with_suffix(".jsonl")
                    os.replace(self.temporary, kept)
                    sys.stderr.write(f"the answers are kept as JSON Lines in {kept}\n")
                    raise
                os.replace(columns, self.path)
            elif kind is None:
                os.replace(self.temporary, self.path)
        finally:
            self.temporary.unlink(missing_ok=True)
            columns.unlink(missing_ok=True)


def _to_parquet(lines: Path, columns: Path) -> None:
    """Results as columns: every field that one of them has. In a stream, so that a large file fits."""
    import polars as pl

    if lines.stat().st_size:
        frame = pl.scan_ndjson(glob.escape(str(lines)), infer_schema_length=None)
    else:
        frame = pl.LazyFrame(schema={"id": pl.String, "task": pl.String})
    try:
        with open(columns, "wb") as file:
            frame.sink_parquet(file)
            file.flush()
            os.fsync(file.fileno())
    except pl.exceptions.PolarsError as error:  # which is how a full disk is told, too
        full = "os error 28" in str(error) or "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, f"the results cannot be written as Parquet ({error})", str(columns)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llmrec.generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the folder of a trained model")
    parser.add_argument("--prompt", help="words of your own, English or Chinese: answered by items of the catalogue")
    parser.add_argument("--task", help="the task of a single request, such as next_item or rating")
    parser.add_argument("--history", help="item ids the user has had, oldest first, separated by commas")
    parser.add_argument("--item-id", help="the item asked about (rating, click, purchase, explanation)")
    parser.add_argument("--candidates", help="item ids to rank, separated by commas (ranking)")
    parser.add_argument("--language", choices=["en", "zh"], help="language of the prompt's wording (default: that of --prompt)")
    parser.add_argument("--k", type=int, default=10, help="how many items (default 10)")
    parser.add_argument("--input", help="requests as JSON Lines or Parquet")
    parser.add_argument("--output", help="results as JSON Lines or Parquet (default: standard output)")
    parser.add_argument("--exact", action="store_true", help="score the whole catalogue instead of a beam")
    parser.add_argument("--beams", type=int, default=20, help="width of the beam, where an item's code has several tokens (default 20)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
