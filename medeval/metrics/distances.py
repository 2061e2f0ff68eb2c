"""Distances between two surfaces, kept as one small sorted table a direction, from which every surface metric follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

# Offsets of the compiled neighbourhood search. More make far points cheaper and every miss dearer.
NEIGHBOURS = {2: 256, 3: 512}


@dataclass(frozen=True, eq=False)
class Directed:
    """Distances from every element of one surface to the nearest element of the other.

    distances: (n,) mm, ascending; equal distances may be merged into one entry.
    weights: (n,) how much surface lies at that distance: a count of border voxels, or an area in mm2 (length in mm).
    """

    distances: NDArray[np.float64]
    weights: NDArray[np.float64]

    @cached_property
    def total(self) -> float:
        """All the surface: number of voxels, or mm2."""
        return float(self.weights.sum())

    @cached_property
    def moment(self) -> float:
        """Sum of weight times distance."""
        return float(self.weights @ self.distances)

    @property
    def mean(self) -> float:
        """Mean distance in mm."""
        return self.moment / self.total

    @property
    def highest(self) -> float:
        """Largest distance in mm."""
        return float(self.distances[-1])

    def within(self, tolerance: float) -> float:
        """How much of the surface has a distance ``<= tolerance`` (mm)."""
        return float(self.weights[: np.searchsorted(self.distances, tolerance, side="right")].sum())

    def percentile(self, percent: float) -> float:
        """Percentile of the counted distances with linear interpolation, as ``numpy.percentile``."""
        count = round(self.total)
        rank = percent / 100.0 * (count - 1)
        below = int(rank)
        part = rank - below
        reached = np.cumsum(self.weights)
        low = float(self.distances[np.searchsorted(reached, below + 0.5)])
        high = float(self.distances[np.searchsorted(reached, min(below + 1, count - 1) + 0.5)])
        return low + (high - low) * part if part < 0.5 else high - (high - low) * (1.0 - part)

    def quantile_by_weight(self, percent: float) -> float:
        """Smallest distance up to which at least ``percent`` of the surface's weight lies; no interpolation.

        A share that reaches the percentage to within rounding (1e-12) has reached it.
        """
        share = np.cumsum(self.weights) / self.total
        at = int(np.searchsorted(share, percent / 100.0 - 1e-12))
        return float(self.distances[min(at, len(self.distances) - 1)])


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Both directions for one pair of masks, neither of them empty."""

    to_reference: Directed
    to_prediction: Directed

    @property
    def directions(self) -> tuple[Directed, Directed]:
        """(prediction to reference, reference to prediction)."""
        return self.to_reference, self.to_prediction

    @cached_property
    def pooled(self) -> Directed:
        """The union of both directions' distances."""
        distances = np.concatenate([d.distances for d in self.directions])
        order = np.argsort(distances, kind="stable")
        return Directed(distances[order], np.concatenate([d.weights for d in self.directions])[order])


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Voxel offsets in order of distance.

    offsets: (n, ndim) int32, the zero offset first; all offsets nearer than the last distance are there.
    ranks: (n,) int32 index into ``distances``; offsets of equal distance share one.
    distances: (ranks,) mm, ascending.
    """

    offsets: NDArray[np.int32]
    ranks: NDArray[np.int32]
    distances: NDArray[np.float64]


@lru_cache(maxsize=64)
def neighbourhood(spacing: tuple[float, ...]) -> Neighbourhood:
    """The nearest ``NEIGHBOURS`` offsets of a grid: complete, so that the first one that hits is the nearest."""
    wanted = NEIGHBOURS[len(spacing)]
    steps = np.asarray(spacing)
    # A box that surely holds a ball of that many voxels, but no axis longer than a surface search may reach.
    ball = {2: np.sqrt(wanted / np.pi * steps.prod()), 3: np.cbrt(wanted * 0.75 / np.pi * steps.prod())}[
        len(spacing)
    ]
    reach = np.clip(np.ceil(ball / steps), 1, 24).astype(np.int64)
    axes = [np.arange(-r, r + 1) for r in reach]
    offsets = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)
    squared = squared_length(offsets, steps)
    # Offsets outside the box begin at (reach + 1) steps along some axis: beyond that the list would have holes.
    inside = squared < ((reach + 1) * steps).min() ** 2
    offsets, squared = offsets[inside], squared[inside]
    order = np.lexsort((*offsets.T[::-1], squared))[:wanted]
    distances, ranks = np.unique(np.sqrt(squared[order]), return_inverse=True)
    return Neighbourhood(
        np.ascontiguousarray(offsets[order], dtype=np.int32),
        np.ascontiguousarray(ranks.reshape(-1), dtype=np.int32),
        distances,
    )


def squared_length(offsets: NDArray[np.integer], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared length in mm2 of (n, ndim) voxel offsets, summed in axis order: the one formula for every path."""
    total = np.zeros(len(offsets))
    for axis in range(offsets.shape[1]):
        step = offsets[:, axis] * spacing[axis]
        total += step * step
    return total
