"""What the segmentation tasks share: a model's answer checked and made a mask, and the columns that masks have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.masks import MaskPair
from medeval.types import Case, Grid, Image, Key, ModelFailure, Segmentation

MASK_COLUMNS: Mapping[str, str] = {
    "voxels_reference": "int64",
    "voxels_prediction": "int64",
    "voxel_ml": "double",
    "model_score": "double",
}


def to_numpy(value: Any) -> NDArray:
    """A torch tensor (on any device) or array-like as a numpy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def checked_mask(value: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The model's mask as bool.

    Raises ``ModelFailure`` saying what came and what would be right: another shape, NaN, floats, values other than 0/1.
    """
    array = to_numpy(value)
    if array.shape != shape:
        raise ModelFailure(f"mask of shape {array.shape}, the image's spatial shape is {shape}")
    if array.dtype == bool:
        return array.copy()  # scored later, in another thread: the model may use its buffer again
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise ModelFailure("mask holds NaN")
        raise ModelFailure(
            f"mask of {array.dtype} in [{array.min():g}, {array.max():g}]; return bool (threshold in the adapter) and "
            "give scores as `probabilities`"
        )
    if array.dtype.kind not in "iu" or array.min(initial=0) < 0 or array.max(initial=0) > 1:
        raise ModelFailure(f"mask of {array.dtype} with values beyond 0 and 1; return bool")
    return array.astype(bool)


def checked_segmentation(answer: Any, shape: tuple[int, ...]) -> Segmentation:
    """A ``Segmentation`` with a checked mask. Raises ``ModelFailure``."""
    if not hasattr(answer, "mask"):
        raise ModelFailure(f"answered a {type(answer).__name__}, a Segmentation(mask=...) is expected")
    mask = checked_mask(answer.mask, shape)
    probabilities = getattr(answer, "probabilities", None)
    if probabilities is not None:
        probabilities = _checked_probabilities(probabilities, shape)
    score = getattr(answer, "score", None)
    return Segmentation(mask, _checked_score(score), getattr(answer, "logits", None), probabilities)


def _checked_score(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ModelFailure(f"score is {value!r:.80}; one number is expected, or None") from None


def _checked_probabilities(value: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = to_numpy(value)
    if array.dtype.kind not in "fiub":
        raise ModelFailure(f"probabilities of {array.dtype}; floats in [0, 1] are expected")
    array = array.astype(np.float32)
    if np.isnan(array).any():
        raise ModelFailure("probabilities hold NaN")
    if array.shape != shape or not (array.min(initial=0) >= 0 and array.max(initial=0) <= 1):
        raise ModelFailure(f"probabilities of shape {array.shape} must be {shape} with values in [0, 1]")
    return array


def mask_columns(pair: MaskPair, score: float | None) -> dict[str, Any]:
    """The record columns that every mask has."""
    return {
        "voxels_reference": pair.counts.reference,
        "voxels_prediction": pair.counts.prediction,
        "voxel_ml": voxel_ml(pair.grid),
        "model_score": score,
    }


def voxel_ml(grid: Grid) -> float | None:
    """Volume of a voxel in ml; None for a plane or a picture, whose pixels have no volume."""
    return math.prod(grid.spacing) / 1000 if grid.ndim == 3 and grid.unit == "mm" else None


def grid_of(case: Case) -> Grid:
    """The case's voxel grid."""
    image: Image = case.inputs["image"]
    return image.grid


def mask_of(value: Any, key: Key) -> NDArray[np.bool_] | None:
    """The mask of one structure in any value that these tasks store; None when it has none of that name."""
    if isinstance(value, Segmentation):
        return np.asarray(value.mask)
    return value.mask(key.structure) if key.structure in value.names else None
