"""Record rows: what stands in one line of evidence, whether the model answered or failed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from medeval.metrics.base import Metric, Value
from medeval.runs.codecs import Packed
from medeval.suite import Cell
from medeval.tasks.base import Scored
from medeval.tasks.columns import rule_column, statistic_column
from medeval.types import Case, EvaluatorFailure, Failure, Key, Output, Status

Row = dict[str, Any]


class Rows:
    """Makes the record rows of one cell."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def _base(self, case_id: str, key: Key, status: Status, error: str, notes: str) -> Row:
        cell = self._cell
        return {
            "task": cell.task.label,
            "dataset": cell.dataset,
            "model": cell.model,
            "arm": cell.arm,
            "seed": cell.seed,
            "case": case_id,
            **key._asdict(),
            "status": str(status),
            "error": error or None,
            "notes": notes or None,
        }

    def scored(self, output: Output, case: Case, key: Key, scored: Scored | None) -> Row:
        """The record of an answer. Raises ``EvaluatorFailure`` when the task did not score this key."""
        if scored is None:
            raise EvaluatorFailure(f"the task scored no {key.structure or 'record'!r}")
        status = scored.status or output.status
        row = {**self._base(case.id, key, status, "", case.notes), **output.columns, **scored.columns}
        if not status.answered:
            return row
        for metric in self._cell.task.bound_metrics:
            found = scored.values.get(metric.name, Value(None, "not measured"))
            row |= _metric_columns(metric, found)
        return row

    def failed(self, failure: Failure, case: Case | None) -> Row:
        """The record of a failure: every metric at its worst when it is the model's, else without values."""
        assert failure.key is not None
        notes = case.notes if case is not None else ""
        row = self._base(failure.case_id, failure.key, failure.status, failure.error, notes)
        if not failure.status.models_fault or case is None:
            return row
        try:
            reference = self._cell.task.worst_reference(case, failure.key)
            for metric in self._cell.task.bound_metrics:
                row |= _metric_columns(metric, Value(metric.failed(reference), f"{failure.status}: worst"))
        except (
            Exception
        ) as error:  # without a worst value it would be left out of the mean: that is our failure
            told = f"{failure.error} (and the worst value is not known: {type(error).__name__}: {error})"
            return self._base(failure.case_id, failure.key, Status.EVALUATOR_FAILED, told, notes)
        return row


def _metric_columns(metric: Metric, found: Value) -> Row:
    """The metric's columns; a statistic that is not finite is no value: no mean could hold it."""
    statistic, rule = found.statistic, found.rule
    if statistic is not None and not all(_finite(statistic[name]) for name in metric.statistic):
        statistic, rule = None, rule or "not finite"
    columns: Row = {rule_column(metric.name): rule or None}
    for name in metric.statistic:
        columns[statistic_column(metric.name, name)] = None if statistic is None else statistic[name]
    return columns


def _finite(value: Any) -> bool:
    return not isinstance(value, float | np.floating) or math.isfinite(value)


def replayed(
    rows: Sequence[Mapping[str, Any]], decode_value: Callable[[Packed], Any]
) -> Iterable[Output | Failure]:
    """The events of a predictions part, in the order in which they were kept."""
    for row in rows:
        key = Key(row["structure"], row["prompt"], row["round"], row["sample"])
        status = Status(row["status"])
        if row["codec"] is None:
            yield Failure(row["case"], key, status, row["error"] or "")
        else:
            columns = json.loads(row["columns"]) if row["columns"] else {}
            value = decode_value(Packed(row["codec"], row["meta"], row["payload"]))
            yield Output(row["case"], key, value, status, columns)
