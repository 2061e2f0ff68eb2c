"""Slices of a volume as 8-bit pictures, and the way back. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import Grid

Orientation = Literal["stored", "upright"]
PLANES = ("sagittal", "coronal", "axial")  # of the axes of a volume in RAS order
_BELOW_255 = float(np.nextafter(255.0, 0.0))


def picture_of(volume: NDArray, axis: int, index: int, orientation: Orientation) -> NDArray:
    """One slice (row, column) of a volume: the later of the two axes left runs down, the earlier to the right.

    ``upright`` also turns both round: of a RAS volume, rows then run to posterior (axial) or inferior, and columns to the
    patient's left, in the sagittal plane to posterior.
    """
    drawn = volume.take(index, axis=axis).T
    return drawn[::-1, ::-1] if orientation == "upright" else drawn


def into_volume(volume: NDArray, picture: NDArray, axis: int, index: int, orientation: Orientation) -> None:
    """The inverse of ``picture_of``: unite a bool picture with what stands in its place in a volume."""
    turned = picture[::-1, ::-1] if orientation == "upright" else picture
    place: list[int | slice] = [slice(None)] * 3
    place[axis] = index
    volume[tuple(place)] |= turned.T


def picture_affine(
    affine: NDArray[np.float64], shape: Sequence[int], axis: int, index: int, orientation: Orientation
) -> NDArray[np.float64]:
    """(4, 4) affine from (row, column, 0) of a picture to the world of the volume's ``affine`` (RAS+, mm)."""
    first, second = (a for a in range(3) if a != axis)
    sign = -1 if orientation == "upright" else 1
    origin = np.zeros(4)
    origin[3], origin[axis] = 1, index
    if orientation == "upright":
        origin[first], origin[second] = shape[first] - 1, shape[second] - 1
    result = np.zeros((4, 4))
    result[:, 0], result[:, 1] = sign * affine[:, second], sign * affine[:, first]
    result[:, 2], result[:, 3] = affine[:, axis], affine @ origin
    return result


def stored_affine(grid: Grid) -> NDArray[np.float64]:
    """(4, 4) affine of the file's own array order; ``grid`` is of the RAS order."""
    from nibabel.orientations import inv_ornt_aff

    affine = np.diag([*grid.spacing, 1.0]) if grid.affine is None else grid.affine
    return (
        affine
        if grid.source_orientation is None
        else affine @ inv_ornt_aff(grid.source_orientation, grid.shape)
    )


def plane_of(affine: NDArray[np.float64], axis: int) -> str:
    """The plane across an array axis, by the world direction that the axis is nearest to."""
    return PLANES[int(np.abs(affine[:3, axis]).argmax())]


def bounds(array: NDArray, percentiles: tuple[float, float] | None) -> tuple[float, float] | None:
    """Lowest and highest value (or percentiles) of the finite values; None where there are none."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if finite.size == 0:
        return None
    if percentiles is None:
        return float(finite.min()), float(finite.max())
    low, high = np.percentile(finite, percentiles)
    return float(low), float(high)


def to_uint8(array: NDArray, low: float, high: float) -> NDArray[np.uint8]:
    """(x - low) / (high - low) * 255, cut off below the decimal point; non-finite values become 0. Needs low < high.

    The highest value becomes 254: so in every picture of the paper's demo, where a maximum just under 255 was cast.
    """
    scaled = (np.clip(array.astype(np.float64), low, high) - low) / (high - low) * 255
    return np.minimum(np.nan_to_num(scaled, nan=0.0), _BELOW_255).astype(np.uint8)


def window_bounds(window: tuple[float, float]) -> tuple[float, float]:
    """(level, width) -> lowest and highest value."""
    level, width = window
    return level - width / 2, level + width / 2


def too_narrow(shape: Sequence[int], min_side: float) -> bool:
    """The half-side rule: the shorter side is less than ``min_side`` of the longer."""
    return min(shape) < min_side * max(shape)
