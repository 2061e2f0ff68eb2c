"""Scores of whole studies against their labels: ranking, calls at a threshold, calibration, and ordinal triage.

All names begin with ``case_``, for the names without it measure masks. A task of studies takes both spellings.
Sources: Fawcett 2006 (ROC); Davis & Goadrich 2006 and scikit-learn (average precision, step-wise, not interpolated);
Brier 1950; Vickers & Elkin 2006 (net benefit, in ``classification_clinical``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import MeanMetric, Metric, Statistic, Value
from medeval.metrics.names import split
from medeval.metrics.registry import register
from medeval.types.errors import MetricError

PREFIX = "case_"
BINS = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredCase:
    """One study. score: in [0, 1], larger is more positive. label: 0 or 1. threshold: a score from it on is a call."""

    score: float
    label: int
    threshold: float = 0.5

    @property
    def called(self) -> int:
        """1 where the model calls the study positive."""
        return int(self.score >= self.threshold)


class RankingMetric(Metric):
    """A score over all studies that depends on the scores' order. A failed study is scored at the wrong end."""

    pair: ClassVar[type] = ScoredCase
    statistic: ClassVar[Mapping[str, str]] = {"score": "double", "label": "int64"}
    empties: ClassVar[str] = "undefined without a positive or without a negative study"

    def observe(self, pair: ScoredCase) -> Value:
        """Score and label as they are."""
        return Value({"score": float(pair.score), "label": int(pair.label)})

    def failed(self, reference: ScoredCase) -> Statistic:
        """0 for a positive study, 1 for a negative one."""
        return {"score": float(1 - reference.label), "label": int(reference.label)}

    def reduce(self, statistics: Mapping[str, NDArray], weights: Floats, state: Any = None) -> Floats:
        """The score under each weighting; NaN where a class has no weight."""
        score, label = np.asarray(statistics["score"], dtype=np.float64), np.asarray(statistics["label"])
        order = np.argsort(-score, kind="stable")
        starts = (
            np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
            if len(score)
            else np.zeros(0, dtype=np.int64)
        )
        positive = _blocks(weights[:, order] * (label[order] == 1), starts)
        negative = _blocks(weights[:, order] * (label[order] == 0), starts)
        both = (positive.sum(axis=1) > 0) & (negative.sum(axis=1) > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(both, self.of(positive, negative), np.nan)

    def of(self, positive: Floats, negative: Floats) -> Floats:
        """(r,) values from (r, distinct scores) weights of both classes, highest score first."""
        raise NotImplementedError


def _blocks(weights: Floats, starts: NDArray[np.int64]) -> Floats:
    return np.add.reduceat(weights, starts, axis=1) if len(starts) else np.zeros((len(weights), 0))


@register("case_auroc")
class CaseAuroc(RankingMetric):
    """Area under the ROC curve over studies, in [0, 1], ties half."""

    definition = "area under the ROC curve over studies, ties half"
    source: ClassVar[str] = "DeLong et al. 1988"

    def of(self, positive: Floats, negative: Floats) -> Floats:
        """Share of (positive, negative) pairs in order."""
        below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1)
        wins = (positive * (below + negative / 2)).sum(axis=1)
        return wins / (positive.sum(axis=1) * negative.sum(axis=1))


@register("case_average_precision")
class CaseAveragePrecision(RankingMetric):
    """Average precision over studies, in [0, 1]: sum of (recall step) x precision, not interpolated."""

    definition = "average precision over studies, step-wise"
    source: ClassVar[str] = "scikit-learn average_precision_score"

    def of(self, positive: Floats, negative: Floats) -> Floats:
        """Step-wise sum from the highest score down."""
        hits = np.cumsum(positive, axis=1)
        called = hits + np.cumsum(negative, axis=1)
        precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
        return (positive * precision).sum(axis=1) / positive.sum(axis=1)


class AtTarget(RankingMetric):
    """One share where the other is at least ``target`` on the same studies, in [0, 1]."""

    source: ClassVar[str] = "Pepe 2003, section 2.3"
    target: float = 0.9


class SensitivityAt(AtTarget):
    """Sensitivity at the lowest threshold whose specificity on the same studies is at least ``target``, in [0, 1]."""

    def of(self, positive: Floats, negative: Floats) -> Floats:
        """Positives called before the false positives exceed what the target allows."""
        total = negative.sum(axis=1, keepdims=True)
        allowed = np.cumsum(negative, axis=1) <= (1 - self.target) * total * (1 + 1e-12)
        return (positive * allowed).sum(axis=1) / positive.sum(axis=1)


class SpecificityAt(AtTarget):
    """Specificity at the highest threshold whose sensitivity on the same studies is at least ``target``, in [0, 1]."""

    def of(self, positive: Floats, negative: Floats) -> Floats:
        """Negatives not yet called when enough positives are."""
        total = positive.sum(axis=1, keepdims=True)
        before = np.cumsum(positive, axis=1) - positive  # positives above this score
        called = before < self.target * total * (1 - 1e-12)
        return 1.0 - (negative * called).sum(axis=1) / negative.sum(axis=1)


