"""Many small parts of units made few large files: a run of 100,000 units must not stay 300,000 files.

A bundle is written whole beside the parts, renamed into place, and only then are the parts removed: killed at any moment
nothing is lost, and what is there twice is told apart as ``runs.bundles`` says. Units that are scored again are parts of
their own until the next time; the bundle that held them is then written anew without them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medeval.runs.bundles import ENDING, PATTERN, Bundle, generation
from medeval.runs.files import writing
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.parts import META, read_part
from medeval.types import RunError, digest

_LOOSE_ENDING = ".parquet"
KINDS = ("predictions", "timings", "records")
LOOSE = 512  # parts of their own that a room may hold; only beyond it is anything bundled
SMALL_BYTES = 2**20  # a larger part stays a file of its own
BUNDLE_UNITS, BUNDLE_BYTES = 4096, 128 * 2**20  # of one bundle at most; bytes as Arrow holds them
GROUP_ROWS, GROUP_BYTES = 2**16, 8 * 2**20  # of one row group: what is decoded to reach one unit


def compact(folder: RunFolder, cells: Iterable[Sequence[UnitName]], most_loose: int | None = None) -> int:
    """Bundle the small parts of these cells if more than ``most_loose`` (``LOOSE``) units have a records part of their own.

    cells: the units of each cell, in their order. Returns the number of parts that are bundled now and were not before. The
    run must be locked.
    """
    _drop_torn(folder, "records")
    most = LOOSE if most_loose is None else most_loose
    if sum(1 for _ in _loose(folder, "records")) <= most:
        return 0
    for kind in KINDS:
        _drop_torn(folder, kind)
    groups = [[unit.stem for unit in units] for units in cells]
    bundled = sum(_compact_room(folder, kind, groups) for kind in KINDS)
    tidy(folder)
    return bundled


def remove(folder: RunFolder, stems: Collection[str]) -> None:
    """Remove units from all rooms, wherever they lie."""
    for kind in reversed(KINDS) if stems else ():  # the records part is the commit: it goes first
        for stem in stems:
            folder.drop(kind, f"{stem}{_LOOSE_ENDING}")
        _rewrite(folder, kind, set(stems))


def tidy(folder: RunFolder) -> None:
    """Write anew the bundles that hold units which another bundle of a higher generation holds too."""
    for kind in KINDS:
        _rewrite(folder, kind)


def absorb(source: Path, folder: RunFolder, kind: str) -> None:
    """Copy a room of another run: its units count, whatever was here of them."""
    files = sorted(path for path in (source / kind).iterdir() if not path.name.startswith("."))
    for path in (path for path in files if path.name.endswith(ENDING)):
        bundle = Bundle.read(path)
        _copied(path, _fresh_name(folder, kind, bundle.words, bundle.stems[0]))
        for stem in bundle.stems:
            folder.drop(kind, f"{stem}{_LOOSE_ENDING}")
    for path in (path for path in files if not path.name.endswith(ENDING)):
        _copied(path, folder.path / kind / path.name)
    folder.units.refresh()


def _drop_torn(folder: RunFolder, kind: str) -> None:
    """Remove bundles that are torn: their units were done again, or are by the next run."""
    torn = folder.units.room(kind).torn
    for path in torn:
        folder.drop(kind, path.name)
        folder.log("error", error=str(torn[path]))
    if torn:
        folder.units.refresh()


def _copied(path: Path, target: Path) -> None:
    with writing(target) as temporary:
        shutil.copyfile(path, temporary)


def _loose(folder: RunFolder, kind: str) -> Iterator[Path]:
    return (path for path in folder.parts(kind) if not path.name.endswith(ENDING))


def _fresh_name(folder: RunFolder, kind: str, words: str, stem: str) -> Path:
    """A bundle's name of a generation above all others. words: of its cell. stem: its first unit."""
    number = 1 + max((generation(path) for path in folder.parts(kind, PATTERN)), default=0)
    return folder.path / kind / f"{words}-{digest(stem)[:12]}-{number:06d}{ENDING}"


