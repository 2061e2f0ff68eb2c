"""The official click simulators, for training and for repeating their protocol; drawn by NumPy's legacy generator."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rule = Literal["random", "ritm"]
THRESHOLD = 0.5
"""Training compares LOGITS with this; evaluation gives masks."""


class Click(NamedTuple):
    """A voxel in array order; label 1 where the structure was missed, else 0."""

    voxel: tuple[int, int, int]
    label: int


class Candidates(NamedTuple):
    """Where a click may fall, bool, and its label; None where each voxel has its own, the reference's."""

    where: NDArray[np.bool_]
    label: int | None


def candidates(prediction: NDArray, truth: NDArray[np.bool_], rule: Rule = "random") -> Candidates:
    """All voxels from which the next click is drawn uniformly.

    prediction: a mask, or values of which those above ``THRESHOLD`` count.
    random: all wrong voxels; without any, the whole structure. ritm: those deeper than half of the deepest, of the missed
    or the extra voxels, whichever go deeper (the extra ones where equal; depth in voxels, the edge counts as outside);
    without any error, the volume's middle as background.
    """
    found = prediction > THRESHOLD
    missed, extra = truth & ~found, found & ~truth
    if rule == "random":
        wrong = missed | extra
        return Candidates(wrong, None) if wrong.any() else Candidates(truth, 1)
    depth_missed, depth_extra = depth(missed), depth(extra)
    label = int(depth_missed.max() > depth_extra.max())
    deep = depth_missed if label else depth_extra
    if deep.max() > 0:
        return Candidates(deep > deep.max() / 2, label)
    middle = np.zeros(truth.shape, dtype=bool)
    middle[tuple(n // 2 for n in truth.shape)] = True
    return Candidates(middle, 0)


def draw(
    prediction: NDArray, truth: NDArray[np.bool_], rng: np.random.RandomState, rule: Rule = "random"
) -> Click:
    """The next click. Raises ``ValueError`` where there is neither an error nor a structure."""
    where, label = candidates(prediction, truth, rule)
    voxels = np.argwhere(where)
    if not len(voxels):
        raise ValueError("no click can be drawn: the structure is empty and so is the prediction")
    first, second, third = (int(index) for index in voxels[rng.randint(len(voxels))])
    voxel = (first, second, third)
    return Click(voxel, int(truth[voxel]) if label is None else label)


def depth(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of each voxel of a region to its outside, in voxels; the volume's edge counts as outside."""
    from scipy import ndimage

    padded: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(region, 1))
    return padded[1:-1, 1:-1, 1:-1]
