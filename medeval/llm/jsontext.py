"""JSON out of a model's text: whole, fenced, or between prose; never a number repaired.

What is mended is only the writing: fences, a byte-order mark, raw line breaks inside strings, escapes that JSON does not
know. Duplicate keys make an object invalid: which of the two was meant is nobody's to guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_FENCE = re.compile(r"```[ \t]*(?:json|JSON)?[^\n`]*\n(.*?)```", re.S)
_BAD_ESCAPE = re.compile(r'\\(?:u(?![0-9a-fA-F]{4})|[^"\\/bfnrtu])')


def candidates(text: str) -> Iterator[Any]:
    """Objects in the text, the likeliest first: the whole text, then fenced blocks and top-level objects, last to first."""
    text = text.lstrip("\ufeff").strip()
    whole = _load(text)
    if isinstance(whole, dict):
        yield whole
        return
    blocks = [block for fenced in _FENCE.findall(text) if isinstance(block := _load(fenced.strip()), dict)]
    yield from reversed(blocks)
    scanned = [found for piece in _top_level(text) if isinstance(found := _load(piece), dict)]
    yield from reversed(scanned)


def _load(text: str) -> Any:
    """The value, or None for what is no JSON (also with duplicate keys)."""
    for attempt in (text, _BAD_ESCAPE.sub(lambda match: match.group()[1:], text)):
        try:
            return json.loads(attempt, strict=False, object_pairs_hook=_unique, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            continue
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate keys")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _top_level(text: str) -> Iterator[str]:
    """Balanced ``{...}`` pieces, found by a scanner that knows strings; one that never closes ends the search."""
    at = text.find("{")
    while at >= 0:
        end = _close(text, at)
        if end < 0:
            return
        yield text[at:end]
        at = text.find("{", end)


def _close(text: str, at: int) -> int:
    depth, quoted, i = 0, False, at
    while i < len(text):
        letter = text[i]
        if quoted:
            i += letter == "\\"
            quoted = letter != '"'
        elif letter == '"':
            quoted = True
        elif letter in "{}":
            depth += 1 if letter == "{" else -1
            if depth == 0:
                return i + 1
        i += 1
    return -1
