"""Clean sets raise no alarm: a simulated world and cuts of public logs, each through the reader, the cleaning and the split that everybody's data takes."""

from pathlib import Path

import polars as pl
import pytest

from llmrec.audit.examples import audit_examples
from llmrec.audit.log import audit_log
from llmrec.audit.models import audit_model
from llmrec.interactions import Corpus, write_manifest
from llmrec.readers import READERS
from llmrec.readers.ingest import IngestSettings, assemble, clean
from llmrec.splits import SplitSettings, split_files
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines

SETS = {
    "simulation": (None, "leave_one_out", {"users": "60", "items": "90"}),
    "simulation by time": (None, "by_time", {"users": "60", "items": "90", "seed": "5"}),
    "ml-100k": ("movielens", "leave_one_out", {}),
    "ml-100k fold u1": ("movielens", "given", {"fold": "u1"}),
    "movietweetings-100k": ("movietweetings", "by_time", {}),
    "amazon-beauty-p5": ("sequences", "given", {}),
}
USERS = 25


def cut(name: str, data, folder: Path) -> Corpus:
    """The corpus of a set, of its first users where it is a public one."""
    reader, rule, options = SETS[name]
    if reader is None:
        raw = READERS["simulation"](folder / "world", **options)
    else:
        place = data() / name.split(" ")[0]
        if not place.is_dir():
            pytest.skip(f"{place} is missing")
        raw = READERS[reader](place, **options)
    log = raw.interactions
    if reader is not None:
        users = log.select("user_id").unique().sort("user_id").head(USERS).collect()["user_id"].to_list()
        log = log.filter(pl.col("user_id").is_in(users))
    items = raw.items.join(log.select("item_id").unique(), on="item_id", how="semi") if reader is not None else raw.items
    raw = type(raw)(**{**vars(raw), "interactions": log, "items": items})
    (folder / "work").mkdir()
    cleaned = clean(raw, folder / "work", IngestSettings(keep_parts=rule == "given", like_threshold=4.0 if name.startswith("ml") else None))
    split = split_files(cleaned.files, SplitSettings(rule), ordering=cleaned.ordering, positive=cleaned.is_positive, temporal=raw.temporal)
    write_manifest(folder, assemble(cleaned, folder, split=split))
    return Corpus.load(folder)


@pytest.fixture(scope="module", params=SETS)
def prepared(request, tmp_path_factory):
    return cut(request.param, lambda: request.getfixturevalue("data"), tmp_path_factory.mktemp("set"))


def test_the_log_is_clean(prepared):
    audit = audit_log(prepared)
    assert audit.findings == ()
    assert audit.checked["test"] > 0


@pytest.mark.parametrize("part", ["valid", "test"])
def test_its_questions_are_clean(prepared, part):
    timelines = Timelines.of(prepared)
    tasks = [name for name, task in TASKS.items() if task.reason_absent(prepared) is None]
    audit = audit_examples(timelines, {name: TASKS[name].held_out(timelines, part, 0) for name in tasks}, part)
    assert audit.findings == ()
    assert audit.checked["next_item: questions"] > 5
    assert audit.checked["next_item: without a row"] == 0


@pytest.mark.parametrize("scheme", ["atomic", "semantic"])
def test_a_model_of_it_is_clean(prepared, model_of, scheme):
    audit = audit_model(model_of(prepared, scheme=scheme), prepared)
    assert audit.findings == ()
    assert audit.checked["pieces"] > 100
