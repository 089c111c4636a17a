"""The audit of a model folder and of saved answers: whether what it was made of holds anything of the rows it is asked about, and whose answers they are.

Separate from the Recommender, whose files it reads without torch: a model is not asked what it knows, its folder is.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from llmrec.affinities import Affinities
from llmrec.assets import folder_of
from llmrec.audit.finding import ERROR, Audit, Finding
from llmrec.audit.log import MIN_REVIEW_CHARACTERS, MIN_TITLE_CHARACTERS
from llmrec.collaborative import STATISTICS, collaborative_vectors
from llmrec.content import Content, item_texts, text_terms
from llmrec.expectations import Expectations
from llmrec.grounding import Grounding
from llmrec.indexing.index import ItemIndex
from llmrec.indexing.semantic import LEVELS
from llmrec.interactions import PARTS, TRAIN, VALID, Catalog, Corpus, sha256
from llmrec.memory import Memory
from llmrec.precedents import Precedents
from llmrec.quotations import Quotations
from llmrec.predictions import HeldOut
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines

MIN_PIECE_CHARACTERS = 2  # single characters are in every alphabet
OWN_TOKENIZER = 0.99  # of its pieces stand in the corpus: it was fitted there; one from elsewhere has many that do not
FITTING_CODES = 0.98  # of the items have the codes nearest to their content
TEXT_COLUMNS = ("review", "summary", "query")
PROMPT_TEXTS = ("preamble", "event", "question")


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder says of how it was made.

    card: recommender.json.   item_ids: of its catalogue, in order.   content, expectations, affinities: its content vectors and what it weighs its answers against, None where it has none.   grounding, memory: the features its texts may name, and the neighbours it remembers, or None.   precedents: of each text task that has some.   quotations: what its texts may not hold, or None.
    pieces: the tokenizer's plain pieces, "▁" for a space.   prompts: the words of its prompt files.
    """

    card: Mapping[str, object]
    item_ids: Sequence[str]
    index: ItemIndex
    content: Content | None = None
    pieces: Sequence[str] = ()
    prompts: Sequence[str] = ()
    expectations: Expectations | None = None
    affinities: Affinities | None = None
    grounding: Grounding | None = None
    memory: Memory | None = None
    precedents: Mapping[str, Precedents] = field(default_factory=dict)
    quotations: Quotations | None = None

    @classmethod
    def load(cls, folder: Path) -> ModelFolder:
        """Raises FileNotFoundError naming a file that is missing, ValueError for one that is damaged."""
        folder = Path(folder)
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        prompts = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((folder / "prompts").glob("*.yaml"))]
        catalog = Catalog.load(folder / "catalog.parquet")
        return cls(
            card=json.loads((folder / "recommender.json").read_text(encoding="utf-8")),
            item_ids=catalog.item_ids,
            index=ItemIndex.load(folder),
            content=Content.load(folder / "content") if (folder / "content").is_dir() else None,
            pieces=tuple(_pieces(tokenizer)),
            prompts=tuple(str(entry[name]) for entries in prompts for entry in entries for name in PROMPT_TEXTS if entry.get(name)),
            expectations=Expectations.load(folder, catalog.rows),
            affinities=Affinities.load(folder, catalog),
            grounding=Grounding.load(folder, len(catalog)),
            memory=Memory.load(folder, catalog.rows),
            precedents={name: found for name in TASKS if (found := Precedents.load(folder, name)) is not None},
            quotations=Quotations.load(folder),
        )


def audit_model(model: ModelFolder, corpus: Corpus) -> Audit:
    """Looks for every leak of MODEL_CHECKS in what a model was made of, beside the corpus it is asked about.

    `checked` counts its items and prompts, the terms of its content, and the pieces of its tokenizer (0 where that was not fitted on this corpus: nothing can
    be said of it).
    """
    subject = Subject(model, corpus)
    terms = len(model.content.terms) if model.content is not None else 0
    checked = {"items": len(model.item_ids), "prompts": len(model.prompts), "terms": terms, "pieces": len(subject.own_pieces)}
    findings = [finding for check in MODEL_CHECKS for finding in [check(subject)] if finding is not None]
    return Audit(tuple(findings), checked)


