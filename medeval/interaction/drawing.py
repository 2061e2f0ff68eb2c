"""What a user draws at once: boxes around a structure, points on it. Array order, voxel units, boxes half-open."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import EvaluatorFailure

BoxRule = Literal["whole", "largest-component"]
PointRule = Literal["on-structure", "sam-med2d"]


def bounds(mask: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """(2, ndim) half-open bounding box of the True voxels, None when there are none.

    The first axis is folded away before the others are searched: 0.5 ms instead of 18 ms (``scipy.ndimage.find_objects``)
    on a 1 mm volume, and every click rule starts with this.
    """
    if mask.ndim == 1:
        hits = np.flatnonzero(mask)
        return np.array([[hits[0]], [hits[-1] + 1]]) if hits.size else None
    inner = bounds(np.logical_or.reduce(mask, axis=0))
    if inner is None:
        return None
    cropped = mask[(slice(None), *slices(inner))]
    rows = np.flatnonzero(cropped.any(axis=tuple(range(1, mask.ndim))))
    return np.column_stack([[rows[0], rows[-1] + 1], inner])


def slices(box: NDArray[np.int64]) -> tuple[slice, ...]:
    """The box as an index."""
    return tuple(slice(int(start), int(stop)) for start, stop in box.T)


def tight_box(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(2, ndim) int, half-open ``[start, stop)``: the smallest box around the whole structure, all its pieces.

    (SAM-Med2D boxes only the largest piece; see docs/prompts.md.) Raises ``EvaluatorFailure`` on an empty mask.
    """
    box = bounds(np.asarray(mask, dtype=bool))
    if box is None:
        raise EvaluatorFailure(
            "a box around an empty structure: prompts are drawn only for structures that are present"
        )
    return box


def jittered_box(mask: NDArray[np.bool_], rng: np.random.Generator, amount: int) -> NDArray[np.int64]:
    """The tight box with each of its sides moved on its own by a uniform integer in [-amount, amount] voxels.

    Sides stay inside the image, and the box keeps at least one voxel an axis (sides that cross are put back around the
    tight box's middle). The rule of RadioActive's box noise (MIC-DKFZ/radioactive). Raises ``EvaluatorFailure`` on an
    empty mask.
    """
    box = tight_box(mask)
    shape = np.asarray(mask.shape)
    moved = box + rng.integers(-amount, amount, size=box.shape, endpoint=True)
    start, stop = np.clip(moved, 0, shape)
    middle = box.sum(axis=0) // 2
    crossed = start >= stop
    return np.stack([np.where(crossed, middle, start), np.where(crossed, middle + 1, stop)])


def middle_slice_box(mask: NDArray[np.bool_], rng: np.random.Generator, axis: int = -1) -> NDArray[np.int64]:
    """(2, 3) half-open: the box that a user draws on the middle slice, stretched over the structure's slices.

    The rule of the CVPR 2025 interactive challenge (get_boxes.py): the middle element of the list of slices that hold
    the structure; its tight 2D box, widened on all sides by ``int(s * side / 256)`` with one s uniform in {0..5}, clipped.
    It need not enclose the structure on other slices.

    axis: the slice axis; the last (superior) in our arrays, 0 in the challenge's. Raises ``EvaluatorFailure`` on an empty
    mask.
    """
    sliced = np.moveaxis(np.asarray(mask, dtype=bool), axis, 0)
    full = tight_box(sliced)
    held = np.flatnonzero(sliced.any(axis=(1, 2)))
    plane = sliced[held[len(held) // 2]]
    side = np.asarray(plane.shape)
    widened = (int(rng.integers(0, 6)) * side / 256).astype(int)
    start, stop = tight_box(plane)
    box = np.stack([np.maximum(start - widened, 0), np.minimum(stop + widened, side)])
    return np.insert(box, axis % mask.ndim, full[:, 0], axis=1)


def draw_points(mask: NDArray[np.bool_], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(min(n, voxels), ndim) distinct voxels of the structure, uniformly drawn at once, in drawn order.

    Raises ``EvaluatorFailure`` on an empty mask.
    """
    box = tight_box(mask)
    cropped = np.asarray(mask, dtype=bool)[slices(box)]
    voxels = np.flatnonzero(cropped)
    drawn = rng.choice(voxels, size=min(n, voxels.size), replace=False)
    return np.stack(np.unravel_index(drawn, cropped.shape), axis=1) + box[0]


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of a structure (8 or 26 neighbours); the first in C order where several are as large.

    What SAM-Med2D boxes (utils.get_boxes_from_mask). An empty mask stays empty.
    """
    from scipy import ndimage

    box = bounds(np.asarray(mask, dtype=bool))
    if box is None:
        return mask
    where = slices(box)
    pieces, count = ndimage.label(mask[where], structure=np.ones((3,) * mask.ndim))
    if count == 1:
        return mask
    largest = np.zeros_like(mask)
    largest[where] = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return largest


def mixed_points(
    mask: NDArray[np.bool_], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, ndim) voxels and (n,) labels: n // 2 on the structure, the others on the background, with replacement, shuffled.

    The rule of SAM-Med2D for several points at once (utils.init_point_sampling), where 3 points are one on the structure
    and two beside it; one point is on the structure. Raises ``EvaluatorFailure`` on an empty mask; with no background all
    are on the structure.
    """
    mask = np.asarray(mask, dtype=bool)
    inside, outside = np.flatnonzero(mask), np.flatnonzero(~mask)
    if not inside.size:
        raise EvaluatorFailure(
            "a point on an empty structure: prompts are drawn only for structures that are present"
        )
    hits = n if n == 1 or not outside.size else n // 2
    flat = rng.choice(inside, hits)
    if hits < n:
        flat = np.concatenate([flat, rng.choice(outside, n - hits)])
    order = rng.permutation(n)
    points = np.stack(np.unravel_index(flat[order], mask.shape), axis=1)
    return points, (np.arange(n) < hits)[order].astype(np.int64)
