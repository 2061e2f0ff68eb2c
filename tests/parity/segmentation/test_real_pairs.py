"""The real CT pair and the shifted AMOS labels: every structure, every peer; skipped where the data are not there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medeval.metrics import compare_label_maps
from tests.parity.segmentation.cases import SHARED, finite, load
from tests.parity.segmentation.names import OVERLAP, SURFACE, surface_dice

nibabel = pytest.importorskip("nibabel")


def read(path):
    if not path.exists():
        pytest.skip(f"the real data are not there: ../shared/{path.relative_to(SHARED)}")
    return np.asanyarray(nibabel.load(path).dataobj).astype(np.uint8)


def real_ct():
    folder = SHARED / "data" / "totalsegmentator_example"
    values = load("totalseg_ct")
    prediction = read(folder / values["prediction"].removeprefix("totalsegmentator_example/"))
    return prediction, read(folder / values["reference"].removeprefix("totalsegmentator_example/")), values


def amos():
    reference = read(SHARED / "data" / "amos_toy" / "amos_0013.nii.gz")
    prediction = np.zeros_like(reference)
    prediction[1:, 2:, 3:] = reference[:-1, :-2, :-3]
    return prediction, reference, load("amos_shift")


@pytest.mark.parametrize("pair", [real_ct, amos])
def test_every_structure(pair):
    prediction, reference, values = pair()
    names = OVERLAP + SURFACE + [row for t in values["tolerances_mm"] for row in surface_dice(t)]
    labels = [int(label) for label in values["structures"]]
    bands = {"boundary_iou@1px": "boundary_iou_dist1", "boundary_iou@3px": "boundary_iou_dist3"}
    metrics = [*{name for name, *_ in names}, *bands]
    # The sheet gives the spacing with 10 digits.
    ours = compare_label_maps(prediction, reference, values["spacing_mm"], labels, metrics)
    checked = 0
    for label, entry in values["structures"].items():
        mine = ours[int(label)]
        rows = [*names, *((name, "metrics_reloaded", key, 1e-6) for name, key in bands.items())]
        for name, peer, key, tolerance in rows:
            expected = finite(entry["values"].get(peer, {}).get(key))
            if expected is None or math.isnan(mine[name]) or not entry["values"]["counts"]["n_pred"]:
                continue
            assert mine[name] == pytest.approx(expected, rel=tolerance, abs=1e-9), (label, name, peer, key)
            checked += 1
    assert checked > 40 * len(labels)


def test_one_name_three_numbers():
    """hd95 of the real small bowel: 3 mm over border voxels, 87 mm over surface elements."""
    prediction, reference, values = real_ct()
    bowel = next(int(k) for k, v in values["structures"].items() if v["name"] == "small_bowel")
    metrics = ["hd95", "hd95:pooled", "hd95:surfel", "nsd@3mm", "nsd@3mm:voxel"]
    ours = compare_label_maps(prediction, reference, values["spacing_mm"], [bowel], metrics)[bowel]
    assert (round(ours["hd95"], 1), round(ours["hd95:pooled"], 1)) == (3.0, 3.0)
    assert round(ours["hd95:surfel"], 1) == 87.0
    assert ours["nsd@3mm"] < ours["nsd@3mm:voxel"]  # the exception among the structures


A_EVAL = "nsd@liver=5,kidney right=3,spleen=3,pancreas=5,gallbladder=2,esophagus=2,stomach=2,kidney left=2mm"


def sliced(prediction, reference, label):
    """The A-Eval script's axial rule: from the first to before the last slice that the reference labels."""
    slices = np.flatnonzero((reference == label).any(axis=(0, 1)))
    return (
        (prediction[:, :, slices[0] : slices[-1]], reference[:, :, slices[0] : slices[-1]])
        if slices.size
        else None
    )


@pytest.mark.parametrize("which", ["amos_shift", "amos_shift_edited", "totalseg_ct"])
def test_a_eval_script(which):
    script = load("a_eval_script")
    prediction, reference, values = real_ct() if which == "totalseg_ct" else amos()
    renamed = script[f"label_map_{'totalseg_example' if which == 'totalseg_ct' else 'amos'}_to_common"]
    table = np.zeros(256, np.uint8)
    for old, new in renamed.items():
        table[int(old)] = new
    prediction, reference = table[prediction], table[reference]
    if which.endswith("edited"):
        reference[np.isin(reference, (5, 6))] = 0
        prediction[np.isin(prediction, (4, 6))] = 0
    for number, name in script["classes"].items():
        label = int(number)
        maps = sliced(prediction, reference, label) if label in (5, 6) else (prediction, reference)
        expected = script[which]["dsc_by_class"][number], script[which]["nsd_by_class"][number]
        dice, nsd = math.nan, math.nan
        if maps is not None:
            metrics = ["dice:empty=1", A_EVAL]
            dice, nsd = compare_label_maps(*maps, values["spacing_mm"], {name: label}, metrics)[name].values()
        if math.isnan(nsd):  # absent: the script counts 1 where both are empty, 0 where the reference is
            dice = nsd = 0.0 if (prediction == label).any() else 1.0
        assert (dice, nsd) == (pytest.approx(expected[0], rel=1e-6), pytest.approx(expected[1], rel=1e-6)), (
            name
        )