class Subject:
    """A model beside the corpus it is asked about, and what several checks need of the two."""

    def __init__(self, model: ModelFolder, corpus: Corpus):
        self.model, self.corpus = model, corpus
        self.same_items = list(model.item_ids) == corpus.catalog.item_ids

    @cached_property
    def item_texts(self) -> list[str]:
        """What may be known of the items: see content.item_texts."""
        return item_texts(self.corpus)

    def words(self, *parts: str) -> str:
        """Every word of these parts' texts once, each on a line of its own behind a space; with those of train also the words of items and prompts."""
        log = self.corpus.interactions
        rows = log.part(*parts).frame
        texts = [text for name in (*TEXT_COLUMNS, *log.context) if name in rows.columns for text in rows[name].drop_nulls().unique().to_list()]
        if TRAIN in parts:
            shipped = [path.read_text(encoding="utf-8") for path in sorted(folder_of("prompts").glob("*.yaml"))]
            texts += [*self.item_texts, *self.model.prompts, *shipped]
        return "\n".join(f" {word}" for word in sorted({word for text in texts for word in text.replace("\n", " ").split(" ")}))

    @cached_property
    def known_words(self) -> str:
        return self.words(TRAIN)

    @cached_property
    def held_out_words(self) -> str:
        return self.words(*(part for part in PARTS if part != TRAIN))

    @cached_property
    def own_pieces(self) -> list[str]:
        """The tokenizer's pieces as text, if it was fitted on this corpus; else none."""
        pieces = [piece.replace("▁", " ") for piece in self.model.pieces if len(piece.strip("▁")) >= MIN_PIECE_CHARACTERS and "▁" not in piece[1:]]
        here = sum(piece in self.known_words or piece in self.held_out_words for piece in pieces)
        return pieces if pieces and here >= OWN_TOKENIZER * len(pieces) else []


def other_data(subject: Subject) -> Finding | None:
    """The model was made with this corpus, split in this way: with another it may have been trained on what it is asked."""
    card, corpus = subject.model.card, subject.corpus
    if card.get("data_hash") != corpus.data_hash:
        other = f"other data (hash {card.get('data_hash')}) than this ({corpus.data_hash})"
    elif "split" in card and _plain(card["split"]) != _plain(corpus.split):
        other = f"another split ({_plain(card['split'])}) than this ({_plain(corpus.split)})"
    else:
        return None
    return Finding("other_data", ERROR, 1, f"the model was made with {other}: it may have been trained on what it is asked")


def chosen_on(subject: Subject) -> Finding | None:
    """The step that was kept was chosen on valid."""
    part = subject.model.card.get("valid_part")
    if not subject.model.card.get("valid") or part in (None, VALID):
        return None
    return Finding("chosen_on", ERROR, 1, f"the model's step was chosen on {part}; only {VALID} may choose")


def content_of_held_out(subject: Subject) -> Finding | None:
    """The content vectors follow from what may be known of the items: the terms and their weights are those of titles, attributes and train reviews, and each
    item's vector is the one of its text."""
    content = subject.model.content
    if content is None or not content.terms or not subject.same_items:
        return None
    frequency = Counter(term for text in subject.item_texts for term in set(text_terms(text)))
    num = len(subject.item_texts)
    foreign = [term for term in content.terms if term not in frequency]
    idf = np.array([math.log((1 + num) / (1 + frequency[term])) + 1 for term in content.terms])
    known = np.array([term in frequency for term in content.terms], dtype=bool)
    reweighed = int((known & (np.abs(idf - content.idf) > 1e-4)).sum())
    # Half a percent: the last digits differ between machines, another text differs by far more.
    moved = int((np.abs(content.encode(subject.item_texts) - content.vectors).max(axis=1, initial=0.0) > 5e-3).sum())
    found = f"{len(foreign)} terms it does not hold, {reweighed} terms with other weights, {moved} vectors that are not those of their items' texts"
    return Finding.of("content_of_held_out", ERROR, len(foreign) + reweighed + moved, f"numbers of the content vectors do not follow from train ({found})")


