"""Shards of one run put together; the result equals the unsharded run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from medeval.engine.export import EXPORTED, export_predictions
from medeval.engine.finish import finish
from medeval.engine.manifest import make_manifest
from medeval.engine.plan import Plan
from medeval.runs.compact import absorb, tidy
from medeval.runs.files import TEMPORARY, attempt
from medeval.runs.folder import RunFolder
from medeval.runs.place import open_folder, opened
from medeval.runs.run import Run
from medeval.types import RunError

PARTS = ("records", "predictions", "timings", "journal")


def merge(out: Path | str, shards: Sequence[Path | str]) -> Run:
    """Copy the shards' parts into ``out`` and sum them up.

    Raises ``RunError`` when a folder is no run, when the shards are not of one suite and data, or when units are missing.
    """
    if not shards:
        raise RunError("nothing to merge: name the folders of the shards")
    runs = [Run(open_folder(path)) for path in shards]
    _check(runs)
    with opened(out) as folder:
        for source in runs:
            _copy(source.fetch().path, folder)
        tidy(folder)
        plan = Plan(runs[0].suite())
        _check_data(plan, runs)
        for source in runs:
            plan.trust(source.manifest["cells"])
        for name, dataset in plan.datasets.items():
            folder.write_cases(name, list(dataset.index), plan.fingerprints[name])
        folder.write_manifest(make_manifest(plan, folder.manifest()))
        _check_whole(plan, folder)
        folder.log("merge", shards=[source.where for source in runs])
        finish(plan, folder, report=True)
        if plan.suite.save_predictions:
            export_predictions(plan, folder)
    return Run(folder)


def _check(runs: Sequence[Run]) -> None:
    first = runs[0]
    for other in runs[1:]:
        if other.manifest["suite"] != first.manifest["suite"]:
            raise RunError(
                f"{other.path} is a run of another suite than {first.path}; shards come from one suite"
            )
        told = _differing_cells(first, other)
        if told:
            raise RunError(f"{other.path} was made otherwise than {first.path}: {told}")
        if other.manifest["datasets"] != first.manifest["datasets"]:
            raise RunError(
                f"{other.path} saw other data than {first.path} (the datasets' fingerprints differ)"
            )


def _differing_cells(first: Run, other: Run) -> str:
    """What differs between the models and protocols of two shards of one suite, "" when nothing does."""
    cells = first.manifest["cells"]
    for name, cell in other.manifest["cells"].items():
        if cells.get(name, cell).get("answers") != cell.get("answers"):
            return f"{name}: the predictions that it was given are others"
        before, now = cells.get(name, cell)["predict"], cell["predict"]
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if changed:
            return f"{name}: {changed[0]} was {before.get(changed[0])} there, is {now.get(changed[0])} here"
    return ""


def _check_data(plan: Plan, runs: Sequence[Run]) -> None:
    now = make_manifest(plan, None)["datasets"]
    if now != runs[0].manifest["datasets"]:
        raise RunError(
            f"the data have changed since {runs[0].path} was run (the datasets' fingerprints differ)"
        )


def _copy(source: Path, folder: RunFolder) -> None:
    target = folder.path
    for kind in PARTS:
        absorb(source, folder, kind)
    for path in sorted((source / "artifacts").iterdir()):
        place = target / "artifacts" / path.name
        if path.is_dir() and not path.name.startswith(".") and path.name != EXPORTED and not place.exists():
            partial = place.with_name(f"{TEMPORARY}{place.name}")
            attempt(lambda path=path, partial=partial: shutil.copytree(path, partial), place)  # type: ignore[misc]
            attempt(lambda partial=partial, place=place: partial.rename(place), place)  # type: ignore[misc]


def _check_whole(plan: Plan, folder: RunFolder) -> None:
    units = [unit for planned in plan.cells for unit in planned.units]
    missing = [unit for unit in units if folder.unit_meta(unit) is None]
    if missing:
        raise RunError(
            f"{len(missing)} of {len(units)} units are in none of the shards, for example {missing[0].stem}; run the "
            f"missing shards and merge again (what is there was copied to {folder.path})"
        )
