"""Surface elements: the area that a 2x2x2 (2x2) neighbourhood of a mask contributes to its surface.

A surfel sits at the corner between voxels. Its code is the sum of ``[[[128, 64], [32, 16]], [[8, 4], [2, 1]]]`` (2D:
``[[8, 4], [2, 1]]``) over the voxels of the mask around the corner. Its area is that of the marching-cubes polygons of
the code: cut edges are joined at their middles, on faces with two diagonal voxels the colour with fewer corners (the
mask on a tie) is kept apart, and a polygon that is not flat is cut into the triangles of largest total area. These rules
were found by comparing with the areas that DeepMind's surface-distance gives for each code; ``tests/metrics`` derives
the table from them again.

Source: Nikolov et al. 2021 (doi 10.2196/26151), google-deepmind/surface-distance.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Flat pieces of each class of codes: absolute normal components per axis, in eighths of a voxel face.
PIECES: tuple[tuple[tuple[int, int, int], ...], ...] = (
    (),
    ((1, 1, 1),),
    ((4, 4, 0),),
    ((4, 0, 4),),
    ((1, 1, 1), (1, 1, 1)),
    ((3, 3, 3), (4, 0, 0)),
    ((8, 0, 0),),
    ((0, 4, 4),),
    ((0, 4, 0), (3, 3, 3)),
    ((0, 0, 4), (3, 3, 3)),
    ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    ((6, 6, 6),),
    ((0, 4, 4), (1, 1, 1)),
    ((1, 1, 1), (4, 0, 4)),
    ((0, 2, 2), (2, 0, 2), (4, 4, 4)),
    ((1, 1, 1), (4, 4, 0)),
    ((0, 2, 2), (2, 2, 0), (4, 4, 4)),
    ((1, 1, 1), (3, 3, 3), (4, 0, 0)),
    ((0, 8, 0),),
    ((2, 0, 2), (2, 2, 0), (4, 4, 4)),
    ((0, 4, 0), (1, 1, 1), (3, 3, 3)),
    ((4, 4, 0), (4, 4, 0)),
    ((0, 0, 8),),
    ((0, 0, 4), (1, 1, 1), (3, 3, 3)),
    ((4, 0, 4), (4, 0, 4)),
    ((0, 4, 4), (0, 4, 4)),
    ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
)

# Class of each of the 256 codes.
CLASSES: tuple[int, ...] = (
    0, 1, 1, 2, 1, 3, 4, 5, 1, 4, 3, 5, 2, 5, 5, 6, 1, 7, 4, 8, 4, 9, 10, 11, 4, 12, 13, 14, 15, 16, 17, 5,
    1, 4, 7, 8, 4, 13, 12, 14, 4, 10, 9, 11, 15, 17, 16, 5, 2, 8, 8, 18, 15, 19, 20, 8, 15, 20, 19, 8, 21, 15, 15, 2,
    1, 4, 4, 15, 7, 9, 12, 16, 4, 10, 13, 17, 8, 11, 14, 5, 3, 9, 13, 19, 9, 22, 23, 9, 13, 23, 24, 13, 19, 9, 13, 3,
    4, 10, 12, 20, 12, 23, 25, 12, 10, 26, 23, 10, 20, 10, 12, 4, 5, 11, 14, 8, 16, 9, 12, 7, 17, 10, 13, 4, 15, 4, 4, 1,
    1, 4, 4, 15, 4, 13, 10, 17, 7, 12, 9, 16, 8, 14, 11, 5, 4, 12, 10, 20, 10, 23, 26, 10, 12, 25, 23, 12, 20, 12, 10, 4,
    3, 13, 9, 19, 13, 24, 23, 13, 9, 23, 22, 9, 19, 13, 9, 3, 5, 14, 11, 8, 17, 13, 10, 4, 16, 12, 9, 7, 15, 4, 4, 1,
    2, 15, 15, 21, 8, 19, 20, 15, 8, 20, 19, 15, 18, 8, 8, 2, 5, 16, 17, 15, 11, 9, 10, 4, 14, 12, 13, 4, 8, 7, 4, 1,
    5, 17, 16, 15, 14, 13, 12, 4, 11, 10, 9, 4, 8, 4, 7, 1, 6, 5, 5, 2, 5, 3, 4, 1, 5, 4, 3, 1, 2, 1, 1, 0,
)  # fmt: skip


def _areas_3d(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    faces = np.array([spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]])
    of_class = [sum(float(np.linalg.norm(np.array(n) / 8.0 * faces)) for n in pieces) for pieces in PIECES]
    return np.array([of_class[c] for c in CLASSES], dtype=np.float64)


def _lengths_2d(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    corner = 0.5 * float(np.hypot(spacing[0], spacing[1]))
    lengths = np.full(16, corner)
    lengths[[0, 15]] = 0.0
    lengths[[3, 12]] = spacing[1]  # both voxels of one row: the contour runs along axis 1
    lengths[[5, 10]] = spacing[0]
    lengths[[6, 9]] = 2.0 * corner
    return lengths


@lru_cache(maxsize=128)
def surfel_areas(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Area (mm2) of each of the 256 codes, or length (mm) of each of the 16 codes in 2D.

    spacing: 2 or 3 edge lengths in array order. The array is shared and read-only.
    """
    areas = _areas_3d(spacing) if len(spacing) == 3 else _lengths_2d(spacing)
    areas.setflags(write=False)
    return areas
