"""The records of a cell, a column at a time: what is not asked for is not read, and names are held as their codes.

A small cell is read once, whole. Of one that would not fit into ``WHOLE_BYTES`` only the keys stay; every other column is
read from its parts when it is asked for, and the last ones read are kept.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medeval.runs.bundles import Place, read_places
from medeval.runs.parts import KEYS
from medeval.statistics import Labels
from medeval.statistics.labels import combined
from medeval.tasks.evidence import labels_of

if TYPE_CHECKING:
    import pandas as pd

WHOLE_BYTES = 64 * 2**20  # a cell up to this size (as Arrow holds it) stays in memory whole
KEPT_BYTES = 256 * 2**20  # columns of a larger one that stay in memory beside its keys
_ORDER = (
    "seed",
    "case",
    *(name for name, _ in KEYS),
)  # what sorts the records of one (task, dataset, model, arm)


class CaseColumns:
    """Patient and metadata of a dataset's cases, from the index kept in the run."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.frame = cases_frame(rows).set_index("case")
        self.names = list(self.frame.columns)

    def of(self, name: str, cases: Sequence[str]) -> NDArray:
        """One column for these cases; missing where a case is not known."""
        return self.frame[name].reindex(list(cases)).to_numpy()


def cases_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Index rows as a frame: the metadata, dataset (where it is told), case and patient."""
    import pandas as pd

    known = ("dataset", "case", "patient")
    plain = [
        {**json.loads(row["metadata"]), **{name: row[name] for name in known if name in row}} for row in rows
    ]
    return pd.DataFrame(plain, columns=None if plain else known)


class RecordColumns:
    """The records at these places, all of one (task, dataset, model, arm), with their cases' metadata, sorted by key."""

    def __init__(self, places: Sequence[Place], cases: CaseColumns) -> None:
        self._places, self._cases = places, cases
        self._whole: pa.Table | None = None
        self._kept: OrderedDict[tuple[str, str], NDArray | Labels] = OrderedDict()
        self._pinned: dict[tuple[str, str], NDArray | Labels] = {}
        self._order: NDArray[np.int64] | None = None
        self._schema = pa.schema([])
        self._rows = 0
        self._sort(self._first_pass())
        pa.default_memory_pool().release_unused()

    def __len__(self) -> int:
        return self._rows

    @cached_property
    def names(self) -> Sequence[str]:
        """The records' columns, then those of the cases that no record column hides."""
        return [*self._schema.names, *(name for name in self._cases.names if name not in self._schema.names)]

    def array(self, name: str) -> NDArray:
        """(n,) one column as pandas gives it: what is missing is NaN or None."""
        return self._once("array", name, self._array)

    def labels(self, name: str) -> Labels:
        """(n,) one column, its values numbered; strings in sorted order."""
        return self._once("labels", name, self._labels)

    def frame(self) -> pd.DataFrame:
        """All columns of all records: as large as they are."""
        tables = [self._whole] if self._whole is not None else [t for _, t in read_places(self._places)]
        table = pa.concat_tables(tables, promote_options="default")
        frame = (table if self._order is None else table.take(self._order)).to_pandas()
        new = [name for name in self.names if name not in self._schema.names]
        return frame.merge(self._cases.frame[new].reset_index(), on="case", how="left")

    # -- reading ------------------------------------------------------------------------------------------------

    def _first_pass(self) -> pa.Table:
        """Take the schema and the number of rows; the table of all columns where it is small, else of the keys."""
        tables: list[pa.Table] = []
        schemas: dict[pa.Schema, None] = {}
        held, wanted = 0, None
        for together in _by_file(self._places):
            for schema, table in read_places(together, wanted):
                schemas.setdefault(schema)
                tables.append(table if wanted is None else _slim(table))
                held += table.nbytes
            if wanted is None and held > WHOLE_BYTES:
                wanted = list(_ORDER)
                tables = [_slim(table) for table in tables]
        if not tables:
            return pa.table({})
        self._schema = pa.unify_schemas(list(schemas))
        table = pa.concat_tables(tables, promote_options="default")
        self._rows = len(table)
        self._whole = table if wanted is None else None
        return table

    def _sort(self, keys: pa.Table) -> None:
        """Find the order by key, and keep the keys' codes in it."""
        if not self._rows:
            return
        found = {name: self._encoded(keys.column(name).chunks) for name in ("case", "structure", "prompt")}
        numbers = {name: keys.column(name).to_numpy() for name in ("seed", "round", "sample")}
        del keys
        codes = [
            _last_if_none(found[n]) if n in found else (numbers[n] - numbers[n].min()).astype(np.int32)
            for n in _ORDER
        ]
        key = combined(codes)
        del codes
        if (key[1:] < key[:-1]).any():
            self._order = np.argsort(key, kind="stable")
        for name, labels in found.items():
            self._pinned["labels", name] = self._ordered(labels)
        self._pinned["array", "round"] = self._ordered(numbers["round"])

    def _array(self, name: str) -> NDArray:
        if name not in self._schema.names:
            cases = self.labels("case")
            return self._cases.of(name, cases.values)[cases.codes]
        if self._is_text(name):
            return self.labels(name).array(np.nan)
        chunks = list(self._chunks(name))
        values = pa.chunked_array(chunks, self._schema.field(name).type).to_pandas().to_numpy()
        del chunks
        return self._ordered(values)

    def _labels(self, name: str) -> Labels:
        if name not in self._schema.names:
            cases = self.labels("case")
            by_case = labels_of(self._cases.of(name, cases.values))
            return Labels(by_case.codes[cases.codes], by_case.values, by_case.ordered)
        if self._is_text(name):
            return self._ordered(self._encoded(self._chunks(name)))
        return labels_of(self.array(name))

    def _is_text(self, name: str) -> bool:
        return bool(pa.types.is_string(self._schema.field(name).type))

    def _chunks(self, name: str) -> Iterator[pa.Array]:
        """The column's values in the order in which they lie in the parts; nulls where a part has no such column."""
        if self._whole is not None:
            yield from self._whole.column(name).chunks
            return
        kind = self._schema.field(name).type
        for schema, table in read_places(self._places, [name]):
            if name in schema.names:
                yield from (chunk.cast(kind) for chunk in table.column(name).chunks)
            else:
                yield pa.nulls(table.num_rows, kind)

    def _encoded(self, chunks: Iterable[pa.Array]) -> Labels:
        """Strings as sorted labels."""
        known: dict[str, int] = {}
        codes = np.empty(self._rows, dtype=np.int32)
        begin = 0
        for chunk in chunks:
            found = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
            places = [known.setdefault(value, len(known)) for value in found.dictionary.to_pylist()]
            taken = np.array([*places, -1], dtype=np.int32)
            codes[begin : begin + len(chunk)] = taken[found.indices.fill_null(len(places)).to_numpy()]
            begin += len(chunk)
        return Labels(codes, tuple(known)).sorted()

    # -- keeping ------------------------------------------------------------------------------------------------

    def _ordered(self, column: Any) -> Any:
        return column if self._order is None else column[self._order]

    def _once(self, kind: str, name: str, make: Callable[[str], Any]) -> Any:
        key = (kind, name)
        if key in self._pinned:
            return self._pinned[key]
        if key not in self._kept:
            self._kept[key] = make(name)
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > KEPT_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _slim(table: pa.Table) -> pa.Table:
    """The keys alone, their names as codes."""
    columns = [table.column(name) for name in _ORDER]
    return pa.table(
        [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in columns],
        names=list(_ORDER),
    )


def _bytes(column: NDArray | Labels) -> int:
    return column.codes.nbytes if isinstance(column, Labels) else column.nbytes


def _last_if_none(labels: Labels) -> NDArray[np.int32]:
    """Codes that sort what is missing last."""
    codes = labels.codes
    return np.where(codes < 0, len(labels.values), codes) if codes.min(initial=0) < 0 else codes


def _by_file(places: Sequence[Place]) -> Iterator[list[Place]]:
    """The places of each file together."""
    files: dict[Any, list[Place]] = {}
    for place in places:
        files.setdefault(place.path, []).append(place)
    yield from files.values()
