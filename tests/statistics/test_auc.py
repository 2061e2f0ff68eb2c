"""DeLong: against published figures, against the definition, and what is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval.statistics.auc import auc_difference, auc_interval, auc_test, delong


def hanley() -> tuple[np.ndarray, np.ndarray]:
    """109 CT images rated 1 to 5 (Hanley & McNeil 1982, table 1)."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    ratings = np.arange(1, 6)
    scores = np.concatenate([np.repeat(ratings, normal), np.repeat(ratings, abnormal)])
    return scores, np.repeat([0, 1], [58, 51])


def test_the_published_example() -> None:
    """Stata's manual ([R] roctab) prints 0.8932, standard error 0.0307 (DeLong), 0.83295 to 0.95339 for these data."""
    found = delong(*hanley())
    assert found is not None
    assert found.areas[0] == pytest.approx(0.8932, abs=5e-5)
    assert math.sqrt(found.covariance[0, 0]) == pytest.approx(0.0307, abs=5e-5)
    wald = auc_interval(*hanley(), transform="none")
    assert (wald.low, wald.high) == (pytest.approx(0.83295, abs=5e-6), pytest.approx(0.95339, abs=5e-6))


def by_definition(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray
) -> tuple[list[float], np.ndarray]:
    """Areas and covariance from all pairs (DeLong et al. 1988, equations 3 to 6)."""
    v10, v01 = [], []
    for scores in (first, second):
        gap = scores[labels == 1][:, None] - scores[labels == 0][None]
        wins = (gap > 0) + 0.5 * (gap == 0)
        v10.append(wins.mean(axis=1))
        v01.append(wins.mean(axis=0))
    covariance = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    return [float(v.mean()) for v in v10], covariance


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 40))
def test_midranks_give_what_all_pairs_give(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[1, 1, 0, 0, rng.integers(0, 2, n)]
    first, second = rng.integers(0, 6, (2, len(labels))).astype(float)
    found = delong(np.stack([first, second]), labels)
    areas, covariance = by_definition(first, second, labels)
    assert found is not None
    assert found.areas == pytest.approx(areas)
    assert found.covariance == pytest.approx(covariance, abs=1e-12)


def test_the_area_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores, labels = hanley()
    assert auc_interval(scores, labels).value == pytest.approx(metrics.roc_auc_score(labels, scores))


def test_studies_of_one_patient_widen_the_interval_and_single_ones_do_not() -> None:
    scores, labels = hanley()
    alone = [f"p{i}" for i in range(len(labels))]
    assert auc_interval(scores, labels, alone) == auc_interval(scores, labels)
    twice = auc_interval(np.repeat(scores, 4), np.repeat(labels, 4), np.repeat(alone, 4))
    naive = auc_interval(np.repeat(scores, 4), np.repeat(labels, 4))
    once = auc_interval(scores, labels)
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.02)
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_one_vendor_against_another() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 100)
    good = labels + rng.normal(0, 0.7, 200)
    poor = labels + rng.normal(0, 2.5, 200)
    assert auc_test(good, poor, labels).p < 1e-4
    gap = auc_difference(good, poor, labels)
    assert gap.low is not None
    assert gap.low > 0
    same = auc_test(good, good, labels)
    assert same.p == 1.0


@pytest.mark.parametrize(("labels", "missing"), [([1, 1, 1], "negative"), ([0, 0], "positive")])
def test_a_missing_class_is_stated_and_not_a_half(labels: list[int], missing: str) -> None:
    found = auc_interval(np.linspace(0, 1, len(labels)), labels)
    assert found.value is None
    assert found.note == f"AUROC undefined: no {missing} study"
    assert math.isnan(auc_test(np.zeros(len(labels)), np.ones(len(labels)), labels).p)


def test_a_perfect_area_has_no_interval_and_says_so() -> None:
    found = auc_interval([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert (found.value, found.low, found.method) == (1.0, None, "none")
    assert "variance is 0" in found.note


@pytest.mark.parametrize(
    ("scores", "labels", "told"),
    [([0.1, np.nan], [0, 1], "not finite"), ([0.1, 0.2], [0, 2], "0 or 1"), ([0.1], [0, 1], "equal numbers")],
)
def test_wrong_input_is_told(scores: list[float], labels: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        delong(scores, labels)


@pytest.mark.slow
def test_clustered_intervals_cover() -> None:
    rng, hits = np.random.default_rng(0), {"clustered": 0, "independent": 0}
    studies = 800
    big = rng.normal(0, 1, 2_000_000) + rng.normal(0, 0.5, 2_000_000)
    other = rng.normal(0, 1, 2_000_000) + rng.normal(0, 0.5, 2_000_000) + 0.9
    truth = float((other > big).mean())
    for _ in range(studies):
        owner = np.repeat(np.arange(60), 4)
        labels = np.repeat(rng.integers(0, 2, 60), 4)
        labels[:4], labels[4:8] = 0, 1
        scores = rng.normal(0, 1, 60)[owner] + rng.normal(0, 0.5, 240) + 0.9 * labels
        for name, clusters in (("clustered", owner), ("independent", None)):
            found = auc_interval(scores, labels, clusters)
            hits[name] += found.low <= truth <= found.high
    assert 0.92 <= hits["clustered"] / studies <= 0.98
    assert hits["independent"] / studies < 0.80


def test_one_patient_has_no_interval_and_no_test_however_sums_round() -> None:
    rng, labels, patient = np.random.default_rng(0), [1, 0, 1, 0, 0, 1, 1], ["p"] * 7
    for _ in range(20):
        first, second = rng.random(7), rng.random(7)
        found = auc_interval(first, labels, patient)
        assert (found.low, found.high, found.method) == (None, None, "none")
        assert "one patient: no interval" in found.note
        assert auc_difference(first, second, labels, patient).low is None
        assert math.isnan(auc_test(first, second, labels, patient).p)
