"""Ordinal triage: how costly, how often too low and too high a level is.

The costs are the hospital's: ``costs[truth][given]`` for levels from the least to the most urgent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

from medeval.metrics.base import MeanMetric, Statistic, Value
from medeval.metrics.registry import register


@dataclass(frozen=True)
class TriagePair:
    """Levels are positions, 0 the least urgent. given: None where only the truth is known. costs[truth][given] >= 0."""

    truth: int
    given: int
    costs: tuple[tuple[float, ...], ...]


class TriageMetric(MeanMetric):
    """A mean over studies."""

    pair: ClassVar[type] = TriagePair
    direction: ClassVar[Literal["higher", "lower"]] = "lower"
    source: ClassVar[str] = "the suite's cost matrix"

    def observe(self, pair: TriagePair) -> Value:
        """The study's own value."""
        return Value({"value": self.of(pair)})

    def of(self, pair: TriagePair) -> float:
        """The value of one study."""
        raise NotImplementedError

    def failed(self, reference: TriagePair) -> Statistic:
        """The worst that any level would give for this truth."""
        values = [
            self.of(TriagePair(reference.truth, given, reference.costs))
            for given in range(len(reference.costs))
        ]
        return {"value": max(values) if self.direction == "lower" else min(values)}


@register("triage_cost")
class TriageCost(TriageMetric):
    """Mean cost by the cost matrix, from 0 up."""

    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    definition = "mean cost of the given level by the suite's matrix"

    def of(self, pair: TriagePair) -> float:
        """The cost of this level for this truth."""
        return float(pair.costs[pair.truth][pair.given])


@register("triage_accuracy")
class TriageAccuracy(TriageMetric):
    """Share of studies with the right level, in [0, 1]."""

    direction: ClassVar[Literal["higher", "lower"]] = "higher"
    definition = "share of studies with the right level"

    def of(self, pair: TriagePair) -> float:
        """1 where the level is right."""
        return float(pair.truth == pair.given)


@register("undertriage")
class Undertriage(TriageMetric):
    """Share of studies given too low a level, in [0, 1]."""

    definition = "share of studies given too low a level"

    def of(self, pair: TriagePair) -> float:
        """1 where the level is too low."""
        return float(pair.given < pair.truth)

    def failed(self, reference: TriagePair) -> Statistic:
        """1: a study without a level is not seen in time."""
        return {"value": 1.0}


@register("overtriage")
class Overtriage(TriageMetric):
    """Share of studies given too high a level, in [0, 1]."""

    definition = "share of studies given too high a level"

    def of(self, pair: TriagePair) -> float:
        """1 where the level is too high."""
        return float(pair.given > pair.truth)


def level_of(answer: Any, levels: Mapping[str, int]) -> int | None:
    """Position of an answered level, by name (whatever its case) or number; None where it is none."""
    if isinstance(answer, str):
        return {name.lower(): at for name, at in levels.items()}.get(answer.strip().lower())
    if isinstance(answer, bool) or not isinstance(answer, Real):
        return None
    number = float(answer)
    return int(number) if 0 <= number < len(levels) and number.is_integer() else None
