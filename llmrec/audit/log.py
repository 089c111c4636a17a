"""The audit of a split log: what it gives away that a model must not know.

Separate from the splits, so that what divides the log and what checks the division share no code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import polars as pl

from llmrec.audit.finding import ERROR, WARNING, Audit, Finding
from llmrec.interactions import PARTS, TEST, TRAIN, Corpus

MIN_TIMELINE = 5  # shorter equal timelines happen by chance
MIN_REVIEW_CHARACTERS = 40  # shorter equal reviews ("Great product!") happen by chance
MIN_TITLE_CHARACTERS = 8  # shorter titles are words of the language
MIN_ITEMS = 10  # a figure that fits fewer items than these may fit them by chance
RATING_TOLERANCE = 0.051  # a mean rating rounded to one digit
MAX_RULE_USERS = 20_000
NUMBER_WORDS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}
SAID_RATING = rf"\b(\d+(?:\.\d+)?|{'|'.join(NUMBER_WORDS)})(?:[\s-]*stars?\b|\s*(?:/|out of)\s*(?:5|10|five|ten)\b)"


def audit_log(corpus: Corpus) -> Audit:
    """Looks for every leak of LOG_CHECKS in the split log of a corpus."""
    frame = corpus.interactions.frame
    checked = {"interactions": len(frame), "users": frame["user_id"].n_unique(), "items": len(corpus.catalog), **{part: int((frame["part"] == part).sum()) for part in PARTS}}
    findings = [finding for check in LOG_CHECKS for finding in [check(corpus)] if finding is not None]
    return Audit(tuple(findings), checked)


def part_order(corpus: Corpus) -> Finding | None:
    """Where the split respects time, no row of an earlier part stands behind one of a later part in a user's log."""
    if not _temporal(corpus):
        return None
    part = pl.col("part").replace_strict({part: place for place, part in enumerate(PARTS)}, return_dtype=pl.Int8)
    users = _users_where_next(corpus, part.alias("part"), lambda now, before: now < before)
    return Finding.of("part_order", ERROR, users, "users have a row of an earlier part behind one of a later part: their histories hold events from after the question")


def future_event(corpus: Corpus) -> Finding | None:
    """No row stands behind a later one in a user's log."""
    if corpus.interactions.ordering != "timestamp":
        return None
    users = _users_where_next(corpus, pl.col("timestamp"), lambda now, before: now < before)
    return Finding.of("future_event", ERROR, users, "users have rows that are not in the order of their times: their histories hold events from the future")


def event_in_two_parts(corpus: Corpus) -> Finding | None:
    """No event stands in two parts: same user, item, event and time, or in a set, same user, item and event. A sequence without times cannot tell a repeat from a copy."""
    ordering = corpus.interactions.ordering
    if ordering == "order":
        return None
    key = ["user_id", "item_id", "event", *(["timestamp"] if ordering == "timestamp" else [])]
    log = corpus.interactions.frame.lazy().filter(corpus.interactions.is_positive).select(*key, "part")
    held = log.filter(pl.col("part") != TRAIN).select(key).unique()
    copies = log.join(held, on=key, how="semi").group_by(key).agg(pl.col("part").n_unique()).filter(pl.col("part") > 1).select(pl.len()).collect().item()
    return Finding.of("event_in_two_parts", ERROR, copies, "events stand in two parts: what is tested was trained on")


def duplicate_users(corpus: Corpus) -> Finding | None:
    """No two users have the same timeline of at least MIN_TIMELINE rows."""
    moment = "timestamp" if corpus.interactions.ordering == "timestamp" else "position"
    # The sum of 64-bit hashes stands for a timeline; that two different ones of a million users agree has a chance of one in ten million.
    timelines = (
        corpus.interactions.frame.lazy().select("user_id", pl.struct("item_id", moment).hash(seed=0).reinterpret(signed=True).alias("row"))
        .group_by("user_id").agg(pl.len().alias("rows"), pl.col("row").sum().alias("timeline"))
    )
    copies = timelines.filter(pl.col("rows") >= MIN_TIMELINE).filter(pl.struct("rows", "timeline").is_duplicated()).select(pl.len()).collect().item()
    return Finding.of("duplicate_users", WARNING, copies, f"users share their whole timeline (of {MIN_TIMELINE} rows or more) with another user: what is tested on one was trained on the other")


