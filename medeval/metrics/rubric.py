"""Scores of rubric items: made by a judge, stored as they are, averaged over cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from medeval.metrics.base import MeanMetric, Statistic, Value
from medeval.metrics.registry import register


@dataclass(frozen=True)
class RubricScore:
    """One item of one dialogue. score: in [0, 1], 1 the best; a total of signed points may lie below 0. None: not
    applicable, by ``rule``."""

    score: float | None
    rule: str = ""


@register("rubric")
class RubricMetric(MeanMetric):
    """Mean item score. Items that do not apply to a case are left out and counted."""

    pair: ClassVar[type] = RubricScore
    statistic: ClassVar[Mapping[str, str]] = {"value": "double"}
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    empties: ClassVar[str] = "an item that does not apply to a case is undefined, with the rule that says why"
    source: ClassVar[str] = (
        "(score - lowest) / (highest - lowest) of the item's scale, negative polarity as 1 minus that"
    )
    definition: str = "mean over dialogues"

    def observe(self, pair: RubricScore) -> Value:
        """The score as it is."""
        return Value(None if pair.score is None else {"value": float(pair.score)}, pair.rule)

    def failed(self, reference: Any) -> Statistic:
        """0, or the ``reference``: the share of points that all negative criteria together take."""
        return {"value": float(reference or 0.0)}
