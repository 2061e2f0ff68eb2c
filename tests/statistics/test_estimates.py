from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval.metrics.base import Metric
from medeval.statistics import (
    Estimate,
    Resamples,
    Sample,
    clusters,
    estimate,
    paired_difference,
    pooled_clusters,
)
from medeval.types.errors import MetricError


def width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def names(count: int) -> np.ndarray:
    return np.array([f"p{i:04d}" for i in range(count)])


@pytest.fixture
def records() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(values, patients, cases, structures) of 60 patients with 1 to 4 cases and up to 3 structures each."""
    draw = np.random.default_rng(3)
    rows = []
    for patient in range(60):
        level = draw.normal(0, 0.1)
        for case in range(draw.integers(1, 5)):
            for structure in draw.permutation(["liver", "spleen", "kidney"])[: draw.integers(1, 4)]:
                rows.append(
                    (0.7 + level + draw.normal(0, 0.05), f"p{patient:02d}", f"c{patient}-{case}", structure)
                )
    values, *labels = zip(*rows, strict=True)
    return np.array(values), *(np.array(label) for label in labels)  # type: ignore[return-value]


def test_intervals_agree_with_scipy_on_independent_data(mean: Metric) -> None:
    values = np.random.default_rng(0).gamma(2.0, size=80)
    resamples = Resamples("d", names(80), count=20_000)
    for method in ("percentile", "bca"):
        ours = estimate(mean, {"value": values}, names(80), resamples, method=method)
        theirs = scipy.stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, method=method, rng=np.random.default_rng(1)
        ).confidence_interval
        width = theirs.high - theirs.low
        assert ours.value == pytest.approx(values.mean(), rel=1e-14)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_clusters_agree_with_scipy_over_patient_sums(mean: Metric, records: Any) -> None:
    values, patients, *_ = records
    ours = estimate(mean, {"value": values}, patients, Resamples("d", patients, 20_000), method="bca")
    _, codes = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes).astype(float)
    theirs = scipy.stats.bootstrap(
        (sums, counts), lambda s, c, axis: s.sum(axis) / c.sum(axis), paired=True, n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.03 * (theirs.high - theirs.low))


def test_pooled_bca_agrees_with_scipy_over_several_samples(mean: Metric) -> None:
    draw = np.random.default_rng(5)
    first, second = draw.gamma(1.0, size=40), draw.gamma(1.5, size=70)
    resamples = Resamples.pooled([Resamples("a", names(40), 20_000), Resamples("b", names(70), 20_000)])
    patients = pooled_clusters(["a"] * 40 + ["b"] * 70, [*names(40), *names(70)])
    ours = estimate(mean, {"value": np.r_[first, second]}, patients, resamples, method="bca")
    theirs = scipy.stats.bootstrap(
        (first, second), lambda x, y, axis: (x.sum(axis) + y.sum(axis)) / 110, n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.03 * (theirs.high - theirs.low))


@pytest.mark.parametrize("average", ["records", "cases", "patients", "structures"])
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_the_linear_short_cut_equals_reduce(
    mean: Metric, reduced_mean: Metric, average: Any, method: Any, records: Any
) -> None:
    values, patients, cases, structures = records
    groups = {"cases": cases, "structures": structures}.get(average)
    resamples = Resamples("d", patients, 500)
    first, second = (
        estimate(m, {"value": values}, patients, resamples, average=average, groups=groups, method=method)
        for m in (mean, reduced_mean)
    )
    assert (first.value, first.low, first.high) == pytest.approx(
        (second.value, second.low, second.high), rel=1e-12
    )


def test_each_average_is_the_mean_that_it_says(mean: Metric, records: Any) -> None:
    import pandas as pd

    values, patients, cases, structures = records
    table = pd.DataFrame({"v": values, "patients": patients, "cases": cases, "structures": structures})
    resamples = Resamples("d", patients, 10)
    for average in ("cases", "patients", "structures"):
        found = estimate(
            mean, {"value": values}, patients, resamples, average=average, groups=table[average].to_numpy()
        )
        assert found.value == pytest.approx(table.groupby(average)["v"].mean().mean(), rel=1e-12)
        assert average[:-1] in found.estimand


@settings(max_examples=30, deadline=None)
@given(
    st.permutations(range(24)), st.sampled_from(["records", "cases", "patients", "structures"]), st.booleans()
)
def test_the_order_of_rows_changes_no_byte(
    mean: Metric, reduced_mean: Metric, order: list[int], average: Any, linear: bool
) -> None:
    metric = mean if linear else reduced_mean
    values = np.random.default_rng(0).lognormal(0, 3, 24)
    values[5] = values[6] = 0.1
    patients = np.repeat(names(6), 4)
    groups = np.array([f"g{i % 3}" for i in range(24)])
    resamples = Resamples("d", patients, 100)
    usual = estimate(metric, {"value": values}, patients, resamples, average=average, groups=groups)
    mixed = estimate(
        metric, {"value": values[order]}, patients[order], resamples, average=average, groups=groups[order]
    )
    assert mixed == usual


def test_equal_values_give_an_interval_of_that_value(mean: Metric) -> None:
    found = estimate(mean, {"value": np.full(70, 0.7)}, names(70), Resamples("d", names(70)), method="bca")
    assert (found.value, found.low, found.high) == (0.7, 0.7, 0.7)
    assert "BCa is undefined" in found.note


@pytest.mark.parametrize(
    ("patients", "cases", "n_patients", "note", "interval"),
    [
        (["a"] * 4, "1234", 1, "one patient: no interval", False),
        ([None], "1", None, "one image: no interval", False),
        ([None] * 4, "1234", None, "patients unknown, images treated as independent", True),
        ([None, None, "a", "b"], "1234", None, "patients unknown for 2 images", True),
        (list("abcd"), "1234", 4, "fewer than 50 patients: intervals are likely too narrow", True),
        ([str(i) for i in range(50)], [str(i) for i in range(50)], 50, "", True),
    ],
)
def test_what_patients_allow(
    mean: Metric, patients: list, cases: Any, n_patients: int | None, note: str, interval: bool
) -> None:
    cluster = clusters(patients, list(cases))
    values = np.arange(len(cluster), dtype=float)
    found = estimate(mean, {"value": values}, cluster, Resamples("d", cluster))
    assert found.patients == n_patients
    assert found.note == note if not note else note in found.note
    assert (found.low is not None, found.method) == (
        interval,
        ("studentised" if len(patients) >= 8 else "t") if interval else "none",
    )


def test_patients_are_counted_in_the_score_and_not_in_the_dataset(mean: Metric) -> None:
    found = estimate(mean, {"value": np.array([1.0, 2.0])}, names(1).repeat(2), Resamples("d", names(500)))
    assert found.note == "one patient: no interval"


def test_records_of_one_patient_widen_the_interval(mean: Metric) -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=60), 20)
    patients, cases = names(60).repeat(20), names(1200)
    clustered = estimate(mean, {"value": values}, patients, Resamples("d", patients))
    pretending = estimate(mean, {"value": values}, cases, Resamples("d", cases))
    assert width(clustered) > 3 * width(pretending)


@pytest.mark.parametrize(("kind", "note"), [("none", "not resampled"), ("subset", "biased")])
def test_a_metric_that_is_not_resampled_has_no_interval(mean: Metric, kind: str, note: str) -> None:
    metric = type("Distance", (type(mean),), {"interval": kind})()
    found = estimate(metric, {"value": np.arange(60.0)}, names(60), Resamples("d", names(60)))
    assert (found.value, found.low, found.method) == (29.5, None, "none")
    assert note in found.note


def test_resamples_without_a_value_are_left_out_and_their_share_is_told(auroc: Metric) -> None:
    labels = np.array([1, *[0] * 59])
    statistics = {"score": np.linspace(1, 0, 60), "label": labels}
    found = estimate(auroc, statistics, names(60), Resamples("d", names(60)))
    assert found.undefined == pytest.approx(1 / np.e, abs=0.04)
    assert "no value in 3" in found.note
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_a_corpus_metric_undefined_on_all_records_has_no_value(auroc: Metric) -> None:
    statistics = {"score": np.linspace(1, 0, 60), "label": np.ones(60, dtype=int)}
    for average, groups in (("records", None), ("cases", names(60))):
        found = estimate(
            auroc, statistics, names(60), Resamples("d", names(60)), average=average, groups=groups
        )
        assert found.value is None
        assert found.low is None
        assert "undefined" in found.note


def test_a_corpus_metric_agrees_with_scipy(auroc: Metric) -> None:
    draw = np.random.default_rng(2)
    labels = np.r_[np.ones(40, int), np.zeros(60, int)]
    scores = draw.normal(labels, 1.0)
    ours = estimate(auroc, {"score": scores, "label": labels}, names(100), Resamples("d", names(100), 4000))

    def statistic(score: np.ndarray, label: np.ndarray) -> float:
        return float(auroc.reduce({"score": score, "label": label}, np.ones((1, len(score))))[0])

    theirs = scipy.stats.bootstrap((scores, labels), statistic, paired=True, vectorized=False, n_resamples=2000,
                                   method="percentile", rng=np.random.default_rng(1)).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=0.06 * (theirs.high - theirs.low))


def test_a_structure_absent_from_a_resample_is_told(mean: Metric) -> None:
    structures = np.array(["rare", *["liver"] * 59])
    found = estimate(mean, {"value": np.arange(60.0)}, names(60), Resamples("d", names(60)),
                     average="structures", groups=structures)  # fmt: skip
    assert "some structure absent in 3" in found.note
    assert found.undefined == 0


def test_a_group_that_most_resamples_miss_has_no_interval(auroc: Metric) -> None:
    patients = names(100)[:2]
    found = estimate(
        auroc,
        {"score": np.array([0.0, 1.0]), "label": np.array([0, 1])},
        patients,
        Resamples("d", names(100)),
    )
    assert found.low is None
    assert "no interval" in found.note


def test_a_difference_is_paired(mean: Metric, records: Any) -> None:
    values, patients, *_ = records
    resamples = Resamples("d", patients)
    better = Sample({"value": values + 0.01}, patients)
    usual = Sample({"value": values}, patients)
    found = paired_difference(mean, better, usual, resamples, method="bca")
    assert (found.value, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01), abs=1e-12)
    assert found.estimand.startswith("difference")
    assert found.n == len(values)


def test_a_difference_of_other_records_says_so(mean: Metric) -> None:
    first = Sample({"value": np.arange(60.0)}, names(60))
    second = Sample({"value": np.arange(59.0)}, names(59))
    found = paired_difference(mean, first, second, Resamples("d", names(60)))
    assert "not the same records: 60 against 59" in found.note


def test_no_records_give_no_value(mean: Metric) -> None:
    found = estimate(mean, {"value": np.array([])}, np.array([], dtype=str), Resamples("d", names(3)))
    assert (found.value, found.n, found.note) == (None, 0, "no records")


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({"value": np.array([1.0, np.nan, 2.0])}, "not finite in 1 of 3 records"),
        ({"value": np.array([1.0, 2.0])}, r"shape \(2,\), but there are 3 records"),
        ({"score": np.zeros(3)}, "statistic 'value' is missing; given: score"),
    ],
)
def test_statistics_that_do_not_fit_are_named(mean: Metric, statistics: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        estimate(mean, statistics, names(3), Resamples("d", names(3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"average": "structures"}, "needs groups: the structure of each record"),
        ({"average": "micro"}, "average is 'micro'; it must be one of records"),
        ({"average": "cases", "groups": ["a"]}, "1 groups for 3 records"),
        ({"method": "normal"}, "method 'normal'"),
        ({"confidence": 95}, "confidence 95"),
    ],
)
def test_wrong_arguments_are_named(mean: Metric, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(mean, {"value": np.zeros(3)}, names(3), Resamples("d", names(3)), **options)


def test_an_estimate_is_plain_data(mean: Metric) -> None:
    import json

    found = estimate(mean, {"value": np.arange(60.0)}, names(60), Resamples("d", names(60)))
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    assert replace(found, value=None).value is None


def coverage(mean: Metric, rounds: int, patients: int, count: int, method: Any) -> float:
    """Share of the intervals that hold the true mean 0: normal patients with 1 to 5 correlated records each."""
    draw = np.random.default_rng(11)
    inside = 0
    for number in range(rounds):
        sizes = draw.integers(1, 6, patients)
        values = np.repeat(draw.normal(size=patients), sizes) + draw.normal(0, 0.5, sizes.sum())
        cluster = names(patients).repeat(sizes)
        found = estimate(
            mean, {"value": values}, cluster, Resamples("d", cluster, count, seed=number), method=method
        )
        inside += (found.low or 0) <= 0 <= (found.high or 0)
    return inside / rounds


def test_intervals_cover_about_what_they_say(mean: Metric) -> None:
    assert 0.90 <= coverage(mean, rounds=300, patients=60, count=500, method="percentile") <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_cover_what_they_say(mean: Metric, method: str) -> None:
    assert 0.93 <= coverage(mean, rounds=3000, patients=100, count=2000, method=method) <= 0.965


def best_of_two(call: Callable[[], object]) -> float:
    """Seconds of the faster of two calls."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def test_a_linear_score_is_no_slower_than_scipy_over_patient_sums(mean: Metric) -> None:
    """10,000 resamples x 100,000 records x 5,000 patients, draws included; a quarter more allowed for a busy machine."""
    draw = np.random.default_rng(0)
    codes, values = draw.integers(0, 5000, 100_000), draw.random(100_000)
    patients = names(5000)[codes]

    def theirs() -> None:
        sums, counts = np.bincount(codes, weights=values), np.bincount(codes).astype(float)
        scipy.stats.bootstrap((sums, counts), lambda s, c, axis: s.sum(axis) / c.sum(axis), paired=True, batch=64,
                              vectorized=True, n_resamples=10_000, method="percentile")  # fmt: skip

    ours = best_of_two(lambda: estimate(mean, {"value": values}, patients, Resamples("d", patients, 10_000)))
    assert ours < 1.25 * best_of_two(theirs)
