"""Ten million records summarised in a fresh process: rows a second and the peak memory of the whole process.

    OMP_NUM_THREADS=1 python benchmarks/perf/bench_scale.py [--rows 10_000_000] [--cells 1] [--case-rows 100]
    OMP_NUM_THREADS=1 pytest benchmarks/perf/bench_scale.py -o addopts= -s      # one cell, then twenty, of ten million

Records are written as a run would have left them (2,000 parts of 5,000 rows for ten million), then ``finish`` bundles the
parts, scores three metrics over all records, by structure and by site, and writes summary and report. Memory is
``getrusage``'s, in the child that does it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medeval.datasets.base import Dataset
from medeval.engine.finish import finish
from medeval.engine.manifest import make_manifest
from medeval.engine.plan import Plan, PlannedCell
from medeval.metrics.masks import MaskPair
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.parts import META, record_schema
from medeval.suite import Suite
from medeval.tasks.base import Task
from medeval.types import Case, CaseInfo, Key, Unit

UNIT_CASES, PROMPTS, CASES_A_PATIENT = 50, ("box", "1 click", "3 clicks", "5 clicks", "scribble"), 5
LIMIT_MIB = 2048


class Many(Dataset):
    """Cases without content, five a patient, of four sites."""

    cases: int = 1000

    def scan(self) -> Sequence[CaseInfo]:
        return [
            CaseInfo(f"case{n:07d}", f"patient{n // CASES_A_PATIENT:06d}", {"site": "ABCD"[n % 4], "age": n % 80})
            for n in range(self.cases)
        ]  # fmt: skip

    def read(self, case_id: str, fields: Sequence[str] = ("inputs", "reference")) -> Case:
        return self.case(case_id, {}, {})

    def sources(self, case_id: str) -> dict[str, Path]:
        return {}


class Told(Task):
    """Records that were never predicted: they are written by this file."""

    pair: ClassVar[type] = MaskPair
    columns: ClassVar[dict[str, str]] = {"voxels_reference": "int64", "voxels_prediction": "int64"}
    task: str = "told"
    unit_cases: int = UNIT_CASES
    metrics: tuple[str, ...] = ("dice", "nsd@2mm", "hd95")

    def units(self, index: Any) -> Iterator[Unit]:
        for start in range(0, len(index), self.unit_cases):
            yield Unit(tuple(index.ids[start : start + self.unit_cases]))

    def owed(self, case: Case, context: Any) -> list[Key]:
        return []

    def predict(self, model: Any, cases: Any, context: Any) -> Iterator[Any]:
        return iter(())

    def score(self, case: Case, output: Any, context: Any) -> list[Any]:
        return []


class Nobody:
    """A model that is never asked."""


def make_suite(folder: Path, cases: int, models: int, **task: Any) -> Suite:
    """The suite of these records."""
    here = Path(__file__).resolve()
    plain = {
        "name": "scale",
        "datasets": {"many": {"format": f"{here}:Many", "cases": cases}},
        "models": {f"m{n:02d}": {"adapter": f"{here}:Nobody"} for n in range(models)},
        "tasks": [{"task": f"{here}:Told", "name": "told", "by": ["structure", "site"], **task}],
    }
    return Suite.from_dict(plain, base=folder)


def write_run(folder: Path, rows: int, cells: int, case_rows: int, **task: Any) -> None:
    """A run folder that lacks its summary alone."""
    cases = max(UNIT_CASES, rows // cells // case_rows)
    plan = Plan(make_suite(folder, cases, cells, **task))
    run = RunFolder(folder)
    run.create()
    for name, dataset in plan.datasets.items():
        run.write_cases(name, list(dataset.index), plan.fingerprints[name])
    run.write_manifest(make_manifest(plan, None))
    draw = np.random.default_rng(0)
    for planned in plan.cells:
        for unit in planned.units:
            _write_unit(plan, planned, unit, run, case_rows, draw)


def _write_unit(
    plan: Plan, planned: PlannedCell, unit: UnitName, run: RunFolder, case_rows: int, draw: np.random.Generator
) -> None:  # fmt: skip
    names = [f"organ{n:02d}" for n in range(max(1, case_rows // len(PROMPTS)))]
    case, structure, prompt = np.meshgrid(
        np.arange(len(unit.case_ids)), np.arange(len(names)), np.arange(len(PROMPTS)), indexing="ij"
    )
    size = case.size
    failed = draw.random(size) < 0.005
    columns: dict[str, Any] = {
        "task": [planned.cell.task.label] * size, "dataset": [unit.dataset] * size, "model": [unit.model] * size,
        "arm": [""] * size, "seed": np.zeros(size, np.int64),
        "case": np.array(unit.case_ids)[case.ravel()], "structure": np.array(names)[structure.ravel()],
        "prompt": np.array(sorted(PROMPTS))[prompt.ravel()], "round": np.ones(size, np.int32),
        "sample": np.zeros(size, np.int32),
        "status": np.where(failed, "model_failed", "ok"),
        "error": [f"ValueError: {n % 7}" if bad else None for n, bad in enumerate(failed)],
        "voxels_reference": draw.integers(1, 100_000, size), "voxels_prediction": draw.integers(0, 100_000, size),
        "dice": np.where(failed, 0.0, draw.beta(14, 2, size)),
        "nsd@2mm": np.where(failed, 0.0, draw.beta(9, 2, size)),
        "hd95": pa.array(draw.gamma(2, 4, size), mask=draw.random(size) < 0.02),
    }  # fmt: skip
    schema = record_schema(planned.cell.task)
    arrays = [
        pa.array(columns[item.name], item.type) if item.name in columns else pa.nulls(size, item.type)
        for item in schema
    ]
    meta = {
        "predict": planned.predict_hash, "score": planned.score_hash, "cell": planned.identity, "missing": 0,
        "cases": plan.case_fingerprints(unit),
    }  # fmt: skip
    table = pa.Table.from_arrays(arrays, schema=schema.with_metadata({META: json.dumps(meta).encode()}))
    pq.write_table(table, run.part("records", unit), compression="zstd")


def summarised(folder: Path, rows: int, cells: int, case_rows: int) -> dict[str, float]:
    """Finish the run in this process; seconds by the wall and of CPU, and MiB before and at the peak."""
    plan = Plan(make_suite(folder, max(UNIT_CASES, rows // cells // case_rows), cells))
    before, begin, used = peak_mib(), time.perf_counter(), time.process_time()
    finish(plan, RunFolder(folder), report=True)
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    return {"seconds": seconds, "cpu": used, "before": before, "peak": peak_mib()}


def peak_mib() -> float:
    """The most memory that this process has ever held. Of Linux: KiB; of macOS: bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measured(rows: int, cells: int, case_rows: int = 100) -> dict[str, float]:
    """Write a run, and finish it in a fresh process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        write_run(folder, rows, cells, case_rows)
        told = subprocess.run(
            [sys.executable, __file__, "--finish", str(folder), "--rows", str(rows), "--cells", str(cells),
             "--case-rows", str(case_rows)], capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(told.stdout.splitlines()[-1])


@pytest.mark.parametrize("cells", [1, 20])
def test_ten_million_records(cells: int, record_property: Any) -> None:
    found = measured(10_000_000, cells)
    print(f"\n10,000,000 records in {cells} cells: {told(found, 10_000_000)}")
    record_property(f"peak_mib_{cells}_cells", found["peak"])
    assert found["peak"] < LIMIT_MIB


def told(found: dict[str, float], rows: int) -> str:
    """One line of a measurement."""
    return (
        f"{found['seconds']:.1f} s ({found['cpu']:.1f} s of CPU, {rows / found['cpu']:,.0f} rows/s), "
        f"peak {found['peak']:,.0f} MiB ({found['before']:,.0f} before)"
    )


def main() -> None:
    """The command of the first line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--case-rows", type=int, default=100)
    parser.add_argument("--finish", type=Path)
    asked = parser.parse_args()
    if asked.finish is not None:
        print(json.dumps(summarised(asked.finish, asked.rows, asked.cells, asked.case_rows)))
    else:
        print(told(measured(asked.rows, asked.cells, asked.case_rows), asked.rows))


if __name__ == "__main__":
    main()
