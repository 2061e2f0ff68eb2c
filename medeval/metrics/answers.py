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

from medeval.metrics import calibration
from medeval.metrics.base import MeanMetric, Metric, Statistic, Value
from medeval.metrics.names import split
from medeval.metrics.registry import register
from medeval.metrics.rubric import RubricMetric
from medeval.types.errors import MetricError

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
    """A score of (confidence, correct) over all answers; computed anew on every resample."""

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
        """The score of each resample, answers repeated as often as they were drawn."""
        confidence = np.asarray(statistics["value"], dtype=np.float64)
        correct = np.asarray(statistics["correct"], dtype=np.float64)
        values = np.full(len(weights), np.nan)
        for row, counts in enumerate(np.asarray(weights).astype(np.int64)):
            if counts.any():
                values[row] = self.of(np.repeat(confidence, counts), np.repeat(correct, counts))
        return values

    def of(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> float:
        """The score of (n,) confidences and correctness {0, 1}."""
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

    def of(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> float:
        """ECE; a confidence of exactly 0 falls into the first bin, so that no answer is left out."""
        inside = np.maximum(confidence, np.finfo(np.float64).tiny)
        return calibration.expected_calibration_error(inside, correct.astype(np.int64), self.bins)


@register("answer_auroc")
class AnswerAuroc(_Confident):
    """How well confidence ranks right answers above wrong ones, in [0, 1]; undefined where all are right or all wrong."""

    direction: ClassVar[Literal["higher", "lower"]] = "higher"
    source: ClassVar[str] = "area under the ROC curve, ties half"
    definition: str = "right answers ranked above wrong ones by confidence"

    def of(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> float:
        """AUROC."""
        return calibration.auroc(confidence, correct.astype(np.int64))


@register("answer_aurc")
class AnswerAurc(_Confident):
    """Area under the risk-coverage curve, in [0, 1]: mean error rate of the k surest answers over k = 1..n."""

    source: ClassVar[str] = "Geifman, Uziel & El-Yaniv 2019"
    definition: str = "mean risk over coverages"

    def of(self, confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> float:
        """AURC."""
        return float(risk_coverage(confidence, correct)[1].mean())


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
