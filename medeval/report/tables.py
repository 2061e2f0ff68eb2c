"""A ``Table`` made ready to be drawn, in a page or a terminal: texts, sort keys, footnotes and the data for a CSV.

An interval cell is a dict. Keys: value, low, high; n and patients (None: unknown); failed (the model's failures, counted
as the worst value); missing (not the model's) and bounds, the score if they were all worst and all best; note, parts
separated by "; ". All but value may be absent. n, patients, failed and missing become columns of their own where all
interval cells of each row agree on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from medeval.report.numbers import decimals, finite, interval_text, number_text, plain
from medeval.types.views import Column, Table

COUNTS = {"n": "n", "patients": "patients", "failed": "failed", "missing": "missing"}
_COUNT_NOTES = {"failed": "counted as worst", "missing": "not scored"}


@dataclass(frozen=True)
class Cell:
    """One cell: ``text`` (for intervals the value alone) with the parts that stand around it."""

    text: str
    kind: str = "text"
    sort: float | str | None = None
    interval: str = ""
    counts: str = ""
    alarm: str = ""
    mark: str = ""
    bar: tuple[float, float, float] | None = None  # low, value, high as shares of the column's span


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns; the row's tags, shown in cell ``tagged``."""

    cells: Sequence[Cell]
    baseline: bool = False
    tags: Sequence[str] = ()
    tagged: int = 0


@dataclass(frozen=True)
class Prepared:
    """What both renderers draw."""

    title: str
    note: str
    columns: Sequence[Column]
    groups: Sequence[tuple[str, Sequence[Row]]]
    footnotes: Sequence[str]
    data: Mapping[str, Any] = field(repr=False)

    @property
    def size(self) -> int:
        """Number of rows."""
        return sum(len(rows) for _, rows in self.groups)


def prepare(table: Table) -> Prepared:
    """Raises ``ValueError`` for an interval cell that is neither None, a number nor a dict."""
    columns, rows = _with_counts(table)
    columns = [column for column in columns if not _empty(column, rows)] or columns
    tagged = next((number for number, column in enumerate(columns) if column.name == "model"), 0)
    common = _common_notes(columns, rows)
    notes: dict[str, int] = dict.fromkeys(common, 0)
    counted = {column.name for column in columns} >= {"n"}
    spans = {column.name: _span(column, rows) for column in columns}
    several = len({plain(row.get("model")) for row in rows}) > 1
    # a tag that all models bear says nothing
    told_apart = not (several and all(row.get("_baseline") for row in rows))
    drawn = [
        Row([_cell(row, column, spans[column.name], notes, counted) for column in columns],
            bool(row.get("_baseline")) and told_apart, _tags(row, told_apart), tagged)
        for row in rows
    ]  # fmt: skip
    keyed = zip((plain(row.get("_group", "")) for row in rows), drawn, strict=True)
    groups = [(name, [row for _, row in part]) for name, part in groupby(keyed, key=lambda pair: pair[0])]
    marked = [note for note in notes if notes[note]]
    said = "; ".join(part for part in table.note.split("; ") if part not in marked)
    return Prepared(table.title, _with_common(said, common), columns, groups, marked, _data(columns, rows))


def _empty(column: Column, rows: Sequence[Mapping[str, Any]]) -> bool:
    """True for a text column in which no row says anything: it is left out."""
    return (
        column.kind == "text"
        and len(rows) > 0
        and not any(plain(row.get(column.name)).strip() for row in rows)
    )


def _tags(row: Mapping[str, Any], told_apart: bool) -> list[str]:
    return [
        *(["baseline"] if row.get("_baseline") and told_apart else []),
        *(plain(tag) for tag in row.get("_tags", ())),
    ]


def _notes(cell: Any) -> list[str]:
    """The parts of an interval cell's note."""
    text = plain(cell.get("note")) if isinstance(cell, Mapping) else ""
    return [part for part in text.split("; ") if part]


