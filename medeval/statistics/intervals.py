"""From draws to an interval: percentile, expanded percentile, BCa, studentised (bootstrap-t) and Student's t.

Which one holds up for few patients was simulated (``tests/statistics/test_coverage.py`` prints the table): on skewed,
Dice-like scores the studentised interval covers most at every number of patients, so it is the default for means; what
is no mean has no standard error under a resample and takes the expanded percentile interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.statistics.draws import Draws
from medeval.statistics.scores import Floats

Method = Literal["auto", "studentised", "t", "expanded", "percentile", "bca"]
METHODS: tuple[Method, ...] = ("auto", "studentised", "t", "expanded", "percentile", "bca")
_FEWEST_STUDENTISED = (
    8  # with fewer patients a resample's standard error is often near 0 and the interval explodes
)
_FEW = 50  # patients; below, the interval is nowhere narrower than Student's t
_WIDEST = 3.0  # times Student's t: further out a studentised end tells of resamples without spread, not of the score
_ROUNDING = 1e-9  # a standard error below this share of the largest is 0


@dataclass(frozen=True)
class Interval:
    """low, high: None where there is none. method: what was used. undefined: share of resamples without a value."""

    low: float | None
    high: float | None
    method: str
    undefined: float
    notes: tuple[str, ...] = ()


NO_INTERVAL = Interval(None, None, "none", 0.0)


@dataclass(frozen=True, eq=False)
class Jackknife:
    """What BCa needs beside the draws. left_out: () -> (k,) score without each cluster. strata: (k,) stratum of each."""

    left_out: Callable[[], Floats]
    strata: NDArray[np.int64]


def interval(
    draws: Draws, method: Method, confidence: float, span: tuple[float, float], jackknife: Jackknife | None = None
) -> Interval:  # fmt: skip
    """The interval of these draws.

    span: lowest and highest possible value, to which studentised and t intervals are cut. jackknife: for "bca".
    """
    undefined = float(np.isnan(draws.values).mean())
    notes = [f"no value in {undefined:.1%} of the resamples"] if undefined > 0 else []
    notes += [f"some structure absent in {draws.partial:.1%} of the resamples"] if draws.partial > 0 else []
    if undefined > 0.5:
        return Interval(None, None, "none", undefined, ("no interval", *notes))
    used = _chosen(method, draws)
    levels = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if used == "bca":
        adjusted = None if jackknife is None else bca_levels(draws, jackknife, levels)
        if adjusted is None:
            notes.append("BCa is undefined here: percentile interval")
            used = "percentile"
        else:
            levels = adjusted
    ends = _ends(used, draws, levels, span)
    if ends is None:
        notes += (
            ["studentised is undefined here: t interval"] if draws.error else []
        )  # equal values need no words
        used, ends = "t", _ends("t", draws, levels, span)
    assert ends is not None  # t is always defined
    return Interval(*ends, used, undefined, tuple(notes))


def _chosen(method: Method, draws: Draws) -> str:
    """``auto`` and what needs a standard error, resolved."""
    if draws.error is None:
        return "expanded" if method in ("auto", "studentised", "t") else method
    if method in ("auto", "studentised"):
        return "studentised" if draws.patients >= _FEWEST_STUDENTISED else "t"
    return method


def _ends(used: str, draws: Draws, levels: Floats, span: tuple[float, float]) -> tuple[float, float] | None:
    if used == "studentised":
        return _studentised(draws, levels, span)
    if used == "t":
        return _cut(draws.value + _t(levels, draws.patients) * (draws.error or 0.0), draws.value, span)
    if used == "expanded":
        levels = _expanded(levels, draws.patients)
    low, high = np.quantile(draws.values[~np.isnan(draws.values)], levels)
    return float(low), float(high)


def _studentised(draws: Draws, levels: Floats, span: tuple[float, float]) -> tuple[float, float] | None:
    """Bootstrap-t (Davison & Hinkley 1997, section 5.2); None where most resamples have no standard error.

    Each end lies at most three times as far out as Student's t, for the ratio explodes where resamples hold equal values;
    with fewer than 50 patients it lies at least as far out. Both are ours, and cost no coverage (see docs/statistics.md).
    """
    assert draws.error is not None
    assert draws.errors is not None
    with np.errstate(invalid="ignore"):
        usable = draws.errors > _ROUNDING * max(draws.error, float(np.nanmax(draws.errors)))
    usable &= ~np.isnan(draws.values)
    if draws.error == 0 or usable.mean() < 0.5:
        return None
    pivots = (draws.values[usable] - draws.value) / draws.errors[usable]
    quantiles = np.asarray(np.quantile(pivots, levels[::-1]), dtype=np.float64)
    student = _t(levels, draws.patients)
    least = student if draws.patients < _FEW else np.zeros(2)
    low = min(least[0], max(-quantiles[0], _WIDEST * student[0]))
    high = max(least[1], min(-quantiles[1], _WIDEST * student[1]))
    return _cut(draws.value + draws.error * np.array([low, high]), draws.value, span)


def _cut(ends: Floats, value: float, span: tuple[float, float]) -> tuple[float, float]:
    """Within what is possible; the value itself is always inside, also when it is at the border of its range."""
    low, high = (float(end) for end in np.clip(ends, min(span[0], value), max(span[1], value)))
    return min(low, value), max(high, value)


def _t(levels: Floats, patients: int) -> Floats:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(max(patients - 1, 1), levels), dtype=np.float64)


def _expanded(levels: Floats, patients: int) -> Floats:
    """Levels of the expanded percentile interval (Hesterberg 2015, section 5.3.2): as wide as Student's t."""
    from scipy.special import ndtr

    if patients < 2:
        return levels
    return np.asarray(ndtr(np.sqrt(patients / (patients - 1)) * _t(levels, patients)), dtype=np.float64)


def bca_levels(draws: Draws, jackknife: Jackknife, levels: Floats) -> Floats | None:
    """Quantile levels of the BCa interval (Efron 1987; strata as in ``scipy.stats.bootstrap``); None where undefined."""
    from scipy.special import ndtr, ndtri

    values = draws.values[~np.isnan(draws.values)]
    share = ((values < draws.value).mean() + (values <= draws.value).mean()) / 2
    without = jackknife.left_out()
    cubes = squares = 0.0
    for stratum in np.unique(jackknife.strata):
        left_out = without[(jackknife.strata == stratum) & ~np.isnan(without)]
        if len(left_out) > 1:
            influence = (len(left_out) - 1) / len(left_out) * (left_out.mean() - left_out)
            cubes, squares = cubes + float((influence**3).sum()), squares + float((influence**2).sum())
    if not 0 < share < 1 or squares == 0 or values.min() == values.max():
        return None
    bias, acceleration = ndtri(share), cubes / (6 * squares**1.5)
    shifted = bias + ndtri(levels)
    return np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)), dtype=np.float64)
