"""Score rows of a run laid out as rows x columns, with the best and the second marked and significance beside the best.

The numbers are those of summary.json, untouched; only the standard deviation, which a summary does not hold, comes from
the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medeval.decisions.compare import tested_setting
from medeval.decisions.evidence import CellName, RunEvidence
from medeval.decisions.pairs import Pair
from medeval.statistics.corrections import holm
from medeval.tasks.summary import columns_of
from medeval.types import RunError, nearest

FACETS = ("model", "metric", "prompt", "dataset", "task")
ALPHA = 0.05
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """One cell. mark: "best", "second" or "". significant: significantly worse than the best (Holm over the table).

    sd: standard deviation over the records, None where the metric is no mean over them. incomplete: records are missing.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    n: int = 0
    mark: str = ""
    significant: bool = False
    incomplete: bool = False


@dataclass(frozen=True)
class Laid:
    """A table ready to be written. row_names: what the rows are. columns: (label, direction, unit) of each column.

    cells: by row, None where there is no score. note: what stands below.
    """

    title: str
    row_names: tuple[str, ...]
    columns: Sequence[tuple[str, str, str]]
    rows: Sequence[tuple[tuple[str, ...], Sequence[Shown | None]]]
    note: str = ""


@dataclass(frozen=True)
class Layout:
    """rows, columns: names of facets or of a suite's groups (a product: ``structure x modality``). where: facet -> value.

    metrics: which; default all where the metric is a facet of the table, else the task's first.
    """

    rows: str = "model"
    columns: str = "metric"
    where: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    significance: bool = True


def lay_out(evidence: RunEvidence, layout: Layout) -> list[Laid]:
    """One table for each combination of what is neither row nor column.

    Raises ``RunError`` for a facet, group, metric or value that the run has not.
    """
    axes = (*columns_of(layout.rows), *columns_of(layout.columns))
    if len(set(axes)) != len(axes):
        raise RunError(f"--rows {layout.rows!r} and --columns {layout.columns!r} name the same thing twice")
    rows = _chosen(evidence, layout, axes)
    tables: dict[tuple[str, ...], list[Row]] = {}
    rest = [name for name in FACETS if name not in axes]
    for row in rows:
        tables.setdefault(tuple(_facet(row, name) for name in rest), []).append(row)
    varying = [at for at in range(len(rest)) if len({key[at] for key in tables}) > 1]
    return [_laid(evidence, layout, key, part, rest, varying) for key, part in tables.items()]


def _chosen(evidence: RunEvidence, layout: Layout, axes: Sequence[str]) -> list[Row]:
    groups = [name for name in axes if name not in FACETS]
    by = _grouping(evidence, groups)
    rows: list[Row] = [row for row in evidence.scores if row["by"] == by]
    for name, value in layout.where.items():
        if name not in (*FACETS, *groups):
            raise RunError(f"--where {name}: no facet of the table; {nearest(name, (*FACETS, *groups))}")
        values = {_facet(row, name) for row in rows}
        if value not in values:
            raise RunError(f"--where {name}={value}: {evidence.label} has none; {nearest(value, values)}")
        rows = [row for row in rows if _facet(row, name) == value]
    return _of_metrics(evidence, rows, layout.metrics, "metric" in axes or "metric" in layout.where)


def _of_metrics(evidence: RunEvidence, rows: list[Row], wanted: Sequence[str], every: bool) -> list[Row]:
    known = dict.fromkeys(row["metric"] for row in rows)
    for name in wanted:
        if name not in known:
            raise RunError(f"--metric {name!r}: {evidence.label} has none here; {nearest(name, known)}")
    if wanted:
        return [row for row in rows if row["metric"] in wanted]
    if every:
        return rows
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row["task"], row["metric"])
    return [row for row in rows if row["metric"] == first[row["task"]]]


def _grouping(evidence: RunEvidence, groups: Sequence[str]) -> str:
    """The ``by`` of the suite that has exactly these groups."""
    known = dict.fromkeys(row["by"] for row in evidence.scores)
    for by in known:
        if set(columns_of(by) if by else ()) == set(groups):
            return by
    names = [*FACETS, *(by for by in known if by)]
    raise RunError(
        f"{' x '.join(groups)!r} is no facet of {evidence.label} and no group of its suite's `by`; {nearest(groups[0], names)}"
    )


def _facet(row: Row, name: str) -> str:
    if name == "model":
        return CellName(row["task"], row["dataset"], row["model"], row["arm"]).contender
    return str(row[name]) if name in FACETS else str(row["group"].get(name, ""))


