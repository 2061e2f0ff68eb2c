"""Interaction metrics: what a curve of scores over clicks says. Pure functions, and the registered metrics over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from medeval.metrics.base import MeanMetric, Statistic, Value
from medeval.metrics.names import number, options, plain, split
from medeval.metrics.registry import register
from medeval.types.errors import MetricError

LIMIT = 20  # clicks after which the field gives up on an object


@dataclass(frozen=True)
class ClickCurve:
    """Scores (IoU or Dice, in [0, 1]) of one object after click 1, 2, ...

    scores: one a click; shorter than ``limit`` when the session ended early: the last score then stands.
    limit: clicks after which the object counts as failed.
    path: (cost so far, score) of every round, the opening's included, costs ascending; empty where nobody counted.
    censored: the session broke off after these scores for reasons that are not the model's.
    """

    scores: tuple[float, ...]
    limit: int = LIMIT
    path: tuple[tuple[float, float], ...] = ()
    censored: bool = False

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise MetricError(f"limit must be at least 1 click, not {self.limit}")
        if not all(0.0 <= s <= 1.0 for s in self.scores):
            raise MetricError("scores must lie in [0, 1] and hold no NaN")

    def filled(self) -> np.ndarray:
        """(limit,) scores, the last one carried on."""
        own = list(self.scores[: self.limit])
        return np.array(own + [own[-1]] * (self.limit - len(own)))


def number_of_clicks(scores: Sequence[float], quality: float, limit: int = LIMIT) -> int:
    """NoC@q: first click (from 1) with a score ``>= quality``, else ``limit`` (RITM)."""
    reached = np.flatnonzero(np.asarray(scores[:limit], dtype=np.float64) >= quality)
    return int(reached[0]) + 1 if reached.size else limit


def failed_to_reach(
    scores: Sequence[float], quality: float, limit: int = LIMIT, *, ritm: bool = False
) -> bool:
    """NoF@q of one object: the quality was not reached within ``limit`` clicks.

    ritm: count as RITM does, where an object that is solved exactly at the last click fails too.
    """
    if ritm:
        return number_of_clicks(scores, quality, limit) == limit
    return not np.any(np.asarray(scores[:limit], dtype=np.float64) >= quality)


def score_at_cost(path: Sequence[tuple[float, float]], budget: float) -> float:
    """The last score whose cost the budget covers; 0 where it covers none.

    path: (cost so far, score) of every round, costs ascending.
    """
    within = [score for cost, score in path if cost <= budget]
    return within[-1] if within else 0.0


def area_under_cost(path: Sequence[tuple[float, float]], budget: float) -> float:
    """Area under score against cost from 0 to the budget, divided by it: in [0, 1].

    What an interaction earned is there from the moment that it is paid for (steps, no trapezoids: half a box earns
    nothing), 0 before the first, and the last score stands to the budget.
    """
    costs = [min(cost, budget) for cost, _ in path] + [budget]
    widths = np.diff(costs)
    return float(sum(score * width for (_, score), width in zip(path, widths, strict=True)) / budget)


def area_under_clicks(scores: Sequence[float], *, normalised: bool = True) -> float:
    """Area under score against click by trapezoids of unit width (autoPET IV).

    normalised: divided by the number of steps, so that it lies in [0, 1]; a single score is its own area then.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size < 2:
        return float(values[0]) if normalised and values.size else 0.0
    area = float(np.trapezoid(values)) if hasattr(np, "trapezoid") else float(np.trapz(values))
    return area / (values.size - 1) if normalised else area


class ClickMetric(MeanMetric):
    """A metric of one object's click curve."""

    pair: ClassVar[type] = ClickCurve
    empties = "no click made: undefined"
    quality: float = 0.0

    def observe(self, pair: ClickCurve) -> Value:
        """The curve's value."""
        if not pair.scores:
            return Value(None, "no clicks")
        return Value({"value": float(self.measure(pair))})

    def measure(self, pair: ClickCurve) -> float:
        """The value of a curve with at least one click."""
        raise NotImplementedError

    def failed(self, reference: Any) -> Statistic:
        """The worst value; reference: a ``ClickCurve`` or anything else with a ``limit`` (default 20)."""
        return {"value": self.worst(int(getattr(reference, "limit", LIMIT)))}

    def worst(self, limit: int) -> float:
        """The worst value for this number of clicks."""
        return 0.0


class NumberOfClicks(ClickMetric):
    """NoC@q, clicks: the first click whose score is at least q percent; the limit (20) where none is."""

    direction: ClassVar = "lower"
    range = (1.0, float("inf"))
    unit = "clicks"
    definition = "first click with a score >= q%"
    source = "RITM (SamsungLabs/ritm_interactive_segmentation)"

    def measure(self, pair: ClickCurve) -> float:
        """The number of clicks."""
        return number_of_clicks(pair.scores, self.quality, pair.limit)

    def worst(self, limit: int) -> float:
        """The limit."""
        return float(limit)


