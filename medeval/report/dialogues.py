"""Rated dialogues and notices made ready for their templates: quotes found in their turns, items and tags numbered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from medeval.types.views import Dialogues, Notice, RatedDialogue, RatedTurn

_SIDES = {"doctor": "right", "patient": "left"}


def notice(view: Notice) -> dict[str, Any]:
    """What ``notice.html`` draws."""
    return {"level": view.level, "text": view.text}


def dialogues(view: Dialogues) -> dict[str, Any]:
    """What ``dialogues.html`` draws. Items and tags go by number, so that no name from data becomes part of a selector."""
    items = _numbered(item.id for talk in view.dialogues for item in talk.items)
    tags = _numbered(tag for talk in view.dialogues for tag in talk.tags)
    titles = {item.id: item.title for talk in view.dialogues for item in talk.items}
    return {
        "vocabulary": [(number, name, titles[name]) for name, number in items.items()],
        "tags": [(number, name) for name, number in tags.items()],
        "talks": [_talk(talk, items, tags) for talk in view.dialogues],
    }


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _talk(talk: RatedDialogue, items: dict[str, int], tags: dict[str, int]) -> dict[str, Any]:
    citing: dict[int, list[tuple[str, str]]] = {}
    for item in talk.items:
        for turn, words, found in item.quotes:
            if found:
                citing.setdefault(turn, []).append((item.id, words))
    rows: list[dict[str, Any]] = [
        {
            "item": item,
            "number": items[item.id],
            "turns": sorted({turn for turn, _, found in item.quotes if found}),
            "quotes": [(turn, words, found) for turn, words, found in item.quotes if words],
        }
        for item in talk.items
    ]
    return {
        "title": talk.title,
        "facts": talk.facts,
        "tags": " ".join(str(tags[tag]) for tag in talk.tags),
        "labels": talk.tags,
        "turns": [_turn(turn, citing.get(turn.number, []), items) for turn in talk.turns],
        "groups": [(name, [row for row in rows if row["item"].group == name])
                   for name in dict.fromkeys(item.group for item in talk.items)],
    }  # fmt: skip


def _turn(turn: RatedTurn, citing: Sequence[tuple[str, str]], items: dict[str, int]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for name, _ in citing))
    return {
        "number": turn.number,
        "speaker": turn.speaker,
        "side": _SIDES.get(turn.speaker, "middle"),
        "marks": turn.marks,
        "names": names,
        "cited": " ".join(str(items[name]) for name in names),
        "pieces": _pieces(turn.text, citing, items),
    }


def _pieces(
    text: str, citing: Sequence[tuple[str, str]], items: dict[str, int]
) -> list[tuple[str, str | None]]:
    """(text, numbers of the items that quote it, None where none does), in order; together they are the whole text."""
    found = [(start, end, items[name]) for name, words in citing for start, end in _places(text, words)]
    cuts = sorted({0, len(text), *(at for start, end, _ in found for at in (start, end))})
    pieces: list[tuple[str, str | None]] = []
    for begin, stop in pairwise(cuts):
        quoting = sorted({number for start, end, number in found if start <= begin and stop <= end})
        pieces.append((text[begin:stop], " ".join(map(str, quoting)) if quoting else None))
    return pieces


def _places(text: str, words: str) -> list[tuple[int, int]]:
    """Where a quote stands, case and whitespace aside."""
    parts = words.split()
    if not parts:
        return []
    pattern = r"\s+".join(map(re.escape, parts))
    return [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
