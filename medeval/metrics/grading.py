"""A grader against physicians, criterion by criterion: HealthBench's meta-evaluation, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.metrics.base import MeanMetric, Metric, Statistic, Value
from medeval.metrics.registry import register


@dataclass(frozen=True)
class GradePair:
    """met: the grader's verdict on a criterion. labels: the physicians' own, at least one."""

    met: bool
    labels: Sequence[bool]


@register("grade_f1")
class GradeF1(Metric):
    """Balanced F1 in [0, 1]: the mean of the F1 of "met" and of "not met", each physician's vote a truth of its own.

    Undefined where either class was never rightly found. A grader that fails contradicts every physician.
    """

    pair: ClassVar[type] = GradePair
    statistic: ClassVar[Mapping[str, str]] = dict.fromkeys(("tp", "fp", "fn", "tn"), "double")
    empties: ClassVar[str] = "undefined where a class was never rightly found"
    source: ClassVar[str] = "HealthBench, arXiv 2505.08775 (simple-evals healthbench_meta_eval.py)"
    definition: str = "mean F1 of met and not met, over (criterion, physician) pairs"

    def observe(self, pair: GradePair) -> Value:
        """Physicians who agree and who do not, by class."""
        yes = float(sum(pair.labels))
        no = len(pair.labels) - yes
        if pair.met:
            return Value({"tp": yes, "fp": no, "fn": 0.0, "tn": 0.0})
        return Value({"tp": 0.0, "fp": 0.0, "fn": yes, "tn": no})

    def failed(self, reference: Any) -> Statistic:
        """Against every label of ``reference``."""
        yes = float(sum(reference))
        return {"tp": 0.0, "fp": len(reference) - yes, "fn": yes, "tn": 0.0}

    def reduce(
        self, statistics: Mapping[str, NDArray], weights: NDArray[np.float64], state: Any = None
    ) -> NDArray[np.float64]:
        """From pooled counts."""
        tp, fp, fn, tn = (weights @ np.asarray(statistics[name], dtype=np.float64) for name in self.statistic)
        with np.errstate(invalid="ignore", divide="ignore"):
            both = (2 * tp / (2 * tp + fp + fn) + 2 * tn / (2 * tn + fp + fn)) / 2
        return np.where((tp > 0) & (tn > 0), both, np.nan)


@register("grade_bias")
class GradeBias(MeanMetric):
    """How much more often the grader says "met" than the physicians of a criterion, in [-1, 1]; 0 is no bias."""

    pair: ClassVar[type] = GradePair
    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    empties: ClassVar[str] = "none"
    source: ClassVar[str] = "mean of grader less mean of physicians"
    definition: str = "grader less physicians; positive is lenient, 0 the best"

    def observe(self, pair: GradePair) -> Value:
        """Verdict less share of physicians who say met."""
        return Value({"value": float(pair.met) - sum(pair.labels) / len(pair.labels)})

    def failed(self, reference: Any) -> Statistic:
        """As far off as one can be on these labels, on the lenient side where they are even."""
        share = sum(reference) / len(reference)
        return {"value": 1.0 - share if share <= 0.5 else -share}
