"""Corrections as RadioActive gives them (arXiv 2411.07885; MIC-DKFZ/radioactive at 1796386, prompts/interactive_prompter.py).

Missed with probability FN / (FN + FP): one point on every slice of the largest missed piece. Else a scribble: on the plane
of the second array axis of (slice, row, column) that holds most extra voxels, a stretch of the reference's contour, dilated
by two, around a random extra voxel; its extra voxels are clicked as background. Where the plane holds no reference, a
straight line through its fullest column; where that fails, three random extra voxels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medeval.interaction.corrections import Given, Round, correction_rule
from medeval.interaction.effort import Effort, path_length
from medeval.interaction.slices import (
    Draw,
    Points,
    disk,
    held_slices,
    largest_last,
    mass_point,
    points_on,
    random_points,
)

DISTANCE, STRETCH, FALLBACK = (
    2,
    0.6,
    3,
)  # voxels of dilation, share of the contour, points where no scribble is possible
Pick = Callable[[int], int]


def per_slice_of_missed(missed: NDArray[np.bool_], axis: int = -1) -> Points:
    """(k, ndim) on each slice of the largest missed piece (26 neighbours) the pixel nearest to its centre of mass."""
    piece = largest_last(missed)
    return points_on(piece, held_slices(piece, axis), axis, mass_point)


def worst_plane(extra: NDArray[np.bool_], axis: int = -1) -> tuple[int, int]:
    """(axis, index) of the plane that crosses the slices and holds most extra voxels, the first of equals.

    It is across the first axis that is not the slices' (rows: "sagittal" in the upstream code, where arrays are z, y, x).
    """
    across = 1 if axis % extra.ndim == 0 else 0
    sums = extra.sum(axis=tuple(a for a in range(extra.ndim) if a != across))
    return across, int(sums.argmax())


def scribble_on(
    truth: NDArray[np.bool_], prediction: NDArray[np.bool_], pick: Pick
) -> tuple[Points, Points] | None:
    """A stroke over extra pixels of one plane: ((n, 2) drawn pixels in C order, (k, 2) the drawn path); None: impossible.

    pick: a number below n, for the extra pixel of the contour around which the stretch is drawn.
    """
    if not truth.any():
        column = int(prediction.sum(axis=0).argmax())
        line = np.column_stack([np.arange(truth.shape[0]), np.full(truth.shape[0], column)])
        return line, line
    from skimage.measure import find_contours

    pieces = find_contours(ndimage.binary_dilation(truth, disk(DISTANCE)).astype(float))
    if not pieces:
        return None
    contour = np.concatenate(pieces).round().astype(np.int64)
    beside = np.flatnonzero(prediction[tuple(contour.T)])
    if not len(beside):
        return None
    length = round(len(contour) * STRETCH)
    begin = int(beside[pick(len(beside))]) - length // 2
    path = np.take(contour, range(begin, begin + length), axis=0, mode="wrap")
    drawn = np.zeros(truth.shape, dtype=bool)
    drawn[tuple(path.T)] = True
    return np.argwhere(_largest_first(drawn)), path


def negative_points(state: Round, draw: Draw, pick: Pick) -> tuple[Points, Effort]:
    """(n, ndim) background voxels on a scribble over what is extra, and what drawing it costs."""
    extra = state.prediction & ~state.truth
    across, index = worst_plane(extra, state.slice_axis)
    truth, prediction = (np.take(mask, index, axis=across) for mask in (state.truth, state.prediction))
    found = scribble_on(truth, prediction, pick)
    points = found[0][prediction[tuple(found[0].T)]] if found is not None else ()
    if found is None or not len(points):
        points = random_points(extra, FALLBACK, draw)
        return points, Effort.of_clicks(points, state.slice_axis)
    voxels = np.insert(points, across, index, axis=1)
    spacing = [edge for axis, edge in enumerate(state.spacing) if axis != across]
    # The stroke is drawn on one plane; upstream it costs four points.
    return voxels, Effort(lines=1, slices=frozenset({-1 - index}), mm=path_length(found[1], spacing))


@correction_rule("radioactive")
def radioactive(state: Round, rng: np.random.Generator) -> Given | None:
    """A point on each slice of the largest missed piece, or a scribble over what is extra (RadioActive)."""
    wrong = state.wrong
    missed, extra = wrong & state.truth, wrong & ~state.truth
    return _either(state, missed, extra, rng, lambda n: int(rng.choice(n)), rng.random())


@correction_rule("radioactive-seed-1")
def radioactive_seed_1(state: Round, rng: np.random.Generator) -> Given | None:
    """The same with the upstream code's generators, which are seeded by 1 at every scribble (RadioActive).

    Which of the two is given is drawn from an unseeded generator there, and from ours here.
    """
    wrong = state.wrong
    missed, extra = wrong & state.truth, wrong & ~state.truth
    return _either(state, missed, extra, np.random.RandomState(1), upstream_pick(1), rng.random())


def upstream_pick(seed: int) -> Pick:
    """The index that upstream's ``random.choices`` takes right after it drew the size of its disk, seeded anew."""
    import random

    def pick(n: int) -> int:
        state = random.Random(seed)
        state.randint(DISTANCE, DISTANCE)
        return state.choices(range(n))[0]

    return pick


def _either(
    state: Round, missed: NDArray[np.bool_], extra: NDArray[np.bool_], draw: Draw, pick: Pick, chance: float
) -> Given | None:
    n_missed, n_extra = int(missed.sum()), int(extra.sum())
    if not n_missed + n_extra:
        return None
    if chance * (n_missed + n_extra) < n_missed:
        points = per_slice_of_missed(missed, state.slice_axis)
        return Given.clicked(points, np.ones(len(points)), state.slice_axis)
    seen = Round(state.truth | extra, state.truth, state.clicked, state.spacing, state.slice_axis)
    points, effort = negative_points(seen, draw, pick)
    return Given(points, np.zeros(len(points), dtype=np.int64), effort)


def _largest_first(drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece (8 neighbours), the first in C order of equals."""
    pieces, _ = ndimage.label(drawn, structure=np.ones((3, 3)))
    return np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
