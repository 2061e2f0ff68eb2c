"""What every task is: an evaluation protocol as frozen configuration plus the functions that the engine calls.

A task writes no file (but into the ``folder`` of ``prepare``), opens no dataset and holds no generator: everything comes
through its arguments and the ``Context``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medeval.metrics.base import Metric, Value
from medeval.metrics.registry import get_metric
from medeval.tasks.context import Context
from medeval.types import Case, CaseFailure, CaseIndex, CaseInfo, Failure, Key, Output, Status, Unit, digest
from medeval.types.views import Picture, View

if TYPE_CHECKING:
    from medeval.tasks.summary import CellScorer, Evidence, Summary

Stage = Literal["predict", "score", "summarize"]
STAGE = "stage"


def staged(stage: Stage) -> dict[str, Any]:
    """``json_schema_extra`` that puts a field into a stage's fingerprint."""
    return {STAGE: stage}


@dataclass(frozen=True, eq=False)
class Scored:
    """What ``score`` found for one owed key.

    values: metric name -> Value; a metric of the task that is missing here was not measured.
    columns: further columns of the record, such as voxel counts.
    status: in the place of the output's, where only scoring can tell (``not_covered``); it then has no values.
    """

    key: Key
    values: Mapping[str, Value]
    columns: Mapping[str, Any] = field(default_factory=dict)
    status: Status | None = None


@dataclass(frozen=True)
class ChatPlan:
    """Calls that one case will cost at one chat model, at most, for ``--dry-run``.

    block: the client block of a task's option, None for the model under test. input_tokens, output_tokens: of all its calls
    together, None where the task cannot tell.
    """

    role: str
    block: Mapping[str, Any] | None
    calls: int
    input_tokens: int | None = None
    output_tokens: int | None = None


