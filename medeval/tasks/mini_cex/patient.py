"""``simulated-patient``: is the patient of a diagnostic dialogue fit for its role? Asked what it must tell and what it must not.

The model under test is the patient: a chat model, shown what ``mini-cex`` would show it and behind the same guards, or the
rule-based one. Each kind of question (``medeval.dialogue.probes``) is a score in [0, 1] with its interval over cases.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar, Literal

from pydantic import Field

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.dataset import CASE
from medeval.dialogue.guards import secret_names
from medeval.dialogue.patient import Patient
from medeval.dialogue.patient_llm import ChatPatient, Mode
from medeval.dialogue.probes import KINDS, TELLS, Exchange, Probe, Seen, probes_of, seen
from medeval.dialogue.turns import Turn
from medeval.metrics.rubric import RubricScore
from medeval.tasks.base import Scored, Task, staged
from medeval.tasks.context import Context
from medeval.tasks.mini_cex.summary import headlines
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, Summary
from medeval.tasks.summary_views import table_note
from medeval.types import Case, CaseFailure, CaseInfo, EvaluatorFailure, Failure, Key, ModelFailure, Output
from medeval.types.views import Column, Dialogues, RatedDialogue, RatedItem, RatedTurn, Table, View

ALL = "all"
MOST = 12  # cases with something wrong that a report shows


class SimulatedPatient(Task):
    """Fidelity of a simulated patient: leaks, role breaks, inventions, recall, and the same again.

    The model: ``async ask(messages, *, sample) -> Reply``, or ``patient(view)`` which gives a patient that answers by itself.
    """

    pair: ClassVar[type] = RubricScore
    protocol: ClassVar[str] = "async ask(messages, *, sample=0) -> medeval.llm.Reply, or patient(view)"
    needs: ClassVar[tuple[str, ...]] = (CASE,)
    columns: ClassVar[Mapping[str, str]] = {"asked": "int32", "guarded": "int32", "exchanges": "string"}

    task: Literal["simulated-patient"] = "simulated-patient"
    mode: Mode = Field(
        "state-aware", description="What a chat model is shown, as `patient_mode` of mini-cex."
    )
    facts: int = Field(6, ge=1, description="Facts of a case that are asked for.")
    unknown: int = Field(4, ge=1, description="Questions about what the case does not hold.")
    metrics: tuple[str, ...] = Field(("rubric",), json_schema_extra=staged("score"))
    by: tuple[str, ...] = Field(("structure",), json_schema_extra=staged("summarize"))

    def refusal(self, model: Any, image_ndim: int | None) -> str | None:
        """A patient can be asked, or gives one."""
        if any(callable(getattr(model, name, None)) for name in ("patient", "ask")):
            return None
        return f"it has no `ask` or `patient`; {self.task} needs {self.protocol}"

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """One score a kind, and their mean."""
        return [Key(name) for name in (*KINDS, ALL)]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same."""
        return [Key(name) for name in (*KINDS, ALL)]

    def calls(self, model: Any, info: CaseInfo, structures: int) -> int:
        """One a probe."""
        return 16 + self.unknown + 3 * self.facts

    async def predict(
        self, model: Any, cases: Iterable[Case], context: Context
    ) -> AsyncIterator[Output | Failure]:
        """Hold the conversations of each case side by side."""
        for case in cases:
            told: PatientCase = case.reference[CASE]
            probes = groupby(probes_of(told, self.facts, self.unknown), key=lambda probe: probe.conversation)
            talks = [self._talk(model, told, list(group), context) for _, group in probes]
            try:
                found = await asyncio.gather(*talks)
            except CaseFailure as error:
                if getattr(error, "stops_run", False):
                    raise
                yield Failure(case.id, Key("*"), error.status, str(error))
            else:
                yield Output(case.id, Key("*"), [e.to_plain() for talk in found for e in talk])

    async def _talk(
        self, model: Any, told: PatientCase, probes: Sequence[Probe], context: Context
    ) -> list[Exchange]:
        patient = self._patient(model, told, probes[0].sample)
        turns = [Turn(1, "patient", patient.opening())]
        found = []
        for number, probe in enumerate(probes):
            turns.append(Turn(len(turns) + 1, "doctor", probe.question))
            plain = await context.astep(
                f"{told.id}/{probe.conversation}/{number}", lambda: _answer(patient, turns, told.id, context)
            )
            turns.append(Turn.from_plain(plain))
            found.append(Exchange(probe, turns[-1].text, turns[-1].flags))
        return found

    def _patient(self, model: Any, told: PatientCase, sample: int) -> Patient:
        if callable(getattr(model, "patient", None)):
            given: Patient = model.patient(told.patient_view)
            return given
        return ChatPatient(told.patient_view, model, self.mode, names=secret_names(told), sample=sample)

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Each kind's mean over its questions."""
        told: PatientCase = case.reference[CASE]
        judged = list(seen([Exchange.from_plain(plain) for plain in output.value], told))
        groups = {kind: [s for s in judged if s.exchange.probe.kind == kind] for kind in KINDS}
        scored = [self._scored(Key(kind), mine) for kind, mine in groups.items()]
        means = [sum(s.score for s in mine) / len(mine) for mine in groups.values() if mine]
        whole = RubricScore(sum(means) / len(means))
        columns = {"asked": len(judged), "guarded": sum(bool(s.exchange.flags) for s in judged),
                   "exchanges": json.dumps([_plain(s) for s in judged], ensure_ascii=False)}  # fmt: skip
        values = {metric.name: metric.observe(whole) for metric in self.bound_metrics}
        return [*scored, Scored(Key(ALL), values, columns)]

    def _scored(self, key: Key, mine: Sequence[Seen]) -> Scored:
        score = (
            RubricScore(sum(s.score for s in mine) / len(mine))
            if mine
            else RubricScore(None, "the case gives rise to no such question")
        )
        return Scored(key, {metric.name: metric.observe(score) for metric in self.bound_metrics})

    def summarize(self, evidence: Evidence) -> Summary:
        """A table of patients by kind, and the answers that were wrong."""
        scores: list[Mapping[str, Any]] = []
        talks: list[RatedDialogue] = []
        for cell in evidence.load():
            by_kind = [row for row in CellScorer(self, cell, evidence).scores() if row["by"]]
            scores += [*headlines(by_kind, {ALL: "mean over the kinds of question"}), *by_kind]
            talks += list(_wrong_talks(cell))
        views: list[View] = [*_tables(self, scores)]
        if talks:
            note = f"{len(talks[:MOST])} of {len(talks)} cases in which an answer was wrong"
            views.append(Dialogues(f"Wrong answers of {self.label}", talks[:MOST], note))
        return Summary(scores, views)


