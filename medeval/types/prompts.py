"""What a user (or our simulated one) gives to a promptable model, and what comes back. Array order, voxel units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Stroke:
    """A line that was drawn by hand.

    kind: "line" has two ends (a RECIST diameter); "lasso" goes around the structure and is closed; "scribble" lies on it.
    path: (k, ndim) int voxels in drawn order. label: 1 = on (or around) the structure, 0 = on the background.
    """

    kind: Literal["line", "lasso", "scribble"]
    path: NDArray[np.int64]
    label: int = 1


@dataclass(frozen=True, eq=False)
class Prompt:
    """One structure's prompt, everything given so far.

    structure: the structure's name, for models that take text; a geometric model ignores it.
    box: (2, ndim) int, half-open ``[start, stop)`` per array axis; None when no box was drawn.
    points: (n, ndim) int voxel indices, oldest first; n may be 0.
    labels: (n,) 1 = on the structure, 0 = on the background.
    mask: bool, the image's spatial shape: a mask given as a prompt, or the previous round's mask.
    logits: whatever the model returned as ``Segmentation.logits`` in the previous round, None in the first.
    boxes: (n, 2, ndim) int, half-open, each one slice thick: boxes on several slices of a volume; None when there are none.
    strokes: lines, lassos and scribbles, oldest first.
    """

    structure: str
    box: NDArray[np.int64] | None = None
    points: NDArray[np.int64] | None = None
    labels: NDArray[np.int64] | None = None
    mask: NDArray[np.bool_] | None = None
    logits: Any = None
    boxes: NDArray[np.int64] | None = None
    strokes: tuple[Stroke, ...] = ()


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A model's answer to one prompt.

    mask: bool (or {0, 1} integer) array of the image's spatial shape.
    score: the model's own confidence, any scale; None when it has none.
    logits: low-resolution logits to be fed back in the next round; None when the model keeps none.
    probabilities: float array in [0, 1] of the image's spatial shape, for calibration metrics; None when not given.
    """

    mask: NDArray
    score: float | None = None
    logits: Any = None
    probabilities: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Capabilities:
    """What a promptable model takes. An adapter declares it as the class attribute ``takes``.

    prompts: of "box", "points", "mask" and, by those that say so, "boxes" (on several slices), "line", "lasso", "scribble";
        an empty set: it takes no prompts.
    dimensions: spatial dimensions that it accepts.
    """

    prompts: frozenset[str] = frozenset({"box", "points", "mask"})
    dimensions: frozenset[int] = frozenset({2, 3})
