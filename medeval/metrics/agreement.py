"""Agreement between raters: the table of ratings, raw agreement and the chance-corrected coefficients of the kappa family.

Every function takes ``Ratings``: units (cases) by raters, with the scale declared. Weights go by position in the declared
scale; a scale read off the ratings would weigh by rank among the *used* values (linear kappa of 1, 2, 8, 9 out of 1..9:
0.478 in the place of 0.688). An undefined value is NaN with the rule that says why, never 0 or 1.

On skewed items kappa collapses where raters nearly always agree (Feinstein & Cicchetti 1990): print ``percent_agreement``,
kappa and ``gwet`` side by side.

Sources: Cohen 1960, 1968; Fleiss 1971; Conger 1980; Brennan & Prediger 1981; Gwet, Handbook of Inter-Rater Reliability
(4th ed., 2014), whose forms for missing ratings and standard errors over units are used (as in irrCAC).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types.errors import MetricError

Weighting = Literal["identity", "linear", "quadratic", "ordinal"]
WEIGHTINGS: tuple[Weighting, ...] = ("identity", "linear", "quadratic", "ordinal")


@dataclass(frozen=True)
class Agreement:
    """One coefficient.

    value: NaN where it is undefined; ``rule`` then says why. se: standard error over units, NaN where there is none.
    observed, expected: (weighted) agreement found and expected by chance; NaN for coefficients that have none.
    n: units that entered.
    """

    value: float
    se: float = math.nan
    observed: float = math.nan
    expected: float = math.nan
    n: int = 0
    rule: str = ""

    @property
    def defined(self) -> bool:
        """True when there is a value."""
        return not math.isnan(self.value)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of units by raters.

    values: (units, raters) float64, NaN where a rater gave none.
    scale: every value that a rater may give, in order; at least two.
    """

    values: NDArray[np.float64]
    scale: tuple[float, ...]

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[float | None]] | NDArray, scale: Sequence[float] | None = None
    ) -> Ratings:
        """A checked table. Rows are units; None or NaN is a missing rating.

        scale: the declared values; None takes those that occur (right only where every value of the scale is used).
        Raises ``MetricError`` naming unit, rater and value.
        """
        width = len(rows[0]) if len(rows) else 0
        for number, row in enumerate(rows):
            if len(row) != width:
                raise MetricError(
                    f"unit {number} has {len(row)} ratings, unit 0 has {width}; write None for a missing one"
                )
        if width < 2:
            raise MetricError(
                f"{len(rows)} units by {width} raters; agreement needs a table of at least 2 raters"
            )
        values = np.array(
            [[math.nan if v is None else float(v) for v in row] for row in rows], dtype=np.float64
        )
        found = np.unique(values[~np.isnan(values)])
        declared = tuple(float(v) for v in (found if scale is None else scale))
        if len(set(declared)) != len(declared) or (scale is not None and len(declared) < 2):
            raise MetricError(f"the scale {list(declared)} must list at least two different values")
        for unit, rater in np.argwhere(~np.isnan(values) & ~np.isin(values, declared)):
            value = f"{values[unit, rater]:g}"
            raise MetricError(
                f"unit {unit}, rater {rater}: {value} is not on the scale {[f'{v:g}' for v in declared]}"
            )
        return cls(values, declared)

    @property
    def raters(self) -> int:
        """Number of raters."""
        return self.values.shape[1]

    @cached_property
    def rated(self) -> NDArray[np.float64]:
        """(units with a rating, raters): the table without units that nobody rated."""
        return self.values[~np.isnan(self.values).all(axis=1)]

    @cached_property
    def counts(self) -> NDArray[np.float64]:
        """(units with a rating, scale) how many raters gave each value."""
        return (self.rated[:, :, None] == np.asarray(self.scale)).sum(axis=1).astype(np.float64)

    def pair(self, first: int = 0, second: int = 1) -> Ratings:
        """The table of two raters, units that both rated."""
        both = self.values[:, [first, second]]
        return Ratings(both[~np.isnan(both).any(axis=1)], self.scale)

    def take(self, units: NDArray[np.int64]) -> Ratings:
        """The table of these units, which may repeat (a resample)."""
        return Ratings(self.values[units], self.scale)


def agreement_weights(levels: int, weighting: Weighting = "identity") -> NDArray[np.float64]:
    """(levels, levels) weights in [0, 1] by distance of positions d: identity 1[d = 0], linear 1 - d/(L-1),
    quadratic 1 - (d/(L-1))^2, ordinal 1 - C(d+1, 2)/C(L, 2) (Gwet)."""
    if weighting not in WEIGHTINGS:
        raise MetricError(f"unknown weighting {weighting!r}; known: {', '.join(WEIGHTINGS)}")
    distance = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels))).astype(np.float64)
    if weighting == "identity" or levels < 2:
        return (distance == 0).astype(np.float64)
    if weighting == "linear":
        return 1 - distance / (levels - 1)
    if weighting == "quadratic":
        return 1 - (distance / (levels - 1)) ** 2
    return 1 - distance * (distance + 1) / (levels * (levels - 1))


def percent_agreement(ratings: Ratings, weighting: Weighting = "identity") -> Agreement:
    """Mean over units (with two ratings or more) of the weighted share of agreeing pairs of raters."""
    found = _Pairs(ratings, weighting)
    if not found.n2:
        return Agreement(math.nan, rule="no unit has two ratings")
    se = _se(found.observed_of[found.several]) if found.n2 > 1 else math.nan
    return Agreement(found.observed, se, found.observed, n=found.n2)


