"""Intraclass correlation: the six forms of Shrout & Fleiss (1979) with F intervals of McGraw & Wong (1996).

Which one: a single judge in the place of raters drawn from many, absolute agreement: ICC(2,1); the mean of a panel of k:
ICC(2,k); raters fixed, consistency only: ICC(3,1) and ICC(3,k); other raters for every case: ICC(1,1) and ICC(1,k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medeval.metrics.agreement import Ratings
from medeval.types.errors import MetricError

Form = Literal["ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(1,k)", "ICC(2,k)", "ICC(3,k)"]
FORMS: tuple[Form, ...] = ("ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(1,k)", "ICC(2,k)", "ICC(3,k)")


@dataclass(frozen=True)
class MeanSquares:
    """The two-way table without replication: n cases, k raters, and mean squares of rows, columns, within and error."""

    n: int
    k: int
    rows: float
    columns: float
    within: float
    error: float


@dataclass(frozen=True)
class ICC:
    """One form. value, low, high: NaN where they do not exist; ``rule`` then says why."""

    form: Form
    value: float
    low: float = math.nan
    high: float = math.nan
    rule: str = ""


def mean_squares(ratings: Ratings) -> MeanSquares:
    """Analysis of variance of a full table.

    Raises ``MetricError`` when a rating is missing (dropping cases or raters would change who is measured; take
    ``krippendorff_alpha``) or with fewer than two cases.
    """
    table = ratings.values
    n, k = table.shape
    if np.isnan(table).any():
        raise MetricError(f"an ICC needs every rating; {int(np.isnan(table).sum())} of {table.size} are missing; "
                          "take krippendorff_alpha(level='interval')")  # fmt: skip
    if n < 2:
        raise MetricError(f"an ICC needs at least 2 cases, not {n}")
    grand, of_case, of_rater = table.mean(), table.mean(axis=1), table.mean(axis=0)
    residual = table - of_case[:, None] - of_rater + grand
    return MeanSquares(
        n, k,
        float(k * ((of_case - grand) ** 2).sum() / (n - 1)),
        float(n * ((of_rater - grand) ** 2).sum() / (k - 1)),
        float(((table - of_case[:, None]) ** 2).sum() / (n * (k - 1))),
        float((residual**2).sum() / ((n - 1) * (k - 1))),
    )  # fmt: skip


def icc(ratings: Ratings, form: Form = "ICC(2,1)", confidence: float = 0.95) -> ICC:
    """One form with its two-sided interval. Undefined (NaN) when no rating differs from another."""
    if form not in FORMS:
        raise MetricError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    ms = mean_squares(ratings)
    if max(ms.rows, ms.within) <= 1e-12:
        return ICC(form, math.nan, rule="only one value occurs")
    single, low, high = _SINGLE[form[4]](ms, (1 - confidence) / 2)
    if form.endswith("1)"):
        return ICC(form, single, low, high)
    return ICC(form, _stepped_up(single, ms.k), _stepped_up(low, ms.k), _stepped_up(high, ms.k))


def _stepped_up(value: float, k: int) -> float:
    """Spearman-Brown: the mean of k raters; it does not exist for a single-rater value at or below -1/(k-1)."""
    return k * value / (1 + (k - 1) * value) if 1 + (k - 1) * value > 1e-9 else math.nan


def _from_f(ratio: float, k: int) -> float:
    return (ratio - 1) / (ratio + k - 1) if math.isfinite(ratio) else 1.0


def _one_way(ms: MeanSquares, tail: float) -> tuple[float, float, float]:
    return _by_ratio(ms, ms.within, ms.n * (ms.k - 1), tail)


def _consistency(ms: MeanSquares, tail: float) -> tuple[float, float, float]:
    return _by_ratio(ms, ms.error, (ms.n - 1) * (ms.k - 1), tail)


def _by_ratio(ms: MeanSquares, noise: float, freedom: int, tail: float) -> tuple[float, float, float]:
    from scipy.stats import f

    ratio = ms.rows / noise if noise > 0 else math.inf
    low = ratio / f.ppf(1 - tail, ms.n - 1, freedom)
    high = ratio * f.ppf(1 - tail, freedom, ms.n - 1)
    return _from_f(ratio, ms.k), _from_f(low, ms.k), _from_f(high, ms.k)


def _absolute(ms: MeanSquares, tail: float) -> tuple[float, float, float]:
    """ICC(2,1); the degrees of freedom of its noise by Satterthwaite."""
    from scipy.stats import f

    n, k = ms.n, ms.k
    value = (ms.rows - ms.error) / (ms.rows + (k - 1) * ms.error + k * (ms.columns - ms.error) / n)
    if value >= 1:
        return 1.0, 1.0, 1.0
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    noise = a * ms.columns + b * ms.error
    parts = (a * ms.columns) ** 2 / (k - 1) + (b * ms.error) ** 2 / ((n - 1) * (k - 1))
    freedom = noise**2 / parts if parts > 0 else math.nan
    upper, lower = f.ppf(1 - tail, n - 1, freedom), f.ppf(1 - tail, freedom, n - 1)
    spread = k * ms.columns + (k * n - k - n) * ms.error
    low = n * (ms.rows - upper * ms.error) / (upper * spread + n * ms.rows)
    high = n * (lower * ms.rows - ms.error) / (spread + n * lower * ms.rows)
    return value, float(low), float(high)


_SINGLE = {"1": _one_way, "2": _absolute, "3": _consistency}
