"""All checks on one model, as findings and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medeval.conformance.contract import CONTRACT, answers
from medeval.conformance.findings import Finding
from medeval.conformance.repeats import REPEATS
from medeval.conformance.scenes import scenes
from medeval.conformance.speed import speed
from medeval.conformance.subjects import Recipe, Subject, subject_for
from medeval.types import PluginError
from medeval.types.views import Column, Table


def check_model(
    reference: str,
    options: Mapping[str, Any] | None = None,
    *,
    task: str | None = None,
    base: Path | None = None,
) -> list[Finding]:
    """Every check on a model that is built from its reference, in each dimension that it takes.

    reference: as a suite's ``adapter:``. options: its other keys. task: whose protocol; default: the first that fits.
    base: folder that relative paths belong to.
    Where the first answer already fails, the later checks of that dimension are not made.
    Raises ``PluginError`` when the model cannot be built, is no model, or has no protocol that is checked.
    """
    subject = subject_for(Recipe(reference, options or {}, base), task)
    dimensions = sorted(getattr(subject.takes, "dimensions", (2,)))
    if not dimensions:
        raise PluginError(
            f"{reference}: `takes.dimensions` is empty; frozenset({{2}}), {{3}} or both is expected"
        )
    found: list[Finding] = []
    for ndim in dimensions:
        found += [_in_dimension(finding, ndim, len(dimensions)) for finding in _checked(subject, ndim)]
    return found


def _checked(subject: Subject, ndim: int) -> list[Finding]:
    """The findings of one dimension."""
    images = scenes(ndim)
    first = answers(subject, images)
    if first.verdict == "note":
        return [first]
    if first.what.startswith("raised"):
        return [first, Finding("the rest", "note", "not checked: the first answer was an error")]
    found = [first, *(check(subject, images) for check in CONTRACT[1:])]
    found += [check(subject, images) for check in REPEATS]
    if first.verdict == "pass":
        found.append(speed(subject, images))
    return found


def _in_dimension(finding: Finding, ndim: int, dimensions: int) -> Finding:
    name = f"{finding.check} ({ndim}D)" if dimensions > 1 else finding.check
    return Finding(name, finding.verdict, finding.what, finding.mend)


def findings_table(reference: str, found: Sequence[Finding]) -> Table:
    """The findings as a table: check, verdict, what was seen, what to mend."""
    columns = [Column("check"), Column("verdict"), Column("what"), Column("mend", "what would be right")]
    rows = [
        {
            "check": f.check,
            "verdict": f.verdict,
            "what": f.what,
            "mend": f.mend if f.verdict == "fail" else "",
        }
        for f in found
    ]
    return Table(f"conformance of {reference}", columns, rows)
