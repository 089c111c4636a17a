"""A builder of small logs for the tests of baselines."""

from collections.abc import Callable, Sequence

import polars as pl
import pytest

from llmrec.interactions import Catalog, Corpus, Interactions
from llmrec.timelines import Timelines


@pytest.fixture(scope="session")
def build() -> Callable[..., Timelines]:
    """rows: dicts with user_id, item_id and optionally part (train), event (rating where there is one, else view) and any other column; each user's in order of time. items: further catalogue rows."""

    def make(rows: Sequence[dict], items: Sequence[dict] = (), *, context: tuple[str, ...] = (), **corpus) -> Timelines:
        position: dict[str, int] = {}
        log = []
        for row in rows:
            position[row["user_id"]] = position.get(row["user_id"], -1) + 1
            log.append({"part": "train", "event": "rating" if row.get("rating") is not None else "view", "position": position[row["user_id"]], **row})
        floats = {"rating": pl.Float64} if any("rating" in row for row in rows) else {}
        frame = pl.DataFrame(log, infer_schema_length=None, schema_overrides=floats).sort("user_id", "position")
        known = {item["item_id"]: item for item in items}
        for row in rows:
            known.setdefault(row["item_id"], {"item_id": row["item_id"], "title": f"title {row['item_id']}"})
        catalog = pl.DataFrame([known[item_id] for item_id in sorted(known)], infer_schema_length=None)
        ordering = corpus.pop("ordering", "timestamp")
        positive = corpus.pop("positive", ())
        return Timelines.of(Corpus("small", Interactions(frame, ordering=ordering, context=context, positive=positive), Catalog(catalog), **corpus))

    return make
