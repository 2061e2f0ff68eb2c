"""Floors: what a score means nothing without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Image, Prompt, Segmentation


class BoxAsMask:
    """Returns the box, filled; without a box, the smallest box around the points on the structure. Corrections are ignored."""

    takes: ClassVar[Capabilities] = Capabilities(prompts=frozenset({"box", "points"}))
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "the box itself, filled: a floor for box prompts"

    def encode(self, image: Image) -> tuple[int, ...]:
        """The image's spatial shape."""
        return image.grid.shape

    def segment(self, encoded: tuple[int, ...], prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One mask a prompt; empty where neither a box nor a point on the structure was given."""
        return [Segmentation(_filled(encoded, prompt)) for prompt in prompts]


class Empty:
    """Finds nothing, whatever is asked; for automatic segmentation too."""

    takes: ClassVar[Capabilities] = Capabilities()
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "an empty mask: the floor of every prompt"

    def encode(self, image: Image) -> tuple[int, ...]:
        """The image's spatial shape."""
        return image.grid.shape

    def segment(self, encoded: tuple[int, ...], prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One empty mask a prompt."""
        return [Segmentation(np.zeros(encoded, dtype=bool)) for _ in prompts]

    def segment_image(self, image: Image, structures: Sequence[str]) -> Mapping[str, NDArray[np.bool_]]:
        """One empty mask a structure."""
        return {name: np.zeros(image.grid.shape, dtype=bool) for name in structures}


def _filled(shape: tuple[int, ...], prompt: Prompt) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    box = prompt.box
    if box is None and prompt.points is not None:
        on = prompt.points if prompt.labels is None else prompt.points[np.asarray(prompt.labels) == 1]
        box = np.stack([on.min(axis=0), on.max(axis=0) + 1]) if len(on) else None
    if box is not None:
        mask[tuple(slice(max(0, int(start)), max(0, int(stop))) for start, stop in np.asarray(box).T)] = True
    return mask
