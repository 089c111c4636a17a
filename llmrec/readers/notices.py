"""What somebody should know of a log's ids and texts before trusting them: nothing here is refused or changed, only counted.

Separate from `rows`, which decides what may stay: an id that looks like another is an id of its own, and a mail address in a review is text like any other.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from llmrec.interactions import TRAIN, Corpus
from llmrec.readers.personal import addresses, personal
from llmrec.vocabulary import MAX_CHARACTERS

EXAMPLES = 5
_HIDDEN = r"[\p{Cf}--\x{200D}]"  # what prompts leave out; joined emoji keep their joiner


def notices(corpus: Corpus) -> dict[str, object]:
    """Only what there is: `ids_alike`, for users and items the number of ids that are equal to another but for case, Unicode form or spaces around, and some of them (sets of ids); `hidden_characters`, titles with
    characters that change how text is shown and cannot be seen; `long_titles`, those of more than MAX_CHARACTERS; `personal_ids` and `personal_texts`, ids and texts with a mail address, a phone number after +, or (texts alone) a card number; `one_answer`, columns of answers that are all equal; `single_events`, users whose only event is in train.
    """
    frame = corpus.interactions.frame
    users, items = frame["user_id"].unique(), pl.Series("item_id", list(corpus.catalog.item_ids), dtype=pl.String)
    titles = pl.Series("title", list(corpus.catalog.titles), dtype=pl.String)
    attributes = [pl.Series([value for values in rows for value in values], dtype=pl.String) for rows in corpus.catalog.attribute_values.values()]
    texts = [titles, *attributes, *(frame[name] for name in ("review", "summary", "query") if name in frame.columns)]
    alike = {name: found for name, ids in (("user_id", users), ("item_id", items)) if (found := _alike(ids))}
    answers = {name: frame[name].drop_nulls().unique().to_list() for name in ("rating", "click", "purchase") if name in frame.columns}
    found = {
        "ids_alike": alike, "hidden_characters": int(titles.str.contains(_HIDDEN).sum()), "long_titles": int((titles.str.len_chars() > MAX_CHARACTERS).sum()),
        "personal_ids": sum(int(addresses(ids).sum()) for ids in (users, items)), "personal_texts": sum(int(personal(text).sum()) for text in texts),
        "one_answer": {name: float(values[0]) for name, values in answers.items() if len(values) == 1}, "single_events": len(frame.group_by("user_id").agg(pl.len(), pl.col("part").first()).filter((pl.col("len") == 1) & (pl.col("part") == TRAIN))),
    }
    return {name: value for name, value in found.items() if value}


def told(found: Mapping[str, object]) -> list[str]:
    """The notices as sentences for a screen or a log: numbers, never an id or a text of the data."""
    lines = [f"{kind['count']} {name} look alike (equal but for case, Unicode form or spaces around them) and stay different ids; some of them stand in manifest.json" for name, kind in found.get("ids_alike", {}).items()]
    if "hidden_characters" in found:
        lines.append(f"{found['hidden_characters']} titles hold hidden characters (direction marks, zero width): prompts leave them out")
    if "long_titles" in found:
        lines.append(f"{found['long_titles']} titles have more than {MAX_CHARACTERS} characters: prompts show so many of them")
    if "personal_ids" in found:
        lines.append(f"{found['personal_ids']} ids look like mail addresses or phone numbers: no prompt or log shows them, results do")
    if "personal_texts" in found:
        lines.append(f"{found['personal_texts']} titles, attributes or texts hold what looks like mail addresses, phone or card numbers: they reach prompts and models as they are; --redact takes them out")
    lines += [f"each {name} is {value:g}: nothing tells a good answer from a bad one, and figures such as auc are null" for name, value in found.get("one_answer", {}).items()]
    if "single_events" in found:
        lines.append(f"{found['single_events']} users have a single event, in train: nothing of theirs is held out, and they show what is popular alone")
    return lines


def _alike(ids: pl.Series) -> dict[str, object] | None:
    folded = ids.str.strip_chars().str.normalize("NFKC").str.to_lowercase()
    groups = pl.DataFrame({"id": ids, "folded": folded}).filter(pl.col("folded").is_duplicated()).group_by("folded").agg(pl.col("id").sort()).sort("folded")
    return {"count": int(groups["id"].list.len().sum()), "examples": groups["id"].head(EXAMPLES).to_list()} if len(groups) else None