def ids_in_file_order(corpus: Corpus) -> Finding | None:
    """The ids do not follow the order of first appearance, held-out items included.

    A rule with no model answers each user's first test event: the largest id of the history + 1, then the last id + 1, the one before it + 1 and so on (unseen items of the
    catalogue, 10 of them). It tells more than neighbourhood where it hits far more often than chance and than its mirror image (smallest id - 1, last id - 1, ...), as ids
    that follow popularity or genre serve both alike. Then ids must never be read as numbers; item codes here come from a seeded shuffle or from content.
    Source: S3-Rec and P5 files of Amazon Beauty, where the rule reaches hit@10 .055 and its mirror image .006.
    """
    if corpus.interactions.ordering == "none":
        return None
    numbers = corpus.catalog.frame.select("item_id", pl.col("item_id").str.extract_groups(r"^(?<prefix>\D*)(?<number>\d{1,15})$").alias("id")).unnest("id")
    if numbers["number"].null_count() or numbers["prefix"].n_unique() > 1:
        return None
    numbers = numbers.select("item_id", pl.col("number").cast(pl.Int64))
    hits, users = _rule_hits(corpus, numbers)
    mirrored, _ = _rule_hits(corpus, numbers.with_columns(-pl.col("number")))
    chance = min(1.0, 10 / max(1, len(numbers)))
    if hits <= max(3 * mirrored, 3 * chance * users + 5 * math.sqrt(users * chance * (1 - chance))):
        return None
    sentence = f"of {users} test events are hit by 'largest id + 1, then last id + 1' (hit@10 {hits / users:.4f}, chance {chance:.4f}): ids follow the order of the file, test included; codes here do not use them"
    return Finding("ids_in_file_order", WARNING, hits, f"{hits} {sentence}")


def catalogue_order(corpus: Corpus) -> Finding | None:
    """The catalogue's rows do not follow the first appearance of its items."""
    frame = corpus.interactions.frame
    moment = pl.col("timestamp") if corpus.interactions.ordering == "timestamp" else pl.int_range(pl.len())
    first = frame.lazy().select("item_id", moment.alias("moment")).group_by("item_id").agg(pl.col("moment").min())
    rows = corpus.catalog.frame.lazy().select("item_id").with_row_index("row").join(first, on="item_id")
    num, rho = rows.select(pl.len(), pl.corr("row", "moment", method="spearman")).collect().row(0)
    if num < 3 or rho is None or not math.isfinite(rho) or abs(rho) < 0.1 or abs(rho) * math.sqrt(num - 1) < 5:
        return None
    return Finding("catalogue_order", ERROR, num, f"{num} items stand in the catalogue in the order of their first appearance (rank correlation {rho:.2f}): a row number tells the time")


def future_metadata(corpus: Corpus) -> Finding | None:
    """No attribute of the items was made with held-out rows: it is no count of events or users and no mean rating of the whole log (where that differs from the
    one of train), and holds no held-out review of the item."""
    names = _figures_of_all(corpus) + _attributes_with_reviews(corpus)
    sentence = f"attributes of the catalogue ({', '.join(names)}) know held-out rows: they tell what was not yet known"
    return Finding.of("future_metadata", ERROR, len(names), sentence)


def copied_review(corpus: Corpus) -> Finding | None:
    """No held-out review is word for word one of train."""
    if not corpus.interactions.has("review"):
        return None
    reviews = corpus.interactions.frame.lazy().filter(pl.col("review").str.len_chars() >= MIN_REVIEW_CHARACTERS).select("review", "part")
    train = reviews.filter(pl.col("part") == TRAIN).select("review").unique()
    copies = reviews.filter(pl.col("part") != TRAIN).join(train, on="review", how="semi").select(pl.len()).collect().item()
    return Finding.of("copied_review", WARNING, copies, f"held-out reviews of {MIN_REVIEW_CHARACTERS} characters or more are word for word reviews of train")


