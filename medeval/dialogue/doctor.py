"""The doctor's side: its system prompt, the turn limit, requests, the final diagnosis, and the loop that holds a dialogue.

``converse`` is an async generator of turns; each model's reply goes through ``step``, so that a killed run goes on at the
turn that it had reached. The recommended protocol and its defaults: the patient opens with the chief complaint alone; 12
doctor turns; at the end of the budget one more turn asks for a ranked list; an unfinished dialogue is scored, never dropped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from medeval.dialogue.cases import PatientCase
from medeval.dialogue.chat import Message, Speaker, Step, message, spoken, unkept, usage_of
from medeval.dialogue.diagnosis import is_final, ranked_list
from medeval.dialogue.measurement import Examiner, requests_of
from medeval.dialogue.patient import Patient
from medeval.dialogue.turns import Dialogue, Stop, Turn
from medeval.types.errors import UserError

SYSTEM = """You are a doctor in a consultation by text. The patient cannot be seen or touched.
Ask about what you need to know, a few questions at a time, and answer the patient's worries in plain language.
You have at most {turns} messages, the final one included.{tests}
When you are ready, explain to the patient what your conclusion rests on, what should be done next and how it will be treated,
and end that message with your ranked differential, most likely first, in exactly this form:
FINAL DIAGNOSIS:
1. ...
2. ...
Patient: {demographics}.{objective}"""
_TESTS = "\nTo examine or test, write a line `REQUEST TEST: name` (or `REQUEST EXAM: name`); the result comes with the next message."
FORCED = (
    "This was the last question. Reply now with your conclusion: what it rests on, the next tests, the treatment, and the "
    "ranked differential after a line `FINAL DIAGNOSIS:`."
)
_FIELDS = ("turns", "tests", "demographics", "objective")
_SILENT = 3  # empty doctor turns in a row that end a dialogue


@dataclass(frozen=True)
class Protocol:
    """How a dialogue runs.

    system: the doctor's system prompt; ``{turns}``, ``{tests}``, ``{demographics}`` and ``{objective}`` are filled in.
    max_turns: doctor turns, the final one included. forced: what asks for the diagnosis at the end of the budget; "" never asks.
    Raises ``UserError`` for an unknown field in ``system``.
    """

    system: str = SYSTEM
    max_turns: int = 12
    opening: Literal["patient", "doctor"] = "patient"
    tests: bool = True
    forced: str = FORCED

    def __post_init__(self) -> None:
        try:
            self.system.format(**dict.fromkeys(_FIELDS, ""))
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"system prompt: {error!r} cannot be filled in; fields are "
                            f"{', '.join(f'{{{name}}}' for name in _FIELDS)}; write {{{{ and }}}} for braces") from None  # fmt: skip
        if self.max_turns < 1:
            raise UserError(f"max_turns is {self.max_turns}; a doctor needs at least 1")

    def prompt(self, case: PatientCase) -> str:
        """The system prompt of a case: demographics and objective, nothing else of it."""
        return self.system.format(
            turns=self.max_turns,
            tests=_TESTS if self.tests else "",
            demographics=case.demographics or "no details",
            objective=f" Your task: {case.objective}" if case.objective else "",
        )


def doctor_messages(turns: Sequence[Turn], prompt: str, more: str = "") -> list[Message]:
    """The talk as the doctor sees it: its own turns as assistant, all others as user, never two of one role in a row."""
    talk: list[dict[str, str]] = [message("system", prompt)]
    for turn in turns:
        role = "assistant" if turn.speaker == "doctor" else "user"
        _append(talk, role, turn.text or "(no words)")
    if more:
        _append(talk, "user", more)
    if talk[-1]["role"] != "user":
        _append(talk, "user", "(the patient waits)")
    return list(talk)


def _append(talk: list[dict[str, str]], role: str, text: str) -> None:
    if talk[-1]["role"] == role:
        talk[-1] = message(role, f"{talk[-1]['content']}\n\n{text}")
    else:
        talk.append(message(role, text))


async def converse(
    doctor: Speaker,
    patient: Patient,
    case: PatientCase,
    protocol: Protocol = Protocol(),
    *,
    examiner: Examiner | None = None,
    step: Step = unkept,
    name: str = "",
    sample: int = 0,
) -> AsyncIterator[Turn]:
    """Hold one dialogue; yields each turn as it is said. ``finished`` makes a ``Dialogue`` of them.

    step: keeps finished replies by name (``Context.astep``). name: prefix of those names. sample: number of the repetition.
    Raises what the doctor's model raises, and ``EvaluatorFailure`` for patient and examiner.
    """
    prompt, turns = protocol.prompt(case), list[Turn]()
    if protocol.opening == "patient":
        turns.append(Turn(1, "patient", patient.opening()))
        yield turns[-1]
    for number in range(1, protocol.max_turns + 1):
        last = number == protocol.max_turns
        more = protocol.forced if last or _ends(turns) else ""
        turn = await _ask(doctor, turns, prompt, more, protocol.tests, step, f"{name}doctor {number}", sample)
        turns.append(replace(turn, flags=(*turn.flags, "forced")) if more else turn)
        yield turns[-1]
        if "final" in turn.flags or last or more:
            return
        if _silent_for(turns) >= _SILENT:
            return
        for answer in await _answers(
            turns, patient, examiner if protocol.tests else None, step, f"{name}answer {number}"
        ):
            turns.append(answer)
            yield answer


async def _ask(
    doctor: Speaker, turns: Sequence[Turn], prompt: str, more: str, tests: bool, step: Step, name: str, sample: int,
) -> Turn:  # fmt: skip
    async def call() -> dict[str, Any]:
        reply = await doctor.ask(doctor_messages(turns, prompt, more), sample=sample)
        return {"text": spoken(reply), "usage": usage_of(reply)}

    kept = await step(name, call)
    text = kept["text"].strip()
    flags = ["silent"] if not text else ["final"] if is_final(text) else []
    requests = requests_of(text) if tests else ()
    return Turn(len(turns) + 1, "doctor", text, requests=requests, flags=tuple(flags), usage=kept["usage"])


async def _answers(
    turns: Sequence[Turn], patient: Patient, examiner: Examiner | None, step: Step, name: str
) -> list[Turn]:
    """What follows a doctor's turn: results of what it requested, else the patient's answer; both when it also asks."""
    said = turns[-1]

    async def call() -> list[dict[str, Any]]:
        found: list[Turn] = []
        if said.requests and examiner is not None:
            found.append(await examiner.answer(said.requests, len(turns) + 1))
        spoken = without_requests(said.text) if found else said.text
        if not found or "?" in spoken or "？" in spoken:
            found.append(await patient.answer(spoken, [*turns, *found]))
        return [replace(turn, number=len(turns) + 1 + at).to_plain() for at, turn in enumerate(found)]

    return [Turn.from_plain(plain) for plain in await step(name, call)]


def without_requests(text: str) -> str:
    """A doctor's text without its request lines: what the patient hears."""
    return "\n".join(line for line in text.splitlines() if not requests_of(line))


def _ends(turns: Sequence[Turn]) -> bool:
    return bool(turns) and turns[-1].speaker == "patient" and turns[-1].state == "closing"


def _silent_for(turns: Sequence[Turn]) -> int:
    count = 0
    for turn in reversed([turn for turn in turns if turn.speaker == "doctor"]):
        if "silent" not in turn.flags:
            break
        count += 1
    return count


def finished(turns: Sequence[Turn]) -> Dialogue:
    """The dialogue of these turns: how it stopped and what was concluded."""
    final = next(
        (turn for turn in reversed(turns) if turn.speaker == "doctor" and "final" in turn.flags), None
    )
    stop: Stop
    if final is not None:
        stop = "forced_final" if "forced" in final.flags else "doctor_final"
    else:
        stop = "silent" if _silent_for(turns) else "undecided"
    return Dialogue(tuple(turns), stop, ranked_list(final.text) if final else ())


async def held(*args: Any, **options: Any) -> Dialogue:
    """A whole dialogue at once: ``converse`` to its end."""
    return finished([turn async for turn in converse(*args, **options)])
