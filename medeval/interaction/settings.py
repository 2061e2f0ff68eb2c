"""Prompt settings: the words of a suite's ``prompts:`` and what each makes happen in which round.

| words | round 1 | later rounds | rounds |
|---|---|---|---|
| ``box`` | tight box | - | 1 |
| ``box jitter K`` | tight box, each side moved by up to K voxels | - | 1 |
| ``N points`` | N points on the structure, drawn at once | - | 1 |
| ``N clicks`` | first click | one correction a round | N |
| ``mask`` | the structure's own mask | - | 1 |
| ``N slice points``, ``N slice boxes`` | in N slices, interpolated to all between | - | 1 |
| ``point per slice``, ``box per slice`` | in every slice | - | 1 |
| ``middle box`` | box of the middle slice and the range of slices | - | 1 |
| ``recist line``, ``recist box``, ``recist N points`` | the longest diameter of a slice, or what is made of it | - | 1 |
| ``lasso``, ``scribble`` | around or along the structure on its largest slice | - | 1 |
| ``N click pairs`` | nothing | one click on the structure and one beside it | N + 1 |
| ``recorded`` | what people did, from a file | the same | as recorded |

Any opening but ``N points`` and ``mask`` takes ``+ N clicks``: one correction a round after it, N + 1 rounds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medeval.types import UserError

GRAMMAR = (
    "`box`, `box jitter K` (voxels), `N points` (drawn at once), `N clicks` (one a round, each corrects the last mask), "
    "`mask`, `N slice points`, `N slice boxes`, `point per slice`, `box per slice`, `middle box`, `recist line`, `recist box`, "
    "`recist N points`, `lasso`, `scribble`, each box, slice or stroke also as `... + N clicks`; `N click pairs`, `recorded`"
)

_OPENINGS = re.compile(
    r"(?:(?P<box>box)(?: jitter (?P<jitter>\d+))?|(?P<number>\d+) slice (?P<sliced>point|box)(?:s|es)?|"
    r"(?P<per_slice>point|box) per slice|(?P<middle>middle box)|recist (?:(?P<ends>\d+) (?P<along>points?)|(?P<recist>line|box))|"
    r"(?P<stroke>lasso|scribble))(?: \+ (?P<clicks>\d+) clicks?)?"
)
_COUNT = re.compile(r"(\d+) (points?|clicks?|click pairs?)")
_KINDS = {
    "slice points": "points", "slice boxes": "boxes", "point per slice": "points", "box per slice": "boxes",
    "middle box": "box", "recist line": "line", "recist box": "box", "recist points": "points",
    "lasso": "lasso", "scribble": "scribble",
}  # fmt: skip
_VOLUMES = frozenset({"slice points", "slice boxes", "point per slice", "box per slice", "middle box"})


class PromptError(UserError, ValueError):
    """A prompt setting or a click rule that is not known; also a ``ValueError`` for Python callers."""


@dataclass(frozen=True)
class PromptSetting:
    """One prompt setting, as ``parse_prompt`` reads it.

    box: True when round 1 gives a box. jitter: voxels by which each side of the box may move, 0 for the tight box.
    points: number of points drawn at once in round 1. clicks: number of corrective clicks, one a round.
    mask: True when round 1 gives the structure's own mask.
    drawn: any other opening, without its number ("slice points", "recist line", "lasso"); number: of slices or points.
    pairs: number of pairs of clicks that were drawn beforehand. recorded: True for what people did.
    """

    box: bool = False
    jitter: int = 0
    points: int = 0
    clicks: int = 0
    mask: bool = False
    drawn: str = ""
    number: int = 0
    pairs: int = 0
    recorded: bool = False

    @property
    def opening(self) -> str:
        """The canonical words of round 1 where it is no click: "box jitter 5", "3 slice boxes", "mask"; else ""."""
        if self.mask:
            return "mask"
        if self.points:
            return _counted(self.points, "point")
        if self.box:
            return f"box jitter {self.jitter}" if self.jitter else "box"
        if self.drawn == "slice boxes":
            return f"{self.number} slice box" + ("es" if self.number > 1 else "")
        if self.drawn == "recist points":
            return f"recist {_counted(self.number, 'point')}"
        return _counted(self.number, self.drawn.removesuffix("s")) if self.number else self.drawn

    @property
    def label(self) -> str:
        """The canonical words, as records and tables call this setting."""
        if self.recorded:
            return "recorded"
        if self.pairs:
            return _counted(self.pairs, "click pair")
        parts = [self.opening] * bool(self.opening) + [_counted(self.clicks, "click")] * bool(self.clicks)
        return " + ".join(parts)

    @property
    def kinds(self) -> frozenset[str]:
        """What a model must take to be asked this: of "box", "points", "mask", "boxes", "line", "lasso", "scribble"."""
        asked = {"box": self.box, "points": self.points + self.clicks + self.pairs > 0, "mask": self.mask}
        drawn = {_KINDS[self.drawn]} if self.drawn else set()
        return frozenset(drawn | {kind for kind, is_asked in asked.items() if is_asked})

    @property
    def opens(self) -> bool:
        """True when round 1 gives something else than the first click."""
        return self.box or bool(self.drawn)

    @property
    def dimensions(self) -> frozenset[int]:
        """Images that it can be asked on: slices are a volume's."""
        return frozenset({3}) if self.drawn in _VOLUMES else frozenset({2, 3})

    @property
    def needs_structure(self) -> bool:
        """False for settings that can be asked for a structure that is not there: clicks can say so."""
        return self.opens or self.mask or self.points > 0 or self.recorded

    @property
    def random(self) -> bool:
        """True when chance may decide what the user gives; a tight box or a diameter is always the same."""
        return bool(self.jitter or self.points or self.corrections or self.drawn == "middle box")

    @property
    def corrections(self) -> int:
        """Number of clicks or pairs over the whole session."""
        return self.clicks or self.pairs

    @property
    def rounds(self) -> int:
        """Number of rounds, each a call of the model and a record; of ``recorded`` the file knows better."""
        return max(1, self.clicks + self.opens, self.pairs + 1 if self.pairs else 0)

    def clicks_by(self, round_: int) -> int:
        """Number of clicks (or pairs) given up to and including the 1-based ``round_``."""
        return max(0, min(round_ - (self.opens or self.pairs > 0), self.corrections))


