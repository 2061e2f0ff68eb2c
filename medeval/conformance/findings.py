"""What a check finds, and what the checks are given."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Literal

from medeval.conformance.scenes import Scene
from medeval.conformance.subjects import Subject
from medeval.types import CaseFailure

Verdict = Literal["pass", "fail", "note"]


@dataclass(frozen=True)
class Finding:
    """One line of the table. verdict: "note" tells and judges nothing. what: what was seen; mend: what would be right."""

    check: str
    verdict: Verdict
    what: str
    mend: str = ""


Check = Callable[[Subject, list[Scene]], Finding]


def check(name: str, mend: str) -> Callable[[Callable[[Subject, list[Scene]], str | None]], Check]:
    """A function that returns what is wrong (None: nothing) as a ``Check``; what it raises is a failure with its line."""

    def decorate(function: Callable[[Subject, list[Scene]], str | None]) -> Check:
        @wraps(function)
        def run(subject: Subject, scenes: list[Scene]) -> Finding:
            try:
                wrong = function(subject, scenes)
            except CaseFailure as refusal:
                return Finding(name, "note", f"the model refuses: {refusal}")
            except Exception as error:
                return Finding(name, "fail", raised(error), mend)
            return Finding(name, "fail", wrong, mend) if wrong else Finding(name, "pass", "")

        return run

    return decorate


def raised(error: Exception) -> str:
    """An exception in a line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    return f"raised {type(error).__name__}: {error}{place}"