def _compact_room(folder: RunFolder, kind: str, cells: Sequence[Sequence[str]]) -> int:
    """Bundle the small parts of one room, cell by cell."""
    loose = {path.stem: path for path in _loose(folder, kind)}
    bundled = 0
    for stems in cells:
        small = ((s, loose[s]) for s in stems if s in loose and loose[s].stat().st_size <= SMALL_BYTES)
        for done in _written(folder, kind, _loose_units(small)):
            folder.units.refresh()
            for stem in done:
                folder.drop(kind, f"{stem}{_LOOSE_ENDING}")
            bundled += len(done)
    return bundled


def _rewrite(folder: RunFolder, kind: str, but: Container[str] = ()) -> None:
    """Write bundles anew without these units, and without what counts in another bundle."""
    room = folder.units.room(kind)
    for bundle in room.bundles:
        live = [s for s in bundle.stems if s not in but and room.units[s][0].path == bundle.path]
        if len(live) < len(bundle.stems):
            units = (_Unit(s, room.units[s][1], room.table(room.units[s][0], None)) for s in live)
            for _ in _written(folder, kind, units):
                pass
            folder.drop(kind, bundle.path.name)
    folder.units.refresh()


@dataclass(frozen=True, eq=False)
class _Unit:
    """One unit's rows on their way into a bundle. meta: JSON of what its part was made under."""

    stem: str
    meta: str
    table: pa.Table


def _loose_units(sources: Iterable[tuple[str, Path]]) -> Iterator[_Unit]:
    """The units of whole parts; a torn one stays as it is, and is done again by the next run."""
    for stem, path in sources:
        try:
            table = read_part(path)
            meta = json.loads((table.schema.metadata or {})[META])
        except (RunError, KeyError, ValueError):
            continue
        yield _Unit(stem, json.dumps(meta, sort_keys=True), table.replace_schema_metadata(None))


@dataclass(eq=False)
class _Filling:
    """A bundle while it is filled, one row group at a time."""

    writer: pq.ParquetWriter
    stems: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    metas: list[str] = field(default_factory=list)
    waiting: list[pa.Table] = field(default_factory=list)
    bytes: int = 0
    group_rows: int = 0
    group_bytes: int = 0

    def add(self, unit: _Unit) -> None:
        """Take a unit; write the row group that it fills."""
        self.stems.append(unit.stem)
        self.metas.append(unit.meta)
        self.ends.append((self.ends[-1] if self.ends else 0) + unit.table.num_rows)
        self.waiting.append(unit.table)
        self.bytes += unit.table.nbytes
        self.group_bytes += unit.table.nbytes
        self.group_rows += unit.table.num_rows
        if self.group_rows >= GROUP_ROWS or self.group_bytes >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one row group: a unit lies in one group, whole."""
        if self.waiting:
            table = pa.concat_tables(self.waiting)
            self.writer.write_table(table, row_group_size=max(1, table.num_rows))
            self.waiting.clear()
            self.group_rows = self.group_bytes = 0

    @property
    def full(self) -> bool:
        """True when the next unit belongs into the next bundle."""
        return len(self.stems) >= BUNDLE_UNITS or self.bytes >= BUNDLE_BYTES

    def close(self, path: Path) -> None:
        """Write the last row group and the index of what will be ``path``."""
        self.flush()
        rows = list(pairwise([0, *self.ends]))
        self.writer.add_key_value_metadata(Bundle(path, self.stems, rows, self.metas).footer())
        self.writer.close()


def _written(folder: RunFolder, kind: str, units: Iterator[_Unit]) -> Iterator[list[str]]:
    """Write the units, in their order, as bundles; yields the stems of each when it is in place."""
    unit = next(units, None)
    while unit is not None:
        schema = unit.table.schema
        path = _fresh_name(folder, kind, unit.stem.rpartition("-")[0], unit.stem)
        with writing(path) as temporary:
            few = [
                item.name for item in schema if pa.types.is_string(item.type)
            ]  # an image's bytes never come twice
            filling = _Filling(
                pq.ParquetWriter(
                    temporary,
                    schema.with_metadata({META: b'{"bundle": true}'}),
                    compression="zstd",
                    use_dictionary=few,
                )
            )
            while unit is not None and not filling.full and unit.table.schema == schema:
                filling.add(unit)
                unit = next(units, None)
            filling.close(path)
        yield filling.stems
