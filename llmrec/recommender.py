"""Recommender: a trained model and everything it needs to answer, in one folder.

Separate from training, which makes the folder, and from decoding, which knows answer spaces only: here requests become prompts and
scores become predictions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from llmrec.answers import ITEMS, RATING, TEXT
from llmrec.assets import folder_of
from llmrec.bases import Base, load_base, load_lm, start_and_end
from llmrec.composer import MAX_ANSWER_TOKENS, Composer
from llmrec.content import Content
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import beam, exact
from llmrec.decoding.writing import write
from llmrec.indexing import ItemIndex, Material, build_index
from llmrec.interactions import Catalog, Corpus, Event
from llmrec.model import LanguageModel
from llmrec.predictions import Item, Prediction, Request
from llmrec.publishing import publish
from llmrec.tasks import TASKS, find_task
from llmrec.templates import PromptTemplate, choose, load_templates, save_templates
from llmrec.vocabulary import Vocabulary

FORMAT = 1
BEAMS = 20
"""Default width of a beam; a request for more items widens it."""

MAX_SCORES = 1 << 24
"""Scores that stand in memory at once (64-bit: 128 MiB)."""


@dataclass(frozen=True)
class Layout:
    """The files of a model folder."""

    folder: Path

    @property
    def about(self) -> Path:
        return self.folder / "recommender.json"

    @property
    def prompts(self) -> Path:
        return self.folder / "prompts"

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.parquet"

    @property
    def content(self) -> Path:
        return self.folder / "content"

    @property
    def rows(self) -> Path:
        return self.folder / "item_rows.safetensors"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def merged(self) -> Path:
        return self.folder / "merged"


class Query(NamedTuple):
    """A prompt on its way to an answer: the request's number, the request, its tokens, its answer space and how it is searched."""

    number: int
    request: Request
    tokens: list[int]
    space: str
    mode: str
    width: int
    skipped: int


