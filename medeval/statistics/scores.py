"""A score as a function of how often each cluster counts: what the bootstrap and the jackknife both ask.

Linear metrics are first summed by cluster, so that a resample is one row of a small matrix product; all others go
through ``Metric.reduce`` with the counts as weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics.labels import Labels, numbered
from medeval.types.errors import MetricError

Average = Literal["records", "cases", "patients", "structures"]
Floats = NDArray[np.float64]

ESTIMANDS: Mapping[str, str] = {
    "records": "pooled over all records",
    "cases": "mean within a case, then over cases",
    "patients": "mean within a patient, then over patients",
    "structures": "per structure, then mean over structures",
}
_WEIGHT_CELLS = 2**21  # most weights (resamples x records) handed to ``Metric.reduce`` at once: 16 MB
MOST_COLUMNS = (
    40  # sums and numbers of all groups of which the products of each pair are kept, for standard errors
)
_PART = 4096
_ROWS = 64  # clusters left out at once by the jackknife


@dataclass(frozen=True, eq=False)
class Sample:
    """The records of one score.

    statistics: field -> (n,) what ``Metric.observe`` gave, finite, records without a value left out.
    patients: (n,) cluster of each record. groups: (n,) case id or structure name, as the average asks.
    """

    statistics: Mapping[str, NDArray]
    patients: Sequence[str] | NDArray | Labels
    groups: Sequence[str] | NDArray | Labels | None = None


class Score(Protocol):
    """A score as a function of how often each cluster counts."""

    note: str  # what the value leaves out, "" for nothing
    size: int  # numbers that it and its draws hold

    def value(self) -> float:
        """The score when each cluster counts once; NaN where undefined."""

    def under(self, counts: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        """(r, clusters) counts -> (r,) scores, NaN where undefined, and where only some groups were defined."""

    def without_each(self, left_out: NDArray[np.int64]) -> Floats:
        """(k,) scores without each of these clusters, one at a time."""


def mean_defined(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """(rows,) mean of each row's defined values, NaN where there is none; and whether some, but not all, were undefined."""
    defined = ~np.isnan(values)
    number = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    means = np.divide(total, number, out=np.full(len(values), np.nan), where=number > 0)
    return means, (number > 0) & (number < values.shape[1])


def exact_sums(sums: Floats) -> Floats:
    """Round (clusters, groups) sums so that any weighted sum of a resample is exact, in whatever order it is added.

    Counts are integers that add up to the number of clusters, so multiples of a common power of two stay below 2**53 of
    them; the result then has the same bytes for every BLAS and number of threads (Demmel & Nguyen 2013).
    """
    exponent = np.frexp(np.abs(sums).max(axis=0) * len(sums))[1]
    quantum = np.ldexp(1.0, np.maximum(exponent - 52, -1000))
    return np.round(sums / quantum) * quantum


class _Mean:
    """Weighted means by group, kept as per-cluster sums: ``mean_g(centre_g + counts @ sums_g / counts @ numbers_g)``.

    Sums are of the deviations from the group's mean: equal values then give an interval of exactly that value.
    """

    def __init__(
        self, values: Floats, codes: NDArray[np.int64], groups: NDArray[np.int64], size: int, note: str = ""
    ) -> None:
        self.note = note
        number = int(groups.max()) + 1
        parts = [values] if number == 1 else _split(values, groups, number)
        self.centre = np.array([_total(part) / len(part) for part in parts])
        cell, cells = (codes, size) if number == 1 else (codes * number + groups, size * number)
        deviations = values - (self.centre[0] if number == 1 else self.centre[groups])
        sums = np.bincount(cell, weights=deviations, minlength=cells)
        self.sums = exact_sums(sums.astype(np.float64).reshape(size, number))
        self.numbers = np.bincount(cell, minlength=cells).reshape(size, number).astype(np.float64)
        products = number * (2 * number + 1) if 2 * number <= MOST_COLUMNS else 0
        self.size = size * (2 * number + products)

    def value(self) -> float:
        return math.fsum(self.centre) / len(self.centre)

    def means(self, sums: Floats, numbers: Floats) -> Floats:
        """(r, groups) means of these sums of deviations and numbers of records; NaN where a group is absent."""
        return self.centre + np.divide(sums, numbers, out=np.full_like(sums, np.nan), where=numbers > 0)

    def under(self, counts: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        weights = counts.astype(np.float64)
        return mean_defined(self.means(weights @ self.sums, weights @ self.numbers))

    def without_each(self, left_out: NDArray[np.int64]) -> Floats:
        sums = self.sums.sum(axis=0) - self.sums[left_out]
        return mean_defined(self.means(sums, self.numbers.sum(axis=0) - self.numbers[left_out]))[0]


def _split(values: Floats, groups: NDArray[np.int64], number: int) -> list[Floats]:
    """The values of each group, in their order."""
    order = np.argsort(groups, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(groups, minlength=number))[:-1])


