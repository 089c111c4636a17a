"""Prompt templates: the words around a history and a question, read from prompts/<task>.yaml.

Separate from the tasks, so that wordings can be added, translated and checked without touching Python.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import yaml

EVENT_FIELDS = ("code", "rating", "context", "gap", "title")
BEFORE_CODE = ("context", "gap")
"""The fields that may stand before an event's code: they are known before the item is."""

BARE = "bare"
"""The name of a wording without words: codes and answers alone."""

_KEYS = ("name", "language", "preamble", "event", "question", "split")


class Part(NamedTuple):
    """A literal or a field of a template; exactly one of the two is set."""

    text: str | None
    field: str | None


@dataclass(frozen=True)
class PromptTemplate:
    """One wording: preamble (the instruction), event (how one event of the stream is written), question (what is asked behind it, if the task asks).

    `unseen` wordings are kept out of training; the evaluation uses them.
    """

    name: str
    language: str
    preamble: str
    event: str
    question: str = ""
    unseen: bool = False

    @cached_property
    def event_parts(self) -> tuple[Part, ...]:
        return parse(self.event)

    @cached_property
    def question_parts(self) -> tuple[Part, ...]:
        return parse(self.question)

    @property
    def fields(self) -> frozenset[str]:
        """What it shows of a history and a question, beside its words."""
        return frozenset(part.field for part in (*self.event_parts, *self.question_parts) if part.field)

    @property
    def event_is_question(self) -> bool:
        """Whether an event is the question followed by its rating, so that a history is a row of answered questions."""
        return self.event_parts == (*self.question_parts, Part(None, "rating"))


def parse(text: str) -> tuple[Part, ...]:
    """The literals and fields of a template text, in order. Raises ValueError for stray braces, format specifications and positional fields.

    >>> parse("rated {rating}.")
    (Part(text='rated ', field=None), Part(text=None, field='rating'), Part(text='.', field=None))
    """
    parts: list[Part] = []
    try:
        for literal, field, specification, conversion in string.Formatter().parse(text):
            if literal:
                parts.append(Part(literal, None))
            if field is not None:
                if not field.isidentifier() or specification or conversion:
                    raise ValueError(f"{{{field}}} is no plain field name")
                parts.append(Part(None, field))
    except ValueError as error:
        raise ValueError(f"template {text!r}: {error}; expected literals and plain {{field}} placeholders") from None
    return tuple(parts)


def load_templates(path: Path, *, required: Sequence[str], offered: Sequence[str]) -> tuple[PromptTemplate, ...]:
    """The templates of one file, checked both ways: every placeholder is a field the task offers, every field the task requires is a placeholder.

    Args:
        required: fields each question must hold (empty: a stream task, which has no question).
        offered: fields a question may hold.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no list of entries, an entry lacks a key or has an unknown one, or a placeholder does not fit. The entry is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: a task needs its templates in prompts/<task>.yaml")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} holds {type(entries).__name__}; expected a list of templates")
    templates = tuple(_template(path, entry, required, offered) for entry in entries)
    names = [t.name for t in templates]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{path}: the name {sorted(twice)[0]!r} stands twice; names must differ")
    return templates


def save_templates(path: Path, templates: Iterable[PromptTemplate]) -> None:
    """Writes templates as `load_templates` reads them."""
    entries = []
    for t in templates:
        entry = {"name": t.name, "language": t.language, "preamble": t.preamble, "event": t.event}
        if t.question:
            entry["question"] = t.question
        if t.unseen:
            entry["split"] = "unseen"
        entries.append(entry)
    path.write_text(yaml.safe_dump(entries, allow_unicode=True, sort_keys=False, width=200), encoding="utf-8")


def choose(templates: Sequence[PromptTemplate], language: str, *, unseen: bool) -> list[PromptTemplate]:
    """The templates of a language that are (or are not) kept for evaluation; where there is none of that kind, all of the language; where there is no such language, English ones, then any."""
    of_language = [t for t in templates if t.language == language] or [t for t in templates if t.language == "en"] or list(templates)
    return [t for t in of_language if t.unseen == unseen] or of_language


def _template(path: Path, entry: object, required: Sequence[str], offered: Sequence[str]) -> PromptTemplate:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: an entry is {entry!r}; expected a mapping with {', '.join(_KEYS)}")
    where = f"{path}, template {entry.get('name')!r}"
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), _KEYS, 1)
        raise ValueError(f"{where}: unknown key {unknown[0]!r}{f'; did you mean {close[0]!r}?' if close else ''} A template has: {', '.join(_KEYS)}")
    for key in ("name", "language", "preamble", "event"):
        if not isinstance(entry.get(key), str):
            raise ValueError(f"{where}: {key} is {entry.get(key)!r}; expected text")
    if entry.get("split") not in (None, "unseen"):
        raise ValueError(f"{where}: split is {entry['split']!r}; expected 'unseen' or nothing")
    template = PromptTemplate(entry["name"], entry["language"], entry["preamble"], entry["event"], entry.get("question") or "", entry.get("split") == "unseen")
    if parse(template.preamble) and any(p.field for p in parse(template.preamble)):
        raise ValueError(f"{where}: the preamble holds a placeholder; it stands before all events and may not")
    _check_event(where, template.event_parts)
    fields = [p.field for p in template.question_parts if p.field]
    foreign = [f for f in fields if f not in offered]
    missing = [f for f in required if f not in fields]
    if foreign:
        raise ValueError(f"{where}: the question holds {{{foreign[0]}}}, which this task does not offer; it offers: {', '.join(offered) or 'nothing'}")
    if missing:
        raise ValueError(f"{where}: the question lacks {{{missing[0]}}}, which this task requires")
    if template.question and not required:
        raise ValueError(f"{where}: this task asks nothing behind its stream; remove the question")
    return template


def _check_event(where: str, parts: Sequence[Part]) -> None:
    fields = [p.field for p in parts if p.field]
    foreign = [f for f in fields if f not in EVENT_FIELDS]
    if foreign:
        raise ValueError(f"{where}: the event holds {{{foreign[0]}}}; an event offers: {', '.join(EVENT_FIELDS)}")
    if fields.count("code") != 1:
        raise ValueError(f"{where}: the event holds {{code}} {fields.count('code')} times; expected once")
    early = [f for f in fields[: fields.index("code")] if f not in BEFORE_CODE]
    if early:
        raise ValueError(f"{where}: {{{early[0]}}} stands before {{code}}; it would tell the item before it is predicted")
