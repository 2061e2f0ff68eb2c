"""Plain views that a summary holds and the report draws: one renderer a kind of view, none a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types.work import Key


@dataclass(frozen=True)
class Column:
    """A table column. kind: how cells are drawn.

    ``interval`` cells are dicts: value, low, high; n, patients (None: unknown), failed and missing counts; bounds (the
    score if all that is missing were worst, and best); note (parts separated by "; "). All but value may be absent.
    """

    name: str
    title: str = ""
    kind: Literal["text", "number", "integer", "interval"] = "text"
    note: str = ""  # shown under the heading: a metric's definition, its direction
    direction: Literal["higher", "lower", ""] = ""


@dataclass(frozen=True)
class Table:
    """Rows of plain values by column name; a row may hold ``_baseline: True``, ``_group: str`` and ``_tags: list of str``."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]
    note: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a ``Curve``; ``low``/``high`` may be empty (no interval).

    records: of each x the records (all or some) that its point stands for, None or empty where it has none to open.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    baseline: bool = False
    records: Sequence[CaseGroup | None] = ()


@dataclass(frozen=True)
class Curve:
    """Lines over a common axis, for example Dice against the number of clicks."""

    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    note: str = ""


@dataclass(frozen=True)
class Forest:
    """One point with its interval a row."""

    title: str
    x_title: str
    rows: Sequence[
        dict[str, Any]
    ]  # {label, value, low, high, n, baseline}; {before}: where a paired value stood
    note: str = ""


@dataclass(frozen=True)
class Matrix:
    """A heat map: ``values[row][column]``, None where there is nothing."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    note: str = ""


@dataclass(frozen=True)
class GalleryItem:
    """One picture to be drawn from the run's kept predictions when the report is made."""

    dataset: str
    model: str
    arm: str
    seed: int
    case_id: str
    key: Key
    caption: str
    rank: Literal["best", "median", "worst", "failed"]


@dataclass(frozen=True)
class Gallery:
    """Best, median and worst cases."""

    title: str
    items: Sequence[GalleryItem]
    note: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn of a dialogue."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Chat:
    """A dialogue to read."""

    title: str
    turns: Sequence[Turn]
    note: str = ""


@dataclass(frozen=True)
class TextDiff:
    """A generated text beside its reference."""

    title: str
    reference: str
    prediction: str
    note: str = ""


@dataclass(frozen=True)
class Notice:
    """A verdict that must not be overlooked. level: "warning" where a reader should not trust what follows."""

    title: str
    text: str
    level: Literal["ok", "warning"] = "ok"
    note: str = ""


@dataclass(frozen=True)
class Passage:
    """A text to be taken over as it stands, such as BibTeX; folded away, in a fixed-width face."""

    title: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class RatedTurn:
    """One numbered turn of a rated dialogue. marks: what was wrong with it, such as ``leak: gout``."""

    number: int
    speaker: str
    text: str
    marks: Sequence[str] = ()


@dataclass(frozen=True)
class RatedItem:
    """One item's mark. level: "good", "middle" or "bad", "" where there is none. quotes: (turn, words, found in the turn)."""

    id: str
    title: str
    shown: str
    level: Literal["good", "middle", "bad", ""] = ""
    group: str = ""
    note: str = ""
    quotes: Sequence[tuple[int, str, bool]] = ()


@dataclass(frozen=True)
class RatedDialogue:
    """A dialogue beside its rubric. tags: what a reader filters by (model, worst, leak); facts: name -> value."""

    title: str
    turns: Sequence[RatedTurn]
    items: Sequence[RatedItem]
    tags: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Dialogues:
    """Rated dialogues to read, filtered by item and tag."""

    title: str
    dialogues: Sequence[RatedDialogue]
    note: str = ""


@dataclass(frozen=True)
class CasePoint:
    """One record in a plot: where it stands, and which record it is.

    y: used where the plot has two axes of values. scores: in order of the group's ``scores``. note: why it failed.
    """

    case_id: str
    key: Key
    seed: int
    x: float
    y: float = 0.0
    scores: Sequence[float | None] = ()
    note: str = ""


@dataclass(frozen=True)
class CaseGroup:
    """Records that are drawn together: one model's.

    points: some or all of the ``n`` records. marks: the figures that a plot draws beside them, named by the plot.
    part: groups of one part are drawn in one picture; the parts are folded away but for the first.
    scores: what each point's ``scores`` are, with their unit; shown with the case that a point opens.
    """

    name: str
    dataset: str
    model: str
    arm: str
    points: Sequence[CasePoint]
    n: int
    marks: Mapping[str, float]
    part: str = ""
    baseline: bool = False
    scores: Sequence[str] = ()


@dataclass(frozen=True)
class Distribution:
    """How a score spreads over cases: density, quartiles and points (raincloud). marks: q1, median, q3."""

    title: str
    x_title: str
    groups: Sequence[CaseGroup]
    note: str = ""


@dataclass(frozen=True)
class BlandAltman:
    """Differences of two measurements (y) against their mean (x), a panel a group. marks: bias, low and high limit."""

    title: str
    x_title: str
    y_title: str
    groups: Sequence[CaseGroup]
    note: str = ""


View = (
    Table
    | Curve
    | Forest
    | Matrix
    | Gallery
    | Chat
    | TextDiff
    | Notice
    | Passage
    | Dialogues
    | Distribution
    | BlandAltman
)


@dataclass(frozen=True, eq=False)
class Picture:
    """What a task's ``illustrate`` returns for one gallery item.

    background: (row, column) or (row, column, 3) uint8, already windowed for display.
    outlines: name -> bool (row, column); "reference" and "prediction" get the report's own colours.
    points: (n, 3) rows of (row, column, label), label 1 foreground, 0 background.
    box: (row0, column0, row1, column1) half-open, or None.
    slices: further slices of the same volume and shape in their order, to be leafed through; ``place`` is where this
        picture stands among them (0: before the first).
    """

    background: NDArray[np.uint8]
    outlines: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    points: NDArray[np.int64] | None = None
    box: tuple[int, int, int, int] | None = None
    caption: str = ""
    slices: Sequence[Picture] = ()
    place: int = 0