def _total(values: Floats) -> float:
    """The exactly rounded sum, by a few thousand numbers at a time: ``fsum`` takes a list in a third of the time."""
    parts = (values[start : start + _PART].tolist() for start in range(0, len(values), _PART))
    return math.fsum(chain.from_iterable(parts))


def means_of(score: Score) -> _Mean | None:
    """The score as per-cluster sums; None where it is no mean."""
    return score if isinstance(score, _Mean) else None


class _Reduced:
    """Any metric through ``Metric.reduce``, with a record's weight the count of its cluster."""

    def __init__(self, metric: Metric, statistics: Mapping[str, NDArray], codes: NDArray[np.int64],
                 groups: NDArray[np.int64], size: int, state: Any) -> None:  # fmt: skip
        self.metric, self.state, self.clusters = metric, state, size
        rows = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]
        self.parts = [({name: field[r] for name, field in statistics.items()}, codes[r]) for r in rows]
        self.size = sum(len(field) for fields, _ in self.parts for field in fields.values())
        self.step = max(1, _WEIGHT_CELLS // len(codes))
        by_group = self._by_group(np.ones((1, size)))
        self._value = float(mean_defined(by_group)[0][0])
        without = int(np.isnan(by_group).sum())
        self.note = f"{without} of {len(rows)} structures undefined" if len(rows) > 1 and without else ""

    def value(self) -> float:
        return self._value

    def under(self, counts: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        return mean_defined(self._by_group(counts))

    def _by_group(self, counts: NDArray) -> Floats:
        values = np.empty((len(counts), len(self.parts)))
        for start in range(0, len(counts), self.step):
            rows = slice(start, start + self.step)
            for column, (statistics, codes) in enumerate(self.parts):
                weights = counts[rows, codes].astype(np.float64)
                values[rows, column] = self.metric.reduce(statistics, weights, self.state)
        return values

    def without_each(self, left_out: NDArray[np.int64]) -> Floats:
        values = []
        for start in range(0, len(left_out), _ROWS):
            part = left_out[start : start + _ROWS]
            counts = np.ones((len(part), self.clusters), dtype=np.uint8)
            counts[np.arange(len(part)), part] = 0
            values.append(self.under(counts)[0])
        return np.concatenate(values)


class _Undefined:
    """A mean within cases of a metric that no single case defines, such as the AUROC of one record."""

    note = "undefined within each single case: average over records instead"
    size = 0

    def value(self) -> float:
        return math.nan

    def under(self, counts: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        return np.full(len(counts), np.nan), np.zeros(len(counts), dtype=bool)

    def without_each(self, left_out: NDArray[np.int64]) -> Floats:
        return np.full(len(left_out), np.nan)


def _checked(metric: Metric, statistics: Mapping[str, NDArray], rows: int) -> dict[str, NDArray]:
    """Arrays of the metric's fields, all of ``rows`` finite rows. Raises ``MetricError``."""
    fields: dict[str, NDArray] = {}
    for name in metric.statistic:
        if name not in statistics:
            raise MetricError(
                f"{metric.name}: statistic {name!r} is missing; given: {', '.join(statistics) or 'none'}"
            )
        field = np.asarray(statistics[name])
        if field.shape != (rows,):
            raise MetricError(
                f"{metric.name}: statistic {name!r} has shape {field.shape}, but there are {rows} records"
            )
        if field.dtype.kind == "f" and not np.isfinite(field).all():
            raise MetricError(f"{metric.name}: statistic {name!r} is not finite in {int((~np.isfinite(field)).sum())} of "
                              f"{rows} records; undefined records are to be left out, failures take the worst value")  # fmt: skip
        fields[name] = field
    return fields


def _order(
    fields: Sequence[NDArray], labels: NDArray[np.int64] | None, codes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Row numbers sorted by cluster, group and statistics; small numbers are sorted by radix.

    Rows that are equal in a single statistic may stand in any order, so that its sort need not be stable.
    """
    order = np.lexsort(fields) if len(fields) > 1 else np.argsort(fields[0])
    for key in (codes,) if labels is None else (labels, codes):
        small = key.astype(np.uint16) if key.max() < 2**16 else key
        order = order[np.argsort(small[order], kind="stable")]
    return order


def _numbered(labels: Sequence[str] | NDArray | Labels) -> NDArray[np.int64]:
    """(n,) 0-based number of each label in sorted order."""
    if isinstance(labels, Labels) and labels.ordered and labels.codes.min(initial=0) >= 0:
        return numbered(labels.codes, len(labels.values))
    names = np.asarray(labels).astype(str).tolist()
    number = {name: position for position, name in enumerate(sorted(set(names)))}
    return np.fromiter((number[name] for name in names), dtype=np.int64, count=len(names))


def bind(
    metric: Metric, sample: Sample, codes: NDArray[np.int64], size: int, average: Average, state: Any
) -> Score:
    """The sample as a function of cluster counts; rows are sorted first, so that their order changes no byte.

    codes: (n,) number of each record's cluster, below ``size``; n >= 1.
    """
    if average not in ESTIMANDS:
        raise ValueError(f"average is {average!r}; it must be one of {', '.join(ESTIMANDS)}")
    if average in ("cases", "structures") and sample.groups is None:
        raise ValueError(f"average={average!r} needs groups: the {average[:-1]} of each record")
    fields = _checked(metric, sample.statistics, len(codes))
    labels = np.zeros_like(codes) if sample.groups is None else _numbered(sample.groups)
    if len(labels) != len(codes):
        raise ValueError(f"{len(labels)} groups for {len(codes)} records")
    sortable = [field if field.dtype.kind in "fiub" else _numbered(field) for field in fields.values()]
    order = _order(sortable, labels if sample.groups is not None else None, codes)
    fields = {name: field[order] for name, field in fields.items()}
    codes, labels = codes[order], labels[order]
    if average in ("cases", "patients"):
        return _mean_within(metric, fields, codes, labels if average == "cases" else codes, size, state)
    labels = labels if average == "structures" else np.zeros_like(codes)
    if metric.linear:
        return _Mean(fields["value"].astype(np.float64), codes, labels, size)
    return _Reduced(metric, fields, codes, labels, size, state)


def _mean_within(metric: Metric, fields: Mapping[str, NDArray], codes: NDArray[np.int64], labels: NDArray[np.int64],
                 size: int, state: Any) -> Score:  # fmt: skip
    """One value a case (or patient) first, then their mean. A case lies within its patient; rows are sorted by both."""
    starts = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(labels) != 0)])
    if metric.linear:
        numbers = np.diff(np.r_[starts, len(codes)])
        values = np.add.reduceat(fields["value"].astype(np.float64), starts) / numbers
    else:
        stops = np.r_[starts[1:], len(codes)]
        values = np.array([
            metric.reduce({k: f[a:b] for k, f in fields.items()}, np.ones((1, b - a)), state)[0]
            for a, b in zip(starts, stops, strict=True)
        ])  # fmt: skip
    kept = ~np.isnan(values)
    if not kept.any():
        return _Undefined()
    note = "" if kept.all() else f"undefined within {int((~kept).sum())} of {len(kept)} cases, left out"
    return _Mean(values[kept], codes[starts][kept], np.zeros(int(kept.sum()), dtype=np.int64), size, note)
