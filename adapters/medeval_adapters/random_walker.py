"""Random walker from prompt seeds (Grady 2006), as scikit-image has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Image, Prompt, Segmentation
from medeval_adapters.seeds import Gray, Seeds, ball, gray, nearest_seed, segment_each
from medeval_adapters.shrinking import Shrink


class RandomWalker:
    """A voxel belongs to the structure if a random walk from it reaches a foreground seed first.

    Time grows faster than the number of voxels, so windows beyond ``max_voxels`` are solved on a coarser copy.
    """

    takes: ClassVar[Capabilities] = Capabilities(prompts=frozenset({"box", "points"}))
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "random walker (scikit-image), seeded by box and clicks"

    def __init__(
        self,
        beta: float = 130.0,
        mode: Literal["auto", "bf", "cg_j"] = "auto",
        core: float = 0.5,
        reach: int = 2,
        max_voxels: int = 60_000,
    ) -> None:
        """beta: how hard an intensity step is to cross. mode: scikit-image's solver; auto is bf in 2D and cg_j in 3D.

        core: part of the box, from its centre, that is taken for foreground. reach: a click also speaks for voxels this
        near that look like it (in 3D a walk hardly ever meets a single voxel). max_voxels: see the class.
        """
        self.beta = beta
        self.mode = mode
        self.core = core
        self.reach = reach
        self.max_voxels = max_voxels

    def encode(self, image: Image) -> Gray:
        """One standardised channel."""
        return gray(image)

    def segment(self, encoded: Gray, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One mask a prompt."""
        return segment_each(
            encoded.values.shape, prompts, lambda seeds: self._solve(encoded, seeds), self.core
        )

    def _solve(self, encoded: Gray, seeds: Seeds) -> NDArray[np.bool_]:
        values = encoded.values[seeds.window]
        shrink = Shrink.to(values.shape, self.max_voxels)
        small = shrink.mean(values)
        planted = widen(shrink.seeds(seeds), small, self.reach)
        if (planted.foreground | planted.background).all():
            return seeds.foreground.copy()
        if small.std() == 0 or not planted.background.any():
            return nearest_seed(seeds, encoded.spacing)
        spacing = tuple(edge * block for edge, block in zip(encoded.spacing, shrink.blocks, strict=True))
        inside = shrink.restore(self._probability(small, planted, spacing)) > 0.5
        return (inside | seeds.foreground) & ~seeds.background

    def _probability(
        self, values: NDArray[np.float32], seeds: Seeds, spacing: tuple[float, ...]
    ) -> NDArray[np.floating]:
        from skimage.segmentation import random_walker

        labels = seeds.foreground.astype(np.int32) + 2 * seeds.background
        mode = self.mode if self.mode != "auto" else ("bf" if values.ndim == 2 else "cg_j")
        # An iterative solution may miss [0, 1] by a little; only the side of 0.5 counts, so that is no reason to warn.
        both = random_walker(
            values, labels, beta=self.beta, mode=mode, return_full_prob=True, spacing=spacing, prob_tol=np.inf
        )
        return both[0]


def widen(seeds: Seeds, values: NDArray[np.float32], reach: int, alike: float = 0.5) -> Seeds:
    """Clicks speak for voxels within ``reach`` whose intensity is within ``alike`` standard deviations of theirs."""
    foreground, background = seeds.foreground.copy(), seeds.background.copy()
    for points, own, other in ((seeds.off, background, foreground), (seeds.on, foreground, background)):
        for point in points:
            near, within = ball(point, values.shape, reach)
            similar = np.abs(values[near] - values[tuple(point)]) <= alike
            own[near] |= within & similar & ~other[near]
    return replace(seeds, foreground=foreground, background=background)