def codes_of_other_content(subject: Subject) -> Finding | None:
    """The codes come from the content vectors: an atomic code carries its item's vector (and behind it what train's events say of the item), and semantic codes are the nearest to the vector, level by level."""
    content, index = subject.model.content, subject.model.index
    if content is None or index.vectors is None or len(content.vectors) != len(index):
        return None
    wrong = np.zeros(len(index), dtype=bool)
    if len(index.vectors) == len(index) and index.codes.shape[1] == 1:
        carried, width = index.vectors[index.codes[:, 0]], content.vectors.shape[1]
        wrong = np.abs(carried[:, :width] - content.vectors).max(axis=1, initial=0.0) > 1e-3
        company = carried[:, width:]
        if company.shape[1] and subject.same_items:
            known = collaborative_vectors(subject.corpus, size=company.shape[1] - STATISTICS, seed=int(subject.model.card.get("seed", 0)))
            wrong |= np.abs(company - known).max(axis=1) > 1e-2
    elif index.codes.shape[1] >= LEVELS:
        residual = content.vectors.astype(np.float32)
        for level in range(LEVELS):
            used = np.unique(index.codes[:, level])
            distance = (index.vectors[used] ** 2).sum(axis=1)[None] - 2 * residual @ index.vectors[used].T
            wrong |= used[distance.argmin(axis=1)] != index.codes[:, level]
            residual = residual - index.vectors[index.codes[:, level]]
    count = int(wrong.sum())
    sentence = f"of {len(index)} items have codes that do not follow from their content: they were made from something else"
    return Finding.of("codes_of_other_content", ERROR, count if count > (1 - FITTING_CODES) * len(index) else 0, sentence)


def expectations_of_held_out(subject: Subject) -> Finding | None:
    """What answers are weighed against follows from train: the specialists are fitted again."""
    kept = subject.model.expectations
    if kept is None or not subject.same_items:
        return None
    again = Expectations.of(Timelines.of(subject.corpus), seed=int(subject.model.card.get("seed", 0)))
    if again is None:
        return Finding.of("expectations_of_held_out", ERROR, len(subject.corpus.catalog), "items are expected to be rated, which train does not")
    low, high = kept.scale
    # A hundredth of the scale: the last digits differ between machines, a rating more or less moves an item by far more.
    moved = np.abs(kept.neighbours.biases.item - again.neighbours.biases.item) > (high - low) / 100
    for own, other in zip(kept.factorizations, again.factorizations):
        moved |= np.abs(own.factors.item_bias - other.factors.item_bias) > (high - low) / 100
    return Finding.of("expectations_of_held_out", ERROR, int(moved.sum()), "items have other expectations than train's ratings give: they were fitted on something else")


def affinities_of_held_out(subject: Subject) -> Finding | None:
    """How often an item got a yes, which others are like it, and what a regression makes of both, follows from train."""
    kept = subject.model.affinities
    if kept is None or not subject.same_items:
        return None
    again = Affinities.of(Timelines.of(subject.corpus), list(kept.rates))
    if again is None or again.rates.keys() != kept.rates.keys():
        return Finding.of("affinities_of_held_out", ERROR, len(subject.corpus.catalog), "items are said to be answered with yes and no, which train does not")
    moved = np.any([np.abs(kept.rates[task] - again.rates[task]) > 1e-3 for task in kept.rates], axis=0)
    change = (kept.similarity - again.similarity).tocsr()
    moved |= np.array([not _only_ties(change.data[start:stop]) for start, stop in zip(change.indptr, change.indptr[1:])])
    # The last digits of what is fitted differ between machines; rows more or less move a weight by more.
    other = sum(not np.allclose([*kept.weights[task], kept.means[task]], [*again.weights[task], again.means[task]], rtol=0.01, atol=0.01) or set(kept.words[task]) != set(again.words[task]) for task in kept.rates)
    return Finding.of("affinities_of_held_out", ERROR, int(moved.sum()) + other, "items and tasks have other affinities than train gives them: they were counted on something else")


def grounding_of_held_out(subject: Subject) -> Finding | None:
    """What a written answer may say of an item stands in train."""
    kept = subject.model.grounding
    if kept is None or not subject.same_items:
        return None
    again = Grounding.of(subject.corpus)
    moved = len(kept.starts) - 1 if again is None else sum(kept.of_item(row) != again.of_item(row) for row in range(len(kept.starts) - 1))
    return Finding.of("grounding_of_held_out", ERROR, moved, "items may be said to have other features than train says: the list was made from something else")


def memory_of_held_out(subject: Subject) -> Finding | None:
    """Which items stand beside which follows from train: the neighbours are found again."""
    kept = subject.model.memory
    if kept is None or not subject.same_items:
        return None
    again = Memory.of(Timelines.of(subject.corpus), seed=int(subject.model.card.get("seed", 0)))
    change = (kept.similarity - again.similarity).tocsr()
    moved = sum(not _only_ties(change.data[start:stop]) for start, stop in zip(change.indptr, change.indptr[1:]))
    if not (kept.chosen == 1).all():  # one that knows nothing of what is only shown, as older ones do not, has nothing from elsewhere
        moved += int((abs(kept.chosen - again.chosen) > 1e-3).sum()) + (kept.shown_vote != again.shown_vote)
    return Finding.of("memory_of_held_out", ERROR, moved, "items have other neighbours than train gives them: they were found in something else")


