"""What a user draws on the slices of a volume: points and boxes on a few slices, and what a machine makes of them.

The rules are RadioActive's (arXiv 2411.07885; MIC-DKFZ/radioactive at 1796386, prompts/prompt_utils.py); arrays of any
axis order, slices along ``axis``. Its random prompts are drawn by a ``Draw``: ours is a seeded ``np.random.Generator``, its
own a ``np.random.RandomState``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medeval.interaction.drawing import tight_box

Points = NDArray[np.int64]


class Draw(Protocol):
    """What ``np.random.Generator`` and ``np.random.RandomState`` have in common."""

    def choice(self, a: Any, size: Any = None, replace: bool = True) -> Any:
        """One or several of ``range(a)``."""


def seed_slices(mask: NDArray[np.bool_], n: int, axis: int = -1) -> Points:
    """(k,) distinct slices, ascending: n evenly spaced ones from the first to the last that holds the structure.

    One that holds nothing is replaced by the nearest that does (the lower of two). One slice: the median one. Raises
    ``EvaluatorFailure`` on an empty mask.
    """
    held = held_slices(mask, axis)
    chosen = [int(np.median(held))] if n == 1 else np.linspace(held[0], held[-1], num=n, dtype=int)
    return np.unique([held[np.abs(held - index).argmin()] for index in chosen]).astype(np.int64)


def held_slices(mask: NDArray[np.bool_], axis: int = -1) -> Points:
    """(k,) all slices that hold the structure, ascending. Raises ``EvaluatorFailure`` on an empty mask."""
    tight_box(mask)
    return np.flatnonzero(np.moveaxis(mask, axis, 0).any(axis=tuple(range(1, mask.ndim))))


def centre_point(plane: NDArray[np.bool_]) -> Points:
    """(2,) the pixel of the plane's largest piece (8 neighbours) that is nearest to the middle of the piece's box.

    Of pieces that are as large the last one in C order counts, as upstream sorts.
    """
    piece = largest_last(plane)
    start, stop = tight_box(piece)
    return nearest_pixel(piece, ((start + stop - 1) / 2).round())


def nearest_pixel(piece: NDArray[np.bool_], place: NDArray[np.float64]) -> Points:
    """(ndim,) the True pixel nearest to a place, by the k-d tree that upstream asks (which settles ties)."""
    from scipy.spatial import cKDTree

    inside = np.argwhere(piece)
    _, nearest = cKDTree(inside).query(place[None], k=1)
    found: Points = inside[int(np.asarray(nearest)[0])]
    return found


def largest_last(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece (8 or 26 neighbours), the last in C order of equals; an empty mask stays empty."""
    pieces, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())[1:]
    return np.asarray(pieces == count - sizes[::-1].argmax())


def mass_point(plane: NDArray[np.bool_]) -> Points:
    """(2,) the same for the piece's centre of mass."""
    piece = largest_last(plane)
    return nearest_pixel(piece, np.argwhere(piece).mean(axis=0).round())


def points_on(
    mask: NDArray[np.bool_],
    slices: Points,
    axis: int = -1,
    rule: Callable[[NDArray[np.bool_]], Points] = centre_point,
) -> Points:
    """(k, ndim) the point of each slice that ``rule`` takes: ``centre_point`` or ``mass_point``."""
    moved = np.moveaxis(mask, axis, 0)
    return np.array([placed(rule(moved[z]), z, axis, mask.ndim) for z in slices], dtype=np.int64)


def boxes_on(mask: NDArray[np.bool_], slices: Points, axis: int = -1) -> Points:
    """(k, 2, ndim) half-open: the tight box of the structure on each slice, one slice thick."""
    moved = np.moveaxis(mask, axis, 0)
    boxes = []
    for z in slices:
        start, stop = tight_box(moved[z])
        boxes.append([placed(start, z, axis, mask.ndim), placed(stop, z + 1, axis, mask.ndim)])
    return np.array(boxes, dtype=np.int64)


def interpolated_points(points: Points, axis: int = -1) -> Points:
    """(m, ndim) one point a slice from the first to the last, linear between the given ones and rounded to even.

    A point of a bent structure may lie beside it.
    """
    ordered = points[np.argsort(points[:, axis], kind="stable")]
    z = ordered[:, axis]
    every = np.arange(z[0], z[-1] + 1)
    columns = [np.interp(every, z, ordered[:, column]).round() for column in range(points.shape[1])]
    return np.stack(columns, axis=1).astype(np.int64)


