"""Texts that explain a choice: sentences out of reviews, and sentences built from the catalogue where a log has no reviews.

Separate from the explanation task, so that what may be claimed about an item is decided, and tested, in one place without prompts or models.
"""

from __future__ import annotations

import html
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llmrec.interactions import TRAIN, Catalog, Corpus
from llmrec.metrics.text import feature_vocabulary
from llmrec.words import is_unspaced, run_pattern

MAX_CHARACTERS = 512
MAX_LAYERS = 10
"""Times that what was taken out of a text may lay bare something else to be taken out."""

_LONGEST_TITLE = 120  # two titles and the words around them stay well under MAX_CHARACTERS
_RUN = run_pattern(r"\w", joiners="'\u2019-")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Soft hyphens, zero-width and bidirectional controls, private use, lone surrogates, tag characters.
# The joiners U+200C and U+200D stay: Persian and Indic words need them.
_HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e007f]"
)
_MARKDOWN_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))*\)")
_MARKUP = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>|\b(?:https?|ftp)://[^\s<>]+|\bwww\.[^\s<>]+", re.IGNORECASE | re.DOTALL)
_SENTENCE_END = re.compile(
    r"(?<=[.!?\u2026])([\"'\u201d\u2019)\]]*)\s+"  # an end mark, closing quotes, a space
    r"|(?<=[\u3002\uff01\uff1f])([\u201d\u2019\uff09]*)\s*"  # a Chinese end mark needs no space
    r"|(?<=[a-z][.!?])(?=[A-Z])()"  # "great.The strings"
    r"|\s*[\r\n]+()\s*"
)
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|mr|mrs|ms|dr|st|no|approx|[a-z])\.$", re.IGNORECASE)

