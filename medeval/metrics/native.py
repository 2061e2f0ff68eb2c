"""The compiled kernels' Python side: brings arrays into a memory order that they can walk, and results back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medeval.metrics import _kernels  # type: ignore[attr-defined]
from medeval.metrics.distances import Directed, Neighbourhood, SurfaceDistances, neighbourhood
from medeval.metrics.inputs import Bytes
from medeval.metrics.surfels import surfel_areas

SLAB = 4_000_000  # voxels that are worth a thread
_ABSENT = np.iinfo(np.int64).max


def scan(
    prediction: Bytes, reference: Bytes, size: int, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As ``kernels.scan``; ``threads`` share the first axis in memory."""
    axes, flipped, pred, ref = _walkable(prediction, reference)
    parts = min(threads, pred.shape[0], 1 + pred.size // SLAB)
    if parts > 1:
        bounds = [len(pred) * i // parts for i in range(parts + 1)]
        with ThreadPoolExecutor(parts) as pool:
            slabs = [slice(a, b) for a, b in pairwise(bounds)]
            done = list(pool.map(lambda slab: _scan(pred[slab], ref[slab], size), slabs))
        for (_, boxes), slab in zip(done, slabs, strict=True):
            boxes[boxes[:, 1, 0] > 0, :, 3 - pred.ndim] += slab.start
        counts = np.sum([c for c, _ in done], axis=0)
        low = np.min([np.where(b[:, 1:, :] > 0, b[:, :1, :], _ABSENT) for _, b in done], axis=0)
        boxes = np.concatenate([low, np.max([b[:, 1:, :] for _, b in done], axis=0)], axis=1)
        boxes[boxes[:, 1, 0] == 0] = 0
    else:
        counts, boxes = _scan(pred, ref, size)
    boxes = boxes[:, :, 3 - pred.ndim :]
    if axes is None:
        return counts, boxes
    ordered = np.empty_like(boxes)
    present = boxes[:, 1, 0] > 0
    for place, axis in enumerate(axes):
        ordered[:, :, axis] = boxes[:, :, place]
        if flipped[place]:
            ordered[present, :, axis] = pred.shape[place] - boxes[present][:, ::-1, place]
    return counts, ordered


def narrow(labels: NDArray) -> Bytes | None:
    """As ``kernels.narrow``."""
    if labels.dtype.itemsize not in ((4, 8) if labels.dtype.kind == "f" else (2, 4, 8)):
        return _narrow_by_numpy(labels)
    flat = labels.ravel(order="K")  # a view of any array without holes
    narrowed = np.empty_like(labels, dtype=np.uint8)
    same_order = np.shares_memory(flat, labels) and narrowed.strides == tuple(
        s // labels.itemsize for s in labels.strides
    )
    if not same_order or not labels.dtype.isnative:
        return _narrow_by_numpy(labels)
    return narrowed if _kernels.narrow(flat, narrowed.ravel(order="K"), labels.dtype.kind == "f") else None


def _narrow_by_numpy(labels: NDArray) -> Bytes | None:
    from medeval.metrics import fallback  # needs more of scipy than the ordinary case should load

    return fallback.narrow(labels)


def _scan(pred: Bytes, ref: Bytes, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts and half-open boxes (size, 2, 3) of arrays that can be walked; zeros for an absent value."""
    counts = np.empty((size, size), dtype=np.int64)
    boxes = np.empty((size, 2, 3), dtype=np.int64)
    wrong = _kernels.scan(pred, ref, size, counts, boxes)
    if wrong >= 0:
        raise ValueError(wrong)
    boxes[:, 1] += 1
    boxes[boxes[:, 1, 0] == 0] = 0
    return counts, boxes


def _walkable(first: Bytes, second: Bytes) -> tuple[tuple[int, ...] | None, tuple[bool, ...], Bytes, Bytes]:
    """Both arrays with their axes in memory order and the last one contiguous: views where that is possible.

    Returns the order of axes and which of them (in the new order) were flipped, None and () for no change; the arrays.
    """
    last = first.ndim - 1
    strides = first.strides
    if strides[last] == second.strides[last] == 1:
        return None, (), first, second
    axes = tuple(sorted(range(first.ndim), key=lambda axis: (-abs(strides[axis]), axis)))
    flipped = tuple(strides[axis] < 0 for axis in axes)
    turn = tuple(slice(None, None, -1) if flip else slice(None) for flip in flipped)
    one, two = (array.transpose(axes)[turn] for array in (first, second))
    if one.strides[last] != 1 and one.shape[last] > 1:
        one = np.ascontiguousarray(one)
    if two.strides[last] != 1 and two.shape[last] > 1:
        two = np.ascontiguousarray(two)
    if one.shape[last] == 1:  # a stride that is never taken may be anything
        one, two = np.ascontiguousarray(one), np.ascontiguousarray(two)
    same = axes == tuple(range(first.ndim)) and not any(flipped)
    return (None, (), one, two) if same else (axes, flipped, one, two)


@lru_cache(maxsize=128)
def _tables(
    spacing: tuple[float, ...], axes: tuple[int, ...], surfel: bool
) -> tuple[NDArray[np.float64], Neighbourhood, tuple[float, ...], tuple[int, ...]]:
    """Weights by code, neighbourhood, spacing and the order to sum squares in, for axes as they lie in memory."""
    ndim = len(spacing)
    weights = np.zeros(256)
    if surfel:
        # The area of a neighbourhood turns with the axes, so turned spacings give the turned table.
        areas = surfel_areas(tuple(spacing[axis] for axis in axes))
        weights[: len(areas)] = areas
    else:
        weights[1] = 1.0
    near = neighbourhood(spacing)
    turned = np.zeros((len(near.offsets), 3), dtype=np.int32)
    turned[:, 3 - ndim :] = near.offsets[:, axes]
    steps = tuple([0.0] * (3 - ndim) + [spacing[axis] for axis in axes])
    order = (*range(3 - ndim), *(3 - ndim + axes.index(axis) for axis in range(ndim)))
    return weights, Neighbourhood(turned, near.ranks, near.distances), steps, order


def surfaces(
    prediction: Bytes, reference: Bytes, values: tuple[int, ...], spacing: tuple[float, ...], surfel: bool
) -> SurfaceDistances:
    """As ``kernels.surfaces``."""
    axes, _, pred, ref = _walkable(prediction, reference)
    weights, near, steps, order = _tables(spacing, axes or tuple(range(pred.ndim)), surfel)
    found = _kernels.surfaces(
        pred, ref, bytes(values), surfel, weights, near.offsets, near.ranks, near.distances, steps, order
    )
    first, first_weights, second, second_weights = (np.frombuffer(part) for part in found)
    return SurfaceDistances(Directed(first, first_weights), Directed(second, second_weights))
