"""Words and token ids: the two encoders, and where the ids of item codes begin.

Separate from the model, so that prompts can be written and tested without torch. Item codes are no words: their ids start where the
tokenizer's end and have no string form, so no text can ever spell one. Of the tokenizer's own control tokens the same is made sure by `quote`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

MAX_CHARACTERS = 512
"""User text is cut here before it is tokenised: truncation afterwards does not bound a tokenizer's cost."""

_MARK = re.compile(r"<.{2,}>|\[.{2,}\]|.*\|.*", re.DOTALL)
"""An added token that marks something, rather than being a word."""
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Vocabulary:
    """The tokenizer of one model, seen from prompts.

    size: ids below it are the base model's, `size + c` is the new code token c.   start: the token every prompt begins with.   end: closes a written answer.
    """

    def __init__(self, tokenizer: Tokenizer, *, size: int, start: int, end: int):
        self.tokenizer = tokenizer
        self.size = size
        self.start = start
        self.end = end
        # Also marks that are called no special ones, such as <think>: what a chat is made of is nothing a title may say. Runs of spaces or digits that a family adds are words as any.
        self._control = {token_id for token_id, token in tokenizer.get_added_tokens_decoder().items() if token.special or _MARK.fullmatch(token.content)} | {start, end}
        self._plain = _without_added_tokens(tokenizer)
        # One preamble or separator is written thousands of times.
        self.template = lru_cache(maxsize=65_536)(self._template)
        self.quote = lru_cache(maxsize=65_536)(self._quote)
        for run in "a1 -":
            self._quote((MAX_CHARACTERS - 1) * run + "!")  # a sample: patterns that take for ever show it on one sign many times over

    @classmethod
    def load(cls, folder: Path, *, size: int, start: int, end: int) -> Vocabulary:
        """Reads tokenizer.json. Raises FileNotFoundError with the path where there is none."""
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: a model folder needs the tokenizer.json that save_pretrained of a fast tokenizer writes")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library has no class of its own for what it cannot read
            raise ValueError(f"{path} is not a tokenizer that can be read: {error}") from None
        return cls(tokenizer, size=size, start=start, end=end)

    def _template(self, text: str) -> tuple[int, ...]:
        """The ids of template text, trusted."""
        return _encode(self.tokenizer, text)

    def _quote(self, text: str, max_characters: int = MAX_CHARACTERS) -> tuple[int, ...]:
        """The ids of a user's text: cut, line breaks and controls made spaces, and never a control token, whatever it spells."""
        text = printable(text[: 4 * max_characters])[:max_characters]  # what is left out by then is cut first, too
        ids = _encode(self._plain, text)
        if self._control.isdisjoint(ids):
            return ids
        # A vocabulary that can spell a control token as text: character by character no such piece fits.
        spelled = [i for character in text for i in _encode(self._plain, character)]
        return tuple(i for i in spelled if i not in self._control)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of written ids, without control tokens."""
        return self.tokenizer.decode([i for i in ids if i < self.size and i not in self._control], skip_special_tokens=True).strip()

    @property
    def control(self) -> frozenset[int]:
        """Ids that no user text may become and no written answer may hold (but the end token that closes it)."""
        return frozenset(self._control)


def printable(text: str) -> str:
    """Text on one line: control characters and line breaks become one space, direction overrides and lone surrogates are dropped."""
    text = _BREAKS.sub(" ", text)
    if text.isascii():
        return text
    return "".join(c for c in text if unicodedata.category(c) not in ("Cs", "Cf") or c == "\u200d")


def _encode(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    try:
        return tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    except BaseException as error:
        # The library's panics, of a pattern that ran out of its tries, are no Exceptions: they would end a server.
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the tokenizer gave up on a text of {len(text)} characters: {error}") from None


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = []
    state["post_processor"] = None
    return Tokenizer.from_str(json.dumps(state))
