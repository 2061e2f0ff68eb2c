"""Boundary IoU, clDice and autoPET volumes on the small masks."""

from __future__ import annotations

import math

import pytest
import skimage

from medeval.metrics import compare_masks
from tests.parity.segmentation.cases import finite, load, masks

CASES = load("masks_small")["cases"]
VOLUMES = load("autopet_volumes")["cases"]


@pytest.mark.parametrize("case", CASES)
def test_boundary_iou(case):
    values = CASES[case]["values"]
    names = {
        "boundary_iou@1px": ("metrics_reloaded", "boundary_iou_dist1"),
        "boundary_iou@3px": ("metrics_reloaded", "boundary_iou_dist3"),
        "boundary_iou": ("boundary_iou_api_ratio_0.02", "boundary_iou"),
        "boundary_iou@0.1": ("boundary_iou_api_ratio_0.1", "boundary_iou"),
    }
    ours = compare_masks(*masks(case), names)
    for name, (peer, key) in names.items():
        expected = finite(values.get(peer, {}).get(key))
        if case.endswith("both_empty"):
            assert math.isnan(ours[name])  # the peers: 1 or nan
        elif expected is not None:
            assert ours[name] == pytest.approx(expected, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("case", CASES)
def test_cldice(case):
    if not skimage.__version__.startswith("0.26"):
        pytest.skip("skeletons change with scikit-image; the fixtures are those of 0.26")
    ours = compare_masks(*masks(case), ["cldice"])["cldice"]
    values = [
        finite(CASES[case]["values"][peer].get(key))
        for peer, key in (("metrics_reloaded", "cldice"), ("panoptica_binary", "clDSC"))
    ]
    if case.endswith("both_empty"):
        assert math.isnan(ours)
    elif case.endswith("empty"):
        assert ours == 0.0
    elif case in (
        "3d_plates_one_slice",
        "3d_corner_touching",
    ):  # scikit-image finds no skeleton at all: 0/0 for all
        assert values == [None, None]
        assert math.isnan(ours)
    elif None in values:  # 0/0 of disjoint skeletons is nan for the peers, 0 for us
        assert ours == 0.0
    else:
        assert ours == pytest.approx(values[0], rel=1e-6)
        assert ours == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize("case", VOLUMES)
def test_autopet_volumes(case):
    ours = compare_masks(*masks(case), ["fpv_ml", "fnv_ml"])
    for name, value in ours.items():
        expected = VOLUMES[case][name]
        if expected == "nan":
            assert math.isnan(value)
        else:
            assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)
