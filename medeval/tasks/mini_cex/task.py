"""``mini-cex``: a diagnostic dialogue with a simulated patient, rated on a rubric.

The model under test is the doctor. Each sample of a case is one dialogue; its records are the rubric's items, its
dimensions, the total, and whether the reference diagnosis was named first or among the first three. Patient, measurement
agent and judges are the evaluator's: when one of them fails, the record says so and nothing is held against the doctor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.chat import Chat, Message, Speaker
from medeval.dialogue.dataset import CASE
from medeval.dialogue.diagnosis import Subtype
from medeval.dialogue.diagnosis_judge import judged
from medeval.dialogue.doctor import FORCED, SYSTEM, Protocol, converse, finished
from medeval.dialogue.judge_llm import Group
from medeval.dialogue.judge_rules import RuleJudge
from medeval.dialogue.panel import Combine, combined
from medeval.dialogue.ratings import Judge
from medeval.dialogue.roles import ChatOpener, examiner_of, judge_of, patient_of
from medeval.dialogue.rubric import CriteriaRubric, ItemRubric, load_rubric
from medeval.dialogue.turns import Dialogue
from medeval.llm.replies import Reply
from medeval.metrics.rubric import RubricScore
from medeval.tasks.base import ChatPlan, Scored, Task, ask_source, staged
from medeval.tasks.context import Context
from medeval.tasks.mini_cex.plan import plans
from medeval.tasks.mini_cex.records import COLUMNS, TOP_1, TOP_3, TOTAL, records_of, worst_of
from medeval.tasks.mini_cex.summary import summarize
from medeval.tasks.summary import Evidence, Summary
from medeval.types import Case, CaseFailure, CaseInfo, Failure, Key, Output, Status, nearest

Block = dict[str, Any]


class MiniCex(Task):
    """Mini-CEX and other rubrics on dialogues. docs/mini_cex.md shows an own rubric and an own case.

    The model: ``async ask(messages, *, sample) -> Reply``. An output source gives finished dialogues instead.
    """

    pair: ClassVar[type] = RubricScore
    protocol: ClassVar[str] = "async ask(messages, *, sample=0) -> medeval.llm.Reply"
    methods: ClassVar[tuple[str, ...]] = ("ask",)
    needs: ClassVar[tuple[str, ...]] = (CASE,)
    columns: ClassVar[Mapping[str, str]] = COLUMNS

    task: Literal["mini-cex"] = "mini-cex"
    samples: int = Field(3, ge=1, description="Dialogues a case.")
    max_turns: int = Field(12, ge=1, description="Doctor turns, the final one included.")
    opening: Literal["patient", "doctor"] = Field("patient", description="Who speaks first.")
    system: str = Field(
        SYSTEM, description="The doctor's system prompt; {turns}, {tests}, {demographics}, {objective}."
    )
    forced: str = Field(
        FORCED, description="What asks for the diagnosis at the end of the budget; empty: nothing does."
    )
    patient: Literal["rules"] | Block = Field(
        "rules", description="`rules`, or a client block of the simulated patient."
    )
    patient_mode: Literal["record", "fact-gated", "state-aware"] = Field(
        "state-aware", description="What a chat model as the patient is shown."
    )
    measurement: Literal["lookup", "none"] | Block = Field(
        "lookup",
        description="`lookup`, `none`, or a client block that reads requests which words do not find.",
    )
    rubric: str = Field(
        "mini-cex-llm", description="A packaged rubric's name.", json_schema_extra=staged("score")
    )
    rubric_file: Path | None = Field(
        None,
        description="An own rubric in YAML, in the place of `rubric`.",
        json_schema_extra=staged("score"),
    )
    judges: tuple[Literal["rules"] | Block, ...] = Field(
        ("rules",),
        min_length=1,
        description="`rules` and client blocks: a panel.",
        json_schema_extra=staged("score"),
    )
    judge_samples: int = Field(
        1, ge=1, description="Ratings by each model judge.", json_schema_extra=staged("score")
    )
    judge_group: Group = Field(
        "dimension",
        description="Items that a model judge rates in one call: each `item`, a `dimension`, or `all`.",
        json_schema_extra=staged("score"),
    )
    blind: tuple[str, ...] = Field(
        (),
        description="Names that judges must not see, beside those of known models.",
        json_schema_extra=staged("score"),
    )
    diagnosis_judge: Block | None = Field(
        None,
        description="A client block that is asked whether a diagnosis is the reference where names do not tell.",
        json_schema_extra=staged("score"),
    )
    panel: Combine = Field(
        "mean", description="How several ratings become one.", json_schema_extra=staged("score")
    )
    min_valid: int | None = Field(
        None,
        ge=1,
        description="Ratings that an item needs; default: two thirds.",
        json_schema_extra=staged("score"),
    )
    subtype: Subtype = Field(
        "strict", description="Near misses that count as the diagnosis.", json_schema_extra=staged("score")
    )
    probes: tuple[str, ...] = Field(
        (),
        description="Models of the suite that the scores must rank in this order, best first, with disjoint intervals.",
        json_schema_extra=staged("summarize"),
    )
    compare_to: str = Field(
        "",
        description="A model of the suite that all others are compared with, paired by case.",
        json_schema_extra=staged("summarize"),
    )
    metrics: tuple[str, ...] = Field(("rubric",), json_schema_extra=staged("score"))
    by: tuple[str, ...] = Field(("structure",), json_schema_extra=staged("summarize"))

    @model_validator(mode="after")
    def _loads(self) -> MiniCex:
        Protocol(self.system, self.max_turns, self.opening)
        if self.rubric_file is None or self.rubric_file.is_absolute():  # a relative path is not placed yet
            _ = self.loaded
        return self

    @model_validator(mode="after")
    def _names_its_models(self) -> MiniCex:
        for option, names in (("probes", self.probes), ("compare_to", (self.compare_to,))):
            for name in filter(None, names):
                if self.models is not None and name not in self.models:
                    raise ValueError(
                        f"{option}: {name!r} is not among its models; {nearest(name, self.models)}"
                    )
        if len(set(self.probes)) == 1 or len(set(self.probes)) < len(self.probes):
            raise ValueError(f"probes: two or more models, each once, are needed; got {list(self.probes)}")
        return self

    @field_validator("by")
    @classmethod
    def _by_item(cls, by: tuple[str, ...]) -> tuple[str, ...]:
        return by if "structure" in by else ("structure", *by)

    @cached_property
    def loaded(self) -> ItemRubric | CriteriaRubric:
        """The rubric."""
        return load_rubric(self.rubric_file or self.rubric)

    @cached_property
    def dialogue_protocol(self) -> Protocol:
        """How dialogues run."""
        return Protocol(self.system, self.max_turns, self.opening, self.measurement != "none", self.forced)

    def fingerprint(self, stage: Any) -> dict[str, Any]:
        """With the rubric's content in the place of its path."""
        fields = super().fingerprint(stage)
        if stage == "score":
            fields.pop("rubric_file")
            fields["rubric"] = self.loaded.model_dump(mode="json")
        return fields

    # -- what is to be done -------------------------------------------------------------------------------------

    @cached_property
    def structures(self) -> tuple[str, ...]:
        """What each dialogue is scored on, in order."""
        if isinstance(self.loaded, CriteriaRubric):
            return (*(c.id for c in self.loaded.criteria), TOTAL, TOP_1, TOP_3)
        dimensions = (f"dimension {name}" for name in self.loaded.dimension_ids)
        return (*(item.id for item in self.loaded.items), *dimensions, TOTAL, TOP_1, TOP_3)

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """Items, dimensions, total and diagnosis of every sample."""
        return [Key(name, sample=sample) for sample in range(self.samples) for name in self.structures]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same: the rubric does not depend on the case."""
        return [Key(name, sample=sample) for sample in range(self.samples) for name in self.structures]

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """Doctor turns at most."""
        return self.samples * self.max_turns

    def chat_plan(self, info: CaseInfo) -> Sequence[ChatPlan]:
        """Doctor, patient, measurement agent and judges, at most."""
        return tuple(plans(self))

    # -- execution ----------------------------------------------------------------------------------------------

    async def predict(
        self, model: Any, cases: Iterable[Case], context: Context
    ) -> AsyncIterator[Output | Failure]:
        """Hold the dialogues of each case, its samples side by side."""
        for case in cases:
            held = [self._held(model, case, sample, context) for sample in range(self.samples)]
            events = await asyncio.gather(*held, return_exceptions=True)
            for event in events:
                if isinstance(event, Output | Failure):
                    yield event
            for event in events:
                if isinstance(event, BaseException):
                    raise event

    async def _held(self, model: Any, case: Case, sample: int, context: Context) -> Output | Failure:
        key = Key("*", sample=sample)
        try:
            with context.dialogue(f"{case.id}/{sample}"):
                dialogue = await self._talk(model, case, sample, context)
        except CaseFailure as error:
            if getattr(error, "stops_run", False):
                raise
            return Failure(case.id, key, error.status, str(error))
        return Output(case.id, key, dialogue.to_plain())

    async def _talk(self, model: Any, case: Case, sample: int, context: Context) -> Dialogue:
        told: PatientCase = case.reference[CASE]
        open_ = ChatOpener(context)
        doctor = model.about(told) if callable(getattr(model, "about", None)) else model
        turns = converse(
            _Timed(doctor, case.id, context),
            patient_of(self.patient, told, open_, self.patient_mode, sample),
            told,
            self.dialogue_protocol,
            examiner=None if self.measurement == "none" else examiner_of(self.measurement, told, open_),
            step=context.astep,
            name=f"{case.id}/{sample}/",
            sample=sample,
        )
        with context.dialogue(f"{case.id}/{sample}"):
            return finished([turn async for turn in turns])

    def replay(self, source: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """Finished dialogues, one a sample."""
        for case in cases:
            for sample in range(self.samples):
                found = ask_source(source, case, Key("*", sample=sample), context)
                yield (
                    Failure(case.id, Key("*", sample=sample), found.status, found.error)
                    if isinstance(found, Failure)
                    else found
                )

    async def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Rate one dialogue by every judge, and count what the simulator did wrong."""
        told: PatientCase = case.reference[CASE]
        dialogue = Dialogue.from_plain(output.value)
        judges = [(judge, n) for judge in self._judges(context) for n in range(self._ratings_by(judge))]
        sheets = await asyncio.gather(*(judge.rate(self.loaded, dialogue, told, n) for judge, n in judges))
        outcomes = combined(sheets, self.loaded, self.panel, self.min_valid)
        named = await judged(
            dialogue.diagnoses, told.diagnosis, self._diagnosis_chat(context), self.subtype, output.key.sample
        )
        found = records_of(dialogue, told, outcomes, sheets, self.loaded, named)
        return [self._scored(name, output.key.sample, found[name]) for name in self.structures]

    def _judges(self, context: Context) -> list[Judge]:
        open_ = ChatOpener(context)
        return [
            RuleJudge(subtype=self.subtype)
            if block == "rules"
            else judge_of(
                block,
                f"judge {number}",
                open_,
                group=self.judge_group,
                seed=context.seed,
                blind=self.blind,
            )
            for number, block in enumerate(self.judges, start=1)
        ]

    def _diagnosis_chat(self, context: Context) -> Chat | None:
        return None if self.diagnosis_judge is None else ChatOpener(context)(self.diagnosis_judge, "judge")

    def _ratings_by(self, judge: Judge) -> int:
        return 1 if isinstance(judge, RuleJudge) else self.judge_samples

    def _scored(self, name: str, sample: int, found: tuple[RubricScore | None, dict[str, Any]]) -> Scored:
        score, columns = found
        key = Key(name, sample=sample)
        if score is None:
            return Scored(key, {}, columns, Status.EVALUATOR_FAILED)
        return Scored(key, {metric.name: metric.observe(score) for metric in self.bound_metrics}, columns)

    def worst_reference(self, case: Case, key: Key) -> Any:
        """The worst score that the rubric has for this key."""
        return worst_of(self.loaded, case.reference[CASE], key.structure)

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores an item, as a table with one column an item; the simulator's conduct; dialogues to read."""
        return summarize(self, evidence)


class _Timed:
    """The model under test: each call timed, and its exceptions the model's."""

    def __init__(self, doctor: Speaker, case_id: str, context: Context) -> None:
        self._doctor, self._case_id, self._context = doctor, case_id, context

    async def ask(self, messages: Sequence[Message], *, sample: int = 0) -> Reply:
        """One turn."""

        async def call() -> Reply:
            reply = await self._doctor.ask(messages, sample=sample)
            return reply if isinstance(reply, Reply) else Reply(text=_text(reply))

        return await self._context.acall(self._case_id, "doctor", call)


def _text(reply: Any) -> str:
    """The text of a reply of a stranger's class, or of plain text."""
    text = reply if isinstance(reply, str) else getattr(reply, "text", None)
    if not isinstance(text, str):
        raise TypeError(f"ask returned a {type(reply).__name__}; a medeval.llm.Reply, or text, is expected")
    return text
