"""Between a volume's own voxel grid and the network's: 1.5 mm isotropic, and the way back.

Volumes are arrays whose axes run to the patient's right, anterior and superior (an oblique one to the nearest of these).
The rule of resampling is that of torchio 0.20.1, which the official code uses: the new size is ``ceil(size * spacing /
1.5)``, the outer faces of the FILE's first voxels coincide, images are interpolated linearly and stay integers when they
were (truncated towards zero), labels take the nearest voxel, and what lies beyond the volume is 0. Which face is the
first depends on the order in which the file stores its voxels, so an axis remembers whether it was flipped.

Everything is separable: nothing here ever resamples more than the patch that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TARGET = 1.5
"""mm; all that the published weights have seen."""

_NOISE = 9  # decimals of a voxel that survive: beyond them lies only rounding


@dataclass(frozen=True)
class Axis:
    """One axis. size: voxels. spacing, target: mm. flipped: the file stores it from its high end."""

    size: int
    spacing: float
    target: float = TARGET
    flipped: bool = False

    @property
    def resampled(self) -> int:
        """Number of voxels at the target spacing; a single voxel stays one, as torchio has it."""
        return 1 if self.size == 1 else math.ceil(self.size * self.spacing / self.target)

    def source(self, index: NDArray) -> NDArray[np.float64]:
        """Index at the target spacing -> the place in voxels of the volume."""
        ratio = self.target / self.spacing
        at = np.asarray(index, dtype=np.float64)
        stored = (self.resampled - 1 - at) if self.flipped else at
        place = np.round(0.5 * (ratio - 1) + ratio * stored, _NOISE)
        return self.size - 1 - place if self.flipped else place

    def place(self, index: NDArray) -> NDArray[np.float64]:
        """The way back: index in the volume -> the place in voxels at the target spacing."""
        ratio = self.target / self.spacing
        at = np.asarray(index, dtype=np.float64)
        stored = (self.size - 1 - at) if self.flipped else at
        place = np.round((stored - 0.5 * (ratio - 1)) / ratio, _NOISE)
        return self.resampled - 1 - place if self.flipped else place

    def neighbours(
        self, index: NDArray
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """For linear interpolation: both voxels, how far on the way from one to the other, and whether it lies inside.

        One to the other is the file's own direction, so that rounding goes the same way.
        """
        place = self.source(index)
        stored = self.size - 1 - place if self.flipped else place
        inside = (stored >= -0.5) & (stored < self.size - 0.5) & _within(index, self.resampled)
        held = np.clip(stored, 0, self.size - 1)
        first = np.floor(held).astype(np.int64)
        second = np.minimum(first + 1, self.size - 1)
        way = held - first
        if self.flipped:
            first, second = self.size - 1 - first, self.size - 1 - second
        return first, second, way, inside

    def nearest(self, index: NDArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The nearest voxel of the volume, and whether there is one; halves go up in the file's direction."""
        place = self.source(index)
        stored = np.floor((self.size - 1 - place if self.flipped else place) + 0.5).astype(np.int64)
        inside = _within(stored, self.size) & _within(index, self.resampled)
        held = np.clip(stored, 0, self.size - 1)
        return (self.size - 1 - held if self.flipped else held), inside

    def covered(self, begin: int, stop: int) -> tuple[int, int]:
        """The half-open range of the volume's voxels whose nearest voxel at the target spacing lies in [begin, stop)."""
        at = np.floor(self.place(np.arange(self.size)) + 0.5)
        inside = np.flatnonzero((at >= begin) & (at < stop))
        return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)


