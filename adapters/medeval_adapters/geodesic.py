"""Geodesic segmentation: every voxel goes to the seed that it reaches by the cheapest path through the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medeval.types import Capabilities, Image, Prompt, Segmentation
from medeval_adapters.seeds import Seeds, gray, nearest_seed, segment_each
from medeval_adapters.shrinking import Shrink


@dataclass(frozen=True, eq=False)
class Terrain:
    """An encoded image: what a step through each voxel costs (float32, at least 1), and the relative voxel edges."""

    cost: NDArray[np.float32]
    spacing: tuple[float, ...]


class Geodesic:
    """The structure is what is nearer, along the image, to its seeds than to the background's (Criminisi et al. 2008).

    A step costs its length times 1 + ``edges`` times the gradient. One run of Dijkstra's algorithm (scikit-image's
    ``MCP_Geometric``) from both kinds of seeds finds each voxel's nearest seed: exact, where raster sweeps approximate.
    """

    takes: ClassVar[Capabilities] = Capabilities(prompts=frozenset({"box", "points"}))
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "geodesic distance between foreground and background seeds"

    def __init__(
        self, edges: float = 50.0, smoothing: float = 1.0, core: float = 0.5, max_voxels: int = 1_500_000
    ) -> None:
        """edges: weight of the gradient (per standard deviation of the image and voxel). smoothing: voxels.

        core: part of the box, from its centre, that is taken for foreground. max_voxels: larger windows are solved on a
        coarser copy.
        """
        self.edges = edges
        self.smoothing = smoothing
        self.core = core
        self.max_voxels = max_voxels

    def encode(self, image: Image) -> Terrain:
        """The cost of a step, by the gradient of the smoothed image."""
        from scipy import ndimage

        encoded = gray(image)
        gradient = ndimage.gaussian_gradient_magnitude(encoded.values, self.smoothing, truncate=3.0)
        return Terrain(np.float32(1) + np.float32(self.edges) * gradient, encoded.spacing)

    def segment(self, encoded: Terrain, prompts: Sequence[Prompt]) -> list[Segmentation]:
        """One mask a prompt."""
        return segment_each(encoded.cost.shape, prompts, lambda seeds: self._solve(encoded, seeds), self.core)

    def _solve(self, encoded: Terrain, seeds: Seeds) -> NDArray[np.bool_]:
        cost = encoded.cost[seeds.window]
        shrink = Shrink.to(cost.shape, self.max_voxels)
        planted = shrink.seeds(seeds)
        if not planted.background.any():
            return nearest_seed(seeds, encoded.spacing)
        spacing = tuple(edge * block for edge, block in zip(encoded.spacing, shrink.blocks, strict=True))
        reached = reached_from_foreground(shrink.mean(cost), planted, spacing)
        inside = shrink.restore(reached.astype(np.float32)) > 0.5
        return (inside | seeds.foreground) & ~seeds.background


def reached_from_foreground(
    cost: NDArray[np.float32], seeds: Seeds, spacing: tuple[float, ...]
) -> NDArray[np.bool_]:
    """Voxels whose cheapest path from any seed starts on the foreground."""
    from skimage.graph import MCP_Geometric

    paths = MCP_Geometric(cost, fully_connected=False, sampling=spacing)
    _, step_to = paths.find_costs(np.argwhere(_rim(seeds.foreground) | _rim(seeds.background)))
    strides = np.cumprod([1, *cost.shape[:0:-1]])[::-1]
    # step_to numbers the step by which each voxel was reached; -1 where a path starts (an extra step of length 0).
    steps = np.append(np.asarray(paths.offsets) @ strides, 0)
    taken = np.where(step_to < 0, len(steps) - 1, step_to).ravel()
    came_from = np.arange(cost.size) - steps[taken]
    while True:  # pointer jumping: path lengths double each time
        further = came_from[came_from]
        if np.array_equal(further, came_from):
            return seeds.foreground.ravel()[came_from].reshape(cost.shape)
        came_from = further


def _rim(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a region with a face on its outside: paths start nowhere else."""
    from scipy import ndimage

    return region & ~ndimage.binary_erosion(region, border_value=1)
