"""Bootstrap intervals of any agreement statistic: all ratings of a case move together, all cases of a patient too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.agreement import Ratings
from medeval.types.errors import MetricError
from medeval.types.seeds import rng


@dataclass(frozen=True)
class Interval:
    """value: on the table as it is. low, high: NaN where fewer than two clusters or no defined resample are there.

    undefined: resamples on which the statistic has no value (counted, for a share above a few per cent makes the
    interval doubtful). clusters: what was resampled.
    """

    value: float
    low: float
    high: float
    count: int
    undefined: int
    clusters: int
    method: str


def bootstrap_interval(
    statistic: Callable[[Ratings], float],
    ratings: Ratings,
    clusters: Sequence[str] | None = None,
    *,
    count: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    method: Literal["percentile", "bca"] = "percentile",
) -> Interval:
    """Interval of ``statistic`` (NaN where undefined) by resampling clusters of units.

    clusters: (units,) the patient of each unit; None: each unit by itself. bca: bias-corrected and accelerated (Efron
    1987), acceleration by leaving out one cluster at a time.
    """
    if method not in ("percentile", "bca"):
        raise MetricError(f"unknown method {method!r}; known: percentile, bca")
    members = _members(len(ratings.values), clusters)
    value = statistic(ratings)
    generator = rng(seed, "agreement", len(members))
    draws = np.empty(count)
    for number in range(count):
        drawn = generator.integers(0, len(members), len(members))
        draws[number] = statistic(ratings.take(np.concatenate([members[i] for i in drawn])))
    defined = np.sort(draws[~np.isnan(draws)])
    undefined = count - len(defined)
    if len(members) < 2 or not len(defined) or math.isnan(value):
        return Interval(value, math.nan, math.nan, count, undefined, len(members), method)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _corrected(tails, value, defined, _left_out(statistic, ratings, members))
    low, high = np.quantile(defined, tails)
    return Interval(value, float(low), float(high), count, undefined, len(members), method)


def _members(units: int, clusters: Sequence[str] | None) -> list[NDArray[np.int64]]:
    if clusters is None:
        return [np.array([unit]) for unit in range(units)]
    if len(clusters) != units:
        raise MetricError(f"{len(clusters)} clusters for {units} units; one patient (or id) a unit is needed")
    names = np.asarray(clusters, dtype=str)
    return [np.flatnonzero(names == name) for name in sorted(set(names.tolist()))]


def _left_out(
    statistic: Callable[[Ratings], float], ratings: Ratings, members: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    everything = np.arange(len(ratings.values))
    values = np.array([statistic(ratings.take(np.setdiff1d(everything, part))) for part in members])
    return values[~np.isnan(values)]


def _corrected(
    tails: NDArray[np.float64], value: float, draws: NDArray[np.float64], left_out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The quantiles that BCa reads; the plain ones where every draw lies on one side of the value."""
    from scipy.stats import norm

    below = ((draws < value).sum() + (draws == value).sum() / 2) / len(draws)
    if not 0 < below < 1 or len(left_out) < 2:
        return tails
    shift = norm.ppf(below)
    pull = left_out.mean() - left_out
    spread = (pull**2).sum()
    acceleration = (pull**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    z = shift + norm.ppf(tails)
    return norm.cdf(shift + z / (1 - acceleration * z))
