"""What a run ends with when its suite declares an endpoint: the outcome in summary.json and first in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medeval.decisions.endpoint import endpoint_views, outcome
from medeval.decisions.evidence import RunEvidence
from medeval.report import Section
from medeval.runs import Run
from medeval.runs.files import write_json
from medeval.suite.declared import Declared


def conclude(folder: Path) -> dict[str, Any] | None:
    """Evaluate the declared endpoint and add it to summary.json as ``endpoint``; None where none is declared.

    Raises ``RunError`` where the baseline, or every model to be compared, has no scores.
    """
    run = Run.open(folder)
    if not Declared.of(run.manifest["suite"]):
        return None
    found = outcome(RunEvidence(run))
    plain = None if found is None else found.plain()
    write_json(folder / "summary.json", {**run.summary(), "endpoint": plain})
    return plain


def endpoint_sections(found: dict[str, Any] | None) -> list[Section]:
    """The confirmatory part of the report, told apart from all that follows."""
    if found is None:
        return []
    verdict = "met" if found["met"] else "not met"
    text = (
        f"The endpoint that the suite declared before scoring (sha256 {found['sha256'][:12]}) is {verdict}. Family of the "
        f"correction: {found['family']}. Everything below this section is exploratory: its intervals and tests are not part "
        "of that family."
    )
    return [Section("Declared endpoint", endpoint_views(found), text)]


def endpoint_missed(run: Run) -> bool:
    """True when the suite declared an endpoint that this run does not meet: exit code 1."""
    found = run.summary().get("endpoint")
    return found is not None and not found["met"]