def _common_notes(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Notes that every interval cell holds: they are said once, under the table, and mark no cell."""
    names = [column.name for column in columns if column.kind == "interval"]
    cells = [row[name] for row in rows for name in names if row.get(name) is not None]
    if not cells:
        return []
    return [note for note in _notes(cells[0]) if all(note in _notes(cell) for cell in cells)]


def _with_common(note: str, common: Sequence[str]) -> str:
    new = [part for part in common if part not in note]
    said = [f"For every score: {'; '.join(new)}."] if new else []
    return " ".join([*([note] if note else []), *said])


def _with_counts(table: Table) -> tuple[Sequence[Column], Sequence[dict[str, Any]]]:
    """The table with n, patients, failed and missing as columns, where each row's interval cells agree on them."""
    names = [column.name for column in table.columns if column.kind == "interval"]
    taken = {column.name for column in table.columns}
    rows, shared = [], True
    for row in table.rows:
        cells = [cell for name in names if isinstance(cell := row.get(name), Mapping)]
        counts = [tuple(cell.get(key) for key in COUNTS) for cell in cells]
        shared = shared and len(set(counts)) == 1 and counts[0][0] is not None
        rows.append({**row, **dict(zip(COUNTS, counts[0], strict=True))} if counts else row)
    if not names or not table.rows or not shared or taken & set(COUNTS):
        return table.columns, table.rows
    kept = [key for key in COUNTS if key in ("n", "patients") or any(row[key] for row in rows)]
    for row in rows:
        row |= {"patients": "unknown" if row["patients"] is None else row["patients"],
                "failed": row["failed"] or 0, "missing": row["missing"] or 0}  # fmt: skip
    extra = [Column(key, COUNTS[key], "integer", note=_COUNT_NOTES.get(key, "")) for key in kept]
    return [*table.columns, *extra], rows


def _span(column: Column, rows: Sequence[dict[str, Any]]) -> tuple[int, float, float]:
    """Decimals, lowest and highest number of a column."""
    numbers: list[Any] = []
    for row in rows:
        cell = row.get(column.name)
        numbers += (
            [cell.get(key) for key in ("value", "low", "high")] if isinstance(cell, Mapping) else [cell]
        )
    found = [number for value in numbers if (number := finite(value)) is not None]
    return decimals(found), min(found, default=0.0), max(found, default=0.0)


def _cell(
    row: Mapping[str, Any],
    column: Column,
    span: tuple[int, float, float],
    notes: dict[str, int],
    counted: bool,
) -> Cell:
    value = row.get(column.name)
    if column.kind == "interval":
        return _interval_cell(value, column, span, notes, counted)
    if column.kind == "text" or isinstance(value, str):
        text = " ".join(plain(value).split())
        return Cell(text, column.kind, text or None)
    places = 0 if column.kind == "integer" else span[0]
    return Cell(number_text(value, places), column.kind, finite(value))


def _interval_cell(
    value: Any, column: Column, span: tuple[int, float, float], notes: dict[str, int], counted: bool
) -> Cell:
    if value is not None and not isinstance(value, Mapping | int | float):
        raise ValueError(
            f"column {column.name!r}: an interval cell is a dict with 'value', not {type(value).__name__}"
        )
    cell = value if isinstance(value, Mapping) else {"value": value}
    places, lowest, highest = span
    mean, low, high = (finite(cell.get(key)) for key in ("value", "low", "high"))
    numbers = [notes.setdefault(note, 1 + max(notes.values(), default=0)) for note in _notes(cell)]
    mark = ",".join(str(number) for number in numbers if number)
    bar = None
    if mean is not None and highest > lowest:
        ends = (mean if low is None else low, mean, mean if high is None else high)
        bar = tuple((end - lowest) / (highest - lowest) for end in ends)
    return Cell(
        number_text(mean, places), "interval", mean, interval_text(low, high, places),
        "" if counted else _counts(cell), _alarm(cell, places, counted), mark, bar,  # type: ignore[arg-type]
    )  # fmt: skip


def _counts(cell: Mapping[str, Any]) -> str:
    """``n 120 · 40 patients``."""
    parts = [f"n {cell['n']:,}"] if cell.get("n") is not None else []
    if cell.get("patients") is not None:
        parts.append(f"{cell['patients']:,} patient{'' if cell['patients'] == 1 else 's'}")
    return " · ".join(parts)


def _alarm(cell: Mapping[str, Any], places: int, counted: bool) -> str:
    """What of the score is a failure, and between which bounds it lies when records are missing."""
    parts = [f"{cell['failed']:,} failed"] if cell.get("failed") and not counted else []
    parts += [f"{cell['missing']:,} missing"] if cell.get("missing") and not counted else []
    if bounds := cell.get("bounds"):
        parts.append(f"incomplete: {number_text(bounds[0], places)} to {number_text(bounds[1], places)}")
    elif cell.get("missing"):
        parts.append("incomplete")
    return " · ".join(parts)


def _data(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Names and full-precision values, an interval as value, low and high: what the page's CSV button writes."""
    names: list[str] = []
    for column in columns:
        names += [
            column.name,
            *([f"{column.name}_low", f"{column.name}_high"] if column.kind == "interval" else []),
        ]
    grouped = any(row.get("_group") for row in rows)
    lines = []
    for row in rows:
        line: list[Any] = [plain(row.get("_group"))] if grouped else []
        for column in columns:
            value = row.get(column.name)
            if column.kind == "interval":
                cell = value if isinstance(value, Mapping) else {"value": value}
                line += [finite(cell.get(key)) for key in ("value", "low", "high")]
            else:
                line.append(
                    plain(value) if isinstance(value, str) or column.kind == "text" else finite(value)
                )
        lines.append(line)
    return {"columns": ["group", *names] if grouped else names, "rows": lines}
