"""Robustness: a segmentation model's score against the severity of corruptions, on the cases of the other tasks.

Every corruption at every severity is an arm of the model; ``clean``, the images as they are, is the first. What is asked and
how it is scored is that of ``segmentation`` or ``prompted-segmentation``: the images alone differ, prompts are drawn from the
same masks by the same draws. What the numbers mean: docs/robustness.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from medeval.datasets.shift import Shift
from medeval.datasets.shifts import CORRUPTIONS, SEVERITIES, checked_corruption, corrupted, value_at
from medeval.tasks.base import staged
from medeval.tasks.context import Context
from medeval.tasks.prompted_segmentation.task import PromptedSegmentation
from medeval.tasks.segmentation import AutomaticSegmentation
from medeval.types import Case, Failure, Output

if TYPE_CHECKING:
    from medeval.tasks.summary import Evidence, Summary

CLEAN = "clean"
ALL = "all corruptions"


def _different(given: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(given)) < len(given):
        raise ValueError(f"named twice: {', '.join(str(one) for one in given)}")
    return given


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    return _different(tuple(checked_corruption(name) for name in names))


def _field(description: str, **limits: Any) -> Any:
    """What both tasks say of a field."""
    return Field(description=description, json_schema_extra=staged("summarize"), **limits)


Corruptions = Annotated[
    tuple[str, ...],
    AfterValidator(_known),
    _field("Which corruptions; default: all (docs/robustness.md).", min_length=1),
]
Severities = Annotated[
    tuple[Annotated[int, Field(ge=1, le=5)], ...],
    AfterValidator(_different),
    _field("Which severities of each, 1 to 5.", min_length=1),
]
ReferenceModel = Annotated[
    str | None,
    _field(
        "A model of the suite: corruption errors are relative to its own (mCE of Hendrycks & Dietterich)."
    ),
]
Draw = Annotated[int, _field("Seed of what a corruption draws at random.")]
Estimand = Annotated[
    Literal["records", "cases"], _field("Estimand: over all records, or within a case first.")
]


class _Corrupted:
    """What both robustness tasks do around the task that they extend."""

    corruptions: Corruptions
    severities: Severities
    draw: int

    def arms(self) -> Sequence[str]:
        """``clean`` first, then ``corruption@severity``."""
        levels = sorted(self.severities)
        return (CLEAN, *(f"{name}@{level}" for name in self.corruptions for level in levels))

    def arm_fingerprint(self, arm: str) -> Mapping[str, Any]:
        """The corruption, its parameter and its code's version: an arm more leaves the others as they are."""
        if arm == CLEAN:
            return {}
        name, severity = step_of(arm)
        return {
            "corruption": name,
            "value": value_at(name, severity),
            "draw": self.draw,
            "version": Shift.version,
        }

    def refusal(self, model: Any, image_ndim: int | None) -> str | None:
        """Also: an output source, which answers by case and sees no image."""
        if getattr(model, "source", False):
            return "it answers by case, whatever the image looks like: it has no robustness to measure"
        return super().refusal(model, image_ndim)  # type: ignore[misc]

    def _case(self, case: Case, arm: str) -> Case:
        if arm == CLEAN:
            return case
        name, severity = step_of(arm)
        image = corrupted(case.inputs["image"], name, value_at(name, severity), self.draw, case.id)
        return replace(case, inputs={**case.inputs, "image": image})

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores by corruption and severity, degradation and corruption errors, curves against severity."""
        from medeval.tasks.robustness.summary import summarize_robustness

        return summarize_robustness(self, evidence)  # type: ignore[arg-type]


class Robustness(_Corrupted, AutomaticSegmentation):
    """Mask metrics of a model without prompts (``segment_image``) against severity."""

    task: Literal["robustness"] = "robustness"  # type: ignore[assignment]
    corruptions: Corruptions = tuple(CORRUPTIONS)
    severities: Severities = SEVERITIES
    reference_model: ReferenceModel = None
    draw: Draw = 0
    average: Estimand = "records"

    def predict(self, model: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """As the task itself, on corrupted images."""
        yield from super().predict(model, (self._case(case, context.arm) for case in cases), context)


class PromptedRobustness(_Corrupted, PromptedSegmentation):
    """Mask metrics of a promptable model (``encode``, ``segment``) against severity, by prompt; the prompts stay as they were."""

    columns: ClassVar[Mapping[str, str]] = PromptedSegmentation.columns

    task: Literal["prompted-robustness"] = "prompted-robustness"  # type: ignore[assignment]
    corruptions: Corruptions = tuple(CORRUPTIONS)
    severities: Severities = SEVERITIES
    reference_model: ReferenceModel = None
    draw: Draw = 0
    average: Estimand = "records"
    session_metrics: tuple[str, ...] = Field(
        (),
        description="Metrics of a whole click session; none by default.",
        json_schema_extra=staged("summarize"),
    )

    def seen(self, case: Case, arm: str) -> Case:
        """As the task itself, of the corrupted image."""
        return super().seen(self._case(case, arm), arm)


def step_of(arm: str) -> tuple[str, int]:
    """``"noise@3"`` -> ("noise", 3)."""
    name, _, severity = arm.rpartition("@")
    return name, int(severity)
