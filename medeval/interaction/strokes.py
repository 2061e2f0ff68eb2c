"""What a user draws by hand on one slice: a RECIST diameter, a lasso around the structure, a scribble along it.

All on the slice where the structure is largest, or on the picture. Paths are voxels of the whole array, in drawn order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medeval.interaction.drawing import tight_box
from medeval.interaction.slices import Points, disk, largest_last, largest_slice, placed

MARGIN = 2  # pixels between a lasso and the structure


def recist_line(mask: NDArray[np.bool_], spacing: Sequence[float], axis: int = -1) -> Points:
    """(2, ndim) the ends of the longest diameter, in mm, of the structure on its largest slice (RECIST 1.1, section 3.1).

    Both ends lie on the structure; of equally long diameters the first in C order. Raises ``EvaluatorFailure`` on an empty
    mask.
    """
    plane, place = _plane(mask, axis)
    edges = np.asarray(_in_plane(spacing, mask.ndim, axis))
    border = np.argwhere(plane & ~ndimage.binary_erosion(plane, np.ones((3, 3), dtype=bool)))
    border = _hull(border)
    places = border * edges
    squared = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    ends = np.unravel_index(int(squared.argmax()), squared.shape)
    return place(border[list(ends)])


def points_along(line: Points, n: int) -> Points:
    """(n, ndim) evenly spaced voxels on a line, its ends left out (MedSAM2's ``from_recist_n`` takes points on the line)."""
    shares = (np.arange(n) + 1) / (n + 1)
    return (line[0] + shares[:, None] * (line[1] - line[0])).round().astype(np.int64)


def box_of_line(line: Points) -> Points:
    """(2, ndim) half-open: the box that a line spans, one slice thick in a volume."""
    return np.stack([line.min(axis=0), line.max(axis=0) + 1])


def lasso(mask: NDArray[np.bool_], axis: int = -1) -> Points:
    """(k, ndim) a closed path around the largest piece of the structure on its largest slice, 2 pixels from it.

    It ends beside where it begins, and is cut at the image's edge. Raises ``EvaluatorFailure`` on an empty mask.
    """
    from skimage.measure import find_contours

    plane, place = _plane(mask, axis)
    grown = ndimage.binary_fill_holes(ndimage.binary_dilation(largest_last(plane), disk(MARGIN)))
    around = max(find_contours(np.pad(grown, 1).astype(float)), key=len) - 1
    path = np.clip(around.round().astype(np.int64), 0, np.array(plane.shape) - 1)
    kept = np.flatnonzero(np.r_[True, (np.diff(path, axis=0) != 0).any(axis=1)])
    return place(path[kept])


def scribble(mask: NDArray[np.bool_], axis: int = -1) -> Points:
    """(k, ndim) a line along the middle of the structure's largest piece on its largest slice.

    The longest path of the piece's skeleton, as ScribblePrompt's centreline scribbles, unbroken. Raises
    ``EvaluatorFailure`` on an empty mask.
    """
    from skimage.morphology import skeletonize

    plane, place = _plane(mask, axis)
    line = np.argwhere(skeletonize(largest_last(plane)))
    if not len(line):
        line = np.argwhere(plane)[:1]
    return place(_longest_path(line))


def _plane(mask: NDArray[np.bool_], axis: int) -> tuple[NDArray[np.bool_], _Place]:
    """The structure's largest slice (or the picture), and the way back from its pixels to voxels."""
    if mask.ndim == 2:
        tight_box(mask)
        return mask, _Place(None, axis)
    index = largest_slice(mask, axis)
    return np.take(mask, index, axis=axis), _Place(index, axis)


class _Place:
    """Pixels of a slice as voxels of its volume."""

    def __init__(self, index: int | None, axis: int) -> None:
        self._index, self._axis = index, axis

    def __call__(self, pixels: Points) -> Points:
        pixels = np.asarray(pixels, dtype=np.int64)
        if self._index is None:
            return pixels
        return np.array([placed(pixel, self._index, self._axis, 3) for pixel in pixels], dtype=np.int64)


def _in_plane(spacing: Sequence[float], ndim: int, axis: int) -> list[float]:
    return [edge for number, edge in enumerate(spacing) if ndim == 2 or number != axis % ndim]


def _hull(points: Points) -> Points:
    """The points on their convex hull, in C order: the ends of the longest diameter are among them."""
    from scipy.spatial import ConvexHull, QhullError

    if len(points) < 4:
        return points
    try:
        return points[np.sort(ConvexHull(points).vertices)]
    except QhullError:  # all on one line
        return points[[0, -1]]


def _longest_path(pixels: Points) -> Points:
    """From the pixel farthest from the first one to the pixel farthest from that, over 8 neighbours."""
    places = {tuple(pixel): number for number, pixel in enumerate(pixels.tolist())}
    start, _ = _farthest(0, pixels, places)
    end, before = _farthest(start, pixels, places)
    path = [end]
    while before[path[-1]] >= 0:
        path.append(before[path[-1]])
    return pixels[path]


def _farthest(start: int, pixels: Points, places: dict[tuple, int]) -> tuple[int, dict[int, int]]:
    """The last pixel that a breadth-first search reaches, and from where each was reached."""
    before, queue = {start: -1}, [start]
    for at in queue:
        row, column = (int(value) for value in pixels[at])
        for step in ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
            beside = places.get((row + step[0], column + step[1]))
            if beside is not None and beside not in before:
                before[beside] = at
                queue.append(beside)
    return queue[-1], before