def cohen_kappa(ratings: Ratings, weighting: Weighting = "identity") -> Agreement:
    """Cohen's kappa of exactly two raters, over the units that both rated; weighted: Cohen 1968.

    Two raters are Conger's case without missing ratings, so the standard error is Conger's over units (Gwet 2014), not
    the asymptotic one of Fleiss, Cohen & Everitt. Undefined (NaN) when both raters always give one same value.
    """
    if ratings.raters != 2:
        raise MetricError(
            f"Cohen's kappa is for 2 raters, not {ratings.raters}; take `conger_kappa` or `fleiss_kappa`"
        )
    return conger_kappa(ratings.pair(), weighting)


def fleiss_kappa(ratings: Ratings, weighting: Weighting = "identity") -> Agreement:
    """Fleiss' kappa for two or more raters, missing ratings allowed: chance by the pooled distribution of values."""
    found = _Pairs(ratings, weighting)
    shares = found.shares
    marginal = (found.weights @ shares + found.weights.T @ shares) / 2
    return found.coefficient(
        lambda: float(shares @ found.weights @ shares),
        lambda: found.ratings.counts @ marginal / found.per_unit,
    )


def gwet(ratings: Ratings, weighting: Weighting = "identity") -> Agreement:
    """Gwet's AC1 (identity weights) or AC2 (ordered weights), missing ratings allowed.

    Chance agreement is T_w sum_q pi_q (1 - pi_q) / (L (L - 1)), T_w the sum of weights, L the levels of the scale.
    """
    found = _Pairs(ratings, weighting)
    levels = len(ratings.scale)
    factor = found.weights.sum() / (levels * (levels - 1)) if levels > 1 else 0.0
    shares = found.shares
    return found.coefficient(
        lambda: float(factor * (shares * (1 - shares)).sum()),
        lambda: factor * (found.ratings.counts @ (1 - shares)) / found.per_unit,
    )


def brennan_prediger(ratings: Ratings, weighting: Weighting = "identity") -> Agreement:
    """Brennan & Prediger's coefficient: chance is uniform over the declared scale."""
    found = _Pairs(ratings, weighting)
    chance = float(found.weights.sum() / len(ratings.scale) ** 2)
    return found.coefficient(lambda: chance, lambda: np.full(found.n, chance), linearised=False)


def conger_kappa(ratings: Ratings, weighting: Weighting = "identity") -> Agreement:
    """Conger's kappa: Cohen's for two or more raters, each with a distribution of its own; missing ratings allowed."""
    found = _Pairs(ratings, weighting)
    if not found.n2:
        return Agreement(math.nan, rule="no unit has two ratings")
    given = ~np.isnan(found.ratings.rated)
    hits = found.ratings.rated[:, :, None] == np.asarray(ratings.scale)  # (units, raters, scale)
    per_rater = given.sum(axis=0)
    if (per_rater == 0).any():
        return Agreement(math.nan, n=found.n2, rule="a rater rated nothing")
    own = hits.sum(axis=0) / per_rater[:, None]  # (raters, scale)
    raters, mean = ratings.raters, own.mean(axis=0)
    spread = (own.T @ own - raters * np.outer(mean, mean)) / (raters - 1)
    weights = (found.weights + found.weights.T) / 2

    def chance_of() -> NDArray[np.float64]:
        known = given - per_rater / found.n
        influence = found.n * (hits - known[:, :, None] * own) / per_rater[None, :, None]
        return np.einsum("igk,kl,gl->i", influence, weights, raters * mean - own) / (raters * (raters - 1))

    return found.coefficient(
        lambda: float((weights * (np.outer(mean, mean) - spread / raters)).sum()), chance_of
    )


class _Pairs:
    """What all coefficients share: agreement of pairs of raters within each unit."""

    def __init__(self, ratings: Ratings, weighting: Weighting) -> None:
        self.ratings = ratings
        self.weights = agreement_weights(len(ratings.scale), weighting)
        counts = ratings.counts
        self.n = len(counts)
        self.per_unit = counts.sum(axis=1)
        self.several = self.per_unit >= 2
        self.n2 = int(self.several.sum())
        pairs = self.per_unit * (self.per_unit - 1)
        agreeing = (counts * (counts @ self.weights.T - 1)).sum(axis=1)
        self.observed_of = np.divide(agreeing, pairs, out=np.zeros(self.n), where=pairs > 0)
        self.observed = float(self.observed_of[self.several].mean()) if self.n2 else math.nan

    @property
    def shares(self) -> NDArray[np.float64]:
        """(scale,) share of each value, every unit weighing the same."""
        if not self.n:
            return np.zeros(len(self.ratings.scale))
        return (self.ratings.counts / self.per_unit[:, None]).mean(axis=0)

    def coefficient(
        self, chance: Callable[[], float], chance_of: Callable[[], NDArray], linearised: bool = True
    ) -> Agreement:
        """(observed - chance) / (1 - chance) with its standard error by linearisation over units.

        chance: () -> expected agreement. chance_of: () -> (units,) each unit's share in it.
        """
        if not self.n2:
            return Agreement(math.nan, rule="no unit has two ratings")
        expected = chance()
        if abs(1 - expected) < 1e-12:
            return Agreement(
                math.nan, observed=self.observed, expected=expected, n=self.n2, rule="only one value occurs"
            )
        value = (self.observed - expected) / (1 - expected)
        scaled = self.n / self.n2 * (self.observed_of - expected * self.several) / (1 - expected)
        if linearised:
            scaled = scaled - 2 * (1 - value) * (chance_of() - expected) / (1 - expected)
        se = math.sqrt(((scaled - value) ** 2).sum() / (self.n * (self.n - 1))) if self.n > 1 else math.nan
        return Agreement(value, se, self.observed, expected, self.n2)


def _se(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))
