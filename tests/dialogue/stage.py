"""What the dialogue tests share: cases, dialogues by script, and chat models that are functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from medeval.dialogue.cases import PatientCase, load_cases
from medeval.dialogue.dataset import BUNDLED
from medeval.dialogue.doctor import Protocol, held
from medeval.dialogue.judge_rules import RuleJudge
from medeval.dialogue.measurement import LookupExaminer
from medeval.dialogue.panel import combined
from medeval.dialogue.patient import RulePatient
from medeval.dialogue.ratings import Sheet
from medeval.dialogue.rubric import load_rubric
from medeval.dialogue.scoring import Scores, scored
from medeval.dialogue.scripted import ScriptedDoctor
from medeval.dialogue.turns import Dialogue, Turn
from medeval.llm.replies import Reply

AGENTCLINIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "agentclinic" / "cases.jsonl"


@cache
def bundled() -> dict[str, PatientCase]:
    """The cases written for medeval."""
    return {case.id: case for case in load_cases(BUNDLED)}


@cache
def agentclinic() -> tuple[PatientCase, ...]:
    """AgentClinic's cases; () where the shared folder is not there."""
    return load_cases(AGENTCLINIC) if AGENTCLINIC.is_file() else ()


def answer(case: PatientCase, *said: str) -> list[Turn]:
    """The rule-based patient's answers to these doctor's turns."""
    patient = RulePatient(case.patient_view)
    turns = [Turn(1, "patient", patient.opening())]
    for text in said:
        turns.append(Turn(len(turns) + 1, "doctor", text))
        turns.append(asyncio.run(patient.answer(text, turns)))
    return [turn for turn in turns[1:] if turn.speaker == "patient"]


def talk(case: PatientCase, doctor: Any = None, protocol: Protocol | None = None, **options: Any) -> Dialogue:
    """A dialogue with the rule-based patient; by default the good scripted doctor's."""
    doctor = doctor or ScriptedDoctor(**options).about(case)
    patient = RulePatient(case.patient_view)
    examiner = LookupExaminer(case.measurement_view)
    return asyncio.run(held(doctor, patient, case, protocol or Protocol(), examiner=examiner))


def said(*lines: str, diagnoses: Sequence[str] = ()) -> Dialogue:
    """A dialogue of these lines: those that begin with ``D:`` are the doctor's, ``P:`` the patient's."""
    turns = []
    for number, line in enumerate(lines, start=1):
        final = ("final",) if "FINAL DIAGNOSIS" in line else ()
        turns.append(Turn(number, "doctor" if line[0] == "D" else "patient", line[2:].strip(), flags=final))
    return Dialogue(tuple(turns), "given", tuple(diagnoses))


loaded = cache(load_rubric)


def sheet(dialogue: Dialogue, case: PatientCase, rubric: str = "mini-cex-llm-extended") -> Sheet:
    """The rule-based judge's sheet."""
    return asyncio.run(RuleJudge().rate(loaded(rubric), dialogue, case))


def marks(dialogue: Dialogue, case: PatientCase, rubric: str = "mini-cex-llm-extended") -> Scores:
    """The rule-based judge's scores."""
    read = loaded(rubric)
    return scored(combined([sheet(dialogue, case, rubric)], read), read.for_case(case))


class Says:
    """A chat model that is a function of the messages; a list says its entries in turn. It notes what it was shown."""

    def __init__(self, reply: Callable[[Sequence[Any]], Any] | Sequence[Any]) -> None:
        self.reply = reply
        self.shown: list[Sequence[Any]] = []

    async def ask(self, messages: Sequence[Any], *, sample: int = 0) -> Reply:
        self.shown.append(messages)
        found = (
            self.reply(messages)
            if callable(self.reply)
            else self.reply[min(len(self.shown), len(self.reply)) - 1]
        )
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Reply) else Reply(text=found)

    async def ask_object(self, messages: Sequence[Any], form: Any, *, sample: int = 0) -> Reply:
        self.shown.append(messages)
        found = (
            self.reply(messages)
            if callable(self.reply)
            else self.reply[min(len(self.shown), len(self.reply)) - 1]
        )
        if isinstance(found, Exception):
            raise found
        return Reply(data=found, value=form.model_validate(found))
