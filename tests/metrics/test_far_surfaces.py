"""Surfaces far from each other: whichever way the kernel searches, the distances are those of all pairs, bit by bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from medeval.metrics import fallback, kernels

pytestmark = pytest.mark.skipif(kernels.path() != "c", reason="the C extension was not built")
SPACING = (1.0, 0.7, 1.5)


def ball_in_a_shell(size=(60, 56, 40), spacing=SPACING):
    """Every point of the ball is about as far from all of the shell."""
    centre = [n / 2 for n in size]
    grid = np.ogrid[tuple(slice(0, n) for n in size)]
    radius = np.sqrt(sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True)))
    most = min(n * s for n, s in zip(size, spacing, strict=True)) / 2
    return (radius < 0.3 * most), (radius > 0.92 * most) & (radius < 0.98 * most)


def far_boxes(size=(60, 40, 40)):
    first, second = np.zeros(size, bool), np.zeros(size, bool)
    first[:9, 3:-3, 2:-2] = True
    second[-7:, 5:-5, 1:-9] = True
    return first, second


def stray_voxels(size=(60, 40, 40)):
    first, second = np.zeros(size, bool), np.zeros(size, bool)
    first[20:40, 12:28, 12:28] = True
    second[0, 0, 0] = second[-1, -1, -1] = second[0, -1, 3] = True
    return first, second


def salt(size=(60, 40, 40), share=0.002):
    generator = np.random.default_rng(3)
    return generator.random(size) < share, generator.random(size) < share / 10


def rings(size=(300, 260)):
    """The same in a plane: its axis of one voxel has no spacing."""
    grid = np.ogrid[tuple(slice(0, n) for n in size)]
    radius = np.sqrt(sum((g - n / 2) ** 2 for g, n in zip(grid, size, strict=True)))
    return radius < 40, (radius > 120) & (radius < 124)


CASES = {f.__name__: f for f in (ball_in_a_shell, far_boxes, stray_voxels, salt, rings)}


def border(mask):
    """(n, ndim) positions of the voxels of which a neighbour is missing."""
    return np.argwhere(mask & ~binary_erosion(mask))


def by_all_pairs(source, target, spacing):
    """Distances with their counts; squares are summed in the order of the axes."""
    least = np.full(len(source), np.inf)
    for element in target:
        steps = (source - element) * np.array(spacing)
        total = steps[:, 0] * steps[:, 0]
        for axis in range(1, steps.shape[1]):
            total = total + steps[:, axis] * steps[:, axis]
        np.minimum(least, total, out=least)
    return np.unique(np.sqrt(least), return_counts=True)


def merged(table):
    """Distances that differ by rounding alone as one, with their weights' sum."""
    names, codes = np.unique(np.round(table.distances, 9), return_inverse=True)
    return names, np.bincount(codes, weights=table.weights)


def same(pred, ref, spacing):
    """Voxels bit by bit against all pairs; surfels against numpy's path, which may take another of two equal neighbours."""
    views = [mask.view(np.uint8) for mask in (pred, ref)]
    voxels = kernels.surfaces(*views, (1,), spacing, False)
    ends = border(pred), border(ref)
    for found, (source, target) in (
        (voxels.to_reference, ends),
        (voxels.to_prediction, ends[::-1]),
    ):
        distances, counts = by_all_pairs(source, target, spacing)
        np.testing.assert_array_equal(found.distances, distances)
        np.testing.assert_array_equal(found.weights, counts)
    surfels = kernels.surfaces(*views, (1,), spacing, True)
    plain = fallback.surfaces(*views, (1,), spacing, True)
    for way in ("to_reference", "to_prediction"):
        for one, two in zip(merged(getattr(surfels, way)), merged(getattr(plain, way)), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9)
    return voxels


@pytest.mark.parametrize("name", CASES)
def test_distances_are_those_of_all_pairs(name):
    pred, ref = CASES[name]()
    found = same(pred, ref, SPACING[: pred.ndim])
    assert max(found.to_reference.distances.max(), found.to_prediction.distances.max()) > 8


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_squares_are_summed_in_the_callers_order_however_the_axes_lie(axes):
    """Spacings whose squares round differently in each order of summing."""
    spacing = (0.1, 0.7, 1.3)
    pred, ref = (
        np.asarray(mask.transpose(axes), order="C").transpose(np.argsort(axes))
        for mask in ball_in_a_shell((110, 56, 34), spacing)
    )
    same(pred, ref, spacing)
    same(pred[::-1], ref[::-1], spacing)


@pytest.mark.parametrize("offset", [(0, 0, 0), (25, 0, 0), (0, 17, -12), (-25, -17, 12)])
def test_points_may_lie_outside_of_the_box_around_the_surface(offset):
    pred, ref = (np.pad(mask, 30) for mask in ball_in_a_shell((40, 40, 26)))
    same(np.roll(pred, offset, (0, 1, 2)), ref, SPACING)
    same(ref, np.roll(pred, offset, (0, 1, 2)), SPACING)
