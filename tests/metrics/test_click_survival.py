"""Clicks to a quality as survival data, and what a budget buys."""

import numpy as np
import pytest

from medeval.metrics.click_survival import still_open
from medeval.metrics.clicks import ClickCurve, area_under_cost, score_at_cost
from medeval.metrics.registry import get_metric
from medeval.types.errors import MetricError


def test_kaplan_and_meiers_own_kind_of_table():
    """Events at 1, 3, 3, 5; censored at 2 and 4: S = 6/7... worked by hand."""
    clicks = np.array([1.0, 2, 3, 3, 4, 5, 5])
    reached = np.array([True, False, True, True, False, True, False])
    curve = still_open(clicks, reached, np.ones((1, 7)), 5)[0]
    after_1 = 6 / 7
    after_3 = after_1 * (1 - 2 / 5)
    after_5 = after_3 * (1 - 1 / 2)
    assert curve == pytest.approx([1, after_1, after_1, after_3, after_3, after_5])


def sessions(name, *curves, weights=None):
    metric = get_metric(name)
    observed = [metric.observe(curve).statistic for curve in curves]
    statistics = {key: np.array([s[key] for s in observed], dtype=float) for key in metric.statistic}
    return metric.reduce(statistics, np.ones((1, len(curves))) if weights is None else weights)


def never(limit=5):
    return ClickCurve((0.1,) * limit, limit)


def at(click, limit=5):
    return ClickCurve((0.5,) * (click - 1) + (0.95,), limit)


def broken(after, limit=5):
    return ClickCurve((0.5,) * after, limit, censored=True)


def test_without_censoring_the_restricted_mean_is_noc():
    curves = [at(1), at(3), never(), at(5)]
    noc = np.mean([get_metric("noc@90").observe(curve).statistic["value"] for curve in curves])
    assert sessions("rmct@90", *curves)[0] == pytest.approx(noc)
    assert sessions("reached@90", *curves)[0] == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("curves", "median"),
    [
        ((at(1), at(3), never()), 3),
        ((at(2), at(2), never(), never()), 2),
        ((at(2), never(), never()), np.nan),
        ((at(2), broken(1), broken(1)), 2),  # those that broke off say nothing against it
    ],
)
def test_the_median_is_undefined_where_more_than_half_never_get_there(curves, median):
    assert sessions("ctt@90", *curves)[0] == pytest.approx(median, nan_ok=True)


def test_resamples_weigh_whole_sessions():
    weights = np.array([[2.0, 0, 0], [0, 0, 3], [0, 0, 0]])
    found = sessions("ctt@90", at(1), at(3), at(4), weights=weights)
    assert found[:2].tolist() == [1.0, 4.0]
    assert np.isnan(found[2])


PATH = ((2.0, 0.5), (3.0, 0.7), (5.0, 0.9))


@pytest.mark.parametrize(
    ("budget", "score", "area"),
    [
        (1.0, 0.0, 0.0),
        (2.0, 0.5, 0.0),
        (4.0, 0.7, (0.5 + 0.7) / 4),
        (10.0, 0.9, (0.5 + 2 * 0.7 + 5 * 0.9) / 10),
    ],
)
def test_what_a_budget_buys(budget, score, area):
    assert score_at_cost(PATH, budget) == score
    assert area_under_cost(PATH, budget) == pytest.approx(area)
    curve = ClickCurve((0.7, 0.9), 2, PATH)
    assert get_metric(f"score@{budget:g}cost").observe(curve).statistic == {"value": score}
    assert get_metric(f"auc@{budget:g}cost").observe(curve).statistic["value"] == pytest.approx(area)


def test_a_curve_without_costs_has_no_value_at_a_budget():
    value = get_metric("score@3cost").observe(ClickCurve((0.5,)))
    assert (value.statistic, value.rule) == (None, "no cost counted")


@pytest.mark.parametrize("name", ["ctt@0", "rmct@101", "reached@x", "score@0cost", "auc@cost"])
def test_wrong_names_are_told(name):
    with pytest.raises(MetricError):
        get_metric(name)
