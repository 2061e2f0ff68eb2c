"""Floors: what a score means nothing without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Image, ModelFailure, Prompt, Segmentation


class BoxAsMask:
    """Returns the box, filled."""

    takes: ClassVar[Capabilities] = Capabilities(prompts=frozenset({"box"}))
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "the box itself, filled: a floor for box prompts"

    def encode(self, image: Image) -> tuple[int, ...]:
        """The image's spatial shape."""
        return image.grid.shape

    def segment(self, encoded: tuple[int, ...], prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One mask a prompt; ``ModelFailure`` for a prompt without a box."""
        return [Segmentation(self._filled(encoded, prompt)) for prompt in prompts]

    def _filled(self, shape: tuple[int, ...], prompt: Prompt) -> NDArray[np.bool_]:
        if prompt.box is None:
            raise ModelFailure("box-as-mask needs a box in every prompt")
        mask = np.zeros(shape, dtype=bool)
        mask[tuple(slice(max(0, int(start)), int(stop)) for start, stop in np.asarray(prompt.box).T)] = True
        return mask


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
