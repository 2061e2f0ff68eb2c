"""When two voxel grids are the same, and what to do when they are not.

Two grids are equal when their shapes are, and no corner of one lies farther than ``TOLERANCE`` of a voxel from the same
corner of the other: rounding of headers (1e-8, or a spacing kept with four decimals) is no difference.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import Grid

OnGridMismatch = Literal["error", "resample", "trust-array"]
TOLERANCE = 0.05  # of a voxel's shortest edge, at the corner where the grids are farthest apart


def corner_distance(a: Grid, b: Grid) -> float:
    """Largest distance between the same corners of two grids of one shape, in voxels (shortest edge of ``a``).

    Plain pictures (no affine) lie where their arrays lie: 0.
    """
    if a.affine is None or b.affine is None:
        return 0.0
    corners = np.array([(*corner, 1.0) for corner in product(*((0, n - 1) for n in a.shape))])
    apart = corners @ (a.affine - b.affine).T
    return float(np.linalg.norm(apart[:, :3], axis=1).max() / min(a.spacing))


def same_grid(a: Grid, b: Grid, tolerance: float = TOLERANCE) -> bool:
    """True when the grids are equal within ``tolerance`` voxels."""
    return a.shape == b.shape and corner_distance(a, b) <= tolerance


def describe(grid: Grid) -> str:
    """A grid in words for messages: shape, spacing and, where it has one, its origin."""
    text = (
        "x".join(map(str, grid.shape)) + " at " + "x".join(f"{s:.6g}" for s in grid.spacing) + f" {grid.unit}"
    )
    if grid.affine is not None:
        text += ", origin (" + ", ".join(f"{o:.6g}" for o in grid.affine[:3, 3]) + ")"
        axes = grid.affine[:3, :3] / np.asarray(grid.spacing)
        if not np.allclose(axes, np.eye(3), atol=1e-3):
            text += ", axes " + np.array2string(axes, precision=4, suppress_small=True).replace("\n", "")
    return text


def difference(a: Grid, b: Grid) -> str:
    """How two grids differ, for the end of a message."""
    if len(a.shape) != len(b.shape):
        return f"{len(a.shape)} and {len(b.shape)} dimensions"
    if a.shape == b.shape:
        return f"same shape, corners up to {corner_distance(a, b):.3g} voxels apart, {TOLERANCE} allowed"
    if sorted(a.shape) == sorted(b.shape):
        return "other shape; is one of them transposed?"
    return "other shape"


def resample_labels(array: NDArray, source: Grid, target: Grid) -> NDArray:
    """Labels of ``source`` at the voxel centres of ``target``, nearest neighbour; 0 outside of ``source``.

    Both grids need an affine (``ValueError`` otherwise: a picture's position is not known).
    """
    from scipy.ndimage import affine_transform

    if source.affine is None or target.affine is None:
        raise ValueError("only grids with an affine can be resampled onto each other")
    # One voxel of background around the source: beyond it, `nearest` extends zeros and not the border's labels.
    padded = np.pad(array, 1)
    matrix = np.linalg.inv(source.affine) @ target.affine
    matrix[:3, 3] += 1
    return affine_transform(
        padded, matrix, output_shape=target.shape, order=0, mode="nearest", prefilter=False
    )
