"""A generated text beside its reference, with the words that differ marked."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Any

from medeval.report.numbers import plain
from medeval.types.views import TextDiff

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_EXACT = 4000  # words; longer texts use difflib's faster heuristic


def textdiff(view: TextDiff) -> dict[str, Any]:
    """Both sides as runs of (text, differs)."""
    reference, prediction = _WORDS.findall(plain(view.reference)), _WORDS.findall(plain(view.prediction))
    matcher = SequenceMatcher(None, reference, prediction, autojunk=len(reference) + len(prediction) > _EXACT)
    sides: dict[str, list[tuple[str, bool]]] = {"reference": [], "prediction": []}
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        for side, words in (("reference", reference[a0:a1]), ("prediction", prediction[b0:b1])):
            if words:
                sides[side].append(("".join(words), kind != "equal"))
    return {"sides": sides}
