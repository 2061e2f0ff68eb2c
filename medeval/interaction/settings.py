"""Prompt settings: the words of a suite's ``prompts:`` and what each makes happen in which round.

| words | round 1 | later rounds | rounds |
|---|---|---|---|
| ``box`` | tight box | - | 1 |
| ``box jitter K`` | tight box, each side moved by up to K voxels | - | 1 |
| ``N points`` | N points on the structure, drawn at once | - | 1 |
| ``N clicks`` | first click | one corrective click a round | N |
| ``box + N clicks`` | the box alone | one corrective click a round | N + 1 |
| ``mask`` | the structure's own mask | - | 1 |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medeval.types import UserError

GRAMMAR = (
    "`box`, `box jitter K` (voxels), `N points` (drawn at once), `N clicks` (one a round, each corrects the last mask), "
    "`box + N clicks`, `box jitter K + N clicks`, `mask`"
)

_BOX = re.compile(r"box(?: jitter (\d+))?(?: \+ (\d+) clicks?)?")
_COUNT = re.compile(r"(\d+) (points?|clicks?)")


class PromptError(UserError, ValueError):
    """A prompt setting or a click rule that is not known; also a ``ValueError`` for Python callers."""


@dataclass(frozen=True)
class PromptSetting:
    """One prompt setting, as ``parse_prompt`` reads it.

    box: True when round 1 gives a box. jitter: voxels by which each side of the box may move, 0 for the tight box.
    points: number of points drawn at once in round 1. clicks: number of corrective clicks, one a round.
    mask: True when round 1 gives the structure's own mask.
    """

    box: bool = False
    jitter: int = 0
    points: int = 0
    clicks: int = 0
    mask: bool = False

    @property
    def label(self) -> str:
        """The canonical words, as records and tables call this setting."""
        if self.mask:
            return "mask"
        if self.points:
            return _counted(self.points, "point")
        box = f"box jitter {self.jitter}" if self.jitter else "box"
        parts = [box] * self.box + [_counted(self.clicks, "click")] * bool(self.clicks)
        return " + ".join(parts)

    @property
    def kinds(self) -> frozenset[str]:
        """What a model must take to be asked this: of "box", "points" and "mask"."""
        asked = {"box": self.box, "points": self.points + self.clicks > 0, "mask": self.mask}
        return frozenset(kind for kind, is_asked in asked.items() if is_asked)

    @property
    def rounds(self) -> int:
        """Number of rounds, each a call of the model and a record."""
        return max(1, self.clicks + self.box)

    def clicks_by(self, round_: int) -> int:
        """Number of clicks given up to and including the 1-based ``round_``."""
        return max(0, min(round_ - self.box, self.clicks))


def parse_prompt(text: str) -> PromptSetting:
    """Read one prompt setting; case, plural and spaces do not matter. Raises ``PromptError`` that lists the grammar."""
    words = " ".join(str(text).lower().replace("+", " + ").split())
    if words == "mask":
        return PromptSetting(mask=True)
    if found := _BOX.fullmatch(words):
        jitter, clicks = found.groups()
        return PromptSetting(
            box=True, jitter=int(jitter or 0), clicks=_at_least_one(clicks, text) if clicks else 0
        )
    if found := _COUNT.fullmatch(words):
        number = _at_least_one(found[1], text)
        return PromptSetting(points=number) if found[2].startswith("point") else PromptSetting(clicks=number)
    raise PromptError(f"prompt {text!r} is not known; write one of {GRAMMAR}")


def _at_least_one(number: str, text: str) -> int:
    if int(number) < 1:
        raise PromptError(f"prompt {text!r}: the number must be at least 1; write one of {GRAMMAR}")
    return int(number)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
