"""Classification of whole studies: where hospitals begin. A vendor's CSV of scores or a model, against labels.

Everything that a buyer asks stands in one report: AUROC with DeLong's interval, sensitivity and specificity at the
vendor's threshold and at matched specificity, exact or clustered intervals, paired tests between vendors, calibration,
alerts per 100 studies at a stated prevalence, net benefit, and the same by subgroup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from medeval.metrics.classification import PREFIX, ScoredCase
from medeval.metrics.registry import registered
from medeval.tasks.base import Scored, staged
from medeval.tasks.classification.studies import StudyTask
from medeval.tasks.context import Context
from medeval.types import Case, DataError, Key, ModelFailure, Output

if TYPE_CHECKING:
    from medeval.tasks.summary import Evidence, Summary

LABEL = "label"


class Classification(StudyTask):
    """Scores in [0, 1] against labels 0 and 1, one a case.

    The model: ``classify(inputs: Mapping[str, Any]) -> float``, the probability of the positive class; its attribute
    ``threshold``, where it has one, is where it calls a study positive. Vendors' files come through the adapter
    ``scores``. A study that a model fails on counts as scored at the wrong end.
    """

    pair: ClassVar[type] = ScoredCase
    protocol: ClassVar[str] = "classify(inputs) -> probability in [0, 1]"
    methods: ClassVar[tuple[str, ...]] = ("classify",)
    needs: ClassVar[tuple[str, ...]] = (LABEL,)
    columns: ClassVar[Mapping[str, str]] = {"label": "int64", "score": "double", "threshold": "double"}

    task: Literal["classification"] = "classification"
    metrics: tuple[str, ...] = Field(
        ("case_auroc", "case_average_precision", "case_sensitivity", "case_specificity", "case_ppv", "case_npv",
         "case_f1", "case_brier", "case_ece"),
        description="Metrics of studies; `auroc` is taken for `case_auroc`.", json_schema_extra=staged("score"),
    )  # fmt: skip
    positive: int | str = Field(
        1, description="The label that is positive.", json_schema_extra=staged("score")
    )
    negative: int | str = Field(
        0, description="The label that is negative.", json_schema_extra=staged("score")
    )
    threshold: float = Field(
        0.5, ge=0, le=1, description="Where models that name no threshold of their own call a study positive.",
        json_schema_extra=staged("score"),
    )  # fmt: skip
    matched_specificity: float = Field(
        0.9, gt=0, lt=1, description="Sensitivity is also told at this specificity, the same for all models.",
        json_schema_extra=staged("summarize"),
    )  # fmt: skip
    prevalence: float | None = Field(
        None, gt=0, lt=1, description="Share of positives where it will be used: alerts, predictive values, net benefit.",
        json_schema_extra=staged("summarize"),
    )  # fmt: skip
    net_benefit_at: tuple[float, ...] = Field(
        (0.1, 0.2),
        description="Threshold probabilities of the net benefit.",
        json_schema_extra=staged("summarize"),
    )
    reference: str | None = Field(
        None, description="The model that the others are tested against; default: the suite's first.",
        json_schema_extra=staged("summarize"),
    )  # fmt: skip

    @field_validator("metrics", mode="before")
    @classmethod
    def _short_names(cls, names: Any) -> Any:
        """``auroc`` -> ``case_auroc``: here the names without the prefix can mean nothing else."""
        if not isinstance(names, list | tuple):
            return names
        known = {pattern.partition("@")[0] for pattern in registered()}
        return tuple(
            PREFIX + n if isinstance(n, str) and PREFIX + n.partition("@")[0] in known else n for n in names
        )

    @field_validator("net_benefit_at")
    @classmethod
    def _probabilities(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        for value in values:
            if not 0 < value < 1:
                raise ValueError(f"{value} is no threshold probability; it must lie in (0, 1)")
        return values

    def model_columns(self, model: Any) -> Mapping[str, Any]:
        """The model's own threshold, where it has one."""
        threshold = getattr(model, "threshold", None)
        return {} if threshold is None else {"threshold": float(threshold)}

    def checked(self, value: Any) -> float:
        """A probability. Raises ``ModelFailure``."""
        return _number(value)

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Every metric of this study. Raises ``ModelFailure`` for a score outside [0, 1]."""
        score = _number(output.value)
        threshold = float(output.columns.get("threshold", self.threshold))
        pair = ScoredCase(score, self.truth(case), threshold)
        values = {metric.name: metric.observe(pair) for metric in self.bound_metrics}
        return [Scored(Key(), values, {"label": pair.label, "score": score, "threshold": threshold})]

    def worst_reference(self, case: Case, key: Key) -> ScoredCase:
        """The label: a failed study is scored at its wrong end."""
        return ScoredCase(math.nan, self.truth(case))

    def truth(self, case: Case) -> int:
        """0 or 1. Raises ``DataError`` for a label that is neither the positive nor the negative one."""
        given = case.reference[LABEL]
        for number, named in enumerate((self.negative, self.positive)):
            if (
                given == named
                or str(given) == str(named)
                or (isinstance(given, bool) and int(given) == named)
            ):
                return number
        raise DataError(
            f"label {given!r} is neither positive ({self.positive!r}) nor negative ({self.negative!r})"
        )

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores with exact, DeLong or bootstrap intervals, and the comparison of the models."""
        from medeval.tasks.classification.summary import summarize_classification

        return summarize_classification(self, evidence)


def _number(value: Any) -> float:
    """A probability. Raises ``ModelFailure`` that says what came."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ModelFailure(f"score {value!r} is no number; a probability in [0, 1] is expected") from None
    if not 0 <= number <= 1:
        raise ModelFailure(
            f"score {number:g} is outside [0, 1]; give a probability, or `range: [LOWEST, HIGHEST]` for a file of scores"
        )
    return number
