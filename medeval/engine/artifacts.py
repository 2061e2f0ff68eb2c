"""What ``prepare`` makes: kept under a hash of all that it depends on, published by rename, shared by all that need it."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

from medeval.engine.plan import Plan, PlannedCell
from medeval.engine.reading import inputs_only
from medeval.runs.files import TEMPORARY, attempt
from medeval.runs.folder import RunFolder
from medeval.runs.journal import FileJournal
from medeval.tasks.context import Context


def artifact_folder(planned: PlannedCell, folder: RunFolder) -> Path:
    """Where the cell's prepared artifact is, or would be."""
    return folder.path / "artifacts" / planned.predict_hash


def prepared(plan: Plan, planned: PlannedCell, folder: RunFolder, model: Any) -> Path | None:
    """The folder of the cell's prepared artifact, made if it is not there; None when the task prepares nothing.

    Raises what the task's ``prepare`` raises; a half-made folder is removed.
    """
    cell = planned.cell
    if not cell.task.prepares_from():
        return None
    identity = planned.predict_hash  # it holds the content of these datasets, the model, the arm and the seed
    target = artifact_folder(planned, folder)
    if target.is_dir():
        folder.log("prepare", cell=planned.label, artifact=identity, reused=True)
        return target
    _make(plan, planned, folder, model, target)
    folder.log("prepare", cell=planned.label, artifact=identity, reused=False)
    return target


def _make(plan: Plan, planned: PlannedCell, folder: RunFolder, model: Any, target: Path) -> None:
    cell = planned.cell
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{target.name}")
    attempt(lambda: temporary.mkdir(parents=True), target)
    journal = FileJournal(folder.path / "journal" / f"prepare-{target.name}.jsonl")
    datasets = plan.datasets if cell.task.labels_for(cell.arm) else inputs_only(plan.datasets)
    structures = plan.datasets[
        cell.task.prepares_from()[0]
    ].structures  # never the target's: the artifact is shared
    context = Context(cell.seed, cell.arm, journal, datasets, structures)
    try:
        cell.task.prepare(model, cell.arm, temporary, context)
        attempt(lambda: temporary.rename(target), target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    journal.discard()
