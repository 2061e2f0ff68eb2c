"""One unit of work on its way to disk: events in, scores out, one whole part at the end."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from medeval.engine.chats import Chats, stops_run
from medeval.engine.plan import PlannedCell
from medeval.engine.rows import Row, Rows
from medeval.runs.codecs import Packed, encode
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.parts import PREDICTIONS, TIMINGS, prediction_row, record_schema, write_part
from medeval.tasks.base import Scored
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
    """A case whose owed keys are not all there yet. ``case`` is let go with the last of them."""

    info: CaseInfo
    case: Case | None
    owed: tuple[Key, ...]
    pending: dict[Key, None]  # in order; what an event answers is taken out

    def meant(self, key: Key) -> tuple[Key, ...]:
        """The owed keys that an output answers: with the structure ``*`` all of its sample."""
        return tuple(k for k in self.owed if k.sample == key.sample) if key.structure == "*" else (key,)

    def answer(self, keys: Sequence[Key]) -> Case | None:
        """Take keys out. Raises ``MedevalError`` for one that is not owed, or was answered before."""
        for key in keys:
            if key not in self.pending:
                raise MedevalError(f"case {self.info.id!r}: {key} was yielded twice or is not owed")
        for key in keys:
            del self.pending[key]
        case = self.case
        if not self.pending:
            self.case = None  # the scoring jobs hold what they need
        return case


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
    slots: bounds the outputs that wait to be scored, so that memory stays flat; outputs of tasks whose ``score`` is a
        coroutine wait for no slot, since judges are asked side by side and limited by their servers.
    stopped: the failure that ends the run, which no record holds.
    measured: False where outputs are kept for later: nothing is scored, and no records are written.
    answers: hashes of what an output source holds for the cases, see ``medeval.engine.answers``; {} for a model.
    on_wait: told True before ``take`` has to wait for a slot and False after it: that time is not the model's.
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
    on_wait: Callable[[bool], None] = lambda waits: None
    chats: Chats | None = None
    measured: bool = True
    answers: Mapping[str, str] = field(default_factory=dict)
    stopped: CaseFailure | None = None
    begin: float = field(default_factory=time.perf_counter)
    rows: Rows = field(init=False)
    _cases: dict[str, _OpenCase] = field(default_factory=dict)
    _taken: list[Future[_Taken]] = field(default_factory=list)
    _ended: CaseFailure | None = None
    _cut: bool = False  # predict itself was stopped

    def __post_init__(self) -> None:
        self.rows = Rows(self.planned.cell)

    def opened(self, info: CaseInfo, case: Case, owed: Sequence[Key]) -> None:
        """A case was read; after ``failed`` it fails at once."""
        self._cases[info.id] = _OpenCase(info, case, tuple(owed), dict.fromkeys(owed))
        if self._ended is not None:
            self._fail_rest(self._cases[info.id], self._ended.status, str(self._ended))

    def unreadable(self, info: CaseInfo, error: CaseFailure) -> None:
        """A case could not be read: what the index says it owes fails, and nobody's model is to blame."""
        owed = tuple(self.planned.cell.task.owed_unread(info, self.context))
        self._cases[info.id] = _OpenCase(info, None, owed, dict.fromkeys(owed))
        self._fail_rest(self._cases[info.id], error.status, str(error))

    def take(self, event: Output | Failure) -> None:
        """One yielded output or failure. Blocks while too many outputs wait to be scored.

        Raises ``MedevalError`` for a case that the unit does not hold, and for a key that is not owed (any more).
        """
        opened = self._cases.get(event.case_id)
        if opened is None:
            raise MedevalError(f"yielded for case {event.case_id!r}, which the unit does not hold")
        if isinstance(event, Output):
            keys = opened.meant(event.key)
            self._ask_to_score(event, keys, opened.answer(keys))  # type: ignore[arg-type]  # owed, so it is held
        elif event.key is None:
            self._fail_rest(opened, event.status, event.error)
        elif event.key.structure == "*":
            sample = [key for key in opened.pending if key.sample == event.key.sample]
            self._fail_rest(opened, event.status, event.error, sample)
        else:
            self._submit(self._fail, event, opened.answer((event.key,)))

    def failed(self, error: BaseException) -> None:
        """``predict`` ended with an error: every key not yet yielded fails with it, also of cases opened later."""
        if stops_run(error):
            self._cut = True
            self.stopped = error  # type: ignore[assignment]
        self._ended = error if isinstance(error, CaseFailure) else blame_task(error)
        for opened in self._cases.values():
            self._fail_rest(opened, self._ended.status, str(self._ended))

    async def scored(self) -> None:
        """Wait on the event loop for judges, so that no thread has to; ``close`` tells what became of it."""
        await asyncio.gather(*map(asyncio.wrap_future, self._taken), return_exceptions=True)

    def close(self) -> UnitResult | None:
        """Wait for the scores, fill in what is owed, write the parts; the records part last, for it is the commit.

        None, and no records, where the run's end has cut the unit; whole predictions are kept, to be scored later.
        """
        for opened in self._cases.values():
            self._fail_rest(opened, Status.EVALUATOR_FAILED, "the task yielded nothing for this key")
        taken = [future.result() for future in self._taken]
        rows = [row for item in taken for row in item.rows]
        made_under = {"predict": self.planned.predict_hash, "cases": dict(self.fingerprints)}
        made_under |= {"answers": dict(self.answers)} if self.answers else {}
        if self.work == "predict" and not self._cut:
            self._write_predictions(taken, made_under)
        if self.stopped is not None:
            return None
        if self.measured:
            self._write_records(rows, made_under)
        failures = [row for row in rows if Status(row["status"]).failed]
        errors = tuple(dict.fromkeys(f"{row['case']}: {row['error']}" for row in failures))[:3]
        counts = dict(sorted(Counter(row["status"] for row in failures).items()))
        return UnitResult(self.unit, self.work, len(rows), counts, errors, time.perf_counter() - self.begin)

    def _write_predictions(self, taken: Sequence[_Taken], made_under: Mapping[str, Any]) -> None:
        meta = {**made_under, "kept": self.keep_predictions}
        predictions = [item.prediction for item in taken]
        write_part(self.folder.part("predictions", self.unit), predictions, PREDICTIONS, meta)
        timings = [{"case": t.case_id, "name": t.name, "seconds": t.seconds} for t in self.context.timings]
        timings.append({"case": None, "name": "score", "seconds": sum(item.seconds for item in taken)})
        write_part(self.folder.part("timings", self.unit), timings, TIMINGS, {})

    def _write_records(self, rows: Sequence[Row], made_under: Mapping[str, Any]) -> None:
        meta = {
            **made_under,
            "cell": self.planned.identity,
            "score": self.planned.score_hash,
            "missing": sum(Status(row["status"]).missing for row in rows),
        }
        rows = sorted(rows, key=lambda r: (r["case"], r["structure"], r["prompt"], r["round"], r["sample"]))
        write_part(self.folder.part("records", self.unit), rows, record_schema(self.planned.cell.task), meta)

    # -- one event ----------------------------------------------------------------------------------------------

    def _submit(self, work: Callable[..., _Taken], *args: Any) -> None:
        if not self.slots.acquire(blocking=False):
            self.on_wait(True)
            self.slots.acquire()
            self.on_wait(False)
        future = self.scorers.submit(work, *args)
        future.add_done_callback(lambda _: self.slots.release())
        self._taken.append(future)

    def _fail_rest(
        self, opened: _OpenCase, status: Status, error: str, keys: Sequence[Key] | None = None
    ) -> None:
        """Fail these pending keys, by default all that are pending."""
        keys = tuple(opened.pending if keys is None else keys)
        case = opened.answer(keys)
        for key in keys:
            self._submit(self._fail, Failure(opened.info.id, key, status, error), case)

    def _fail(self, failure: Failure, case: Case | None) -> _Taken:
        assert failure.key is not None
        row = prediction_row(failure.case_id, failure.key, failure.status, failure.error, {}, None)
        return _Taken([self.rows.failed(failure, case)], row)

    def _ask_to_score(self, output: Output, keys: Sequence[Key], case: Case) -> None:
        if self.chats is not None and inspect.iscoroutinefunction(self.planned.cell.task.score):
            self._taken.append(self.chats.submit(self._score_open(output, keys, case)))
        else:
            self._submit(self._score, output, keys, case)

    def _score(self, output: Output, keys: Sequence[Key], case: Case) -> _Taken:
        """One output, in a scoring thread."""
        begin = time.perf_counter()
        packed, failure = self._packed(output)
        scored: Any = ()
        if failure is None and self.measured:
            try:
                scored = self.planned.cell.task.score(case, output, self.context)
                scored = asyncio.run(_awaited(scored)) if inspect.isawaitable(scored) else scored
            except Exception as error:
                failure = self._blamed(error)
        return self._told(output, keys, case, packed, scored, failure, begin)

    async def _score_open(self, output: Output, keys: Sequence[Key], case: Case) -> _Taken:
        """The same on the event loop, where judges are chat models."""
        begin = time.perf_counter()
        packed, failure = self._packed(output)
        scored: Any = ()
        if failure is None and self.measured:
            try:
                scored = await self.planned.cell.task.score(case, output, self.context)  # type: ignore[misc]
            except Exception as error:
                failure = self._blamed(error)
        return self._told(output, keys, case, packed, scored, failure, begin)

    def _packed(self, output: Output) -> tuple[Packed | None, CaseFailure | None]:
        """The output as it is kept, and a failure that the task itself put on it: the worst score, with its answer."""
        try:
            packed = self._pack(output)
        except Exception as error:
            return None, self._blamed(error)
        told = str(output.columns.get("error") or "")
        return packed, _Told(output.status, told) if output.status.failed else None

    def _blamed(self, error: Exception) -> CaseFailure:
        """Whose failure it is that an output has no score."""
        if stops_run(error):
            self.stopped = error  # type: ignore[assignment]
        if isinstance(error, CaseFailure):
            return error
        if isinstance(error, MemoryError):
            return InfrastructureFailure(f"out of memory while scoring: {error}")
        return EvaluatorFailure(f"scoring raised {type(error).__name__}: {error}")

    def _told(
        self, output: Output, keys: Sequence[Key], case: Case, packed: Packed | None, scored: Iterable[Scored],
        failure: CaseFailure | None, begin: float,
    ) -> _Taken:  # fmt: skip
        rows: list[Row] = []
        if failure is None and self.measured:
            try:
                found = {item.key: item for item in scored}
                rows = [self.rows.scored(output, case, key, found.get(key)) for key in keys]
            except Exception as error:
                failure = self._blamed(error)
        if failure is not None:
            failures = [Failure(output.case_id, key, failure.status, str(failure)) for key in keys]
            rows = [self.rows.failed(item, case) for item in failures]
        if packed is None and failure is not None:  # nothing to score again: the failure is what is kept
            row = prediction_row(output.case_id, output.key, failure.status, str(failure), {}, None)
        else:
            row = prediction_row(output.case_id, output.key, output.status, "", output.columns, packed)
        return _Taken(rows, row, time.perf_counter() - begin)

    def _pack(self, output: Output) -> Packed | None:
        return encode(output.value) if self.keep_predictions and self.work == "predict" else None


class _Told(CaseFailure):
    """A failure that the task itself put on an output."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text or str(status))
        self.status = status


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def blame_task(error: BaseException) -> CaseFailure:
    """What an exception stands for that left the task's own code: never the model's failure."""
    if isinstance(error, CaseFailure):
        return error
    if isinstance(error, MemoryError):
        return InfrastructureFailure(f"out of memory: {error}")
    return EvaluatorFailure(f"the task raised {type(error).__name__}: {error}")
