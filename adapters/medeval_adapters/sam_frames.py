"""Between an image and the square that SAM sees: the picture goes in, prompts with it, and logits come back.

loader         SAM-Med2D's evaluation script: centred on zeros when smaller than the square, else stretched
stretch        SAM-Med2D's predictor: always stretched, the aspect not kept
longest-side   SAM's own: the longest side fills the square, the rest is zeros at the bottom and right
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Preparation = Literal["loader", "stretch", "longest-side"]


@dataclass(frozen=True)
class Frame:
    """Where an image of ``original`` (rows, columns) lies in a square of ``side``: ``inner`` pixels from ``start``."""

    side: int
    original: tuple[int, ...]
    inner: tuple[int, ...]
    start: tuple[int, ...]
    smooth: bool = False  # bilinear with antialiasing, else the nearest pixel

    @classmethod
    def fit(cls, original: tuple[int, ...], side: int, preparation: Preparation) -> Frame:
        """The frame of an image under a preparation."""
        height, width = original
        if preparation == "loader" and max(original) < side:
            return cls(side, original, original, ((side - height) // 2, (side - width) // 2))
        if preparation == "longest-side":
            scale = side / max(original)
            # At least one pixel: a line of 3 x 5000 would else vanish.
            inner = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
            return cls(side, original, inner, (0, 0), smooth=True)
        return cls(side, original, (side, side), (0, 0))

    def resize(self, rgb: NDArray) -> NDArray:
        """(row, column, 3) in 0..255 at ``original`` -> at ``inner``; bilinear gives uint8."""
        if self.inner == self.original:
            return rgb
        if self.smooth:
            from PIL import Image

            picture = Image.fromarray(np.rint(rgb).astype(np.uint8)).resize(
                (self.inner[1], self.inner[0]), Image.Resampling.BILINEAR
            )
            return np.asarray(picture)
        rows, columns = (nearest(n, m) for n, m in zip(self.original, self.inner, strict=True))
        return rgb[rows[:, None], columns]

    def place(self, inner: Tensor) -> Tensor:
        """(..., *inner) -> (..., side, side), zeros around."""
        from torch.nn import functional as F

        top, left = self.start
        height, width = self.inner
        return F.pad(inner, (left, self.side - left - width, top, self.side - top - height))

    def points(self, points: NDArray) -> NDArray[np.float32]:
        """(n, 2) row, column of the image -> (n, 2) x, y of the square. Boxes are two such points."""
        scale = np.asarray(self.inner) / np.asarray(self.original)
        return (np.asarray(points, dtype=np.float64) * scale + self.start)[..., ::-1].astype(np.float32)

    def restore(self, logits: Tensor) -> Tensor:
        """(B, 1, h, w) logits of the square at any size -> (B, *original), bilinear by way of the square's own size."""
        from torch.nn import functional as F

        square = F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)
        (top, left), (height, width) = self.start, self.inner
        inside = square[..., top : top + height, left : left + width]
        if self.inner != self.original:
            inside = F.interpolate(inside, self.original, mode="bilinear", align_corners=False)
        return inside[:, 0]

    def mask_prompt(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """A bool mask (*original) -> (*size) float in [0, 1]: how much of each low-resolution pixel it covers."""
        from torch.nn import functional as F

        inner = F.interpolate(mask[None, None].float(), self.inner, mode="area")
        return F.interpolate(self.place(inner), size, mode="area")[0, 0]


def nearest(source: int, target: int) -> NDArray[np.int64]:
    """For each of ``target`` pixels the one of ``source`` that OpenCV's INTER_NEAREST takes."""
    step = 1.0 / (target / source)  # in OpenCV's order of operations, for what falls on whole numbers
    return np.minimum(np.floor(np.arange(target) * step), source - 1).astype(np.int64)
