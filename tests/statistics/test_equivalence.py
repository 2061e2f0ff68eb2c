from __future__ import annotations

import pytest

from medeval.statistics import Estimate
from medeval.statistics.equivalence import equivalence, non_inferiority


def gap(low: float | None, high: float | None) -> Estimate:
    value = None if low is None or high is None else (low + high) / 2
    return Estimate(
        value,
        low,
        high,
        40,
        40,
        "studentised",
        "difference",
        "one patient: no interval" if low is None else "",
    )


@pytest.mark.parametrize(
    ("low", "high", "direction", "verdict"),
    [
        (0.01, 0.05, "higher", "superior"),
        (-0.01, 0.05, "higher", "non-inferior"),
        (-0.03, 0.05, "higher", "inconclusive"),
        (-0.09, -0.03, "higher", "inferior"),
        (-0.05, -0.01, "lower", "superior"),
        (-0.05, 0.01, "lower", "non-inferior"),
        (0.03, 0.09, "lower", "inferior"),
        (None, None, "higher", "inconclusive"),
    ],
)
def test_the_interval_and_the_margin_decide(low: float, high: float, direction: str, verdict: str) -> None:
    found = non_inferiority(gap(low, high), 0.02, direction)  # type: ignore[arg-type]
    assert found.verdict == verdict
    assert found.shown == (verdict in ("superior", "non-inferior"))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.01, 0.015, "equivalent"), (-0.01, 0.03, "inconclusive"), (0.021, 0.03, "inconclusive")],
)
def test_equivalence_needs_both_ends_inside(low: float, high: float, verdict: str) -> None:
    assert equivalence(gap(low, high), 0.02).verdict == verdict


@pytest.mark.parametrize("margin", [-0.02, 0.0, float("nan"), float("inf")])
def test_a_margin_of_the_wrong_sign_is_told(margin: float) -> None:
    for decide in (non_inferiority, equivalence):
        with pytest.raises(ValueError, match="must be a number above 0"):
            decide(gap(0.0, 0.1), margin)
