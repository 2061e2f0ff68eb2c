"""Spatial transforms that lose no voxel, and their inverses: what makes the heads see the image differently.

Axes 2 and 3 are turned: (row, column) of a 2D batch (N, C, H, W), and the first two spatial axes of a 3D one, which are
in-plane for arrays loaded in (R, A, S) order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

AXES = (2, 3)


def rotate(x: Tensor, turns: int) -> Tensor:
    """``turns`` quarter turns in axes 2 and 3, as ``torch.rot90`` turns."""
    return torch.rot90(x, turns, AXES)


@dataclass(frozen=True)
class Spatial:
    """A flip of axis 3 (if ``flip``), then ``turns`` quarter turns. turns: 0 to 3."""

    turns: int = 0
    flip: bool = False

    def apply(self, x: Tensor) -> Tensor:
        """T x. x: (N, C, H, W) or (N, C, D, H, W)."""
        return rotate(x.flip(AXES[1]) if self.flip else x, self.turns)

    def undo(self, x: Tensor) -> Tensor:
        """T^-1 x: ``undo(apply(x))`` is x, bit for bit."""
        x = rotate(x, -self.turns)
        return x.flip(AXES[1]) if self.flip else x


def fixed_transforms(heads: int) -> list[Spatial]:
    """The official ones: head k turns by k quarters, so the fourth sees the image as it is; then the same flipped."""
    return [Spatial(number % 4, number % 8 > 4 or number % 8 == 0) for number in range(1, heads + 1)]


def random_transforms(heads: int, generator: torch.Generator | None = None) -> list[Spatial]:
    """The paper's: a random one of the eight for each head. generator: a CPU one; default the global one."""
    drawn = torch.randint(8, (heads,), generator=generator).tolist()
    return [Spatial(number % 4, number >= 4) for number in drawn]
