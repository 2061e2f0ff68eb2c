"""The kernels in numpy and scipy: the same numbers without a compiler, and the readable statement of what they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.spatial import cKDTree

from medeval.metrics.distances import Directed, SurfaceDistances, squared_length
from medeval.metrics.inputs import Bytes
from medeval.metrics.surfels import surfel_areas


def scan(
    prediction: Bytes, reference: Bytes, size: int, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Joint counts and boxes of all values below ``size``.

    Returns counts (size, size), rows by the prediction's value; and boxes (size, 2, ndim) int64: the half-open box that
    holds the value in either map, zeros where it is absent. ``ValueError(value)`` when a value is not below ``size``.
    """
    top = max(int(prediction.max()), int(reference.max()))
    if top >= size:
        raise ValueError(top)
    counts = np.zeros(size * size, dtype=np.int64)
    for pred, ref in zip(
        prediction, reference, strict=True
    ):  # plane by plane: bincount needs eight bytes a voxel
        counts += np.bincount((pred.astype(np.intp) * size + ref).ravel(), minlength=size * size)
    boxes = np.zeros((size, 2, prediction.ndim), dtype=np.int64)
    for found in (find_objects(prediction), find_objects(reference)):
        for value, slices in enumerate(found, start=1):
            if slices is None:
                continue
            start, stop = np.array([s.start for s in slices]), np.array([s.stop for s in slices])
            seen = bool(boxes[value, 1].any())
            boxes[value, 0] = np.minimum(boxes[value, 0], start) if seen else start
            boxes[value, 1] = np.maximum(boxes[value, 1], stop)
    return counts.reshape(size, size), boxes


def narrow(labels: NDArray) -> Bytes | None:
    """Labels as bytes, or None when one is no whole number in [0, 255] (NaN fails both comparisons)."""
    if not (labels.min() >= 0 and labels.max() <= 255):
        return None
    narrowed = labels.astype(np.uint8)
    return narrowed if labels.dtype.kind != "f" or np.array_equal(narrowed, labels) else None


def surfel_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Code of every voxel corner, (n + 1) an axis; 0 where the corner lies on no surface."""
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([n + 1 for n in mask.shape], dtype=np.uint8)
    for bit in range(2**mask.ndim):
        # Bit 0 is the voxel on the high side of every axis; the first axis has the highest place value.
        low = [bit >> (mask.ndim - 1 - axis) & 1 for axis in range(mask.ndim)]
        window = tuple(
            slice(0, n + 1) if at else slice(1, n + 2) for at, n in zip(low, mask.shape, strict=True)
        )
        codes |= padded[window] << np.uint8(bit)
    codes[codes == 2 ** (2**mask.ndim) - 1] = 0
    return codes


def border_voxels(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """1 for voxels of the mask with a face neighbour outside it; outside the array counts as background."""
    padded = np.pad(mask, 1)
    inner = tuple(slice(1, -1) for _ in mask.shape)
    inside = mask.copy()
    for axis in range(mask.ndim):
        for shift in (slice(0, -2), slice(2, None)):
            inside &= padded[(*inner[:axis], shift, *inner[axis + 1 :])]
    return (mask & ~inside).view(np.uint8)


def surfaces(
    prediction: Bytes, reference: Bytes, values: tuple[int, ...], spacing: tuple[float, ...], surfel: bool
) -> SurfaceDistances:
    """Distances between the surfaces of ``values`` in two crops of one shape, both of which hold some of them.

    surfel: surface elements at voxel corners, weighted by area; else border voxels, each of weight 1.
    """
    masks = [np.isin(crop, values) for crop in (prediction, reference)]
    codes = [surfel_codes(mask) if surfel else border_voxels(mask) for mask in masks]
    weights = surfel_areas(spacing) if surfel else np.array([0.0, 1.0])
    steps = np.asarray(spacing)
    one, two = (_directed(codes[i], codes[1 - i], weights, steps) for i in (0, 1))
    return SurfaceDistances(to_reference=one, to_prediction=two)


def _directed(
    source: Bytes, target: Bytes, weights: NDArray[np.float64], steps: NDArray[np.float64]
) -> Directed:
    points = np.argwhere(source)
    elements = weights[source[source != 0]]
    nearest = _nearest(points, target, steps)
    distances, where = np.unique(np.sqrt(squared_length(points - nearest, steps)), return_inverse=True)
    sums = np.bincount(where.reshape(-1), weights=elements, minlength=len(distances))
    return Directed(distances, sums.astype(np.float64))


def _nearest(points: NDArray[np.int64], target: Bytes, steps: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the nearest element of ``target`` for each point: a k-d tree, or a transform of the whole crop."""
    others = np.argwhere(target)
    if (
        len(points) + len(others)
    ) * 8 > target.size:  # relative cost of a tree's point to a transform's voxel
        nearest = distance_transform_edt(
            target == 0, sampling=steps, return_distances=False, return_indices=True
        )
        return nearest[(slice(None), *points.T)].T.astype(np.int64)
    _, index = cKDTree(others * steps).query(points * steps)
    return others[index]
