"""Calibration (MetricsReloaded) and click curves (RITM, autoPET IV)."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics import calibration, clicks, compare_masks, get_metric
from tests.parity.segmentation.cases import load

BINARY, MULTICLASS = load("calibration")["binary"], load("calibration")["multiclass"]
CURVES = load("interactive")


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_binary_calibration(bins):
    p, y = np.array(BINARY["probability"]), np.array(BINARY["label"])
    expected = BINARY[f"bins_{bins}"]
    assert calibration.expected_calibration_error(p, y, bins) == pytest.approx(expected["ece"], rel=1e-6)
    assert calibration.maximum_calibration_error(p, y, bins) == pytest.approx(expected["mce"], rel=1e-6)
    assert calibration.classwise_calibration_error(p, y, bins) == pytest.approx(expected["cwece"], rel=1e-6)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_multiclass_calibration(bins):
    p, y = np.array(MULTICLASS["probability"]), np.array(MULTICLASS["label"])
    expected = MULTICLASS[f"bins_{bins}"]["cwece"]
    assert calibration.classwise_calibration_error(p, y, bins) == pytest.approx(expected, rel=1e-6)
    top = MULTICLASS["top_label_ece_by_definition"][f"bins_{bins}"]
    assert calibration.top_label_calibration_error(p, y, bins) == pytest.approx(top, rel=1e-6)


@pytest.mark.parametrize("data", [BINARY, MULTICLASS], ids=["binary", "multiclass"])
def test_proper_scores(data):
    p, y = np.array(data["probability"]), np.array(data["label"])
    assert calibration.brier_score(p, y) == pytest.approx(data["brier"], rel=1e-6)
    assert calibration.negative_log_likelihood(p, y) == pytest.approx(data["nll"], rel=1e-6)


def test_over_voxels():
    """The registered metrics are the same functions over the voxels of a pair."""
    p, y = np.array(BINARY["probability"]).reshape(20, -1), np.array(BINARY["label"]).reshape(20, -1)
    ours = compare_masks(p > 0.5, y, (1, 1), ["ece", "mce@15", "cwece@5", "brier", "nll"], probabilities=p)
    assert ours["ece"] == pytest.approx(BINARY["bins_10"]["ece"], rel=1e-6)
    assert ours["mce@15"] == pytest.approx(BINARY["bins_15"]["mce"], rel=1e-6)
    assert ours["cwece@5"] == pytest.approx(BINARY["bins_5"]["cwece"], rel=1e-6)
    assert ours["brier"] == pytest.approx(BINARY["brier"], rel=1e-6)
    assert ours["nll"] == pytest.approx(BINARY["nll"], rel=1e-6)


def test_number_of_clicks():
    for quality, mean, over in zip(CURVES["thresholds"], CURVES["noc"], CURVES["over_max"], strict=True):
        counts = [clicks.number_of_clicks(c, quality) for c in CURVES["curves"]]
        assert np.mean(counts) == pytest.approx(mean, rel=1e-6)
        assert sum(clicks.failed_to_reach(c, quality, ritm=True) for c in CURVES["curves"]) == over


def test_areas():
    raw = [clicks.area_under_clicks(c, normalised=False) for c in CURVES["curves"]]
    assert raw == pytest.approx(CURVES["auc_trapezoid"], rel=1e-6)
    own = [
        get_metric("auc_dice").observe(clicks.ClickCurve(tuple(c))).statistic["value"]
        for c in CURVES["curves"]
    ]
    assert own == pytest.approx(CURVES["auc_trapezoid_normalised"], rel=1e-6)
