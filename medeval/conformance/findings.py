"""What a check finds, what the checks are given, and which ones say nothing once another has failed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medeval.conformance.subjects import Subject
from medeval.conformance.surroundings import restored
from medeval.types import CaseFailure

Verdict = Literal["pass", "fail", "note"]


@dataclass(frozen=True)
class Told:
    """What is worth a word and judges nothing."""

    what: str


Found = str | tuple[str, str] | Told | None
"""What is wrong; with what would be right where that depends on what was seen; None: nothing is."""


@dataclass(frozen=True)
class Finding:
    """One line of the table. verdict: "note" tells and judges nothing. what: what was seen; mend: what would be right."""

    check: str
    verdict: Verdict
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    """One check. mend: what is mostly wrong when it fails. of: the protocols that it is for.

    needs: names of checks without which it says nothing: where one of them did not pass, it is not made.
    once: of the model, and not of each dimension.
    """

    name: str
    mend: str
    look: Callable[[Any, list[Any]], Found]
    of: type[Subject] | tuple[type[Subject], ...] = Subject
    needs: tuple[str, ...] = ()
    once: bool = False

    def made(self, subject: Subject, scenes: list[Any], before: Mapping[str, Finding]) -> Finding | None:
        """The finding on these scenes after those of earlier checks, by name; None for another protocol."""
        if not isinstance(subject, self.of):
            return None
        lacking = [name for name in self.needs if name in before and before[name].verdict != "pass"]
        if lacking:
            return Finding(self.name, "note", f"not checked: says nothing unless `{lacking[0]}` passes")
        try:
            with restored():
                found = self.look(subject, scenes)
        except CaseFailure as refusal:
            return Finding(self.name, "note", f"the model refuses: {refusal}")
        except Exception as error:
            return Finding(self.name, "fail", raised(error), self.mend)
        if found is None:
            return Finding(self.name, "pass", "")
        if isinstance(found, Told):
            return Finding(self.name, "note", found.what)
        what, mend = (found, self.mend) if isinstance(found, str) else found
        return Finding(self.name, "fail", what, mend)


def check(
    name: str, mend: str, of: type[Subject] | tuple[type[Subject], ...] = Subject, needs: tuple[str, ...] = (), *,
    once: bool = False,
) -> Callable[[Callable[[Any, list[Any]], Found]], Check]:  # fmt: skip
    """A function that returns what is wrong as a ``Check``; what it raises is a failure with its line."""
    return lambda function: Check(name, mend, function, of, needs, once)


def raised(error: Exception) -> str:
    """An exception in a line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    return f"raised {type(error).__name__}: {error}{place}"
