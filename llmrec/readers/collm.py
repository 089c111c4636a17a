"""The click data of CoLLM on ML-1M: like or dislike of a movie, split by time.

Separate because every row is a question with its own history, which we rebuild from the rows instead of reading it:

    train_ood2.parquet, valid_ood2.parquet, test_ood2.parquet      uid, iid, label, timestamp, title (his, his_title, flag, not_cold)
    valid_small_ood2.parquet                                        half of the valid rows, shuffled; the option valid=small

One row is one event, "like" or "dislike", and one click question. Likes make the stream; with history=all dislikes do, too, each event with a rating of 1 or 0.
How the given histories relate (checked on all 51,623 rows): `his`, less the padding 0 it starts with, is exactly the user's earlier likes in all three files,
train before valid before test, in file order, which is by time within a user. So a valid row's history holds train likes and earlier valid likes, and a test
row's also earlier test likes; dislikes never count. A stream that a question sees up to its own place is the same history. The parts do not overlap in time.

Source: Y. Zhang et al., CoLLM, TKDE 2025; https://github.com/zyang1580/CoLLM, collm-datasets/ml-1m.zip (the pickles saved again as Parquet), from MovieLens 1M.
Licence: code BSD-3-Clause; ratings GroupLens: research use, no redistribution without permission, no commercial use.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from llmrec.interactions import TEST, TRAIN, VALID
from llmrec.readers.files import need_file, scan_table
from llmrec.readers.raw import RawLog

VALID_ROWS = ("full", "small")
HISTORIES = ("likes", "all")
OPTIONS = {
    "valid": "which valid rows are click questions: full (default) or small, the half that CoLLM's own training looks at; the others stay as events",
    "history": "what a history holds: likes (default), as the files' own do, or all: dislikes as well, with ratings of 1 and 0",
}
COLUMNS = {"uid": "user_id", "iid": "item_id", "timestamp": "timestamp", "title": "title", "label": "click"}


def read(path: Path, *, valid: str = "full", history: str = "likes") -> RawLog:
    """Likes and dislikes with their click questions; `click` is the label (0 or 1), with valid=small null on valid rows that are not asked.

    Raises:
        FileNotFoundError: a part's file is missing.
        ValueError: `valid` is neither full nor small, or `history` neither likes nor all.
    """
    folder = Path(path)
    for name, value, known in (("valid", valid, VALID_ROWS), ("history", history, HISTORIES)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    rows = {part: _rows(folder, part) for part in (TRAIN, VALID, TEST)}
    if valid == "small":
        asked = _rows(folder, "valid_small").select("user_id", "item_id", asked=pl.lit(True))
        marked = rows[VALID].join(asked, on=["user_id", "item_id"], how="left", maintain_order="left")
        rows[VALID] = marked.with_columns(click=pl.when("asked").then("click")).drop("asked")
    log = pl.concat([frame.with_columns(part=pl.lit(part)) for part, frame in rows.items()])
    items = log.select("item_id", "title").unique("item_id", keep="first", maintain_order=True)
    if history == "all":
        log = log.with_columns(rating=(pl.col("event") == "like").cast(pl.Float64))
    positive, scale = (("like", "dislike"), (0.0, 1.0)) if history == "all" else (("like",), ())
    notes = {"valid": valid, "history": history, "licence": "GroupLens: research use, no redistribution without permission, no commercial use"}
    return RawLog("collm-ml1m", log.drop("title"), items, positive=positive, rating_scale=scale, notes=notes)


def _rows(folder: Path, name: str) -> pl.LazyFrame:
    rows = scan_table(need_file(folder, f"{name}_ood2.parquet"), COLUMNS).with_columns(pl.col("user_id", "item_id").cast(pl.String))
    return rows.with_columns(event=pl.when(pl.col("click") == 1).then(pl.lit("like")).otherwise(pl.lit("dislike")))
