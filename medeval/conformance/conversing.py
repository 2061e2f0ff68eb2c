"""What only models of studies and conversations are asked: other questions, and several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from medeval.conformance.contract import named
from medeval.conformance.findings import Found, check, raised
from medeval.conformance.studies import OfStudies
from medeval.conformance.subjects import Subject, same
from medeval.conformance.talking import Grading, Patients, Speaking, Talk
from medeval.types import CaseFailure


@check(
    "other questions",
    "answer every question of the protocol, or raise a ModelFailure in words",
    of=(OfStudies, Speaking),
    needs=("answers",),
)
def other_questions(subject: Subject, scenes: list[Any]) -> Found:
    """Images of other sizes and colours, conversations with a history and in other scripts: answered, or refused in words."""
    for scene in scenes[1:]:
        try:
            found = named(scene, subject.wrong(scene, subject.answer(scene)))
        except CaseFailure:
            continue
        except Exception as error:
            return f"{scene.name}: {raised(error)}"
        if found:
            return found
    return None


@check(
    "side by side",
    "keep no conversation in the model: replies are asked for at the same time",
    of=Speaking,
    needs=("answers", "other questions"),
)
def side_by_side(subject: Speaking, scenes: list[Talk]) -> Found:
    """Several conversations at once are answered, and as one by one where replies repeat at all."""
    alone = [subject.parts(subject.answer(scene)) for scene in scenes]
    if isinstance(subject, Grading | Patients):
        return None
    asked = [subject.given(scene) for scene in scenes]

    async def together() -> Sequence[Any]:
        speakers = [
            subject.model.about(a["case"])
            if callable(getattr(subject.model, "about", None))
            else subject.model
            for a in asked
        ]
        calls = [speaker.ask(a["messages"], sample=0) for speaker, a in zip(speakers, asked, strict=True)]
        return await asyncio.gather(*calls, return_exceptions=True)

    replies = subject.wait(together())
    broken = [r for r in replies if isinstance(r, BaseException) and not isinstance(r, CaseFailure)]
    if broken:
        return f"asked at once: raised {type(broken[0]).__name__}: {broken[0]}"
    once = [subject.parts(reply) for reply in replies if not isinstance(reply, CaseFailure)]
    again = [subject.parts(subject.answer(scene)) for scene in scenes]
    repeats = all(same(one, other) for one, other in zip(alone, again, strict=True))
    if repeats and not all(same(one, other) for one, other in zip(alone, once, strict=False)):
        return "asked at once, conversations get other replies than one by one"
    return None
