"""Equivalence and non-inferiority: what a difference with its interval says about a margin set beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medeval.statistics.estimates import Estimate

Verdict = Literal["superior", "non-inferior", "equivalent", "inferior", "inconclusive"]


@dataclass(frozen=True)
class Decision:
    """verdict, and the sentence that says what it rests on."""

    verdict: Verdict
    reason: str

    @property
    def shown(self) -> bool:
        """True when the claim (non-inferiority or better, equivalence) is shown."""
        return self.verdict in ("superior", "non-inferior", "equivalent")


def non_inferiority(
    difference: Estimate, margin: float, direction: Literal["higher", "lower"] = "higher"
) -> Decision:
    """Whether the new model is not worse than its baseline by ``margin`` or more.

    difference: new minus baseline, with a two-sided interval (a 95% interval tests one-sidedly at 2.5%).
    margin: above 0, in the metric's unit. direction: which way of the metric is better.
    Raises ``ValueError`` for a margin of the wrong sign. Source: Piaggio et al. 2012 (CONSORT extension).
    """
    low, high = _oriented(difference, margin, direction)
    if low is None or high is None:
        return Decision("inconclusive", f"no interval ({difference.note or 'no value'})")
    shown = f"the interval of the difference [{difference.low:.4g}, {difference.high:.4g}]"
    if low > 0:
        return Decision("superior", f"{shown} lies on the better side of 0")
    if low > -margin:
        return Decision("non-inferior", f"{shown} excludes a loss of {margin:g}")
    if high < -margin:
        return Decision("inferior", f"{shown} lies beyond a loss of {margin:g}")
    return Decision("inconclusive", f"{shown} does not exclude a loss of {margin:g}")


def equivalence(difference: Estimate, margin: float) -> Decision:
    """Whether two models differ by less than ``margin`` either way (two one-sided tests, Schuirmann 1987).

    difference: with a 90% interval for TOST at 5%; a 95% interval is stricter. Raises ``ValueError`` for margin <= 0.
    """
    low, high = _oriented(difference, margin, "higher")
    if low is None or high is None:
        return Decision("inconclusive", f"no interval ({difference.note or 'no value'})")
    shown = f"the interval of the difference [{low:.4g}, {high:.4g}]"
    if -margin < low and high < margin:
        return Decision("equivalent", f"{shown} lies within {margin:g} of 0")
    return Decision("inconclusive", f"{shown} does not lie within {margin:g} of 0")


def _oriented(
    difference: Estimate, margin: float, direction: Literal["higher", "lower"]
) -> tuple[float | None, float | None]:
    """The interval with "better" upwards."""
    if not margin > 0 or margin == float("inf"):
        raise ValueError(
            f"margin is {margin}; it must be a number above 0: how much worse is still acceptable"
        )
    if difference.low is None or difference.high is None:
        return None, None
    return (difference.low, difference.high) if direction == "higher" else (-difference.high, -difference.low)
