from __future__ import annotations

import numpy as np
import pytest

from medeval.statistics.sample_size import detectable_difference, patients_for_width, patients_to_separate


def test_the_number_for_a_paired_test_agrees_with_the_noncentral_t() -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    gaps = np.random.default_rng(0).normal(0, 1, 40)
    gaps = (gaps - gaps.mean()) / gaps.std(ddof=1)
    found = patients_to_separate(gaps, np.arange(40), difference=0.5)
    assert found.patients == pytest.approx(power.TTestPower().solve_power(0.5, power=0.8, alpha=0.05), abs=2)


def test_the_number_for_a_paired_test_by_hand() -> None:
    """Cohen 1988, table 2.3: d = 0.5 paired, power 0.80, two-sided 5%: 33 to 34 pairs."""
    gaps = np.array([-1.0, 1.0] * 20) * np.sqrt(39 / 40)
    assert patients_to_separate(gaps, np.arange(40), difference=0.5).patients in (33, 34, 35)


def test_that_many_patients_give_an_interval_that_wide() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 30)
    found = patients_for_width(values, np.arange(30), 0.02)
    assert found.patients is not None
    assert found.have == 30
    wide = [2 * 1.96 * values.std(ddof=1) / np.sqrt(n) for n in (found.patients - 5, found.patients + 5)]
    assert wide[1] < 0.02 < wide[0]


def test_records_of_one_patient_do_not_count_as_patients() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 30)
    once = patients_for_width(values, np.arange(30), 0.02)
    assert (
        patients_for_width(np.repeat(values, 9), np.repeat(np.arange(30), 9), 0.02).patients == once.patients
    )


def test_equal_models_are_separated_by_no_number() -> None:
    found = patients_to_separate(np.zeros(10), np.arange(10))
    assert found.patients is None
    assert "no number of patients" in found.reason


def test_the_detectable_difference_is_the_one_that_needs_these_patients() -> None:
    gaps = np.random.default_rng(0).normal(0.1, 1, 50)
    least = detectable_difference(gaps, np.arange(50))
    assert patients_to_separate(gaps, np.arange(50), difference=least).patients in (49, 50, 51)


@pytest.mark.parametrize(
    ("count", "width", "told"), [(1, 0.1, "at least two"), (5, 0.0, "above 0"), (5, -1.0, "above 0")]
)
def test_what_cannot_be_planned_is_told(count: int, width: float, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        patients_for_width(np.arange(count, dtype=float), np.arange(count), width)
