"""A finished (or half-finished) run, to be read: records, summary, timings, predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from medeval.runs.bundles import read_places
from medeval.runs.codecs import Packed, decode
from medeval.runs.columns import cases_frame
from medeval.runs.files import read_json
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.parts import KEYS, SORT
from medeval.runs.place import open_folder
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
        """Open a run: a folder, or a URL that fsspec reaches. Raises ``RunError`` when there is none."""
        return cls(open_folder(path))

    @property
    def path(self) -> Path:
        """The folder; of a run that lies elsewhere the copy on this machine, which may lack what nobody asked for yet."""
        return self._folder.path

    @property
    def where(self) -> str:
        """How the run is called in messages and opened again: its path or URL."""
        return self._folder.where

    def beside(self, name: str) -> Path:
        """Path of a file to be added to the run. Raises ``RunError`` for a run that lies elsewhere: nobody would publish it."""
        if self.where != str(self.path):
            raise RunError(f"{self.where}: lies elsewhere; say with --out where on this machine to write")
        return self.path / name

    def fetch(self, *rooms: str) -> Run:
        """Have these rooms (``"records"`` ...) on this machine, by default all; needed before files below ``path`` are read."""
        self._folder.need(*rooms)
        return self

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
        frame = self.record_table().to_pandas()
        return join_cases(frame, self._folder) if len(frame) else frame

    def record_table(self) -> pa.Table:
        """All records in the folder as Arrow holds them, sorted by key; columns that some parts lack hold nulls."""
        tables = [table for _, table in read_places(list(self._folder.units.places("records").values()))]
        if not tables:
            return pa.table({name: [] for name in SORT})
        return pa.concat_tables(tables, promote_options="default").sort_by(
            [(name, "ascending") for name in SORT]
        )

    def summary(self) -> dict[str, Any]:
        """The content of summary.json. Raises ``RunError`` when the run has not got that far."""
        path = self.path / "summary.json"
        if not path.exists():
            raise RunError(f"{self.where}: no summary yet; continue the run with `medeval run`")
        return read_json(path)

    def timings(self) -> pd.DataFrame:
        """Seconds of each encode, segment and score; outside of the records' identity."""
        tables = []
        for stem, place in self._folder.units.places("timings").items():
            table = self._folder.units.table("timings", place)
            tables.append(table.append_column("unit", pa.array([stem] * table.num_rows, pa.string())))
        return pa.concat_tables(tables).to_pandas() if tables else pa.table({}).to_pandas()

    def _parts(self, kind: str) -> list[Path]:
        return self._folder.parts(kind)

    def predictions(self) -> Iterator[tuple[str, Output]]:
        """(unit's file stem, kept output) of every answered key; a failed key has none."""
        for stem, place in self._folder.units.places("predictions").items():
            rows = self._folder.units.table("predictions", place).to_pylist()
            yield from ((stem, output) for output in kept_outputs(rows))

    def prediction(self, unit: UnitName, case_id: str, key: Key) -> Output | None:
        """The kept output for a key (or of the whole case); None when there is none."""
        return next(kept_outputs(self._folder.units.rows("predictions", unit), case_id, key), None)


def kept_outputs(
    rows: Iterable[Mapping[str, Any]], case_id: str | None = None, key: Key | None = None
) -> Iterator[Output]:
    """Decoded outputs of the rows of a predictions part; only what is asked for is unpacked."""
    for row in rows:
        found = Key(*(row[name] for name, _ in KEYS))
        wanted = (case_id in (None, row["case"])) and (key is None or found == key or found.structure == "*")
        if row["codec"] is not None and wanted:
            value = decode(Packed(row["codec"], row["meta"], row["payload"]))
            columns = json.loads(row["columns"]) if row["columns"] else {}
            yield Output(row["case"], found, value, Status(row["status"]), columns)


def join_cases(frame: pd.DataFrame, folder: RunFolder) -> pd.DataFrame:
    """The frame with ``patient`` and the cases' metadata; names that the frame has already are left as they are."""
    cases = cases_frame(
        {**row, "dataset": dataset} for dataset in frame["dataset"].unique() for row in folder.cases(dataset)
    )
    new = [name for name in cases.columns if name in ("dataset", "case") or name not in frame.columns]
    return frame.merge(cases[new], on=["dataset", "case"], how="left")
