"""All structures of two label maps at once: one pass counts every pair of labels and finds every box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics import kernels, tensors
from medeval.metrics.inputs import (
    Bytes,
    Label,
    as_array,
    as_labels,
    check_same_shape,
    check_spacing,
    label_values,
)
from medeval.metrics.masks import Counts, MaskPair, as_ignore, voxels, without
from medeval.types.errors import MetricError
from medeval.types.geometry import Grid

_TOP = 255  # the highest label of a byte map

Labels = Mapping[Any, Any] | Iterable[Any] | None


def mask_pairs(
    prediction: Any,
    reference: Any,
    spacing: Sequence[float],
    labels: Labels = None,
    *,
    grid: Grid | None = None,
    ignore: Any = None,
    threads: int = 1,
) -> dict[Label, MaskPair]:
    """One ``MaskPair`` a structure, from one joint pass over two label maps.

    prediction, reference: 2D or 3D integer label maps of one shape, values >= 0 (numpy or torch).
    spacing: voxel edge lengths (mm) in array order.
    labels: ``[1, 2]``, or name -> value or values (a region; regions may overlap). Default: every value above 0 that
        occurs in either map.
    grid: the full image's grid when the maps are a part of it. Default: the maps' own.
    ignore: mask of voxels that are background on both sides and counted nowhere.
    threads: of the joint pass.

    Returns structure -> pair in the order of ``labels``. The pairs are views of the maps: no mask is copied before a
    metric needs one. Raises ``MetricError`` naming the argument that is wrong.
    """
    if tensors.on_device(prediction, reference) and ignore is None:
        steps = check_spacing(spacing, prediction.ndim)
        grid = grid or Grid(tuple(prediction.shape), steps)
        first, second, origin = tensors.labels_to_host(prediction, reference)
        pairs = mask_pairs(first, second, steps, labels, grid=grid, threads=threads)
        for pair in pairs.values():
            pair.origin = pair.origin + origin
        return pairs
    maps = _read(prediction, "prediction"), _read(reference, "reference")
    check_same_shape(*maps)
    steps = check_spacing(spacing, maps[0].ndim)
    left_out = as_ignore(ignore, maps[0].shape)
    if left_out is not None:
        maps = without(maps[0], left_out), without(maps[1], left_out)
    grid = grid or Grid(maps[0].shape, steps)
    total = voxels(grid) - (0 if left_out is None else int(np.count_nonzero(left_out)))
    wanted = label_values(labels)
    if maps[0].dtype == maps[1].dtype == np.uint8:
        return _pairs(
            (maps[0].view(np.uint8), maps[1].view(np.uint8)), wanted, None, steps, grid, total, threads
        )
    if wanted is None:
        values = set(np.unique(maps[0]).tolist()) | set(np.unique(maps[1]).tolist())
        wanted = {value: (value,) for value in sorted(values - {0})}
    pairs = {}
    for group in _groups(wanted):
        dense = {v: i for i, v in enumerate(sorted({v for vs in group.values() for v in vs}), start=1)}
        pairs |= _pairs(_renamed(maps, dense), group, dense, steps, grid, total, threads)
    return pairs


def _read(array: Any, argument: str) -> NDArray[np.integer]:
    """A label map as bytes where its labels allow it, else as the integers that it holds."""
    labels = as_array(array, argument)
    narrowed = kernels.narrow(labels)
    return as_labels(labels, argument) if narrowed is None else narrowed


def _pairs(
    maps: tuple[Bytes, Bytes],
    wanted: dict[Label, tuple[int, ...]] | None,
    dense: dict[int, int] | None,
    spacing: tuple[float, ...],
    grid: Grid,
    total: int,
    threads: int,
) -> dict[Label, MaskPair]:
    """Pairs out of two byte maps, whose values are ``dense`` names of the wanted ones or, with None, the labels."""
    counts, boxes = kernels.scan(*maps, _TOP + 1, threads)
    if wanted is None:
        wanted = {int(v): (int(v),) for v in np.flatnonzero(boxes[:, 1].any(axis=1))}
    sums = counts.sum(axis=1), counts.sum(axis=0)
    pairs: dict[Label, MaskPair] = {}
    for key, values in wanted.items():
        inside = tuple(dense[v] for v in values) if dense else tuple(v for v in values if v <= _TOP)
        found = _region(inside, counts, *sums, boxes, total)
        pairs[key] = MaskPair.of_labels(maps, inside, spacing, str(key), grid, *found)
    return pairs


def _region(
    values: tuple[int, ...],
    counts: NDArray[np.int64],
    by_prediction: NDArray[np.int64],
    by_reference: NDArray[np.int64],
    boxes: NDArray[np.int64],
    total: int,
) -> tuple[Counts, NDArray[np.int64]]:
    """Counts and box of a structure that is made of one or several values."""
    if len(values) == 1:  # the ordinary case, many times a map
        (value,) = values
        tp = int(counts[value, value])
        fp, fn = int(by_prediction[value]) - tp, int(by_reference[value]) - tp
        return Counts(tp, fp, fn, total - tp - fp - fn), boxes[value]
    which = list(values)
    tp = int(counts[np.ix_(which, which)].sum())
    fp, fn = int(by_prediction[which].sum()) - tp, int(by_reference[which].sum()) - tp
    found = boxes[[v for v in which if boxes[v, 1].any()]]
    box = (
        np.stack([found[:, 0].min(axis=0), found[:, 1].max(axis=0)])
        if len(found)
        else np.zeros_like(boxes[0])
    )
    return Counts(tp, fp, fn, total - tp - fp - fn), box


def _groups(wanted: dict[Label, tuple[int, ...]]) -> Iterator[dict[Label, tuple[int, ...]]]:
    """Structures in groups whose values together fit into one byte, 0 being left for the background."""
    group: dict[Label, tuple[int, ...]] = {}
    values: set[int] = set()
    for key, own in wanted.items():
        if len(set(own)) > _TOP:
            raise MetricError(
                f"labels: {key!r} is made of {len(set(own))} values; at most {_TOP} can be joined"
            )
        if group and len(values | set(own)) > _TOP:
            yield group
            group, values = {}, set()
        group[key] = own
        values |= set(own)
    if group:
        yield group


def _renamed(
    maps: tuple[NDArray[np.integer], NDArray[np.integer]], dense: dict[int, int]
) -> tuple[Bytes, Bytes]:
    """Both maps with one byte a voxel: the wanted values by their dense names, all others 0."""
    keys = np.array([0, *dense])
    places = np.array([0, *dense.values()], dtype=np.uint8)

    def convert(array: NDArray[np.integer]) -> Bytes:
        at = np.minimum(np.searchsorted(keys, array), len(keys) - 1)
        return np.where(keys[at] == array, places[at], np.uint8(0))

    return convert(maps[0]), convert(maps[1])
