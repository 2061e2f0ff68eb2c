"""Active contour without edges (Chan and Vese 2001) around the prompt, in its morphological form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Image, Prompt, Segmentation
from medeval_adapters.seeds import Gray, Seeds, gray, keep_seeded, segment_each
from medeval_adapters.shrinking import Shrink


class ChanVeseInBox:
    """Inside and outside of a contour become as homogeneous as they can (Marquez-Neila et al. 2014, scikit-image).

    The contour starts as an ellipsoid in the box, or as a ball around each click, and is held to the pieces that hang
    together with the seeds. Windows beyond ``max_voxels`` are solved on a coarser copy.
    """

    takes: ClassVar[Capabilities] = Capabilities(prompts=frozenset({"box", "points"}))
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "morphological Chan-Vese within the box"

    def __init__(
        self, iterations: int = 30, smoothing: int = 1, core: float = 0.8, max_voxels: int = 100_000
    ) -> None:
        """iterations: of the contour. smoothing: passes of the curvature operator an iteration.

        core: part of the box, from its centre, inside the first contour. max_voxels: see the class.
        """
        self.iterations = iterations
        self.smoothing = smoothing
        self.core = core
        self.max_voxels = max_voxels

    def encode(self, image: Image) -> Gray:
        """One standardised channel."""
        return gray(image)

    def segment(self, encoded: Gray, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One mask a prompt."""
        # A quarter of the box's side around it: the outside must be seen to be told from the inside.
        return segment_each(
            encoded.values.shape, prompts, lambda seeds: self._evolve(encoded, seeds), self.core, margin=0.25
        )

    def _evolve(self, encoded: Gray, seeds: Seeds) -> NDArray[np.bool_]:
        from skimage.segmentation import morphological_chan_vese

        values = encoded.values[seeds.window]
        shrink = Shrink.to(values.shape, self.max_voxels)
        small, planted = shrink.mean(values), shrink.seeds(seeds)
        start = self._first_contour(planted)
        if start.all() or small.std() == 0:
            return start if not shrink.needed else shrink.restore(start.astype(np.float32)) > 0.5
        thick = [(0, 1) if n == 1 else (0, 0) for n in small.shape]  # scikit-image wants two voxels an axis
        contour = morphological_chan_vese(
            np.pad(small.astype(np.float64), thick, mode="edge"),
            self.iterations,
            init_level_set=np.pad(start, thick, mode="edge").astype(np.int8),
            smoothing=self.smoothing,
        )
        within = contour[tuple(slice(n) for n in small.shape)] > 0
        kept = keep_seeded(within, planted)
        return shrink.restore(kept.astype(np.float32)) > 0.5

    def _first_contour(self, seeds: Seeds) -> NDArray[np.bool_]:
        from scipy import ndimage

        radius = max(3.0, 0.05 * max(seeds.foreground.shape))
        away = ndimage.distance_transform_edt(~seeds.foreground)
        grown = away <= radius if len(seeds.on) else seeds.foreground
        return grown & ~seeds.background
