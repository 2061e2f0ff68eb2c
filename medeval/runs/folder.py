"""The run folder: where everything lies, and which units are done.

manifest.json   the suite as resolved, fingerprints, versions, machine, seeds
cases/          the index of each dataset, once; `by:` joins it
records/        one Parquet part a unit, many of them bundled: keys, status, the task's columns, metric values
predictions/    what the models answered, packed (kept by default)
timings/        everything measured by a clock, outside of a record's identity
journal/        finished steps of units in flight or of dialogues
artifacts/      prepared models, exported masks
summary.json    a function of records, suite and version alone
report.html, log.jsonl
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from medeval.runs.bundles import Parts
from medeval.runs.files import attempt, read_json, write_json
from medeval.runs.parts import read_meta, read_part, write_part
from medeval.types import CaseInfo, Unit, digest

SUBFOLDERS = ("cases", "records", "predictions", "timings", "journal", "artifacts")


@dataclass(frozen=True)
class UnitName:
    """A unit's place in the run: ``stem`` is the file name of its parts, without ending."""

    task: str
    dataset: str
    model: str
    arm: str
    seed: int
    case_ids: tuple[str, ...]

    @property
    def id(self) -> str:
        """A hash of all that names the unit, 20 hex digits."""
        return digest(self.task, self.dataset, self.model, self.arm, self.seed, *self.case_ids)[:20]

    @property
    def stem(self) -> str:
        """Readable and safe on every file system."""
        words = (self.task, self.dataset, self.model)
        return "-".join([*(re.sub(r"[^A-Za-z0-9_.]+", "_", word)[:24] for word in words), self.id])


class RunFolder:
    """Paths of one run and the plain reading and writing of its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log_lock = threading.Lock()

    def create(self) -> None:
        """Make the folder and its rooms; ``RunError`` when that is not possible."""
        for name in SUBFOLDERS:
            target = self.path / name
            attempt(lambda target=target: target.mkdir(parents=True, exist_ok=True), self.path)  # type: ignore[misc]

    @cached_property
    def units(self) -> Parts:
        """The units' parts, each a file of its own or bundled with others."""
        return Parts(self)

    @property
    def where(self) -> str:
        """How the run is called in messages and opened again: its path, or the URL where it is published."""
        return str(self.path)

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is."""
        return self.path / "manifest.json"

    def manifest(self) -> dict[str, Any] | None:
        """The manifest, or None in a new folder. ``RunError`` when it is broken."""
        return read_json(self.manifest_path) if self.manifest_path.exists() else None

    def part(self, kind: str, unit: UnitName) -> Path:
        """Path of a unit's part: kind is records, predictions or timings."""
        return self.path / kind / f"{unit.stem}.parquet"

    def parts(self, kind: str, pattern: str = "[!.]*.parquet") -> list[Path]:
        """Whole files of a room, sorted by name; one that is being written has a name that begins with a dot."""
        return sorted((self.path / kind).glob(pattern))

    def drop(self, kind: str, name: str) -> None:
        """Remove one file of a room; it may be missing."""
        (self.path / kind / name).unlink(missing_ok=True)

    def finished(self, unit: UnitName) -> None:
        """All parts of a unit are there. A run that lies elsewhere publishes them; here there is nothing to do."""

    def need(self, *rooms: str) -> None:
        """Have these rooms on this machine, by default all; a run that lies elsewhere is fetched as it is needed."""

    def elsewhere(self) -> dict[str, str]:
        """name -> SHA-256 of the run's files that are not on this machine; none for a plain folder."""
        return {}

    def journal(self, unit: UnitName, made_under: Sequence[str]) -> Path:
        """Path of a unit's journal. made_under: hashes of all that its steps depend on beside the unit's name."""
        return self.path / "journal" / f"{unit.stem}-{digest(*made_under)[:12]}.jsonl"

    def unit_meta(self, unit: UnitName) -> dict[str, Any] | None:
        """What a finished unit was made under; None when there is no whole part of it."""
        return self.units.meta("records", unit)

    def write_cases(self, dataset: str, cases: Sequence[CaseInfo], fingerprints: Mapping[str, str]) -> None:
        """Keep a dataset's index with each case's fingerprint; cases of an earlier, wider index are kept too."""
        rows = {row["case"]: row for row in self.cases(dataset)}
        for info in cases:
            rows[info.id] = {
                "case": info.id,
                "patient": info.patient,
                "fingerprint": fingerprints[info.id],
                "metadata": json.dumps(dict(info.metadata), sort_keys=True, default=str),
                "structures": json.dumps(list(info.structures)),
            }
        write_part(self._cases_path(dataset), (rows[i] for i in sorted(rows)), CASES, {"dataset": dataset})

    def cases(self, dataset: str) -> list[dict[str, Any]]:
        """The kept index rows of a dataset; [] when there are none."""
        path = self._cases_path(dataset)
        return [] if read_meta(path) is None else read_part(path).to_pylist()

    def _cases_path(self, dataset: str) -> Path:
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", dataset)
        return self.path / "cases" / f"{safe}-{digest(dataset)[:8]}.parquet"

    def log(self, event: str, **fields: Any) -> None:
        """Append one line to log.jsonl."""
        line = json.dumps(
            {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **fields}, default=str
        )
        with self._log_lock:
            attempt(lambda: self._append(line), self.path / "log.jsonl")

    def _append(self, line: str) -> None:
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest whole; the order of a suite's models and datasets is that of its tables, so it is kept."""
        write_json(self.manifest_path, manifest, sort=False)


CASES = pa.schema(
    [
        ("case", pa.string()),
        ("patient", pa.string()),
        ("fingerprint", pa.string()),
        ("metadata", pa.string()),
        ("structures", pa.string()),
    ]
)


def unit_name(task: str, dataset: str, model: str, arm: str, seed: int, unit: Unit) -> UnitName:
    """The name of a unit of one cell."""
    return UnitName(task, dataset, model, arm, seed, unit.case_ids)
