"""The options of prompted segmentation: what is asked, who asks, and what is read off the sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from medeval.interaction import BoxRule, PointRule, PromptSetting, parse_prompt
from medeval.interaction.corrections import correction_rules
from medeval.interaction.effort import DEFAULT_COST
from medeval.interaction.recorded import Recording, read_recording
from medeval.metrics.clicks import ClickCurve
from medeval.metrics.registry import get_metric
from medeval.tasks.base import Stage, Task, staged
from medeval.tasks.prompted_segmentation.presets import with_preset
from medeval.types import nearest


class PromptingOptions(Task):
    """Fields and their checks."""

    preset: str | None = Field(
        None,
        description="A published protocol (sam-med2d, sam-med3d, cvpr25-interactive, autopet-iv, radioactive), or its mended "
        "twin NAME-strict.",
    )
    prompts: tuple[str, ...] = Field(
        ("box",),
        min_length=1,
        description="Prompt settings: box, box jitter K, N points, N clicks, box + N clicks, mask; of volumes N slice points, "
        "N slice boxes, middle box; recist line, lasso, scribble; N click pairs, recorded. See docs/prompts.md.",
    )
    click_rule: str = Field(
        "centre-of-largest-error", description="Where the simulated user clicks; see docs/prompts.md."
    )
    history: Literal["all", "newest"] = Field(
        "all", description="What the model is shown of the user's points: all so far, or the newest round's."
    )
    box_rule: BoxRule = Field(
        "whole", description="A box around the whole structure, or its largest component."
    )
    point_rule: PointRule = Field(
        "on-structure",
        description="N points drawn at once: all on the structure, or half of them as SAM-Med2D.",
    )
    frame: int | None = Field(
        None,
        ge=16,
        description="Stretch images that reach this size to a square of it, as SAM-Med2D does to 256.",
    )
    crop: float | None = Field(
        None,
        gt=0,
        description="mm; clicks fall inside a cube of this edge around each structure, and models that take boxes are told "
        "the structure's, as SAM-Med3D crops around the target.",
    )
    slice_axis: int = Field(
        -1,
        ge=-3,
        le=2,
        description="The axis along which a volume's slices lie; default: inferior to superior.",
    )
    uptake_channel: int = Field(
        -1,
        description="The image channel whose hottest background `N click pairs` clicks (autoPET: the PET).",
    )
    joint: bool = Field(
        False,
        description="Ask for all structures in every round and in one call, also those without a correction, for models that "
        "answer one label map.",
    )
    absent: Literal["undefined", "scored"] = Field(
        "undefined",
        description="Structures that are not there: one undefined record each, or sessions that open with a background click.",
    )
    prompt_seeds: int = Field(
        1, ge=1, le=100, description="Sessions of each random setting, each with its own draws (`sample`)."
    )
    recorded: Path | None = Field(
        None,
        description="JSON Lines of what people gave, for the setting `recorded`; see docs/interaction.md.",
    )
    structures: tuple[str, ...] | None = Field(None, description="Only these structures; default: all.")
    decimals: int | None = Field(
        None,
        ge=1,
        description="Round each value to so many decimals before the mean.",
        json_schema_extra=staged("score"),
    )
    batch_size: int = Field(64, ge=1, description="Most prompts that go to the model in one call.")
    journal: bool = Field(
        True,
        description="Keep each round of a session until its case is done, so that a killed run goes on in its middle.",
        json_schema_extra=staged("summarize"),
    )
    metrics: tuple[str, ...] = Field(
        ("dice", "iou"), description="Metrics on masks.", json_schema_extra=staged("score")
    )
    session_metrics: tuple[str, ...] = Field(
        ("noc@80", "noc@90", "nof@90"),
        description="Metrics of a whole click session, read off its curve of `session_curve`.",
        json_schema_extra=staged("summarize"),
    )
    session_curve: str = Field(
        "iou",
        description="The metric whose curve over clicks they read.",
        json_schema_extra=staged("summarize"),
    )
    cost: Mapping[str, float] = Field(
        DEFAULT_COST,
        description="Interaction cost of one click, box, line, slice looked at and mm drawn; default: points to place.",
        json_schema_extra=staged("summarize"),
    )
    figures: Literal["cvpr25", "autopet-iv"] | None = Field(
        None,
        description="A challenge's own figures, from the curves of whole cases.",
        json_schema_extra=staged("summarize"),
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        plain = {
            name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()
        }
        return with_preset(given, plain)

    @field_validator("prompts")
    @classmethod
    def _canonical(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        labels = tuple(parse_prompt(text).label for text in prompts)
        if len(set(labels)) < len(labels):
            raise ValueError(f"a prompt is named twice: {', '.join(labels)}")
        return labels

    @field_validator("click_rule")
    @classmethod
    def _rule_exists(cls, name: str) -> str:
        if name not in correction_rules():
            raise ValueError(f"unknown click rule {name!r}; {nearest(name, correction_rules())}")
        return name

    @field_validator("session_metrics")
    @classmethod
    def _session_metrics_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            metric = get_metric(name)
            if not issubclass(ClickCurve, metric.pair):
                raise ValueError(f"{name!r} is no metric of a click session; noc@90, nof@90 or auc_dice is")
        return names

    @field_validator("cost")
    @classmethod
    def _cost_known(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        for kind, weight in weights.items():
            if kind not in DEFAULT_COST:
                raise ValueError(f"cost of {kind!r} is not known; {nearest(kind, DEFAULT_COST)}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"cost of {kind} is {weight}; a number from 0 is expected")
        return weights

    @model_validator(mode="after")
    def _recording_fits(self) -> PromptingOptions:
        asked = "recorded" in self.prompts
        if asked and self.recorded is None:
            raise ValueError(
                "the prompt `recorded` needs `recorded: FILE.jsonl`, the file of what people gave"
            )
        if self.recorded is not None and not asked:
            raise ValueError("`recorded` names a file, but `prompts` does not hold `recorded`")
        if self.recorded is not None and (self.recorded.is_absolute() or self.recorded.exists()):
            _ = (
                self.recording
            )  # a broken file is told before anything runs; a suite first checks the bare relative path
        return self

    @cached_property
    def recording(self) -> Recording:
        """The file of recorded prompts. Raises ``DatasetError``."""
        return read_recording(self.recorded) if self.recorded is not None else Recording(Path())

    @property
    def full_cost(self) -> Mapping[str, float]:
        """``cost`` with the default weight of every kind that it does not name."""
        return {**DEFAULT_COST, **self.cost}

    def samples(self, setting: PromptSetting) -> int:
        """How many sessions of this setting are run: a setting without anything random needs one."""
        return self.prompt_seeds if setting.random else 1

    def fingerprint(self, stage: Stage) -> dict[str, Any]:
        """Of a file of recorded prompts its content counts, not its place."""
        fields = super().fingerprint(stage)
        if stage == "predict" and self.recorded is not None:
            fields["recorded"] = hashlib.sha256(self.recorded.read_bytes()).hexdigest()
        return fields
