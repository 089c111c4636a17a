"""What stands behind a language model's answers, and how it is combined with them: a stack on top of the model, made of train and weighed on valid.

Separate from `answering`, which turns requests into prompts and asks the model, and from the parts themselves, each of which knows its own files.

    items           model's log-probabilities -words of the query-> -memory of items-> -what is only shown-> log-probabilities
    rating, yes/no  model's probabilities -temperature, blend with expectations and affinities-> probabilities
    text            drafts, held to what the item is known for -consensus with precedents, among those that may be said-> one text
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from llmrec.affinities import Affinities
from llmrec.answers import RATING, AnswerSpace
from llmrec.baselines.search import TextIndex
from llmrec.calibration import blended, spread, tempered
from llmrec.consensus import TEMPERATURES, agreed
from llmrec.evidence import WORDINGS, clean, evidence, openings, plain_words, sentences
from llmrec.expectations import Expectations
from llmrec.grounding import Claim, Grounding, Speller
from llmrec.interactions import TRAIN, Catalog
from llmrec.lexical import pooled
from llmrec.memory import Memory, mixed
from llmrec.metrics.text import words
from llmrec.naming import Names
from llmrec.precedents import Precedents
from llmrec.predictions import Prediction, Request
from llmrec.quotations import Quotations
from llmrec.tasks import TASKS, find_task
from llmrec.timelines import Timelines
from llmrec.vocabulary import Vocabulary


PARTS = ("expectations", "affinities", "memory", "precedents", "grounding", "quotations")
"""The names of the parts' files and folders in a model's."""
_PLAIN, _PLAIN_DRAWS = 80, 8
"""Characters of a review's beginning that stand for a summary of it; plain sentences that are tried."""
_MAX_READ = 4_096
"""Characters of a review that its summary may quote."""


@dataclass(frozen=True)
class Backing:
    """The parts; each may be missing. precedents: of each text task."""

    expectations: Expectations | None = None
    affinities: Affinities | None = None
    memory: Memory | None = None
    precedents: Mapping[str, Precedents] = field(default_factory=dict)
    grounding: Grounding | None = None
    quotations: Quotations | None = None

    @classmethod
    def of(cls, timelines: Timelines, tasks: Sequence[str], *, seed: int, expectations: bool, memory: bool, precedents: bool, unquoted: bool = False) -> Backing:
        """Made of train, for a model that answers these tasks; which parts, the settings say, and grounding wherever a task is held to it. expectations: those of ratings, and for yes and no that are no ratings affinities.   unquoted: quotations, where people wrote what is learned from.

        Raises ValueError where expectations are wanted of a corpus that has neither.
        """
        quotable = [TASKS[name] for name in tasks if TASKS[name].quotable(timelines.corpus)]
        found = {task.name: Precedents.of(task.held_out(timelines, TRAIN, seed)) for task in quotable if precedents}
        expected, affinities = (Expectations.of(timelines, seed=seed), Affinities.of(timelines, [name for name in tasks if TASKS[name].family == "binary"])) if expectations else (None, None)
        if expectations and expected is affinities is None:
            raise ValueError(f"expectations=true needs in train ratings on a scale of at least two values, or clicks or purchases that are answered with yes and with no; corpus {timelines.corpus.name!r} has none: set expectations=false")
        return cls(
            expected, affinities, Memory.of(timelines, seed=seed) if memory else None,
            {name: each for name, each in found.items() if each is not None}, Grounding.of(timelines.corpus) if any(TASKS[name].grounded for name in tasks) else None,
            Quotations.of(timelines.corpus) if quotable and unquoted else None,
        )

    def used(self, fitted: Fitted) -> Backing:
        """Without the precedents that have no share in what was fitted: what nobody asks need not be kept."""
        return replace(self, precedents={name: found for name, found in self.precedents.items() if fitted.consensus.get(name)})

    def expects(self, task: str) -> bool:
        """Whether anything but the model says what its answers to a rating or yes/no task may be."""
        return self.num_estimates(task) > 0

    def num_estimates(self, task: str) -> int:
        """How many numbers say so."""
        likes = self.affinities is not None and task in self.affinities.rates
        return Expectations.NUM_ESTIMATES * (self.expectations is not None) + Affinities.NUM_ESTIMATES * likes

    def save(self, folder: Path) -> None:
        """Writes the files of each part into an existing folder."""
        for part in (self.expectations, self.affinities, self.memory, self.grounding, self.quotations):
            if part is not None:
                part.save(folder)
        for task, part in self.precedents.items():
            part.save(folder, task)

    @classmethod
    def load(cls, folder: Path, catalog: Catalog, tasks: Sequence[str]) -> Backing:
        """What `save` wrote. Raises ValueError for a part of another format, or of other items."""
        found = {name: Precedents.load(folder, name) for name in tasks if name in TASKS}
        return cls(
            Expectations.load(folder, catalog.rows), Affinities.load(folder, catalog), Memory.load(folder, catalog.rows), {name: each for name, each in found.items() if each is not None}, Grounding.load(folder, len(catalog)), Quotations.load(folder),
        )