@dataclass(frozen=True)
class VolumeGrid:
    """A volume's three axes, and the order in which its file stores them (``order[0]`` runs fastest in ITK's sense)."""

    axes: tuple[Axis, Axis, Axis]
    order: tuple[int, ...] = (0, 1, 2)

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        spacing: Sequence[float],
        order: Sequence[int] = (0, 1, 2),
        flipped: Sequence[bool] = (False, False, False),
        target: float = TARGET,
    ) -> VolumeGrid:
        """shape, spacing (mm), flipped: in the order right, anterior, superior.

        Raises ``ValueError`` for anything but three axes with voxels, and for spacings that are no lengths.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a volume of shape {tuple(shape)}; three axes with voxels are expected")
        if len(spacing) != 3 or not all(math.isfinite(mm) and mm > 0 for mm in spacing):
            raise ValueError(f"voxel spacing {tuple(spacing)}; three lengths in mm are expected")
        first, second, third = (
            Axis(int(size), float(mm), target, bool(flip))
            for size, mm, flip in zip(shape, spacing, flipped, strict=True)
        )
        return cls((first, second, third), tuple(order))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels at the target spacing."""
        first, second, third = (axis.resampled for axis in self.axes)
        return first, second, third

    @property
    def original(self) -> tuple[int, int, int]:
        """Voxels of the volume itself."""
        first, second, third = (axis.size for axis in self.axes)
        return first, second, third

    def points(self, points: NDArray) -> NDArray[np.float64]:
        """(n, 3) voxels of the volume -> (n, 3) places at the target spacing."""
        columns = np.asarray(points, dtype=np.float64).reshape(-1, 3).T
        return np.stack([axis.place(column) for axis, column in zip(self.axes, columns, strict=True)], axis=1)

    def box(self, box: NDArray) -> NDArray[np.int64]:
        """A half-open box of the volume -> the one at the target spacing; never empty."""
        sides = []
        for axis, (start, stop) in zip(self.axes, np.asarray(box).T, strict=True):
            nearest, inside = axis.nearest(np.arange(axis.resampled))
            held = np.flatnonzero(inside & (nearest >= start) & (nearest < stop))
            middle = round(float(axis.place(np.array((start + stop - 1) / 2))))
            sides.append((held[0], held[-1] + 1) if len(held) else (middle, middle + 1))
        return np.array(sides, dtype=np.int64).T

    def image(self, volume: NDArray, begin: Sequence[int], size: Sequence[int]) -> NDArray:
        """A patch of the resampled image, linear; 0 beyond the volume. The type stays; integers are cut towards zero."""
        return self._cut(self._linear(volume, begin, size), volume.dtype)

    def field(
        self, volume: NDArray, begin: Sequence[int], size: Sequence[int], outside: float
    ) -> NDArray[np.float32]:
        """The same for a field of real numbers, ``outside`` beyond the volume."""
        return self._linear(volume, begin, size, outside).astype(np.float32)

    def labels(self, volume: NDArray, begin: Sequence[int], size: Sequence[int]) -> NDArray:
        """A patch of the resampled label map: the nearest voxel, 0 beyond the volume."""
        found = [axis.nearest(np.arange(b, b + n)) for axis, b, n in zip(self.axes, begin, size, strict=True)]
        patch = volume[np.ix_(*(index for index, _ in found))]
        patch[~_all(inside for _, inside in found)] = 0
        return patch

    def restore_labels(self, patch: NDArray, begin: Sequence[int]) -> tuple[tuple[slice, ...], NDArray]:
        """A patch put back on the volume's grid by the nearest voxel, as the official code does.

        Returns the block of the volume that it covers and the values there; elsewhere there are none.
        """
        block = self.block(begin, patch.shape)
        wanted = [
            np.floor(axis.place(np.arange(part.start, part.stop)) + 0.5).astype(np.int64) - start
            for axis, part, start in zip(self.axes, block, begin, strict=True)
        ]
        return block, patch[_window(wanted)]

    def restore_field(
        self, patch: NDArray, begin: Sequence[int], smoothness: Literal[1, 3] = 1
    ) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
        """The same for a field (logits, distances), by splines of degree ``smoothness``: 1 is linear, 3 cubic.

        What is above a threshold is to be taken afterwards: boundaries then fall between the 1.5 mm voxels.
        """
        from scipy import ndimage

        block = self.block(begin, patch.shape)
        steps = [axis.spacing / axis.target for axis in self.axes]
        offsets = [
            float(axis.place(np.array(part.start))) - start
            for axis, part, start in zip(self.axes, block, begin, strict=True)
        ]
        shape = tuple(part.stop - part.start for part in block)
        if 0 in shape:
            return block, np.zeros(shape, dtype=np.float32)
        values = ndimage.affine_transform(
            np.asarray(patch, dtype=np.float32), steps, offsets, shape, order=smoothness, mode="nearest"
        )
        return block, values

    def block(self, begin: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
        """The volume's voxels that a patch answers for."""
        return tuple(
            slice(*axis.covered(b, b + n)) for axis, b, n in zip(self.axes, begin, size, strict=True)
        )

    def _linear(
        self, volume: NDArray, begin: Sequence[int], size: Sequence[int], outside: float = 0.0
    ) -> NDArray[np.float64]:
        found = [
            axis.neighbours(np.arange(b, b + n)) for axis, b, n in zip(self.axes, begin, size, strict=True)
        ]
        # Only the slices that are needed: at most two for each slice of the patch, however fine the volume is.
        needed = [np.unique(np.concatenate([first, second])) for first, second, _, _ in found]
        values = np.asarray(volume[_window(needed)], dtype=np.float64)
        for axis in self.order:
            first, second, way, _ = found[axis]
            low = values.take(np.searchsorted(needed[axis], first), axis)
            high = values.take(np.searchsorted(needed[axis], second), axis)
            with np.errstate(invalid="ignore"):  # infinities in the image are the caller's to judge
                high -= low
                high *= way.reshape([-1 if other == axis else 1 for other in range(3)])
                values = low + high  # in this form a constant image stays exactly constant
        values[~_all(inside for *_, inside in found)] = outside
        return values

    @staticmethod
    def _cut(values: NDArray[np.float64], kind: np.dtype) -> NDArray:
        return values.astype(np.float64 if kind == np.float64 else np.float32 if kind.kind == "f" else kind)


def signed_distance(mask: NDArray[np.bool_], spacing: Sequence[float], limit: float) -> NDArray[np.float32]:
    """Distance to the boundary in mm, positive inside, cut at +-``limit``: a mask as a field that survives resampling.

    A binary mask does not: from 0.8 mm to 1.5 mm and back, nearest voxels cost an adrenal gland 0.13 of its Dice, this
    with cubic splines 0.015 (an AMOS scan). An empty mask is -limit everywhere.
    """
    from scipy import ndimage

    field = np.full(mask.shape, -limit, dtype=np.float32)
    found = ndimage.find_objects(mask.astype(np.uint8, copy=False))
    if not found or found[0] is None:
        return field
    # Far enough that beyond it nothing is nearer than the limit.
    margins = [math.ceil(limit / mm) + 1 for mm in spacing]
    near = tuple(
        slice(max(0, part.start - m), part.stop + m) for part, m in zip(found[0], margins, strict=True)
    )
    inner = mask[near]
    if inner.all():
        return -field
    # Continued beyond the volume, whose edge is no boundary of the structure.
    inside = ndimage.distance_transform_edt(np.pad(inner, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~inner, sampling=spacing)
    field[near] = np.clip(inside - outside, -limit, limit)
    return field


def _within(index: NDArray, size: int) -> NDArray[np.bool_]:
    return np.asarray((index >= 0) & (index < size))


def _all(insides: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Three masks of single axes -> one of the volume."""
    first, second, third = insides
    return np.asarray(first[:, None, None] & second[:, None] & third)


def _window(needed: Sequence[NDArray[np.int64]]) -> tuple:
    """An index of the needed slices: a view where they are adjacent."""
    if all(len(index) and (np.diff(index) == 1).all() for index in needed):
        return tuple(slice(int(index[0]), int(index[-1]) + 1) for index in needed)
    return np.ix_(*needed)
