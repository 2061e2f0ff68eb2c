"""Parquet parts: one unit's records, predictions or timings in one file, with the fingerprints that it was made under."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medeval.runs.codecs import Packed
from medeval.runs.files import writing
from medeval.tasks.base import Task
from medeval.tasks.columns import rule_column, statistic_column
from medeval.types import Key, RunError, Status

META = b"medeval"
KEYS: tuple[tuple[str, pa.DataType], ...] = (
    ("structure", pa.string()),
    ("prompt", pa.string()),
    ("round", pa.int32()),
    ("sample", pa.int32()),
)
IDENTITY: tuple[tuple[str, pa.DataType], ...] = (
    ("task", pa.string()),
    ("dataset", pa.string()),
    ("model", pa.string()),
    ("arm", pa.string()),
    ("seed", pa.int64()),
    ("case", pa.string()),
    *KEYS,
)
SORT = [name for name, _ in IDENTITY]
PREDICTIONS = pa.schema(
    [
        ("case", pa.string()),
        *KEYS,
        ("status", pa.string()),
        ("error", pa.string()),
        ("columns", pa.string()),
        ("codec", pa.string()),
        ("meta", pa.string()),
        ("payload", pa.binary()),
    ]
)
TIMINGS = pa.schema([("case", pa.string()), ("name", pa.string()), ("seconds", pa.float64())])


def record_schema(task: Task) -> pa.Schema:
    """The schema of a task's records, declared before the run: identity, status, the task's columns, metric columns."""
    fields = [*IDENTITY, ("status", pa.string()), ("error", pa.string()), ("notes", pa.string())]
    fields += [(name, pa.type_for_alias(kind)) for name, kind in task.columns.items()]
    for metric in task.bound_metrics:
        fields += [(statistic_column(metric.name, f), _arrow(kind)) for f, kind in metric.statistic.items()]
        fields.append((rule_column(metric.name), pa.string()))
    return pa.schema(fields)


def _arrow(kind: str) -> pa.DataType:
    if kind.startswith("list<"):
        return pa.list_(_arrow(kind[5:-1]))
    return pa.type_for_alias(kind)


def write_part(
    path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, meta: Mapping[str, Any]
) -> None:
    """Write rows as one whole Parquet file; ``meta`` goes into its footer.

    Raises ``RunError`` for a full disk, and for a value that its declared column cannot hold.
    """
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row in rows:
        for name, column in columns.items():
            column.append(row.get(name))
    table = pa.table(
        {column.name: _array(path, column, columns[column.name]) for column in schema}, schema=schema
    )
    table = table.replace_schema_metadata({META: json.dumps(meta, sort_keys=True).encode()})
    with writing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _array(path: Path, column: pa.Field, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, type=column.type)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise RunError(
            f"{path.name}: column {column.name!r} of type {column.type} cannot hold what the task or metric gave: {error}"
        ) from error


def read_meta(path: Path) -> dict[str, Any] | None:
    """The footer's ``meta``; None when the file is missing, torn or not ours."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        return json.loads(metadata[META])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part whole. Raises ``RunError`` naming the file when it is torn."""
    try:
        with pq.ParquetFile(
            path, pre_buffer=False
        ) as part:  # a third cheaper than read_table on parts of one case
            return part.read(columns=columns, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> RunError:
    """What is said of a torn part."""
    return RunError(
        f"{path}: a part that cannot be read ({error}); delete it and give the run's command again"
    )


def prediction_row(
    case_id: str, key: Key, status: Status, error: str, columns: Mapping[str, Any], packed: Packed | None
) -> dict[str, Any]:
    """One row of a predictions part; without ``packed`` there is nothing to read back."""
    row: dict[str, Any] = {"case": case_id, **key._asdict(), "status": str(status), "error": error or None}
    row["columns"] = json.dumps(columns, sort_keys=True) if columns else None
    if packed is not None:
        row |= packed._asdict()
    return row
