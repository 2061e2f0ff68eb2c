"""The parts of units, each a file of its own or bundled with others: the one place that knows both forms.

A bundle ``records/<words>-<hash>-<generation>.units.parquet`` holds the rows of many units of one cell, one unit after
another; what a part's footer says of its unit stands in the bundle's footer. Where a unit is found twice (a kill between
writing and removing, a unit that was scored again) its own file counts, then the bundle of the highest generation.
"""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from medeval.runs.parts import read_meta, read_part, unreadable
from medeval.types import RunError

if TYPE_CHECKING:
    from medeval.runs.folder import RunFolder, UnitName

ENDING = ".units.parquet"
PATTERN = f"[!.]*{ENDING}"
UNITS = b"medeval.units"
_NAME = re.compile(r"-(\d{6})\.units\.parquet$")
_TABLES_KEPT = 4  # row groups of bundles that stay decoded: units are mostly asked for in their order


class TornError(RunError):
    """A bundle that ends too early: what it held is done again."""


class Place(NamedTuple):
    """Where a unit's rows are. rows: (first, last + 1) in a bundle, None for a file of its own."""

    path: Path
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Bundle:
    """One bundle's index. stems: its units in their order. rows: (first, last + 1) of each. metas: of each, as JSON."""

    path: Path
    stems: Sequence[str]
    rows: Sequence[tuple[int, int]]
    metas: Sequence[str]

    @property
    def words(self) -> str:
        """How its name begins: what names its cell."""
        return self.stems[0].rpartition("-")[0]

    @property
    def generation(self) -> int:
        """Higher counts where two hold the same unit."""
        return generation(self.path)

    @classmethod
    def read(cls, path: Path) -> Bundle:
        """The index in a bundle's footer. Raises ``RunError`` when it cannot be read, ``TornError`` when it is torn."""
        try:
            plain = json.loads(zlib.decompress((pq.read_metadata(path).metadata or {})[UNITS]))
        except (ValueError, KeyError, zlib.error, pa.ArrowInvalid) as error:
            raise TornError(str(unreadable(path, error))) from error
        except (OSError, pa.ArrowException) as error:
            raise unreadable(path, error) from error
        ends = [0, *plain["ends"]]
        return cls(path, plain["units"], list(pairwise(ends)), plain["metas"])

    def footer(self) -> dict[bytes, bytes]:
        """The index as the metadata that a file's footer takes."""
        plain = {"units": list(self.stems), "ends": [end for _, end in self.rows], "metas": list(self.metas)}
        return {UNITS: zlib.compress(json.dumps(plain).encode())}


def generation(path: Path) -> int:
    """The number in a bundle's name, 0 where it has none."""
    found = _NAME.search(path.name)
    return int(found[1]) if found else 0