class Task(BaseModel, ABC):
    """A task *is* its configuration: its fields are the YAML keys of a suite's ``tasks:`` entry.

    Each field belongs to one stage (``json_schema_extra=staged("score")``; without it, "predict"): a changed
    ``summarize`` field changes tables only, a changed ``score`` field scores the kept predictions again, a changed
    ``predict`` field is another run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    version: ClassVar[int] = 1  # raised when what predict asks or yields changes
    score_version: ClassVar[int] = 1  # raised when score changes beside its metrics
    pair: ClassVar[type] = object  # what its metrics must take
    protocol: ClassVar[str] = ""  # the model's protocol in a line, for messages and `medeval list`
    methods: ClassVar[tuple[str, ...]] = ()  # what a model must have to satisfy it
    needs: ClassVar[
        tuple[str, ...]
    ] = ()  # names that a case's inputs or reference must hold: "image", "structures"
    uses_labels: ClassVar[bool] = (
        False  # True when prepare trains on labels in all arms: the report prints it
    )
    columns: ClassVar[Mapping[str, str]] = {}  # extra record columns -> Arrow type name
    # Columns that are a function of the structure, also where it failed.
    derived: ClassVar[Mapping[str, Callable[[str], Any]]] = {}
    ladder: ClassVar[str] = ""  # x axis of its curve over rounds, "" when it has no rounds
    # True when finished steps are of no use once a unit's records are written: its journal is then removed.
    transient_steps: ClassVar[bool] = False

    task: str = Field(description="The task's registered name.")
    name: str = Field(
        "", description="How this entry is called in records and tables; default: the task's registered name."
    )
    datasets: tuple[str, ...] | None = Field(
        None,
        description="The suite's datasets that it is for; default: all that fit.",
        json_schema_extra=staged("summarize"),
    )
    models: tuple[str, ...] | None = Field(
        None,
        description="The suite's models that it is for; default: all that fit.",
        json_schema_extra=staged("summarize"),
    )
    metrics: tuple[str, ...] = Field(
        (), description="Metric names, see `medeval list metrics`.", json_schema_extra=staged("score")
    )
    by: tuple[str, ...] = Field(
        (),
        description="Groups of the tables: a record's column or a case's metadata, or a product: `structure x modality`.",
        json_schema_extra=staged("summarize"),
    )
    average: Literal["records", "cases", "structures"] = Field(
        "records",
        description="Estimand: mean over all records (pooled), within a case first, or within a structure first (macro).",
        json_schema_extra=staged("summarize"),
    )
    on_failure: Literal["worst", "exclude", "bounds"] = Field(
        "worst",
        description="What a model's failure counts as in a mean.",
        json_schema_extra=staged("summarize"),
    )

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for position, name in enumerate(names):
            metric = get_metric(name)
            if not issubclass(cls.pair, metric.pair) and not issubclass(metric.pair, cls.pair):
                raise ValueError(
                    f"metric {name!r} measures {metric.pair.__name__}, this task yields {cls.pair.__name__}"
                )
            if name in names[:position]:
                raise ValueError(f"metric {name!r} is named twice")
        return names

    @cached_property
    def bound_metrics(self) -> tuple[Metric, ...]:
        """The metrics with their parameters bound, in the suite's order."""
        return tuple(get_metric(name) for name in self.metrics)

    @property
    def prompt_order(self) -> tuple[str, ...]:
        """Prompt labels in the order in which tables show them; a label that is not named comes after these."""
        return ()

    @property
    def label(self) -> str:
        """The entry's name in records and tables."""
        return self.name or self.task

    def fingerprint(self, stage: Stage) -> dict[str, Any]:
        """The fields (and versions) that a stage's outcome depends on, as plain data."""
        fields = {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name != "name" and _stage_of(type(self), name) == stage
        }
        if stage == "predict":
            fields["version"] = self.version
        if stage == "score":
            fields["version"] = self.score_version
            fields["metric_versions"] = {metric.name: metric.version for metric in self.bound_metrics}
        return fields

    # -- what is to be done -------------------------------------------------------------------------------------

    def arms(self) -> Sequence[str]:
        """Variants of one model (adaptation methods, training ratios); one unnamed arm by default."""
        return ("",)

    def arm_fingerprint(self, arm: str) -> Mapping[str, Any]:
        """What predictions of this arm alone depend on beyond its name, as plain data: options of a method, its code.

        A field that is told here belongs to the stage "summarize", so that a changed arm leaves the other arms alone.
        """
        return {}

    def labels_for(self, arm: str) -> bool:
        """True when ``prepare`` reads labels for this arm. All other arms are given datasets without references."""
        return self.uses_labels

    def units(self, index: CaseIndex) -> Iterator[Unit]:
        """The units of work: a function of suite and dataset alone. One case each by default."""
        for case_id in index.ids:
            yield Unit((case_id,))

    @abstractmethod
    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """Every key that this case must yield, whatever the model does."""

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """What is owed by a case that could not be read: its known structures, or one record without a name."""
        return [Key(name) for name in info.structures] or [Key()]

    def refusal(self, model: Any, image_ndim: int | None) -> str | None:
        """Why this model cannot do this task, or None. Called before the run on the class or instance."""
        if getattr(model, "source", False):
            return None
        missing = [name for name in self.methods if not callable(getattr(model, name, None))]
        if missing:
            return f"it has no {', '.join(f'`{m}`' for m in missing)}; {self.task} needs {self.protocol}"
        return None

    def reservation(self, model: Any) -> str | None:
        """What of this task the model does not do, told before the run; None when it does all."""
        return None

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """Model calls that one case will cost, for ``--dry-run``; structures is a guess where not known."""
        return 1

    def chat_plan(self, info: CaseInfo) -> Sequence[ChatPlan]:
        """What one case will cost at chat models; without it ``calls`` of the model under test are all that is told."""
        return ()

    # -- preparation --------------------------------------------------------------------------------------------

    def prepares_from(self) -> tuple[str, ...]:
        """Names of the suite's datasets that ``prepare`` reads; empty: nothing is prepared."""
        return ()

    def prepare(self, model: Any, arm: str, folder: Path, context: Context) -> None:
        """Adapt or train; writes only into ``folder``, which is published when this returns."""

    def load(self, model: Any, arm: str, folder: Path | None, context: Context) -> Any:
        """What is then asked. By default the model itself."""
        return model

    # -- execution ----------------------------------------------------------------------------------------------

    @abstractmethod
    def predict(
        self, model: Any, cases: Iterable[Case], context: Context
    ) -> Iterator[Output | Failure] | AsyncIterator[Output | Failure]:
        """Ask the model; yield each owed key's output as soon as it is there.

        A ``CaseFailure`` that leaves this generator fails all keys not yet yielded; a task that can go on with the next
        case or key yields a ``Failure`` instead.
        """

    def replay(self, source: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """The same from an output source (predictions folder, oracle), which is asked by case and key."""
        for case in cases:
            for key in self.owed(case, context):
                yield ask_source(source, case, key, context)

    @abstractmethod
    def score(
        self, case: Case, output: Output, context: Context
    ) -> Sequence[Scored] | Awaitable[Sequence[Scored]]:
        """Compare one output with the truth; never touches the model under test."""

    def worst_reference(self, case: Case, key: Key) -> Any:
        """What ``Metric.failed`` needs to know the finite worst value for this key."""
        return None

    # -- telling ------------------------------------------------------------------------------------------------

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores with intervals and the views of the report. See ``medeval.tasks.summary``."""
        from medeval.tasks.summary import summarize

        return summarize(self, evidence)

    def more_scores(self, scorer: CellScorer) -> Sequence[Mapping[str, Any]]:
        """Score rows of a cell beyond one a metric, prompt and group, such as the number of clicks to a quality."""
        return ()

    def observations(self, scorer: CellScorer) -> Any:
        """What ``more_views`` needs of one cell; None when it needs nothing."""
        return None

    def more_views(self, observed: Sequence[Any], scores: Sequence[Mapping[str, Any]]) -> Sequence[View]:
        """Views beside tables, curves and the gallery, from the ``observations`` and score rows of all cells, in order."""
        return ()

    def illustrate(self, case: Case, output: Output | None, key: Key) -> Picture | None:
        """One picture for the gallery; None when this task has none."""
        return None


def ask_source(source: Any, case: Case, key: Key, context: Context) -> Output | Failure:
    """One answer of an output source as an ``Output``, its failure as a ``Failure``."""
    try:
        value = context.call(case.id, "output", source.output, case, key)
    except CaseFailure as error:
        return Failure(case.id, None if key.structure == "*" else key, error.status, str(error))
    return value if isinstance(value, Output | Failure) else Output(case.id, key, value)


def _stage_of(cls: type[BaseModel], name: str) -> Stage:
    extra = cls.model_fields[name].json_schema_extra
    return extra.get(STAGE, "predict") if isinstance(extra, dict) else "predict"  # type: ignore[return-value]


def fingerprint_of(parts: Mapping[str, Any]) -> str:
    """A short stable hash of plain data."""
    import json

    return digest(json.dumps(parts, sort_keys=True, default=str))[:16]
