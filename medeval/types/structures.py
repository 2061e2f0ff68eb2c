"""Named structures on one grid: a label map, or a stack of masks that may overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One integer per voxel.

    array: integer array of the grid's shape, values >= 0.
    labels: name -> the values that make it up; more than one value is a region (nnU-Net ``[1, 2, 3]``).
    ignore: value whose voxels are scored for no structure, or None.
    """

    array: NDArray[np.integer]
    labels: Mapping[str, tuple[int, ...]]
    ignore: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every structure that the labelling knows, present or not, in the order of the labelling."""
        return tuple(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.array.shape

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Bool array of one structure."""
        values = self.labels[name]
        return self.array == values[0] if len(values) == 1 else np.isin(self.array, values)

    def ignored(self) -> NDArray[np.bool_] | None:
        """Bool array of the voxels to leave out, or None when there are none."""
        if self.ignore is None:
            return None
        where = self.array == self.ignore
        return where if where.any() else None

    def present(self) -> tuple[str, ...]:
        """Names of the structures with at least one voxel."""
        return tuple(name for name, parts in self.labels.items() if self._values.intersection(parts))

    @cached_property
    def _values(self) -> frozenset[int]:
        return frozenset(np.unique(self.array).tolist())


@dataclass(frozen=True, eq=False)
class MaskStack:
    """name -> bool array of the grid's shape; structures may overlap."""

    masks: Mapping[str, NDArray[np.bool_]]
    shape: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every structure, in order."""
        return tuple(self.masks)

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Bool array of one structure."""
        return self.masks[name]

    def ignored(self) -> None:
        """A stack of masks has no ignore label."""
        return None

    def present(self) -> tuple[str, ...]:
        """Names of the structures with at least one voxel."""
        return tuple(name for name, mask in self.masks.items() if mask.any())


Structures = LabelMap | MaskStack
