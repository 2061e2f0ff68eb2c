from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from medeval.metrics.base import Metric
from medeval.statistics.paired import effect_size, exchange_test, permutation_test, wilcoxon


def patients(count: int, rows: int = 1) -> np.ndarray:
    return np.repeat([f"p{i:03d}" for i in range(count)], rows)


def test_few_patients_are_enumerated_as_by_hand() -> None:
    gaps = np.array([0.3, 0.1, 0.2, -0.05])
    sums = [abs(np.dot(signs, gaps)) for signs in itertools.product((1, -1), repeat=4)]
    expected = np.mean(np.array(sums) >= abs(gaps.sum()) - 1e-12)
    found = permutation_test(gaps, patients(4))
    assert found.exact
    assert found.p == pytest.approx(expected)


def test_it_agrees_with_scipy_where_patients_have_one_record() -> None:
    gaps = np.random.default_rng(0).normal(0.3, 1, 40)
    theirs = scipy.stats.permutation_test((gaps,), np.mean, permutation_type="samples", n_resamples=20_000,
                                          rng=np.random.default_rng(1))  # fmt: skip
    assert permutation_test(gaps, patients(40), exchanges=20_000).p == pytest.approx(theirs.pvalue, abs=0.01)
    assert wilcoxon(gaps, patients(40)).p == pytest.approx(scipy.stats.wilcoxon(gaps).pvalue)


def test_one_sided_tests_look_the_right_way() -> None:
    gaps = np.random.default_rng(0).normal(1.0, 0.5, 30)
    assert permutation_test(gaps, patients(30), alternative="greater").p < 0.001
    assert permutation_test(gaps, patients(30), alternative="less").p > 0.999


def test_repeating_a_patients_records_does_not_make_it_significant() -> None:
    gaps = np.random.default_rng(4).normal(0.3, 1, 12)
    once = permutation_test(gaps, patients(12)).p
    assert permutation_test(np.repeat(gaps, 50), patients(12, 50)).p == pytest.approx(once)
    assert permutation_test(np.repeat(gaps, 50), patients(600)).p < 0.01 < once


def test_the_order_of_records_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    gaps, owner = rng.normal(0.1, 1, 60), patients(20, 3)
    order = rng.permutation(60)
    assert permutation_test(gaps[order], owner[order]) == permutation_test(gaps, owner)


@pytest.mark.parametrize(
    ("gaps", "count", "p", "note"),
    [
        (np.zeros(5), 5, 1.0, "all differences are 0"),
        (np.array([0.2]), 1, None, "fewer than two patients"),
        (np.array([0.2, 0.2]), 2, 0.5, ""),
    ],
)
def test_degenerate_data_has_a_stated_answer(
    gaps: np.ndarray, count: int, p: float | None, note: str
) -> None:
    for test in (permutation_test, wilcoxon):
        found = test(gaps, patients(count))
        assert np.isnan(found.p) if p is None else found.p == pytest.approx(p)
        assert note in found.note


@pytest.mark.parametrize("gaps", [np.array([0.1, np.nan]), np.array([])])
def test_what_cannot_be_tested_is_told(gaps: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"not finite|equal numbers"):
        permutation_test(gaps, patients(len(gaps)))


def test_effect_sizes_by_hand() -> None:
    found = effect_size(np.array([3.0, -1.0, 2.0, 0.0]), patients(4))
    assert found.cohen_dz == pytest.approx(1.0 / np.std([3, -1, 2, 0], ddof=1))
    assert found.rank_biserial == pytest.approx((3 + 2 - 1) / 6)
    assert found.superiority == pytest.approx((2 + 0.5) / 4)


def test_a_corpus_metric_is_tested_by_exchanging_patients(auroc: Metric) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 30)
    good, noise = labels + rng.normal(0, 0.4, 60), rng.normal(0, 1, 60)
    better, worse = ({"score": s, "label": labels} for s in (good, noise))
    assert exchange_test(auroc, better, worse, patients(30, 2), exchanges=500).p < 0.01
    assert exchange_test(auroc, better, better, patients(30, 2), exchanges=200).p == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "skewed"])
def test_the_size_is_right_with_clustered_records(law: str) -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(2000):
        owner = np.repeat(np.arange(30), rng.integers(1, 9, 30))
        level = rng.normal(0, 1, 30) if law == "normal" else rng.choice([-1, 1], 30) * rng.lognormal(0, 1, 30)
        gaps = level[owner] + rng.normal(0, 0.3, len(owner))
        hits += permutation_test(gaps, owner, exchanges=999).p <= 0.05
    assert 0.035 <= hits / 2000 <= 0.06
