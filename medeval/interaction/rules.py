"""Click rules. Each is named after what it does or after the protocol that it repeats; all see the error's box only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medeval.interaction.clicks import Click, ErrorRegion, click_rule
from medeval.interaction.depth import deepest
from medeval.interaction.drawing import bounds, slices

_LARGE = 60_000_000  # voxels of the padded box above which the CVPR 2025 script halves the resolution


@click_rule("random-in-error")
def random_in_error(error: ErrorRegion, rng: np.random.Generator) -> Click:
    """Uniform over all wrong voxels; a voxel may be clicked again (SAM-Med2D, SAM-Med3D)."""
    wrong = np.flatnonzero(error.wrong)
    return error.click(_unravel(wrong[rng.integers(wrong.size)], error.missed.shape))


@click_rule("centre-of-largest-error")
def centre_of_largest_error(error: ErrorRegion, rng: np.random.Generator) -> Click:
    """The deepest voxel, in mm, of the largest connected piece of missed or of extra voxels.

    Pieces hang together by faces and are counted in voxels; a missed piece wins over an extra one of the same size, then
    the first in C order. Depth is the distance to the piece's outside, the image's edge included; of equally deep voxels
    the first in C order. Voxels clicked before are passed over, unless the whole piece has been clicked.
    """
    missed, extra = _largest_piece(error.missed), _largest_piece(error.extra)
    piece = missed if np.count_nonzero(missed) >= np.count_nonzero(extra) else extra
    box = bounds(piece)
    assert box is not None  # an error region holds at least one wrong voxel
    cropped = piece[slices(box)]
    _, voxels = _deepest_unclicked(cropped, _within(error.clicked - box[0], cropped.shape), error.spacing)
    return error.click(voxels[0] + box[0])


@click_rule("ritm")
def ritm(error: ErrorRegion, rng: np.random.Generator) -> Click:
    """The deepest voxel, in voxel units, of all missed or of all extra voxels, whichever is deeper (RITM, SimpleClick).

    SamsungLabs/ritm_interactive_segmentation, isegm/inference/clicker.py: exact Euclidean distance, the image's edge
    counts as outside, positive only if the missed voxels are strictly deeper, voxels clicked before are excluded, ties
    go to the first voxel in C order. One mend: when every wrong voxel was clicked, RITM clicks the image's first pixel;
    we click the deepest again.
    """
    depth_missed, missed = deepest(error.missed, barred=error.clicked)
    depth_extra, extra = deepest(error.extra, barred=error.clicked)
    if depth_missed == depth_extra == 0.0:
        (depth_missed, missed), (depth_extra, extra) = deepest(error.missed), deepest(error.extra)
    return error.click(missed[0] if depth_missed > depth_extra else extra[0])


@click_rule("cvpr25")
def cvpr25(error: ErrorRegion, rng: np.random.Generator) -> Click:
    """One of the deepest voxels, in voxel units, of the largest piece of the error (CVPR 2025 interactive challenge).

    JunMa11/CVPR-MedSegFMCompetition, CVPR25_iter_eval.py at 748e862. Its quirks are kept: missed and extra voxels that
    touch (26 neighbours) form one piece; spacing is ignored; of n equally deep voxels the one of number
    ``RandomState(42).choice(n)`` in C order is taken at every click, so the given generator is not used and clicks may
    repeat; above 60 million voxels the depth is that of a copy at half the resolution. C order is that of the array as
    given: the challenge's arrays are (z, y, x), so where several voxels tie, a transposed array gets another of them.
    """
    piece = _largest_piece(error.wrong, np.ones((3,) * error.missed.ndim))
    box = bounds(piece)
    assert box is not None  # an error region holds at least one wrong voxel
    voxels = _challenge_deepest(piece[slices(box)])
    return error.click(voxels[np.random.RandomState(42).choice(len(voxels))] + box[0])


def _challenge_deepest(piece: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(k, ndim) deepest voxels by the challenge's rule, which pads the piece's box by a quarter (at least 1) a side."""
    pad = np.maximum(np.array(piece.shape) // 4, 1)
    if np.prod(np.array(piece.shape) + 2 * pad) <= _LARGE:
        return deepest(piece)[1]
    halved = _halve(np.pad(piece, [(int(p), int(p)) for p in pad]))
    depth = ndimage.distance_transform_edt(halved)
    for axis in range(piece.ndim):
        depth = depth.repeat(2, axis=axis)
    depth = depth[tuple(slice(p, p + n) for p, n in zip(pad, piece.shape, strict=True))] * piece
    return np.argwhere(depth == depth.max())


def _halve(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Half the resolution, True where any voxel of the 2 x 2 (x 2) block is."""
    even = np.pad(mask, [(0, n % 2) for n in mask.shape])
    blocks = even.reshape([size for n in even.shape for size in (n // 2, 2)])
    return np.asarray(blocks.any(axis=tuple(range(1, blocks.ndim, 2))))


def _largest_piece(region: NDArray[np.bool_], neighbours: NDArray | None = None) -> NDArray[np.bool_]:
    """The connected piece with most voxels, the first in C order of equals; all False when the region is empty."""
    pieces, count = ndimage.label(region, structure=neighbours)
    if count <= 1:
        return region
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def _deepest_unclicked(
    region: NDArray[np.bool_], clicked: NDArray[np.int64], spacing: tuple[float, ...]
) -> tuple[float, NDArray[np.int64]]:
    depth, voxels = deepest(region, spacing, barred=clicked)
    return (depth, voxels) if len(voxels) else deepest(region, spacing)


def _within(points: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    return points[((points >= 0) & (points < np.array(shape))).all(axis=1)]


def _unravel(flat: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(np.unravel_index(flat, shape))
