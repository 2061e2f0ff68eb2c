"""From a suite's blocks to the evaluator's own roles: patient, measurement agent, judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.chat import Chat
from medeval.dialogue.guards import secret_names
from medeval.dialogue.judge_llm import ChatJudge
from medeval.dialogue.measurement import ChatExaminer, Examiner, LookupExaminer
from medeval.dialogue.patient import Patient, RulePatient
from medeval.dialogue.patient_llm import ChatPatient, Mode
from medeval.llm.harness import Harness

Open = Callable[[Mapping[str, Any], str], Chat]


class ChatOpener:
    """Opens the chat model of a block in a role.

    owner: what has ``chat(block, role)`` of its own (a context that the engine bound to the run's harness); anything else
    gets the process's own harness, which keeps nothing on disk.
    """

    def __init__(self, owner: Any = None) -> None:
        self._chat: Open = getattr(owner, "chat", None) or _harness().chat

    def __call__(self, block: Mapping[str, Any], role: str) -> Chat:
        """The chat of this block."""
        return self._chat(block, role)


@cache
def _harness() -> Harness:
    return Harness()


def patient_of(block: Any, case: PatientCase, open_: Open, mode: Mode, sample: int) -> Patient:
    """The simulated patient of a case: ``rules``, or a client block."""
    if block == "rules":
        return RulePatient(case.patient_view)
    return ChatPatient(
        case.patient_view, open_(block, "patient"), mode, names=secret_names(case), sample=sample
    )


def examiner_of(block: Any, case: PatientCase, open_: Open) -> Examiner:
    """The measurement agent of a case: ``lookup``, or a client block."""
    if block == "lookup":
        return LookupExaminer(case.measurement_view)
    return ChatExaminer(case.measurement_view, open_(block, "measurement"))


def judge_of(block: Mapping[str, Any], name: str, open_: Open, **options: Any) -> ChatJudge:
    """A model judge. Its name in the panel is not its model's: judges may read each other's sheets.

    options: of ``ChatJudge``.
    """
    return ChatJudge(open_(block, "judge"), name, **options)
