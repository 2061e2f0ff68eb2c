"""Every coefficient of two raters on all resamples at once: from the pairs of values and how often each was drawn.

The definitions are those of ``medeval.metrics.agreement`` (tests hold both equal); here each is written for (resamples, pairs)
weights, which makes 2,000 resamples of eight coefficients a matter of milliseconds in the place of seconds. An undefined value
is NaN, and its rule is told for the table as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.agreement import Weighting, agreement_weights

Floats = NDArray[np.float64]
NAMES = ("agreement", "kappa", "alpha", "ac", "icc", "spearman", "kendall", "bias")
NEEDS_SCALE = ("kappa", "alpha", "ac")


@dataclass(frozen=True, eq=False)
class Pairs:
    """The distinct pairs of values of two raters.

    first, second: (m,). member: (n,) which pair each unit is. scale: declared values in order; () where there is none
    (means over items), and what needs one is then undefined.
    """

    first: Floats
    second: Floats
    member: NDArray[np.int64]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, first: Floats, second: Floats, scale: Sequence[float]) -> Pairs:
        """From (n,) values without NaN. A value that is not on the scale leaves what needs one undefined."""
        cells, member = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
        on_scale = bool(np.isin(cells, np.asarray(scale)).all()) and len(scale) > 1
        return cls(cells[:, 0], cells[:, 1], member.reshape(-1), tuple(scale) if on_scale else ())

    def weights(self, counts: NDArray) -> Floats:
        """(r, n) draws of units -> (r, m) draws of pairs."""
        ones = np.zeros((len(self.member), len(self.first)))
        ones[np.arange(len(self.member)), self.member] = 1.0
        return counts.astype(np.float64) @ ones


def coefficients(pairs: Pairs, weights: Floats, weighting: Weighting = "quadratic") -> Mapping[str, Floats]:
    """name -> (r,) values under (r, m) weights of the pairs; NaN where undefined.

    agreement: share of equal values. kappa, ac: Cohen's and Gwet's (AC1 on two values, AC2 above), weighted by position on the
    scale. alpha: Krippendorff's, ordinal. icc: ICC(2,1). spearman; kendall: tau-b. bias: mean of first minus second.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weights.sum(axis=1)
        found = {
            "agreement": weights @ (pairs.first == pairs.second) / total,
            "bias": weights @ (pairs.first - pairs.second) / total,
            "icc": _icc(pairs, weights, total),
            "spearman": _spearman(pairs, weights, total),
            "kendall": _kendall(pairs, weights),
        }
        if pairs.scale:
            found |= _by_scale(pairs, weights, total, weighting)
    undefined = np.full(len(weights), np.nan)
    return {name: found.get(name, undefined) for name in NAMES}


def _by_scale(pairs: Pairs, weights: Floats, total: Floats, weighting: Weighting) -> dict[str, Floats]:
    levels = np.asarray(pairs.scale)
    first, second = np.searchsorted(levels, pairs.first), np.searchsorted(levels, pairs.second)
    ones = np.eye(len(levels))
    a, b = (
        weights @ ones[first] / total[:, None],
        weights @ ones[second] / total[:, None],
    )  # shares of each value
    near = agreement_weights(len(levels), weighting)
    observed = weights @ near[first, second] / total
    mean = (a + b) / 2
    by_chance = near.sum() / (len(levels) * (len(levels) - 1)) * (mean * (1 - mean)).sum(axis=1)
    return {
        "kappa": _corrected(observed, ((a @ near) * b).sum(axis=1)),
        "ac": _corrected(observed, by_chance),
        "alpha": _alpha(first, second, weights, 2 * total[:, None] * mean),
    }


def _corrected(observed: Floats, expected: Floats) -> Floats:
    return np.where(np.abs(1 - expected) < 1e-12, np.nan, (observed - expected) / (1 - expected))


def _alpha(first: NDArray, second: NDArray, weights: Floats, counts: Floats) -> Floats:
    """Ordinal: the distance of two values is the number of ratings between them, half of those at either end.

    counts: (r, levels) ratings of each value by both raters.
    """
    place = np.cumsum(counts, axis=1) - counts / 2
    ratings = counts.sum(axis=1)
    found = 2 * (weights * (place[:, first] - place[:, second]) ** 2).sum(axis=1)
    spread = ratings * (counts * place**2).sum(axis=1) - (counts * place).sum(axis=1) ** 2
    expected = 2 * spread / (ratings - 1)
    return np.where(expected <= 1e-9, np.nan, 1 - found / expected)


def _icc(pairs: Pairs, weights: Floats, n: Floats) -> Floats:
    """ICC(2,1) of two raters from the mean squares of rows, columns and error."""
    middle, apart = (pairs.first + pairs.second) / 2, pairs.first - pairs.second
    mean, shift = weights @ middle / n, weights @ apart / n
    rows = 2 * np.maximum(weights @ middle**2 - n * mean**2, 0) / (n - 1)
    columns = n * shift**2 / 2
    error = np.maximum(weights @ apart**2 - n * shift**2, 0) / 2 / (n - 1)
    bottom = rows + error + 2 * (columns - error) / n
    return np.where((np.maximum(rows, columns + error) <= 1e-12) | (n < 2), np.nan, (rows - error) / bottom)


def _spearman(pairs: Pairs, weights: Floats, n: Floats) -> Floats:
    a, b = _ranks(pairs.first, weights), _ranks(pairs.second, weights)
    a, b = a - ((weights * a).sum(axis=1) / n)[:, None], b - ((weights * b).sum(axis=1) / n)[:, None]
    spread = (weights * a**2).sum(axis=1) * (weights * b**2).sum(axis=1)
    return np.where(spread <= 1e-12, np.nan, (weights * a * b).sum(axis=1) / np.sqrt(spread))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """(r, m) mid-ranks of each pair's value among all drawn units."""
    levels, code = np.unique(values, return_inverse=True)
    counts = weights @ np.eye(len(levels))[code]
    return (np.cumsum(counts, axis=1) - counts / 2 + 0.5)[:, code]


def _kendall(pairs: Pairs, weights: Floats) -> Floats:
    """Tau-b: concordant less discordant pairs of units over those not tied on either side."""
    a = np.sign(np.subtract.outer(pairs.first, pairs.first))
    b = np.sign(np.subtract.outer(pairs.second, pairs.second))

    def over(table: Floats) -> Floats:
        return ((weights @ table) * weights).sum(axis=1)

    spread = over(a * a) * over(b * b)
    return np.where(spread <= 0, np.nan, over(a * b) / np.sqrt(np.maximum(spread, 1e-300)))
