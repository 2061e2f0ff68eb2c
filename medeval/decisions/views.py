"""Comparisons and subgroups as plain tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medeval.decisions.compare import Comparison, Comparisons
from medeval.decisions.evidence import CellName, Entered, RunEvidence
from medeval.statistics import Estimate, estimate
from medeval.statistics.corrections import Correction
from medeval.statistics.subgroups import Subgroups, subgroups
from medeval.types import RunError, nearest
from medeval.types.views import Column, Table

MISSING = "(missing)"  # the group of cases whose metadata do not say


def comparison_tables(found: Comparisons) -> list[Table]:
    """One table a (task, dataset): each difference with its interval, tests, effect and win/tie/loss."""
    keys = dict.fromkeys((row.task, row.dataset) for row in found.rows)
    return [
        _comparison_table(
            f"{task} on {dataset}",
            [r for r in found.rows if (r.task, r.dataset) == (task, dataset)],
            found.family,
        )
        for task, dataset in keys
    ]


def _comparison_table(title: str, rows: Sequence[Comparison], family: str) -> Table:
    groups = list(dict.fromkeys(name for row in rows for name in row.group))
    columns = [*(Column(name) for name in groups), Column("new"), Column("old"), Column("prompt"), Column("metric"),
               Column("new_value", "new value", "number"), Column("old_value", "old value", "number"),
               Column("difference", "difference (new - old)", "interval"), Column("p", kind="number"),
               Column("p_corrected", "p corrected", "number", family), Column("wilcoxon", "p Wilcoxon", "number"),
               Column("dz", "Cohen's dz", "number"), Column("wtl", "win/tie/loss", "text", "cases"), Column("note")]  # fmt: skip
    lines = [_line(row) for row in rows]
    note = f"p: paired permutation test by patient; corrected: {family}; effect and win/tie/loss in the metric's own direction"
    return Table(title, columns, lines, note)


def _line(row: Comparison) -> dict[str, Any]:
    return {
        **{name: str(value) for name, value in row.group.items()},
        "new": row.new, "old": row.old, "prompt": row.prompt, "metric": row.metric, "new_value": row.new_value,
        "old_value": row.old_value, "difference": row.difference.as_dict(), "p": _number(row.p),
        "p_corrected": _number(row.p_corrected), "wilcoxon": _number(row.wilcoxon), "dz": _number(row.cohen_dz),
        "wtl": f"{row.wins}/{row.ties}/{row.losses}" if row.wins + row.ties + row.losses else "", "note": row.note,
    }  # fmt: skip


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def changed_table(rows: Sequence[Comparison]) -> Table:
    """The cases that changed most, of each comparison."""
    columns = [Column(name) for name in ("new", "old", "prompt", "metric", "case")]
    columns += [Column(name, kind="number") for name in ("old_value", "new_value", "difference")]
    lines = [
        {"new": row.new, "old": row.old, "prompt": row.prompt, "metric": row.metric, "case": change.case,
         "old_value": change.old, "new_value": change.new, "difference": change.difference}
        for row in rows for change in row.changed
    ]  # fmt: skip
    return Table("Cases that changed most", columns, lines)


def subgroup_tables(
    evidence: RunEvidence, column: str, metric: str, correction: Correction = "holm"
) -> list[Table]:
    """One table a (task, dataset, prompt): each model's groups of a metadata or record column.

    Raises ``RunError`` for a column or metric that is not there, or that has one group everywhere.
    """
    tables = []
    for cell in evidence.cells:
        if metric not in evidence.metrics(cell.task):
            continue
        frame = evidence.frame(cell)
        if column not in frame:
            raise RunError(
                f"{cell.dataset} has no column {column!r}; {nearest(column, map(str, frame.columns))}"
            )
        for prompt, _ in evidence.settings(cell):
            found = _of_cell(evidence, cell, column, metric, prompt, correction)
            if found is not None:
                tables.append(_subgroup_table(cell, column, metric, prompt, found, correction))
    if not tables:
        raise RunError(
            f"no score of {metric!r} has two groups or more of {column!r} (cases without a value are none)"
        )
    return tables


@dataclass(frozen=True)
class _Grouped:
    """A cell's groups, and the records whose group is not known: shown, never tested."""

    known: Subgroups
    missing: Estimate | None
    lacking: str


def _of_cell(
    evidence: RunEvidence, cell: CellName, column: str, metric: str, prompt: str, correction: Correction
) -> _Grouped | None:
    """None where there is one group only."""
    bound = evidence.metric(cell.task, metric)
    entered = evidence.entered(cell, bound, prompt)
    labels = _labels(evidence, cell, column, entered)
    known = np.array([label is not None for label in labels], dtype=bool)
    if len({label for label in labels if label is not None}) < 2 or not bound.linear:
        return None
    values, resamples = np.asarray(entered.statistics["value"]), evidence.resamples(cell.dataset)
    names = [label for label in labels if label is not None]
    found = subgroups(bound, values[known], names, entered.patients[known], resamples, correction=correction)
    if known.all():
        return _Grouped(found, None, "")
    rest = estimate(bound, {"value": values[~known]}, entered.patients[~known], resamples)
    lacking = f"{(~known).sum()} records of {len(set(entered.cases[~known].tolist()))} cases have no {column}: not tested"
    return _Grouped(found, rest, lacking)


def _labels(evidence: RunEvidence, cell: CellName, column: str, entered: Entered) -> list[str | None]:
    """The group of each record; None where the metadata do not say."""
    if column == "structure":
        return [key.split("\x1f")[1].partition("#")[0] for key in entered.keys.tolist()]
    by_case = dict(zip(evidence.frame(cell)["case"], evidence.frame(cell)[column], strict=True))
    held = (by_case[case] for case in entered.cases.tolist())
    return [None if value is None or value != value or value == "" else str(value) for value in held]


def _subgroup_table(
    cell: CellName, column: str, metric: str, prompt: str, grouped: _Grouped, correction: Correction
) -> Table:
    found = grouped.known
    columns = [Column(column), Column("value", metric, "interval"), Column("difference", "difference to the rest", "number"),
               Column("p", f"p ({correction})", "number"), Column("which", "")]  # fmt: skip
    lines = [
        {column: group.name, "value": group.estimate.as_dict(), "difference": group.difference, "p": _number(group.p),
         "which": {found.worst: "worst", found.best: "best"}.get(group.name, "")}
        for group in found.groups
    ]  # fmt: skip
    if grouped.missing is not None:
        lines.append({column: MISSING, "value": grouped.missing.as_dict(), "difference": None, "p": None, "which": ""})  # fmt: skip
    scaled = "" if math.isnan(found.equity_scaled) else f"; equity-scaled {found.equity_scaled:.3f}"
    p = "no test" if math.isnan(found.p) else f"p = {found.p:.3g}"
    note = f"gap {found.gap:.3f} between {found.best} and {found.worst}, {p} (permutation test){scaled}"
    title = " · ".join(
        part for part in (cell.task, cell.dataset, cell.contender, prompt, f"by {column}") if part
    )
    return Table(
        title, columns, lines, "; ".join(part for part in (note, found.note, grouped.lacking) if part)
    )
