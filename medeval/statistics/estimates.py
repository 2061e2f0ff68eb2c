"""Estimates with bootstrap intervals, of one score and of the difference of two on the same draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import Metric
from medeval.statistics.draws import Draws, Wanted, averaged, difference, draw_all
from medeval.statistics.intervals import METHODS, NO_INTERVAL, Interval, Jackknife, Method, interval
from medeval.statistics.labels import Labels
from medeval.statistics.resamples import Resamples
from medeval.statistics.scores import ESTIMANDS, Average, Sample, Score, bind

_HELD_NUMBERS = 2**22  # of the per-patient sums of scores that are drawn together: 32 MB
FEW_PATIENTS = 50  # below it the intervals of skewed scores cover clearly less than they say


@dataclass(frozen=True)
class Estimate:
    """A score with its interval.

    value: None when nothing could be scored. low, high: the interval, None when there is none (``note`` says why).
    n: number of records. patients: number of patients among them, None when they are not (all) known.
    method: how the interval was made, "none" where there is none. estimand: what the value is a mean of.
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


def estimate(metric: Metric, statistics: Mapping[str, NDArray], patients: Sequence[str] | NDArray | Labels,
             resamples: Resamples, *, average: Average = "records",
             groups: Sequence[str] | NDArray | Labels | None = None, state: Any = None, method: Method = "auto",
             confidence: float = 0.95) -> Estimate:  # fmt: skip
    """One score over n records with its interval, patients resampled.

    statistics: field -> (n,) stored statistics, finite. patients: (n,) cluster of each record, from ``clusters``.
    average: "records" (pooled), "cases" (within a case first), "patients" or "structures" (macro).
    groups: (n,) case ids for "cases", structure names for "structures". state: what ``metric.fit`` gave.
    method: "auto": studentised for means (Student's t below 8 patients), expanded percentile for all else; or one of
        "studentised", "t", "expanded", "percentile", "bca" (the jackknife leaves out patients).
    A structure that no drawn patient has is left out of that resample's macro mean, and the note gives the share.
    Raises ``MetricError`` for statistics that do not fit the metric, ``ValueError`` for the other arguments.
    """
    return _estimate(
        metric, (Sample(statistics, patients, groups),), resamples, average, state, method, confidence
    )


def estimates(
    scores: Iterable[tuple[Metric, Sample]], resamples: Resamples, *, average: Average = "records", state: Any = None,
    method: Method = "auto", confidence: float = 0.95,
) -> Iterator[Estimate]:  # fmt: skip
    """``estimate`` of many scores of one dataset, to the byte, with the resamples passed through once for all of them.

    scores: (metric, its records); taken one by one, and of each only what is summed by patient is held, so that a generator
    keeps memory flat. Twenty metrics of the same records cost little more than twice as much as one.
    """
    _check_average(average)
    held: list[_Telling] = []
    last: tuple[Any, NDArray[np.int64]] | None = (
        None  # scores of the same records share the numbers of their patients
    )
    for metric, sample in scores:
        if last is None or last[0] is not sample.patients:
            last = (sample.patients, resamples.codes(sample.patients))
        bound = _Bound(metric, (sample,), resamples, average, state, [last[1]])
        held.append(_Telling(metric, [bound], ESTIMANDS[average], method, confidence))
        if sum(one.size for one in held) >= _HELD_NUMBERS:
            yield from _drawn(held)
            held = []
    yield from _drawn(held)


def paired_difference(
    metric: Metric, first: Sample, second: Sample, resamples: Resamples, *, average: Average = "records",
    state: Any = None, method: Method = "auto", confidence: float = 0.95,
) -> Estimate:  # fmt: skip
    """Score of ``first`` minus score of ``second`` with its interval, both under the same draws.

    Arguments and errors as in ``estimate``; ``n`` counts the records of ``first``. The note says so when the two do not
    hold the same number of records of each patient.
    """
    return _estimate(metric, (first, second), resamples, average, state, method, confidence)


