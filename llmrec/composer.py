"""Composer: histories and questions written as tokens, for training and for answering alike.

Separate from the tasks (what is asked) and from the mixture (how much of what): here alone is decided which token stands where,
so a question has the same tokens, positions and answer slots when it is trained and when it is asked.

    trunk     <s> preamble  event event event ...        one history
    branch                             \\_ question answer    sees the trunk up to its place, and itself
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import accumulate, chain, repeat
from typing import NamedTuple

from llmrec.answers import ITEMS, RATING, TEXT, AnswerSpace, closed, free_text, number_label
from llmrec.interactions import Catalog, Event
from llmrec.predictions import Request
from llmrec.templates import Part, PromptTemplate
from llmrec.vocabulary import Vocabulary

YES_NO = {"en": ("no", "yes"), "zh": ("否", "是")}
"""The words of a yes/no answer, no first, per language."""

MAX_ANSWER_TOKENS = 96
"""A written answer is cut here in training, and stops here when it is generated."""


class Answer(NamedTuple):
    """An answer slot with its true answer: the tokens `start:stop` of its strand are answer `row` of the space (row -1: free text). It takes loss."""

    start: int
    stop: int
    space: str
    row: int


_answer = partial(tuple.__new__, Answer)
"""Answer(*values), in a third of the time."""


@dataclass
class Strand:
    """A run of tokens. `attach`: how many tokens of the trunk it sees (a trunk itself: 0)."""

    tokens: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    attach: int = 0


@dataclass
class Example:
    """One history with its answer slots, and the questions that branch off it. `task` names the loss it counts for.

    fold: of the user, whom the item rows should tell nothing that the own events say; None: it does not matter.
    """

    task: str
    trunk: Strand
    branches: list[Strand] = field(default_factory=list)
    fold: int | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.trunk.tokens) + sum(len(b.tokens) for b in self.branches)

    @property
    def num_answers(self) -> int:
        return len(self.trunk.answers) + sum(len(b.answers) for b in self.branches)


class Prompt(NamedTuple):
    """A prompt that ends where an answer of `space` begins. trunk: how many of its tokens are the history, which other questions may share.   lead: how many of these are the wording's own, before anything of the request.

    skipped: items of the history the catalogue does not hold.   shown: how many of its newest events fit.
    """

    tokens: list[int]
    lead: int
    trunk: int
    space: str
    skipped: int
    shown: int


_Piece = tuple[Sequence[int], int, int | None]
"""One event in tokens, and where among them its code and its rating begin (None: it has none). A plain tuple: thousands are made for a batch."""


class _Wording(NamedTuple):
    """How a template writes an event: `words` before the code (in tokens; none where `fields_before`, which the event decides), the code, what the item alone decides (`behind`), and from the first part that the event decides on, the `rest`."""

    number: int
    template: PromptTemplate
    fields_before: bool
    words: tuple[int, ...]
    behind: tuple[Part, ...]
    rest: tuple[Part, ...]


AUXILIARY = "~"
"""Stands before an event that is shown but never asked about, such as a cart beside purchases."""

_OF_EVENTS = ("rating", "context", "gap")
"""The fields that the event decides, not its item."""


class Composer:
    """Writes prompts in the tokens of one model.

    spaces: every answer space by name: the catalogue, the rating scale, yes/no per language, free text.
    max_prompt_tokens: a history is cut to its newest whole events that fit.
    """

    def __init__(self, vocabulary: Vocabulary, catalog: Catalog, items: AnswerSpace, *, rating_scale: Sequence[float] = (), max_prompt_tokens: int = 512):
        self.vocabulary = vocabulary
        self.catalog = catalog
        self.max_prompt_tokens = max_prompt_tokens
        self.spaces: dict[str, AnswerSpace] = {ITEMS: items, TEXT: free_text()}
        if rating_scale:
            labels = [number_label(value) for value in rating_scale]
            codes = [vocabulary.template(label) for label in labels]
            self.spaces[RATING] = closed(RATING, codes, labels, end=vocabulary.end, values=rating_scale)
        for language, words in YES_NO.items():
            name = f"yes_no.{language}"
            self.spaces[name] = closed(name, [vocabulary.template(w) for w in words], ("no", "yes"), end=vocabulary.end, values=(0.0, 1.0))
        self._code = lru_cache(maxsize=131_072)(lambda row: tuple(items.trie.code(row)))  # a tuple for each of a million items would be as large as their trie
        self._wordings: list[_Wording] = []
        self._wording = lru_cache(maxsize=None)(self._worded)
        self._stems = lru_cache(maxsize=131_072)(self._stem)
        self._rows = catalog.rows

    def space_for(self, name: str, language: str) -> str:
        """The full name of a space in a language: yes and no are words."""
        return f"yes_no.{language if language in YES_NO else 'en'}" if name == "yes_no" else name

    def head(self, template: PromptTemplate) -> list[int]:
        """The start token and the preamble."""
        return [self.vocabulary.start, *self.vocabulary.template(template.preamble)] if template.preamble else [self.vocabulary.start]

    def trunk(self, template: PromptTemplate, events: Sequence[Event], *, learn: str | None = None, room: int = 0) -> tuple[Strand, list[int]]:
        """The preamble and the newest events that fit, leaving `room` tokens; with where each event ends.

        learn: what in each event is an answer that takes loss: ITEMS, its code; RATING, its rating. The list of ends has one entry per event of `events`, 0 for one that was cut.
        """
        head, wording = self.head(template), self._wording(template)
        budget = self.max_prompt_tokens - len(head) - room
        pieces: list[_Piece] = []
        for number in reversed(range(len(events))):
            piece = self._event(wording, events[number], events[number - 1] if number else None)
            budget -= len(piece[0])
            if budget < 0:
                break
            pieces.append(piece)
        pieces.reverse()
        cut = len(events) - len(pieces)
        ends = list(accumulate([len(tokens) for tokens, _, _ in pieces], initial=len(head)))
        strand = Strand([*head, *chain.from_iterable([tokens for tokens, _, _ in pieces])])
        if learn == ITEMS:
            rows = [self._rows[event.item_id] for event in events[cut:]]
            first = [start + code for start, (_, code, _) in zip(ends, pieces)]
            stop = [start + len(self._code(row)) for start, row in zip(first, rows)]
            strand.answers = list(map(_answer, zip(first, stop, repeat(ITEMS), rows)))
        elif learn == RATING:
            space = self.spaces[RATING]
            for event, (_, _, rating), start in zip(events[cut:], pieces, ends):
                if rating is not None and event.seen:  # an auxiliary event's rating is read, not foretold
                    row = space.rows[number_label(self._on_scale(event.rating))]
                    strand.answers.append(Answer(start + rating, start + rating + int(space.trie.lengths[row]), RATING, row))
        return strand, [0] * cut + ends[1:]

    def branch(self, template: PromptTemplate, request: Request, *, space: str, attach: int, label: str) -> Strand:
        """A question behind the first `attach` tokens of a trunk, with its true answer. label: an answer of the space, or the text to write."""
        strand = Strand(self.question(template, request), attach=attach)
        start = len(strand.tokens)
        if space == TEXT:
            code, row = [*self.vocabulary.quote(label)[: MAX_ANSWER_TOKENS - 1], self.vocabulary.end], -1
        else:
            row = self.spaces[space].rows[label]
            code = self.spaces[space].trie.code(row)
        strand.tokens.extend(code)
        strand.answers.append(Answer(start, len(strand.tokens), space, row))
        return strand

    def prompt(self, template: PromptTemplate, request: Request, *, space: str) -> Prompt:
        """The tokens before the answer to a request: its history, then its question or, for a stream task, what stands before the next event's code. Unknown items are skipped and counted."""
        events = [e for e in request.history if e.item_id in self._rows]
        tail = self.question(template, request) if template.question else self._before_code(template, request.context, request.timestamp, events[-1] if events else None)
        strand, ends = self.trunk(template, events, room=len(tail))
        return Prompt(strand.tokens + tail, len(self.head(template)), len(strand.tokens), space, len(request.history) - len(events), sum(end > 0 for end in ends))

    def question(self, template: PromptTemplate, request: Request) -> list[int]:
        """The tokens of a template's question, its fields filled from the request."""
        tokens: list[int] = []
        for text, name in template.question_parts:
            if text is not None:
                tokens.extend(self.vocabulary.template(text))
            elif name == "code":
                tokens.extend(self._code(self._rows[request.item_id]))
            elif name == "title":
                tokens.extend(self.vocabulary.quote(self.catalog.titles[self._rows[request.item_id]]))
            elif name == "context":
                tokens.extend(self._context(request.context))
            else:
                tokens.extend(self.vocabulary.quote(getattr(request, name) or ""))
        return tokens

    def _event(self, wording: _Wording, event: Event, previous: Event | None) -> _Piece:
        if not event.seen:
            tokens, code, rating = self._event(wording, event._replace(seen=True), previous)
            mark = self.vocabulary.template(AUXILIARY)
            return [*mark, *tokens], code + len(mark), None if rating is None else rating + len(mark)
        row = self._rows[event.item_id]
        stem = self._stems(wording.number, row)
        if not wording.fields_before and not wording.rest:
            return stem, len(wording.words), None
        template = wording.template
        before = self._before_code(template, event.context, event.timestamp, previous) if wording.fields_before else []
        tokens, rating = [*before, *stem], None
        for text, name in wording.rest:
            if text is not None:
                tokens.extend(self.vocabulary.template(text))
            elif name == "rating" and event.rating is not None:
                rating = len(tokens)
                tokens.extend(self._rating(event.rating))
            elif name == "context":
                tokens.extend(self._context(event.context))
            elif name == "gap":
                tokens.extend(self._gap(template, event.timestamp, previous))
            elif name == "title":
                tokens.extend(self.vocabulary.quote(self.catalog.titles[row]))
        return tokens, len(before) if wording.fields_before else len(wording.words), rating

    def _worded(self, template: PromptTemplate) -> _Wording:
        """The template's event, with what depends on the item alone written once for each item."""
        parts = list(template.event_parts)
        code = next(place for place, part in enumerate(parts) if part.field == "code")
        decided = next((place for place, part in enumerate(parts) if place > code and part.field in _OF_EVENTS), len(parts))
        fields_before = any(part.field for part in parts[:code])
        words = () if fields_before else tuple(token for part in parts[:code] for token in self.vocabulary.template(part.text))
        self._wordings.append(_Wording(len(self._wordings), template, fields_before, words, tuple(parts[code + 1 : decided]), tuple(parts[decided:])))
        return self._wordings[-1]

    def _stem(self, number: int, row: int) -> tuple[int, ...]:
        """An item's code in wording `number`, with what depends on the item alone around it."""
        wording = self._wordings[number]
        tokens = [*wording.words, *self._code(row)]
        for text, _ in wording.behind:
            tokens.extend(self.vocabulary.template(text) if text is not None else self.vocabulary.quote(self.catalog.titles[row]))
        return tuple(tokens)

    def _before_code(self, template: PromptTemplate, context: Mapping[str, str] | None, timestamp: float | None, previous: Event | None) -> list[int]:
        """What stands before an event's code: known before the item is."""
        tokens: list[int] = []
        for text, name in template.event_parts:
            if name == "code":
                break
            if text is not None:
                tokens.extend(self.vocabulary.template(text))
            elif name == "context":
                tokens.extend(self._context(context))
            elif name == "gap":
                tokens.extend(self._gap(template, timestamp, previous))
        return tokens

    def _context(self, context: Mapping[str, str] | None) -> tuple[int, ...]:
        return self.vocabulary.quote(" ".join(context.values())) if context else ()

    def _rating(self, rating: float) -> Sequence[int]:
        space = self.spaces.get(RATING)
        if space is None:
            return self.vocabulary.template(number_label(rating))
        return space.trie.code(space.rows[number_label(self._on_scale(rating))])

    def _on_scale(self, rating: float) -> float:
        """A rating between two points of the scale counts as the nearest one."""
        values = self.spaces[RATING].values
        return float(values[abs(values - rating).argmin()])

    def _gap(self, template: PromptTemplate, timestamp: float | None, previous: Event | None) -> tuple[int, ...]:
        if timestamp is None or previous is None or previous.timestamp is None:
            return ()
        return self.vocabulary.template(gap_words(timestamp - previous.timestamp, template.language))


_GAPS = ((3600, "within the hour", "一小时内"), (86_400, "the same day", "当天"), (7 * 86_400, "days later", "几天后"), (60 * 86_400, "weeks later", "几周后"))


def gap_words(seconds: float, language: str) -> str:
    """How long after the event before it, in words.

    >>> gap_words(90_000, "en")
    'days later'
    """
    for limit, english, chinese in _GAPS:
        if seconds < limit:
            return chinese if language == "zh" else english
    return "很久以后" if language == "zh" else "long after"
