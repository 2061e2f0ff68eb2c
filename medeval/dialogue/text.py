"""Text as the rules see it: folded, split into sentences and words, and matched by words that occur together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\x00]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+|;\s+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_SUFFIXES = ("ations", "ation", "ingly", "ings", "ing", "edly", "ies", "ied", "ness", "ed", "es", "ly", "s")
_KEEP = 4  # letters that a stem has at least


def clean(text: str) -> str:
    """NFC without zero-width, bidirectional and NUL characters: what may be shown to a judge."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFC", text))


@lru_cache(maxsize=65536)
def fold(text: str) -> str:
    """Case, accents, width and apostrophes folded, whitespace as single spaces: for comparison only."""
    decomposed = unicodedata.normalize("NFKD", clean(text).casefold().replace("’", "'"))
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split())


def sentences(text: str) -> list[str]:
    """The sentences of a text, by final punctuation, semicolons and line ends."""
    return [part.strip() for part in _SENTENCE.split(clean(text)) if part and part.strip()]


@lru_cache(maxsize=65536)
def words(text: str) -> tuple[str, ...]:
    """Folded words in order; an apostrophe stays inside its word."""
    return tuple(_WORD.findall(fold(text)))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its commonest English ending; words of other languages mostly stay as they are."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _KEEP:
            return word[: -len(suffix)]
    return word[:-1] if word.endswith("s") and len(word) > 3 and not word.endswith("ss") else word


def stems(text: str) -> tuple[str, ...]:
    """Stems of all words in order."""
    return tuple(stem(word) for word in words(text))


def holds_phrase(text: str, phrase: str) -> bool:
    """True when the phrase's words stand in the text one after another, whole words, endings aside."""
    wanted, there = stems(phrase), stems(text)
    if not wanted:
        return False
    if (
        not phrase.isascii() and " " not in phrase.strip()
    ):  # scripts without spaces: no word borders to respect
        return fold(phrase) in fold(text)
    return any(there[at : at + len(wanted)] == wanted for at in range(len(there) - len(wanted) + 1))


def holds_terms(text: str, phrase: str) -> bool:
    """True when all of the phrase's words stand in the text, in any order."""
    if not phrase.isascii() and " " not in phrase.strip():
        return fold(phrase) in fold(text)
    return bool(wanted := set(stems(phrase))) and wanted <= set(stems(text))


@dataclass(frozen=True)
class Pattern:
    """Words that must occur together in one sentence, in any order: ``when|since + start*|began``.

    Groups are joined by ``+``; a group holds alternatives, ``*`` stands for any ending (or beginning), ``!`` before a group
    forbids it. No alternative holds more than one word, so that a pattern shares no phrase with any text.
    """

    groups: tuple[tuple[bool, tuple[str, ...]], ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises ``ValueError`` for an empty group or an alternative of several words."""
        groups = []
        for part in text.split("+"):
            part = part.strip()
            wanted = not part.startswith("!")
            options = tuple(fold(option) for option in part.removeprefix("!").split("|"))
            if not all(options) or any(" " in option for option in options):
                raise ValueError(f"pattern {text!r}: write single words, `a|b* + c`; got {part!r}")
            groups.append((wanted, options))
        return cls(tuple(groups))

    def matches(self, sentence: str) -> bool:
        """True when every group is satisfied by the sentence."""
        joined = _joined(sentence)
        return all(wanted == (group.search(joined) is not None) for wanted, group in self._compiled)

    @cached_property
    def _compiled(self) -> tuple[tuple[bool, re.Pattern[str]], ...]:
        return tuple(
            (wanted, re.compile("|".join(map(_expression, options)))) for wanted, options in self.groups
        )


@lru_cache(maxsize=65536)
def _joined(sentence: str) -> str:
    return " ".join(words(sentence))


def _expression(option: str) -> str:
    """A whole word between spaces; scripts without spaces are searched as they are."""
    bare = re.escape(option.strip("*"))
    if not option.isascii():
        return bare
    begin = "" if option.startswith("*") else r"(?<!\S)"
    return f"{begin}{bare}" if option.endswith("*") else rf"{begin}{bare}(?!\S)"


class Patterns:
    """A named rule: it holds where any of its patterns matches."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.source = tuple(patterns)
        self._patterns = tuple(Pattern.parse(text) for text in self.source)
        self._matches = lru_cache(maxsize=4096)(
            self._match
        )  # a sentence is asked of many rules, and by each more than once

    def matches(self, sentence: str) -> bool:
        """True when one pattern matches this sentence."""
        return self._matches(sentence)

    def _match(self, sentence: str) -> bool:
        return any(pattern.matches(sentence) for pattern in self._patterns)

    def found(self, parts: Sequence[str]) -> list[int]:
        """Positions of the sentences that match."""
        return [position for position, part in enumerate(parts) if self.matches(part)]