def macro_estimate(
    metric: Metric, samples: Mapping[str, Sample], resamples: Mapping[str, Resamples], *, average: Average = "records",
    state: Any = None, method: Method = "auto", confidence: float = 0.95,
) -> Estimate:  # fmt: skip
    """Mean over datasets of each dataset's score: every dataset weighs the same, whatever its size.

    With ``average="structures"`` it is the mean over structures within a dataset, then over datasets. The interval
    respects the hierarchy: patients are resampled within their dataset, and the variances of the datasets add up.
    samples, resamples: by dataset. Arguments and errors otherwise as in ``estimate``; ``ValueError`` for no dataset.
    """
    if not samples or set(samples) - set(resamples):
        raise ValueError(
            f"datasets {sorted(samples)} need resamples of the same names, got {sorted(resamples)}"
        )
    bound = [
        _Bound(metric, (sample,), resamples[name], average, state) for name, sample in sorted(samples.items())
    ]
    return _told(metric, bound, "mean over datasets of: " + ESTIMANDS[average], method, confidence)


def _estimate(
    metric: Metric, samples: Sequence[Sample], resamples: Resamples, average: Average, state: Any, method: Method,
    confidence: float,
) -> Estimate:  # fmt: skip
    """The score of one sample, or the first's less the second's."""
    _check_average(average)
    estimand = ("difference, " if len(samples) > 1 else "") + ESTIMANDS[average]
    return _told(metric, [_Bound(metric, samples, resamples, average, state)], estimand, method, confidence)


def _check_average(average: str) -> None:
    if average not in ESTIMANDS:
        raise ValueError(f"average is {average!r}; it must be one of {', '.join(ESTIMANDS)}")


class _Bound:
    """One or two samples of one dataset as functions of cluster counts; their records are not held.

    n: records of the first. present: clusters that hold records. span: lowest and highest possible value of the score or
    difference; wider where records lie outside of the metric's range. notes: what must be said of these samples beside their
    patients. size: numbers that are held.
    """

    def __init__(
        self, metric: Metric, samples: Sequence[Sample], resamples: Resamples, average: Average, state: Any,
        codes: Sequence[NDArray[np.int64]] = (),
    ) -> None:  # fmt: skip
        self.resamples = resamples
        codes = codes or [resamples.codes(sample.patients) for sample in samples]
        size = len(resamples.clusters)
        counts = [np.bincount(code, minlength=size) for code in codes]
        self.n = len(codes[0])
        self.empty = min(map(len, codes)) == 0
        self.scores: list[Score] = [] if self.empty else [
            bind(metric, sample, code, size, average, state)
            for sample, code in zip(samples, codes, strict=True)
        ]  # fmt: skip
        self.present = np.flatnonzero(np.sum(counts, axis=0))
        self.notes = [*(score.note for score in self.scores), *_unequal(counts)]
        self.span = (0.0, 0.0) if self.empty else _span(metric, samples)
        self.size = sum(score.size for score in self.scores)

    def value(self) -> float:
        """The score, NaN where undefined."""
        return float(difference([score.value() for score in self.scores]))

    def jackknife(self) -> Jackknife:
        """The score without each patient."""
        return Jackknife(
            lambda: np.asarray(difference([score.without_each(self.present) for score in self.scores])),
            self.resamples.strata[self.present],
        )


def _told(
    metric: Metric, parts: Sequence[_Bound], estimand: str, method: Method, confidence: float
) -> Estimate:
    return next(_drawn([_Telling(metric, parts, estimand, method, confidence)]))


