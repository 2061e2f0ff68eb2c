"""Which words of a run may be told outside: names of what is evaluated, and no name of a person, a place or a machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_PIECES = re.compile(r"[\s,;:()\[\]/·|=]+")
_PLACE = re.compile(r"://|\\|^[/~]|/[^/ ]+/|@[\w-]+\.|^[A-Za-z]:")
_SHORTEST = 3  # characters of an identifier that is looked for inside of other texts
_MOST_LABEL, _MOST_WORDS = 40, 4


@dataclass(frozen=True, eq=False)
class Names:
    """identifiers: ids of cases and patients. vocabulary: words that are told although they are somebody's id, too.

    anonymise: models and datasets are numbered. numbered: kind -> names, in the order in which they are numbered.
    """

    identifiers: frozenset[str]
    vocabulary: frozenset[str] = frozenset()
    anonymise: bool = False
    numbered: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def safe(self, text: str) -> bool:
        """True for a text in which no identifier stands as a word, and that is no path and no address."""
        if _PLACE.search(text) or len(text) > 300:
            return False
        return not any(self._names(piece) for piece in (text, *_PIECES.split(text)))

    def safe_label(self, text: str) -> bool:
        """True for a value of metadata that reads like a category: short, few words, and ``safe``."""
        return len(text) <= _MOST_LABEL and len(text.split()) <= _MOST_WORDS and self.safe(text)

    def _names(self, piece: str) -> bool:
        return len(piece) >= _SHORTEST and piece in self.identifiers and piece not in self.vocabulary

    def told(self, kind: str, name: str) -> str:
        """A model's, dataset's or task's name as it is told: itself, or its number where it must not be."""
        return self._told.get((kind, name), name)

    @cached_property
    def _told(self) -> dict[tuple[str, str], str]:
        return {
            (kind, name): f"{kind} {number}"
            for kind, names in self.numbered.items()
            for number, name in enumerate(names, start=1)
            if (self.anonymise and kind != "task") or ":" in name or not self.safe(name)
        }

    def hides(self, text: str) -> bool:
        """True for a text that holds a name which is told as a number."""
        return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for _, name in self._told)


def identifiers_of(cases: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of cases and patients, of rows of a run's case index."""
    found = {str(row[name]) for row in cases for name in ("case", "patient") if row[name]}
    return frozenset(found)