def review_tells_rating(corpus: Corpus) -> Finding | None:
    """Held-out reviews that say their rating ("4 stars", "4/5", "four out of five"): the rating task must not show them."""
    if not (corpus.interactions.has("review") and corpus.interactions.has("rating")):
        return None
    said = pl.col("review").str.to_lowercase().str.extract(SAID_RATING).replace(NUMBER_WORDS)
    return _rate(corpus, "review_tells_rating", said.cast(pl.Float64, strict=False) == pl.col("rating"), "say their own rating")


def said_rating(text: str) -> float | None:
    """The rating a text says in words, by the rule of review_tells_rating; None where it says none.

    >>> said_rating("A four-star read"), said_rating("4.5/5"), said_rating("15 strings")
    (4.0, 4.5, None)
    """
    said = re.search(SAID_RATING, text.lower())
    return float(NUMBER_WORDS.get(said[1], said[1])) if said else None


def review_tells_title(corpus: Corpus) -> Finding | None:
    """Held-out reviews that hold their item's title: a question that shows them gives its item away."""
    if not corpus.interactions.has("review"):
        return None
    title = pl.col("title").str.to_lowercase()
    told = (title.str.len_chars() >= MIN_TITLE_CHARACTERS) & pl.col("review").str.to_lowercase().str.contains(title, literal=True)
    return _rate(corpus, "review_tells_title", told, "hold the title of their own item")


LOG_CHECKS: tuple[Callable[[Corpus], Finding | None], ...] = (
    part_order, future_event, event_in_two_parts, duplicate_users, ids_in_file_order, catalogue_order, future_metadata, copied_review, review_tells_rating, review_tells_title,
)


def _temporal(corpus: Corpus) -> bool:
    return bool(corpus.split.get("temporal", True)) and corpus.interactions.ordering != "none"


