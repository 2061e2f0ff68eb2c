"""What must hold for any masks; both paths of the kernels; brute force on small ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medeval.metrics import MaskPair, compare_label_maps, compare_masks, fallback, kernels
from medeval.metrics.surfels import surfel_areas
from tests.metrics.conftest import COMPILED

SYMMETRIC = [
    "dice",
    "iou",
    "hd",
    "hd95",
    "hd95:pooled",
    "hd95:surfel",
    "assd",
    "masd",
    "assd:surfel",
    "nsd@1mm",
    "nsd@2mm:voxel",
]
DISTANCES = [name for name in SYMMETRIC if name.startswith(("hd", "assd", "masd"))]
SPACINGS = st.sampled_from([0.5, 0.8, 1.0, 2.5, 3.0])
EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def pairs(draw, values=1):
    """(prediction, reference, spacing), 2D or 3D, neither of them empty."""
    shape = tuple(draw(st.lists(st.integers(1, 8), min_size=2, max_size=3)))
    cells = st.sampled_from([0, 0, *range(values + 1)])
    maps = [draw(hnp.arrays(np.uint8, shape, elements=cells)) for _ in range(2)]
    for array in maps:
        for value in range(1, values + 1):
            if array.size >= values:
                array.flat[draw(st.integers(0, array.size - 1))] = value
    return *maps, tuple(draw(SPACINGS) for _ in shape)


@EXAMPLES
@given(pairs())
def test_symmetry(pair):
    prediction, reference, spacing = pair
    one = compare_masks(prediction, reference, spacing, SYMMETRIC)
    assert compare_masks(reference, prediction, spacing, SYMMETRIC) == pytest.approx(one, rel=1e-12)


@EXAMPLES
@given(pairs(), st.integers(0, 3), st.integers(0, 3))
def test_translation_and_padding(pair, before, after):
    """Moving both masks together, or a wider image, changes nothing."""
    prediction, reference, spacing = pair
    one = compare_masks(prediction, reference, spacing, SYMMETRIC)
    padded = [np.pad(m, (before, after)) for m in (prediction, reference)]
    assert compare_masks(*padded, spacing, SYMMETRIC) == pytest.approx(one, rel=1e-12)


@EXAMPLES
@given(pairs(), st.sampled_from([0.5, 2.0, 4.0]))
def test_spacing_scales_distances(pair, factor):
    prediction, reference, spacing = pair
    one = compare_masks(prediction, reference, spacing, DISTANCES)
    two = compare_masks(prediction, reference, [factor * s for s in spacing], DISTANCES)
    assert two == pytest.approx({name: factor * value for name, value in one.items()}, rel=1e-12)


@EXAMPLES
@given(pairs(), st.lists(st.floats(0, 12), min_size=2, max_size=6))
def test_nsd_grows_with_the_tolerance(pair, tolerances):
    for suffix in ("", ":voxel", ":fractions"):
        names = [f"nsd@{t:.6f}mm{suffix}" for t in sorted(tolerances)]
        values = list(compare_masks(*pair, names).values())
        assert values == sorted(values)
        assert all(0.0 <= v <= 1.0 for v in values)


@EXAMPLES
@given(pairs(values=3), st.permutations([1, 2, 3]))
def test_label_permutation(pair, order):
    prediction, reference, spacing = pair
    table = np.array([0, *order], dtype=np.uint8)
    names = ["dice", "hd95", "nsd@1mm"]
    one = compare_label_maps(prediction, reference, spacing, [1, 2, 3], names)
    two = compare_label_maps(table[prediction], table[reference], spacing, order, names)
    for label, renamed in zip((1, 2, 3), order, strict=True):
        assert two[renamed] == pytest.approx(one[label], rel=1e-12, nan_ok=True)


@EXAMPLES
@given(pairs(values=3))
def test_a_label_map_is_its_masks(pair):
    prediction, reference, spacing = pair
    names = ["dice", "iou", "specificity", "hd95", "assd", "nsd@1mm", "centre_distance", "pq", "boundary_iou"]
    every = compare_label_maps(prediction, reference, spacing, [1, 2, 3], names, threads=2)
    for label, values in every.items():
        assert compare_masks(prediction == label, reference == label, spacing, names) == pytest.approx(
            values, rel=1e-12, nan_ok=True
        )


def brute_force(prediction, reference, spacing, surfel):
    """Sorted (distance, weight) of both directions, by all pairs."""
    codes = [
        (fallback.surfel_codes if surfel else fallback.border_voxels)(m > 0) for m in (prediction, reference)
    ]
    weights = surfel_areas(spacing) if surfel else np.ones(2)
    points = [np.argwhere(c) * np.array(spacing) for c in codes]
    squared = ((points[0][:, None] - points[1][None]) ** 2).sum(axis=2)
    for axis, own in ((1, codes[0]), (0, codes[1])):
        distances = np.sqrt(squared.min(axis=axis))
        order = np.argsort(distances)
        yield distances[order], weights[own[own != 0]][order]


@EXAMPLES
@given(pairs(), st.booleans())
def test_brute_force(pair, surfel):
    prediction, reference, spacing = pair
    for path in ("c", "python") if COMPILED else ("python",):
        kernels.use(path)
        ours = MaskPair(prediction, reference, spacing).surface("surfel" if surfel else "voxel")
        for side, (distances, weights) in zip(ours.directions, brute_force(*pair, surfel), strict=True):
            assert side.total == pytest.approx(weights.sum(), rel=1e-12)
            assert side.moment == pytest.approx(weights @ distances, rel=1e-9, abs=1e-12)
            for tolerance in np.unique(distances) + 1e-9:
                assert side.within(tolerance) == pytest.approx(
                    weights[distances <= tolerance].sum(), rel=1e-12
                )
            if not surfel:
                for percent in (0, 5, 50, 95, 99, 100):
                    assert side.percentile(percent) == pytest.approx(
                        np.percentile(distances, percent), abs=1e-12
                    )


def same_table(one, two):
    """Equal to 1e-12. Two ways of one length, as (3, 4) and (5, 0) steps of 0.8 mm, may differ in the last bit."""
    cuts = np.union1d(one.distances, two.distances) * (1 + 1e-12)
    reached = [[side.within(cut) for cut in cuts] for side in (one, two)]
    same = one.moment == pytest.approx(two.moment, rel=1e-12) and one.highest == pytest.approx(
        two.highest, rel=1e-15
    )
    return same and reached[0] == pytest.approx(reached[1], rel=1e-12)


@pytest.mark.skipif(not COMPILED, reason="the C extension is not built")
@pytest.mark.parametrize("kind", ["smooth", "noise", "far", "one voxel each"])
@pytest.mark.parametrize("shape", [(41, 53), (23, 31, 27), (1, 40, 30), (40, 1, 1), (9, 9, 70)])
def test_compiled_equals_fallback(kind, shape, monkeypatch):
    """To 1e-12, in any memory order."""
    from scipy.ndimage import gaussian_filter

    from medeval.metrics import native

    monkeypatch.setattr(native, "SLAB", 1)
    rng = np.random.default_rng(len(shape))
    for spacing in ((1.0,) * len(shape), (0.8, 0.8, 2.5)[: len(shape)], (3.0, 0.3, 1.0)[: len(shape)]):
        maps = []
        for side in range(2):
            field = gaussian_filter(rng.normal(size=shape), 2 if kind == "smooth" else 0)
            array = np.digitize(field, np.quantile(field, [0.6, 0.9])).astype(np.uint8)
            if kind == "far":
                axis = int(np.argmax(shape))
                where = np.arange(shape[axis]) < shape[axis] // 3
                array[
                    tuple(
                        slice(None) if a != axis else (where if side else where[::-1])
                        for a in range(len(shape))
                    )
                ] = 0
            if kind == "one voxel each":
                array[...] = 0
            array.flat[[0, -1] if side else [array.size // 2, 1]] = 1, 2
            maps.append(array)
        turned = [m.transpose().copy().transpose() for m in maps]
        flipped = [np.flip(np.flip(m).copy()) for m in maps]
        for these in (maps, turned, flipped, [maps[0], turned[1]]):
            for size in (3, 256):
                counts, boxes = native.scan(*these, size, threads=2)
                expected, expected_boxes = fallback.scan(*maps, size)
                assert np.array_equal(counts, expected)
                assert np.array_equal(boxes, expected_boxes)
            for values in ((1,), (2,), (1, 2)):
                for surfel in (True, False):
                    ours = native.surfaces(*these, values, spacing, surfel)
                    theirs = fallback.surfaces(*maps, values, spacing, surfel)
                    for a, b in zip(ours.directions, theirs.directions, strict=True):
                        assert same_table(a, b)
