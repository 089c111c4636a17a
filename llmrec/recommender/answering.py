"""Recommender: requests become prompts, and scores become predictions.

Separate from its folder (what a trained model is on disk), from training, which makes it, and from decoding, which knows answer spaces only.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from llmrec.answers import ITEMS, TEXT
from llmrec.composer import MAX_ANSWER_TOKENS, Composer
from llmrec.decoding.allowed import Allowed
from llmrec.decoding.reading import Reading
from llmrec.decoding.search import beam, count_nodes, exact, score
from llmrec.decoding.writing import write
from llmrec.exits import reading_model
from llmrec.interactions import UNTITLED, Catalog, Event
from llmrec.model import LanguageModel
from llmrec.predictions import Item, Prediction, Request
from llmrec.recommender.combining import Backing, Combiner, Fitted
from llmrec.recommender.folder import load_parts
from llmrec.tasks import find_task
from llmrec.templates import PromptTemplate, choose

BEAMS = 20
"""Default width of a beam; a request for more items widens it."""

MAX_SCORES = 1 << 24
"""Scores that stand in memory at once (64-bit: 128 MiB)."""

MASKS = 64
"""Predicates whose items are remembered."""

FAN_TOKENS = 512
"""Tokens of questions read at once behind one history: each batch is a square of them in attention."""

STRIDE = 16
"""Lengths that are padded end at multiples of this: what a prompt is padded to follows from itself alone, not from its neighbours, and so do its numbers to the last bit."""


class Query(NamedTuple):
    """A prompt on its way to an answer: the request's number, the request, its tokens (of which `lead` are the wording's own and `trunk` all but the question), its answer space and how it is searched.

    width: of a beam; of given answers ("rank"), how many nodes of the trie are read for them; of texts, how many tokens their drafts may have, 0 for a single text.
    """

    number: int
    request: Request
    tokens: list[int]
    lead: int
    trunk: int
    space: str
    mode: str
    width: int
    skipped: int


class Batch(NamedTuple):
    """Queries that are read together. fans: those with one history, where questions stand behind it together, each padded to `width` tokens."""

    mode: str
    space: str
    width: int
    queries: Sequence[Query]
    fans: Sequence[Sequence[Query]] = ()


class Recommender:
    """Answers requests with one language model.

    >>> recommender = Recommender.from_pretrained("runs/demo/model")          # doctest: +SKIP
    >>> recommender.recommend(history=["i12", "i7"], k=2)                     # doctest: +SKIP
    [Item(item_id='i40', title='...', score=-2.31), Item(item_id='i3', title='...', score=-2.87)]
    """

    def __init__(self, model: LanguageModel, composer: Composer, templates: Mapping[str, Sequence[PromptTemplate]], *, backing: Backing = Backing(), card: Mapping[str, object] | None = None, wording: str = "seen", batch_tokens: int = 16_384):
        """backing: what stands behind its answers.   card: what the model's folder says of it; of that, what was fitted on valid is used.
        wording: "seen" or "unseen": which wordings prompts are written in (the first of the request's language).   batch_tokens: prompt tokens read at once.
        """
        if wording not in ("seen", "unseen"):
            raise ValueError(f"wording is {wording!r}; expected 'seen' or 'unseen'")
        self.model, self.composer, self.templates = model, composer, dict(templates)
        self.card = dict(card or {})
        self.wording, self.batch_tokens = wording, batch_tokens
        self.as_sets = not (self.card.get("split") or {}).get("temporal", True)
        self.catalog = composer.catalog
        self.combiner = Combiner(backing, Fitted.of(self.card), catalog=self.catalog, vocabulary=composer.vocabulary)
        self.tasks = list(self.templates)
        self.titles = {item_id: title or UNTITLED for item_id, title in zip(self.catalog.item_ids, self.catalog.titles)}
        self._masks: dict[str, np.ndarray] = {}
        self._labels = np.array(self.catalog.item_ids, dtype=object)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, wording: str = "seen", batch_tokens: int = 16_384, device: str | None = None, backing: bool = True) -> Recommender:
        """Loads a model folder; nothing outside it is read but a hub base named in it. backing: whether what stands behind its answers is read, too.

        Raises FileNotFoundError naming what is missing, exits.ModelError (a ValueError) for what is damaged, of another format, or no model.
        """
        with reading_model():
            model, composer, templates, behind, about = load_parts(Path(folder), backing=backing)
            model.eval().requires_grad_(False).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            model.set_spaces(composer.spaces)
            return cls(model, composer, templates, backing=behind, card=about, wording=wording, batch_tokens=batch_tokens)

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
        queries: list[Query] = []
        for number, request in enumerate(requests):
            try:
                queries.append(self._query(number, request, beams, exhaustive))
            except (ValueError, KeyError) as error:
                answers[number] = Prediction(request.id, request.task, error=str(error.args[0]), user_id=request.user_id)
        with tqdm(total=len(requests), desc="predict", unit="request", disable=not progress, mininterval=1) as bar:
            for batch in self._batches(queries):
                try:
                    found = self._answer(*batch)
                except FloatingPointError as error:
                    found = [Prediction(error=str(error)) for _ in batch.queries]
                for query, prediction in zip(batch.queries, found, strict=True):
                    answers[query.number] = replace(prediction, id=query.request.id, task=query.request.task, skipped=query.skipped, user_id=query.request.user_id)
                bar.update(len(batch.queries))
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
            self._where(request.where)
        if not task.reads_history and request.history:
            request = replace(request, history=())
        if self.as_sets:  # as training showed them: what is only shown stands first
            request = replace(request, history=tuple(sorted(request.history, key=lambda event: event.seen)))
        tokens, lead, trunk, space, skipped, shown = self.composer.prompt(template, request, space=space)
        if request.exclude_seen and len(request.history) >= len(self.catalog) and self.catalog.rows.keys() <= {event.item_id for event in request.history if event.seen}:
            # Who has had everything is offered what lies longest back, rather than nothing: what the prompt does not show, half of a catalogue at least.
            latest = min(shown, len(self.catalog) // 2)
            request = replace(request, history=request.history[-latest:] if latest else ())
        if space == TEXT:
            drafts = len(self.combiner.temperatures(request.task))
            mode, width = "write", drafts * MAX_ANSWER_TOKENS if drafts > 1 else 0
        elif space != ITEMS:
            mode, width = "closed", 0
        else:
            trie = self.composer.spaces[ITEMS].trie
            width = min(max(beams, request.k), len(trie.codes))
            if trie.depth > 1 and request.candidates is not None:
                mode, width = "rank", _upward(count_nodes(trie, np.flatnonzero(self._allowed([request]).dense(len(trie.codes))[0])))
            # One token an item: the first read scores them all. And a beam that holds a quarter of the catalogue costs more than reading every node once.
            elif exhaustive or trie.depth == 1 or 4 * width >= len(trie.codes):
                mode, width = "exact", 0
            else:
                mode = "beam"
        return Query(number, request, tokens, lead, trunk, space, mode, width, skipped)

    def _batches(self, queries: Sequence[Query]) -> Iterator[Batch]:
        """What can be read together: prompts of one length with the same words of their own, or histories of one length with the questions behind each.

        In which batch a prompt stands, and beside what, moves none of its numbers.
        """
        alike: dict[tuple, list[Query]] = defaultdict(list)
        fans: dict[tuple, list[Query]] = defaultdict(list)
        for query in queries:
            if query.mode == "closed" and self.composer.spaces[query.space].trie.depth == 1:
                fans[query.space, query.lead, *query.tokens[: query.trunk]].append(query)
            else:
                alike[_key(query)].append(query)
        pieces: dict[tuple, list[list[Query]]] = defaultdict(list)
        for (space, lead, *trunk), fan in fans.items():
            if len(fan) == 1:
                alike[_key(fan[0])].append(fan[0])
                continue
            fan.sort(key=lambda query: query.tokens)  # whatever the order of the requests
            longest = max(len(query.tokens) for query in fan) - len(trunk)
            for piece in _chunks(fan, max(1, FAN_TOKENS // longest)):
                pieces[space, len(trunk), tuple(trunk[:lead]), _upward(sum(len(query.tokens) - len(trunk) for query in piece))].append(piece)
        for (mode, space, width, length, _), group in sorted(alike.items()):
            size = max(1, self.batch_tokens // (length + width))
            if space == ITEMS:
                size = min(size, max(1, MAX_SCORES // self.composer.spaces[ITEMS].trie.num_nodes))
            for batch in _chunks(group, size):
                yield Batch(mode, space, width, batch)
        for (space, length, _, tails), group in sorted(pieces.items()):
            for some in _chunks(group, max(1, self.batch_tokens // (length + tails))):
                yield Batch("fan", space, tails, [query for piece in some for query in piece], some)

    def _answer(self, mode: str, space_name: str, width: int, batch: Sequence[Query], fans: Sequence[Sequence[Query]]) -> list[Prediction]:
        lead = batch[0].lead
        if mode == "fan":
            reading = Reading.fans(self.model, [fan[0].tokens[: fan[0].trunk] for fan in fans], [[query.tokens[query.trunk :] for query in fan] for fan in fans], lead=lead, room=width)
        else:
            reading = Reading.of(self.model, [query.tokens for query in batch], lead=lead)
        if mode == "write":
            vocabulary = self.composer.vocabulary
            temperatures = self.combiner.temperatures(batch[0].request.task)
            guards = [[self.combiner.guard(query.request) for _ in temperatures] for query in batch]
            draws = [_draw(query.tokens) for query in batch] if width else ()
            written = write(reading, end=vocabulary.end, forbidden=vocabulary.control, max_tokens=MAX_ANSWER_TOKENS, guards=guards, temperatures=temperatures, draws=draws)
            return [self.combiner.text(query.request, [vocabulary.decode(text) for text in own]) for query, own in zip(batch, written)]
        space = self.composer.spaces[space_name]
        if mode in ("closed", "fan"):
            probabilities = np.exp(exact(reading, space.trie, space_name))
            return self.combiner.closed([query.request for query in batch], space_name, space, probabilities / probabilities.sum(axis=1, keepdims=True))
        allowed = self._allowed([query.request for query in batch])
        if mode == "exact":
            requests = [query.request for query in batch]
            scores = self.combiner.worded(requests, exact(reading, space.trie, space_name))  # of the whole catalogue: what is left out, of this request or of another, changes no score
            scores = self.combiner.remembering(requests, scores if allowed is None else np.where(allowed.dense(len(self.catalog)), scores, -np.inf))
            best = [_best(row, query.request.k) for query, row in zip(batch, scores)]
            return [self._listed(query.request.k, rows, row[rows]) for query, rows, row in zip(batch, best, scores)]
        if mode == "rank":
            given = [np.flatnonzero(row) for row in allowed.dense(len(space))]
            rows = np.full((len(batch), max(map(len, given))), -1, dtype=np.int64)
            for place, own in enumerate(given):
                rows[place, : len(own)] = own
            scores = score(reading, space.trie, space_name, rows, room=width)
            best = [_best(row, query.request.k) for query, row in zip(batch, scores)]
            return [self._listed(query.request.k, own[places], row[places]) for query, own, row, places in zip(batch, rows, scores, best)]
        rows, scores = beam(reading, space.trie, space_name, width=width, allowed=allowed)
        return [self._listed(query.request.k, row, score) for query, row, score in zip(batch, rows, scores)]

    def _listed(self, k: int, rows: np.ndarray, scores: np.ndarray) -> Prediction:
        count = min(k, int(np.isfinite(scores).sum()))
        return Prediction(item_ids=self._labels[rows[:count]].tolist(), scores=scores[:count].tolist(), truncated=count < k)

    def _allowed(self, requests: Sequence[Request]) -> Allowed | None:
        """Which items the requests may be answered with; None: all of them with any."""
        masks, without = zip(*map(self._constraint, requests))
        return Allowed(masks, without) if any(mask is not None or len(rows) for mask, rows in zip(masks, without)) else None

    def _constraint(self, request: Request) -> tuple[np.ndarray | None, np.ndarray]:
        """What one request may be answered with: (items,) bool, or None: all; and the rows left out of it."""
        rows = self.catalog.rows
        mask = self._where(request.where) if request.where else None
        chosen = request.candidates if request.candidates is not None else request.include
        if chosen is not None:
            named = np.zeros(len(self.catalog), dtype=bool)
            named[[rows[item_id] for item_id in chosen if item_id in rows]] = True
            mask = named if mask is None else mask & named
        left_out = set(request.exclude)
        if request.exclude_seen and request.candidates is None:
            left_out.update(event.item_id for event in request.history if event.seen)
        return mask, np.array(sorted(rows[item_id] for item_id in left_out if item_id in rows), dtype=np.int64)

    def _where(self, where: Mapping[str, object]) -> np.ndarray:
        """The mask of a predicate, kept for the requests that share it."""
        key = json.dumps(where, sort_keys=True, default=str)
        if key not in self._masks:
            if len(self._masks) >= MASKS:
                self._masks.pop(next(iter(self._masks)))
            self._masks[key] = where_mask(self.catalog, where)
        return self._masks[key]

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


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """The rows of the k best scores, best first, equal ones in row order."""
    rows = np.arange(len(scores))
    if 4 * k < len(scores):
        rows = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
    return rows[np.argsort(-scores[rows], kind="stable")]


def _events(history: Iterable[str | Event]) -> tuple[Event, ...]:
    return tuple(Event(x) if isinstance(x, str) else x for x in history)


def _key(query: Query) -> tuple[str, str, int, int, tuple[int, ...]]:
    """What must be equal for queries to be read together."""
    return query.mode, query.space, query.width, len(query.tokens), tuple(query.tokens[: query.lead])


def _draw(tokens: Sequence[int]) -> np.random.Generator:
    """Chance that follows from a prompt alone."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(np.array(tokens, dtype=np.int64).tobytes()).digest()[:16]))


def _upward(length: int) -> int:
    return -(-length // STRIDE) * STRIDE


def _chunks(queries: Sequence, size: int) -> Iterable[Sequence]:
    for start in range(0, len(queries), size):
        yield queries[start : start + size]