def _at(base: str, cls: type[AtTarget], words: str) -> Callable[[str], Metric | None]:
    def parse(name: str) -> Metric | None:
        parts = split(name)
        if parts.base != base or not parts.argument:
            return None
        try:
            target = float(parts.argument)
        except ValueError:
            target = -1.0
        if not 0 < target < 1 or parts.options:
            raise MetricError(
                f"metric {name!r}: {parts.argument!r} is no share between 0 and 1, as in {base}@0.9"
            )
        metric = cls()
        metric.name, metric.target = name, target
        metric.definition = f"{words} at least {target:g} on the same studies"
        return metric

    return parse


register("case_sensitivity@<specificity>", parse=_at("case_sensitivity", SensitivityAt, "sensitivity where specificity is"))(
    SensitivityAt
)  # fmt: skip
register("case_specificity@<sensitivity>", parse=_at("case_specificity", SpecificityAt, "specificity where sensitivity is"))(
    SpecificityAt
)  # fmt: skip


class CallMetric(Metric):
    """A ratio of counts of calls at the model's threshold: hits over counted, in [0, 1]."""

    pair: ClassVar[type] = ScoredCase
    statistic: ClassVar[Mapping[str, str]] = {"hit": "int64", "counted": "int64"}
    source: ClassVar[str] = "Fawcett 2006"
    counts: ClassVar[Callable[[int, int], tuple[int, int]]]
    empties: ClassVar[str] = "undefined where no study counts"

    def observe(self, pair: ScoredCase) -> Value:
        """What the study adds to both sums."""
        hit, counted = type(self).counts(pair.label, pair.called)
        return Value({"hit": hit, "counted": counted})

    def failed(self, reference: ScoredCase) -> Statistic:
        """The wrong call."""
        hit, counted = type(self).counts(reference.label, 1 - reference.label)
        return {"hit": hit, "counted": counted}

    def reduce(self, statistics: Mapping[str, NDArray], weights: Floats, state: Any = None) -> Floats:
        """Weighted sum of hits over weighted sum of what counts; NaN where that is 0."""
        hits = weights @ np.asarray(statistics["hit"], dtype=np.float64)
        counted = weights @ np.asarray(statistics["counted"], dtype=np.float64)
        return np.divide(hits, counted, out=np.full_like(hits, np.nan), where=counted > 0)


def _call(name: str, words: str, counts: Callable[[int, int], tuple[int, int]]) -> type[CallMetric]:
    fields = {"__doc__": f"{words[0].upper()}{words[1:]}, in [0, 1].", "definition": f"{words} at the model's threshold",
              "counts": staticmethod(counts), "__module__": __name__}  # fmt: skip
    cls = type(name.title().replace("_", ""), (CallMetric,), fields)
    return register(name)(cls)


CaseSensitivity = _call("case_sensitivity", "called share of the positive studies", lambda y, c: (y & c, y))
CaseSpecificity = _call(
    "case_specificity", "share of the negative studies not called", lambda y, c: ((1 - y) & (1 - c), 1 - y)
)
CasePpv = _call("case_ppv", "positive share of the called studies", lambda y, c: (y & c, c))
CaseNpv = _call(
    "case_npv", "negative share of the studies not called", lambda y, c: ((1 - y) & (1 - c), 1 - c)
)
CaseAccuracy = _call("case_accuracy", "share of studies called right", lambda y, c: (int(y == c), 1))
CaseF1 = _call("case_f1", "F1: 2 TP / (2 TP + FP + FN)", lambda y, c: (2 * (y & c), y + c))


@register("case_brier")
class CaseBrier(MeanMetric):
    """Brier score over studies, in [0, 1]: mean of (score - label) squared."""

    pair: ClassVar[type] = ScoredCase
    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    definition = "mean of (score - label) squared"
    source: ClassVar[str] = "scikit-learn brier_score_loss"

    def observe(self, pair: ScoredCase) -> Value:
        """Squared error of the score."""
        return Value({"value": float((pair.score - pair.label) ** 2)})

    def failed(self, reference: ScoredCase) -> Statistic:
        """1: sure, and wrong."""
        return {"value": 1.0}


@register("case_ece")
class CaseEce(RankingMetric):
    """Expected calibration error over studies, in [0, 1], ten equal bins (l, u]; a score of 0 lies in the first."""

    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    definition = f"expected calibration error over studies, {BINS} bins (l, u]"
    source: ClassVar[str] = "Guo et al. 2017"
    empties: ClassVar[str] = "undefined without a study"

    def reduce(self, statistics: Mapping[str, NDArray], weights: Floats, state: Any = None) -> Floats:
        """Gap between mean score and share of positives, weighted by the bins' weights."""
        score, label = np.asarray(statistics["score"], dtype=np.float64), np.asarray(statistics["label"])
        bins = calibration_bins(score)
        gaps = np.zeros(len(weights))
        for number in range(BINS):
            inside = bins == number
            gaps += np.abs(weights[:, inside] @ (label[inside] - score[inside]))
        total = weights.sum(axis=1)
        return np.divide(gaps, total, out=np.full_like(gaps, np.nan), where=total > 0)


def calibration_bins(scores: Floats) -> NDArray[np.int64]:
    """(n,) bin of each score in [0, 1]: bin k holds (k/10, (k+1)/10], and 0 lies in the first."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    return np.clip(np.searchsorted(edges, scores, side="left") - 1, 0, BINS - 1)
