"""``save_predictions: true``: kept masks written as files that other programs open, on each case's own grid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medeval.datasets.images import write_mask
from medeval.engine.plan import Plan, PlannedCell
from medeval.runs.files import attempt
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.run import kept_outputs
from medeval.types import CaseFailure, Grid, Key, LabelMap, MaskStack, Output, Segmentation, digest

EXPORTED = "predictions"  # below artifacts/


def export_predictions(plan: Plan, folder: RunFolder) -> None:
    """Write ``artifacts/predictions/<model>/<dataset>/<task>/<case>_<structure>_<prompt>...`` for all kept masks.

    NIfTI in the order and affine of the case's own file, PNG for pictures and slices; a label map of all structures is one file, named as the
    case. Files newer than what they are made from are left as they are. Raises ``RunError`` for a full disk.
    """
    several_seeds = len(plan.suite.seeds) > 1
    for planned in plan.cells:
        target = folder.path / "artifacts" / EXPORTED / _folder_of(planned, several_seeds)
        for unit in planned.units:
            place = folder.units.place("predictions", unit)
            if place is not None:
                _export_unit(plan, folder, unit, place.path, target)


def _folder_of(planned: PlannedCell, several_seeds: bool) -> Path:
    cell = planned.cell
    variant = [cell.arm] if cell.arm else []
    variant += [f"seed {cell.seed}"] if several_seeds else []
    return Path(*(_safe(name) for name in (cell.model, cell.dataset, cell.task.label, *variant)))


def _export_unit(plan: Plan, folder: RunFolder, unit: UnitName, part: Path, target: Path) -> None:
    stamp = part.stat().st_mtime_ns
    marker = target / f".{unit.id}"  # its time says up to which part this unit was written
    if marker.exists() and marker.stat().st_mtime_ns >= stamp:
        return
    attempt(lambda: target.mkdir(parents=True, exist_ok=True), target)
    grids: dict[str, Grid | None] = {}
    for output in kept_outputs(folder.units.rows("predictions", unit)):
        if output.case_id not in grids:
            grids = {output.case_id: _grid(plan, folder, unit, output.case_id)}  # one case at a time
        grid = grids[output.case_id]
        for name, array in _masks(output) if grid is not None else ():
            path = target / f"{name}{'.png' if grid.ndim == 2 else '.nii.gz'}"  # type: ignore[union-attr]
            attempt(lambda path=path, array=array, grid=grid: write_mask(path, array, grid), path)  # type: ignore[misc]
    attempt(marker.touch, marker)


def _grid(plan: Plan, folder: RunFolder, unit: UnitName, case_id: str) -> Grid | None:
    try:
        image = plan.datasets[unit.dataset].read(case_id, ("inputs",)).inputs.get("image")
    except CaseFailure as error:
        folder.log("error", unit=unit.stem, error=f"prediction not written: {error}")
        return None
    return getattr(image, "grid", None)


def _masks(output: Output) -> Iterator[tuple[str, Any]]:
    """(file name without ending, array) of every mask in an output; nothing for text and numbers."""
    value, case = output.value, _safe(output.case_id)
    if isinstance(value, Segmentation):
        yield f"{case}{_suffix(output.key)}", value.mask
    elif isinstance(value, LabelMap):
        yield f"{case}{_suffix(output.key._replace(structure=''))}", value.array
    elif isinstance(value, MaskStack):
        for name, mask in value.masks.items():
            yield f"{case}{_suffix(output.key._replace(structure=name))}", mask


def _suffix(key: Key) -> str:
    words = [
        key.structure,
        key.prompt,
        f"round {key.round}" if key.round else "",
        f"sample {key.sample}" if key.sample else "",
    ]
    return "".join(f"_{_safe(word)}" for word in words if word)


def _safe(name: str) -> str:
    """The name as a file's; one that had to be changed gets a hash, so that no two become the same."""
    plain = name.replace(" ", "-")
    safe = re.sub(r"[^A-Za-z0-9_.+#-]+", "_", plain).lstrip(".")[:100] or "_"
    return safe if safe == plain else f"{safe}-{digest(name)[:6]}"