def _users_where_next(corpus: Corpus, value: pl.Expr, is_wrong: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> int:
    """How many users have two rows in a row whose values are wrong; rows are taken by position."""
    frame = corpus.interactions.frame.lazy().select("user_id", "position", value)
    name = value.meta.output_name()
    ordered = frame if _is_sorted(corpus) else frame.sort("user_id", "position")
    wrong = (pl.col("user_id") == pl.col("user_id").shift()) & is_wrong(pl.col(name), pl.col(name).shift())
    return ordered.filter(wrong).select(pl.col("user_id").n_unique()).collect().item()


def _is_sorted(corpus: Corpus) -> bool:
    """Whether the rows stand as Interactions promises; sorting twenty million of them again would take more memory than all checks together."""
    user, before = pl.col("user_id"), pl.col("user_id").shift()
    ascending = (user > before) | ((user == before) & (pl.col("position") > pl.col("position").shift()))
    return corpus.interactions.frame.lazy().select(ascending.fill_null(True).all()).collect().item()


def _rule_hits(corpus: Corpus, numbers: pl.DataFrame) -> tuple[int, int]:
    """(hits of the rule, users asked); numbers: item_id and the number its id is."""
    stream = corpus.interactions.frame.lazy().filter(corpus.interactions.is_positive).select("user_id", "item_id", "position", "part")
    targets = stream.filter(pl.col("part") == TEST).group_by("user_id").agg(pl.all().sort_by("position").first()).sort("user_id").collect()
    if len(targets) > MAX_RULE_USERS:
        targets = targets[np.linspace(0, len(targets) - 1, MAX_RULE_USERS).astype(np.int64)]
    targets = targets.join(numbers, on="item_id").select("user_id", pl.col("position").alias("asked"), pl.col("number").alias("target"))
    history = (
        stream.join(targets.lazy().select("user_id", "asked"), on="user_id").filter(pl.col("position") < pl.col("asked"))
        .join(numbers.lazy(), on="item_id").select("user_id", "position", "number").collect()
    )
    largest = history.group_by("user_id").agg(pl.col("number").max()).with_columns(place=pl.lit(-1, dtype=pl.Int64))
    newest_first = history.select("user_id", "number", place=-pl.col("position") + pl.col("position").max())
    guesses = (
        pl.concat([largest.select("user_id", "number", "place"), newest_first]).with_columns(pl.col("number") + 1)
        .join(history, on=["user_id", "number"], how="anti").join(numbers, on="number", how="semi")
        .sort("user_id", "place").unique(["user_id", "number"], keep="first", maintain_order=True)
        .filter(pl.int_range(pl.len()).over("user_id") < 10)
    )
    hits = guesses.join(targets, left_on=["user_id", "number"], right_on=["user_id", "target"], how="semi")
    return len(hits), len(targets)


def _figures_of_all(corpus: Corpus) -> list[str]:
    """The numeric attributes that equal a figure of all rows for most of the items where it is not that of train."""
    log, values = corpus.interactions.frame.lazy(), corpus.catalog.attribute_values
    number = pl.col("value").cast(pl.Float64, strict=False)
    figures = {"rows": pl.len().cast(pl.Float64), "events": corpus.interactions.is_positive.sum().cast(pl.Float64), "users": pl.col("user_id").n_unique().cast(pl.Float64)}
    if corpus.interactions.has("rating"):
        figures["rating"] = pl.col("rating").mean()
    attributes = {name: [row[0] if len(row) == 1 else None for row in rows] for name, rows in values.items()}
    numeric = {
        name: pl.DataFrame({"item_id": corpus.catalog.item_ids, "value": rows}, schema={"item_id": pl.String, "value": pl.String}).with_columns(number).drop_nulls()
        for name, rows in attributes.items()
    }
    if not any(len(frame) >= MIN_ITEMS for frame in numeric.values()):
        return []
    known, everything = (frame.group_by("item_id").agg(**figures).collect() for frame in (log.filter(pl.col("part") == TRAIN), log))
    both = everything.join(known, on="item_id", how="left", suffix="_known")
    found = []
    for name, frame in numeric.items():
        for figure in figures:
            near = RATING_TOLERANCE if figure == "rating" else 0.0
            told = both.join(frame, on="item_id").with_columns(known=pl.col(f"{figure}_known").fill_null(0.0))
            told = told.filter((pl.col(figure) - pl.col("known")).abs() > 2 * near)
            if len(told) >= MIN_ITEMS and ((told["value"] - told[figure]).abs() <= near).mean() > 0.5:
                found.append(f"{name}: {figure}")
    return found


def _attributes_with_reviews(corpus: Corpus) -> list[str]:
    if not corpus.interactions.has("review"):
        return []
    held = corpus.interactions.frame.lazy().filter((pl.col("part") != TRAIN) & (pl.col("review").str.len_chars() >= MIN_REVIEW_CHARACTERS)).select("item_id", "review")
    found = []
    for name in corpus.catalog.attributes:
        texts = corpus.catalog.frame.lazy().select("item_id", text=pl.col(name).list.join("\n")).filter(pl.col("text").str.len_chars() >= MIN_REVIEW_CHARACTERS)
        if held.join(texts, on="item_id").filter(pl.col("text").str.contains(pl.col("review"), literal=True)).select(pl.len()).collect().item():
            found.append(f"{name}: reviews")
    return found


def _rate(corpus: Corpus, kind: str, told: pl.Expr, does: str) -> Finding | None:
    held = corpus.interactions.frame.lazy().filter((pl.col("part") != TRAIN) & pl.col("review").is_not_null())
    count, num = held.join(corpus.catalog.frame.lazy().select("item_id", "title"), on="item_id").select(told.sum(), pl.len()).collect().row(0)
    return Finding(kind, WARNING, count, f"{count} of {num} held-out reviews ({count / num:.1%}) {does}") if count else None
