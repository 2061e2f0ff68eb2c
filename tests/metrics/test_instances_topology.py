"""Matching rules where they differ, Betti numbers of known shapes, and probabilities by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics import calibration, compare_masks
from medeval.metrics.clicks import ClickCurve, area_under_clicks, failed_to_reach, number_of_clicks
from medeval.metrics.matching import components, match, overlaps
from medeval.metrics.topology import betti_numbers
from medeval.types import MetricError


def test_betti_numbers_of_known_shapes():
    ball = np.zeros((9, 9, 9), bool)
    ball[2:7, 2:7, 2:7] = True
    assert betti_numbers(ball) == (1, 0, 0)
    hollow = ball.copy()
    hollow[4, 4, 4] = False
    assert betti_numbers(hollow) == (1, 0, 1)
    ring = ball.copy()
    ring[:, 4, 4] = False
    assert betti_numbers(ring) == (1, 1, 0)
    two = ball.copy()
    two[0, 0, 0] = True
    assert betti_numbers(two) == (2, 0, 0)
    assert betti_numbers(ring[4]) == (1, 1)
    values = compare_masks(hollow, two, (1, 1, 1), ["betti_error", "betti_error@0", "betti_error@1"])
    assert list(values.values()) == [2.0, 1.0, 0.0]


def test_connectivity():
    corner = np.zeros((6, 6, 6), bool)
    corner[1:3, 1:3, 1:3] = corner[3:5, 3:5, 3:5] = True
    assert [components(corner, n).max() for n in (0, 26, 18, 6)] == [1, 1, 2, 2]
    assert [components(corner[:, :, 2] | np.eye(6, dtype=bool), n).max() for n in (0, 4)] == [1, 5]


def test_matchers_differ_below_one_half():
    reference = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 0]])
    prediction = np.array([[0, 0, 1, 1, 1, 1, 1, 0, 2, 2]])
    found = overlaps(prediction, reference)
    greedy = match(found, 0.1)
    assert (greedy.tp, greedy.fp, greedy.fn) == (1, 1, 1)
    assert greedy.groups == {1: (0,)}
    assert match(found, 0.5).tp == 1
    assert match(found, 0.51).tp == 0
    assert match(overlaps(reference, reference), 0.5, "hungarian").iou == (1.0, 1.0)


def test_any_voxel_rule():
    reference, prediction = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    reference[1:6, 1:6] = reference[8:11, 8:11] = True
    prediction[5, 5] = True
    values = compare_masks(
        prediction, reference, (1, 1), ["lesion_recall", "lesion_recall:any", "lesion_precision:any"]
    )
    assert list(values.values()) == [0.0, 0.5, 1.0]


def test_probabilities_by_hand():
    p, y = np.array([0.05, 0.15, 0.95, 0.85]), np.array([0, 1, 1, 1])
    assert calibration.expected_calibration_error(p, y) == pytest.approx((0.05 + 0.85 + 0.05 + 0.15) / 4)
    assert calibration.auroc(p, y) == 1.0
    assert calibration.auroc(np.full(4, 0.5), y) == 0.5
    assert np.isnan(calibration.auroc(p, np.ones(4)))
    assert calibration.brier_score(p, y) == pytest.approx(2 * np.mean((p - y) ** 2))
    assert calibration.soft_dice(p, y) == pytest.approx(2 * 1.95 / (2.0 + 3))


def test_box_of_the_masks():
    """Background far away changes the whole-image value, and not the box's."""
    mask = np.zeros((20, 20), bool)
    mask[8:12, 8:12] = True
    p = np.where(mask, 0.8, 0.1)
    wide = np.pad(mask, 50), np.pad(p, 50, constant_values=0.1)
    near = compare_masks(mask, mask, (1, 1), ["ece", "ece:box"], probabilities=p)
    far = compare_masks(wide[0], wide[0], (1, 1), ["ece", "ece:box"], probabilities=wide[1])
    assert near["ece:box"] == pytest.approx(far["ece:box"])
    assert near["ece"] != pytest.approx(far["ece"])
    assert all(np.isnan(v) for v in compare_masks(mask, mask, (1, 1), ["ece"]).values())


def test_clicks_at_the_limit():
    curve = [0.1, 0.5, 0.9]
    assert number_of_clicks(curve, 0.9, limit=3) == 3
    assert not failed_to_reach(curve, 0.9, limit=3)
    assert failed_to_reach(curve, 0.9, limit=3, ritm=True)
    assert number_of_clicks(curve, 0.95, limit=20) == 20
    assert area_under_clicks(curve, normalised=False) == pytest.approx(1.0)
    assert area_under_clicks([0.4]) == 0.4
    with pytest.raises(MetricError, match="scores must lie"):
        ClickCurve((1.2,))
