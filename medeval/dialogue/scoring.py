"""From panel outcomes to what a record holds: each item in [0, 1], dimensions, and a total that never stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medeval.dialogue.panel import Panelled
from medeval.dialogue.rubric import CriteriaRubric, ItemRubric
from medeval.metrics.agreement_points import points_score

TOTAL = "total"


@dataclass(frozen=True)
class Scores:
    """items: id -> score in [0, 1], 1 the best (a criterion: 1 where it is met). dimensions: id -> weighted mean of its items.

    total: weighted mean over items, or signed points over positive points (may be negative); None when an item failed or
    nothing applies. failed: item -> error. na: item -> reason.
    """

    items: Mapping[str, float]
    dimensions: Mapping[str, float]
    total: float | None
    failed: Mapping[str, str]
    na: Mapping[str, str]


def scored(outcomes: Sequence[Panelled], rubric: ItemRubric | CriteriaRubric) -> Scores:
    """The scores of one dialogue. An item that failed is missing; what it belongs to is then missing too, never guessed.

    rubric: of this case (``rubric.for_case``).
    """
    failed = {o.item: o.error for o in outcomes if o.error}
    na = {o.item: o.reason or "not applicable" for o in outcomes if o.na}
    values = {o.item: o.score for o in outcomes if o.score is not None}
    if isinstance(rubric, CriteriaRubric):
        points = {c.id: c.points for c in rubric.criteria}
        kept = [name for name in points if name in values]
        score = points_score([points[name] for name in kept], [values[name] >= 0.5 for name in kept])
        total = None if failed or score != score else score
        return Scores({name: values[name] for name in kept}, {}, total, failed, na)
    units = {name: rubric.by_id[name].unit(value) for name, value in values.items()}
    dimensions: dict[str, float] = {}
    for name in rubric.dimension_ids:
        members = [item.id for item in rubric.items if item.dimension == name]
        if not any(member in failed for member in members):
            mean = _mean(members, units, rubric)
            dimensions |= {} if mean is None else {name: mean}
    total = None if failed else _mean([item.id for item in rubric.items], units, rubric)
    return Scores(units, dimensions, total, failed, na)


def _mean(members: Sequence[str], units: Mapping[str, float], rubric: ItemRubric) -> float | None:
    there = [member for member in members if member in units]
    weight = sum(rubric.by_id[member].weight for member in there)
    return sum(rubric.by_id[member].weight * units[member] for member in there) / weight if there else None
