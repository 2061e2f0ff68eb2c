"""Work on a coarser copy of a window where the full one would take too long."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medeval_adapters.seeds import Seeds


@dataclass(frozen=True)
class Shrink:
    """Block sizes by which a window of ``shape`` is made coarser; all 1 when it is small enough."""

    shape: tuple[int, ...]
    blocks: tuple[int, ...]

    @classmethod
    def to(cls, shape: tuple[int, ...], max_voxels: int) -> Shrink:
        """The smallest equal blocks that leave at most about ``max_voxels``; axes shorter than two blocks stay."""
        block = 1
        while np.prod([max(1, n // block) for n in shape]) > max_voxels:
            block += 1
        return cls(shape, tuple(block if n >= 2 * block else 1 for n in shape))

    @property
    def needed(self) -> bool:
        """True when any axis is made coarser."""
        return any(block > 1 for block in self.blocks)

    def mean(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Block means; incomplete blocks at the high ends repeat the last voxel."""
        return self._blocked(values).mean(axis=tuple(range(1, 2 * len(self.shape), 2)))

    def seeds(self, seeds: Seeds) -> Seeds:
        """A coarse voxel is foreground if any of its voxels is, else background if any is."""
        if not self.needed:
            return seeds
        axes = tuple(range(1, 2 * len(self.shape), 2))
        foreground = self._blocked(seeds.foreground).any(axis=axes)
        background = self._blocked(seeds.background).any(axis=axes) & ~foreground
        blocks = np.array(self.blocks)
        return replace(
            seeds,
            foreground=foreground,
            background=background,
            on=seeds.on // blocks,
            off=seeds.off // blocks,
        )

    def restore(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """A coarse scalar field, linearly interpolated back to the window's shape."""
        from scipy import ndimage

        if not self.needed:
            return values
        fine = ndimage.zoom(values, self.blocks, order=1, grid_mode=True, mode="nearest")
        return fine[tuple(slice(n) for n in self.shape)]

    def _blocked(self, values: NDArray) -> NDArray:
        padded = np.pad(
            values, [(0, -n % block) for n, block in zip(self.shape, self.blocks, strict=True)], mode="edge"
        )
        pairs = zip(padded.shape, self.blocks, strict=True)
        return padded.reshape([size for n, block in pairs for size in (n // block, block)])
