"""Repeats the item figures of a saved file of predictions with an implementation that is not ours (ir-measures, around trec_eval):

    python -m eval.recheck runs/beauty/report/predictions/next_item.base.parquet
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.recheck", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path, help="a Parquet file that eval.run wrote for an item task")
    parser.add_argument("--seen", choices=["out", "in"], default="out", help="whether items of the history are left out (default) or kept")
    options = parser.parse_args(argv)

    # After the arguments are read: --help must answer at once.
    import polars as pl

    try:
        import ir_measures
    except ImportError:
        print("eval.recheck needs ir-measures: pip install 'llmrec[test]'", file=sys.stderr)
        return 2

    frame = pl.read_parquet(options.predictions)
    if "items" not in frame.columns:
        print(f"{options.predictions} holds no lists of items; it has {frame.columns}", file=sys.stderr)
        return 3
    wanted, run = [], []
    for row in frame.iter_rows(named=True):
        wanted.append(ir_measures.Qrel(row["id"], row["target"], 1))
        left_out = set(row["seen"] or ()) if options.seen == "out" and "seen" in frame.columns else set()
        kept = [item for item in row["items"] or () if item not in left_out]
        # trec_eval breaks ties by name: a strictly falling score keeps the order of the file.
        run += [ir_measures.ScoredDoc(row["id"], item, float(-place)) for place, item in enumerate(kept[:100])]
    assert len({qrel.query_id for qrel in wanted}) == len(frame), "a question stands twice"
    measures = [ir_measures.parse_measure(name) for name in ("nDCG@10", "R@10", "RR@10", "Success@1")]
    found = ir_measures.calc_aggregate(measures, wanted, run)
    print(json.dumps({"n": len(frame), **{str(measure): round(value, 6) for measure, value in sorted(found.items(), key=lambda pair: str(pair[0]))}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
