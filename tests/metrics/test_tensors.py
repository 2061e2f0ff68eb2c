"""Torch tensors. The path of CUDA tensors is run on the CPU here, by saying that CPU tensors are on a device."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics import MaskPair, compare_label_maps, compare_masks, mask_pairs, tensors
from medeval.types import MetricError

torch = pytest.importorskip("torch")
NAMES = ["dice", "specificity", "hd95", "nsd@1mm", "assd", "pq", "boundary_iou"]
SPACING = (1.0, 1.5, 2.0)


@pytest.fixture(params=["host", "device"])
def where(request, monkeypatch):
    if request.param == "device":
        monkeypatch.setattr(
            tensors, "on_device", lambda *arrays: all(isinstance(a, torch.Tensor) for a in arrays)
        )
    return request.param


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float32"])
def test_as_numpy(blobs, dtype, where):
    maps = [torch.from_numpy(m) for m in blobs]
    masks = [(m == 1).to(getattr(torch, dtype)) for m in maps]
    expected = compare_masks(*(m == 1 for m in blobs), SPACING, NAMES)
    assert compare_masks(*masks, SPACING, NAMES) == pytest.approx(expected, rel=1e-12)
    if dtype != "bool":
        labels = compare_label_maps(*(m.to(getattr(torch, dtype)) for m in maps), SPACING, metrics=NAMES)
        for label, values in compare_label_maps(*blobs, SPACING, metrics=NAMES).items():
            assert labels[label] == pytest.approx(values, rel=1e-12)


def test_origin_and_empties(blobs, where):
    masks = [torch.from_numpy(m == 3) for m in blobs]
    pair = MaskPair(*masks, SPACING)
    crop = tuple(slice(o, o + n) for o, n in zip(pair.origin, pair.shape, strict=True))
    assert np.array_equal(pair.reference, (blobs[1] == 3)[crop])
    pairs = mask_pairs(*(torch.from_numpy(m) for m in blobs), SPACING)
    crop = tuple(slice(o, o + n) for o, n in zip(pairs[3].origin, pairs[3].shape, strict=True))
    assert np.array_equal(pairs[3].reference, (blobs[1] == 3)[crop])
    empty = torch.zeros_like(masks[0])
    assert np.isnan(list(compare_masks(empty, empty, SPACING, ["dice", "hd95"]).values())).all()
    assert compare_masks(empty, masks[1], SPACING, ["hd95"])["hd95"] == pytest.approx(pair.grid.diagonal)
    assert compare_label_maps(empty.byte(), empty.byte(), SPACING) == {}


def test_bad_tensors(blobs, where):
    mask = torch.from_numpy((blobs[0] == 1).astype(np.float32))
    for bad, message in (
        (mask[:-1], "prediction has shape"),
        (mask * float("nan"), "prediction holds NaN"),
        (2 * mask, "prediction is no mask"),
        (mask[None], "prediction must be 2D or 3D"),
        (mask[:0], "prediction has no voxel"),
        (mask * 1j, "prediction must hold"),
    ):
        with pytest.raises(MetricError, match=message):
            compare_masks(bad, mask, SPACING)
    with pytest.raises(MetricError, match="negative label"):
        compare_label_maps(-mask, mask, SPACING)
    with pytest.raises(MetricError, match="whole numbers"):
        compare_label_maps(0.5 * mask, mask, SPACING)