class Parts:
    """All units' parts of a run folder. Bundles are looked up once, and again after ``refresh``."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._rooms: dict[str, _Room] = {}

    def refresh(self) -> None:
        """Forget what bundles there were: some were written or removed."""
        self._rooms.clear()

    def place(self, kind: str, unit: UnitName) -> Place | None:
        """Where a unit's records, predictions or timings are; None when they are not there."""
        loose = self._folder.part(kind, unit)
        return Place(loose) if loose.exists() else self.room(kind).place(unit.stem)

    def has(self, kind: str, unit: UnitName) -> bool:
        """True when there is a part, whole or torn."""
        return self.place(kind, unit) is not None

    def meta(self, kind: str, unit: UnitName) -> dict[str, Any] | None:
        """What a unit's part was made under; None when there is no whole part of it."""
        place = self.place(kind, unit)
        if place is None or place.rows is None:
            return None if place is None else read_meta(place.path)
        return self.room(kind).meta(unit.stem)

    def rows(self, kind: str, unit: UnitName, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The rows of one unit's part, [] when there is none. Raises ``RunError`` naming the file when it is torn."""
        place = self.place(kind, unit)
        return [] if place is None else self.table(kind, place, columns).to_pylist()

    def table(self, kind: str, place: Place, columns: Sequence[str] | None = None) -> pa.Table:
        """What is at a place."""
        return read_part(place.path, columns) if place.rows is None else self.room(kind).table(place, columns)

    def places(self, kind: str) -> dict[str, Place]:
        """stem -> place of every unit in the room, sorted by stem. Raises ``RunError`` when a bundle is torn."""
        if self.room(kind).torn:
            raise next(iter(self.room(kind).torn.values()))
        return self._found(kind)

    def _found(self, kind: str) -> dict[str, Place]:
        bundled = {stem: place for stem, (place, _) in self.room(kind).units.items()}
        loose = {p.stem: Place(p) for p in self._folder.parts(kind) if not p.name.endswith(ENDING)}
        found = {**bundled, **loose}
        return {stem: found[stem] for stem in sorted(found)}

    def metas(self, kind: str, but: Container[str] = ()) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(stem, meta) of every unit in the room whose part is whole; ``but``: stems that are left out."""
        room = self.room(kind)
        for stem, place in self._found(kind).items():
            if stem not in but:
                meta = read_meta(place.path) if place.rows is None else room.meta(stem)
                if meta is not None:
                    yield stem, meta

    def room(self, kind: str) -> _Room:
        """The bundles of one room."""
        if kind not in self._rooms:
            self._rooms[kind] = _Room(self._folder.parts(kind, PATTERN))
        return self._rooms[kind]


class _Room:
    """The bundles of one room, and the row groups of them that were read last. torn: those that cannot be used."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.torn: dict[Path, TornError] = {}
        self.bundles = list(self._read(sorted(paths, key=lambda path: (generation(path), path.name))))
        self._tables: OrderedDict[tuple[Any, ...], pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def _read(self, paths: Sequence[Path]) -> Iterator[Bundle]:
        for path in paths:
            try:
                yield Bundle.read(path)
            except TornError as error:
                self.torn[path] = error

    @cached_property
    def units(self) -> dict[str, tuple[Place, str]]:
        """stem -> (place, meta) of every bundled unit; of the highest generation where there are two."""
        return {
            stem: (Place(bundle.path, rows), meta)
            for bundle in self.bundles
            for stem, rows, meta in zip(bundle.stems, bundle.rows, bundle.metas, strict=True)
        }

    def place(self, stem: str) -> Place | None:
        """Where a unit is."""
        return self.units[stem][0] if self.bundles and stem in self.units else None

    def meta(self, stem: str) -> dict[str, Any]:
        """What a bundled unit was made under."""
        return json.loads(self.units[stem][1])

    def table(self, place: Place, columns: Sequence[str] | None) -> pa.Table:
        """Rows of a bundle; the row groups that hold them stay decoded for the next unit."""
        assert place.rows is not None
        with self._lock:
            first, groups = _groups_of(self._file(place.path).metadata, place.rows)
            key = (place.path, groups, None if columns is None else tuple(columns))
            if key not in self._tables:
                try:
                    self._tables[key] = self._file(place.path).read_row_groups(
                        list(groups), columns, use_threads=False
                    )
                except (OSError, ValueError, pa.ArrowException) as error:
                    raise unreadable(place.path, error) from error
            self._tables.move_to_end(key)
            while len(self._tables) > _TABLES_KEPT:
                self._tables.popitem(last=False)
            return self._tables[key].slice(place.rows[0] - first, place.rows[1] - place.rows[0])

    def _file(self, path: Path) -> pq.ParquetFile:
        if path not in self._files:
            try:
                self._files[path] = pq.ParquetFile(path, pre_buffer=False)
            except (OSError, ValueError, pa.ArrowException) as error:
                raise unreadable(path, error) from error
        return self._files[path]

    @cached_property
    def _files(self) -> dict[Path, pq.ParquetFile]:
        return {}


def _groups_of(metadata: Any, rows: tuple[int, int]) -> tuple[int, tuple[int, ...]]:
    """(first row of the first, numbers) of the row groups that hold these rows."""
    begin, first = 0, 0
    found: list[int] = []
    for number in range(metadata.num_row_groups):
        end = begin + metadata.row_group(number).num_rows
        if begin < rows[1] and rows[0] < end:
            first = first if found else begin
            found.append(number)
        begin = end
    return first, tuple(found)


def read_places(
    places: Sequence[Place], columns: Sequence[str] | None = None
) -> Iterator[tuple[pa.Schema, pa.Table]]:
    """(the file's schema, a table of some of its rows) of all these places, file by file, row group by row group.

    columns: those that a file has not are left out; where it has none of them there is some other, for the rows' number.
    Raises ``RunError`` naming the file when it is torn.
    """
    files: dict[Path, list[tuple[int, int]]] = {}
    for place in places:
        files.setdefault(place.path, []).extend([] if place.rows is None else [place.rows])
    for path, ranges in files.items():
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                schema = file.schema_arrow.remove_metadata()
                wanted = None if columns is None else _known(columns, schema)
                if not ranges:
                    yield schema, file.read(wanted, use_threads=False).replace_schema_metadata(None)
                    continue
                for table in _pieces(file, _merged(ranges), wanted):
                    yield schema, table.replace_schema_metadata(None)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise unreadable(path, error) from error


def _known(columns: Sequence[str], schema: pa.Schema) -> list[str]:
    return [name for name in columns if name in schema.names] or schema.names[:1]


def _pieces(
    file: pq.ParquetFile, ranges: Sequence[tuple[int, int]], columns: Sequence[str] | None
) -> Iterator[pa.Table]:
    begin = 0
    for number in range(file.num_row_groups):
        end = begin + file.metadata.row_group(number).num_rows
        inside = [(max(a, begin) - begin, min(b, end) - begin) for a, b in ranges if a < end and begin < b]
        if inside:
            table = file.read_row_group(number, columns, use_threads=False)
            yield pa.concat_tables([table.slice(a, b - a) for a, b in inside])
        begin = end


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same rows as few ranges, in order."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and found[-1][1] >= first:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found
