"""The deepest voxels of a region: where its distance transform is largest.

A full Euclidean distance transform is more than a click needs: only the few voxels near the maximum matter. A city-block
transform (a tenth of the time) bounds the depth of every voxel from both sides; those that may be deepest are then
compared exactly, shell by shell. On the grey matter of the 1 mm MNI152 template (145 x 182 x 154) 0.12 s instead of 0.47 s
with ``scipy.ndimage.distance_transform_edt``, on a prediction's usual thin errors 0.05 s, with equal results (a test holds
it). Compact regions, where too many voxels are candidates, take scipy's transform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_TIE = 1e-9  # relative: squared distances of anisotropic voxels carry rounding


def deepest(
    region: NDArray[np.bool_],
    spacing: Sequence[float] | None = None,
    barred: NDArray[np.int64] | None = None,
) -> tuple[float, NDArray[np.int64]]:
    """The largest distance from a voxel of the region to the nearest voxel outside it, and all voxels that have it.

    region: bool, any number of axes; outside the array counts as outside the region.
    spacing: voxel edge lengths; None for voxel units.
    barred: (n, ndim) voxels that must not be chosen (they still belong to the region).
    Returns (depth, (k, ndim) voxels in C order); (0.0, empty) when no voxel can be chosen.
    """
    padded = np.pad(region, 1)
    chosen = padded.copy()
    if barred is not None and len(barred):
        chosen[tuple(np.asarray(barred).T + 1)] = False
    steps = np.asarray(spacing if spacing is not None else np.ones(region.ndim), dtype=np.float64)
    city = ndimage.distance_transform_cdt(padded, metric="taxicab")
    most = int(city.max(where=chosen, initial=0))
    if most == 0:
        return 0.0, np.empty((0, region.ndim), dtype=np.int64)
    # A voxel k city-block steps deep is at least k / sqrt(sum 1/s^2) and at most k * max(s) deep.
    at_least = most / np.sqrt((steps**-2).sum())
    candidates = np.flatnonzero(chosen & (city * steps.max() >= at_least * (1 - _TIE)))
    reach = most * float(steps.max())
    ball = float(np.prod(2 * reach / steps + 1))
    # Nanoseconds, as measured: most candidates fall early, so a shell search looks up a small part of size x ball.
    shells_cost, transform_cost = ball * (0.3 * candidates.size + 250), 110.0 * padded.size + 60_000
    search = _by_shells if shells_cost < transform_cost else _by_transform
    depth, flat = search(padded, candidates, steps, reach)
    return depth, np.stack(np.unravel_index(flat, padded.shape), axis=1) - 1


def _by_transform(
    padded: NDArray[np.bool_], candidates: NDArray[np.int64], steps: NDArray[np.float64], reach: float
) -> tuple[float, NDArray[np.int64]]:
    depths = ndimage.distance_transform_edt(padded, sampling=steps).ravel()[candidates]
    depth = float(depths.max())
    return depth, candidates[depths >= depth * (1 - _TIE)]


def _by_shells(
    padded: NDArray[np.bool_], candidates: NDArray[np.int64], steps: NDArray[np.float64], reach: float
) -> tuple[float, NDArray[np.int64]]:
    """Drop candidates as ever wider shells reach outside; the last to fall are the deepest.

    The zero border is nearer than anything beyond it, so a candidate falls before an offset leaves the array.
    """
    inside = padded.ravel()
    alive = candidates
    for distance, offsets in _shells(padded.shape, steps, reach):
        kept = alive[inside[alive[:, None] + offsets].all(axis=1)]
        if not kept.size:
            return distance, alive
        alive = kept
    raise AssertionError("the zero border is within reach of every candidate")


def _shells(
    shape: tuple[int, ...], steps: NDArray[np.float64], reach: float
) -> Iterator[tuple[float, NDArray[np.int64]]]:
    """(distance, flat offsets at that distance), nearest first, up to ``reach``."""
    spans = [
        np.arange(-r, r + 1) for r in np.minimum(np.ceil(reach / steps), np.array(shape) - 1).astype(int)
    ]
    offsets = np.stack([axis.ravel() for axis in np.meshgrid(*spans, indexing="ij")], axis=1)
    squared = ((offsets * steps) ** 2).sum(axis=1)
    order = np.argsort(squared, kind="stable")
    order = order[(squared[order] > 0) & (squared[order] <= reach**2 * (1 + _TIE))]
    sorted_squared = squared[order]
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    flat = offsets[order] @ strides
    cuts = np.flatnonzero(np.diff(sorted_squared) > _TIE * sorted_squared[1:]) + 1
    for start, stop in zip([0, *cuts], [*cuts, len(flat)], strict=True):
        yield float(np.sqrt(sorted_squared[start])), flat[start:stop]
