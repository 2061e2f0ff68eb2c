"""Where voxels are. One convention for the whole house.

Arrays are channel-first: 2D ``(C, row, column)``, 3D ``(C, R, A, S)``: the first spatial axis runs to the patient's
right, the second to anterior, the third to superior. Files are brought there by axis permutation and flips alone, never
by resampling, so an oblique volume stays oblique. Spacing (mm), points and half-open boxes are in array order; voxel
centres lie at integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a case.

    shape: spatial shape, without channels.
    spacing: edge lengths of a voxel in array order; mm, or pixels where ``unit`` says so.
    affine: (4, 4) voxel-to-world (RAS+ mm) of the array as it is inside medeval; None for plain pictures.
    unit: "mm", or "px" where the file carries no spacing (PNG): distances are then in pixels.
    source_orientation: nibabel orientation array (axis, flip) that leads back to the file's own order; None if none.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    affine: NDArray[np.float64] | None = field(default=None, repr=False)
    unit: str = "mm"
    source_orientation: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def diagonal(self) -> float:
        """Length of the image's diagonal in ``unit``: the finite worst value of a distance."""
        return float(np.linalg.norm(np.asarray(self.shape) * np.asarray(self.spacing)))


@dataclass(frozen=True, eq=False)
class Image:
    """A model's input: ``array`` is (C, *grid.shape), integer or float, as it was in the file."""

    array: NDArray
    grid: Grid

    @property
    def ndim(self) -> int:
        """Number of spatial axes: 2 or 3."""
        return self.grid.ndim
