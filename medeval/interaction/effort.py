"""What an interaction costs the user: primitives placed, slices looked at, millimetres drawn.

Counted is what a user does, not what a model gets: three boxes that a machine interpolates to thirty slices are three
boxes. Weights that make one number of it are the suite's (``cost:``); no published constants exist that could be trusted
(state of the art, section 1.8: a box and a diameter are two points each, a stroke is measured by its length).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

EFFORT_COLUMNS: Mapping[str, str] = {
    "n_clicks": "int64",
    "n_boxes": "int64",
    "n_lines": "int64",
    "n_slices": "int64",
    "drawn_mm": "double",
}

DEFAULT_COST: Mapping[str, float] = {"click": 1.0, "box": 2.0, "line": 2.0, "slice": 0.0, "mm": 0.0}
"""Points to place: a click is one, a box has two corners, a line, a lasso or a scribble a begin and an end."""


@dataclass(frozen=True)
class Effort:
    """clicks, boxes: how many. lines: diameters, lassos and scribbles. mm: length drawn by hand, in the grid's unit.

    slices: indices of the distinct slices that were looked at to place them.
    """

    clicks: int = 0
    boxes: int = 0
    lines: int = 0
    slices: frozenset[int] = field(default_factory=frozenset)
    mm: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        """Both; a slice that was visited twice is one."""
        return Effort(
            self.clicks + other.clicks,
            self.boxes + other.boxes,
            self.lines + other.lines,
            self.slices | other.slices,
            self.mm + other.mm,
        )

    @classmethod
    def of_clicks(cls, points: ArrayLike, slice_axis: int) -> Effort:
        """Each point clicked by hand, on its own slice."""
        placed = np.asarray(points, dtype=np.int64)
        return cls(clicks=len(placed), slices=planes(placed, slice_axis))

    @classmethod
    def of_box(cls, box: NDArray[np.int64], slice_axis: int) -> Effort:
        """A box (2, ndim), half-open: in a volume its first, middle and last slice are looked at."""
        if box.shape[1] == 2:
            return cls(boxes=1, slices=frozenset({0}))
        first, stop = (int(edge) for edge in box[:, slice_axis])
        return cls(boxes=1, slices=frozenset({first, (first + stop - 1) // 2, stop - 1}))

    def columns(self) -> dict[str, Any]:
        """As record columns (``EFFORT_COLUMNS``)."""
        return {
            "n_clicks": self.clicks,
            "n_boxes": self.boxes,
            "n_lines": self.lines,
            "n_slices": len(self.slices),
            "drawn_mm": float(self.mm),
        }


def planes(points: NDArray[np.int64], slice_axis: int) -> frozenset[int]:
    """The distinct slices that (n, ndim) voxels lie on; a picture has one, number 0."""
    if not len(points):
        return frozenset()
    if points.shape[1] == 2:
        return frozenset({0})
    return frozenset(int(index) for index in np.unique(points[:, slice_axis]))


def path_length(path: ArrayLike, spacing: Iterable[float]) -> float:
    """Length of a line through (n, ndim) voxels, in the spacing's unit."""
    steps = np.diff(np.asarray(path, dtype=np.float64), axis=0) * np.asarray(list(spacing))
    return float(np.sqrt((steps**2).sum(axis=1)).sum())


def cost_of(columns: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
    """One number (or array) from effort columns: the weighted sum; ``weights`` as in ``DEFAULT_COST``."""
    names = {"click": "n_clicks", "box": "n_boxes", "line": "n_lines", "slice": "n_slices", "mm": "drawn_mm"}
    return sum(weight * columns[names[kind]] for kind, weight in weights.items())
