"""Tables as plain rows: CSV, TSV, Parquet and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medeval.types import DatasetError


def read_rows(path: Path, as_text: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows as dicts of plain Python values, None where a cell is empty.

    as_text: columns of a CSV that are never read as numbers (an id 007 stays 007). "NA" and "None" are texts: only an
    empty cell is missing. Raises ``DatasetError`` naming the file (and for JSON lines the line).
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if suffix in (".csv", ".tsv"):
        return _separated(path, "," if suffix == ".csv" else "\t", as_text)
    if suffix in (".parquet", ".pq"):
        return _parquet(path)
    raise DatasetError(f"{path}: tables of type {suffix!r} are not read; known: .csv, .tsv, .parquet, .jsonl")


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DatasetError(f"{path}, line {number}: cannot be read as JSON: {error}") from error
        if not isinstance(row, dict):
            raise DatasetError(
                f"{path}, line {number}: must be an object {{column: value}}, not {type(row).__name__}"
            )
        rows.append(row)
    return rows


def _separated(path: Path, separator: str, as_text: Sequence[str]) -> list[dict[str, Any]]:
    import pandas as pd

    try:
        frame = pd.read_csv(
            path, sep=separator, dtype=dict.fromkeys(as_text, "string"), keep_default_na=False, na_values=[""],
            encoding="utf-8-sig", dtype_backend="numpy_nullable",
        )  # fmt: skip
    except pd.errors.EmptyDataError:
        return []
    except (pd.errors.ParserError, UnicodeDecodeError, ValueError, OSError) as error:
        raise DatasetError(f"{path}: cannot be read as a table: {error}") from error
    return [
        {str(k): None if v is pd.NA else v for k, v in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: cannot be read as Parquet: {error}") from error
    return rows
