"""Which interval is made when, what it must never leave, and hierarchies."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics.base import Metric
from medeval.statistics import Resamples, Sample, estimate, macro_estimate, paired_difference


def names(count: int) -> np.ndarray:
    return np.array([f"p{i:03d}" for i in range(count)])


def found(metric: Metric, values: np.ndarray, method: str = "auto", **more: object):
    owner = names(len(values))
    return estimate(metric, {"value": values}, owner, Resamples("d", owner), method=method, **more)  # type: ignore[arg-type]


def test_few_patients_get_students_t_and_more_the_studentised_interval(mean: Metric) -> None:
    values = np.random.default_rng(0).beta(8, 2, 30)
    assert [found(mean, values[:n]).method for n in (2, 7, 8, 30)] == ["t", "t", "studentised", "studentised"]


def test_students_t_is_the_textbooks(mean: Metric) -> None:
    import scipy.stats

    values = np.random.default_rng(0).normal(0.5, 0.02, 6)
    low, high = scipy.stats.t.interval(0.95, 5, values.mean(), scipy.stats.sem(values))
    ours = found(mean, values, "t")
    assert (ours.low, ours.high) == pytest.approx((low, high))


def test_the_studentised_interval_is_the_one_made_by_hand(mean: Metric) -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 60)
    owner = names(60)
    resamples = Resamples("d", owner, count=500)
    counts = np.concatenate(list(resamples.blocks())).astype(float)
    pivots = []
    for row in counts:
        drawn = np.repeat(values, row.astype(int))
        pivots.append((drawn.mean() - values.mean()) / (drawn.std() / np.sqrt(59)))
    error = values.std(ddof=1) / np.sqrt(60)
    low, high = values.mean() - error * np.quantile(pivots, [0.975, 0.025])
    ours = estimate(mean, {"value": values}, owner, resamples)
    assert (ours.low, ours.high) == pytest.approx((low, high))


@pytest.mark.parametrize("count", [9, 20, 49])
def test_with_few_patients_it_is_nowhere_narrower_than_students_t(mean: Metric, count: int) -> None:
    values = np.random.default_rng(count).beta(9, 1, count)
    ours, student = found(mean, values), found(mean, values, "t")
    assert ours.low <= student.low
    assert ours.high >= student.high


@pytest.mark.parametrize(
    "values", [np.r_[0.3, np.ones(15)], np.r_[0.0, 0.9, np.ones(40)], np.r_[-0.9, np.zeros(11)]]
)
def test_equal_values_do_not_blow_it_up(mean: Metric, values: np.ndarray) -> None:
    ours, student = found(mean, values), found(mean, values, "t")
    assert ours.method == "studentised"
    assert ours.value - ours.low <= 3.001 * (student.value - student.low) + 1e-9
    assert ours.high - ours.value <= 3.001 * (student.high - student.value) + 1e-9


@pytest.mark.parametrize("method", ["studentised", "t", "expanded", "percentile", "bca"])
@pytest.mark.parametrize("values", [np.full(12, 0.75), np.ones(12), np.zeros(3)])
def test_equal_values_have_an_interval_of_that_value(mean: Metric, method: str, values: np.ndarray) -> None:
    ours = found(mean, values, method)
    assert (ours.value, ours.low, ours.high) == (values[0], values[0], values[0])


@pytest.mark.parametrize("count", [2, 3, 9, 20])
def test_no_interval_leaves_the_metrics_range_or_its_own_value(mean: Metric, count: int) -> None:
    values = np.r_[0.0, np.ones(count - 1)]
    ours = found(mean, values)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_values_outside_of_the_declared_range_widen_it(mean: Metric) -> None:
    ours = found(mean, np.random.default_rng(0).normal(5, 1, 40))
    assert ours.low > 1


def test_a_score_that_is_no_mean_takes_the_expanded_percentile_interval(reduced_mean: Metric) -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 15)
    ours, plain = found(reduced_mean, values), found(reduced_mean, values, "percentile")
    assert ours.method == "expanded"
    assert ours.high - ours.low > plain.high - plain.low


def test_a_macro_mean_over_structures_has_the_hierarchys_error(mean: Metric) -> None:
    rng = np.random.default_rng(0)
    owner, structures = np.repeat(names(40), 3), np.tile(["a", "b", "c"], 40)
    values = 0.7 + rng.normal(0, 0.05, 40).repeat(3) + rng.normal(0, 0.02, 120)
    resamples = Resamples("d", owner)
    ours = estimate(
        mean, {"value": values}, owner, resamples, average="structures", groups=structures, method="t"
    )
    by_patient = values.reshape(40, 3).mean(axis=1)
    half = 2.0227 * by_patient.std(ddof=1) / np.sqrt(40)
    assert (ours.high - ours.low) / 2 == pytest.approx(half, rel=1e-3)


def test_a_mean_over_datasets_weighs_them_alike_and_adds_their_variances(mean: Metric) -> None:
    rng = np.random.default_rng(0)
    samples, resamples, errors = {}, {}, []
    for name, count, level in (("large", 400, 0.9), ("small", 20, 0.5)):
        values, owner = rng.normal(level, 0.05, count), names(count)
        samples[name] = Sample({"value": values}, owner)
        resamples[name] = Resamples(name, owner)
        errors.append(values.std(ddof=1) / np.sqrt(count))
    ours = macro_estimate(mean, samples, resamples)
    means = [float(np.mean(s.statistics["value"])) for s in samples.values()]
    assert ours.value == pytest.approx(np.mean(means))
    assert ours.n == 420
    assert (ours.high - ours.low) / 2 == pytest.approx(1.96 * np.hypot(*errors) / 2, rel=0.1)
    assert "fewer than 50" in ours.note


def test_a_dataset_without_draws_is_told(mean: Metric) -> None:
    with pytest.raises(ValueError, match="need resamples"):
        macro_estimate(mean, {"a": Sample({"value": np.ones(3)}, names(3))}, {})


def test_a_difference_that_is_the_same_everywhere_is_exact(mean: Metric) -> None:
    values, owner = np.random.default_rng(0).normal(0.5, 0.1, 30), names(30)
    samples = (Sample({"value": side}, owner) for side in (values + 0.25, values))
    ours = paired_difference(mean, *samples, Resamples("d", owner))
    assert (ours.low, ours.high) == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("more", [{"method": "wald"}, {"confidence": 1.0}])
def test_an_unknown_method_is_told(mean: Metric, more: dict) -> None:
    with pytest.raises(ValueError, match="studentised"):
        found(mean, np.ones(5), **more)
