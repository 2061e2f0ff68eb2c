"""``criteria-grading``: a chat model as grader, measured against physicians beside physicians against each other.

The model under test is the judge of ``healthbench``, asked in the same words. Its failure to give a verdict is its own here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from medeval.dialogue.healthbench_grader import CriteriaGrader, Grade
from medeval.dialogue.healthbench_meta import LABELS
from medeval.dialogue.rubric import SignedCriterion
from medeval.metrics.agreement_points import pairwise_grades
from medeval.metrics.grading import GradePair
from medeval.tasks.base import Scored, Task, staged
from medeval.tasks.context import Context
from medeval.tasks.question_answering.asking import side_by_side, spent
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary
from medeval.tasks.summary_views import build_views
from medeval.types import Case, CaseIndex, CaseInfo, Failure, Key, ModelFailure, Output, Unit
from medeval.types.views import Column, Table


class CriteriaGrading(Task):
    """Graders on HealthBench's meta-evaluation. The model: ``async ask_object(messages, form, *, sample) -> Reply``."""

    pair: ClassVar[type] = GradePair
    protocol: ClassVar[str] = "async ask_object(messages, form, *, sample=0) -> medeval.llm.Reply"
    methods: ClassVar[tuple[str, ...]] = ("ask_object",)
    needs: ClassVar[tuple[str, ...]] = ("criterion",)
    columns: ClassVar[Mapping[str, str]] = {
        "met": "bool",
        "why": "string",
        "votes": "string",  # physician=1 or 0, separated by spaces
        "tokens": "int64",
        "cost": "double",
    }

    task: Literal["criteria-grading"] = "criteria-grading"
    batch_size: int = Field(16, ge=1, description="Criteria a unit of work.")
    metrics: tuple[str, ...] = Field(("grade_f1", "grade_bias"), json_schema_extra=staged("score"))
    by: tuple[str, ...] = Field(("category",), json_schema_extra=staged("summarize"))

    def units(self, index: CaseIndex) -> Iterator[Unit]:
        """``batch_size`` consecutive criteria; finished replies are kept in the journal."""
        for start in range(0, len(index), self.batch_size):
            yield Unit(index.ids[start : start + self.batch_size])

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """One verdict."""
        return [Key()]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same."""
        return [Key()]

    async def predict(
        self, model: Any, cases: Iterable[Case], context: Context
    ) -> AsyncIterator[Output | Failure]:
        """Ask for each verdict, all at once."""
        grader = CriteriaGrader(model)

        async def ask(case: Case, sample: int) -> Output:
            criterion = SignedCriterion(id="c1", text=case.inputs["criterion"], points=1)
            messages = grader.messages(case.inputs["messages"], case.inputs["completion"], [criterion])

            async def call() -> Any:
                reply = await model.ask_object(messages, Grade)
                if not isinstance(getattr(reply, "value", None), Grade):
                    raise ModelFailure(f"ask_object gave no {Grade.__name__} but a {type(reply).__name__}")
                return reply

            async def step() -> dict[str, Any]:
                reply = await context.acall(case.id, "ask_object", call)
                return {"met": reply.value.criteria_met, "why": reply.value.explanation, **spent(reply)}

            with context.dialogue(case.id):
                kept = await context.astep(case.id, step)
            columns = {name: kept.pop(name) for name in ("why", "tokens", "cost")}
            return Output(case.id, Key(), kept["met"], columns=columns)

        async for event in side_by_side(cases, 1, ask):
            yield event

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Compare with every physician."""
        labels = case.reference[LABELS]
        pair = GradePair(bool(output.value), labels.met)
        votes = " ".join(f"{who}={int(met)}" for who, met in zip(labels.physicians, labels.met, strict=True))
        values = {metric.name: metric.observe(pair) for metric in self.bound_metrics}
        return [Scored(output.key, values, {"met": pair.met, "votes": votes})]

    def worst_reference(self, case: Case, key: Key) -> Any:
        """The physicians' labels."""
        return case.reference[LABELS].met

    def summarize(self, evidence: Evidence) -> Summary:
        """Scores with intervals, and the graders among the physicians."""
        scores: list[dict[str, Any]] = []
        rows: dict[str, list[dict[str, Any]]] = {}
        for cell in evidence.load():
            scores += CellScorer(self, cell, evidence).scores()
            rows.setdefault(cell.dataset, []).append(_among_physicians(cell))
        tables = [
            Table(f"Graders among physicians on {name}", _COLUMNS, lines, _NOTE)
            for name, lines in rows.items()
        ]
        return Summary(scores, [*build_views(self, scores, [], []), *tables])


def _among_physicians(cell: CellEvidence) -> dict[str, Any]:
    """The grader's balanced F1 beside that of each physician against the others, on the criteria that it graded."""
    graded = cell.frame[cell.frame["votes"].notna()]
    votes = [[part.rpartition("=") for part in row.split(" ")] for row in graded["votes"]]
    own = pairwise_grades(
        [bool(met) for met in graded["met"]], [[v == "1" for _, _, v in row] for row in votes]
    )
    by_physician: dict[str, tuple[list[bool], list[list[bool]]]] = {}
    for row in votes:
        for at, (who, _, vote) in enumerate(row):
            if who and len(row) > 1:
                mine, others = by_physician.setdefault(who, ([], []))
                mine.append(vote == "1")
                others.append([v == "1" for n, (_, _, v) in enumerate(row) if n != at])
    people = sorted(
        f1
        for mine, others in by_physician.values()
        if (f1 := pairwise_grades(mine, others).balanced("f1")) == f1
    )
    score = own.balanced("f1")
    return {
        "model": " ".join(filter(None, [cell.model, cell.arm])),
        "_baseline": cell.baseline,
        "criteria": len(graded),
        "f1": score if score == score else None,
        "physicians": len(people),
        "lowest": people[0] if people else None,
        "median": people[len(people) // 2] if people else None,
        "highest": people[-1] if people else None,
        "below": sum(f1 < score for f1 in people) / len(people) if people and score == score else None,
    }


_NOTE = "each physician is compared with the others on the criteria that they share; failed verdicts are left out here"
_COLUMNS = [
    Column("model"),
    Column("criteria", "criteria", "integer", "that it graded"),
    Column("f1", "balanced F1", "number", "of the grader", "higher"),
    Column("physicians", "physicians", "integer", "with a balanced F1 of their own"),
    Column("lowest", "lowest", "number", "physician"),
    Column("median", "median", "number", "physician"),
    Column("highest", "highest", "number", "physician"),
    Column("below", "physicians below", "number", "share whose F1 is lower than the grader's"),
]
