"""Makes a corpus from raw files, or a recommender from a pretrained model without training.

    python -m llmrec.prepare table --interactions ratings.csv --items movies.csv --out corpora/mine
    python -m llmrec.prepare movielens --path ml-100k --split given --fold u1 --out corpora/ml-100k-u1
    python -m llmrec.prepare model --base ORG/NAME@COMMIT --corpus corpora/mine --out runs/untrained

Talk goes to standard error, the report as one JSON object to standard output. Exit status: 0 done, 2 usage (a folder that exists, a file that is missing), 3 bad data, 5 disk, 6 memory, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from llmrec.exits import DATA, DISK, INTERRUPTED, MEMORY, USAGE, disk_failed, refuse_other_encodings

SEED = "seed"


def main(arguments: Sequence[str] | None = None) -> int:
    # polars is imported here, and torch only where `model` needs it, so that --help answers at once.
    from polars.exceptions import PolarsError

    from llmrec.audit.finding import ERROR
    from llmrec.audit.log import audit_log
    from llmrec.interactions import write_manifest
    from llmrec.publishing import publish
    from llmrec.readers import LAYOUTS, OPTIONS, READERS, download, table
    from llmrec.readers.ingest import IngestSettings, assemble, clean
    from llmrec.readers.notices import notices, told
    from llmrec.readers.rows import UNITS
    from llmrec.splits import SPLITS, SplitSettings, split_files

    options = _parser(OPTIONS, LAYOUTS, splits=tuple(SPLITS), units=tuple(UNITS)).parse_args(arguments)
    refuse_other_encodings()
    try:
        if options.source == "model":
            from llmrec.recommender import prepare_model

            prepare_model(options.base, options.corpus, options.out, options.overwrite)
            return _report({"model": str(options.out), "base": options.base, "corpus": str(options.corpus)})

        seed = options.seed or 0
        split = SplitSettings(options.split, seed, options.valid_fraction, options.test_fraction)
        settings = IngestSettings(
            positive=options.positive, auxiliary=options.auxiliary, rating_scale=options.rating_scale, like_threshold=options.like, time_unit=options.time_unit, shuffle_ties=options.shuffle_ties,
            merge_repeats=options.merge_repeats, keep_parts=options.split == "given", max_bad_fraction=options.max_bad, redact=options.redact, seed=seed,
        )
        # Rows wait beside the corpus they become: where there is room for them, and nowhere else where a killed process would leave people's rows.
        with publish(options.out, overwrite=options.overwrite) as folder, tempfile.TemporaryDirectory(prefix=".work-", dir=folder) as spool:
            if options.source == "table":
                raw = table.read(options.interactions, options.items, columns=dict(options.map), order=options.order, context=options.context, spool=Path(spool))
            else:
                path = download.fetch(options.download, options.path, allow_unverified=options.allow_unverified) if options.download else options.path
                raw = READERS[options.source](path, **_reader_options(options, OPTIONS[options.source]))
            with tempfile.TemporaryDirectory(prefix=".work-", dir=folder) as work:
                cleaned = clean(raw, Path(work), settings)
                _say(_told_rows(cleaned.report))
                parts = split_files(cleaned.files, split, ordering=cleaned.ordering, positive=cleaned.is_positive, shown=cleaned.is_shown, temporal=raw.temporal)
                corpus = assemble(cleaned, folder, split=parts)
            audit = audit_log(corpus)
            if not audit.ok:
                raise ValueError(f"{corpus.name} leaks: {'; '.join(finding.sentence for finding in audit.findings if finding.severity == ERROR)}. Mend the parts, or let a rule draw them, such as --split leave_one_out")
            found = notices(corpus)
            write_manifest(folder, replace(corpus, report={**corpus.report, **({"notices": found} if found else {}), "audit": audit.to_json()}))
        manifest = json.loads((options.out / "manifest.json").read_text(encoding="utf-8"))
        _say("\n".join([*_told_corpus(manifest), *told(manifest["report"].get("notices", {}))]))
        return _report({"corpus": str(options.out), **{name: manifest[name] for name in REPORTED}})
    except PolarsError as error:
        return _fail(f"the data cannot be read: {str(error).splitlines()[0]}", DATA)
    except (ValueError, KeyError) as error:
        # str of a KeyError quotes its message; its argument is the sentence itself.
        return _fail(str(error.args[0] if error.args else error), DATA)
    except OSError as error:
        return _fail(str(error), DISK if disk_failed(error) else USAGE)
    except MemoryError:
        return _fail("out of memory; nothing was left behind. Prepare a part of the rows, or use a machine with more", MEMORY)
    except KeyboardInterrupt:
        return _fail("stopped; nothing was left behind", INTERRUPTED)


MENDED = {"blank_lines": "blank lines left out", "crlf_lines": "lines ended in CR LF where others end in LF"}
REPORTED = ("name", "counts", "time_range", "ordering", "positive", "auxiliary", "context", "rating_scale", "like_threshold", "split", "report", "data_hash")


def _parser(readers: Mapping[str, Mapping[str, str]], layouts: Mapping[str, str], *, splits: Sequence[str], units: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llmrec.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    own = sources.add_parser("table", help="your own CSV, TSV, JSON Lines or Parquet", allow_abbrev=False)
    own.add_argument("--interactions", required=True, type=Path, help="file with user_id, item_id and optionally timestamp, event, rating, review, summary, query, scenario, person, click, purchase, part")
    own.add_argument("--items", type=Path, help="file with item_id, title and attribute columns (lists split at '|'); without it the catalogue is the items of the interactions")
    own.add_argument("--map", type=_mapping, action="append", default=[], metavar="NAME=COLUMN", help="the file's own name of a column, such as user_id=UserID (repeatable)")
    own.add_argument("--order", metavar="COLUMN", help="column with numbers to sort a user's rows by, where there are no times (or they are equal)")
    own.add_argument("--context", type=_words, default=(), metavar="A,B", help="further columns to keep, such as hour,device")
    _common(own, splits, units)
    for name, described in readers.items():
        public = sources.add_parser(name, help=f"the public layout {name}", description=layouts[name], formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
        public.add_argument("--path", required=True, type=Path, metavar="DIR", help="folder with the data set's own files")
        public.add_argument("--download", metavar="SET", help="download this set into a folder of its name under DIR first, such as ml-100k, and read it from there")
        public.add_argument("--allow-unverified", action="store_true", help="download also what has no published checksum")
        for option, sentence in described.items():
            if option == SEED:
                continue  # one --seed serves the reader and what follows it
            public.add_argument(f"--{option.replace('_', '-')}", dest=f"reader_{option}", metavar=option.upper(), help=sentence.replace("%", "%%"))
        _common(public, splits, units)
    model = sources.add_parser("model", help="a recommender from a pretrained model and a corpus, without training", allow_abbrev=False)
    model.add_argument("--base", required=True, help="a causal language model: a folder, or a hub's ORG/NAME@COMMIT")
    model.add_argument("--corpus", required=True, type=Path, help="a prepared corpus")
    _output(model)
    return parser


def _common(parser: argparse.ArgumentParser, splits: Sequence[str], units: Sequence[str]) -> None:
    _output(parser)
    parser.add_argument("--split", choices=splits, default="leave_one_out", help="what is held out (default leave_one_out; none trains on everything)")
    parser.add_argument("--valid-fraction", type=_fraction, default=0.1, help="part of the rows that by_time takes for valid (default 0.1)")
    parser.add_argument("--test-fraction", type=_fraction, default=0.1, help="part of the rows that by_time takes for test (default 0.1)")
    parser.add_argument(f"--{SEED}", type=int, help="shuffles the catalogue and draws whatever is drawn (default 0)")
    parser.add_argument("--positive", type=_events, default=(), metavar="A,B", help="events that make a user's stream (default: all but impression)")
    parser.add_argument("--auxiliary", type=_events, default=(), metavar="A,B", help="events that stand in a user's stream, too, but are never asked about, such as cart beside --positive purchase")
    parser.add_argument("--rating-scale", type=_numbers, default=(), metavar="1,2,3", help="the scale of the ratings (default: the distinct train values if at most 21, else quantile bins)")
    parser.add_argument("--like", type=float, metavar="RATING", help="a rating from which on counts as a click: asks clicks where there are only ratings")
    parser.add_argument("--time-unit", choices=units, default="s", help="what times given as numbers count (default s: seconds since 1970)")
    parser.add_argument("--shuffle-ties", type=int, metavar="SEED", help="put a user's rows of one time in a random order (default: the order of the file)")
    parser.add_argument("--merge-repeats", action="store_true", help="merge exact repeats also where there are no times (with times they always are)")
    parser.add_argument("--redact", action="store_true", help="take mail addresses, phone numbers that begin with + and card numbers out of titles, attributes, reviews, summaries and queries; ids stay as they are")
    parser.add_argument("--max-bad", type=_share, default=0.001, metavar="FRACTION", help="part of the rows that may be quarantined before the log is refused (default 0.001)")


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it was made here")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _events(text: str) -> tuple[str, ...]:
    return _words(text.lower())


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in _words(text))


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1; 0.01 allows one row in a hundred")
    return value


def _mapping(text: str) -> tuple[str, str]:
    name, mark, column = text.partition("=")
    if not (name and mark and column):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COLUMN, such as user_id=UserID")
    return name, column


def _reader_options(options: argparse.Namespace, described: Mapping[str, str]) -> dict[str, str]:
    values = {**{name: getattr(options, f"reader_{name}", None) for name in described}, **({SEED: options.seed} if SEED in described else {})}
    return {name: str(value) for name, value in values.items() if value is not None}


def _told_rows(report: Mapping[str, object]) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in report["reasons"].items())
    mended = "".join(f"; {count} {MENDED[name]}" for name, count in report.get("source", {}).get("mended", {}).items())
    return f"rows read {report['rows_read']} = kept {report['kept']} + merged {report['merged']} + quarantined {report['quarantined']}{f' ({reasons}; see rejects.jsonl)' if reasons else ''}{mended}"


def _told_corpus(manifest: Mapping[str, object]) -> list[str]:
    counts, report, audit = manifest["counts"], manifest["report"], manifest["report"]["audit"]
    lines = [
        f"users {counts['users']}, items {counts['items']} ({counts['items_with_events']} with events), events: {', '.join(f'{event} {count}' for event, count in report['events'].items())}",
        f"split {manifest['split']['rule']}: train {counts['train']}, valid {counts['valid']}, test {counts['test']}",
    ]
    if manifest["time_range"]:
        lines.append("times from {} to {}".format(*(datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S") for moment in manifest["time_range"])))
    if manifest["rating_scale"]:
        binned = " (means of quantile bins, which the ratings were replaced by)" if "rating_bins" in report else ""
        lines.append(f"rating scale {', '.join(f'{value:g}' for value in manifest['rating_scale'])}{binned}")
    if report["untitled_items"]:
        lines.append(f"{report['untitled_items']} items have no title and are called 'untitled'")
    if "redacted" in report:
        lines.append(f"{report['redacted']} texts held mail addresses, phone or card numbers, which were taken out")
    lines += [f"audit, {finding['severity']}: {finding['sentence']}" for finding in audit["findings"]] or ["audit: nothing found"]
    return lines


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _report(record: Mapping[str, object]) -> int:
    print(json.dumps(record, ensure_ascii=False))
    return 0


def _fail(message: str, code: int) -> int:
    _say("error: " + " ".join(message.split("\n")))
    return code


if __name__ == "__main__":
    sys.exit(main())
