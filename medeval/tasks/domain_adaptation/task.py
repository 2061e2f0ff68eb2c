"""Source-free domain adaptation: how far unlabelled images of a new domain help a model, and which patients they harm.

Labels of target training cases are not even loaded: ``context.dataset`` gives inputs only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from medeval.metrics.masks import MaskPair
from medeval.tasks.base import Scored, staged
from medeval.tasks.context import Context
from medeval.tasks.domain_adaptation.adaptations import (
    SOURCE_ONLY,
    JournalCheckpoint,
    Method,
    TargetImages,
    arm_identity,
    checked_adaptations,
    method_of,
)
from medeval.tasks.domain_adaptation.views import FACTS, TIMING
from medeval.tasks.masks import MASK_COLUMNS, grid_of, mask_columns, mask_of
from medeval.tasks.segmentation import AutomaticSegmentation
from medeval.types import (
    Case,
    CaseFailure,
    CaseIndex,
    CaseInfo,
    Failure,
    Key,
    LabelMap,
    MaskStack,
    Output,
    Status,
    Unit,
)

if TYPE_CHECKING:
    from medeval.tasks.summary import Evidence, Summary


@dataclass(frozen=True, eq=False)
class Adapted:
    """What is asked after ``load``: the model of every stage; online, the method and the source model."""

    stages: tuple[Any, ...]
    facts: Mapping[str, Any]
    method: Method | None = None


class DomainAdaptation(AutomaticSegmentation):
    """Scores of a segmentation model before and after each method of adaptation, paired by patient.

    The model: ``segment_image(image, structures)``; ``module``, its network; ``tensor(image)``, the image as the network
    sees it; ``with_module(module)``, the same model around another network (``torch-segmenter`` has all). Every method is
    an arm; ``source-only``, the model as it is, is always the first.

    Scenarios: ``offline`` adapts once to the target training images; ``continual`` to one target dataset after another,
    scored after each (round k is after the k-th), which shows what is forgotten; ``batch`` adapts at test time to every
    ``batch_size`` test cases in order, going on from batch to batch; ``image`` to each test image alone, from the source
    model again. No test label is used in any of them.
    """

    protocol: ClassVar[str] = "segment_image(image, structures), module, tensor(image), with_module(module)"
    methods: ClassVar[tuple[str, ...]] = ("segment_image", "tensor", "with_module")
    columns: ClassVar[Mapping[str, str]] = {
        **MASK_COLUMNS,
        "adaptation_steps": "int64",
        "adaptation_stopped": "string",
    }
    ladder: ClassVar[str] = "target domains"

    task: Literal["domain-adaptation"] = "domain-adaptation"  # type: ignore[assignment]
    adaptations: dict[str, dict[str, Any]] = Field(
        description="Methods: a list of names, or a mapping from arm to {method: name, its options}.",
        json_schema_extra=staged("summarize"),  # each arm depends on its own entry: see ``arm_fingerprint``
    )
    target: tuple[str, ...] = Field(
        (),
        description="Unlabelled target training dataset(s) of the suite, which offline and continual adaptation read; "
        "their order is that of the domains.",
    )
    scenario: Literal["offline", "continual", "batch", "image"] = Field(
        "offline", description="When the model adapts, and to what."
    )
    batch_size: int = Field(1, ge=1, description="Test cases a batch, for scenario `batch`.")
    steps: int = Field(1, ge=1, description="Steps a batch or image, for scenarios at test time.")
    answer: Literal["after", "before"] = Field(
        "after",
        description="At test time: predict a batch after adapting to it, or before (as TENT's code does).",
    )
    harm_margin: float = Field(
        0.0,
        ge=0,
        description="A patient counts as made worse when the mean score is worse by more than this.",
        json_schema_extra=staged("summarize"),
    )

    @field_validator("adaptations", mode="before")
    @classmethod
    def _check_adaptations(cls, given: Any) -> dict[str, dict[str, Any]]:
        return checked_adaptations(given)

    @field_validator("target", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else given

    @model_validator(mode="after")
    def _fits_scenario(self) -> DomainAdaptation:
        if self._prepares and not self.target:
            raise ValueError(f"scenario {self.scenario}: name the unlabelled training dataset(s) by `target`")
        if not self._prepares and self.target:
            raise ValueError(f"scenario {self.scenario} adapts to the test images; it takes no `target`")
        if not self._prepares:
            offline = [arm for arm in self.arms() if arm != SOURCE_ONLY and not self.method(arm).online]
            if offline:
                raise ValueError(
                    f"scenario {self.scenario}: {', '.join(offline)} need the whole target set; use scenario offline"
                )
        return self

    @property
    def _prepares(self) -> bool:
        return self.scenario in ("offline", "continual")

    @property
    def rounds(self) -> int:
        """Number of stages that are scored; 0 where there is one alone."""
        return len(self.target) if self.scenario == "continual" and len(self.target) > 1 else 0

    def method(self, arm: str) -> Method:
        """The arm's method. Not for the source-only arm."""
        return method_of(self.adaptations[arm])

    def labels_for(self, arm: str) -> bool:
        """True for an arm that trains on labels of the target: a ceiling, never an adaptation."""
        return arm != SOURCE_ONLY and self.method(arm).uses_labels

    def arm_fingerprint(self, arm: str) -> Mapping[str, Any]:
        """The method's options and its code."""
        return arm_identity(self.adaptations[arm])

    # -- what is to be done -------------------------------------------------------------------------------------

    def arms(self) -> Sequence[str]:
        """The source model first, then the methods."""
        return tuple(self.adaptations)

    def units(self, index: CaseIndex) -> Iterator[Unit]:
        """One case each; the whole stream where the model goes on from case to case."""
        if self.scenario == "batch":
            yield Unit(index.ids)
        else:
            yield from super().units(index)

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """Every structure, after every stage."""
        return self._staged(super().owed(case, context))

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same by the index."""
        return self._staged(super().owed_unread(info, context))

    def _staged(self, keys: Sequence[Key]) -> Sequence[Key]:
        if not self.rounds:
            return keys
        return [key._replace(round=number) for number in range(1, self.rounds + 1) for key in keys]

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """One a stage."""
        return max(1, self.rounds)

    # -- preparation --------------------------------------------------------------------------------------------

    def prepares_from(self) -> tuple[str, ...]:
        """The target training datasets."""
        return self.target

    def prepare(self, model: Any, arm: str, folder: Path, context: Context) -> None:
        """Adapt: ``stage-1.safetensors`` (one a domain in the continual scenario), what was done, and what it took."""
        if arm == SOURCE_ONLY:
            _write(folder / FACTS, {"stages": []})
            return
        method = self.method(arm)
        network, outcomes, seconds = model.module, [], []
        for number, names in enumerate(self._domains(), start=1):
            arguments = (method, model, network, names, number, context)
            # A method that cannot adapt this model is a failure of what is under test, as a call of the model is.
            network = context.call(f"domain {number}", "adapt", self._fitted, *arguments)
            seconds.append(context.timings[-1].seconds)
            method.save(network, _stage(folder, number))
            outcome = getattr(network, "adaptation", None)
            outcomes.append(
                asdict(outcome) if is_dataclass(outcome) and not isinstance(outcome, type) else {}
            )
        facts = {"updates": method.updates, "side_information": method.side_information, "stages": outcomes}
        _write(folder / FACTS, facts)
        _write(folder / TIMING, {"seconds": seconds, "peak_memory_bytes": _peak_memory()})

    def _domains(self) -> list[tuple[str, ...]]:
        """Datasets of each stage."""
        return [(name,) for name in self.target] if self.scenario == "continual" else [self.target]

    def _fitted(
        self, method: Method, model: Any, network: Any, names: Sequence[str], number: int, context: Context
    ) -> Any:
        datasets = {name: context.dataset(name) for name in names}
        labels = TargetImages(model, datasets, labels=True) if method.uses_labels else None
        checkpoint = JournalCheckpoint(context, f"adaptation {number}")
        return method.fit(
            network, TargetImages(model, datasets), labels=labels, seed=context.seed, checkpoint=checkpoint
        )

    def load(self, model: Any, arm: str, folder: Path | None, context: Context) -> Adapted:
        """The model around each stage's network."""
        if arm == SOURCE_ONLY:
            return Adapted((model,) * max(1, self.rounds), {})
        method = self.method(arm)
        if folder is None:
            return Adapted((model,), {}, method)
        facts = json.loads((folder / FACTS).read_text())
        networks, network = [], model.module
        for number in range(1, len(facts["stages"]) + 1):
            network = method.load(network, _stage(folder, number))
            networks.append(model.with_module(network))
        return Adapted(tuple(networks), facts)

    # -- execution ----------------------------------------------------------------------------------------------

    def predict(self, model: Adapted, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """One call a case and stage; at test time after adapting to the batch."""
        if model.method is not None:
            yield from self._online(model.method, model.stages[0], cases, context)
        elif self.rounds:
            for case in cases:
                for number, stage in enumerate(model.stages, start=1):
                    yield from self._after_stage(stage, case, number, _noted(model.facts, number), context)
        else:
            for event in super().predict(model.stages[0], cases, context):
                yield _with_columns(event, _noted(model.facts, 1))

    def _after_stage(
        self, stage: Any, case: Case, number: int, columns: Mapping[str, Any], context: Context
    ) -> Iterator[Output | Failure]:
        """A case's structures one by one, since a stage owes a part of the case's records."""
        for event in super().predict(stage, [case], context):
            for key in super().owed(case, context):
                at = key._replace(round=number)
                if isinstance(event, Failure):
                    yield replace(event, key=at)
                else:
                    yield Output(case.id, at, _one(event.value, key.structure), columns=columns)

    def _online(
        self, method: Method, model: Any, cases: Iterable[Case], context: Context
    ) -> Iterator[Output | Failure]:
        online = method.start(model.module, seed=context.seed)
        for batch in _batches(cases, self.batch_size if self.scenario == "batch" else 1):
            images: dict[str, Any] = {}
            for case in batch:
                try:
                    images[case.id] = context.call(case.id, "tensor", model.tensor, case.inputs["image"])
                except CaseFailure as error:
                    yield Failure(case.id, None, error.status, str(error))
            readable = [case for case in batch if case.id in images]
            if self.scenario == "image":
                online.reset()
            if self.answer == "before":
                yield from self._answers(online, model, readable, context)
            if images:
                context.call(readable[0].id, "adapt", online.adapt, list(images.values()), self.steps)
            if self.answer == "after":
                yield from self._answers(online, model, readable, context)

    def _answers(
        self, online: Any, model: Any, batch: Sequence[Case], context: Context
    ) -> Iterator[Output | Failure]:
        columns = {"adaptation_steps": online.outcome.steps, "adaptation_stopped": online.outcome.stopped}
        for event in super().predict(model.with_module(online.module), batch, context):
            yield _with_columns(event, columns)

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """The whole label map, or one structure of one stage."""
        key = output.key
        if key.structure == "*":
            return super().score(case, output, context)
        reference = case.reference["structures"]
        mask = mask_of(output.value, key)
        if mask is None:
            return [Scored(key, {}, status=Status.NOT_COVERED)]
        grid = grid_of(case)
        pair = MaskPair(
            mask, reference.mask(key.structure), grid.spacing, structure=key.structure.partition("#")[0], grid=grid,
            ignore=reference.ignored(),
        )  # fmt: skip
        values = {metric.name: metric.observe(pair) for metric in self.bound_metrics}
        return [Scored(key, values, mask_columns(pair, None))]

    # -- telling ------------------------------------------------------------------------------------------------

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores; gains over the source model paired by patient; share of patients made worse; what was forgotten."""
        from medeval.tasks.domain_adaptation.summary import summarize_adaptation

        return summarize_adaptation(self, evidence)


def _with_columns(event: Output | Failure, columns: Mapping[str, Any]) -> Output | Failure:
    return replace(event, columns={**event.columns, **columns}) if isinstance(event, Output) else event


def _noted(facts: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Record columns of one stage; none for the model as it is."""
    stages = facts.get("stages") or []
    if not stages:
        return {}
    outcome = stages[number - 1]
    return {"adaptation_steps": outcome.get("steps"), "adaptation_stopped": outcome.get("stopped", "")}


def _one(value: Any, name: str) -> MaskStack:
    """One structure of an answer; nothing where the model does not name it."""
    missing = name not in value.names and isinstance(value, LabelMap)
    if missing:
        return MaskStack({}, value.shape)
    empty = np.zeros(value.shape, dtype=bool)
    return MaskStack({name: value.mask(name) if name in value.names else empty}, value.shape)


def _batches(cases: Iterable[Case], size: int) -> Iterator[list[Case]]:
    batch: list[Case] = []
    for case in cases:
        batch.append(case)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _stage(folder: Path, number: int) -> Path:
    return folder / f"stage-{number}.safetensors"


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False, default=str) + "\n")


def _peak_memory() -> int | None:
    """Bytes: of the GPU where one was used, else the most that this process ever held; None where nobody tells."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit
