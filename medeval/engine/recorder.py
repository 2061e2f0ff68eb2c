"""One unit of work on its way to disk: events in, scores out, one whole part at the end."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from medeval.engine.plan import PlannedCell
from medeval.metrics.base import Metric, Statistic, Value
from medeval.runs.codecs import Packed, encode
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.parts import (
    PREDICTIONS,
    TIMINGS,
    prediction_row,
    record_schema,
    write_part,
)
from medeval.tasks.base import Scored
from medeval.tasks.columns import rule_column, statistic_column
from medeval.tasks.context import Context
from medeval.types import (
    Case,
    CaseFailure,
    CaseInfo,
    EvaluatorFailure,
    Failure,
    InfrastructureFailure,
    Key,
    MedevalError,
    Output,
    Status,
)

Row = dict[str, Any]


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit, for progress, log and exit code."""

    unit: UnitName
    work: str
    records: int
    failed: Mapping[str, int]
    errors: tuple[str, ...]
    seconds: float


@dataclass(eq=False)
class _OpenCase:
    """A case whose owed keys are not all there yet."""

    info: CaseInfo
    case: Case | None
    owed: list[Key]
    rest: Failure | None = None  # what the keys not yielded failed of


@dataclass(frozen=True, eq=False)
class _Taken:
    """One event, scored: record rows, its predictions row, seconds spent on scoring."""

    rows: list[Row]
    prediction: Row
    seconds: float = 0.0


@dataclass(eq=False)
class UnitRecorder:
    """Collects a unit's events. ``take`` is called by the predicting thread, ``close`` by one other thread after it.

    work: "predict" or "score" (kept predictions are scored again and left as they are).
    slots: bounds the outputs that wait to be scored, so that memory stays flat.
    """

    planned: PlannedCell
    unit: UnitName
    folder: RunFolder
    context: Context
    scorers: Executor
    slots: threading.Semaphore
    fingerprints: Mapping[str, str]
    work: str = "predict"
    keep_predictions: bool = True
    begin: float = field(default_factory=time.perf_counter)
    _cases: dict[str, _OpenCase] = field(default_factory=dict)
    _taken: list[Future[_Taken]] = field(default_factory=list)
    _done: set[tuple[str, Key]] = field(default_factory=set)

    def opened(self, info: CaseInfo, case: Case, owed: Sequence[Key]) -> None:
        """A case was read."""
        self._cases[info.id] = _OpenCase(info, case, list(owed))

    def unreadable(self, info: CaseInfo, error: CaseFailure) -> None:
        """A case could not be read: what the index says it owes fails, and nobody's model is to blame."""
        owed = self.planned.cell.task.owed_unread(info, self.context)
        self._cases[info.id] = _OpenCase(info, None, list(owed), Failure(info.id, None, error.status, str(error)))

    def take(self, event: Output | Failure) -> None:
        """One yielded output or failure. Blocks while too many outputs wait to be scored."""
        opened = self._cases.get(event.case_id)
        if opened is None:
            raise MedevalError(f"{self.planned.label}: yielded for case {event.case_id!r}, which the unit does not hold")
        if isinstance(event, Failure) and event.key is None:
            opened.rest = event
            return
        assert event.key is not None
        self.slots.acquire()
        work = self._score if isinstance(event, Output) else self._fail
        future = self.scorers.submit(work, event, opened.owed, opened.case)  # type: ignore[arg-type]
        future.add_done_callback(lambda _: self.slots.release())
        self._taken.append(future)
        self._mark(event, opened)

    def _mark(self, event: Output | Failure, opened: _OpenCase) -> None:
        assert event.key is not None
        keys = opened.owed if event.key.structure == "*" else [event.key]
        for key in keys:
            if (event.case_id, key) in self._done or key not in opened.owed:
                raise MedevalError(f"{self.planned.label}, case {event.case_id!r}: {key} was yielded twice or is not owed")
            self._done.add((event.case_id, key))
        if all((event.case_id, key) in self._done for key in opened.owed):
            opened.case = None  # scored and dropped: the scoring jobs hold what they need

    def failed(self, error: BaseException) -> None:
        """``predict`` ended with an error: every key not yet yielded fails with it."""
        failure = error if isinstance(error, CaseFailure) else _ours(error)
        for opened in self._cases.values():
            if opened.rest is None:
                opened.rest = Failure(opened.info.id, None, failure.status, str(failure))

    def close(self) -> UnitResult:
        """Wait for the scores, fill in what is owed, write the parts; the records part last, for it is the commit."""
        taken = [future.result() for future in self._taken]
        taken += [self._fill(opened, key) for opened in self._cases.values() for key in self._missing(opened)]
        rows = [row for item in taken for row in item.rows]
        self._write(taken, rows)
        failed: dict[str, int] = {}
        for row in rows:
            if Status(row["status"]).failed:
                failed[row["status"]] = failed.get(row["status"], 0) + 1
        errors = tuple(dict.fromkeys(f"{r['case']}: {r['error']}" for r in rows if Status(r["status"]).failed))[:3]
        return UnitResult(self.unit, self.work, len(rows), failed, errors, time.perf_counter() - self.begin)

    def _write(self, taken: Sequence[_Taken], rows: Sequence[Row]) -> None:
        if self.work == "predict":
            meta = {"predict": self.planned.predict_hash, "kept": self.keep_predictions}
            predictions = [item.prediction for item in taken]
            write_part(self.folder.part("predictions", self.unit), predictions, PREDICTIONS, meta)
            timings = [{"case": t.case_id, "name": t.name, "seconds": t.seconds} for t in self.context.timings]
            timings.append({"case": None, "name": "score", "seconds": sum(item.seconds for item in taken)})
            write_part(self.folder.part("timings", self.unit), timings, TIMINGS, {})
        meta = {
            "predict": self.planned.predict_hash,
            "score": self.planned.score_hash,
            "cases": dict(self.fingerprints),
            "missing": sum(Status(row["status"]).missing for row in rows),
        }
        rows = sorted(rows, key=lambda r: (r["case"], r["structure"], r["prompt"], r["round"], r["sample"]))
        write_part(self.folder.part("records", self.unit), rows, record_schema(self.planned.cell.task), meta)

    # -- one event ----------------------------------------------------------------------------------------------

    def _score(self, output: Output, owed: Sequence[Key], case: Case | None) -> _Taken:
        begin = time.perf_counter()
        packed = self._pack(output)
        keys = owed if output.key.structure == "*" else [output.key]
        try:
            assert case is not None  # only cases that were read reach predict
            scored = {item.key: item for item in self._asked_to_score(case, output)}
            rows = [self._scored_row(output, case, key, scored.get(key)) for key in keys]
        except CaseFailure as error:
            rows = [self._failed_row(Failure(output.case_id, key, error.status, str(error)), case) for key in keys]
        row = prediction_row(output.case_id, output.key, output.status, "", output.columns, packed)
        return _Taken(rows, row, time.perf_counter() - begin)

    def _asked_to_score(self, case: Case, output: Output) -> Iterable[Scored]:
        try:
            scored = self.planned.cell.task.score(case, output, self.context)
            return asyncio.run(_awaited(scored)) if inspect.isawaitable(scored) else scored
        except CaseFailure:
            raise
        except MemoryError as error:
            raise InfrastructureFailure(f"out of memory while scoring: {error}") from error
        except Exception as error:
            raise EvaluatorFailure(f"scoring raised {type(error).__name__}: {error}") from error

    def _pack(self, output: Output) -> Packed | None:
        return encode(output.value) if self.keep_predictions and self.work == "predict" else None

    def _fail(self, failure: Failure, owed: Sequence[Key], case: Case | None) -> _Taken:
        assert failure.key is not None
        row = prediction_row(failure.case_id, failure.key, failure.status, failure.error, {}, None)
        return _Taken([self._failed_row(failure, case)], row)

    def _missing(self, opened: _OpenCase) -> list[Key]:
        return [key for key in opened.owed if (opened.info.id, key) not in self._done]

    def _fill(self, opened: _OpenCase, key: Key) -> _Taken:
        rest = opened.rest or Failure(opened.info.id, None, Status.MODEL_FAILED, "the task yielded nothing for this key")
        return self._fail(Failure(opened.info.id, key, rest.status, rest.error), opened.owed, opened.case)

    # -- rows ---------------------------------------------------------------------------------------------------

    def _base(self, case_id: str, key: Key, status: Status, error: str, notes: str) -> Row:
        cell = self.planned.cell
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

    def _scored_row(self, output: Output, case: Case, key: Key, scored: Scored | None) -> Row:
        if scored is None:
            raise EvaluatorFailure(f"the task scored no {key.structure or 'record'!r}")
        row = {**self._base(case.id, key, output.status, "", case.notes), **output.columns, **scored.columns}
        for metric in self.planned.cell.task.bound_metrics:
            found = scored.values.get(metric.name, Value(None, "not measured"))
            row |= _metric_columns(metric, found.statistic, found.rule)
        return row

    def _failed_row(self, failure: Failure, case: Case | None) -> Row:
        assert failure.key is not None
        notes = case.notes if case is not None else ""
        row = self._base(failure.case_id, failure.key, failure.status, failure.error, notes)
        if failure.status.models_fault and case is not None:
            reference = self.planned.cell.task.worst_reference(case, failure.key)
            for metric in self.planned.cell.task.bound_metrics:
                row |= _metric_columns(metric, metric.failed(reference), f"{failure.status}: worst")
        return row


def replayed(rows: Sequence[Mapping[str, Any]], decode_value: Any) -> Iterable[Output | Failure]:
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


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _metric_columns(metric: Metric, statistic: Statistic | None, rule: str) -> Row:
    columns: Row = {rule_column(metric.name): rule or None}
    for name in metric.statistic:
        columns[statistic_column(metric.name, name)] = None if statistic is None else statistic[name]
    return columns


def _ours(error: BaseException) -> CaseFailure:
    if isinstance(error, MemoryError):
        return InfrastructureFailure(f"out of memory: {error}")
    return EvaluatorFailure(f"the task raised {type(error).__name__}: {error}")