class NumberOfFailures(ClickMetric):
    """NoF@q: 1 where q percent was not reached within the limit, else 0; the mean is the share of failures.

    ``:ritm`` also counts an object that is solved exactly at the last click, as RITM does.
    """

    direction: ClassVar = "lower"
    definition = "score never >= q%"
    source = "RITM (its rule: `:ritm`)"
    ritm: bool = False

    def measure(self, pair: ClickCurve) -> float:
        """1.0 for a failure."""
        return float(failed_to_reach(pair.scores, self.quality, pair.limit, ritm=self.ritm))

    def worst(self, limit: int) -> float:
        """A failure."""
        return 1.0


class ClickArea(ClickMetric):
    """Area under Dice against clicks, normalised to [0, 1]; ``auc_dice:raw`` as autoPET IV states it (to limit - 1)."""

    definition = "trapezoids over clicks, divided by the steps"
    source = "autoPET IV"
    raw: bool = False

    def measure(self, pair: ClickCurve) -> float:
        """The area under the curve, its last score carried to the limit."""
        return area_under_clicks(pair.filled().tolist(), normalised=not self.raw)


class CostMetric(ClickMetric):
    """A metric of score against interaction cost, up to a budget in the unit of the suite's ``cost:``."""

    empties = "no cost counted: undefined"
    definition = "the score that a cost buys, or the area under score against cost, divided by the budget"
    source = "state of the art: value at a budget, common axis of points, boxes and strokes"
    budget: float = 0.0
    area: bool = False

    def observe(self, pair: ClickCurve) -> Value:
        """The value of a path with at least one round."""
        return super().observe(pair) if pair.path else Value(None, "no cost counted")

    def measure(self, pair: ClickCurve) -> float:
        """The area, or the score that the budget buys."""
        return (area_under_cost if self.area else score_at_cost)(pair.path, self.budget)


class ScoreAtClick(ClickMetric):
    """Score after k clicks, in [0, 1] (``dice@3clicks``); ``final_dice`` after the last one."""

    definition = "score after k clicks, or the last"
    source = "SAM-family tables; autoPET IV (final)"
    click: int | None = None

    def measure(self, pair: ClickCurve) -> float:
        """The score, the last one where the session was shorter."""
        return (
            pair.scores[-1]
            if self.click is None
            else float(pair.scores[min(self.click, len(pair.scores)) - 1])
        )


def _with_quality(base: str, cls: type[ClickMetric], known: dict[str, tuple[str, object]], words: str) -> Any:
    def parse(name: str) -> ClickMetric | None:
        parts = split(name)
        if parts.base != base:
            return None
        metric = cls()
        metric.name = name
        percent = number(name, parts.argument)
        if not 0.0 < percent <= 100.0:
            raise MetricError(f"metric {name!r}: the quality is a percentage, as in {base}@90")
        metric.quality = percent / 100.0
        for setting, value in options(name, parts.options, known).items():
            setattr(metric, setting, value)
        metric.definition = words.format(plain(percent))
        return metric

    return parse


def _parse_area(name: str) -> ClickArea | None:
    parts = split(name)
    if parts.base not in ("auc_dice", "auc") or parts.argument:
        return None
    metric = ClickArea()
    metric.name = name
    metric.raw = bool(options(name, parts.options, {"raw": ("raw", True)}))
    metric.definition = "trapezoids over clicks" + (
        ", not normalised" if metric.raw else ", divided by the steps"
    )
    return metric


def _parse_score(name: str) -> ScoreAtClick | None:
    parts = split(name)
    at = parts.base in ("dice", "score") and parts.argument.endswith(("click", "clicks"))
    if not at and name not in ("final_dice", "final"):
        return None
    metric = ScoreAtClick()
    metric.name = name
    metric.definition = "score after the last click"
    if at:
        metric.click = int(number(name, parts.argument.rstrip("s"), "click"))
        if metric.click < 1:
            raise MetricError(f"metric {name!r}: clicks are counted from 1")
        metric.definition = f"score after {metric.click} clicks"
    return metric


def _parse_cost(name: str) -> CostMetric | None:
    parts = split(name)
    if parts.base not in ("score", "auc") or not parts.argument.endswith("cost"):
        return None
    metric = CostMetric()
    metric.name, metric.area = name, parts.base == "auc"
    metric.budget = number(name, parts.argument, "cost")
    if metric.budget <= 0:
        raise MetricError(f"metric {name!r}: the budget must be above 0")
    words = (
        "area under score against cost, steps, divided by the budget of {}"
        if metric.area
        else "score that a cost of {} buys"
    )
    metric.definition = words.format(plain(metric.budget))
    return metric


register("noc@<q>", parse=_with_quality("noc", NumberOfClicks, {}, "first click with a score >= {}%"))(
    NumberOfClicks
)
register(
    "nof@<q>[:ritm]",
    parse=_with_quality("nof", NumberOfFailures, {"ritm": ("ritm", True)}, "score never >= {}%"),
)(NumberOfFailures)
register("auc_dice[:raw]", parse=_parse_area)(ClickArea)
register("auc[:raw]", parse=_parse_area)(ClickArea)
register("dice@<k>clicks", parse=_parse_score)(ScoreAtClick)
register("score@<k>clicks", parse=_parse_score)(ScoreAtClick)
register("final_dice", parse=_parse_score)(ScoreAtClick)
register("final", parse=_parse_score)(ScoreAtClick)
register("score@<budget>cost", parse=_parse_cost)(CostMetric)
register("auc@<budget>cost", parse=_parse_cost)(CostMetric)
