"""A score, or a difference of two, under every resample: its values and, where it is a mean, its standard errors.

The standard error is that of the linearised (delta-method) cluster variance of a ratio of sums,
``k/(k-1) sum_i e_i^2`` with ``e_i = (s_i - theta n_i) / N`` over the k patients. Under a resample it is a quadratic form
in the resample's sums, so that no loop over resamples or patients is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medeval.statistics.resamples import Resamples
from medeval.statistics.scores import MOST_COLUMNS, Floats, Score, exact_sums, mean_defined, means_of

_CHUNK_NUMBERS = 2**20  # totals (resamples x columns) made at once: 8 MB


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


@dataclass(frozen=True, eq=False)
class Wanted:
    """One score, or the first less the second, to be drawn. present: clusters that hold records.

    errors: False where no standard errors are needed; they are two thirds of the arithmetic.
    """

    scores: Sequence[Score]
    present: NDArray[np.int64]
    errors: bool = True


def draw(
    scores: Sequence[Score], resamples: Resamples, present: NDArray[np.int64], errors: bool = True
) -> Draws:
    """One score, or the first less the second, under all resamples; arguments as in ``Wanted``."""
    return draw_all([Wanted(scores, present, errors)], resamples)[0]


def draw_all(wanted: Sequence[Wanted], resamples: Resamples) -> list[Draws]:
    """Each of these under the same resamples: what is a mean takes part in one matrix product for all of them."""
    stack = _Stack(len(resamples.clusters))
    running = [_Running(one, resamples, stack) for one in wanted]
    for blocks in _chunks(resamples, stack.width):
        totals = np.concatenate([stack.under(counts) for counts in blocks]) if stack.width else None
        for one in running:
            one.add(blocks, totals)
    return [one.draws() for one in running]


def _chunks(resamples: Resamples, width: int) -> Iterator[list[NDArray]]:
    """The blocks of counts, some at a time: as many as keep (rows, width) totals small, one where there are none."""
    chunk: list[NDArray] = []
    for counts in resamples.blocks():
        chunk.append(counts)
        if not width or len(chunk) * counts.shape[0] * width >= _CHUNK_NUMBERS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _Stack:
    """Columns of all means side by side, equal ones once (metrics of the same records share their numbers)."""

    def __init__(self, clusters: int) -> None:
        self._clusters = clusters
        self._columns: list[Floats] = []
        self._places: dict[bytes, int] = {}
        self.width = 0

    def add(self, columns: Floats) -> NDArray[np.int64]:
        """(clusters, k) columns -> (k,) their places in the totals."""
        places = []
        for column in np.ascontiguousarray(columns.T):
            name = hashlib.blake2b(column.tobytes()).digest()
            if name not in self._places:
                self._places[name] = self.width
                self._columns.append(column)
                self.width += 1
            places.append(self._places[name])
        return np.array(places, dtype=np.int64)

    @cached_property
    def _matrix(self) -> Floats:
        matrix = np.stack(self._columns, axis=1)
        self._columns.clear()
        return matrix

    def under(self, counts: NDArray) -> Floats:
        """(r, clusters) counts -> (r, width) totals."""
        return counts.astype(np.float64) @ self._matrix


class _Running:
    """One wanted score while the resamples pass."""

    def __init__(self, wanted: Wanted, resamples: Resamples, stack: _Stack) -> None:
        self._wanted, self._count = wanted, resamples.count
        one = wanted.errors and len(np.unique(resamples.strata[wanted.present])) == 1
        self._linear = _Linear.of(wanted.scores, len(wanted.present), one, stack)
        self._values: list[Floats] = []
        self._errors: list[Floats] = []
        self._partial = 0

    def add(self, blocks: Sequence[NDArray], totals: Floats | None) -> None:
        """Some blocks of counts, and the totals of the stack under them."""
        if self._linear is not None:
            assert totals is not None
            values, errors, flags = self._linear.under(totals)
            self._errors += [] if errors is None else [errors]
            self._take(values, flags)
            return
        for counts in blocks:
            found = [score.under(counts) for score in self._wanted.scores]
            self._take(np.asarray(difference([score for score, _ in found])), [part for _, part in found])

    def _take(self, values: Floats, flags: Sequence[NDArray[np.bool_]]) -> None:
        self._values.append(values)
        self._partial += int(np.logical_or.reduce(flags).sum())

    def draws(self) -> Draws:
        """What was found."""
        value = float(difference([score.value() for score in self._wanted.scores]))
        values, share = np.concatenate(self._values), self._partial / self._count
        patients = len(self._wanted.present)
        if self._linear is None or not self._errors:
            return Draws(value, values, patients, partial=share)
        return Draws(value, values, patients, self._linear.error(), np.concatenate(self._errors), share)


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
    """Means by group of one or two samples as columns of a stack, with the products of their per-patient sums."""

    def __init__(self, means: Sequence, patients: int, errors: bool, stack: _Stack) -> None:
        self.means = means
        columns = np.concatenate([part for mean in means for part in (mean.sums, mean.numbers)], axis=1)
        self.places = stack.add(columns)
        self.products: NDArray[np.int64] | None = None
        if errors:
            self.pairs = np.triu_indices(columns.shape[1])
            products = exact_sums(columns[:, self.pairs[0]] * columns[:, self.pairs[1]])
            self.products = stack.add(products)
            self.once = np.concatenate([columns.sum(axis=0), products.sum(axis=0)])[None]
        self.factor = patients / (patients - 1) if patients > 1 else 0.0

    @classmethod
    def of(cls, scores: Sequence[Score], patients: int, errors: bool, stack: _Stack) -> _Linear | None:
        """None where a score is no mean."""
        means = [mean for mean in map(means_of, scores) if mean is not None]
        width = sum(2 * mean.sums.shape[1] for mean in means)
        return (
            None
            if len(means) < len(scores)
            else cls(means, patients, errors and width <= MOST_COLUMNS, stack)
        )

    def error(self) -> float:
        """Standard error on the data."""
        width = len(self.places)
        found = self._found(self.once[:, :width], self.once[:, width:])[1]
        assert found is not None
        return float(found[0])

    def under(self, totals: Floats) -> tuple[Floats, Floats | None, list[NDArray[np.bool_]]]:
        """(r, width) totals of the stack -> (r,) values, standard errors, and for each sample where some group was absent."""
        squares = None if self.products is None else np.take(totals, self.products, axis=1)
        return self._found(np.take(totals, self.places, axis=1), squares)

    def _found(
        self, totals: Floats, squares: Floats | None
    ) -> tuple[Floats, Floats | None, list[NDArray[np.bool_]]]:
        values, flags, factors, at = [], [], [], 0
        for sign, mean in zip((1.0, -1.0), self.means, strict=False):
            width = mean.sums.shape[1]
            sums, numbers = totals[:, at : at + width], totals[:, at + width : at + 2 * width]
            at += 2 * width
            found, partial = mean_defined(mean.means(sums, numbers))
            values.append(found)
            flags.append(partial)
            factors += self._factors(sign, sums, numbers)
        errors = None if squares is None else self._errors(np.concatenate(factors, axis=1), squares)
        return np.asarray(difference(values)), errors, flags

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