class Recommender:
    """Answers requests with one language model.

    >>> recommender = Recommender.from_pretrained("runs/demo/model")          # doctest: +SKIP
    >>> recommender.recommend(history=["i12", "i7"], k=2)                     # doctest: +SKIP
    [Item(item_id='i40', title='...', score=-2.31), Item(item_id='i3', title='...', score=-2.87)]
    """

    def __init__(self, model: LanguageModel, composer: Composer, templates: Mapping[str, Sequence[PromptTemplate]], *, card: Mapping[str, object] | None = None, wording: str = "seen", batch_tokens: int = 16_384):
        """wording: "seen" or "unseen": which wordings prompts are written in (the first of the request's language).   batch_tokens: prompt tokens read at once."""
        if wording not in ("seen", "unseen"):
            raise ValueError(f"wording is {wording!r}; expected 'seen' or 'unseen'")
        self.model, self.composer, self.templates = model, composer, dict(templates)
        self.card = dict(card or {})
        self.wording, self.batch_tokens = wording, batch_tokens
        self.catalog = composer.catalog
        self.tasks = list(self.templates)
        self.titles = {item_id: title or "untitled" for item_id, title in zip(self.catalog.item_ids, self.catalog.titles)}
        self._labels = np.array(self.catalog.item_ids, dtype=object)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, wording: str = "seen", batch_tokens: int = 16_384, device: str | None = None) -> Recommender:
        """Loads a model folder; nothing outside it is read but a hub base named in it.

        Raises FileNotFoundError naming what is missing, ValueError for a folder of another format.
        """
        layout = Layout(Path(folder))
        if not layout.about.is_file():
            raise FileNotFoundError(f"{layout.about} is missing: {folder} is not a model folder; train one with `accelerate launch -m train.finetune`")
        about = json.loads(layout.about.read_text(encoding="utf-8"))
        if about.get("format") != FORMAT:
            raise ValueError(f"{layout.about} has format {about.get('format')!r}; this version reads {FORMAT}")
        index, catalog = ItemIndex.load(layout.folder), Catalog.load(layout.catalog)
        vocabulary = Vocabulary.load(layout.folder, size=about["vocabulary_size"], start=about["start"], end=about["end"])
        model = LanguageModel(_load_plain(layout, about), vocabulary_size=vocabulary.size, new_tokens=index.new_tokens)
        model.eval().requires_grad_(False).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        composer = Composer(
            vocabulary, catalog, index.space(catalog.item_ids, vocabulary.size), rating_scale=about["rating_scale"], max_prompt_tokens=about["max_prompt_tokens"],
        )
        model.set_spaces(composer.spaces)
        templates = {name: load_task_templates(layout.prompts, name) for name in about["tasks"]}
        return cls(model, composer, templates, card=about, wording=wording, batch_tokens=batch_tokens)

    # --- verbs -----------------------------------------------------------------------------------------------------------------

    def recommend(self, history: Sequence[str | Event] = (), *, k: int = 10, **fields: object) -> list[Item]:
        """The k items most likely to come next, best first. Further keywords are fields of Request, such as exclude or where."""
        return self._items(Request(task="next_item", history=_events(history), k=k, **fields))

    def rank(self, candidates: Sequence[str], history: Sequence[str | Event] = (), **fields: object) -> list[Item]:
        """All candidates, best first. Raises KeyError for one the catalogue does not hold."""
        return self._items(Request(task="ranking", history=_events(history), candidates=tuple(candidates), k=len(candidates), **fields))

    def search(self, query: str, history: Sequence[str | Event] = (), *, k: int = 10, **fields: object) -> list[Item]:
        """The k items that answer these words best, for this user."""
        return self._items(Request(task="search", query=query, history=_events(history), k=k, **fields))

    def rate(self, item_id: str, history: Sequence[str | Event] = (), **fields: object) -> float:
        """The expected rating. Raises KeyError for an unknown item."""
        return self._one(Request(task="rating", item_id=item_id, history=_events(history), **fields)).value

    def click(self, item_id: str, history: Sequence[str | Event] = (), **fields: object) -> float:
        """The probability of a click. Raises KeyError for an unknown item."""
        return self._one(Request(task="click", item_id=item_id, history=_events(history), **fields)).probability

    def explain(self, item_id: str, history: Sequence[str | Event] = (), **fields: object) -> str:
        """Why this item, in words. Raises KeyError for an unknown item."""
        return self._one(Request(task="explanation", item_id=item_id, history=_events(history), **fields)).text

    def predict(self, requests: Sequence[Request], *, beams: int = BEAMS, exhaustive: bool = False, progress: bool = False) -> list[Prediction]:
        """One prediction per request, in order; a request that can't be answered gets one with `error`, and the others theirs.

        beams: width of the search where an item's code has more than one token; at least k.   exhaustive: score the whole catalogue instead.
        """
        answers: list[Prediction | None] = [None] * len(requests)
        groups: dict[tuple, list[Query]] = defaultdict(list)
        for number, request in enumerate(requests):
            try:
                query = self._query(number, request, beams, exhaustive)
                groups[query.mode, query.space, query.width, len(query.tokens)].append(query)
            except (ValueError, KeyError) as error:
                answers[number] = Prediction(request.id, request.task, error=str(error.args[0]), user_id=request.user_id)
        with tqdm(total=len(requests), desc="predict", unit="request", disable=not progress, mininterval=1) as bar:
            for (mode, space, width, length), queries in sorted(groups.items()):
                for batch in _chunks(queries, self._batch_size(mode, space, width, length)):
                    try:
                        found = self._answer(mode, space, width, batch)
                    except FloatingPointError as error:
                        found = [Prediction(error=str(error)) for _ in batch]
                    for query, prediction in zip(batch, found, strict=True):
                        answers[query.number] = replace(prediction, id=query.request.id, task=query.request.task, skipped=query.skipped, user_id=query.request.user_id)
                    bar.update(len(batch))
        return answers

    # --- from requests to answers ----------------------------------------------------------------------------------------------

    def _query(self, number: int, request: Request, beams: int, exhaustive: bool) -> Query:
        task = find_task(request.task)
        if request.task not in self.templates:
            raise KeyError(f"this model was not made for task {request.task!r}; it answers: {', '.join(self.tasks)}")
        task.check(request, self.composer.spaces[ITEMS].rows.keys())
        template = choose(self.templates[request.task], request.language, unseen=self.wording == "unseen")[0]
        space = self.composer.space_for(task.space, request.language)
        if space not in self.composer.spaces:
            raise ValueError(f"this model has no answers for task {request.task!r}: its corpus had no rating scale")
        if request.where:
            where_mask(self.catalog, request.where)
        if not task.reads_history and request.history:
            request = replace(request, history=())
        tokens, space, skipped, shown = self.composer.prompt(template, request, space=space)
        if request.exclude_seen and len(request.history) >= len(self.catalog) and self.catalog.rows.keys() <= {event.item_id for event in request.history}:
            # Who has had everything is offered what lies longest back, rather than nothing.
            request = replace(request, history=request.history[-shown:] if shown else ())
        if space == TEXT:
            mode, width = "write", 0
        elif space != ITEMS:
            mode, width = "closed", 0
        else:
            trie = self.composer.spaces[ITEMS].trie
            width = min(max(beams, request.k), len(trie.codes))
            # One token an item: the first read scores them all. And a beam that holds a quarter of the catalogue costs more than reading every node once.
            mode = "exact" if exhaustive or task.candidates or trie.depth == 1 or 4 * width >= len(trie.codes) else "beam"
            width = 0 if mode == "exact" else width
        return Query(number, request, tokens, space, mode, width, skipped)

    def _batch_size(self, mode: str, space: str, width: int, length: int) -> int:
        size = max(1, self.batch_tokens // (length + width))
        if space == ITEMS:
            size = min(size, max(1, MAX_SCORES // self.composer.spaces[ITEMS].trie.num_nodes))
        return size

    def _answer(self, mode: str, space_name: str, width: int, batch: Sequence[Query]) -> list[Prediction]:
        reading = Reading.of(self.model, [query.tokens for query in batch])
        if mode == "write":
            vocabulary = self.composer.vocabulary
            texts = write(reading, end=vocabulary.end, forbidden=vocabulary.control, max_tokens=MAX_ANSWER_TOKENS)
            return [Prediction(text=vocabulary.decode(text)) for text in texts]
        space = self.composer.spaces[space_name]
        if mode == "closed":
            probabilities = np.exp(exact(reading, space.trie, space_name))
            return [self._closed(space_name, row / row.sum()) for row in probabilities]
        masks = [self._allowed(query.request) for query in batch]
        allowed = None if all(mask is None for mask in masks) else np.stack([np.ones(len(space), dtype=bool) if m is None else m for m in masks])
        if mode == "exact":
            scores = exact(reading, space.trie, space_name, allowed=allowed)
            best = [_best(row, query.request.k) for query, row in zip(batch, scores)]
            return [self._listed(query.request.k, rows, row[rows]) for query, rows, row in zip(batch, best, scores)]
        rows, scores = beam(reading, space.trie, space_name, width=width, allowed=allowed)
        return [self._listed(query.request.k, row, score) for query, row, score in zip(batch, rows, scores)]

    def _closed(self, space_name: str, probabilities: np.ndarray) -> Prediction:
        space = self.composer.spaces[space_name]
        if space_name == RATING:
            return Prediction(value=float(probabilities @ space.values), distribution={label: float(p) for label, p in zip(space.labels, probabilities)})
        return Prediction(probability=float(probabilities @ space.values))

    def _listed(self, k: int, rows: np.ndarray, scores: np.ndarray) -> Prediction:
        count = min(k, int(np.isfinite(scores).sum()))
        return Prediction(item_ids=self._labels[rows[:count]].tolist(), scores=scores[:count].tolist(), truncated=count < k)

    def _allowed(self, request: Request) -> np.ndarray | None:
        """(items,) bool, which items may be answered; None: all."""
        rows = self.catalog.rows
        allowed = np.ones(len(self.catalog), dtype=bool)
        chosen = request.candidates if request.candidates is not None else request.include
        if chosen is not None:
            allowed[:] = False
            allowed[[rows[item_id] for item_id in chosen if item_id in rows]] = True
        left_out = list(request.exclude)
        if request.exclude_seen and request.candidates is None:
            left_out += [event.item_id for event in request.history]
        allowed[[rows[item_id] for item_id in left_out if item_id in rows]] = False
        if request.where:
            allowed &= where_mask(self.catalog, request.where)
        return None if allowed.all() else allowed

    def _one(self, request: Request) -> Prediction:
        prediction = self.predict([request])[0]
        if prediction.error is None:
            return prediction
        # The verbs are for one question: what predict reports, they raise.
        find_task(request.task).check(request, self.catalog.rows.keys())
        raise ValueError(prediction.error)

    def _items(self, request: Request) -> list[Item]:
        return self._one(request).items(self.titles)


def where_mask(catalog: Catalog, where: Mapping[str, object]) -> np.ndarray:
    """(items,) bool: the items whose attributes hold one of the wanted values, for every predicate. Raises ValueError for an attribute the catalogue lacks."""
    mask = np.ones(len(catalog), dtype=bool)
    for name, wanted in where.items():
        if name not in catalog.attributes:
            raise ValueError(f"where names the attribute {name!r}; the catalogue has: {', '.join(catalog.attributes) or 'none'}")
        holds = np.zeros(len(catalog), dtype=bool)
        for value in wanted if isinstance(wanted, (list, tuple)) else [wanted]:
            holds[catalog.holders[name].get(str(value), [])] = True
        mask &= holds
    return mask


# --- folders ---------------------------------------------------------------------------------------------------------------------


def load_task_templates(prompts: Path, task: str) -> tuple[PromptTemplate, ...]:
    """The templates of a task from a folder of prompts, checked against what the task offers."""
    declared = find_task(task)
    return load_templates(prompts / f"{task}.yaml", required=declared.required, offered=declared.offered)


def save_recommender(
    folder: Path, *, model: LanguageModel, tokenizer, index: ItemIndex, composer: Composer, templates: Mapping[str, Sequence[PromptTemplate]], content: Content | None,
    card: Mapping[str, object], kind: str, base_folder: Path | None = None,
) -> None:
    """Writes a model folder into `folder`, which exists and is published by the caller.

    kind: "base": the plain model stands in the folder itself; "adapter": PEFT's files do, with the merged plain model in merged/ and a copy of a local base in base/.
    """
    layout = Layout(folder)
    plain = model.plain()
    if kind == "base":
        plain.save_pretrained(folder)
    else:
        model.lm.save_pretrained(folder, save_embedding_layers=False)
        plain.save_pretrained(layout.merged)
        if base_folder is not None:
            _copy_base(base_folder, layout.base)
    tokenizer.save_pretrained(folder)
    rows = {"rows": model.rows().detach().cpu().contiguous()}
    if model.projection is not None:
        rows["projection"] = model.projection.weight.detach().cpu().contiguous()
    save_file(rows, layout.rows)
    index.save(folder)
    composer.catalog.save(layout.catalog)
    if content is not None:
        layout.content.mkdir()
        content.save(layout.content)
    layout.prompts.mkdir()
    for name, entries in templates.items():
        save_templates(layout.prompts / f"{name}.yaml", entries)
    vocabulary = composer.vocabulary
    rating = composer.spaces.get(RATING)
    about = {
        "format": FORMAT, "kind": kind, "index": index.scheme, "tasks": list(templates), "vocabulary_size": vocabulary.size, "start": vocabulary.start, "end": vocabulary.end,
        "rating_scale": [] if rating is None else rating.values.tolist(), "max_prompt_tokens": composer.max_prompt_tokens, **card,
    }
    layout.about.write_text(json.dumps(about, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(about, len(composer.catalog)), encoding="utf-8")


def model_card(about: Mapping[str, object], num_items: int) -> str:
    """The card of a model folder, in Markdown."""
    valid = about.get("valid") or {}
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in valid.items())
    return f"""---
library_name: llmrec
tags: [recommendation]
---
# {about.get('corpus', 'llmrec model')}

A recommender of {num_items} items ({about['index']} codes), made with llmrec {about.get('versions', {}).get('llmrec', '')}. It answers: {', '.join(about['tasks'])}.

```python
from llmrec import Recommender
Recommender.from_pretrained("THIS FOLDER").recommend(history=["ITEM", "ITEM"], k=10)
```

| | |
|---|---|
| base | {about.get('base', '')} |
| data hash | {about.get('data_hash', '')} |
| audit hash | {about.get('audit_hash', '')} |
| seed | {about.get('seed', '')} |
| command | `{about.get('command', '')}` |

Validation (the part that chose the step):

| metric | value |
|---|---|
{figures}
"""


def prepare_model(base: str, corpus: Path, out: Path, *, overwrite: bool = False) -> None:
    """A model folder around an untrained base: items are named by their titles, so that any pretrained model recommends as it is.

    Raises ValueError where the catalogue has no titles.
    """
    data = Corpus.load(Path(corpus))
    if not any(data.catalog.titles):
        raise ValueError(f"the catalogue of {corpus} has no titles; an untrained model can name items by titles only")
    lm, tokenizer = load_base(base)
    vocabulary = vocabulary_of(Base(lm, tokenizer), size=lm.get_input_embeddings().weight.shape[0])
    index = build_index("title", Material(data.catalog.titles, np.zeros((len(data.catalog), 1), np.float32), vocabulary, 0))
    model = LanguageModel(lm, vocabulary_size=vocabulary.size, new_tokens=0)
    composer = Composer(vocabulary, data.catalog, index.space(data.catalog.item_ids, vocabulary.size), rating_scale=data.rating_scale, max_prompt_tokens=prompt_room(lm, index, 1024))
    templates = {name: load_task_templates(folder_of("prompts"), name) for name, task in TASKS.items() if task.reason_absent(data) is None}
    card = {"base": base, "corpus": data.name, "data_hash": data.data_hash, "audit_hash": audit_hash(data)}
    with publish(Path(out), overwrite=overwrite) as folder:
        save_recommender(folder, model=model, tokenizer=tokenizer, index=index, composer=composer, templates=templates, content=None, card=card, kind="base")


def vocabulary_of(base: Base, *, size: int) -> Vocabulary:
    """The vocabulary of a base. size: its own table's rows, code tokens not counted."""
    from_backend = type(base.tokenizer.backend_tokenizer).from_str(base.tokenizer.backend_tokenizer.to_str())
    start, end = start_and_end(base.tokenizer)
    return Vocabulary(from_backend, size=size, start=start, end=end)


def prompt_room(lm, index: ItemIndex, wanted: int) -> int:
    """The longest prompt: what is wanted, or what the base's positions allow behind which an answer must fit."""
    positions = getattr(lm.config, "max_position_embeddings", None) or wanted + MAX_ANSWER_TOKENS
    room = min(wanted, positions - max(MAX_ANSWER_TOKENS, index.codes.shape[1]))
    if room < 16:
        raise ValueError(f"the base has {positions} positions; a prompt and an answer need at least {16 + MAX_ANSWER_TOKENS}")
    return room


def audit_hash(corpus: Corpus) -> str:
    """The hash of the corpus's audit, or "" where it has none."""
    audit = corpus.report.get("audit")
    return str(audit.get("hash", "")) if isinstance(audit, Mapping) else ""


def _load_plain(layout: Layout, about: Mapping[str, object]):
    if about["kind"] == "base":
        return load_lm(str(layout.folder))
    if layout.merged.is_dir():
        return load_lm(str(layout.merged))
    base = load_lm(str(about["base"]), revision=about.get("base_revision"))
    model = LanguageModel(PeftModel.from_pretrained(base, str(layout.folder)).merge_and_unload(), vocabulary_size=about["vocabulary_size"], new_tokens=len(load_file(layout.rows)["rows"]))
    with torch.no_grad():
        model.learned.copy_(load_file(layout.rows)["rows"])
    return model.plain()


def _copy_base(source: Path, target: Path) -> None:
    """The files of a plain Hugging Face folder, and no others."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_file() and (path.suffix == ".safetensors" and path.name.startswith("model") or path.name in _BASE_FILES or path.name.startswith("tokenizer")):
            (target / path.name).write_bytes(path.read_bytes())


_BASE_FILES = ("config.json", "generation_config.json", "model.safetensors.index.json", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template.jinja")


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """The rows of the k best scores, best first, equal ones in row order."""
    rows = np.arange(len(scores))
    if 4 * k < len(scores):
        rows = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
    return rows[np.argsort(-scores[rows], kind="stable")]


def _events(history: Iterable[str | Event]) -> tuple[Event, ...]:
    return tuple(Event(x) if isinstance(x, str) else x for x in history)


def _chunks(queries: Sequence[Query], size: int) -> Iterable[Sequence[Query]]:
    for start in range(0, len(queries), size):
        yield queries[start : start + size]
