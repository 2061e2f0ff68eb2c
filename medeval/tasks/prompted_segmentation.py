"""Prompted segmentation in 2D and 3D: a simulated user draws boxes and clicks from the truth, the model answers.

One encode per image; every prompt of a round goes to the model in one batch. Settings that only differ in their number of
clicks are one session read off at several lengths: ``1 click`` is round 1 of ``5 clicks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from medeval.interaction import BoxRule, PointRule, PromptSetting, click_rules, parse_prompt
from medeval.metrics.base import Value
from medeval.metrics.clicks import ClickCurve
from medeval.metrics.masks import MaskPair
from medeval.metrics.registry import get_metric
from medeval.tasks.base import Scored, Task, ask_source, staged
from medeval.tasks.context import Context
from medeval.tasks.frames import framed, unframed
from medeval.tasks.masks import MASK_COLUMNS, grid_of, mask_columns
from medeval.tasks.pictures import mask_picture
from medeval.tasks.presets import with_preset
from medeval.tasks.prompting import Asker, Dialogue, Session, capabilities
from medeval.tasks.sessions import session_scores
from medeval.tasks.summary import CellScorer
from medeval.types import (
    Capabilities,
    Case,
    CaseFailure,
    CaseInfo,
    Failure,
    InfrastructureFailure,
    Key,
    Output,
    Status,
    nearest,
)
from medeval.types.views import Picture


class PromptedSegmentation(Task):
    """Dice (or any mask metric) of a promptable model, by prompt and by number of clicks.

    The model: ``encode(image: Image) -> encoded`` once an image, ``segment(encoded, prompts: Sequence[Prompt]) ->
    list[Segmentation]`` for a batch of prompts. Structures that the reference does not hold cannot be prompted: each is
    one record ``undefined``, counted beside the score. A session whose mask is already right is carried on unchanged.
    What the words of ``prompts`` mean, and which paper means what by "5 clicks": docs/prompts.md.
    """

    pair: ClassVar[type] = MaskPair
    protocol: ClassVar[str] = "encode(image) -> encoded; segment(encoded, prompts) -> list[Segmentation]"
    methods: ClassVar[tuple[str, ...]] = ("encode", "segment")
    needs: ClassVar[tuple[str, ...]] = ("image", "structures")
    columns: ClassVar[Mapping[str, str]] = {**MASK_COLUMNS, "points": "string", "box": "string"}
    ladder: ClassVar[str] = "clicks"

    task: Literal["prompted-segmentation"] = "prompted-segmentation"
    preset: str | None = Field(
        None, description="A published protocol: sam-med2d, or its mended twin sam-med2d-strict."
    )
    prompts: tuple[str, ...] = Field(
        ("box",),
        min_length=1,
        description="Prompt settings: box, box jitter K, N points, N clicks, box + N clicks, mask.",
    )
    click_rule: str = Field(
        "centre-of-largest-error", description="Where the simulated user clicks; see docs/prompts.md."
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
    structures: tuple[str, ...] | None = Field(None, description="Only these structures; default: all.")
    decimals: int | None = Field(
        None,
        ge=1,
        description="Round each value to so many decimals before the mean.",
        json_schema_extra=staged("score"),
    )
    batch_size: int = Field(64, ge=1, description="Most prompts that go to the model in one call.")
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
        if name not in click_rules():
            raise ValueError(f"unknown click rule {name!r}; {nearest(name, click_rules())}")
        return name

    @field_validator("session_metrics")
    @classmethod
    def _session_metrics_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            metric = get_metric(name)
            if not issubclass(ClickCurve, metric.pair):
                raise ValueError(f"{name!r} is no metric of a click session; noc@90, nof@90 or auc_dice is")
        return names

    @property
    def prompt_order(self) -> tuple[str, ...]:
        """As the suite writes them."""
        return self.prompts

    @cached_property
    def settings(self) -> tuple[PromptSetting, ...]:
        """The prompt settings, parsed."""
        return tuple(parse_prompt(text) for text in self.prompts)

    def sessions(self, takes: Capabilities) -> tuple[Session, ...]:
        """The settings that a model takes, gathered into sessions that are each run once."""
        families: dict[tuple, list[PromptSetting]] = {}
        for setting in self.settings:
            if not setting.kinds <= takes.prompts:
                continue
            shared = setting.clicks or setting.box
            family = (setting.box, setting.jitter) if shared else (setting.label,)
            families.setdefault(family, []).append(setting)
        return tuple(Session(max(group, key=lambda s: s.rounds), tuple(group)) for group in families.values())

    # -- what is to be done -------------------------------------------------------------------------------------

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """Every structure that is present x prompt x round; one key without a prompt for each that is absent."""
        reference = case.reference["structures"]
        present = self._wanted(reference.present())
        return [*self._keys(present), *(Key(name) for name in self._absent(case, context))]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same over the structures that the index knows; one unnamed structure when it knows none."""
        return self._keys(self._wanted(info.structures) or ("",))

    def _absent(self, case: Case, context: Context) -> list[str]:
        """Structures of the labelling that this case does not hold, whole or in instances (``rib#2``)."""
        reference = case.reference["structures"]
        held = {name.partition("#")[0] for name in reference.present()}
        known = dict.fromkeys(name.partition("#")[0] for name in context.structures or reference.names)
        return [name for name in self._wanted(known) if name not in held]

    def _undefined(self, case: Case, context: Context) -> Iterator[Failure]:
        for name in self._absent(case, context):
            text = "absent in the reference: no prompt can be drawn"
            yield Failure(case.id, Key(name), Status.UNDEFINED, text)

    def _keys(self, structures: Iterable[str]) -> list[Key]:
        return [
            Key(name, setting.label, number)
            for name in structures
            for setting in self.settings
            for number in range(1, setting.rounds + 1)
        ]

    def _wanted(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(n for n in names if self.structures is None or n.partition("#")[0] in self.structures)

    def refusal(self, model: Any, image_ndim: int | None) -> str | None:
        """Also: a model that takes none of the prompts, or no images of this dimension."""
        reason = super().refusal(model, image_ndim)
        if reason:
            return reason
        takes = capabilities(model)
        if not takes.prompts:
            return f"it takes no prompts; {self.task} is for models that do"
        if not self.sessions(takes):
            return f"it takes {_listed(takes.prompts)}, and none of the prompts needs only that"
        if image_ndim is not None and image_ndim not in takes.dimensions:
            return f"it takes {_listed(f'{n}D' for n in takes.dimensions)} images; these are {image_ndim}D"
        return None

    def reservation(self, model: Any) -> str | None:
        """Prompts that this model does not take: their records are ``not_covered``."""
        if getattr(model, "source", False):
            return None
        lacking = [s.label for s in self.settings if not s.kinds <= capabilities(model).prompts]
        return (
            f"it takes {_listed(capabilities(model).prompts)}: not asked for {', '.join(lacking)}"
            if lacking
            else None
        )

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """One encode and, a session and round, one call a batch of structures."""
        batches = -(-max(1, len(self._wanted(info.structures)) or structures) // self.batch_size)
        return 1 + sum(session.longest.rounds for session in self.sessions(capabilities(model))) * batches

    # -- execution ----------------------------------------------------------------------------------------------

    def predict(self, model: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """Encode each image once, then run every session on all its structures together."""
        for case in cases:
            yield from self._predict_case(model, case, context)

    def _predict_case(self, model: Any, case: Case, context: Context) -> Iterator[Output | Failure]:
        yield from self._undefined(case, context)
        seen = framed(case, self.frame) if self.frame else case
        owed = self._wanted(case.reference["structures"].present())
        present = [name for name in owed if name in seen.reference["structures"].present()]
        for key in self._keys(name for name in owed if name not in present):
            yield Failure(case.id, key, Status.UNDEFINED, f"lost in the frame of {self.frame} pixels")
        takes = capabilities(model)
        settings = {setting.label: setting for setting in self.settings}
        for key in self._keys(present):
            if not settings[key.prompt].kinds <= takes.prompts:
                yield Failure(case.id, key, Status.NOT_COVERED, f"the model takes {_listed(takes.prompts)}")
        shape = grid_of(case).shape
        for event in self._ask_all(model, seen, present, context) if present else ():
            if isinstance(event, Output) and self.frame:
                yield replace(event, value=unframed(event.value, shape))
            else:
                yield event

    def _ask_all(
        self, model: Any, case: Case, present: Sequence[str], context: Context
    ) -> Iterator[Output | Failure]:
        reference = case.reference["structures"]
        sessions = self.sessions(capabilities(model))
        try:
            encoded = context.call(case.id, "encode", model.encode, case.inputs["image"])
        except InfrastructureFailure:
            raise
        except CaseFailure as error:
            covered = {setting.label for session in sessions for setting in session.settings}
            for key in self._keys(present):
                if key.prompt in covered:
                    yield Failure(case.id, key, error.status, str(error))
            return
        asker = Asker(self, model, encoded, case, context)
        for session in sessions:
            yield from asker.run(session, [Dialogue(name, reference.mask(name)) for name in present])

    def replay(self, source: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """The source is asked for what a model would be asked for: structures that are present."""
        for case in cases:
            yield from self._undefined(case, context)
            for key in self._keys(self._wanted(case.reference["structures"].present())):
                yield ask_source(source, case, key, context)

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """The task's metrics on one mask."""
        grid = grid_of(case)
        reference = case.reference["structures"]
        pair = MaskPair(
            output.value.mask,
            reference.mask(output.key.structure),
            grid.spacing,
            structure=output.key.structure.partition("#")[0],
            grid=grid,
            probabilities=output.value.probabilities,
            ignore=reference.ignored(),
        )
        values = {metric.name: _rounded(metric.observe(pair), self.decimals) for metric in self.bound_metrics}
        return [Scored(output.key, values, mask_columns(pair, output.value.score))]

    def more_scores(self, scorer: CellScorer) -> Sequence[Mapping[str, Any]]:
        """The session metrics of every setting with several clicks, with intervals over patients."""
        return session_scores(scorer, self.settings, self.session_metrics, self.session_curve)

    def worst_reference(self, case: Case, key: Key) -> Any:
        """The grid: a failed mask is as far off as the image is large."""
        return grid_of(case)

    def illustrate(self, case: Case, output: Output | None, key: Key) -> Picture | None:
        """Outlines of truth and prediction with the prompt."""
        return mask_picture(case, output, key)


def _rounded(value: Value, decimals: int | None) -> Value:
    if decimals is None or value.statistic is None:
        return value
    rounded = {k: round(v, decimals) if isinstance(v, float) else v for k, v in value.statistic.items()}
    return Value(rounded, value.rule)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
