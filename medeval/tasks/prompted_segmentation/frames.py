"""A square frame to which a published protocol stretches its images before anything is drawn or asked, and the way back.

SAM-Med2D (OpenGVLab/SAM-Med2D at bfd2b93, DataLoader.py and test.py): an image that reaches the frame in some direction is
stretched to it by nearest neighbour, whatever its aspect, and so is its mask; prompts are drawn and errors are found there;
answers go back bilinearly from the model's logits (half-pixel centres) and are thresholded on the image's own grid. An
image that is smaller in both directions is padded there, which moves everything and changes nothing: padding is left to
the model's adapter. (The official loop can click on a false positive in that padding; here no click falls outside the image.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.types import Case, Grid, Image, LabelMap, MaskStack, Segmentation, Structures

_FINEST = 1e-7  # probabilities are kept this far from 0 and 1, where their logits are infinite


def framed(case: Case, size: int) -> Case:
    """The case stretched to (size, size); the same case when it is smaller in both directions, or is no 2D image."""
    image: Image = case.inputs["image"]
    if image.ndim != 2 or max(image.grid.shape) < size:
        return case
    stretched = np.stack([stretch(channel, size) for channel in image.array])
    grid = Grid((size, size), (1.0, 1.0), unit="px")
    reference: dict[str, Any] = {
        **case.reference,
        "structures": _structures(case.reference["structures"], size),
    }
    return replace(case, inputs={**case.inputs, "image": Image(stretched, grid)}, reference=reference)


def stretch(plane: NDArray, size: int) -> NDArray:
    """A (rows, columns) plane as (size, size), nearest neighbour as OpenCV's INTER_NEAREST."""
    rows, columns = (
        # In OpenCV's order of operations, for what falls on whole numbers.
        np.minimum(np.floor(np.arange(size) * (1.0 / (size / side))), side - 1).astype(np.int64)
        for side in plane.shape
    )
    return plane[np.ix_(rows, columns)]


def _structures(structures: Structures, size: int) -> Structures:
    if isinstance(structures, LabelMap):
        return LabelMap(stretch(structures.array, size), structures.labels, structures.ignore)
    masks = {name: stretch(mask, size) for name, mask in structures.masks.items()}
    return MaskStack(masks, (size, size))


def unframed(answer: Segmentation, shape: tuple[int, ...]) -> Segmentation:
    """The answer on the image's own grid: from its soft values where it has them, else nearest neighbour."""
    if answer.mask.shape == shape:
        return answer
    if answer.probabilities is None:
        rows, columns = (
            np.minimum((np.arange(to) * 2 + 1) * have // (2 * to), have - 1)
            for to, have in zip(shape, answer.mask.shape, strict=True)
        )
        return Segmentation(answer.mask[np.ix_(rows, columns)], answer.score)
    p = np.clip(answer.probabilities.astype(np.float64), _FINEST, 1 - _FINEST)
    logits = bilinear(np.log(p) - np.log1p(-p), shape)
    return Segmentation(logits > 0, answer.score, None, (1 / (1 + np.exp(-logits))).astype(np.float32))


def bilinear(plane: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """Bilinear with half-pixel centres and clamped edges, as torch's ``interpolate(align_corners=False)``."""
    for axis, side in enumerate(shape):
        have = plane.shape[axis]
        at = np.clip((np.arange(side) + 0.5) * have / side - 0.5, 0, have - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, have - 1)
        weight = (at - low).reshape(-1, *([1] * (1 - axis)))
        plane = np.take(plane, low, axis) * (1 - weight) + np.take(plane, high, axis) * weight
    return plane