def parse_prompt(text: str) -> PromptSetting:
    """Read one prompt setting; case, plural and spaces do not matter. Raises ``PromptError`` that lists the grammar."""
    words = " ".join(str(text).lower().replace("+", " + ").split())
    if words in ("mask", "recorded"):
        return PromptSetting(mask=words == "mask", recorded=words == "recorded")
    if found := _OPENINGS.fullmatch(words):
        return _opening(found, text)
    if found := _COUNT.fullmatch(words):
        number = _at_least_one(found[1], text)
        if "pair" in found[2]:
            return PromptSetting(pairs=number)
        return PromptSetting(points=number) if found[2].startswith("point") else PromptSetting(clicks=number)
    raise PromptError(f"prompt {text!r} is not known; write one of {GRAMMAR}")


def _opening(found: re.Match[str], text: str) -> PromptSetting:
    clicks = _at_least_one(found["clicks"], text) if found["clicks"] else 0
    if found["box"]:
        return PromptSetting(box=True, jitter=int(found["jitter"] or 0), clicks=clicks)
    number = 0
    if found["sliced"]:
        drawn = "slice points" if found["sliced"] == "point" else "slice boxes"
        number = _at_least_one(found["number"], text)
    elif found["along"]:
        drawn, number = "recist points", _at_least_one(found["ends"], text)
    elif found["per_slice"]:
        drawn = f"{found['per_slice']} per slice"
    else:
        drawn = found["middle"] or found["stroke"] or f"recist {found['recist']}"
    return PromptSetting(drawn=drawn, number=number, clicks=clicks)


def _at_least_one(number: str, text: str) -> int:
    if int(number) < 1:
        raise PromptError(f"prompt {text!r}: the number must be at least 1; write one of {GRAMMAR}")
    return int(number)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