def _only_ties(change: np.ndarray) -> bool:
    """Whether the neighbours of an item changed by ties alone. Of two that are alike to the last digits either may be the last that counts, by a machine's arithmetic; what one gains is what the other loses. Pairs seen or not seen change by other amounts, and their norms with them."""
    gained, lost = np.sort(change[change > 1e-3]), np.sort(-change[change < -1e-3])
    return len(gained) == len(lost) and np.allclose(gained, lost, rtol=0, atol=1e-4)


def precedents_of_held_out(subject: Subject) -> Finding | None:
    """What is held to have been answered was answered in train."""
    if not subject.model.precedents:
        return None
    timelines, seed = Timelines.of(subject.corpus), int(subject.model.card.get("seed", 0))
    foreign = 0
    for name, kept in subject.model.precedents.items():
        again = Precedents.of(TASKS[name].held_out(timelines, TRAIN, seed)) if TASKS[name].quotable(subject.corpus) else None
        foreign += len(set(kept.texts) - set(again.texts if again is not None else ()))
    return Finding.of("precedents_of_held_out", ERROR, foreign, "texts are precedents that answered no question of train: they come from something else")


def quotations_of_held_out(subject: Subject) -> Finding | None:
    """What no text may hold was written in train."""
    kept = subject.model.quotations
    if kept is None:
        return None
    foreign = len(np.setxor1d(kept.known, Quotations.of(subject.corpus).known))
    return Finding.of("quotations_of_held_out", ERROR, foreign, "runs of characters that no text may hold are not those of train: they were taken from something else")


def codes_in_file_order(subject: Subject) -> Finding | None:
    """Among items that share all but their last code, that code does not follow the first appearance in the log (for atomic codes: among all items).

    Codes in words are not numbered.
    """
    index = subject.model.index
    if not index.new_tokens or not subject.same_items:
        return None
    log = subject.corpus.interactions
    moment = pl.col("timestamp") if log.ordering == "timestamp" else pl.int_range(pl.len())
    first = log.frame.lazy().select("item_id", moment.alias("moment")).group_by("item_id").agg(pl.col("moment").min())
    group = np.unique(index.codes[:, :-1], axis=0, return_inverse=True)[1].ravel() if index.codes.shape[1] > 1 else np.zeros(len(index), dtype=np.int64)
    codes = pl.LazyFrame({"item_id": list(subject.model.item_ids), "group": group, "code": index.codes[:, -1]}).join(first, on="item_id")
    ranks = [(pl.col(name).rank() - pl.col(name).rank().mean()).over("group").alias(name) for name in ("code", "moment")]
    ranked = codes.filter(pl.len().over("group") > 1).with_columns(ranks)
    num, groups, rho = ranked.select(pl.len(), pl.col("group").n_unique(), pl.corr("code", "moment")).collect().row(0)
    if num < 3 or rho is None or not math.isfinite(rho) or abs(rho) < 0.1 or abs(rho) * math.sqrt(num - groups) < 5:
        return None
    sentence = f"{num} items have codes in the order of their first appearance (rank correlation {rho:.2f}): a code tells the time"
    return Finding("codes_in_file_order", ERROR, num, sentence)


def tokenizer_of_held_out(subject: Subject) -> Finding | None:
    """No piece of a tokenizer that was fitted on this corpus stands in held-out texts alone."""
    foreign = [piece for piece in subject.own_pieces if piece not in subject.known_words]
    sentence = f"pieces of the tokenizer stand in held-out texts alone (such as {', '.join(map(repr, foreign[:3]))}): it was fitted on them"
    return Finding.of("tokenizer_of_held_out", ERROR, len(foreign), sentence)


