"""Images as network inputs and back: intensities, slices, resizing and padding, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import DataError, Image

if TYPE_CHECKING:
    from torch import Tensor

Intensity = Literal["percentiles", "range", "z-score", "none"]


def scaled(
    image: Image,
    channels: Sequence[int] | None = None,
    window: tuple[float, float] | None = None,
    intensity: Intensity = "percentiles",
    scale: tuple[float, float] = (-1.0, 1.0),
) -> NDArray[np.float32]:
    """(C, *spatial) float32. A constant channel becomes 0. Raises ``DataError`` for NaN and for missing channels."""
    array = np.asarray(image.array, dtype=np.float32)
    if channels is not None:
        if not all(0 <= channel < len(array) for channel in channels):
            raise DataError(f"channels: {list(channels)}; the image has {len(array)}, 0 to {len(array) - 1}")
        array = array[list(channels)]
    if not np.isfinite(array).all():
        raise DataError(
            "the image holds NaN or infinite voxels; `on_nonfinite: replace` of the dataset mends them"
        )
    if window is not None:
        array = np.clip(array, *window)
    if intensity == "none":
        return array
    return np.stack([_channel(values, intensity, scale) for values in array])


def _channel(
    values: NDArray[np.float32], intensity: Intensity, scale: tuple[float, float]
) -> NDArray[np.float32]:
    if intensity == "z-score":
        spread = values.std()
        return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
    ends = (0, 100) if intensity == "range" else (1, 99)
    low, high = np.percentile(values, ends).astype(np.float32)
    if high <= low:
        return np.zeros_like(values)
    unit = (np.clip(values, low, high) - low) / (high - low)
    return (scale[0] + unit * (scale[1] - scale[0])).astype(np.float32)


@dataclass(frozen=True)
class Placement:
    """How a grid becomes a batch: slices of a volume for a 2D network, resized to ``size``, padded at the far ends.

    shape: of the original. dimensions: of the network. axis: of the slices. resized, padded: spatial sizes of one sample.
    """

    shape: tuple[int, ...]
    dimensions: int
    axis: int
    resized: tuple[int, ...]
    padded: tuple[int, ...]

    @classmethod
    def of(
        cls, shape: Sequence[int], dimensions: int, axis: int, size: Sequence[int] | None, divisible_by: int
    ) -> Placement:
        """The placement of a grid. Raises ``DataError`` for a 2D image and a 3D network, and for a size that does not fit."""
        if len(shape) < dimensions:
            raise DataError(f"a {len(shape)}D image came to a {dimensions}D network")
        sample = tuple(n for at, n in enumerate(shape) if len(shape) == dimensions or at != axis)
        if size is not None and len(size) != dimensions:
            raise DataError(f"size: {list(size)}; a {dimensions}D network needs {dimensions} numbers")
        resized = tuple(size) if size is not None else sample
        padded = tuple(-(-side // divisible_by) * divisible_by for side in resized)
        return cls(tuple(shape), dimensions, axis, resized, padded)

    @property
    def sliced(self) -> bool:
        """True when a volume is taken apart."""
        return len(self.shape) > self.dimensions

    def image(self, array: NDArray[np.float32]) -> Tensor:
        """(C, *shape) -> (N, C, *padded); padding repeats the edge, which brings no new intensity."""
        import torch
        from torch.nn import functional

        samples = np.moveaxis(array, self.axis + 1, 0) if self.sliced else array[None]
        batch = torch.from_numpy(np.ascontiguousarray(samples))
        return functional.pad(self._resize(batch, smooth=True), self._margins(), mode="replicate")

    def label(self, array: NDArray[np.int64]) -> Tensor:
        """(*shape) class numbers -> (N, *padded); padding is background."""
        import torch
        from torch.nn import functional

        samples = np.moveaxis(array, self.axis, 0) if self.sliced else array[None]
        batch = torch.from_numpy(np.ascontiguousarray(samples))[:, None].float()
        return functional.pad(self._resize(batch, smooth=False), self._margins())[:, 0].long()

    def restore(self, out: Tensor) -> Tensor:
        """(N, classes, *padded) -> (classes, *shape): padding cut off, logits interpolated back."""
        from torch.nn import functional

        cut = out[(slice(None), slice(None), *(slice(side) for side in self.resized))]
        sample = tuple(n for at, n in enumerate(self.shape) if not self.sliced or at != self.axis)
        if self.resized != sample:
            cut = functional.interpolate(cut, size=sample, mode=self._mode, align_corners=False)
        return cut.movedim(0, self.axis + 1) if self.sliced else cut[0]

    @property
    def _mode(self) -> str:
        return "bilinear" if self.dimensions == 2 else "trilinear"

    def _resize(self, batch: Tensor, smooth: bool) -> Tensor:
        from torch.nn import functional

        if tuple(batch.shape[2:]) == self.resized:
            return batch
        if not smooth:
            return functional.interpolate(batch, size=self.resized, mode="nearest-exact")
        return functional.interpolate(
            batch, size=self.resized, mode=self._mode, align_corners=False, antialias=self.dimensions == 2
        )

    def _margins(self) -> list[int]:
        """As ``torch.nn.functional.pad`` takes them: last axis first."""
        pairs = [(0, whole - part) for part, whole in zip(self.resized, self.padded, strict=True)]
        return [margin for pair in reversed(pairs) for margin in pair]
