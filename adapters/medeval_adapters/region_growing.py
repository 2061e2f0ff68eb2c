"""Seeded region growing by intensity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Image, Prompt, Segmentation
from medeval_adapters.seeds import Gray, Seeds, gray, keep_seeded, segment_each


class RegionGrowing:
    """The structure is what hangs together with its seeds and looks like them.

    Voxels qualify within ``tolerance`` (robust) standard deviations of the median intensity around the seeds. A background click
    cuts out its surroundings and whatever looks more like it than like the seeds.
    """

    takes: ClassVar[Capabilities] = Capabilities(prompts=frozenset({"box", "points"}))
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "region growing by intensity around the clicks or the box's centre"

    def __init__(
        self,
        tolerance: float = 2.5,
        least: float = 0.3,
        smoothing: float = 0.6,
        core: float = 0.5,
        reach: int = 2,
    ) -> None:
        """tolerance: in standard deviations of the seeds' surroundings, and never less than ``least`` of the image's.

        smoothing: voxels. core: part of the box, from its centre, that is taken for foreground. reach: a click speaks for
        the cube of this many voxels around it.
        """
        self.tolerance = tolerance
        self.least = least
        self.smoothing = smoothing
        self.core = core
        self.reach = reach

    def encode(self, image: Image) -> Gray:
        """One standardised, smoothed channel."""
        from scipy import ndimage

        encoded = gray(image)
        smooth = ndimage.gaussian_filter(encoded.values, self.smoothing, truncate=3.0)
        return Gray(smooth, encoded.spacing)

    def segment(self, encoded: Gray, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One mask a prompt."""
        return segment_each(
            encoded.values.shape, prompts, lambda seeds: self._grow(encoded, seeds), self.core
        )

    def _grow(self, encoded: Gray, seeds: Seeds) -> NDArray[np.bool_]:
        values = encoded.values[seeds.window]
        middle, width = self._look(values, seeds)
        likes = np.append(values[tuple(seeds.on.T)], np.float32(middle))
        region = np.abs(values - np.float32(middle)) <= width
        for value in likes[:-1]:
            region |= np.abs(values - value) <= self.least / 2
        others = [values[self._near(point)].mean() for point in seeds.off]
        others = [other for other in others if np.abs(likes - other).min() > self.least / 2]
        nearest = _distance(values, likes) if others else None
        for other in others:
            region &= nearest <= np.abs(values - other)
        return keep_seeded(region, seeds)

    def _look(self, values: NDArray[np.float32], seeds: Seeds) -> tuple[float, float]:
        """Intensity of the structure and how far from it still counts: from the box's core, else around a click.

        Of several clicks the one with the most even surroundings speaks: those near an edge would speak for both sides.
        """
        core = seeds.foreground.sum() > len(seeds.on)
        samples = [values[seeds.foreground]] if core else [values[self._near(point)] for point in seeds.on]
        looks = [(float(np.median(s)), s) for s in samples]
        spread, middle = min((float(np.median(np.abs(s - middle))), middle) for middle, s in looks)
        return middle, max(self.least, self.tolerance * 1.4826 * spread)

    def _near(self, point: NDArray[np.int64]) -> tuple[slice, ...]:
        return tuple(slice(max(0, int(p) - self.reach), int(p) + self.reach + 1) for p in point)


def _distance(values: NDArray[np.float32], likes: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each voxel's intensity is from the nearest of ``likes``."""
    nearest = np.abs(values - likes[0])
    for like in likes[1:]:
        np.minimum(nearest, np.abs(values - like), out=nearest)
    return nearest
