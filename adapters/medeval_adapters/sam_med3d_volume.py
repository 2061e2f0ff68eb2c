"""A volume on its way into SAM-Med3D: checked, cut into patches at 1.5 mm, embedded once a patch.

The volume stays on the CPU as it was read; only patches are resampled, and only patches go to the device.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medeval.types import DataError, Grid, Image

if TYPE_CHECKING:
    from torch import Tensor

    from medeval_models.sam_med3d.grids import VolumeGrid

Begin = tuple[int, int, int]
"""First voxel of a patch at 1.5 mm; may lie outside the volume."""

_PLAUSIBLE = (0.05, 20.0)  # mm
_CACHED = 2**28  # bytes of embeddings that are kept: 340 patches of the released model


@dataclass(eq=False)
class Volume:
    """An encoded image: the volume itself, its grid, and the embeddings of the patches that were asked for.

    values: (R, A, S), a view of the case's array. size: side of a patch.
    """

    values: NDArray
    grid: VolumeGrid
    size: int
    _embedded: OrderedDict[Begin, Tensor] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def cut(self, begin: Begin) -> NDArray:
        """The patch at ``begin``, (size, size, size), at 1.5 mm; numbers that are none are 0, as is what lies outside."""
        patch = self.grid.image(self.values, begin, (self.size,) * 3)
        if patch.dtype.kind == "f":
            patch = np.nan_to_num(patch, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return patch

    def patch(self, begin: Begin) -> NDArray[np.float32]:
        """The same, normalised. Raises ``FlatPatch``."""
        from medeval_models.sam_med3d.patches import normalise

        return normalise(self.cut(begin))

    def embeddings(
        self, begins: Sequence[Begin], embed: Callable[[list[NDArray]], Tensor]
    ) -> dict[Begin, Tensor]:
        """(1, C, grid, grid, grid) of each patch; ``embed`` is called on those that are not known yet.

        A patch that cannot be normalised is missing in what is returned.
        """
        from medeval_models.sam_med3d.patches import FlatPatch

        known: dict[Begin, Tensor] = {}
        patches: dict[Begin, NDArray] = {}
        for begin in dict.fromkeys(begins):
            if (held := self._embedded.get(begin)) is not None:
                known[begin] = held
                continue
            try:
                patches[begin] = self.patch(begin)
            except FlatPatch:
                continue
        if patches:
            known |= zip(patches, embed(list(patches.values())).split(1), strict=True)
            self._keep({begin: known[begin] for begin in patches})
        return known

    def _keep(self, fresh: dict[Begin, Tensor]) -> None:
        with self._lock:
            for begin, embedding in fresh.items():
                # Cloned: a slice of a batch would keep the whole batch alive.
                self._embedded[begin] = embedding.clone()
                most = max(1, _CACHED // (embedding.numel() * embedding.element_size()))
                while len(self._embedded) > most:
                    self._embedded.popitem(last=False)


def open_volume(image: Image, size: int, channel: int | None = None) -> Volume:
    """Take a case's image. Raises ``DataError`` saying what is wrong with its axes, channels, spacing or orientation."""
    from medeval_models.sam_med3d.grids import VolumeGrid

    if image.ndim != 3:
        raise DataError(
            f"a {image.ndim}D image came to SAM-Med3D, which takes volumes; for pictures take `sam-med2d`"
        )
    array = np.asarray(image.array)
    _check_geometry(image.grid, array)
    if array.dtype.kind not in "buif":
        raise DataError(f"a volume of {array.dtype}; numbers are expected")
    values = array[_channel(len(array), channel)]
    stored = image.grid.source_orientation
    orientation = np.array([[0, 1], [1, 1], [2, 1]]) if stored is None else np.asarray(stored)
    grid = VolumeGrid.of(
        image.grid.shape,
        image.grid.spacing,
        order=np.argsort(orientation[:, 0]).tolist(),
        flipped=(orientation[:, 1] < 0).tolist(),
    )
    return Volume(values.view(np.uint8) if values.dtype == bool else values, grid, size)


def _channel(count: int, chosen: int | None) -> int:
    if chosen is None and count == 1:
        return 0
    if chosen is None or not 0 <= chosen < count:
        asked = "" if chosen is None else f", channel {chosen} was asked for"
        raise DataError(
            f"a volume of {count} channels{asked}; SAM-Med3D sees one: say which by `channel: 0` to {count - 1}"
        )
    return chosen


def _check_geometry(grid: Grid, array: NDArray) -> None:
    if array.shape[1:] != grid.shape or array.size == 0:
        raise DataError(
            f"a volume of shape {array.shape} with a grid of {grid.shape}; (channels, R, A, S) is expected"
        )
    if grid.unit != "mm":
        raise DataError("the volume has no spacing in mm; SAM-Med3D sees 1.5 mm voxels, so it must be known")
    spacing = np.asarray(grid.spacing, dtype=np.float64)
    if not ((spacing >= _PLAUSIBLE[0]) & (spacing <= _PLAUSIBLE[1])).all():
        raise DataError(
            f"voxel spacing {grid.spacing} mm; between {_PLAUSIBLE[0]} and {_PLAUSIBLE[1]} is expected: is it in mm?"
        )
    if grid.affine is not None:
        _check_affine(np.asarray(grid.affine, dtype=np.float64), spacing)


def _check_affine(affine: NDArray[np.float64], spacing: NDArray[np.float64]) -> None:
    from nibabel import orientations

    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(lengths, spacing, rtol=1e-3):
        raise DataError(
            f"spacing {spacing.tolist()} contradicts the affine, whose axes are {lengths.round(4).tolist()} mm long"
        )
    codes = orientations.aff2axcodes(affine)
    if codes != ("R", "A", "S"):
        raise DataError(
            f"the volume's axes run to {', '.join(map(str, codes))}; R, A, S is expected, as medeval's readers give them"
        )
