"""What of a plan is already in the run folder, what can be scored again, and what contradicts it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from medeval.engine.plan import Plan, PlannedCell
from medeval.engine.reading import Job
from medeval.runs.compact import remove
from medeval.runs.folder import RunFolder, UnitName
from medeval.types import RunError


def pending(plan: Plan, planned: PlannedCell, folder: RunFolder, retry_errors: bool) -> list[Job]:
    """The jobs of one cell that are still to be done.

    Raises ``RunError`` saying what changed when kept records were made by another model, protocol or case content.
    """
    jobs = []
    for unit in planned.units:
        meta = folder.unit_meta(unit)
        if meta is None:
            jobs.append(_recovered(plan, planned, folder, unit))
            continue
        _check_made_alike(planned, folder, meta)
        retried = retry_errors and meta["missing"]
        if not retried:  # a broken file that was mended is what --retry-errors is for
            _check_content(plan, folder, unit, meta)
        if plan.answers.changed(unit, meta) or retried:
            jobs.append(Job(unit))  # its journal stays: steps that were finished are not paid for twice
        elif meta["score"] != planned.score_hash:
            jobs.append(_rescore(folder, unit))
    return jobs


def _recovered(plan: Plan, planned: PlannedCell, folder: RunFolder, unit: UnitName) -> Job:
    """A unit without records: its whole predictions part, if a kill left one, needs no model."""
    kept = folder.units.meta("predictions", unit)
    usable = (
        kept is not None
        and kept["kept"]
        and kept["predict"] == planned.predict_hash
        and kept["cases"] == plan.case_fingerprints(unit)
        and not plan.answers.changed(unit, kept)
    )
    return Job(unit, "score" if usable else "predict")


def _rescore(folder: RunFolder, unit: UnitName) -> Job:
    kept = folder.units.meta("predictions", unit)
    if kept is None or not kept["kept"]:
        raise RunError(
            f"{folder.path}: metrics changed, but the predictions of {unit.dataset} / {unit.model} were not kept, so they "
            "cannot be scored again; choose another output folder with --out"
        )
    return Job(unit, "score")


def _check_made_alike(planned: PlannedCell, folder: RunFolder, meta: Mapping[str, Any]) -> None:
    if meta["predict"] != planned.predict_hash:
        raise RunError(
            f"{folder.path} holds records of {planned.label} made otherwise: {_changes(folder, planned)}. Give the changed "
            "model, arm or task another name, or choose another output folder with --out"
        )


def _check_content(plan: Plan, folder: RunFolder, unit: UnitName, meta: Mapping[str, Any]) -> None:
    now = plan.case_fingerprints(unit)
    changed = [case_id for case_id, known in meta["cases"].items() if now.get(case_id) != known]
    if not changed:
        return
    more = f" and {len(changed) - 1} more of its unit" if len(changed) > 1 else ""
    mended = (
        "If that mended what had failed, add --retry-errors. Otherwise give" if meta["missing"] else "Give"
    )
    raise RunError(
        f"{folder.path} holds records of dataset {unit.dataset!r} whose files changed since: case {changed[0]!r}{more}. "
        f"{mended} the dataset another name, or choose another output folder with --out"
    )


def _changes(folder: RunFolder, planned: PlannedCell) -> str:
    manifest = folder.manifest() or {}
    before: Mapping[str, Any] = manifest.get("cells", {}).get(planned.name, {}).get("predict", {})
    now = json.loads(json.dumps(planned.predict, default=str))
    told = [
        f"{name} was {before.get(name, 'not set')}, is {now.get(name, 'not set')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return "; ".join(told) or "its protocol changed"


def drop_superseded(plan: Plan, folder: RunFolder) -> int:
    """Remove parts whose cases a unit of the same cell holds now (batches cut otherwise after the dataset grew).

    Parts of cells and cases that the suite no longer names stay. Returns the number of units removed.
    """
    planned = {unit.stem for cell in plan.cells for unit in cell.units}
    held: dict[str, set[str]] = {}
    for cell in plan.cells:
        ids = held.setdefault(json.dumps(cell.identity), set())
        ids.update(case_id for unit in cell.units for case_id in unit.case_ids)
    superseded = [
        stem
        for stem, meta in folder.units.metas("records", planned)
        if held.get(json.dumps(meta["cell"]), set()) & set(meta["cases"])
    ]
    remove(folder, superseded)
    return len(superseded)
