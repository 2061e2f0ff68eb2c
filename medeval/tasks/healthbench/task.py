"""``healthbench``: answers to conversations, graded on the signed criteria that came with each.

Records of a sample: ``score`` and one for each kind of tag that is named (``axis:accuracy``); themes and other tags of the
conversation are metadata, for ``by``. Formulas: ``medeval.dialogue.healthbench``. A grade that fails is nobody's verdict: the
record is missing, and the score is printed between all failed grades worst and all best.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from medeval.dialogue.healthbench import SCORE, Conversation, points_of, worst_points
from medeval.dialogue.healthbench_dataset import CONVERSATION
from medeval.dialogue.healthbench_grader import CriteriaGrader, Grouping
from medeval.dialogue.panel import Panelled, combined
from medeval.dialogue.ratings import Sheet
from medeval.dialogue.roles import ChatOpener
from medeval.dialogue.rubric import SignedCriterion
from medeval.metrics.agreement_points import length_adjusted
from medeval.metrics.rubric import RubricScore
from medeval.tasks.base import ChatPlan, Scored, Task, ask_source, staged
from medeval.tasks.context import Context
from medeval.tasks.healthbench.summary import summarize
from medeval.tasks.question_answering.asking import asked, side_by_side, spent
from medeval.tasks.summary import Evidence, Summary
from medeval.types import Case, CaseInfo, Failure, Key, Output, Status

ADJUSTED = "score, length adjusted"
Block = dict[str, Any]


class HealthBenchTask(Task):
    """HealthBench and whatever has its form. The model: ``async ask(messages, *, sample) -> Reply``."""

    pair: ClassVar[type] = RubricScore
    protocol: ClassVar[str] = "async ask(messages, *, sample=0) -> medeval.llm.Reply"
    methods: ClassVar[tuple[str, ...]] = ("ask",)
    needs: ClassVar[tuple[str, ...]] = (CONVERSATION,)
    columns: ClassVar[Mapping[str, str]] = {
        "low": "double",  # the score if all grades that failed were worst for the model
        "high": "double",  # and if they were best
        "criteria": "string",  # JSON: [{criterion, points, met, error, judges}]
        "failed_grades": "int32",
        "completion": "string",
        "characters": "int32",
        "tokens": "int64",
        "cost": "double",
        "judge_tokens": "int64",
        "suspicious": "int32",  # turns that look like orders to the judge
    }

    task: Literal["healthbench"] = "healthbench"
    samples: int = Field(1, ge=1, description="Answers a conversation; from 2 on the worst of k is told.")
    system: str = Field("", description="A system prompt before each conversation; empty: none.")
    tags: tuple[str, ...] = Field(
        ("axis",),
        description="Kinds of criterion tags that get a score of their own.",
        json_schema_extra=staged("score"),
    )
    judges: tuple[Block, ...] = Field(
        min_length=1, description="Client blocks: a panel, by majority.", json_schema_extra=staged("score")
    )
    grouping: Grouping = Field(
        "criterion",
        description="One call a criterion, or one a conversation.",
        json_schema_extra=staged("score"),
    )
    min_valid: int | None = Field(
        None,
        ge=1,
        description="Grades that a criterion needs; default: two thirds of the judges.",
        json_schema_extra=staged("score"),
    )
    length_penalty: float | None = Field(
        None,
        ge=0,
        description="Also score with this penalty for every 500 characters over 2,000 (a bonus below).",
        json_schema_extra=staged("score"),
    )
    metrics: tuple[str, ...] = Field(("rubric_clipped", "rubric"), json_schema_extra=staged("score"))
    by: tuple[str, ...] = Field(("structure", "theme"), json_schema_extra=staged("summarize"))

    @field_validator("by")
    @classmethod
    def _by_score(cls, by: tuple[str, ...]) -> tuple[str, ...]:
        """Every group is one of scores of the same kind."""
        others = [name if name.startswith("structure") else f"structure x {name}" for name in by]
        return tuple(dict.fromkeys(["structure", *others]))

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """The score and its tags, of every sample."""
        names = self._structures(case.reference[CONVERSATION])
        return [Key(name, sample=sample) for sample in range(self.samples) for name in names]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The score of every sample."""
        return [Key(SCORE, sample=sample) for sample in range(self.samples)]

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """One a sample."""
        return self.samples

    def chat_plan(self, info: CaseInfo) -> Sequence[ChatPlan]:
        """The model's answers, and every judge's grades of each; tokens are not known before the conversation is read."""
        grades = int(info.metadata.get("criteria", 1)) if self.grouping == "criterion" else 1
        judged = (ChatPlan("judge", block, self.samples * grades) for block in self.judges)
        return [ChatPlan("doctor", None, self.samples), *judged]

    def _structures(self, told: Conversation) -> tuple[str, ...]:
        wanted = [tag for tag in told.criterion_tags if tag.partition(":")[0] in self.tags]
        return (SCORE, *([ADJUSTED] if self.length_penalty is not None else []), *wanted)

    async def predict(
        self, model: Any, cases: Iterable[Case], context: Context
    ) -> AsyncIterator[Output | Failure]:
        """One answer a sample."""

        async def ask(case: Case, sample: int) -> Output:
            own = [{"role": "system", "content": self.system}] if self.system else []
            messages = [*own, *case.inputs["messages"]]

            async def step() -> dict[str, Any]:
                reply = await asked(model, messages, case.id, sample, context)
                return {"text": reply.text, **spent(reply)}

            name = f"{case.id}/{sample}"
            with context.dialogue(name):
                kept = await context.astep(name, step)
            columns = {"tokens": kept.pop("tokens"), "cost": kept.pop("cost")}
            return Output(case.id, Key("*", sample=sample), kept, columns=columns)

        async for event in side_by_side(cases, self.samples, ask):
            yield event

    def replay(self, source: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """An answer a sample, ``{"text": ...}`` or text."""
        for case in cases:
            for sample in range(self.samples):
                key = Key("*", sample=sample)
                found = ask_source(source, case, key, context)
                if isinstance(found, Failure):
                    yield Failure(case.id, key, found.status, found.error)
                elif isinstance(found.value, str):
                    yield Output(case.id, key, {"text": found.value})
                else:
                    yield found

    async def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Grade one answer by every judge."""
        told: Conversation = case.reference[CONVERSATION]
        text, open_ = output.value["text"], ChatOpener(context)
        graders = [
            CriteriaGrader(open_(block, "judge"), f"judge {number}", grouping=self.grouping)
            for number, block in enumerate(self.judges, start=1)
        ]
        sheets = await asyncio.gather(*(g.grade(told.prompt, text, told.criteria) for g in graders))
        outcomes = combined(sheets, told.rubric, "majority", self.min_valid)
        met = {o.item: o.score >= 0.5 for o in outcomes if o.score is not None}
        names = self._structures(told)
        columns = _answer_columns(text, sheets, outcomes, told)
        return [
            self._scored(name, told, met, text, output.key.sample, columns if name == SCORE else {})
            for name in names
        ]

    def _scored(
        self,
        name: str,
        told: Conversation,
        met: Mapping[str, bool],
        text: str,
        sample: int,
        more: Mapping[str, Any],
    ) -> Scored:
        """One record: without a value when a grade that it rests on failed."""
        points = points_of(_members(told, name), met)
        shift = length_adjusted(0.0, len(text), self.length_penalty or 0.0) if name == ADJUSTED else 0.0
        key = Key(name, sample=sample)
        columns = {**more, "failed_grades": points.failed}
        if points.low == points.low:
            columns |= {"low": points.low + shift, "high": points.high + shift}
        if points.failed and points.low == points.low:
            error = f"{points.failed} of {len(_members(told, name))} grades failed"
            return Scored(key, {}, {**columns, "error": error}, Status.EVALUATOR_FAILED)
        undefined = points.score != points.score
        score = RubricScore(
            None if undefined else points.score + shift, "no positive criterion" if undefined else ""
        )
        return Scored(key, {metric.name: metric.observe(score) for metric in self.bound_metrics}, columns)

    def worst_reference(self, case: Case, key: Key) -> Any:
        """The lowest score that the criteria allow."""
        return worst_points(_members(case.reference[CONVERSATION], key.structure))

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores by theme and axis with bounds, worst of k, the criteria most often missed, and answers to read."""
        return summarize(self, evidence)


def _members(told: Conversation, name: str) -> Sequence[SignedCriterion]:
    """The criteria of a structure."""
    if name in (SCORE, ADJUSTED):
        return told.criteria
    return [criterion for criterion in told.criteria if name in criterion.tags]


def _answer_columns(
    text: str, sheets: Sequence[Sheet], outcomes: Sequence[Panelled], told: Conversation
) -> dict[str, Any]:
    """What the record of the score holds of the answer and its grades."""
    texts = {criterion.id: criterion for criterion in told.criteria}
    criteria = [
        {
            "criterion": texts[o.item].text,
            "points": texts[o.item].points,
            "met": None if o.score is None else o.score >= 0.5,
            **({"error": o.error} if o.error else {}),
            "judges": [{"score": r.score, "why": r.reason or r.error} for r in o.ratings],
        }
        for o in outcomes
    ]
    tokens = sum(sheet.usage.get("input", 0) + sheet.usage.get("output", 0) for sheet in sheets)
    flags = {flag for sheet in sheets for flag in sheet.flags if flag.startswith("suspicious")}
    return {
        "criteria": json.dumps(criteria, ensure_ascii=False),
        "completion": text,
        "characters": len(text),
        "judge_tokens": int(tokens),
        "suspicious": len(flags),
    }
