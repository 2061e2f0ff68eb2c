"""What may come in, what may not, and that the message names the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medeval.metrics import MaskPair, compare_label_maps, compare_masks, kernels, mask_pairs
from medeval.types import MetricError

NAMES = ["dice", "hd", "hd95", "assd", "nsd@1mm", "nsd@1mm:voxel"]


def mask(shape=(8, 9, 10), dtype=np.uint8, at=slice(2, 6)):
    array = np.zeros(shape, dtype)
    array[(at,) * len(shape)] = 1
    return array


def test_shapes_differ():
    with pytest.raises(
        MetricError, match=r"prediction has shape \(8, 9, 10\), but reference has shape \(8, 9, 9\)"
    ):
        compare_masks(mask(), mask((8, 9, 9)), (1, 1, 1))
    with pytest.raises(MetricError, match="prediction has shape"):
        compare_label_maps(mask(), mask((8, 9)), (1, 1, 1))


@pytest.mark.parametrize(
    ("spacing", "message"),
    [
        ((1, 1), "spacing has 2 values, but the masks have 3 axes"),
        ((1, 1, 0), "spacing must be positive"),
        ((1, -1, 1), "spacing must be positive"),
        ((1, math.nan, 1), "spacing must be positive"),
        ((1, math.inf, 1), "spacing must be positive"),
        (None, "spacing must be 3 numbers"),
        ("abc", "spacing must be 3 numbers"),
        (1.0, "spacing must be 3 numbers"),
    ],
)
def test_spacing(spacing, message):
    for compare in (compare_masks, compare_label_maps):
        with pytest.raises(MetricError, match=message):
            compare(mask(), mask(), spacing)


def test_labels_must_be_whole_and_not_negative():
    with pytest.raises(MetricError, match="reference must hold whole numbers"):
        compare_label_maps(mask(), mask() * 0.5, (1, 1, 1))
    with pytest.raises(MetricError, match="prediction holds the negative label -1"):
        compare_label_maps(mask(dtype=np.int16) - 1, mask(), (1, 1, 1))
    with pytest.raises(MetricError, match="labels: 'liver' must be a label"):
        compare_label_maps(mask(), mask(), (1, 1, 1), {"liver": "five"})
    with pytest.raises(MetricError, match="labels: 0 needs labels above 0"):
        compare_label_maps(mask(), mask(), (1, 1, 1), [0])


def test_nan_and_values_that_are_no_mask(kernel_path):
    broken = mask(dtype=np.float64)
    broken[0, 0, 0] = np.nan
    with pytest.raises(MetricError, match="prediction holds NaN"):
        compare_masks(broken, mask(), (1, 1, 1))
    with pytest.raises(MetricError, match="reference holds NaN"):
        compare_label_maps(mask(), broken, (1, 1, 1))
    for dtype in (np.uint8, np.int32, np.float32):
        with pytest.raises(MetricError, match="reference is no mask: it holds 2 beside 0 and 1"):
            compare_masks(mask(), 2 * mask(dtype=dtype), (1, 1, 1))
    with pytest.raises(MetricError, match="prediction is no mask: it holds 255"):
        compare_masks(255 * mask(), mask(), (1, 1, 1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4, 5)), "prediction must be 2D or 3D"),
        (np.zeros(5), "prediction must be 2D or 3D"),
        (np.zeros((0, 4, 4)), "prediction has no voxel"),
        (np.array([["a", "b"]]), "prediction must hold booleans"),
        (np.zeros((3, 3), complex), "prediction must hold booleans"),
        (None, "prediction must hold booleans"),
    ],
)
def test_what_is_no_mask_at_all(array, message):
    with pytest.raises(MetricError, match=message):
        compare_masks(array, mask(), (1, 1, 1))


def test_one_mask_empty(kernel_path):
    empty = np.zeros_like(mask())
    spacing = (1.0, 2.0, 0.5)
    diagonal = math.sqrt(8**2 + 18**2 + 5**2)
    for pair in ((empty, mask()), (mask(), empty)):
        values = compare_masks(*pair, spacing, NAMES)
        assert values == pytest.approx(
            {"dice": 0, "hd": diagonal, "hd95": diagonal, "assd": diagonal, "nsd@1mm": 0, "nsd@1mm:voxel": 0}
        )


def test_both_masks_empty(kernel_path):
    empty = np.zeros_like(mask())
    assert all(math.isnan(v) for v in compare_masks(empty, empty, (1, 1, 1), NAMES).values())
    assert compare_masks(empty, empty, (1, 1, 1), ["dice:empty=1", "iou:empty=1"]) == {
        "dice:empty=1": 1,
        "iou:empty=1": 1,
    }
    with pytest.raises(MetricError, match="both empty"):
        MaskPair(empty, empty, (1, 1, 1)).surface("voxel")


def test_masks_that_touch_the_border(kernel_path):
    """Outside the image is background: a mask that fills the image has a border."""
    full = np.ones((5, 6, 7), np.uint8)
    values = compare_masks(full, full, (1, 1, 1), NAMES)
    assert values == {"dice": 1, "hd": 0, "hd95": 0, "assd": 0, "nsd@1mm": 1, "nsd@1mm:voxel": 1}
    inner = np.pad(np.ones((3, 4, 5), np.uint8), 1)
    assert compare_masks(full, inner, (1, 1, 1), ["hd"])["hd"] == pytest.approx(math.sqrt(3))


def test_single_voxels(kernel_path):
    one, two = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    one[1, 1, 1], two[4, 5, 1] = True, True
    values = compare_masks(one, two, (1, 1, 1), [*NAMES, "hd:surfel"])
    assert values["hd"] == values["hd95"] == values["assd"] == values["hd:surfel"] == 5.0
    pair = MaskPair(one, two, (1, 1, 1))
    assert [d.total for d in pair.surface("voxel").directions] == [1, 1]
    assert pair.surface("surfel").to_reference.total == pytest.approx(8 * math.sqrt(3) / 8)


def test_one_voxel_thick(kernel_path):
    plate, moved = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    plate[4, 1:8, 1:8], moved[6, 1:8, 1:8] = True, True
    values = compare_masks(plate, moved, (2.0, 1, 1), NAMES)
    assert (values["hd"], values["assd"], values["nsd@1mm:voxel"]) == (4.0, 4.0, 0.0)
    image = np.ones((1, 5, 6), bool)  # one slice of a volume
    assert compare_masks(image, image, (5, 1, 1), NAMES)["nsd@1mm"] == 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int64, np.float32, np.float64])
def test_kinds_of_masks(dtype, kernel_path):
    expected = compare_masks(mask(), mask(at=slice(3, 8)), (1, 2, 3), NAMES)
    assert compare_masks(mask(dtype=dtype), mask(at=slice(3, 8)), (1, 2, 3), NAMES) == expected
    labels = compare_label_maps(mask(dtype=dtype), mask(at=slice(3, 8)), (1, 2, 3), metrics=NAMES)
    assert labels == {1: pytest.approx(expected)}


def test_memory_orders(blobs, kernel_path):
    """Fortran order, flipped and strided views, read-only arrays: the same values, bit for bit."""
    prediction, reference = blobs
    spacing = (0.8, 0.7, 2.5)
    expected = compare_label_maps(prediction, reference, spacing, metrics=NAMES, threads=1)
    frozen = [m.copy() for m in blobs]
    for array in frozen:
        array.setflags(write=False)
    orders = [
        frozen,
        [np.asfortranarray(m) for m in blobs],
        [np.flip(np.flip(m).copy()) for m in blobs],
        [np.flip(m.transpose(1, 2, 0), 0).copy()[::-1].transpose(2, 0, 1) for m in blobs],
        [np.repeat(m, 2, axis=2)[:, :, ::2] for m in blobs],
        [np.repeat(m, 3, axis=0)[::3] for m in blobs],
        [prediction, np.asfortranarray(reference)],
    ]
    for these in orders:
        ours = compare_label_maps(*these, spacing, metrics=NAMES, threads=1)
        for label, values in ours.items():
            assert values == pytest.approx(expected[label], rel=1e-13), label


def test_more_than_two_billion_voxels():
    """Counts and positions need more than 32 bits. Untouched pages of zeros cost no memory."""
    if kernels.path() != "c":
        pytest.skip("the numpy path needs gigabytes for this")
    shape = (2100, 1024, 1024)
    maps = [np.zeros(shape, np.uint8) for _ in range(2)]
    maps[0][2090:2095, 1000:1010, 1000:1010] = 1
    maps[1][2091:2096, 1000:1010, 1000:1010] = 1
    pair = MaskPair(*maps, (1, 1, 1))
    assert pair.counts == (400, 100, 100, math.prod(shape) - 600)
    assert pair.box.tolist() == [[2090, 1000, 1000], [2096, 1010, 1010]]
    assert pair.surface("voxel").to_reference.highest == 1.0
    assert sum(mask_pairs(*maps, (1, 1, 1))[1].counts) == math.prod(shape)


def test_ignored_voxels(blobs, kernel_path):
    prediction, reference = blobs
    ignore = np.zeros(prediction.shape, bool)
    ignore[:8] = True
    names = [*NAMES, "specificity"]
    ours = compare_label_maps(prediction, reference, (1, 1, 2), metrics=names, ignore=ignore)
    cut = compare_label_maps(prediction[8:], reference[8:], (1, 1, 2), metrics=names)
    for label, values in ours.items():
        assert values == pytest.approx(cut[label], rel=1e-12)
        again = compare_masks(prediction == label, reference == label, (1, 1, 2), names, ignore=ignore)
        assert again == pytest.approx(values, rel=1e-12)
    with pytest.raises(MetricError, match="ignore has shape"):
        compare_masks(mask(), mask(), (1, 1, 1), ignore=ignore)


def test_probabilities():
    with pytest.raises(MetricError, match="probabilities have shape"):
        MaskPair(mask(), mask(), (1, 1, 1), probabilities=np.zeros((2, 2, 2)))
    for bad in (np.full(mask().shape, 1.5), np.full(mask().shape, np.nan)):
        with pytest.raises(MetricError, match=r"probabilities must lie in \[0, 1\]"):
            MaskPair(mask(), mask(), (1, 1, 1), probabilities=bad)


def test_metric_names():
    for wrong, message in {
        "dise": "unknown metric 'dise'; did you mean 'dice'",
        "hd101": "a percentile lies between 0 and 100",
        "nsd@2": "'2' is no number followed by 'mm'",
        "nsd@-1mm": "is no number",
        "nsd@nowhere": "no tolerance table 'nowhere'",
        "hd95:surfle": "unknown option 'surfle'; did you mean 'surfel'",
        "hd95:surfel:voxel": "contradicts",
        "betti_error:odd": "unknown option",
        "pq@1.5": "threshold lies in",
        "pq:7-connected": "unknown option",
        "rq:dice": "is for pq and sq",
        "ece@x": "no number of bins",
        "noc@90": "takes a ClickCurve, not masks",
        "betti_error@5": "dimension is 0",
    }.items():
        with pytest.raises(MetricError, match=message):
            compare_masks(mask(), mask(), (1, 1, 1), [wrong])
    with pytest.raises(MetricError, match="must be a list of names"):
        compare_masks(mask(), mask(), (1, 1, 1), "dice")
    with pytest.raises(MetricError, match="surface must be"):
        compare_masks(mask(), mask(), (1, 1, 1), ["hd"], surface="mesh")
    with pytest.raises(MetricError, match="threads must be at least 1"):
        compare_label_maps(mask(), mask(), (1, 1, 1), threads=0)
    with pytest.raises(MetricError, match="connectivity must be one of"):
        compare_masks(mask()[3], mask()[3], (1, 1), ["pq:26-connected"])