# The attribute word of a column name. A column of mixed values ("attributes", "tags") has none: its values are quoted.
_ATTRIBUTE_NAMES = {
    "en": {
        "genres": "genre", "categories": "category", "brands": "brand", "actors": "actor", "directors": "director", "authors": "author", "artists": "artist",
        "tags": "", "attributes": "", "features": "",
    },
    "zh": {
        "genre": "类型", "genres": "类型", "category": "类别", "categories": "类别", "brand": "品牌", "brands": "品牌", "actor": "演员", "actors": "演员",
        "director": "导演", "directors": "导演", "author": "作者", "authors": "作者", "artist": "艺人", "artists": "艺人", "year": "年份", "color": "颜色",
        "price": "价格", "style": "风格", "tags": "", "attributes": "", "features": "",
    },
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class _Wordings:
    """Sentences of one language by what can be said.

    {item} and {example} are titles; {shared}, {also} and {own} an attribute with its value; {count} is at least two.
    A sentence with a slot that has no filling is not used.
    """

    shared: tuple[str, ...]
    different: tuple[str, ...]
    unlisted: tuple[str, ...]
    first: tuple[str, ...]
    repeated: tuple[str, ...]
    this_item: str
    quotes: str


WORDINGS: Mapping[str, _Wordings] = {
    "en": _Wordings(
        shared=(
            "{item} shares {shared} with {example}, which you chose.",
            "Because you chose {example}: {item} has {shared} too.",
            "Like {example} from your history, {item} comes with {shared}.",
            "You went for {example} before, and {item} matches it in {shared}.",
            "{item} has {shared} and {also}, just as {example} does.",
            "What {item} has in common with {example}: {shared} and {also}.",
            "You made {count} choices with {shared}, {example} among them; {item} is one more.",
            "You chose {shared} {count} times, and {item} has it too.",
            "{item} goes on from your {count} choices with {shared}, such as {example}.",
            "Your history holds {shared}, and so does {item}.",
            "With {shared}, {item} stays close to what you chose before.",
        ),
        different=(
            "Nothing you chose shares a listed attribute with {item}; it is something different.",
            "{item} has no listed attribute in common with your history.",
            "{item} has {own}, which none of your choices has.",
            "Your past choices do not explain {item}; it would be a change.",
        ),
        unlisted=("Nothing is listed of {item} that your choices could be compared with.",),
        first=(
            "There is no history to go by yet; {item} is a suggestion to start with.",
            "{item} is a first suggestion, made without knowing your choices.",
            "You have not chosen anything yet, so {item} is simply a place to start.",
        ),
        repeated=(
            "You have chosen {item} before.",
            "{item} is already in your history.",
            "Your history holds {item} itself, so it may be time for it again.",
        ),
        this_item="this item",
        quotes="{}",
    ),
    "zh": _Wordings(
        shared=(
            "{item}和你选过的{example}有相同的{shared}。",
            "因为你选过{example}：{item}同样带有{shared}。",
            "就像你历史中的{example}，{item}也有{shared}。",
            "你之前选了{example}，{item}在{shared}上与它一致。",
            "{item}与{example}都有{shared}和{also}。",
            "{item}和{example}的共同点：{shared}、{also}。",
            "你的选择中有{count}个带有{shared}，例如{example}，{item}也是。",
            "你选过{count}个带有{shared}的，{item}也有。",
            "{item}延续了你那{count}个带有{shared}的选择，如{example}。",
            "你的历史里出现过{shared}，{item}也有。",
            "凭着{shared}，{item}与你以往的选择相近。",
        ),
        different=(
            "你选过的都与{item}没有共同的属性，它有所不同。",
            "{item}与你的历史没有列出的共同点。",
            "{item}有{own}，你以往的选择都没有。",
            "从以往的选择看不出为何是{item}，算是换换口味。",
        ),
        unlisted=("{item}没有列出可与你的选择相比的属性。",),
        first=(
            "目前还没有历史可参考，{item}只是一个起点。",
            "在不了解你的选择时，{item}是第一个建议。",
            "你还没有选过什么，不妨从{item}开始。",
        ),
        repeated=(
            "你以前选过{item}。",
            "{item}已经在你的历史里。",
            "你的历史里就有{item}，也许该再来一次。",
        ),
        this_item="这一项",
        quotes="“{}”",
    ),
}


class _Pair(NamedTuple):
    attribute: str
    value: str


def evidence(catalog: Catalog, history_rows: Sequence[int], item_row: int, rng: np.random.Generator, language: str) -> str:
    """One sentence, at most 512 characters, that says what the item shares with the history.

    It cites only items of the history and attribute values that they and the item both have.
    The item named as example is the one that shares most, the latest of equals; items without a title are not named.
    With nothing shared or listed, no history, or the item itself in the history, it says so.

    Raises:
        ValueError: there are no wordings in this language.
    """
    if language not in WORDINGS:
        raise ValueError(f"no evidence wordings in language {language!r}; available: {', '.join(WORDINGS)}")
    wordings = WORDINGS[language]
    title = clean(catalog.titles[item_row], _LONGEST_TITLE)
    slots = {"item": wordings.quotes.format(title) if title else wordings.this_item}
    own = _pairs(catalog, item_row)
    # Distinct items, the latest first: a repeat adds nothing to what is shared.
    history = list(dict.fromkeys(reversed([int(row) for row in history_rows])))
    shared = {row: common for row in history if (common := [pair for pair in _pairs(catalog, row) if pair in own])}
    if not history:
        choices = wordings.first
    elif item_row in history:
        choices = wordings.repeated
    elif not own:
        choices = wordings.unlisted
    elif not shared:
        choices = wordings.different
        slots["own"] = _said(own[rng.integers(len(own))], language)
    else:
        choices = wordings.shared
        slots |= _shared_slots(catalog, shared, rng, language)
    feasible = [wording for wording in choices if {name for _, name, _, _ in string.Formatter().parse(wording) if name} <= slots.keys()]
    sentence = feasible[rng.integers(len(feasible))].format_map(slots)
    return clean(sentence if title else sentence[0].upper() + sentence[1:])


def sentences(review: str) -> list[str]:
    """The sentences of a review, in order, without surrounding space; none for an empty one.

    >>> sentences("Stays in tune, e.g. after a week.Great value! 3.5 stars")
    ['Stays in tune, e.g. after a week.', 'Great value!', '3.5 stars']
    """
    found: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(review):
        closing = next((group for group in end.groups() if group is not None), "")
        if "\n" not in end[0] and "\r" not in end[0] and _ABBREVIATION.search(review[start : end.start()]):
            continue
        found.append(review[start : end.start()] + closing)
        start = end.end()
    found.append(review[start:])
    return [sentence.strip() for sentence in found if sentence.strip()]


def openings(text: str, longest: int = 10) -> list[str]:
    """The first two, three, ... `longest` words of each sentence of a text that somebody wrote, each once: what may stand above it.

    >>> openings("Great value! It stays in tune.", longest=3)
    ['Great value!', 'It stays', 'It stays in']
    """
    split = [sentence.split() for sentence in sentences(clean(text))]
    return list(dict.fromkeys(" ".join(words[:count]) for words in split for count in range(2, min(longest, len(words)) + 1)))


def best_sentence(review: str, features: set[str]) -> str:
    """The sentence that names most of the features, the first of equals; the first sentence where none names any, "" for an empty review.

    features: case-folded words or phrases of up to three words (Chinese: up to four characters). They count as whole words, once each.
    """
    return max(sentences(review), key=lambda sentence: len(_spans(sentence) & features), default="")


def own_sentence(texts: Sequence[str | None], features: set[str]) -> str | None:
    """What somebody said of an item: the `best_sentence` of the first of these texts (review, summary) that says anything; None where none does."""
    said = next((text for text in texts if text and text.strip()), None)
    return best_sentence(clean(said), features) or None if said else None


def telling_features(corpus: Corpus) -> set[str]:
    """What a sentence may name to be called telling: words of attribute values and, where there are none, the feature words of train reviews (the rule the metric uses)."""
    named = {word.casefold() for values in corpus.catalog.attribute_values.values() for row in values for value in row for word in value.split()}
    if named or not corpus.interactions.has("review"):
        return named
    return set(feature_vocabulary(corpus.interactions.part(TRAIN).frame["review"].drop_nulls().to_list()))


def plain_words(text: str) -> str:
    """The text in one line without markup, links, control or hidden characters, also those that show only when others are gone.

    >>> plain_words("&amp;lt;b&amp;gt;Good <i<b>mg src=x> [strings](javascript:alert(1))")
    'Good strings'
    """
    for _ in range(MAX_LAYERS):
        before, text = text, _HIDDEN.sub("", _CONTROL.sub(" ", html.unescape(text)))
        text = " ".join(_MARKUP.sub(" ", _MARKDOWN_LINK.sub(r"\1", text)).split())
        if text == before:
            break
    return text


def clean(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """The text as plain words in one line: no markup, links, control or hidden characters, at most `max_characters`.

    A longer text is cut after its last sentence that fits, if that keeps half of the length, else after a word, with an ellipsis.
    """
    text = plain_words(text)
    if len(text) <= max_characters:
        return text
    ends = [end.start() + len(end[1] or end[2] or "") for end in _SENTENCE_END.finditer(text) if end.start() <= max_characters]
    whole = max((end for end in ends if end <= max_characters), default=0)
    if 2 * whole >= max_characters:
        return text[:whole]
    words = text[:max_characters].rpartition(" ")[0]
    return (words if 2 * len(words) >= max_characters else text[: max_characters - 1]).rstrip() + "\u2026"


def _pairs(catalog: Catalog, row: int) -> list[_Pair]:
    return list(dict.fromkeys(_Pair(name, value) for name, values in catalog.attribute_values.items() for value in values[row] if value.strip()))


def _said(pair: _Pair, language: str) -> str:
    name = _ATTRIBUTE_NAMES[language].get(pair.attribute.casefold(), pair.attribute.replace("_", " "))
    value = clean(pair.value, _LONGEST_TITLE // 2)
    if language == "zh":
        return f"{name}“{value}”"
    return f"the {name} {value}" if name else f'"{value}"'


def _shared_slots(catalog: Catalog, shared: Mapping[int, Sequence[_Pair]], rng: np.random.Generator, language: str) -> dict[str, str]:
    named = [row for row in shared if clean(catalog.titles[row])]
    example = max(named or shared, key=lambda row: len(shared[row]))  # the first of equals is the latest
    order = rng.permutation(len(shared[example]))
    pair = shared[example][order[0]]
    slots = {"shared": _said(pair, language)}
    if named:
        slots["example"] = WORDINGS[language].quotes.format(clean(catalog.titles[example], _LONGEST_TITLE))
        if len(order) > 1:
            slots["also"] = _said(shared[example][order[1]], language)
    count = sum(pair in pairs for pairs in shared.values())
    if count > 1:
        slots["count"] = _NUMBERS[count] if language == "en" and count < len(_NUMBERS) else str(count)
    return slots


def _spans(sentence: str) -> set[str]:
    """Every run of one to three words, and within Chinese of one to four characters."""
    words: list[str] = _RUN.findall(sentence.casefold())
    spans = {" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}
    for word in words:
        if is_unspaced(word):
            spans.update(word[i : i + n] for n in (1, 2, 3, 4) for i in range(len(word) - n + 1))
    return spans