class _Telling:
    """The mean of the parts, and all that must be said about it; its interval when its draws are there."""

    def __init__(
        self, metric: Metric, parts: Sequence[_Bound], estimand: str, method: Method, confidence: float
    ) -> None:
        if method not in METHODS or not 0 < confidence < 1:
            raise ValueError(
                f"method {method!r}, confidence {confidence}: one of {', '.join(METHODS)} and a share in (0, 1)"
            )
        self.parts, self._estimand, self._method, self._confidence = parts, estimand, method, confidence
        self.empty = any(part.empty for part in parts)
        self.size = sum(part.size for part in parts)
        self.draws: list[Draws] = []
        self._notes: list[str] = []
        self.resampled = False
        if not self.empty:
            self._value = float(np.mean([part.value() for part in parts]))
            self._patients, notes = _patients_of(parts)
            why = _no_interval(metric, self._value)
            self._notes = [*notes, *why, *(note for part in parts for note in part.notes)]
            self.resampled = all(len(part.present) > 1 for part in parts) and not why

    def wanted(self) -> list[Wanted]:
        """The draws that its interval needs, one a part."""
        errors = self._method in ("auto", "studentised", "t")
        return [Wanted(part.scores, part.present, errors) for part in self.parts] if self.resampled else []

    def told(self) -> Estimate:
        """The estimate."""
        if self.empty:
            return Estimate(None, None, None, 0, 0, "none", self._estimand, "no records")
        found = self._interval() if self.resampled else NO_INTERVAL
        n = sum(part.n for part in self.parts)
        text = "; ".join(dict.fromkeys(note for note in (*self._notes, *found.notes) if note))
        return Estimate(_float(self._value), found.low, found.high, n, self._patients, found.method, self._estimand, text,
                        found.undefined)  # fmt: skip

    def _interval(self) -> Interval:
        one = len(self.parts) == 1
        spans = [part.span for part in self.parts]
        return interval(
            self.draws[0] if one else averaged(self.draws), self._method, self._confidence,
            (min(span[0] for span in spans), max(span[1] for span in spans)),
            self.parts[0].jackknife() if one else None,
        )  # fmt: skip


def _drawn(tellings: Sequence[_Telling]) -> Iterator[Estimate]:
    """The estimates of these, those over one dataset's resamples drawn together."""
    by_resamples: dict[int, list[tuple[_Telling, Resamples, Wanted]]] = {}
    for telling in tellings:
        for part, wanted in zip(telling.parts, telling.wanted(), strict=False):
            by_resamples.setdefault(id(part.resamples), []).append((telling, part.resamples, wanted))
    for jobs in by_resamples.values():
        found = draw_all([wanted for _, _, wanted in jobs], jobs[0][1])
        for (telling, _, _), draws in zip(jobs, found, strict=True):
            telling.draws.append(draws)
    return (telling.told() for telling in tellings)


def _span(metric: Metric, samples: Sequence[Sample]) -> tuple[float, float]:
    ends = [metric.range]
    if metric.linear:
        values = [sample.statistics["value"] for sample in samples]
        ends += [(float(np.min(v)), float(np.max(v))) for v in values]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return (low, high) if len(samples) == 1 else (low - high, high - low)


def _patients_of(parts: Sequence[_Bound]) -> tuple[int | None, list[str]]:
    """Patients of all parts, and what must be said of the smallest."""
    told = [_patients(part.present, part.resamples) for part in parts]
    counts = [count for count, _ in told]
    number = None if None in counts else sum(count for count in counts if count is not None)
    smallest = min(range(len(parts)), key=lambda at: len(parts[at].present))
    return number, told[smallest][1]


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


def _unequal(counts: Sequence[NDArray[np.int64]]) -> list[str]:
    """counts: records of each cluster, of one or two samples."""
    if all(np.array_equal(counts[0], other) for other in counts[1:]):
        return []
    return [f"not the same records: {counts[0].sum()} against {counts[1].sum()}"]


def _float(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


_METHOD_WORDS = {
    "auto": "studentised (bootstrap-t) intervals for means, Student's t below 8 patients, and expanded percentile "
    "intervals for scores that are no mean",
    "studentised": "studentised (bootstrap-t) bootstrap intervals",
    "t": "Student's t intervals with a cluster-robust standard error",
    "expanded": "expanded percentile bootstrap intervals",
    "percentile": "percentile bootstrap intervals",
    "bca": "bias-corrected and accelerated (BCa) bootstrap intervals",
}


def interval_text(count: int = 2000, confidence: float = 0.95, method: Method = "auto") -> str:
    """The sentences that a methods section needs about the intervals."""
    return (
        f"Intervals are {confidence:.0%} {_METHOD_WORDS[method]}, over {count:,} resamples of patients, drawn with "
        "replacement within each dataset; all records of a drawn patient enter together, and every model and metric of a "
        "dataset is computed on the same resamples. Where patients are not known, images are treated as independent. "
        f"With one patient there is no interval; with fewer than {FEW_PATIENTS} the interval is likely too narrow."
    )
