"""Ordinal triage: a level of urgency for each study, judged by a matrix of costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from medeval.metrics.classification_triage import TriagePair, level_of
from medeval.tasks.base import Scored, staged
from medeval.tasks.classification.studies import StudyTask
from medeval.tasks.context import Context
from medeval.types import Case, DataError, Key, ModelFailure, Output


class Triage(StudyTask):
    """Levels from the least to the most urgent against the true level, one a case.

    The model: ``triage(inputs: Mapping[str, Any]) -> str | int``, a level's name or position. Files of levels come through
    the adapter ``scores``. A study that a model fails on takes the costliest level.
    """

    pair: ClassVar[type] = TriagePair
    protocol: ClassVar[str] = "triage(inputs) -> name or position of a level"
    methods: ClassVar[tuple[str, ...]] = ("triage",)
    needs: ClassVar[tuple[str, ...]] = ("level",)
    columns: ClassVar[Mapping[str, str]] = {"truth": "int64", "given": "int64"}

    task: Literal["triage"] = "triage"
    levels: tuple[str, ...] = Field(
        min_length=2,
        description="Names from the least to the most urgent.",
        json_schema_extra=staged("score"),
    )
    costs: tuple[tuple[float, ...], ...] = Field(
        description="costs[truth][given], one row and column a level; 0 on the diagonal.",
        json_schema_extra=staged("score"),
    )
    metrics: tuple[str, ...] = Field(
        ("triage_cost", "triage_accuracy", "undertriage", "overtriage"), description="Metrics of levels.",
        json_schema_extra=staged("score"),
    )  # fmt: skip

    @model_validator(mode="after")
    def _square(self) -> Self:
        size = len(self.levels)
        if len(set(self.levels)) != size:
            raise ValueError(f"levels {list(self.levels)}: each name once")
        if len(self.costs) != size or any(len(row) != size for row in self.costs):
            raise ValueError(
                f"costs must have {size} rows of {size} numbers, one a level: costs[truth][given]"
            )
        if any(cost < 0 for row in self.costs for cost in row) or any(
            self.costs[at][at] for at in range(size)
        ):
            raise ValueError("costs must be 0 on the diagonal and never negative")
        return self

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Every metric of this study. Raises ``ModelFailure`` for an answer that is no level."""
        given = level_of(output.value, self._positions)
        if given is None:
            raise ModelFailure(
                f"{output.value!r} is no level; known: {', '.join(self.levels)} (or 0 to {len(self.levels) - 1})"
            )
        pair = TriagePair(self._truth(case), given, self.costs)
        values = {metric.name: metric.observe(pair) for metric in self.bound_metrics}
        return [Scored(Key(), values, {"truth": pair.truth, "given": given})]

    def worst_reference(self, case: Case, key: Key) -> TriagePair:
        """The true level: a failed study takes the costliest one."""
        return TriagePair(self._truth(case), 0, self.costs)

    @property
    def _positions(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.levels)}

    def _truth(self, case: Case) -> int:
        truth = level_of(case.reference["level"], self._positions)
        if truth is None:
            raise DataError(f"level {case.reference['level']!r} is none of {', '.join(self.levels)}")
        return truth
