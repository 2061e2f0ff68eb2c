"""What the tables of peers do not pin down: bad input, undefined values, bias and bootstrap intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medeval.metrics.agreement import (
    WEIGHTINGS,
    Ratings,
    agreement_weights,
    brennan_prediger,
    cohen_kappa,
    conger_kappa,
    fleiss_kappa,
    gwet,
    percent_agreement,
)
from medeval.metrics.agreement_alpha import krippendorff_alpha
from medeval.metrics.agreement_icc import icc
from medeval.metrics.agreement_intervals import bootstrap_interval
from medeval.metrics.agreement_points import pairwise_grades, points_score, worst_at_k
from medeval.metrics.agreement_ranks import correlation, kendall_w, rater_bias
from medeval.types import MetricError

COEFFICIENTS = [
    gwet,
    fleiss_kappa,
    brennan_prediger,
    conger_kappa,
    cohen_kappa,
    percent_agreement,
    krippendorff_alpha,
]
tables = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("rows", "scale", "told"),
    [
        ([[1, 2], [1, 7]], [1, 2, 3], "unit 1, rater 1: 7 is not on the scale"),
        ([[1, 2], [1]], [1, 2], "unit 1 has 1 ratings, unit 0 has 2; write None"),
        ([[1], [2]], [1, 2], "at least 2 raters"),
        ([], [1, 2], "at least 2 raters"),
        ([[1, 1]], [1], "at least two different values"),
        ([[1, 1]], [1, 1], "at least two different values"),
    ],
)
def test_a_table_that_is_none_is_refused_with_unit_rater_and_value(rows, scale, told):
    with pytest.raises(MetricError, match=told):
        Ratings.of(rows, scale)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda r: cohen_kappa(Ratings.of([[1, 1, 1]], [1, 2])), "for 2 raters, not 3"),
        (lambda r: gwet(r, "cubic"), "unknown weighting 'cubic'; known: identity, linear"),
        (lambda r: krippendorff_alpha(r, "metric"), "unknown level"),
        (lambda r: icc(r, "ICC(4,1)"), r"unknown form"),
        (
            lambda r: icc(Ratings.of([[1, None], [1, 2]], [1, 2])),
            "1 of 4 are missing; take krippendorff_alpha",
        ),
        (lambda r: icc(Ratings.of([[1, 2]], [1, 2])), "at least 2 cases, not 1"),
        (lambda r: kendall_w(Ratings.of([[1, None], [1, 2]], [1, 2])), "needs every rating"),
        (lambda r: correlation(np.zeros(2), np.zeros(3)), "shapes"),
        (lambda r: correlation(np.arange(2), np.arange(2), "cosine"), "unknown correlation"),
        (lambda r: bootstrap_interval(lambda t: 0.0, r, ["a"]), "1 clusters for 2 units"),
        (lambda r: bootstrap_interval(lambda t: 0.0, r, method="exact"), "known: percentile, bca"),
        (lambda r: points_score([1, 2], [True]), "1 grades for 2 criteria"),
        (lambda r: worst_at_k([[0.5]], 2), "case 0 has 1 samples; the worst of 2"),
        (lambda r: pairwise_grades([True], []), "1 grades for 0 rated criteria"),
    ],
)
def test_a_call_that_cannot_be_answered_says_why(call, told):
    with pytest.raises(MetricError, match=told):
        call(Ratings.of([[1, 1], [1, 2]], [1, 2]))


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_without_two_ratings_of_one_unit_nothing_is_defined(coefficient):
    found = coefficient(Ratings.of([[1, None], [None, 2]], [1, 2]))
    assert math.isnan(found.value)
    assert found.rule == "no unit has two ratings"
    assert not found.defined


def test_a_rater_that_rated_nothing_leaves_congers_kappa_undefined():
    found = conger_kappa(Ratings.of([[1, 2, None], [1, 1, None]], [1, 2]))
    assert math.isnan(found.value)
    assert found.rule == "a rater rated nothing"


@pytest.mark.parametrize("form", ["ICC(1,1)", "ICC(2,1)", "ICC(3,k)"])
def test_an_icc_without_any_difference_is_undefined(form):
    found = icc(Ratings.of([[2, 2], [2, 2]], [1, 2]), form)
    assert math.isnan(found.value)
    assert found.rule == "only one value occurs"


def test_raters_that_agree_perfectly_on_differing_cases_have_an_icc_of_1():
    ratings = Ratings.of([[1, 1], [5, 5], [9, 9]], range(1, 10))
    for form in ("ICC(1,1)", "ICC(2,1)", "ICC(2,k)", "ICC(3,1)", "ICC(3,k)"):
        found = icc(ratings, form)
        assert (found.value, found.low, found.high) == (1, 1, 1)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_fall_from_1_at_agreement_to_0_at_the_far_end(weighting):
    weights = agreement_weights(9, weighting)
    assert (np.diag(weights) == 1).all()
    assert weights[0, 8] == 0
    assert (np.diff(weights[0]) <= 0).all()
    assert (weights == weights.T).all()


@given(tables)
def test_coefficients_stay_within_minus_1_and_1_and_do_not_depend_on_the_order_of_units(rows):
    ratings = Ratings.of(rows, range(4))
    turned = Ratings.of(rows[::-1], range(4))
    for coefficient in COEFFICIENTS:
        value, other = coefficient(ratings).value, coefficient(turned).value
        assert math.isnan(value) == math.isnan(other)
        if not math.isnan(value):
            assert -1 - 1e-9 <= value <= 1 + 1e-9
            assert value == pytest.approx(other, abs=1e-12)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=10).filter(lambda v: len(set(v)) > 1))
def test_identical_raters_agree_perfectly_under_every_coefficient(values):
    ratings = Ratings.of([[v, v, v] for v in values], range(4))
    pair = ratings.pair()
    for coefficient in COEFFICIENTS:
        assert coefficient(pair if coefficient is cohen_kappa else ratings).value == pytest.approx(1)


def test_a_lenient_judge_shows_as_bias_although_it_ranks_the_same():
    expert = np.array([2.0, 4, 5, 6, 8, 3])
    judge = expert + np.array([1.0, 1, 1, 2, 1, 0])
    found = rater_bias(judge, expert)
    assert found.mean == pytest.approx(1)
    assert found.low < 1 < found.high
    assert found.low > 0
    assert found.lower == pytest.approx(1 - 1.959963984540054 * np.sqrt(0.4))
    assert found.lower_interval[0] < found.lower < found.lower_interval[1] < found.upper
    assert correlation(judge, expert).value > 0.95


def test_bias_of_a_single_pair_has_no_interval():
    found = rater_bias(np.array([3.0]), np.array([1.0]))
    assert found.mean == 2
    assert math.isnan(found.low)
    assert math.isnan(found.upper)
    assert math.isnan(rater_bias(np.array([]), np.array([])).mean)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_a_bootstrap_interval_holds_the_value_and_repeats_to_the_digit(method):
    generator = np.random.default_rng(0)
    truth = generator.integers(1, 10, 60)
    rows = np.clip(truth[:, None] + generator.integers(-1, 2, (60, 2)), 1, 9)
    ratings = Ratings.of(rows, range(1, 10))
    found = bootstrap_interval(lambda r: cohen_kappa(r, "quadratic").value, ratings, count=300, method=method)
    assert found.low < found.value < found.high
    assert found.undefined == 0
    assert found == bootstrap_interval(
        lambda r: cohen_kappa(r, "quadratic").value, ratings, count=300, method=method
    )


def test_cases_of_one_patient_move_together_and_widen_the_interval():
    rows = [[v, v] for v in (0, 1)] * 10 + [[0, 1]] * 10
    patients = ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    ratings = Ratings.of(rows, [0, 1])
    alone = bootstrap_interval(lambda r: percent_agreement(r).value, ratings, count=200)
    together = bootstrap_interval(lambda r: percent_agreement(r).value, ratings, patients, count=200)
    assert together.clusters == 3
    assert together.high - together.low > alone.high - alone.low


def test_resamples_without_a_value_are_counted():
    ratings = Ratings.of([[0, 0], [0, 0], [0, 0], [1, 1]], [0, 1])
    found = bootstrap_interval(lambda r: cohen_kappa(r).value, ratings, count=200)
    assert 0 < found.undefined < 200
    constant = bootstrap_interval(lambda r: cohen_kappa(r).value, Ratings.of([[0, 0]] * 5, [0, 1]), count=20)
    assert constant.undefined == 20
    assert math.isnan(constant.low)


def test_one_patient_has_no_interval():
    ratings = Ratings.of([[0, 0], [1, 1]], [0, 1])
    found = bootstrap_interval(lambda r: percent_agreement(r).value, ratings, ["a", "a"], count=20)
    assert (found.value, found.clusters) == (1, 1)
    assert math.isnan(found.low)
