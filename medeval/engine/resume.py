"""What of a plan is already in the run folder, what can be scored again, and what contradicts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medeval.engine.plan import Plan, PlannedCell
from medeval.engine.worker import Job
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.parts import read_meta
from medeval.types import RunError


def pending(plan: Plan, planned: PlannedCell, folder: RunFolder, retry_errors: bool) -> list[Job]:
    """The jobs of one cell that are still to be done.

    Raises ``RunError`` saying what changed when kept records were made by another model, protocol or case content.
    """
    jobs = []
    for unit in planned.units:
        meta = folder.unit_meta(unit)
        if meta is None:
            jobs.append(_recovered(planned, folder, unit))
            continue
        _check(plan, planned, folder, unit, meta)
        if retry_errors and meta["missing"]:
            jobs.append(Job(unit))  # its journal stays: steps that were finished are not paid for twice
        elif meta["score"] != planned.score_hash:
            jobs.append(_rescore(folder, unit))
    return jobs


def _recovered(planned: PlannedCell, folder: RunFolder, unit: UnitName) -> Job:
    """A unit without records: its whole predictions part, if a kill left one, needs no model."""
    kept = read_meta(folder.part("predictions", unit))
    usable = kept is not None and kept["kept"] and kept["predict"] == planned.predict_hash
    return Job(unit, "score" if usable else "predict")


def _rescore(folder: RunFolder, unit: UnitName) -> Job:
    kept = read_meta(folder.part("predictions", unit))
    if kept is None or not kept["kept"]:
        raise RunError(
            f"{folder.path}: metrics changed, but the predictions of {unit.dataset} / {unit.model} were not kept, so they "
            "cannot be scored again; choose another output folder with --out"
        )
    return Job(unit, "score")


def _check(plan: Plan, planned: PlannedCell, folder: RunFolder, unit: UnitName, meta: Mapping[str, Any]) -> None:
    if meta["predict"] != planned.predict_hash:
        changes = _changes(folder, planned)
        raise RunError(
            f"{folder.path} holds records of {planned.label} made otherwise: {changes}. Give the changed model or task "
            "another name, or choose another output folder with --out"
        )
    now = plan.case_fingerprints(unit)
    changed = [case_id for case_id, known in meta["cases"].items() if now.get(case_id) != known]
    if changed:
        raise RunError(
            f"{folder.path} holds records of dataset {unit.dataset!r} whose files changed since: case {changed[0]!r}"
            f"{f' and {len(changed) - 1} more of its unit' if len(changed) > 1 else ''}. Give the dataset another name, "
            "or choose another output folder with --out"
        )


def _changes(folder: RunFolder, planned: PlannedCell) -> str:
    manifest = folder.manifest() or {}
    before: Mapping[str, Any] = manifest.get("cells", {}).get(planned.name, {}).get("predict", {})
    now = _plain(planned.predict)
    told = [
        f"{name} was {before.get(name, 'not set')}, is {now.get(name, 'not set')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return "; ".join(told) or "its protocol changed"


def _plain(parts: Mapping[str, Any]) -> dict[str, Any]:
    import json

    return json.loads(json.dumps(parts, default=str))
