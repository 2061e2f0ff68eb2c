"""Models that talk: ``ask`` (questions, conversations, dialogues), ``ask_object`` (graders), ``patient`` (simulated patients)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from medeval.conformance.subjects import Subject
from medeval.dialogue.cases import PatientCase, load_cases
from medeval.dialogue.dataset import BUNDLED
from medeval.dialogue.healthbench_grader import CriteriaGrader, Grade
from medeval.dialogue.rubric import SignedCriterion
from medeval.dialogue.turns import Turn
from medeval.llm import Harness
from medeval.llm.replies import Reply

REPLY = "ask is `async def ask(self, messages, *, sample=0)` and returns a medeval.llm.Reply, or text"


@dataclass(frozen=True, eq=False)
class Talk:
    """A conversation so far. said: (role, content) of each message."""

    name: str
    said: tuple[tuple[str, str], ...]
    case: PatientCase


class Speaking(Subject):
    """``async ask(messages, *, sample)``; scripted models first learn their case by ``about``. Replies may be drawn by chance."""

    methods = ("ask",)
    unit: ClassVar[str] = "characters"
    sampled: ClassVar[bool] = True

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return asyncio.Runner()  # one loop, for clients hold on to theirs

    def scenes(self, ndim: int) -> list[Any]:
        """A question with options, one with a system prompt and a history, and one in another script."""
        case = load_cases(BUNDLED)[0]
        options = (
            "Which vitamin do people lack who have scurvy?\nA. A\nB. C\nC. D\nAnswer with the letter alone."
        )
        history = (
            ("system", "You are a doctor."),
            ("user", "My chest hurts."),
            ("assistant", "Since when?"),
            ("user", "Today."),
        )
        return [
            Talk("a question with options", (("user", options),), case),
            Talk("a conversation with a system prompt", history, case),
            Talk("a question in another script", (("user", "糖尿病の初期症状は？ 😀"),), case),
        ]

    def another(self, scene: Talk, number: int) -> Talk:
        """Another question."""
        return replace(
            scene,
            name=f"question {number}",
            said=(*scene.said[:-1], ("user", f"What is {number} plus {number}?")),
        )

    def given(self, scene: Talk) -> dict[str, Any]:
        """The messages; the case for scripted models alone."""
        return {
            "messages": [{"role": role, "content": text} for role, text in scene.said],
            "case": scene.case,
        }

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The reply. What is no awaitable comes back as it is."""
        speaker = (
            self.model.about(given["case"]) if callable(getattr(self.model, "about", None)) else self.model
        )
        return self.wait(speaker.ask(given["messages"], sample=0))

    def wait(self, asked: Any) -> Any:
        """An awaitable's value; anything else as it came."""

        async def waited() -> Any:
            return await asked

        return self._runner.run(waited()) if hasattr(asked, "__await__") else NotAwaitable(asked)

    def parts(self, raw: Any) -> list[Any]:
        """The text."""
        return [letters(said(raw))]

    def leak(self, scene: Talk) -> float:
        """More than what a bounded cache of texts takes."""
        return 20_000.0

    def wrong(self, scene: Talk, raw: Any) -> str | tuple[str, str] | None:
        """A reply or text, from a coroutine."""
        if isinstance(raw, NotAwaitable):
            return f"ask returned a {type(raw.value).__name__} and is no coroutine function", REPLY
        if not isinstance(said(raw), str):
            return f"ask returned a {type(raw).__name__}", REPLY
        return None


class Client(Speaking):
    """A chat client (``async complete(request)``), asked through the harness as a suite's ``client:`` block; some 30 short calls."""

    methods = ("complete",)
    costly: ClassVar[bool] = True

    def build(self) -> Any:
        """The block's chat, without cache and logs. Raises ``UserError``: an option, a key or a package that is missing."""
        block = {"client": self.recipe.reference, **self.recipe.options}
        chat = Harness({"cache": "off"}, base=self.recipe.base).chat(block)
        chat.model.check()
        return chat


class Grading(Speaking):
    """``async ask_object(messages, form, *, sample)``."""

    methods = ("ask_object",)

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The verdict on one answer by one criterion."""
        criterion = SignedCriterion(id="c1", text="Names vitamin C.", points=1)
        messages = CriteriaGrader(self.model).messages(given["messages"], "Vitamin C.", [criterion])
        return self.wait(self.model.ask_object(messages, Grade))

    def parts(self, raw: Any) -> list[Any]:
        """The verdict."""
        return [np.array([bool(raw.value.criteria_met)])]

    def wrong(self, scene: Talk, raw: Any) -> str | tuple[str, str] | None:
        """A reply whose ``value`` is of the form that was asked for."""
        if isinstance(raw, Reply) and isinstance(raw.value, Grade):
            return None
        came = type(raw.value if isinstance(raw, Reply | NotAwaitable) else raw).__name__
        return (
            f"ask_object gave no {Grade.__name__} but a {came}",
            "return a medeval.llm.Reply with `value=form(...)`",
        )


class Patients(Speaking):
    """``patient(view)``, which gives a patient with ``opening()`` and ``async answer(doctor, turns)``."""

    methods = ("patient",)
    sampled: ClassVar[bool] = False

    def given(self, scene: Talk) -> dict[str, Any]:
        """What the patient may know, and what the doctor says."""
        return {"view": scene.case.patient_view, "doctor": scene.said[-1][1]}

    def ask(self, given: Mapping[str, Any]) -> Any:
        """The patient's opening words and next turn."""
        patient = self.model.patient(given["view"])
        opening = patient.opening()
        turns = [Turn(1, "patient", opening), Turn(2, "doctor", given["doctor"])]
        return opening, self.wait(patient.answer(given["doctor"], turns))

    def parts(self, raw: Any) -> list[Any]:
        """Both texts."""
        return [letters(raw[0]), letters(raw[1].text)]

    def wrong(self, scene: Talk, raw: Any) -> str | tuple[str, str] | None:
        """Text, and a turn of the patient's."""
        opening, turn = raw
        if not isinstance(opening, str):
            return f"opening() returned a {type(opening).__name__}", "return the chief complaint as text"
        if not isinstance(turn, Turn) or turn.speaker != "patient":
            return (
                f"answer() returned {turn!r:.80}",
                'return Turn(len(turns) + 1, "patient", text) from a coroutine',
            )
        return None


@dataclass(frozen=True)
class NotAwaitable:
    """What a function returned that is no coroutine function."""

    value: Any


def said(raw: Any) -> Any:
    """A reply's text."""
    return raw if isinstance(raw, str) else getattr(raw, "text", None)


def letters(text: str) -> Any:
    """A text as an array."""
    return np.frombuffer(text.encode(), dtype=np.uint8)
