"""A finished (or half-finished) run, to be read: records, summary, timings, predictions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from medeval.runs.codecs import Packed, decode
from medeval.runs.files import read_json
from medeval.runs.folder import RunFolder, UnitName, open_folder
from medeval.runs.parts import KEYS, SORT, read_part
from medeval.suite import Suite
from medeval.types import Key, Output, RunError, Status

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """One run folder. ``Run.open(path).records()`` is the table of evidence, ``.summary()`` the scores.

    >>> run = Run.open("runs/demo")                                           # doctest: +SKIP
    >>> run.records().groupby("model")["dice"].mean()                          # doctest: +SKIP
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run folder. Raises ``RunError`` when it is none."""
        return cls(open_folder(Path(path)))

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run: suite, datasets, cells, versions, machine."""
        return self._folder.manifest() or {}

    def suite(self) -> Suite:
        """The suite as it was resolved."""
        manifest = self.manifest
        return Suite.from_dict(manifest["suite"], base=Path(manifest["base"]))

    def shard(self) -> str:
        """``"1/1"`` for a whole run, else which part of one."""
        return self.manifest["shard"]

    def records(self) -> pd.DataFrame:
        """One row a (case, structure, prompt, round ...), with the case's patient and metadata joined, sorted by key.

        All records in the folder, also of cells that the suite no longer names.
        """
        frame = read_records(self._parts("records"))
        return join_cases(frame, self._folder) if len(frame) else frame

    def summary(self) -> dict[str, Any]:
        """The content of summary.json. Raises ``RunError`` when the run has not got that far."""
        path = self.path / "summary.json"
        if not path.exists():
            raise RunError(f"{self.path}: no summary yet; continue the run with `medeval run`")
        return read_json(path)

    def timings(self) -> pd.DataFrame:
        """Seconds of each encode, segment and score; outside of the records' identity."""
        tables = []
        for path in self._parts("timings"):
            table = read_part(path)
            tables.append(table.append_column("unit", pa.array([path.stem] * table.num_rows, pa.string())))
        return pa.concat_tables(tables).to_pandas() if tables else pa.table({}).to_pandas()

    def _parts(self, kind: str) -> list[Path]:
        """Whole parts; one that is being written has a name that begins with a dot."""
        return sorted((self.path / kind).glob("[!.]*.parquet"))

    def predictions(self) -> Iterator[tuple[str, Output]]:
        """(unit's file stem, kept output) of every answered key; a failed key has none."""
        for path in self._parts("predictions"):
            yield from ((path.stem, output) for output in kept_outputs(path))

    def prediction(self, unit: UnitName, case_id: str, key: Key) -> Output | None:
        """The kept output for a key (or of the whole case); None when there is none."""
        path = self._folder.part("predictions", unit)
        if not path.exists():
            return None
        for output in kept_outputs(path, case_id, key):
            return output
        return None


def kept_outputs(path: Path, case_id: str | None = None, key: Key | None = None) -> Iterator[Output]:
    """Decoded outputs of a predictions part; only what is asked for is unpacked."""
    for row in read_part(path).to_pylist():
        found = Key(*(row[name] for name, _ in KEYS))
        wanted = (case_id in (None, row["case"])) and (key is None or found == key or found.structure == "*")
        if row["codec"] is not None and wanted:
            value = decode(Packed(row["codec"], row["meta"], row["payload"]))
            columns = json.loads(row["columns"]) if row["columns"] else {}
            yield Output(row["case"], found, value, Status(row["status"]), columns)


def read_records(paths: Sequence[Path]) -> pd.DataFrame:
    """Records of these parts as one frame sorted by key; columns that some parts lack are filled with nulls."""
    tables = [read_part(path).replace_schema_metadata(None) for path in paths]
    if not tables:
        return pa.table({name: [] for name in SORT}).to_pandas()
    table = pa.concat_tables(tables, promote_options="default")
    return table.sort_by([(name, "ascending") for name in SORT]).to_pandas()


def join_cases(frame: pd.DataFrame, folder: RunFolder) -> pd.DataFrame:
    """The frame with ``patient`` and the cases' metadata; names that the frame has already are left as they are."""
    import pandas as pd

    rows = [
        {**json.loads(row["metadata"]), "dataset": dataset, "case": row["case"], "patient": row["patient"]}
        for dataset in frame["dataset"].unique()
        for row in folder.cases(dataset)
    ]
    cases = pd.DataFrame(rows, columns=None if rows else ["dataset", "case", "patient"])
    new = [name for name in cases.columns if name in ("dataset", "case") or name not in frame.columns]
    return frame.merge(cases[new], on=["dataset", "case"], how="left")