@dataclass(frozen=True)
class Fitted:
    """What was fitted on valid, by task: the temperatures of probabilities, the blends with expectations, the shares of the memory and of what is only shown, the lexical weight of the words an item shares with a query, and, for tasks whose texts are chosen by consensus, the share of precedents in it, and how much more the words of the question count there."""

    temperatures: Mapping[str, float] = field(default_factory=dict)
    blends: Mapping[str, Sequence[float]] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    shown: Mapping[str, float] = field(default_factory=dict)
    lexical: Mapping[str, float] = field(default_factory=dict)
    consensus: Mapping[str, float] = field(default_factory=dict)
    quoting: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, card: Mapping[str, object]) -> Fitted:
        """What a model's card holds of it; a consensus without precedents may stand there as a list of tasks. Raises ValueError for shares that are no numbers."""
        held = {name: card.get(name) or {} for name in cls.__dataclass_fields__}
        if any(not isinstance(share, int | float) for share in held["shares"].values()):
            raise ValueError(f"the card's shares of the memory are {held['shares']}; expected a number for each task. Train the model again")
        return cls(**{name: dict.fromkeys(told, 0.0) if isinstance(told, list) else dict(told) for name, told in held.items()})


class Combiner:
    """The model's own answers combined with what stands behind them. `fitted` may be replaced, to try other weights."""

    def __init__(self, backing: Backing, fitted: Fitted, *, catalog: Catalog, vocabulary: Vocabulary):
        self.backing, self.fitted, self.catalog, self.vocabulary = backing, fitted, catalog, vocabulary
        for task, weights in fitted.blends.items():
            if backing.expects(task) and len(weights) != 2 + backing.num_estimates(task):
                raise ValueError(f"the card's blend of {task} has {len(weights)} weights, for {backing.num_estimates(task)} estimates beside the model's own and a constant: they are not of one model. Make it anew: python -m train.refit")

    # --- items -----------------------------------------------------------------------------------------------------------------

    @cached_property
    def texts(self) -> TextIndex:
        """The words of the catalogue's items."""
        return TextIndex(self.catalog)

    def worded(self, requests: Sequence[Request], scores: np.ndarray) -> np.ndarray:
        """(requests, items): log-probabilities of the whole catalogue, pooled with what the words of a query say, for tasks that weigh them."""
        weights = np.array([self.fitted.lexical.get(request.task, 0.0) if request.query else 0.0 for request in requests])
        for weight in np.unique(weights[weights > 0]):
            own = weights == weight
            scores[own] = pooled(scores[own], self.texts([request.query for request, chosen in zip(requests, own) if chosen]), float(weight))
        return scores

    def remembering(self, requests: Sequence[Request], scores: np.ndarray) -> np.ndarray:
        """(requests, items): log-probabilities, -inf where an item may not be answered, mixed with the memory for tasks that have a share of it."""
        memory = self.backing.memory
        for fitted, remembered in ((self.fitted.shares, memory), (self.fitted.shown, memory.shown)) if memory is not None else ():
            shares = np.array([fitted.get(request.task, 0.0) for request in requests])
            for share in np.unique(shares[shares > 0]):
                own = shares == share
                scores[own] = mixed(scores[own], remembered([request.history for request, chosen in zip(requests, own) if chosen]), float(share))
        return scores

    # --- ratings, yes and no -----------------------------------------------------------------------------------------------------

    def closed(self, requests: Sequence[Request], space_name: str, space: AnswerSpace, probabilities: np.ndarray) -> list[Prediction]:
        """The calibrated answers. probabilities: (requests, answers), as the model has them."""
        for task in {request.task for request in requests}:
            own, temperature = np.array([request.task == task for request in requests]), self.fitted.temperatures.get(task, 1.0)
            said = probabilities[own]
            if task in self.fitted.blends and self.backing.expects(task):
                expected = self.expected(task, [request for request in requests if request.task == task])
                probabilities[own] = blended(said, space.values, expected, self.fitted.blends[task], temperature)
            elif space_name == RATING and temperature != 1.0:
                probabilities[own] = spread(said, space.values, (said * space.values).sum(axis=1), temperature)
            else:
                probabilities[own] = tempered(said, temperature)
        if space_name == RATING:
            return [Prediction(value=float(row @ space.values), distribution={label: float(p) for label, p in zip(space.labels, row)}) for row in probabilities]
        return [Prediction(probability=float(row @ space.values)) for row in probabilities]

    def expected(self, task: str, requests: Sequence[Request]) -> np.ndarray:
        """(requests, estimates) what is expected of each question of one task: what the ratings of others say, where there are some, and the affinities of yes and no, where it has some."""
        estimates = [self._rated(requests)] if self.backing.expectations is not None else []
        if self.backing.affinities is not None and task in self.backing.affinities.rates:
            estimates.append(self.backing.affinities(task, requests))
        return np.concatenate(estimates, axis=1)

    def _rated(self, requests: Sequence[Request]) -> np.ndarray:
        """(requests, estimates) see Expectations. Questions that share a history share its reading."""
        told: dict[tuple, int] = {}
        histories, users = [], []
        for request in requests:
            key = tuple((event.item_id, event.rating) for event in request.history)
            if key not in told:
                told[key] = len(told)
                histories.append(request.history)
            users.append(told[key])
        return self.backing.expectations(histories, np.array(users), np.array([self.catalog.rows[request.item_id] for request in requests]))

    # --- texts -------------------------------------------------------------------------------------------------------------------

    @cached_property
    def _speller(self) -> Speller:
        return Speller(self.vocabulary, self.backing.grounding.features)

    def temperatures(self, task: str) -> tuple[float, ...]:
        """Of the drafts that are written of each text of a task: the most probable one alone, or those a consensus is found among."""
        return TEMPERATURES if task in self.fitted.consensus else (0.0,)

    def guard(self, request: Request) -> Claim | None:
        """What a written answer must not name: features of other items, where the task is about one and the model knows features."""
        forbidden = self._forbidden(request)
        return None if forbidden is None else Claim(self._speller, forbidden)

    def text(self, request: Request, drafts: Sequence[str]) -> Prediction:
        """The answer among its drafts, one for each of the task's temperatures, what was answered to like questions, and the beginnings of what the review says; a plain one where none of them stands."""
        drafts, stands = [clean(draft) for draft in drafts], self._standing(request)
        if request.task not in self.fitted.consensus:
            found = drafts[0] if stands(drafts[0]) else None
        else:
            share, quoting = self.fitted.consensus[request.task], self.fitted.quoting.get(request.task)
            found = agreed(drafts, self.precedents(request) if share else (), share, openings(request.review) if quoting and request.review else (), quoting or 1.0, stands=stands)
        return Prediction(text=self._plain(request), plain=True) if found is None else Prediction(text=found)

    @cached_property
    def _names(self) -> Names:
        return Names(self.catalog.titles)

    def _standing(self, request: Request) -> Callable[[str], bool]:
        """Whether a written text may be the answer: it says something, names no item that the question does not speak of, and is in nobody's words but the question's own, where quotations are known."""
        review, quotations, rows = (request.review or "")[:_MAX_READ], self.backing.quotations, self._rows(request)
        spoken_of = {*rows, *(row for named in self._names(plain_words(review)) for row in named)}

        def stands(text: str) -> bool:
            if not text or any(named.isdisjoint(spoken_of) for named in self._names(text)):
                return False
            return quotations is None or not quotations.holds(text, own=review, names={self.catalog.titles[row] for row in rows})

        return stands

    def _plain(self, request: Request) -> str:
        """What can be said without writing: how the review that is asked about begins, else what the item shares with the history, in words that name no feature it may not."""
        if "review" in find_task(request.task).required:
            return clean(next(iter(sentences(clean(request.review or ""))), ""), _PLAIN) or "\u2026"
        *history, item = self._rows(request)
        language, forbidden = request.language if request.language in WORDINGS else "en", self._forbidden(request) or frozenset()
        said = [evidence(self.catalog, history, item, np.random.default_rng(draw), language) for draw in range(_PLAIN_DRAWS)]
        return next((sentence for sentence in said if forbidden.isdisjoint(words(sentence))), said[0])

    def _rows(self, request: Request) -> list[int]:
        """The rows of the history's items, and of the item asked about as the last."""
        told = [event.item_id for event in request.history] + ([request.item_id] if request.item_id is not None else [])
        return [self.catalog.rows[item_id] for item_id in told if item_id in self.catalog.rows]

    def precedents(self, request: Request) -> list[tuple[str, float]]:
        """Those of a request that name nothing its answer must not name, with weights that sum to 1."""
        known, forbidden = self.backing.precedents.get(request.task), self._forbidden(request) or frozenset()
        found = [(text, weight) for text, weight in known(request) if forbidden.isdisjoint(words(text))] if known is not None else []
        total = sum(weight for _, weight in found)
        return [(text, weight / total) for text, weight in found]

    def _forbidden(self, request: Request) -> frozenset[str] | None:
        grounding = self.backing.grounding
        if grounding is None or not find_task(request.task).grounded or request.item_id is None:
            return None
        return frozenset(grounding.features) - grounding.of_item(self.catalog.rows[request.item_id])
