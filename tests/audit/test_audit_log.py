"""Each planted leak is found and named, and a clean log raises no alarm."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from llmrec.audit.log import LOG_CHECKS, audit_log
from llmrec.interactions import PARTS, Catalog, Corpus, Interactions

USERS, EVENTS, ITEMS = 60, 8, 100
LONG = "I played it in the rain for a whole winter and it never went out of tune."


def clean_corpus(*, ordering="timestamp", seed=0):
    """60 users with 8 events each, items drawn at random; the last is test, the one before valid."""
    rng = np.random.default_rng(seed)
    rows = USERS * EVENTS
    frame = pl.DataFrame({
        "user_id": np.repeat([f"u{n:02}" for n in range(USERS)], EVENTS),
        "item_id": np.concatenate([rng.choice(ITEMS, EVENTS, replace=False) for _ in range(USERS)]).astype(str),
        "position": np.tile(np.arange(EVENTS), USERS),
        "event": ["rating"] * rows,
        "part": (["train"] * (EVENTS - 2) + ["valid", "test"]) * USERS,
        "timestamp": (1e9 + np.sort(rng.integers(0, 10**6, (USERS, EVENTS)), axis=1)).ravel().astype(float),
        "rating": rng.integers(1, 6, rows).astype(float),
        "review": [f"Review number {n} of the guitar case, written with care." for n in range(rows)],
    })
    if ordering != "timestamp":
        frame = frame.drop("timestamp")
    items = rng.permutation(ITEMS).astype(str)
    catalog = Catalog(pl.DataFrame({"item_id": items, "title": [f"Wonderful thing {item}x" for item in items]}))
    return Corpus("clean", Interactions(frame, ordering), catalog, split={"rule": "leave_one_out", "temporal": ordering != "none"})


def changed(corpus, frame):
    return replace(corpus, interactions=replace(corpus.interactions, frame=frame))


def kinds(corpus):
    return {finding.kind: finding for finding in audit_log(corpus).findings}


@pytest.mark.parametrize("ordering", ["timestamp", "order", "none"])
@pytest.mark.parametrize("seed", range(5))
def test_a_clean_log_raises_no_alarm(ordering, seed):
    audit = audit_log(clean_corpus(ordering=ordering, seed=seed))
    assert audit.findings == ()
    assert audit.ok
    assert audit.checked == {"interactions": 480, "users": 60, "items": 100, "train": 360, "valid": 60, "test": 60}


def test_a_train_row_behind_a_test_row():
    corpus = clean_corpus()
    last = pl.col("position") == EVENTS - 1
    frame = corpus.interactions.frame.with_columns(part=pl.when(last & pl.col("user_id").is_in(["u03", "u04"])).then(pl.lit("train")).otherwise("part"))
    finding = kinds(changed(corpus, frame))["part_order"]
    assert (finding.severity, finding.count) == ("error", 2)
    assert not audit_log(changed(corpus, frame)).ok
    # Parts drawn at random may stand in any order.
    assert "part_order" not in kinds(replace(changed(corpus, frame), split={"rule": "given", "temporal": False}))


def test_an_event_from_the_future_in_a_history():
    corpus = clean_corpus()
    frame = corpus.interactions.frame.with_columns(timestamp=pl.when((pl.col("user_id") == "u05") & (pl.col("position") == 2)).then(2e9).otherwise("timestamp"))
    assert kinds(changed(corpus, frame))["future_event"].count == 1
    assert kinds(changed(corpus, frame.sample(fraction=1.0, shuffle=True, seed=0)))["future_event"].count == 1


def test_one_event_in_two_parts():
    corpus = clean_corpus()
    frame = corpus.interactions.frame
    copies = frame.filter((pl.col("position") == EVENTS - 1) & (pl.col("user_id") < "u10")).with_columns(part=pl.lit("train"))
    assert kinds(changed(corpus, pl.concat([frame, copies])))["event_in_two_parts"].count == 10
    later = copies.with_columns(pl.col("timestamp") + 1.0)
    assert "event_in_two_parts" not in kinds(changed(corpus, pl.concat([frame, later])))


def test_one_item_of_a_set_in_two_parts():
    corpus = clean_corpus(ordering="none")
    frame = corpus.interactions.frame
    copies = frame.filter((pl.col("position") == EVENTS - 1) & (pl.col("user_id") == "u07")).with_columns(part=pl.lit("train"))
    assert kinds(changed(corpus, pl.concat([frame, copies])))["event_in_two_parts"].count == 1


def test_one_user_under_two_names():
    corpus = clean_corpus()
    frame = corpus.interactions.frame
    twin = frame.filter(pl.col("user_id") == "u09").with_columns(user_id=pl.lit("v"))
    finding = kinds(changed(corpus, pl.concat([frame, twin])))["duplicate_users"]
    assert (finding.severity, finding.count) == ("warning", 2)


def relabelled(corpus, ids):
    """The corpus with its item ids replaced: item n becomes ids[n]."""
    names = {str(number): item_id for number, item_id in enumerate(ids)}
    rename = pl.col("item_id").replace_strict(names)
    return replace(changed(corpus, corpus.interactions.frame.with_columns(rename)), catalog=Catalog(corpus.catalog.frame.with_columns(rename)))


@pytest.mark.parametrize("spelling", ["{}", "item_{}"])
def test_ids_in_the_order_of_the_file(spelling):
    # 500 items of 60 users, numbered as they appear: most test items are new, and are the largest number so far + 1.
    corpus = clean_corpus()
    rng = np.random.default_rng(1)
    drawn = np.concatenate([rng.choice(1000, EVENTS, replace=False) for _ in range(USERS)])
    first_seen = {item: number for number, item in enumerate(dict.fromkeys(drawn.tolist()))}
    ids = [spelling.format(first_seen[item]) for item in drawn.tolist()]
    frame = corpus.interactions.frame.with_columns(pl.Series("item_id", ids))
    catalogue = Catalog(pl.DataFrame({"item_id": rng.permutation(sorted(set(ids))), "title": ["t"] * len(first_seen)}))
    finding = kinds(replace(changed(corpus, frame), catalog=catalogue))["ids_in_file_order"]
    assert finding.severity == "warning"
    assert finding.count > USERS / 4
    shuffled = dict(zip(sorted(set(ids)), rng.permutation(sorted(set(ids))).tolist()))
    assert "ids_in_file_order" not in kinds(replace(changed(corpus, frame.with_columns(pl.col("item_id").replace_strict(shuffled))), catalog=catalogue))


def test_ids_that_are_no_numbers_are_no_order():
    corpus = relabelled(clean_corpus(), [f"{number}-x" for number in range(ITEMS)])
    assert audit_log(corpus).findings == ()


def test_a_catalogue_in_the_order_of_first_appearance():
    corpus = clean_corpus()
    first = corpus.interactions.frame.sort("timestamp").unique("item_id", keep="first", maintain_order=True)["item_id"]
    rest = [item for item in corpus.catalog.item_ids if item not in set(first)]
    catalog = Catalog(pl.DataFrame({"item_id": [*first, *rest]}).join(corpus.catalog.frame, on="item_id", how="left", maintain_order="left"))
    assert kinds(replace(corpus, catalog=catalog))["catalogue_order"].severity == "error"


def with_attribute(corpus, values):
    """values: item_id -> one word."""
    told = pl.Series([[values[item_id]] if item_id in values else [] for item_id in corpus.catalog.item_ids], dtype=pl.List(pl.String))
    return replace(corpus, catalog=Catalog(corpus.catalog.frame.with_columns(told=told)))


@pytest.mark.parametrize("figure", [pl.len(), pl.col("user_id").n_unique(), pl.col("rating").mean().round(2), pl.col("rating").mean().round(1)])
def test_an_attribute_counted_on_the_whole_log(figure):
    corpus = clean_corpus()
    frame = corpus.interactions.frame
    for rows, kind in ((frame, {"future_metadata"}), (frame.filter(pl.col("part") == "train"), set())):
        values = {item_id: str(value) for item_id, value in rows.group_by("item_id").agg(value=figure).rows()}
        found = kinds(with_attribute(corpus, values))
        assert set(found) == kind
        assert all(finding.severity == "error" and "told" in finding.sentence for finding in found.values())


def test_a_number_that_is_no_figure_of_the_log():
    corpus = clean_corpus()
    assert audit_log(with_attribute(corpus, {item_id: str(1990 + int(item_id) % 20) for item_id in corpus.catalog.item_ids})).findings == ()


def test_a_description_that_quotes_reviews():
    corpus = clean_corpus()
    frame = corpus.interactions.frame
    for part, kind in (("test", {"future_metadata"}), ("train", set())):
        quoted = frame.filter(pl.col("part") == part).unique("item_id", keep="first", maintain_order=True)
        values = {item_id: f"Customers say: {review} And more." for item_id, review in quoted.select("item_id", "review").rows()}
        assert set(kinds(with_attribute(corpus, values))) == kind


def test_reviews_that_give_the_answer_away():
    corpus = clean_corpus()
    held = pl.col("part") == "test"
    frame = corpus.interactions.frame.join(corpus.catalog.frame, on="item_id", maintain_order="left")
    texts = {
        "copied_review": pl.lit(LONG),
        "review_tells_rating": pl.format("Fine. {} stars from me", pl.col("rating").cast(pl.Int64)),
        "review_tells_title": pl.format("the {} is all I wanted", pl.col("title").str.to_uppercase()),
    }
    for kind, text in texts.items():
        planted = frame.with_columns(review=pl.when(held | (pl.lit(kind == "copied_review") & (pl.col("position") == 0))).then(text).otherwise("review")).drop("title")
        found = kinds(changed(corpus, planted))
        assert {name: (finding.severity, finding.count) for name, finding in found.items()} == {kind: ("warning", USERS)}, kind
    wrong = frame.with_columns(review=pl.when(held).then(pl.format("{} out of 5", pl.lit(7))).otherwise("review")).drop("title")
    assert audit_log(changed(corpus, wrong)).findings == ()


@pytest.mark.parametrize(("text", "told"), [("5 stars!", True), ("five-star", True), ("5/5", True), ("five out of five", True), ("4.0 stars", False), ("15 stars", False), ("five strings", False)])
def test_ways_to_say_a_rating(text, told):
    corpus = clean_corpus()
    frame = corpus.interactions.frame.with_columns(rating=pl.lit(5.0), review=pl.lit("x " + text))
    assert ("review_tells_rating" in kinds(changed(corpus, frame))) == told


def test_the_hash_tells_results_apart():
    corpus = clean_corpus()
    frame = corpus.interactions.frame
    same = audit_log(clean_corpus())
    assert audit_log(corpus).hash == same.hash
    assert len(same.hash) == 16
    assert audit_log(changed(corpus, frame.head(479))).hash != same.hash
    assert same.to_json() == {"ok": True, "hash": same.hash, "checked": dict(same.checked), "findings": []}


def test_every_check_has_a_planted_leak():
    assert [check.__name__ for check in LOG_CHECKS] == [
        "part_order", "future_event", "event_in_two_parts", "duplicate_users", "ids_in_file_order", "catalogue_order", "future_metadata", "copied_review", "review_tells_rating", "review_tells_title",
    ]
    assert set(PARTS) == {"train", "valid", "test"}
