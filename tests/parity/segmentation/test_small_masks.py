"""Every peer's value on the small masks, by the definition that we name after it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medeval.metrics import compare_masks, kernels
from tests.parity.segmentation.cases import finite, load, masks
from tests.parity.segmentation.names import OVERLAP, SURFACE, surface_dice

CASES = load("masks_small")["cases"]
NAMES = OVERLAP + SURFACE + [row for t in load("masks_small")["tolerances_mm"] for row in surface_dice(t)]
FULL = [case for case in CASES if not case.endswith("empty")]
EMPTY = [case for case in CASES if case.endswith("empty")]


@pytest.fixture(params=["c", "python"], autouse=True)
def _path(request):
    before = kernels.path()
    try:
        kernels.use(request.param)
    except ImportError:
        pytest.skip("the C extension is not built")
    yield
    kernels.use(before)


@pytest.mark.parametrize("case", FULL)
def test_peers(case):
    prediction, reference, spacing = masks(case)
    ours = compare_masks(prediction, reference, spacing, {name for name, *_ in NAMES})
    checked = 0
    for name, peer, key, tolerance in NAMES:
        expected = finite(CASES[case]["values"].get(peer, {}).get(key))
        if expected is None:
            continue
        assert ours[name] == pytest.approx(expected, rel=tolerance, abs=1e-9), (name, peer, key)
        checked += 1
    assert checked >= 55


@pytest.mark.parametrize("case", FULL)
def test_areas_and_directed_averages(case):
    """surface-distance's two averages and two overlaps are both directions of our table."""
    from medeval.metrics import MaskPair

    values = CASES[case]["values"]["surface_distance"]
    pair = MaskPair(*masks(case)[:2], masks(case)[2])
    to_reference, to_prediction = pair.surface("surfel").directions
    assert to_prediction.total == pytest.approx(values["surface_area_gt"], rel=1e-6)
    assert to_reference.total == pytest.approx(values["surface_area_pred"], rel=1e-6)
    assert to_prediction.mean == pytest.approx(
        values["average_surface_distance_gt_to_pred"], rel=1e-6, abs=1e-9
    )
    assert to_reference.mean == pytest.approx(
        values["average_surface_distance_pred_to_gt"], rel=1e-6, abs=1e-9
    )
    for t in (0, 1, 2, 3, 5):
        overlap = values[f"surface_overlap_{t}"]
        assert to_prediction.within(t) / to_prediction.total == pytest.approx(overlap[0], rel=1e-6, abs=1e-9)
        assert to_reference.within(t) / to_reference.total == pytest.approx(overlap[1], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("case", EMPTY)
def test_empties_by_our_rule(case):
    """Undefined when both are empty, the stated worst when one is: peers say nan, inf, 0, 1 or raise."""
    prediction, reference, spacing = masks(case)
    ours = compare_masks(prediction, reference, spacing, {name for name, *_ in NAMES})
    diagonal = float(np.linalg.norm(np.array(reference.shape) * spacing))
    for name, value in ours.items():
        if "both" in case:
            assert math.isnan(value), name
        elif name.startswith(("hd", "assd", "masd", "asd")):
            assert value == pytest.approx(diagonal), name
        elif name.startswith("rvd"):
            wanted = {"rvd": -1.0, "rvd:absolute": 1.0}[name]
            assert math.isnan(value) if "ref" in case else value == wanted, name
        elif name == "recall" and "ref" in case:
            assert math.isnan(value)
        else:
            assert value == 0.0, name


def test_where_peers_differ_on_empty_masks():
    """The differences that our rule settles, each stated by its peer's own value."""
    both, prediction, reference = (CASES[f"3d_{which}_empty"]["values"] for which in ("both", "pred", "ref"))
    assert both["surface_distance"]["dice"] == "nan"  # ours too
    assert (both["medpy"]["dc"], both["metrics_reloaded"]["nsd_1"]) == (1.0, 1)  # ours: undefined
    assert both["metrics_reloaded"]["hd"] == 0
    assert prediction["surface_distance"]["hausdorff_95"] == "inf"  # ours: the image's diagonal
    assert prediction["monai"]["hd95"] == "nan"
    assert prediction["seg_metrics_fully_connected"]["hd95"] == 0  # the best value for an empty prediction
    assert "error" in prediction["medpy"]["hd"]
    assert reference["monai"]["dice"] == "nan"  # drops a false positive; ours: 0


@pytest.mark.parametrize("case", FULL)
def test_volume_similarity_is_the_unsigned_one(case):
    values = CASES[case]["values"]
    ours = compare_masks(*masks(case), ["volume_similarity"])["volume_similarity"]
    for peer, key in (("seg_metrics_fully_connected", "vs"), ("simpleitk", "volume_similarity_signed")):
        signed = finite(values[peer].get(key))
        if case == "3d_full_vs_full" and peer.startswith("seg_metrics"):
            assert signed == 1.0  # its answer for two masks that fill the image; its own formula gives 0
            continue
        if signed is not None:  # 2 (|B|-|A|) / (|A|+|B|), another quantity of the same name
            assert ours == pytest.approx(1.0 - abs(signed) / 2.0, rel=1e-6)
