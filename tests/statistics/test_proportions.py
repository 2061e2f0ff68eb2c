from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from medeval.statistics.proportions import (
    clopper_pearson,
    f1_interval,
    kappa_interval,
    mcnemar,
    proportion,
    ratio,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (81, 263)])
def test_exact_intervals_are_scipys(hits: int, n: int) -> None:
    theirs = scipy.stats.binomtest(hits, n).proportion_ci(method="exact")
    assert clopper_pearson(hits, n) == pytest.approx((theirs.low, theirs.high))
    found = proportion(np.arange(n) < hits)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert found.method == "exact"


def test_the_published_example() -> None:
    """Newcombe 1998 (Stat Med 17:857), table I: 81 of 263, Clopper-Pearson 0.2527 to 0.3676."""
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)


def test_studies_of_one_patient_do_not_narrow_the_interval() -> None:
    hits, owner = np.arange(40) % 3 == 0, np.arange(40)
    once, often = proportion(hits, owner), proportion(np.repeat(hits, 5), np.repeat(owner, 5))
    assert often.value == once.value
    assert often.method == "exact, clustered"
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.08)


@pytest.mark.parametrize(
    ("hits", "clusters", "value", "method", "note"),
    [
        ([], [], None, "none", "no study in the denominator"),
        ([True, True, False], ["a", "a", "a"], 2 / 3, "none", "one patient"),
        ([True] * 6, list("aabbcc"), 1.0, "exact, clustered", "fewer than 50"),
    ],
)
def test_degenerate_proportions_say_so(
    hits: list, clusters: list, value: float, method: str, note: str
) -> None:
    found = proportion(hits, clusters)
    assert (found.value, found.method) == (value, method)
    assert note in found.note


def test_all_hits_of_few_patients_are_as_sure_as_that_many_studies() -> None:
    found = proportion([True] * 30, np.repeat(list("abc"), 10))
    assert found.low == pytest.approx(clopper_pearson(3, 3)[0])


def test_f1_is_scikit_learns_and_its_interval_is_about_the_bootstraps() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    calls = np.where(rng.random(300) < 0.8, labels, 1 - labels)
    found = f1_interval(labels, calls)
    draws = [metrics.f1_score(labels[rows], calls[rows]) for rows in rng.integers(0, 300, (1000, 300))]
    assert found.value == pytest.approx(metrics.f1_score(labels, calls))
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.012)


def test_a_ratio_without_denominator_is_undefined() -> None:
    found = ratio([0, 0], [0, 0])
    assert (found.value, found.note) == (None, "undefined: the denominator is 0")


def test_kappa_and_its_interval() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 200)
    second = np.where(rng.random(200) < 0.7, first, rng.integers(0, 3, 200))
    found = kappa_interval(first.tolist(), second.tolist(), (0, 1, 2))
    assert found.value == pytest.approx(metrics.cohen_kappa_score(first, second))
    drawn = kappa_interval(first.tolist(), second.tolist(), (0, 1, 2), [f"p{i}" for i in range(200)])
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.02)


def test_kappa_of_one_value_is_undefined() -> None:
    found = kappa_interval([1, 1, 1], [1, 1, 1], (0, 1))
    assert (found.value, found.note) == (None, "only one value occurs")


def test_mcnemar_by_hand() -> None:
    first = np.r_[np.ones(15), np.zeros(5), np.ones(40)].astype(bool)
    second = np.r_[np.zeros(15), np.ones(5), np.ones(40)].astype(bool)
    assert mcnemar(first, second).p == pytest.approx(scipy.stats.binomtest(15, 20).pvalue)
    assert mcnemar(first, second).p == pytest.approx(0.0414, abs=5e-5)  # 2 (C(20,0) + ... + C(20,5)) / 2**20
    assert mcnemar(first, first).p == 1.0


def test_mcnemar_with_several_studies_a_patient_exchanges_patients() -> None:
    rng = np.random.default_rng(0)
    second = rng.random(20) < 0.5
    first = second | (rng.random(20) < 0.4)
    one = mcnemar(first, second, np.arange(20)).p
    many = mcnemar(np.repeat(first, 10), np.repeat(second, 10), np.repeat(np.arange(20), 10)).p
    assert many == pytest.approx(one, rel=0.3)


def test_a_ratio_of_one_patient_has_no_interval_and_says_why() -> None:
    found = ratio([1.0, 0.0, 1.0], [1.0, 1.0, 1.0], ["p", "p", "p"])
    assert (found.low, found.patients, found.note) == (None, 1, "one patient: no interval")


def test_a_ratio_over_images_tells_no_number_of_patients() -> None:
    assert ratio([1.0, 0.0, 1.0], [1.0, 1.0, 1.0], patients_known=False).patients is None
    assert ratio([1.0, 0.0, 1.0], [1.0, 1.0, 1.0]).patients == 3