async def _answer(patient: Patient, turns: Sequence[Turn], case_id: str, context: Context) -> dict[str, Any]:
    async def call() -> Turn:
        try:
            return await patient.answer(turns[-1].text, turns)
        except (
            EvaluatorFailure
        ) as error:  # the patient is the model here: what its call gave, or its own exception
            cause = error.__cause__
            raise cause if isinstance(cause, CaseFailure) else ModelFailure(str(error)) from None

    return (await context.acall(case_id, "patient", call)).to_plain()


def _plain(found: Seen) -> dict[str, Any]:
    probe = found.exchange.probe
    return {"kind": probe.kind, "question": probe.question, "answer": found.exchange.answer, "score": found.score,
            "wrong": found.wrong, "guard": ", ".join(found.exchange.flags)}  # fmt: skip


def _tables(task: SimulatedPatient, scores: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    columns = [
        Column("model"),
        *(Column(kind, kind, "interval", TELLS.get(kind, "mean of all"), "higher") for kind in (*KINDS, ALL)),
    ]
    rows = [row for row in scores if row["by"] == "structure"]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        lines: dict[str, dict[str, Any]] = {}
        mine = [row for row in rows if row["dataset"] == dataset]
        for row in mine:
            line = lines.setdefault(row["model"], {"model": row["model"], "_baseline": row["baseline"]})
            line[row["group"]["structure"]] = {
                key: row[key]
                for key in ("value", "low", "high", "n", "patients", "note", "bounds", "missing")
            }
        yield Table(f"{task.label} on {dataset}", columns, list(lines.values()), table_note(mine))


def _wrong_talks(cell: CellEvidence) -> Iterator[RatedDialogue]:
    frame = cell.frame[(cell.frame["structure"] == ALL) & cell.frame["exchanges"].notna()]
    for row in frame.to_dict("records"):
        wrong = [found for found in json.loads(row["exchanges"]) if found["wrong"]]
        if not wrong:
            continue
        turns: list[RatedTurn] = []
        for found in wrong:
            turns.append(RatedTurn(len(turns) + 1, "doctor", found["question"]))
            marks = [part for part in (found["wrong"], found["guard"] and f"guard: {found['guard']}") if part]
            turns.append(RatedTurn(len(turns) + 1, "patient", found["answer"] or "(no words)", marks))
        items = [RatedItem(kind, TELLS[kind], f"{sum(f['kind'] == kind for f in wrong)} wrong", "bad")
                 for kind in KINDS if any(f["kind"] == kind for f in wrong)]  # fmt: skip
        tags = [f"model {cell.model}", *dict.fromkeys(f["kind"] for f in wrong)]
        yield RatedDialogue(f"{cell.model}: {row['case']}", turns, items, tags)
