"""Krippendorff's alpha: disagreement observed over disagreement expected, for any number of raters and missing ratings.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011). Units with fewer than two ratings drop out.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.agreement import Agreement, Ratings
from medeval.types.errors import MetricError

Level = Literal["nominal", "ordinal", "interval", "ratio"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval", "ratio")


def krippendorff_alpha(ratings: Ratings, level: Level = "nominal") -> Agreement:
    """Alpha in (-1, 1]; 1 is perfect agreement, 0 what chance gives. Undefined (NaN) when only one value occurs.

    level: the difference of two values c, k: nominal 1[c != k]; ordinal (ratings between them)^2; interval (c - k)^2;
        ratio ((c - k) / (c + k))^2.
    """
    if level not in LEVELS:
        raise MetricError(f"unknown level of measurement {level!r}; known: {', '.join(LEVELS)}")
    counts = ratings.counts
    per_unit = counts.sum(axis=1)
    counts, per_unit = counts[per_unit >= 2], per_unit[per_unit >= 2]
    if not len(counts):
        return Agreement(math.nan, rule="no unit has two ratings")
    scaled = counts / (per_unit - 1)[:, None]
    coincidences = counts.T @ scaled - np.diag(scaled.sum(axis=0))
    totals = coincidences.sum(axis=0)
    distance = _squared_distance(np.asarray(ratings.scale), totals, level)
    expected = float(totals @ distance @ totals / (totals.sum() - 1))
    if expected == 0:
        return Agreement(math.nan, n=len(counts), rule="only one value occurs")
    return Agreement(float(1 - (coincidences * distance).sum() / expected), n=len(counts))


def _squared_distance(
    scale: NDArray[np.float64], totals: NDArray[np.float64], level: Level
) -> NDArray[np.float64]:
    """(scale, scale) squared difference of any two values."""
    difference = np.subtract.outer(scale, scale)
    if level == "nominal":
        return (difference != 0).astype(np.float64)
    if level == "interval":
        return difference**2
    if level == "ratio":
        total = np.add.outer(scale, scale)
        return np.divide(difference, total, out=np.zeros_like(difference), where=total != 0) ** 2
    upto = np.cumsum(totals)  # ordinal: the ratings from one value to the other, half of those at either end
    middle = upto - totals / 2
    return np.subtract.outer(middle, middle) ** 2
