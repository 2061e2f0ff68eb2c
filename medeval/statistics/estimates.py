"""Estimates with bootstrap intervals, of one score and of the difference of two on the same draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics.resamples import Resamples
from medeval.statistics.scores import ESTIMANDS, Average, Floats, Sample, Score, bind

Method = Literal["percentile", "bca"]

FEW_PATIENTS = 50  # below it the intervals of skewed scores cover clearly less than they say


@dataclass(frozen=True)
class Estimate:
    """A score with its interval.

    value: None when nothing could be scored. low, high: the interval, None when there is none (``note`` says why).
    n: number of records. patients: number of patients among them, None when they are not (all) known.
    method: "percentile", "bca" or "none". estimand: what the value is a mean of.
    undefined: share of the resamples under which the score has no value; the interval is of the others.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    patients: int | None
    method: str
    estimand: str
    note: str = ""
    undefined: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as an interval cell of a ``Table`` takes it."""
        return asdict(self)


def estimate(metric: Metric, statistics: Mapping[str, NDArray], patients: Sequence[str] | NDArray, resamples: Resamples,
             *, average: Average = "records", groups: Sequence[str] | NDArray | None = None, state: Any = None,
             method: Method = "percentile", confidence: float = 0.95) -> Estimate:  # fmt: skip
    """One score over n records with its interval, patients resampled.

    statistics: field -> (n,) stored statistics, finite. patients: (n,) cluster of each record, from ``clusters``.
    average: "records" (pooled), "cases" (within a case first), "patients" or "structures" (macro).
    groups: (n,) case ids for "cases", structure names for "structures". state: what ``metric.fit`` gave.
    method: "percentile", or "bca" (bias-corrected and accelerated; the jackknife leaves out patients).
    A structure that no drawn patient has is left out of that resample's macro mean, and the note gives the share.
    Raises ``MetricError`` for statistics that do not fit the metric, ``ValueError`` for the other arguments.
    """
    return _estimate(
        metric, (Sample(statistics, patients, groups),), resamples, average, state, method, confidence
    )


def paired_difference(
    metric: Metric, first: Sample, second: Sample, resamples: Resamples, *, average: Average = "records",
    state: Any = None, method: Method = "percentile", confidence: float = 0.95,
) -> Estimate:  # fmt: skip
    """Score of ``first`` minus score of ``second`` with its interval, both under the same draws.

    Arguments and errors as in ``estimate``; ``n`` counts the records of ``first``. The note says so when the two do not
    hold the same number of records of each patient.
    """
    return _estimate(metric, (first, second), resamples, average, state, method, confidence)


def _estimate(
    metric: Metric, samples: Sequence[Sample], resamples: Resamples, average: Average, state: Any, method: Method,
    confidence: float,
) -> Estimate:  # fmt: skip
    """The score of one sample, or the first's less the second's."""
    if method not in ("percentile", "bca") or not 0 < confidence < 1:
        raise ValueError(
            f"method {method!r}, confidence {confidence}: percentile or bca and a share in (0, 1) are needed"
        )
    if average not in ESTIMANDS:
        raise ValueError(f"average is {average!r}; it must be one of {', '.join(ESTIMANDS)}")
    estimand = ("difference, " if len(samples) > 1 else "") + ESTIMANDS[average]
    codes = [resamples.codes(sample.patients) for sample in samples]
    if min(map(len, codes)) == 0:
        return Estimate(None, None, None, 0, 0, "none", estimand, "no records")
    scores = [
        bind(metric, sample, code, len(resamples.clusters), average, state)
        for sample, code in zip(samples, codes, strict=True)
    ]
    present = np.unique(np.concatenate(codes))
    value = _difference([score.value() for score in scores])
    patients, notes = _patients(present, resamples)
    notes += [*_no_interval(metric, value), *(score.note for score in scores), *_unequal(codes, resamples)]
    interval = _NONE
    if len(present) > 1 and not _no_interval(metric, value):
        interval = _interval(scores, value, present, resamples, method, confidence)
    return Estimate(
        _float(value), interval.low, interval.high, len(codes[0]), patients, interval.method, estimand,
        "; ".join(note for note in (*notes, *interval.notes) if note), interval.undefined,
    )  # fmt: skip


@dataclass(frozen=True)
class _Interval:
    low: float | None
    high: float | None
    method: str
    undefined: float
    notes: tuple[str, ...] = ()


_NONE = _Interval(None, None, "none", 0.0)


def _interval(
    scores: Sequence[Score], value: float, present: NDArray[np.int64], resamples: Resamples, method: Method,
    confidence: float,
) -> _Interval:  # fmt: skip
    draws, partial = _draws(scores, resamples)
    undefined = float(np.isnan(draws).mean())
    notes = [f"no value in {undefined:.1%} of the resamples"] if undefined > 0 else []
    notes += [f"some structure absent in {partial:.1%} of the resamples"] if partial > 0 else []
    if undefined > 0.5:
        return _Interval(None, None, "none", undefined, ("no interval", *notes))
    draws = draws[~np.isnan(draws)]
    levels, used = np.array([(1 - confidence) / 2, (1 + confidence) / 2]), "percentile"
    if method == "bca":
        jackknife = _difference([score.without_each(present) for score in scores])
        adjusted = _bca_levels(draws, value, jackknife, resamples.strata[present], levels)
        if adjusted is None:
            notes.append("BCa is undefined here: percentile interval")
        else:
            levels, used = adjusted, "bca"
    low, high = np.quantile(draws, levels)
    return _Interval(float(low), float(high), used, undefined, tuple(notes))


def _draws(scores: Sequence[Score], resamples: Resamples) -> tuple[Floats, float]:
    """(count,) value under each resample; share of resamples in which some structure, but not all, was absent."""
    values, partial = [], 0
    for counts in resamples.blocks():
        found = [score.under(counts) for score in scores]
        values.append(_difference([score for score, _ in found]))
        partial += int(np.logical_or.reduce([flags for _, flags in found]).sum())
    return np.concatenate(values), partial / resamples.count


def _bca_levels(
    draws: Floats, value: float, jackknife: Floats, strata: NDArray[np.int64], levels: Floats
) -> Floats | None:
    """Quantile levels of the BCa interval (Efron 1987; strata as in ``scipy.stats.bootstrap``); None where undefined."""
    from scipy.special import ndtr, ndtri

    share = ((draws < value).mean() + (draws <= value).mean()) / 2
    cubes = squares = 0.0
    for stratum in np.unique(strata):
        left_out = jackknife[(strata == stratum) & ~np.isnan(jackknife)]
        if len(left_out) > 1:
            influence = (len(left_out) - 1) / len(left_out) * (left_out.mean() - left_out)
            cubes, squares = cubes + float((influence**3).sum()), squares + float((influence**2).sum())
    if not 0 < share < 1 or squares == 0 or draws.min() == draws.max():
        return None
    bias, acceleration = ndtri(share), cubes / (6 * squares**1.5)
    shifted = bias + ndtri(levels)
    return np.asarray(ndtr(bias + shifted / (1 - acceleration * shifted)), dtype=np.float64)


def _patients(present: NDArray[np.int64], resamples: Resamples) -> tuple[int | None, list[str]]:
    """Number of patients (None when not all are known) and what must be said about them."""
    unknown = resamples.unknown(present)
    kind = "image" if unknown else "patient"
    notes = []
    if unknown:
        part = "" if unknown == len(present) else f" for {unknown} images"
        notes.append(f"patients unknown{part}, images treated as independent")
    if len(present) < 2:
        notes.append(f"one {kind}: no interval")
    elif len(present) < FEW_PATIENTS:
        notes.append(f"fewer than {FEW_PATIENTS} {kind}s: intervals are likely too narrow")
    return (None if unknown else len(present)), notes


def _no_interval(metric: Metric, value: float) -> list[str]:
    """Why this metric or value has no interval; empty when it can have one."""
    if math.isnan(value):
        return ["undefined on these records"]
    reasons = {
        "bootstrap": [],
        "subset": ["no interval: resampling cases is biased for this metric"],
        "none": ["no interval: this metric is not resampled"],
    }
    return reasons[metric.interval]


def _unequal(codes: Sequence[NDArray[np.int64]], resamples: Resamples) -> list[str]:
    counts = [np.bincount(code, minlength=len(resamples.clusters)) for code in codes]
    if all(np.array_equal(counts[0], other) for other in counts[1:]):
        return []
    return [f"not the same records: {len(codes[0])} against {len(codes[1])}"]


def _difference(values: Sequence[Any]) -> Any:
    """The one value, or the first less the second; numbers or arrays."""
    return values[0] if len(values) == 1 else values[0] - values[1]


def _float(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def interval_text(count: int = 2000, confidence: float = 0.95, method: Method = "percentile") -> str:
    """The sentences that a methods section needs about the intervals."""
    kind = "percentile" if method == "percentile" else "bias-corrected and accelerated (BCa)"
    return (
        f"Intervals are {confidence:.0%} {kind} bootstrap intervals over {count:,} resamples of patients, drawn with "
        "replacement within each dataset; all records of a drawn patient enter together, and every model and metric of a "
        "dataset is computed on the same resamples. Where patients are not known, images are treated as independent. "
        f"With one patient there is no interval; with fewer than {FEW_PATIENTS} the interval is likely too narrow."
    )
