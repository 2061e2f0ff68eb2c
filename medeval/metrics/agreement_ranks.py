"""Correlation of rankings, and how far one rater lies above another: what an agreement coefficient does not tell.

Two judges can agree well in F1 or kappa and still be lenient by many points; report ``rater_bias`` beside agreement.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.agreement import Agreement, Ratings
from medeval.types.errors import MetricError

Correlation = Literal["spearman", "pearson", "kendall_tau_b", "kendall_tau_c"]


def correlation(first: NDArray, second: NDArray, kind: Correlation = "spearman") -> Agreement:
    """Correlation in [-1, 1] of two raters' (n,) values, pairs with a missing one left out (scipy.stats).

    Kendall's tau-b also compares two rankings of systems. Undefined (NaN) for fewer than two pairs or a constant side.
    """
    from scipy import stats

    a, b = _paired(first, second)
    if len(a) < 2:
        return Agreement(math.nan, n=len(a), rule="fewer than two pairs")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return Agreement(math.nan, n=len(a), rule="one side is constant")
    measures: dict[str, Callable[[Any, Any], Any]] = {
        "spearman": stats.spearmanr,
        "pearson": stats.pearsonr,
        "kendall_tau_b": stats.kendalltau,
        "kendall_tau_c": partial(stats.kendalltau, variant="c"),
    }
    if kind not in measures:
        raise MetricError(f"unknown correlation {kind!r}; known: {', '.join(measures)}")
    value = measures[kind](a, b).statistic
    return Agreement(float(value), n=len(a))


def kendall_w(ratings: Ratings) -> Agreement:
    """Kendall's coefficient of concordance of k raters in [0, 1], corrected for ties. Needs a full table."""
    from scipy.stats import rankdata

    table = ratings.values
    if np.isnan(table).any():
        raise MetricError(
            "Kendall's W needs every rating; take krippendorff_alpha(level='ordinal') with missing ones"
        )
    n, k = table.shape
    if n < 2:
        return Agreement(math.nan, n=n, rule="fewer than two units")
    ranks = np.apply_along_axis(rankdata, 0, table)
    ties = sum(
        float((c**3 - c).sum()) for c in (np.unique(column, return_counts=True)[1] for column in table.T)
    )
    sums = ranks.sum(axis=1)
    possible = k**2 * (n**3 - n) - k * ties
    if possible <= 0:
        return Agreement(math.nan, n=n, rule="only one value occurs")
    return Agreement(float(12 * ((sums - sums.mean()) ** 2).sum() / possible), n=n)


@dataclass(frozen=True)
class Bias:
    """First rater minus second.

    mean, low, high: mean difference with its t interval; lower, upper: Bland-Altman limits, between which 95 % of the
    differences lie, each with its interval; sd: of the differences. NaN where n is too small.
    """

    mean: float
    low: float
    high: float
    sd: float
    lower: float
    lower_interval: tuple[float, float]
    upper: float
    upper_interval: tuple[float, float]
    n: int


def rater_bias(first: NDArray, second: NDArray, confidence: float = 0.95) -> Bias:
    """Mean difference of two raters' (n,) values and the limits of agreement (Bland & Altman 1986, 1999).

    Limits: mean +- 1.96 sd; the standard error of a limit is sd sqrt(1/n + 1.96^2 / (2 (n - 1))).
    """
    from scipy.stats import t

    a, b = _paired(first, second)
    difference = a - b
    n = len(difference)
    if n < 2:
        nan = math.nan
        return Bias(
            float(difference.mean()) if n else nan, nan, nan, nan, nan, (nan, nan), nan, (nan, nan), n
        )
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(t.ppf((1 + confidence) / 2, n - 1))
    half = quantile * sd / math.sqrt(n)
    z = 1.959963984540054
    around = quantile * sd * math.sqrt(1 / n + z**2 / (2 * (n - 1)))
    lower, upper = mean - z * sd, mean + z * sd
    return Bias(mean, mean - half, mean + half, sd, lower, (lower - around, lower + around),
                upper, (upper - around, upper + around), n)  # fmt: skip


def _paired(first: NDArray, second: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise MetricError(f"two raters of the same units are needed; got shapes {a.shape} and {b.shape}")
    both = ~np.isnan(a) & ~np.isnan(b)
    return a[both], b[both]