def _laid(
    evidence: RunEvidence, layout: Layout, key: tuple[str, ...], rows: list[Row], rest: Sequence[str], varying: Sequence[int]
) -> Laid:  # fmt: skip
    down, across = columns_of(layout.rows), columns_of(layout.columns)
    where = {id(row): (_at(row, down), _at(row, across)) for row in rows}
    row_labels = list(dict.fromkeys(place[0] for place in where.values()))
    column_labels = list(dict.fromkeys(place[1] for place in where.values()))
    shown = _marked(evidence, layout, rows)
    cells = {where[id(row)]: cell for row, cell in zip(rows, shown, strict=True)}
    heads = [_head(label, [row for row in rows if where[id(row)][1] == label]) for label in column_labels]
    body = [(label, [cells.get((label, column)) for column in column_labels]) for label in row_labels]
    title = (
        ", ".join(f"{rest[at]} {key[at]}" for at in varying if key[at])
        or f"{layout.rows} by {layout.columns}"
    )
    return Laid(
        title,
        down,
        heads,
        body,
        _note(rows, shown, [f"{n} {v}" for n, v in zip(rest, key, strict=True) if v]),
    )


def _at(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(_facet(row, name) or "none" for name in names)


def _head(label: tuple[str, ...], rows: Sequence[Row]) -> tuple[str, str, str]:
    """Label, direction and unit of a column; no direction where its metrics disagree."""
    directions, units = {row["direction"] for row in rows}, {row["unit"] for row in rows}
    text = " / ".join(label)
    return text, directions.pop() if len(directions) == 1 else "", units.pop() if len(units) == 1 else ""


def _marked(evidence: RunEvidence, layout: Layout, rows: Sequence[Row]) -> list[Shown]:
    """Cells with best, second and significance among the models of one column (one metric, prompt, group ...)."""
    cells = [Shown(row["value"], row["low"], row["high"], _sd(evidence, row), row["n"], incomplete=bool(row.get("missing")))
             for row in rows]  # fmt: skip
    tests: list[tuple[int, float]] = []
    for members in _contests(rows):
        ranked = _ranked(rows, members)
        for at in members:
            place = ranked.index(rows[at]["value"]) if rows[at]["value"] in ranked[:2] else 2
            if not _tagged(rows, members, at):
                cells[at] = replace(cells[at], mark=("best", "second", "")[place])
        if layout.significance and ranked:
            tests += _against_best(evidence, rows, members, ranked[0])
    adjusted = holm([p for _, p in tests])
    for (at, _), p in zip(tests, adjusted, strict=True):
        cells[at] = replace(cells[at], significant=bool(p < ALPHA))
    return cells


def _contests(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Positions of the rows that differ in nothing but the model."""
    found: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        key = repr(
            [row["task"], row["dataset"], row["prompt"], row["metric"], sorted(row["group"].items(), key=str)]
        )
        found.setdefault(key, []).append(at)
    yield from (members for members in found.values() if len(members) > 1)


def _tagged(rows: Sequence[Row], members: Sequence[int], at: int) -> bool:
    """True for a tagged baseline (an oracle is no winner) unless all are."""
    return bool(rows[at]["baseline"]) and not all(rows[m]["baseline"] for m in members)


def _ranked(rows: Sequence[Row], members: Sequence[int]) -> list[float]:
    """Different values, best first."""
    values = {
        rows[m]["value"] for m in members if rows[m]["value"] is not None and not _tagged(rows, members, m)
    }
    return sorted(values, reverse=rows[members[0]]["direction"] == "higher")


def _against_best(
    evidence: RunEvidence, rows: Sequence[Row], members: Sequence[int], best: float
) -> Iterator[tuple[int, float]]:
    leader = next(m for m in members if rows[m]["value"] == best and not _tagged(rows, members, m))
    for at in members:
        if at == leader or rows[at]["value"] is None or _tagged(rows, members, at):
            continue
        pair = Pair(evidence, _cell(rows[leader]), evidence, _cell(rows[at]))
        row = rows[at]
        metric = evidence.metrics(row["task"]).get(row["metric"])
        if metric is not None:
            found = tested_setting(pair, metric, row["prompt"], row["by"], row["group"])
            if np.isfinite(found.p):
                yield at, found.p


def _cell(row: Row) -> CellName:
    return CellName(row["task"], row["dataset"], row["model"], row["arm"])


def _sd(evidence: RunEvidence, row: Row) -> float | None:
    metric = evidence.metrics(row["task"]).get(row["metric"])
    if metric is None or not metric.linear:
        return None
    found = evidence.entered(_cell(row), metric, row["prompt"], row["by"], row["group"])
    values = np.asarray(found.statistics["value"], dtype=np.float64)
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _note(rows: Sequence[Row], cells: Sequence[Shown], fixed: Sequence[str]) -> str:
    parts = ["; ".join(fixed)] if fixed else []
    parts += [", ".join(dict.fromkeys(row["estimand"] for row in rows))]
    if any(cell.mark for cell in cells):
        left_out = len({bool(row["baseline"]) for row in rows}) > 1
        parts.append("best bold, second underlined" + (", tagged baselines left out" if left_out else ""))
    if any(cell.significant for cell in cells):
        parts.append(
            f"* significantly worse than the best (paired permutation test by patient, Holm over the table, p < {ALPHA:g})"
        )
    if any(cell.incomplete for cell in cells):
        parts.append("† incomplete: records are missing")
    directions = {row["direction"] for row in rows}
    parts += ["metrics of opposite direction: see the arrows"] if len(directions) > 1 else []
    return "; ".join(parts)
