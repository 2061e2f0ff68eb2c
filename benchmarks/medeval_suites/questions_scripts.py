"""Scripted clients of the questions demo: examinees of known habits, and a toy grader. They answer from the bundled files."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from medeval.datasets.questions import LETTERS, Questions
from medeval.dialogue.healthbench_dataset import HealthBench
from medeval.dialogue.text import stem, words
from medeval.llm.requests import ChatRequest
from medeval.types import rng

_KNOWN = 0.85  # share of the questions that the well-read examinee knows
_MET = 0.7  # share of a criterion's terms from which the toy grader calls it met
_FILLER = words(
    "a an and any are as at be by can could for from has have he her his how if in into is it its mean needs no not of on or "
    "other out she should so such that the their them then there these this those to was what when where whether which "
    "who will with within without would you your user says say tells asks explains advises names states gives"
)


def well_read(request: ChatRequest) -> str:
    """Knows most answers, reasons, and is a little too sure of itself."""
    text = request.messages[-1].text
    found = _question(text)
    if found is None:
        return _physician(text)
    name, answer = found
    knows = rng("well read", name).random() < _KNOWN or rng("luck", name, request.sample).random() < 0.3
    letter = _letter(text, answer) if knows else _other(text, answer)
    sure = (90, 80, 60)[int(rng("sure", name, request.sample).integers(0, 3))] + (5 if knows else -10)
    return f"I weigh the findings against each option.\nAnswer: {letter}\nConfidence: {sure}%"


def always_first(request: ChatRequest) -> str:
    """Takes the first option whatever stands there."""
    found = _question(request.messages[-1].text)
    return "A" if found else "Take an antacid, and wait and see whether it helps."


def hedger(request: ChatRequest) -> str:
    """Right when it commits itself, which it often does not."""
    text = request.messages[-1].text
    found = _question(text)
    if found is None:
        return "It could be many things; this cannot be decided without an examination."
    name, answer = found
    letter = _letter(text, answer)
    if rng("hedges", name, request.sample).random() < 0.4:
        return f"It could be {letter} or something else; more information is needed."
    return f"The answer is {letter}." if len(letter) == 1 else f"Answer: {letter}"


def grader(request: ChatRequest) -> dict[str, Any]:
    """A toy judge: a criterion is met when most of its terms stand in the answer."""
    turns = json.loads(re.search(r"\[.*\]", request.messages[1].text, re.S)[0])  # type: ignore[index]
    criterion = json.loads(re.search(r'^{"criterion".*$', request.messages[2].text, re.M)[0])  # type: ignore[index]
    wanted, there = _terms(criterion["text"]), _terms(turns[-1]["text"])
    share = len(wanted & there) / len(wanted)
    return {"data": {"explanation": f"{share:.0%} of its terms", "criteria_met": share >= _MET}}


@cache
def _bank() -> tuple[tuple[str, str, str], ...]:
    """(id, question, right answer)."""
    asked = Questions().questions
    return tuple(
        (name, q.text, q.accepted[0] if q.right is None else q.options[q.right])
        for name, (q, _) in asked.items()
    )


def _question(text: str) -> tuple[str, str] | None:
    """(id, right answer) of the bundled question that a prompt holds."""
    return next(((name, answer) for name, question, answer in _bank() if question in text), None)


def _letter(text: str, answer: str) -> str:
    """The letter of an option as the prompt shows it; an open question's answer itself."""
    match = re.search(rf"^([A-J])\. {re.escape(answer)}$", text, re.M)
    return match[1] if match else answer


def _other(text: str, answer: str) -> str:
    right = _letter(text, answer)
    return LETTERS[(LETTERS.index(right) + 1) % 4] if len(right) == 1 else "I am not certain"


def _physician(text: str) -> str:
    """The written completion of a conversation, where there is one."""
    talks = HealthBench().conversations.values()
    found = next((talk for talk in talks if talk.prompt[-1]["content"] == text), None)
    return (
        found.completion
        if found and found.completion
        else "Right lower lobe pneumonia; temperature 38.4, CRP 140."
    )


def _terms(text: str) -> set[str]:
    return {stem(word) for word in words(text)} - {stem(word) for word in _FILLER}
