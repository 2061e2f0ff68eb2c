"""panoptica's detection and panoptic values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medeval.metrics import MaskPair, compare_masks
from medeval.metrics.matching import components, match, overlaps
from tests.parity.segmentation.cases import instance_maps, load, masks

SETTINGS = {
    "naive_iou": ("greedy", "iou"),
    "naive_dsc": ("greedy", "dice"),
    "bipartite_iou": ("hungarian", "iou"),
    "naive_many_iou": ("many", "iou"),
    "naive_many_to_one_iou": ("many", "iou"),
}


def check(prediction, reference, spacing, setting, expected):
    name, _, threshold = setting.rpartition("_")
    matcher, score = SETTINGS[name]
    found = match(overlaps(prediction, reference), float(threshold), matcher, score)
    # Predictions that were joined count as one instance, as in panoptica.
    joined = sum(len(group) - 1 for group in found.groups.values())
    assert (found.tp, found.fp, found.fn) == (expected["tp"], expected["fp"], expected["fn"])
    assert found.n_reference == expected["n_ref_instances"]
    assert found.n_prediction - joined == expected["n_pred_instances"]
    if not found.n_reference and not found.n_prediction:
        assert expected["pq"] == "nan"
        return
    quality = found.tp / (found.tp + found.fp / 2 + found.fn / 2)
    assert quality == pytest.approx(expected["rq"], rel=1e-6)
    if not found.tp:
        assert expected["sq"] == expected["pq"] == 0.0  # ours: 0 too
        return
    for values, suffix in ((found.iou, ""), (found.dice, "_dsc")):
        assert np.mean(values) == pytest.approx(expected[f"sq{suffix}"], rel=1e-6)
        assert np.std(values) == pytest.approx(expected[f"sq{suffix}_std"], rel=1e-6, abs=1e-9)
        assert quality * np.mean(values) == pytest.approx(expected[f"pq{suffix}"], rel=1e-6)
    pairs = matched_masks(prediction, reference, found, spacing)
    distances = [compare_masks(*pair, ["masd", "rvd"]) for pair in pairs]
    assert np.mean([d["masd"] for d in distances]) == pytest.approx(expected["sq_assd"], rel=1e-6, abs=1e-9)
    assert np.mean([d["rvd"] for d in distances]) == pytest.approx(expected["sq_rvd"], rel=1e-6, abs=1e-9)


def matched_masks(prediction, reference, found, spacing):
    pred_ids, ref_ids = (np.unique(m[m > 0]) for m in (prediction, reference))
    for row, columns in found.groups.items():
        yield np.isin(prediction, pred_ids[list(columns)]), reference == ref_ids[row], spacing


@pytest.mark.parametrize("case", load("panoptic_small")["cases"])
def test_semantic_masks(case):
    """3D components are 26-connected in panoptica (cc3d), as ours by default."""
    prediction, reference, spacing = masks(case)
    maps = components(prediction > 0), components(reference > 0)
    for setting, expected in load("panoptic_small")["cases"][case].items():
        check(*maps, spacing, setting, expected)


@pytest.mark.parametrize("case", load("instances")["cases"])
def test_instance_maps(case):
    settings = dict(load("instances")["cases"][case])
    spacing = settings.pop("spacing")
    for setting, expected in settings.items():
        check(*instance_maps(case), spacing, setting, expected)


@pytest.mark.parametrize("case", load("panoptic_small")["cases"])
def test_registered_metrics(case):
    values = load("panoptic_small")["cases"][case]
    names = {
        "pq": ("naive_iou_0.5", "pq"),
        "sq": ("naive_iou_0.5", "sq"),
        "rq": ("naive_iou_0.5", "rq"),
        "lesion_f1": ("naive_iou_0.5", "rq"),
        "lesion_recall": ("naive_iou_0.5", "rec"),
        "lesion_precision": ("naive_iou_0.5", "prec"),
        "pq:dice": ("naive_iou_0.5", "pq_dsc"),
        "pq@0.1:hungarian": ("bipartite_iou_0.1", "pq"),
        "sq@0.1:many": ("naive_many_to_one_iou_0.1", "sq"),
    }
    prediction, reference, spacing = masks(case)
    ours = compare_masks(prediction, reference, spacing, names)
    pair = MaskPair(prediction, reference, spacing)
    for name, (setting, key) in names.items():
        expected = values[setting].get(key)
        if pair.empty == "both empty":
            assert math.isnan(ours[name])
        elif pair.empty or expected is None:
            assert ours[name] == 0.0
        else:
            assert ours[name] == pytest.approx(expected, rel=1e-6), name
