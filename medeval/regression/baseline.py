"""A baseline is a run folder without what is large or tied to a machine: records, the index of cases, summary, manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from medeval.runs import Run
from medeval.runs.files import attempt, read_json, write_json, writing
from medeval.types import RunError

PARTS = "records.parquet"
_OF_A_MACHINE = ("machine", "git")


def keep_baseline(run: Run, folder: Path) -> Path:
    """Write a run's evidence as one folder of small files; an older baseline there is replaced.

    The result opens as a run (``Run.open``), and compares as one. Kept: every record in one Parquet file, the index of cases
    with their hashes, ``summary.json``, and the manifest without machine, folder and git state.
    Raises ``RunError`` when the run has no summary yet, or when ``folder`` holds something that is no baseline: a run,
    with its predictions, above all.
    """
    run.summary()
    if folder.exists() and not _replaceable(folder):
        raise RunError(f"{folder}: not empty, and no baseline; choose another folder")
    fresh = folder.with_name(f".{folder.name}.new")
    attempt(lambda: shutil.rmtree(fresh, ignore_errors=True), fresh)
    attempt(lambda: (fresh / "records").mkdir(parents=True), fresh)
    with writing(fresh / "records" / PARTS) as temporary:
        pq.write_table(run.record_table(), temporary, compression="zstd")
    attempt(lambda: shutil.copytree(run.path / "cases", fresh / "cases"), fresh)
    manifest = {k: v for k, v in read_json(run.path / "manifest.json").items() if k not in _OF_A_MACHINE}
    write_json(fresh / "manifest.json", {**manifest, "base": "."}, sort=False)
    write_json(fresh / "summary.json", read_json(run.path / "summary.json"))
    attempt(lambda: shutil.rmtree(folder, ignore_errors=True), folder)
    attempt(lambda: fresh.rename(folder), folder)
    return folder


def _replaceable(folder: Path) -> bool:
    """True for an empty folder and for a baseline, whose manifest names no machine."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return not any(folder.iterdir())
    return not set(_OF_A_MACHINE) & set(read_json(manifest))
