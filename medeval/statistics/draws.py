"""A score, or a difference of two, under every resample: its values and, where it is a mean, its standard errors.

The standard error is that of the linearised (delta-method) cluster variance of a ratio of sums,
``k/(k-1) sum_i e_i^2`` with ``e_i = (s_i - theta n_i) / N`` over the k patients. Under a resample it is a quadratic form
in the resample's sums, so that no loop over resamples or patients is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.statistics.resamples import Resamples
from medeval.statistics.scores import Floats, Score, exact_sums, mean_defined, means_of

_MOST_COLUMNS = 40  # sums and numbers of all groups; their products are kept for each pair


@dataclass(frozen=True, eq=False)
class Draws:
    """value, error: on the data. values, errors: (count,) under each resample, NaN where undefined.

    error and errors are None where the score is no mean, has very many structures, or lies over several strata.
    patients: clusters that hold records. partial: share of resamples in which some structure, but not all, was absent.
    """

    value: float
    values: Floats
    patients: int
    error: float | None = None
    errors: Floats | None = None
    partial: float = 0.0


def draw(
    scores: Sequence[Score], resamples: Resamples, present: NDArray[np.int64], errors: bool = True
) -> Draws:
    """One score, or the first less the second, under all resamples. present: clusters that hold records.

    errors: False where no standard errors are needed; they are two thirds of the arithmetic.
    """
    one = errors and len(np.unique(resamples.strata[present])) == 1
    linear = _Linear.of(scores, len(present)) if one else None
    values, found_errors, partial = [], [], 0
    for counts in resamples.blocks():
        if linear is None:
            found = [score.under(counts) for score in scores]
            values.append(difference([score for score, _ in found]))
            flags = [part for _, part in found]
        else:
            block, error, flags = linear.under(counts)
            values.append(block)
            found_errors.append(error)
        partial += int(np.logical_or.reduce(flags).sum())
    value = difference([score.value() for score in scores])
    share = partial / resamples.count
    if linear is None:
        return Draws(float(value), np.concatenate(values), len(present), partial=share)
    return Draws(
        float(value),
        np.concatenate(values),
        len(present),
        linear.error(),
        np.concatenate(found_errors),
        share,
    )


def averaged(parts: Sequence[Draws]) -> Draws:
    """The plain mean of independent scores, such as one a dataset: each keeps its own draws and its own variance."""
    number = len(parts)
    values = np.mean([part.values for part in parts], axis=0)
    value = float(np.mean([part.value for part in parts]))
    patients = sum(part.patients for part in parts)
    partial = max(part.partial for part in parts)
    known = [
        (part.error, part.errors) for part in parts if part.error is not None and part.errors is not None
    ]
    if len(known) < number:
        return Draws(value, values, patients, partial=partial)
    error = float(np.sqrt(sum(e**2 for e, _ in known)) / number)
    errors = np.sqrt(np.sum([many**2 for _, many in known], axis=0)) / number
    return Draws(value, values, patients, error, errors, partial)


def difference(values: Sequence) -> NDArray | float:
    """The one value, or the first less the second; numbers or arrays."""
    return values[0] if len(values) == 1 else values[0] - values[1]


class _Linear:
    """Means by group of one or two samples, with the products of their per-patient sums."""

    def __init__(self, means: Sequence, patients: int) -> None:
        self.means = means
        self.patients = patients
        self.columns = np.concatenate([part for mean in means for part in (mean.sums, mean.numbers)], axis=1)
        self.pairs = np.triu_indices(self.columns.shape[1])
        self.products = exact_sums(self.columns[:, self.pairs[0]] * self.columns[:, self.pairs[1]])
        self.factor = patients / (patients - 1) if patients > 1 else 0.0

    @classmethod
    def of(cls, scores: Sequence[Score], patients: int) -> _Linear | None:
        means = [means_of(score) for score in scores]
        found = [mean for mean in means if mean is not None]
        width = sum(2 * mean.sums.shape[1] for mean in found)
        return cls(found, patients) if len(found) == len(means) and width <= _MOST_COLUMNS else None

    def error(self) -> float:
        """Standard error on the data."""
        ones = np.ones((1, len(self.columns)))
        return float(self.under(ones)[1][0])

    def under(self, counts: NDArray) -> tuple[Floats, Floats, list[NDArray[np.bool_]]]:
        """(r, clusters) counts -> (r,) values, (r,) standard errors, and for each sample where some group was absent."""
        weights = counts.astype(np.float64)
        totals, squares = weights @ self.columns, weights @ self.products
        values, flags, factors, at = [], [], [], 0
        for sign, mean in zip((1.0, -1.0), self.means, strict=False):
            width = mean.sums.shape[1]
            sums, numbers = totals[:, at : at + width], totals[:, at + width : at + 2 * width]
            at += 2 * width
            found, partial = mean_defined(mean.means(sums, numbers))
            values.append(found)
            flags.append(partial)
            factors += self._factors(sign, sums, numbers)
        return np.asarray(difference(values)), self._errors(np.concatenate(factors, axis=1), squares), flags

    def _factors(self, sign: float, sums: Floats, numbers: Floats) -> list[Floats]:
        """Factors of a patient's sums and numbers in its influence on the mean over groups."""
        there = numbers > 0
        groups = np.maximum(there.sum(axis=1, keepdims=True), 1)
        share = np.divide(sign, numbers * groups, out=np.zeros_like(numbers), where=there)
        return [share, -share * np.divide(sums, numbers, out=np.zeros_like(sums), where=there)]

    def _errors(self, factors: Floats, squares: Floats) -> Floats:
        first, second = self.pairs
        twice = np.where(first == second, 1.0, 2.0)
        variance = (factors[:, first] * factors[:, second] * squares * twice).sum(axis=1)
        return np.sqrt(np.maximum(self.factor * variance, 0.0))
