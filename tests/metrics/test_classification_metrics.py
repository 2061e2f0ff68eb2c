"""Study metrics against scikit-learn, by hand, and where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval.metrics.classification import ScoredCase, calibration_bins
from medeval.metrics.classification_clinical import at_prevalence, matched_threshold, net_benefit, roc_points
from medeval.metrics.classification_triage import TriagePair, level_of
from medeval.metrics.registry import get_metric
from medeval.types import MetricError

SCORES = np.array([0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2])
LABELS = np.array([1, 1, 0, 1, 0, 1, 0, 0])
RANKING = (
    "case_auroc",
    "case_average_precision",
    "case_ece",
    "case_sensitivity@0.75",
    "case_specificity@0.75",
)
CALLS = ("case_sensitivity", "case_specificity", "case_ppv", "case_npv", "case_accuracy", "case_f1")


def value(
    name: str,
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float = 0.5,
    weights: np.ndarray | None = None,
) -> float:
    metric = get_metric(name)
    found = [
        metric.observe(ScoredCase(float(s), int(y), threshold)).statistic
        for s, y in zip(scores, labels, strict=True)
    ]
    fields = {field: np.array([statistic[field] for statistic in found]) for field in metric.statistic}
    return float(metric.reduce(fields, np.ones((1, len(scores))) if weights is None else weights)[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("case_auroc", 12.5 / 16),  # 16 pairs: 12 in order, one tie at 0.8
        ("case_average_precision", (1 * 1 + 2 / 3 + 3 / 4 + 4 / 6) / 4),
        ("case_sensitivity", 3 / 4), ("case_specificity", 2 / 4), ("case_ppv", 3 / 5), ("case_npv", 2 / 3),
        ("case_accuracy", 5 / 8), ("case_f1", 6 / 9), ("case_sensitivity@0.75", 3 / 4), ("case_specificity@0.75", 3 / 4),
    ],
)  # fmt: skip
def test_by_hand(name: str, expected: float) -> None:
    assert value(name, SCORES, LABELS) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_agreement_with_scikit_learn_also_under_weights(seed: int) -> None:
    peer = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, 40)]
    scores = rng.random(42).round(1)
    weights = np.r_[1, 1, rng.integers(0, 3, 40)].astype(float)
    called = scores >= 0.5
    theirs = {
        "case_auroc": peer.roc_auc_score(labels, scores, sample_weight=weights),
        "case_average_precision": peer.average_precision_score(labels, scores, sample_weight=weights),
        "case_brier": peer.brier_score_loss(labels, scores, sample_weight=weights),
        "case_sensitivity": peer.recall_score(labels, called, sample_weight=weights),
        "case_specificity": peer.recall_score(1 - labels, ~called, sample_weight=weights),
        "case_accuracy": peer.accuracy_score(labels, called, sample_weight=weights),
        "case_f1": peer.f1_score(labels, called, sample_weight=weights),
    }
    for name, expected in theirs.items():
        assert value(name, scores, labels, weights=weights[None]) == pytest.approx(expected), name


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_the_matched_point_is_one_of_scikit_learns_roc(seed: int, specificity: float) -> None:
    peer = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, 60)]
    scores = (labels * 0.3 + rng.random(62)).clip(0, 1).round(2)
    false, true, thresholds = peer.roc_curve(labels, scores, drop_intermediate=False)
    fits = 1 - false >= specificity - 1e-12
    assert value(f"case_sensitivity@{specificity}", scores, labels) == pytest.approx(true[fits].max())
    found = matched_threshold(scores, labels, specificity)
    assert found == pytest.approx(thresholds[fits].min())
    assert ((scores < found) & (labels == 0)).sum() / (labels == 0).sum() >= specificity
    ours = roc_points(scores, labels)
    assert ours[0] == pytest.approx(false)
    assert ours[1] == pytest.approx(true)


@pytest.mark.parametrize("name", ["case_auroc", "case_average_precision", "case_sensitivity@0.9"])
@pytest.mark.parametrize("labels", [np.zeros(4, int), np.ones(4, int)])
def test_one_class_is_undefined_and_not_a_half(name: str, labels: np.ndarray) -> None:
    assert math.isnan(value(name, SCORES[:4], labels))


@pytest.mark.parametrize(
    ("name", "scores", "labels"),
    [
        ("case_sensitivity", [0.9], [0]),
        ("case_specificity", [0.9], [1]),
        ("case_ppv", [0.1], [1]),
        ("case_npv", [0.9], [1]),
    ],
)
def test_nothing_in_the_denominator_is_undefined(name: str, scores: list, labels: list) -> None:
    assert math.isnan(value(name, np.array(scores), np.array(labels)))


@pytest.mark.parametrize("name", [*RANKING, *CALLS, "case_brier"])
def test_a_failed_study_is_never_better_than_any_answer(name: str) -> None:
    metric = get_metric(name)
    sign = 1 if metric.direction == "higher" else -1
    rest = [
        metric.observe(ScoredCase(float(s), int(y))).statistic for s, y in zip(SCORES, LABELS, strict=True)
    ]

    def with_last(statistic: dict, label: int) -> float:
        fields = {f: np.array([r[f] for r in [*rest, statistic]]) for f in metric.statistic}
        return sign * float(metric.reduce(fields, np.ones((1, len(rest) + 1)))[0])

    for label in (0, 1):
        failed = with_last(metric.failed(ScoredCase(math.nan, label)), label)  # type: ignore[arg-type]
        for score in (0.0, 0.35, 0.7, 1.0):
            if name != "case_ece":  # one study can calibrate or spoil a bin
                assert failed <= with_last(metric.observe(ScoredCase(score, label)).statistic, label) + 1e-12


@pytest.mark.parametrize("name", ["case_sensitivity@1.5", "case_sensitivity@x", "case_specificity@0"])
def test_a_share_out_of_range_is_told(name: str) -> None:
    with pytest.raises(MetricError, match="share between 0 and 1"):
        get_metric(name)


def test_bins_are_half_open_and_hold_zero() -> None:
    assert calibration_bins(np.array([0.0, 0.1, 0.100001, 1.0])).tolist() == [0, 0, 1, 9]


def test_a_calibrated_model_has_no_calibration_error() -> None:
    scores = np.repeat([0.25, 0.75], 4)
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    assert value("case_ece", scores, labels) == pytest.approx(0.0)
    assert value("case_ece", scores, 1 - labels) == pytest.approx(0.5)


def test_predictive_values_at_a_prevalence_by_hand() -> None:
    """Sensitivity 0.9, specificity 0.8, prevalence 1%: 0.9 + 19.8 alerts in 100, of which 0.9 are right."""
    found = at_prevalence(0.9, 0.8, 0.01)
    assert found.alerts_per_100 == pytest.approx(20.7)
    assert found.ppv == pytest.approx(0.9 / 20.7)
    assert found.npv == pytest.approx(79.2 / 79.3)
    assert math.isnan(at_prevalence(0.0, 1.0, 0.5).ppv)
    with pytest.raises(ValueError, match=r"sensitivity is 1\.2"):
        at_prevalence(1.2, 0.5, 0.1)


def test_net_benefit_by_hand() -> None:
    called = SCORES >= 0.5
    assert net_benefit(LABELS, called, 0.2) == pytest.approx(3 / 8 - 2 / 8 * 0.25)
    assert net_benefit(LABELS, np.ones(8), 0.5) == pytest.approx(0.0)
    assert net_benefit(LABELS, called, 0.2, prevalence=0.1) == pytest.approx(0.75 * 0.1 - 0.5 * 0.9 * 0.25)
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
        net_benefit(LABELS, called, 1.0)


COSTS = ((0.0, 1.0, 2.0), (5.0, 0.0, 1.0), (20.0, 8.0, 0.0))


@pytest.mark.parametrize(
    ("name", "truth", "given", "expected", "failed"),
    [
        ("triage_cost", 2, 0, 20.0, 20.0), ("triage_cost", 0, 2, 2.0, 2.0), ("triage_accuracy", 1, 1, 1.0, 0.0),
        ("undertriage", 2, 1, 1.0, 1.0), ("overtriage", 0, 1, 1.0, 1.0), ("undertriage", 1, 1, 0.0, 1.0),
    ],
)  # fmt: skip
def test_triage_by_hand(name: str, truth: int, given: int, expected: float, failed: float) -> None:
    metric = get_metric(name)
    assert metric.observe(TriagePair(truth, given, COSTS)).statistic == {"value": expected}
    assert metric.failed(TriagePair(truth, 0, COSTS)) == {"value": failed}


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        ("Urgent", 1),
        (" stat ", 2),
        (0, 0),
        (2.0, 2),
        (3, None),
        (-1, None),
        (1.5, None),
        ("soon", None),
        (None, None),
        (True, None),
    ],
)
def test_levels_are_read_by_name_or_position(answer: object, level: int | None) -> None:
    assert level_of(answer, {"routine": 0, "urgent": 1, "stat": 2}) == level


@pytest.mark.parametrize(
    "answer", [[1], {"level": 1}, float("inf"), float("nan"), None, True, 0.5, -1, 2, "no"]
)
def test_what_is_no_level_is_none_and_never_breaks(answer: object) -> None:
    assert level_of(answer, {"low": 0, "high": 1}) is None


@pytest.mark.parametrize("answer", [1, 1.0, np.int64(1), " High "])
def test_levels_are_named_or_numbered(answer: object) -> None:
    assert level_of(answer, {"low": 0, "high": 1}) == 1
