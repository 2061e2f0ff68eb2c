"""What SAM-Med3D has answered about one structure so far: low-resolution logits of one patch or several.

Where patches overlap, the one whose centre is nearest speaks: towards its faces a patch sees less and less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import EvaluatorFailure
from medeval_adapters.sam_med3d_volume import Begin

if TYPE_CHECKING:
    from medeval_models.sam_med3d.grids import VolumeGrid

Restore = Literal["nearest", "linear"]
Upscale = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Face = tuple[int, int]  # axis, and -1 for its low or 1 for its high end


@dataclass(eq=False)
class Field:
    """Logits by patch, the newest last. size, low: side of a patch in voxels, and of its logits."""

    size: int
    low: int
    patches: dict[Begin, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def cell(self) -> int:
        """Voxels a side of a low-resolution cell."""
        return self.size // self.low

    @classmethod
    def given(cls, logits: Any, size: int, low: int, structure: str) -> Field:
        """What came back as ``Prompt.logits``. Raises ``EvaluatorFailure`` for what ``kept`` did not make."""
        made = cls(size, low)
        if logits is None:
            return made
        try:
            begins = np.asarray(logits["begin"], dtype=np.int64)
            values = np.asarray(logits["logits"], dtype=np.float32)
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise EvaluatorFailure(
                f"{structure}: logits that SAM-Med3D did not return: {type(logits).__name__}"
            ) from error
        if begins.shape != (len(values), 3) or values.shape[1:] != (low,) * 3:
            raise EvaluatorFailure(
                f"{structure}: logits of shape {values.shape} for patches {begins.shape}; (n, {low}, {low}, {low}) and (n, 3) "
                "came from this model"
            )
        for (first, second, third), value in zip(begins.tolist(), values, strict=True):
            made.patches[first, second, third] = value
        return made

    def kept(self) -> dict[str, NDArray]:
        """To be fed back: plain arrays, so that a session can be written down and resumed."""
        return {
            "begin": np.array(list(self.patches), dtype=np.int64).reshape(-1, 3),
            "logits": np.array(list(self.patches.values()), dtype=np.float32).reshape(-1, *[self.low] * 3),
        }

    def put(self, begin: Begin, logits: NDArray[np.float32]) -> None:
        """A patch's newest answer."""
        self.patches.pop(begin, None)
        self.patches[begin] = logits

    def prompt(self, begin: Begin) -> NDArray[np.float32]:
        """The mask prompt of a patch: its own last logits, else what overlapping patches say; 0 where nothing is known."""
        if begin in self.patches:
            return self.patches[begin]
        made = np.zeros((self.low,) * 3, dtype=np.float32)
        nearest = np.full(made.shape, np.inf, dtype=np.float32)
        for other, logits in self.patches.items():
            shift = [round((there - here) / self.cell) for there, here in zip(other, begin, strict=True)]
            if any(abs(step) >= self.low for step in shift):
                continue
            here = tuple(slice(max(0, step), self.low + min(0, step)) for step in shift)
            there = tuple(slice(max(0, -step), self.low + min(0, -step)) for step in shift)
            middle = (self.low - 1) / 2
            far = _chebyshev([np.abs(np.arange(self.low)[part] - middle) for part in there])
            nearer = far <= nearest[here]
            made[here] = np.where(nearer, logits[there], made[here])
            nearest[here] = np.minimum(far, nearest[here])
        return made

    def touched(self, begin: Begin) -> Iterator[Face]:
        """The faces of a patch that its mask reaches."""
        inside = self.patches[begin] > 0
        for axis in range(3):
            for end, index in ((-1, 0), (1, self.low - 1)):
                if inside.take(index, axis).any():
                    yield axis, end

    def restored(self, grid: VolumeGrid, upscale: Upscale, how: Restore) -> NDArray[np.bool_]:
        """The mask on the volume's own grid; False where no patch looked.

        upscale: low-resolution logits to a patch at 1.5 mm. how: ``nearest`` thresholds there and takes the nearest voxel,
        ``linear`` interpolates the logits and thresholds on the volume's grid.
        """
        mask = np.zeros(grid.original, dtype=bool)
        far = _Nearest(grid, self) if len(self.patches) > 1 else None
        for begin, logits in self.patches.items():
            values = upscale(logits)
            if how == "nearest":
                block, inside = grid.restore_labels(values > 0, begin)
            else:
                block, interpolated = grid.restore_field(values, begin)
                inside = interpolated > 0
            mask[block] = inside if far is None else np.where(far.claim(begin, block), inside, mask[block])
        return mask


class _Nearest:
    """How far the nearest patch's centre is from each voxel that any patch covers, in voxels of 1.5 mm."""

    def __init__(self, grid: VolumeGrid, of: Field) -> None:
        self._grid, self._size = grid, of.size
        blocks = [grid.block(begin, (of.size,) * 3) for begin in of.patches]
        self._start = [min(block[axis].start for block in blocks) for axis in range(3)]
        stop = [max(block[axis].stop for block in blocks) for axis in range(3)]
        shape = [max(0, high - low) for low, high in zip(self._start, stop, strict=True)]
        self._distance = np.full(shape, np.iinfo(np.uint16).max, dtype=np.uint16)

    def claim(self, begin: Begin, block: tuple[slice, ...]) -> NDArray[np.bool_]:
        """Where in ``block`` the patch is as near as any before it."""
        middles = [start + (self._size - 1) / 2 for start in begin]
        places = [
            axis.place(np.arange(part.start, part.stop))
            for axis, part in zip(self._grid.axes, block, strict=True)
        ]
        far = _chebyshev([np.abs(place - middle) for place, middle in zip(places, middles, strict=True)])
        far = far.astype(np.uint16)
        at = tuple(
            slice(part.start - start, part.stop - start)
            for part, start in zip(block, self._start, strict=True)
        )
        nearer: NDArray[np.bool_] = far <= self._distance[at]
        self._distance[at] = np.minimum(far, self._distance[at])
        return nearer


def _chebyshev(distances: list[NDArray]) -> NDArray:
    first, second, third = distances
    return np.maximum(np.maximum(first[:, None, None], second[:, None]), third)