def interpolated_boxes(boxes: Points, axis: int = -1) -> Points:
    """(m, 2, ndim) one box a slice from the first to the last, corners linear between the given ones and rounded."""
    stops = boxes[:, 1].copy()
    stops[:, axis] -= 1  # the slice itself, as in the starts
    corners = np.stack([interpolated_points(boxes[:, 0], axis), interpolated_points(stops, axis)], axis=1)
    corners[:, 1, axis] += 1
    return corners


def sliced_box(mask: NDArray[np.bool_], axis: int = -1) -> Points:
    """(m, 2, ndim) the 3D box of the structure cut into its slices."""
    box = tight_box(mask)
    every = np.arange(box[0, axis], box[1, axis])
    cut = np.repeat(box[None], len(every), axis=0)
    cut[:, 0, axis], cut[:, 1, axis] = every, every + 1
    return cut


def random_points_per_slice(mask: NDArray[np.bool_], n: int, draw: Draw, axis: int = -1) -> Points:
    """(k, ndim) n voxels of the structure on every slice that holds it; on a smaller slice all, and some again."""
    moved = np.moveaxis(mask, axis, 0)
    found = []
    for z in held_slices(mask, axis):
        inside = np.argwhere(moved[z])
        if len(inside) >= n:
            chosen = draw.choice(len(inside), size=n, replace=False)
        else:
            again = draw.choice(len(inside), size=n - len(inside), replace=True)
            chosen = np.concatenate([np.arange(len(inside)), again])
        found += [placed(pixel, z, axis, mask.ndim) for pixel in inside[chosen]]
    return np.array(found, dtype=np.int64)


def random_points(mask: NDArray[np.bool_], n: int, draw: Draw) -> Points:
    """(min(n, voxels), ndim) distinct voxels of the structure, uniformly drawn, in drawn order."""
    inside = np.argwhere(mask)
    return np.asarray(
        inside[draw.choice(len(inside), size=min(n, len(inside)), replace=False)], dtype=np.int64
    )


def alternating_points_per_slice(
    mask: NDArray[np.bool_], n: int, draw: Draw, axis: int = -1
) -> tuple[Points, Points]:
    """(k, ndim) voxels and (k,) labels: on every slice half of n (rounded up) on the structure, the others in a ring.

    The ring lies between 2 and 5 pixels from the structure, within the slice. All on the structure come first.
    """
    moved = np.moveaxis(mask, axis, 0)
    inside: list[Points] = []
    outside: list[Points] = []
    for z in held_slices(mask, axis):
        near = ndimage.binary_dilation(moved[z], disk(2))
        ring = ndimage.binary_dilation(near, disk(3)) & ~near
        for plane, wanted, into in ((moved[z], n - n // 2, inside), (ring, n // 2, outside)):
            pixels = np.argwhere(plane)
            chosen = draw.choice(len(pixels), size=min(wanted, len(pixels)), replace=False)
            into += [placed(pixel, z, axis, mask.ndim) for pixel in pixels[chosen]]
    labels = np.repeat([1, 0], [len(inside), len(outside)]).astype(np.int64)
    return np.array(inside + outside, dtype=np.int64), labels


def disk(radius: int) -> NDArray[np.bool_]:
    """(2r + 1, 2r + 1) the pixels within a radius."""
    span = np.arange(-radius, radius + 1)
    return np.asarray(span[:, None] ** 2 + span**2 <= radius**2)


def largest_slice(mask: NDArray[np.bool_], axis: int = -1) -> int:
    """The slice with most of the structure, the first of equals. Raises ``EvaluatorFailure`` on an empty mask."""
    tight_box(mask)
    return int(np.moveaxis(mask, axis, 0).sum(axis=tuple(range(1, mask.ndim))).argmax())


def placed(pixel: Points, z: int, axis: int, ndim: int) -> Points:
    """A pixel of a slice as a voxel."""
    return np.insert(np.asarray(pixel, dtype=np.int64), axis % ndim, z)
