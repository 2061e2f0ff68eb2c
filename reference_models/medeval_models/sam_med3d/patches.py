"""Where the network's cube lies in a volume at 1.5 mm, and how its intensities are normalised.

crop_begin             the official CropOrPad (torchio 0.20.1): centred on a box, never shifted back into the volume
bounds                 the same as padding and cropping
normalise              z-score over the voxels above 0
shifted_windows        the windows of the older full-volume script
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]


class FlatPatch(ValueError):
    """A patch whose intensities cannot be normalised: no voxel above 0, or all of them equal."""


class Bounds(NamedTuple):
    """padding, cropping: voxels at the low and high end of each axis (axis 0 low, axis 0 high, axis 1 low, ...)."""

    padding: tuple[int, ...]
    cropping: tuple[int, ...]


class Window(NamedTuple):
    """One window of the older script: where its kept part lies in the volume and in the window, low and high per axis."""

    bounds: Bounds
    in_volume: tuple[int, ...]
    in_window: tuple[int, ...]


def crop_begin(box: NDArray, size: int) -> Triple:
    """First voxel of the cube of ``size`` that is centred on a half-open (2, 3) box; may be negative."""
    first, second, third = (_centred(int(low), int(high), size) for low, high in np.asarray(box).T)
    return first, second, third


def centre_begin(shape: Sequence[int], size: int) -> Triple:
    """The same for the volume's centre, as torchio takes it without a box: of an odd difference, the low end gets more."""
    first, second, third = (-((size - n + 1) // 2) if size > n else (n - size + 1) // 2 for n in shape)
    return first, second, third


def bounds(begin: Sequence[int], size: int, shape: Sequence[int]) -> Bounds:
    """What padding and cropping bring a volume of ``shape`` to the cube at ``begin``."""
    ends = [(start, n - start - size) for start, n in zip(begin, shape, strict=True)]
    return Bounds(
        tuple(max(0, -end) for pair in ends for end in pair),
        tuple(max(0, end) for pair in ends for end in pair),
    )


def normalise(patch: NDArray) -> NDArray[np.float32]:
    """Mean 0 and standard deviation 1 (unbiased) over the voxels above 0, applied to all, padding included.

    Raises ``FlatPatch`` where that is undefined; the official code raises or gives NaN there.
    """
    foreground = patch[patch > 0].astype(np.float64)
    if foreground.size < 2:
        raise FlatPatch(f"{foreground.size} voxels above 0, the intensities that are normalised by")
    spread = foreground.std(ddof=1)
    if spread <= 1e-7 * foreground.mean():
        raise FlatPatch(f"all {foreground.size} voxels above 0 have the same intensity, {foreground[0]:g}")
    return ((patch.astype(np.float64) - foreground.mean()) / spread).astype(np.float32)


def shifted_windows(box: NDArray, shape: Sequence[int], size: int) -> list[Window]:
    """The 27 windows of the older full-volume script (``inference.py``, "rounded"), in its order; the centre is last.

    Each is shifted by -a quarter, +a quarter or nothing along each axis, and keeps its outer quarter of that side. As
    there: pieces at the volume's edge are cut by the padding alone, so one that lies outside has its end before its start.
    """
    quarter = size // 4
    return [
        _shifted(crop_begin(box, size), shift, shape, size)
        for shift in product((-quarter, quarter, 0), repeat=3)
    ]


def _centred(low: int, high: int, size: int) -> int:
    twice = low + high  # of the centre, which falls between two voxels when this is odd
    if (size % 2 == 0) != (twice % 2 == 0):
        twice -= 1
    return (twice - size) // 2


def _shifted(centre: Triple, shift: Sequence[int], shape: Sequence[int], size: int) -> Window:
    begin = [start + step for start, step in zip(centre, shift, strict=True)]
    limits = bounds(begin, size, shape)
    in_volume: list[int] = []
    in_window: list[int] = []
    for axis, step in enumerate(shift):
        low, high = limits.padding[2 * axis : 2 * axis + 2]
        kept = (0, abs(step)) if step < 0 else (size - step, size) if step > 0 else (0, size)
        first = max(kept[0], low)
        last = min(kept[1], size - high)
        in_window += [first, last]
        in_volume += [begin[axis] + first, begin[axis] + last]
    return Window(limits, tuple(in_volume), tuple(in_window))
