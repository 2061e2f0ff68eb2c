"""Sign-flip tests beside SciPy's, and Holm's correction beside its published steps."""

import numpy as np
import pytest
from scipy import stats

from medeval.statistics import holm, sign_flip


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_sign_flip_test_is_scipys(seed):
    differences = np.random.default_rng(seed).normal(0.3, 1, 9)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("falls", [3, 12, 16, 30])
def test_on_equal_steps_it_is_the_sign_test_and_patients_that_stay_say_nothing(falls):
    differences = np.array([-0.1] * falls + [0.1] + [0.0] * 20 + [np.nan])
    exact = stats.binomtest(1, falls + 1).pvalue
    assert sign_flip(differences) == pytest.approx(exact, rel=0.1, abs=1e-4)


def test_no_difference_is_no_evidence_and_draws_are_never_zero():
    assert sign_flip(np.zeros(5)) == 1.0
    assert sign_flip(np.array([])) == 1.0
    assert 0 < sign_flip(np.full(200, 1.0)) < 1e-4
    assert sign_flip(np.full(200, 1.0), seed=3) == sign_flip(np.full(200, 1.0), seed=3)


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([1.2])
