"""Doctors by script: a good one, a curt one, an unsafe one and a mute one, and seeded degradations of the good one.

They measure the measurer: the scores must rank them, and each degradation must lower the items that it concerns and no
other. A scripted doctor knows the case's answer, as an oracle does; no model under test is ever told it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medeval.dialogue.cases import Diagnosis, PatientCase, Plan
from medeval.dialogue.chat import Message
from medeval.dialogue.diagnosis import compare
from medeval.dialogue.files import checked, find, read_yaml
from medeval.dialogue.text import holds_terms
from medeval.llm.replies import Reply
from medeval.types.seeds import rng

Style = Literal["good", "curt", "unsafe", "mute"]


class Wrong(BaseModel):
    """A diagnosis that the case does not have, with what would be done about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    tests: tuple[str, ...]
    treatment: tuple[str, ...]


class Script(BaseModel):
    """What a scripted doctor says, in one language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str
    warm: tuple[str, ...]
    rude: tuple[str, ...]
    questions: Mapping[str, str]
    turns: tuple[tuple[str, ...], ...]
    always: frozenset[str]
    curt: tuple[tuple[str, ...], ...]
    unsafe: tuple[tuple[str, ...], ...]
    grounds: str
    certainty: str
    remedy: str
    escalate: str
    open_plan: str
    careless: tuple[str, ...]
    harmful: str
    final: str
    wrong: tuple[Wrong, ...]


@cache
def load_script(language: str = "en") -> Script:
    """The script of a language. Raises ``DialogueFileError``."""
    source = find(f"doctor-{language}", "scripts", ".yaml", "script")
    return checked(Script, read_yaml(source), str(source))


class ScriptedDoctor(BaseModel):
    """A model under test that follows a script. Degradations are of the style's own words and strengths in [0, 1].

    A degradation of strength s hits the cases (or questions) whose seeded number lies below s, so that a stronger one hits
    all that a weaker one does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    style: Style = "good"
    drop_questions: float = Field(
        default=0.0, ge=0, le=1, description="Share of the history questions left out."
    )
    swap_diagnosis: float = Field(
        default=0.0, ge=0, le=1, description="Share of the cases with another diagnosis and plan."
    )
    unsafe_advice: float = Field(
        default=0.0, ge=0, le=1, description="Share of the cases with advice that does harm."
    )
    rudeness: float = Field(
        default=0.0, ge=0, le=1, description="Share of the cases in which the doctor is rude."
    )
    language: str = Field(default="en", description="Which script.")
    seed: int = 0

    def about(self, case: PatientCase) -> ScriptedSpeaker:
        """The doctor for one case, whose answer it knows."""
        return ScriptedSpeaker(tuple(self.lines(case)))

    async def ask(self, messages: Sequence[Message], *, sample: int = 0) -> Reply:
        """Silence: without ``about`` it does not know what to say."""
        return Reply()

    def lines(self, case: PatientCase) -> Iterator[str]:
        """The doctor's turns in order, the final one last."""
        if self.style == "mute":
            return
        script = load_script(self.language)
        rude = self._hit("rudeness", self.rudeness, case)
        for number, asked in enumerate(self._turns(script, case)):
            yield " ".join([*self._manner(script, number, rude), *(script.questions[name] for name in asked)])
        yield "\n".join(self._conclusion(script, case, rude))

    def _turns(self, script: Script, case: PatientCase) -> Iterator[tuple[str, ...]]:
        if self.style != "good":
            yield from script.curt if self.style == "curt" else script.unsafe
            return
        droppable = [name for turn in script.turns for name in turn if name not in script.always]
        order = rng(self.seed, "drop", case.id).permutation(len(droppable))
        dropped = {droppable[at] for at in order[: round(self.drop_questions * len(droppable))]}
        for turn in script.turns:
            if kept := tuple(name for name in turn if name not in dropped):
                yield kept

    def _manner(self, script: Script, number: int, rude: bool) -> tuple[str, ...]:
        if rude:
            return script.rude[number % len(script.rude) :][:1]
        warm = {"good": len(script.warm), "unsafe": 1}.get(self.style, 0)
        return script.warm[number : number + 1] if number < warm else ()

    def _conclusion(self, script: Script, case: PatientCase, rude: bool) -> Iterator[str]:
        name, plan = self._answer(script, case)
        unsafe = self.style == "unsafe" or self._hit("unsafe", self.unsafe_advice, case)
        yield from self._manner(script, 0, rude)[: int(rude)]
        if self.style == "good":
            yield script.grounds.format(complaint=case.chief_complaint.strip(" .").replace(".", ","))
        if self.style != "unsafe":
            tests, treatment = (plan.tests, plan.treatment) if self.style == "good" else (plan.tests[:1], ())
            yield from (script.certainty.format(measure=_first(entry)) for entry in tests)
            yield from (script.remedy.format(measure=_first(entry)) for entry in treatment)
            yield script.open_plan
        if unsafe:
            yield from script.careless
            yield from (script.harmful.format(harm=_first(entry)) for entry in case.harms[:1])
        elif self.style == "good" and case.red_flags and case.escalation:
            yield script.escalate.format(care=_first(case.escalation[0]))
        yield script.final
        yield f"1. {name}"

    def _answer(self, script: Script, case: PatientCase) -> tuple[str, Plan]:
        if self.style != "unsafe" and not self._hit("swap", self.swap_diagnosis, case):
            return case.diagnosis.name, case.plan
        wrong = wrong_for(script, case.diagnosis)
        harmless = tuple(
            t
            for t in wrong.treatment
            if not any(holds_terms(t, h) for entry in case.harms for h in entry.split("|"))
        )
        return wrong.name, Plan(tests=wrong.tests, treatment=harmless)

    def _hit(self, what: str, strength: float, case: PatientCase) -> bool:
        return bool(rng(self.seed, what, case.id).random() < strength)


class ScriptedSpeaker:
    """Says its lines in order; asked for a conclusion, it goes to the last one."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = tuple(lines)

    async def ask(self, messages: Sequence[Message], *, sample: int = 0) -> Reply:
        """The next line by the number of those already said; silence after the last."""
        said = sum(m["role"] == "assistant" and m["content"] != "(no words)" for m in messages)
        forced = "FINAL DIAGNOSIS" in messages[-1]["content"] and messages[-1]["role"] == "user"
        line = self._lines[-1:] if forced else self._lines[said : said + 1]
        return Reply(text=line[0]) if line else Reply()


def wrong_for(script: Script, reference: Diagnosis) -> Wrong:
    """The first wrong diagnosis that is nothing like the reference."""
    return next(wrong for wrong in script.wrong if compare(wrong.name, reference) == "different")


def _first(alternatives: str) -> str:
    return alternatives.split("|")[0].strip()
