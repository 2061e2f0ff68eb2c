"""Scores of answers to questions: right or not, how sure the model said it was, and clipped rubric points.

A confidence is that of the answer which was given, so calibration is of the top answer (Guo et al. 2017) and a Brier score
is the squared error of one class, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import MeanMetric, Metric, Statistic, Value
from medeval.metrics.names import split
from medeval.metrics.registry import register
from medeval.metrics.rubric import RubricMetric
from medeval.types.errors import MetricError

Floats = NDArray[np.float64]
UNSURE = "no confidence given"


@dataclass(frozen=True)
class Answered:
    """One answer. correct: 1.0 or 0.0. confidence: in [0, 1], None where the model gave none."""

    correct: float
    confidence: float | None = None


@register("answer_accuracy")
class AnswerAccuracy(MeanMetric):
    """Share of right answers; over several samples of a question the pass rate."""

    pair: ClassVar[type] = Answered
    empties: ClassVar[str] = "no answer is a wrong answer; counted apart"
    source: ClassVar[str] = "right answers over questions asked"
    definition: str = "share of right answers"

    def observe(self, pair: Answered) -> Value:
        """1 or 0."""
        return Value({"value": float(pair.correct)})

    def failed(self, reference: Any) -> Statistic:
        """0."""
        return {"value": 0.0}


@register("answer_brier")
class AnswerBrier(MeanMetric):
    """Mean squared difference of confidence and correctness, in [0, 1]; 0.25 for one who always says 50 %."""

    pair: ClassVar[type] = Answered
    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    empties: ClassVar[str] = "an answer without a confidence is undefined"
    source: ClassVar[str] = "Brier 1950, of the given answer"
    definition: str = "(confidence - correct)^2"

    def observe(self, pair: Answered) -> Value:
        """The squared difference."""
        if pair.confidence is None:
            return Value(None, UNSURE)
        return Value({"value": (pair.confidence - pair.correct) ** 2})

    def failed(self, reference: Any) -> Statistic:
        """1: wrong, and sure of it."""
        return {"value": 1.0}


class _Confident(Metric):
    """A score of (confidence, correct) over all answers, computed on all resamples at once.

    Answers are gathered by equal confidence; a resample is then how many answers, and how many right ones, it has of each.
    """

    pair: ClassVar[type] = Answered
    statistic: ClassVar[Mapping[str, str]] = {"value": "double", "correct": "double"}
    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    empties: ClassVar[str] = "an answer without a confidence is undefined"

    def observe(self, pair: Answered) -> Value:
        """Confidence and correctness."""
        if pair.confidence is None:
            return Value(None, UNSURE)
        return Value({"value": float(pair.confidence), "correct": float(pair.correct)})

    def failed(self, reference: Any) -> Statistic:
        """Wrong, and sure of it."""
        return {"value": 1.0, "correct": 0.0}

    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        """The score of each resample; NaN where it is undefined."""
        confidence = np.asarray(statistics["value"], dtype=np.float64)
        order = np.argsort(confidence, kind="stable")
        levels, starts = np.unique(confidence[order], return_index=True)
        drawn = np.asarray(weights, dtype=np.float64)[:, order]
        right = drawn * np.asarray(statistics["correct"], dtype=np.float64)[order]
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.of(
                levels, np.add.reduceat(drawn, starts, axis=1), np.add.reduceat(right, starts, axis=1)
            )

    def of(self, levels: Floats, size: Floats, right: Floats) -> Floats:
        """(r,) scores. levels: (k,) rising confidences. size, right: (r, k) answers and right ones of each."""
        raise NotImplementedError


def _parse_ece(name: str) -> Metric | None:
    parts = split(name)
    if parts.base != "answer_ece":
        return None
    if parts.options:
        raise MetricError(f"metric {name!r}: takes no option {parts.options!r}; write answer_ece@15")
    metric = AnswerEce()
    metric.name = name
    if parts.argument:
        if not parts.argument.isdigit() or int(parts.argument) < 1:
            raise MetricError(f"metric {name!r}: {parts.argument!r} is no number of bins")
        metric.bins = int(parts.argument)
    metric.definition = f"gap of confidence and accuracy, {metric.bins} equal bins (l, u]"
    return metric


@register("answer_ece[@<bins>]", parse=_parse_ece)
class AnswerEce(_Confident):
    """Expected calibration error of the given answers, in [0, 1]; 15 equal bins (l, u] unless told otherwise."""

    source: ClassVar[str] = "Guo et al. 2017"
    bins: int = 15

    def of(self, levels: Floats, size: Floats, right: Floats) -> Floats:
        """ECE; a confidence of exactly 0 falls into the first bin, so that no answer is left out."""
        edges = np.linspace(0.0, 1.0, self.bins + 1)
        starts = np.unique(np.searchsorted(edges[1:], levels, side="left"), return_index=True)[1]
        gaps: Floats = np.abs(np.add.reduceat(size * levels - right, starts, axis=1)).sum(axis=1)
        return gaps / size.sum(axis=1)


@register("answer_auroc")
class AnswerAuroc(_Confident):
    """How well confidence ranks right answers above wrong ones, in [0, 1]; undefined where all are right or all wrong."""

    direction: ClassVar[Literal["higher", "lower"]] = "higher"
    source: ClassVar[str] = "area under the ROC curve, ties half"
    definition: str = "right answers ranked above wrong ones by confidence"

    def of(self, levels: Floats, size: Floats, right: Floats) -> Floats:
        """AUROC."""
        wrong = size - right
        below = np.cumsum(wrong, axis=1) - wrong / 2
        pairs = right.sum(axis=1) * wrong.sum(axis=1)
        return np.where(pairs > 0, (right * below).sum(axis=1) / pairs, np.nan)


@register("answer_aurc")
class AnswerAurc(_Confident):
    """Area under the risk-coverage curve, in [0, 1]: mean error rate of the k surest answers over k = 1..n."""

    source: ClassVar[str] = "Geifman, Uziel & El-Yaniv 2019"
    definition: str = "mean risk over coverages"

    def of(self, levels: Floats, size: Floats, right: Floats) -> Floats:
        """AURC; of the answers of one confidence each has their mean error, see ``risk_coverage``."""
        size, wrong = size[:, ::-1], (size - right)[:, ::-1]
        rate = np.divide(wrong, size, out=np.zeros_like(size), where=size > 0)
        answered, failed = np.cumsum(size, axis=1) - size, np.cumsum(wrong, axis=1) - wrong
        most = int(size.sum(axis=1).max())
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
        at = answered.astype(np.int64)
        # sum over k of (failed + rate * (k - answered)) / k for the k that fall on this confidence
        inverse = harmonic[(at + size.astype(np.int64))] - harmonic[at]
        risks: Floats = (rate * size + (failed - rate * answered) * inverse).sum(axis=1)
        return risks / size.sum(axis=1)


def risk_coverage(
    confidence: NDArray[np.float64], correct: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) coverage and (n,) error rate of the k surest of n answers, k = 1..n.

    Answers of equal confidence enter together at their mean error, so that no order of the file decides.
    """
    values, group = np.unique(-np.asarray(confidence, dtype=np.float64), return_inverse=True)
    size = np.bincount(group, minlength=len(values))
    wrong = np.bincount(group, weights=1.0 - np.asarray(correct), minlength=len(values))
    expected = np.repeat(wrong / size, size)
    k = np.arange(1, len(expected) + 1)
    return k / len(expected), np.cumsum(expected) / k


@register("rubric_clipped")
class ClippedRubric(RubricMetric):
    """HealthBench's headline: the mean of signed rubric scores, clipped to [0, 1]; single cases are not clipped."""

    name: str = "rubric_clipped"
    linear: ClassVar[bool] = False
    source: ClassVar[str] = "HealthBench, arXiv 2505.08775 (simple-evals healthbench_eval.py)"
    definition: str = "mean over answers, clipped to [0, 1]"

    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        """The clipped weighted mean."""
        return np.clip(super().reduce(statistics, weights, state), 0.0, 1.0)
