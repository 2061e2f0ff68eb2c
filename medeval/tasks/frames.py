"""A square frame in which a published protocol draws its prompts and asks its model, and the way back.

SAM-Med2D (OpenGVLab/SAM-Med2D, DataLoader.py and test.py): an image that is smaller than the frame in both directions is
padded around its centre with the mean colour, any other is stretched to the frame by nearest neighbour, whatever its
aspect; the mask goes the same way. Answers go back by cropping the padding, or bilinearly from the model's soft values
(half-pixel centres), thresholded afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medeval.types import Case, Grid, Image, LabelMap, MaskStack, Segmentation, Structures

MEAN_COLOUR = np.array([123.675, 116.28, 103.53], dtype=np.float32)  # of ImageNet, as SAM normalises
_FINEST = 1e-7  # probabilities are kept this far from 0 and 1, where their logits are infinite


@dataclass(frozen=True)
class Frame:
    """One image's place in a frame.

    size: edge of the square frame. shape: (rows, columns) of the image.
    """

    size: int
    shape: tuple[int, int]

    @property
    def padded(self) -> bool:
        """True where the image is padded, False where it is stretched."""
        return self.shape[0] < self.size and self.shape[1] < self.size

    @property
    def corner(self) -> tuple[int, int]:
        """(top, left) of the image in a padded frame."""
        return (self.size - self.shape[0]) // 2, (self.size - self.shape[1]) // 2

    def into(self, plane: NDArray, fill: float = 0) -> NDArray:
        """A (rows, columns) plane in the frame; nearest neighbour as OpenCV's INTER_NEAREST."""
        if self.padded:
            framed = np.full((self.size, self.size), fill, dtype=plane.dtype)
            framed[self._inner] = plane
            return framed
        rows, columns = (np.arange(self.size) * side // self.size for side in self.shape)
        return plane[np.ix_(rows, columns)]

    def back(self, plane: NDArray[np.floating]) -> NDArray[np.floating]:
        """Soft values of the frame on the image's own grid; bilinear where the image was stretched."""
        return plane[self._inner] if self.padded else _bilinear(plane, self.shape)

    def mask_back(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of the frame on the image's own grid, for models that give no soft values; nearest neighbour."""
        if self.padded:
            return mask[self._inner]
        rows, columns = (
            np.minimum((np.arange(side) * self.size + self.size // 2) // side, self.size - 1)
            for side in self.shape
        )
        return mask[np.ix_(rows, columns)]

    @property
    def _inner(self) -> tuple[slice, slice]:
        top, left = self.corner
        return slice(top, top + self.shape[0]), slice(left, left + self.shape[1])


def framed(case: Case, size: int) -> tuple[Case, Frame]:
    """The case as the model and the simulated user see it: (3, size, size) float32 picture, masks of the frame."""
    image: Image = case.inputs["image"]
    if image.ndim != 2:
        raise ValueError("a frame is for 2D images")
    frame = Frame(size, (image.grid.shape[0], image.grid.shape[1]))
    channels = image.array if len(image.array) == 3 else np.repeat(image.array[:1], 3, axis=0)
    planes = [frame.into(c.astype(np.float32), m) for c, m in zip(channels, MEAN_COLOUR, strict=True)]
    grid = Grid((size, size), (1.0, 1.0), unit="px")
    inputs = {**case.inputs, "image": Image(np.stack(planes), grid)}
    reference = {**case.reference, "structures": _structures(case.reference["structures"], frame)}
    return replace(case, inputs=inputs, reference=reference), frame


def _structures(structures: Structures, frame: Frame) -> Structures:
    if isinstance(structures, LabelMap):
        return LabelMap(frame.into(structures.array), structures.labels, structures.ignore)
    masks = {name: frame.into(mask) for name, mask in structures.masks.items()}
    return MaskStack(masks, (frame.size, frame.size))


def unframed(answer: Segmentation, frame: Frame) -> Segmentation:
    """The answer on the image's own grid: soft values go back as logits and are thresholded at 0.5 there."""
    if answer.probabilities is None:
        return Segmentation(frame.mask_back(np.asarray(answer.mask, dtype=bool)), answer.score, answer.logits)
    p = np.clip(answer.probabilities.astype(np.float64), _FINEST, 1 - _FINEST)
    logits = frame.back(np.log(p) - np.log1p(-p))
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return Segmentation(logits > 0, answer.score, answer.logits, probabilities)


def _bilinear(plane: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.floating]:
    """Bilinear with half-pixel centres and clamped edges (torch ``align_corners=False``)."""
    for axis, side in enumerate(shape):
        have = plane.shape[axis]
        at = np.clip((np.arange(side) + 0.5) * have / side - 0.5, 0, have - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, have - 1)
        weight = (at - low).reshape(-1, *([1] * (1 - axis)))
        plane = np.take(plane, low, axis) * (1 - weight) + np.take(plane, high, axis) * weight
    return plane
