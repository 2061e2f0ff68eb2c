"""What may come in: checks that name the argument, and the way from any array to one byte per voxel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.types.errors import MetricError

Bytes = NDArray[np.uint8]
Label = Any  # an int, or a name of a structure


def is_tensor(array: object) -> bool:
    """True for a torch tensor, without importing torch."""
    return type(array).__module__.split(".", 1)[0] == "torch"


def as_array(array: Any, argument: str) -> NDArray:
    """A numpy view (a copy for a CUDA tensor) of an array or a torch tensor.

    Raises ``MetricError`` naming the argument for what is no 2D or 3D array of numbers, or has no voxel.
    """
    if is_tensor(array):
        array = array.detach().cpu().numpy()
    result = np.asarray(array)
    if result.dtype.kind not in "buif":
        raise MetricError(f"{argument} must hold booleans, integers or floats {{0, 1}}, not {result.dtype}")
    if result.ndim not in (2, 3):
        raise MetricError(f"{argument} must be 2D or 3D without channels, not of shape {result.shape}")
    if result.size == 0:
        raise MetricError(f"{argument} has no voxel: shape {result.shape}")
    return result


def check_same_shape(prediction: NDArray, reference: NDArray) -> None:
    """Raise ``MetricError`` when the shapes differ."""
    if prediction.shape != reference.shape:
        raise MetricError(
            f"prediction has shape {prediction.shape}, but reference has shape {reference.shape}"
        )


def check_spacing(spacing: Sequence[float] | float | None, ndim: int) -> tuple[float, ...]:
    """Spacing as a tuple of positive floats, one an axis.

    Raises ``MetricError`` for a wrong length and for values that are zero, negative or not finite.
    """
    try:
        values = tuple(float(s) for s in spacing)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise MetricError(f"spacing must be {ndim} numbers (mm, in array order), not {spacing!r}") from None
    if len(values) != ndim:
        raise MetricError(f"spacing has {len(values)} values, but the masks have {ndim} axes")
    if not all(math.isfinite(s) and s > 0.0 for s in values):
        raise MetricError(f"spacing must be positive and finite, not {values}")
    return values


def as_mask(array: Any, argument: str) -> Bytes:
    """A mask as bytes 0 and 1: a view where the array has one byte a voxel, else a copy.

    A ``uint8`` mask is not searched here for other values than 0 and 1: the scan that counts voxels finds them.
    """
    mask = as_array(array, argument)
    if mask.dtype == np.bool_ or mask.dtype == np.uint8:
        return mask.view(np.uint8)
    ones = mask == 1
    if not np.array_equal(ones, mask != 0):
        if mask.dtype.kind == "f" and np.isnan(mask).any():
            raise MetricError(f"{argument} holds NaN")
        raise not_a_mask(argument, float(mask[(mask != 0) & ~ones].flat[0]))
    return ones.view(np.uint8)


def not_a_mask(argument: str, value: float) -> MetricError:
    """The error for a mask with a value that is neither 0 nor 1."""
    return MetricError(
        f"{argument} is no mask: it holds {value:g} beside 0 and 1 (use compare_label_maps for label maps)"
    )


def as_labels(array: Any, argument: str) -> NDArray[np.integer]:
    """An integer label map without negative values.

    Raises ``MetricError`` for fractional or negative values and NaN. Whole-numbered floats are taken.
    """
    labels = as_array(array, argument)
    if labels.dtype.kind == "b":
        return labels.view(np.uint8)
    if labels.dtype.kind == "f":
        if np.isnan(labels).any():
            raise MetricError(f"{argument} holds NaN")
        whole = labels.astype(np.int64)
        if not np.array_equal(whole, labels):
            raise MetricError(f"{argument} must hold whole numbers: labels are integers")
        labels = whole
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise MetricError(f"{argument} holds the negative label {int(labels.min())}")
    return labels


def label_values(labels: Mapping[Any, Any] | Iterable[Any] | None) -> dict[Label, tuple[int, ...]] | None:
    """``labels`` of a comparison as key -> values: ``[1, 2]``, ``{"liver": 5}`` or ``{"whole": (1, 2, 3)}``."""
    if labels is None:
        return None
    items = labels.items() if isinstance(labels, Mapping) else ((label, label) for label in labels)
    result: dict[Label, tuple[int, ...]] = {}
    for key, value in items:
        try:
            values = tuple(int(v) for v in value) if isinstance(value, Iterable) else (int(value),)
        except (TypeError, ValueError):
            raise MetricError(f"labels: {key!r} must be a label or a list of labels, not {value!r}") from None
        if not values or min(values) < 1:
            raise MetricError(f"labels: {key!r} needs labels above 0 (0 is the background), not {value!r}")
        result[int(key) if isinstance(key, np.integer) else key] = values
    return result