def prompt_of_held_out(subject: Subject) -> Finding | None:
    """No prompt holds words of a held-out row: the title of its item, or what its user wrote."""
    log = subject.corpus.interactions
    held = log.frame.filter(pl.col("part") != TRAIN)
    asked = set(held.filter(log.is_positive)["item_id"].unique())
    titles = [title for item_id, title in zip(subject.corpus.catalog.item_ids, subject.corpus.catalog.titles, strict=True) if item_id in asked]
    said = "\n".join(subject.model.prompts)
    known = set(said.split())
    # A title's first word is looked up before the title is searched for: a catalogue has many, a prompt few words.
    told = {title for title in titles if _is_name(title) and (title.split()[0] in known or not title.isascii()) and title in said}
    written = [text for name in TEXT_COLUMNS if name in held.columns for text in held[name].drop_nulls().unique().to_list()]
    told |= {text for text in written if len(text) >= MIN_REVIEW_CHARACTERS and text.split()[:1] and text.split()[0] in known and text in said}
    every_word = "\n".join(written)
    told |= {line for words in subject.model.prompts for line in map(str.strip, words.split("\n")) if len(line) >= MIN_REVIEW_CHARACTERS and line in every_word}
    sentence = f"texts of held-out rows stand in the prompts (such as {min(told, default='')!r}): examples in prompts must be made up"
    return Finding.of("prompt_of_held_out", ERROR, len(told), sentence)


MODEL_CHECKS: tuple[Callable[[Subject], Finding | None], ...] = (
    other_data, chosen_on, content_of_held_out, codes_of_other_content, expectations_of_held_out, affinities_of_held_out, grounding_of_held_out, memory_of_held_out, precedents_of_held_out, quotations_of_held_out, codes_in_file_order, tokenizer_of_held_out, prompt_of_held_out,
)


def popularity_of_all(popularity: np.ndarray, timelines: Timelines) -> Finding | None:
    """A count of events per item is that of train. popularity: (items,) numbers, in catalogue order."""
    train = timelines.items[timelines.parts == PARTS.index(TRAIN)]
    other = int((np.asarray(popularity) != np.bincount(train, minlength=len(timelines.corpus.catalog))).sum())
    return Finding.of("popularity_of_all", ERROR, other, "items have a popularity that is not the number of their events in train")


def foreign_answers(path: Path, held_out: Sequence[HeldOut], *, model: str, model_hash: str, data_hash: str) -> Finding | None:
    """A saved file of predictions holds this model's answers to these questions on this data: what it says of itself, its ids and its targets agree."""
    about = pl.read_parquet_metadata(path)
    expected = {"model": model, "model_hash": model_hash, "data_hash": data_hash}
    other = [f"{name} {about.get(name)!r} for {value!r}" for name, value in expected.items() if about.get(name) != value]
    saved = pl.read_parquet(path, columns=["id", "target"])
    if saved["id"].to_list() != [h.request.id for h in held_out] or saved["target"].to_list() != [h.target for h in held_out]:
        other.append("other questions")
    sentence = f"things in {path.name} are not of this run ({', '.join(other)}): its answers are another model's, or to other questions"
    return Finding.of("foreign_answers", ERROR, len(other), sentence)


def model_hash(folder: Path) -> str:
    """16 hex digits that stand for what a model folder answers with: its weights, codes, words and prompts; not the copy of its base, nor its logs."""
    folder = Path(folder)
    told = ("recommender.json", "tokenizer.json", "expectations.json", "affinities.json", "memory.json", "grounding.json")
    parts = ["", "merged", "content", "prompts", "precedents"]  # and not what else may have been written there, such as a report
    answering = [path for path in sorted(path for part in parts for path in (folder / part).glob("*")) if path.suffix in (".safetensors", ".yaml", ".parquet") or path.name in told or path.parent.name == "precedents"]
    parts = [(path.relative_to(folder).as_posix(), path) for path in answering]
    return hashlib.sha256("".join(f"{name} {sha256(path)}\n" for name, path in parts).encode()).hexdigest()[:16]


def _pieces(tokenizer: Mapping[str, object]) -> Iterator[str]:
    """The plain pieces of a tokenizer.json: no control tokens, no bytes."""
    special = {token["content"] for token in tokenizer.get("added_tokens", ())}
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    for entry in vocabulary:  # a mapping from the piece, or a list of (piece, score)
        piece = entry if isinstance(entry, str) else entry[0]
        if piece not in special and not (piece.startswith("<0x") and piece.endswith(">")):
            yield piece


def _is_name(title: str) -> bool:
    """Whether a title is no word of the language: long, of two words or more; or of four characters that are no Latin letters."""
    return len(title) >= MIN_TITLE_CHARACTERS and " " in title.strip() or len(title) >= 4 and not any(letter.isascii() for letter in title)


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
