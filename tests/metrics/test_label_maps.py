"""All structures of two maps at once: regions, wide types, many labels, threads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medeval.metrics import compare, compare_label_maps, compare_masks, kernels, mask_pairs
from medeval.metrics.overlap import generalised_dice
from medeval.types import Grid, MetricError

NAMES = ["dice", "specificity", "hd95", "assd", "nsd@1mm", "centre_distance", "fpv_ml"]
SPACING = (1.0, 1.5, 2.0)


def test_labels_by_default_are_those_of_either_map(blobs):
    prediction, reference = (m.copy() for m in blobs)
    prediction[prediction == 2] = 7
    assert list(compare_label_maps(prediction, reference, SPACING)) == [1, 2, 3, 7]


def test_absent_labels_are_undefined(blobs):
    values = compare_label_maps(*blobs, SPACING, [1, 9], ["dice", "nsd@1mm"])
    assert all(math.isnan(v) for v in values[9].values())
    assert values[1]["dice"] > 0


def test_regions_may_overlap(blobs, kernel_path):
    prediction, reference = blobs
    regions = {"whole": (1, 2, 3), "core": (2, 3), "rim": 1, "absent": [4, 5]}
    found = compare_label_maps(*blobs, SPACING, regions, NAMES)
    assert list(found) == list(regions)
    for name, values in (("whole", (1, 2, 3)), ("core", (2, 3)), ("rim", (1,))):
        masks = [np.isin(m, values) for m in (prediction, reference)]
        assert found[name] == pytest.approx(compare_masks(*masks, SPACING, NAMES), rel=1e-12)
    assert math.isnan(found["absent"]["dice"])


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.float32])
def test_wide_types(blobs, dtype):
    expected = compare_label_maps(*blobs, SPACING, metrics=NAMES)
    wide = [m.astype(dtype) for m in blobs]
    assert compare_label_maps(*wide, SPACING, metrics=NAMES) == expected


def test_labels_above_a_byte(blobs):
    expected = compare_label_maps(*blobs, SPACING, metrics=NAMES)
    table = np.array([0, 300, 70_000, 12], dtype=np.int64)
    found = compare_label_maps(*(table[m] for m in blobs), SPACING, metrics=NAMES)
    assert {300: found[300], 70_000: found[70_000], 12: found[12]} == {
        300: expected[1], 70_000: expected[2], 12: expected[3],
    }  # fmt: skip
    region = compare_label_maps(*(table[m] for m in blobs), SPACING, {"all": (300, 70_000, 12)}, ["dice"])
    assert region["all"] == compare_label_maps(*blobs, SPACING, {"all": (1, 2, 3)}, ["dice"])["all"]


def test_more_labels_than_a_byte_holds():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 700, (20, 20, 20))
    prediction = np.where(rng.random(reference.shape) < 0.8, reference, 0)
    found = compare_label_maps(prediction, reference, SPACING, metrics=["dice", "recall"])
    assert list(found) == list(range(1, 700))
    for label in (1, 255, 256, 699):
        assert found[label] == compare_masks(
            prediction == label, reference == label, SPACING, ["dice", "recall"]
        )
    with pytest.raises(MetricError, match="at most 255 can be joined"):
        compare_label_maps(prediction, reference, SPACING, {"all": range(1, 700)})


def test_threads_change_nothing(blobs, kernel_path, monkeypatch):
    monkeypatch.setattr(compare, "WORTH_THREADS", 0)
    one = compare_label_maps(*blobs, SPACING, metrics=NAMES, threads=1)
    for threads in (2, 3, 64, None):
        assert compare_label_maps(*blobs, SPACING, metrics=NAMES, threads=threads) == one


def test_pairs_know_the_image(blobs):
    grid = Grid((100, 100, 100), SPACING)
    pairs = mask_pairs(*blobs, SPACING, {"a": 1, "b": 2}, grid=grid)
    assert list(pairs) == ["a", "b"]
    for name, pair in pairs.items():
        assert pair.structure == name
        assert sum(pair.counts) == 10**6
        where = tuple(slice(o, o + n) for o, n in zip(pair.origin, pair.shape, strict=True))
        assert np.array_equal(pair.reference, blobs[1][where] == {"a": 1, "b": 2}[name])
        assert pair.reference.sum() == (blobs[1] == {"a": 1, "b": 2}[name]).sum()


def test_generalised_dice(blobs):
    pairs = mask_pairs(*blobs, SPACING)
    counts = {label: pair.counts for label, pair in pairs.items()}
    uniform = generalised_dice(counts, "uniform")
    prediction, reference = blobs
    agree = ((prediction == reference) & (reference > 0)).sum()
    assert uniform == pytest.approx(2 * agree / ((prediction > 0).sum() + (reference > 0).sum()))
    assert 0 < generalised_dice(counts) < 1
    assert generalised_dice({1: counts[1]}) == pytest.approx(
        compare_masks(prediction == 1, reference == 1, SPACING)["dice"]
    )


def test_two_dimensions(blobs, kernel_path):
    flat = [m[12] for m in blobs]
    found = compare_label_maps(*flat, SPACING[1:], metrics=["hd95", "nsd@1mm", "hd95:surfel"])
    for label, values in found.items():
        masks = [m == label for m in flat]
        assert values == pytest.approx(compare_masks(*masks, SPACING[1:], list(values)), rel=1e-12)


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.uint64, np.float32, np.float64]
)
def test_narrowing(dtype, kernel_path):
    """Bytes when every label is a whole number in [0, 255], else nothing; in any memory order."""
    top = min(255, np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 255)
    labels = np.arange(20_000).reshape(20, 50, 20).astype(np.int64) % (top + 1)
    for array in (
        labels.astype(dtype),
        np.asfortranarray(labels.astype(dtype)),
        labels.astype(dtype)[::-1, ::2],
    ):
        found = kernels.narrow(array)
        assert found.dtype == np.uint8
        assert np.array_equal(found, array)
    wrong = {np.int8: [-1], np.uint16: [256, 65535], np.uint32: [256], np.uint64: [2**63]}
    floats = [256, -1, 0.5, np.nan, np.inf, -np.inf, 1e30]
    for value in wrong.get(dtype, floats if np.issubdtype(dtype, np.floating) else [256, -1]):
        array = labels.astype(dtype)
        array[-1, -1, -1] = value
        assert kernels.narrow(array) is None
