"""A worker owns one model on one device and runs units of one cell: read, predict and score overlap.

Reading runs some cases ahead in threads; predicting stays in the calling thread (CUDA and Ctrl-C want that); scoring and
packing run in a thread pool (the metric kernels release the interpreter lock); parts are written by one thread more.
A thread, a child process or a cluster's actor are this same class.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medeval.engine.plan import Plan, PlannedCell
from medeval.engine.recorder import UnitRecorder, UnitResult, replayed
from medeval.runs.codecs import decode
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.journal import FileJournal
from medeval.runs.parts import read_part
from medeval.tasks.context import Context
from medeval.types import Case, CaseFailure, DataError, EvaluatorFailure, Failure, Key, Output, RunError, Status

Event = Literal["started", "predicted"]


@dataclass(frozen=True)
class Job:
    """One unit to do: predict and score it, or score its kept predictions again."""

    unit: UnitName
    work: Literal["predict", "score"] = "predict"


@dataclass(frozen=True)
class Settings:
    """How work is done; none of it changes what comes out.

    score_threads: scoring threads. read_ahead: cases read before they are needed. open_units: dialogues in flight.
    """

    score_threads: int = max(1, os.cpu_count() or 1)
    read_ahead: int = 2
    open_units: int = 32
    keep_predictions: bool = True


class Worker:
    """Runs jobs of one cell.

    model: the built model (None where only kept predictions are scored, or failures written).
    artifact: folder that the task's ``prepare`` left, or None.
    """

    def __init__(
        self, plan: Plan, planned: PlannedCell, folder: RunFolder, settings: Settings, model: Any = None,
        artifact: Path | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.planned = planned
        self.folder = folder
        self.settings = settings
        self.task = planned.cell.task
        self.dataset = plan.datasets[planned.cell.dataset]
        self._model = model
        self._artifact = artifact
        self._slots = threading.Semaphore(2 * settings.score_threads)

    def run(
        self,
        jobs: Iterable[Job],
        on_result: Callable[[UnitResult], None],
        on_event: Callable[[Event, UnitName], None] = lambda event, unit: None,
    ) -> None:
        """Do all jobs; ``on_result`` is called as each part is written (from another thread).

        What a job's case or model does wrong becomes records. Raises what ends the whole run: a full disk, Ctrl-C.
        """
        with ExitStack() as stack:
            self._readers = stack.enter_context(ThreadPoolExecutor(self.settings.read_ahead, "read"))
            self._scorers = stack.enter_context(ThreadPoolExecutor(self.settings.score_threads, "score"))
            self._writer = stack.enter_context(ThreadPoolExecutor(1, "write"))
            subject = self._subject()
            if inspect.isasyncgenfunction(self.task.predict) and not getattr(self._model, "source", False):
                asyncio.run(self._run_open(subject, jobs, on_result))
            else:
                self._run_in_order(subject, jobs, on_result, on_event)

    def fail(self, job: Job, status: Status, error: str) -> UnitResult:
        """Write a unit whose worker was lost or had to be killed: all that it owes fails with ``status``."""
        with ThreadPoolExecutor(1) as self._scorers:
            recorder = self._recorder(job, Context(self.planned.cell.seed, structures=self.dataset.structures))
            for case_id in job.unit.case_ids:
                self._admit(recorder, case_id, lambda case_id=case_id: self._read(case_id))
                recorder.take(Failure(case_id, None, status, error))
            return recorder.close()

    def _subject(self) -> Any:
        if self._model is None or getattr(self._model, "source", False):
            return self._model
        cell = self.planned.cell
        return self.task.load(self._model, cell.arm, self._artifact, self._context(None))

    def _context(self, journal: FileJournal | None) -> Context:
        cell = self.planned.cell
        return Context(cell.seed, cell.arm, journal, _inputs_only(self.plan.datasets), self.dataset.structures)

    def _recorder(self, job: Job, context: Context) -> UnitRecorder:
        return UnitRecorder(
            self.planned,
            job.unit,
            self.folder,
            context,
            self._scorers,
            self._slots,
            self.plan.case_fingerprints(job.unit),
            job.work,
            self.settings.keep_predictions,
        )

    # -- cases --------------------------------------------------------------------------------------------------

    def _read(self, case_id: str) -> tuple[Case, Sequence[Key]]:
        """A case and what it owes, computed where waiting does not hurt."""
        try:
            case = self.dataset.read(case_id)
            return case, self.task.owed(case, self._context(None))
        except CaseFailure:
            raise
        except MemoryError as error:
            raise DataError(f"too large for this machine's memory: {error}") from error
        except Exception as error:
            raise DataError(f"cannot be read: {type(error).__name__}: {error}") from error

    def _admit(self, recorder: UnitRecorder, case_id: str, read: Callable[[], tuple[Case, Sequence[Key]]]) -> Case | None:
        try:
            case, owed = read()
        except CaseFailure as error:
            recorder.unreadable(self.dataset.index.info(case_id), error)
            return None
        recorder.opened(self.dataset.index.info(case_id), case, owed)
        return case

    # -- synchronous tasks: units one after another, stages overlapped ------------------------------------------

    def _run_in_order(
        self,
        subject: Any,
        jobs: Iterable[Job],
        on_result: Callable[[UnitResult], None],
        on_event: Callable[[Event, UnitName], None],
    ) -> None:
        closing: deque[Future[None]] = deque()
        ahead = _Ahead(jobs, self._readers, self._read, self.settings.read_ahead)
        for job, cases in ahead:
            journal = FileJournal(self.folder.journal(job.unit))
            context = self._context(journal)
            recorder = self._recorder(job, context)
            on_event("started", job.unit)
            self._predict(subject, job, recorder, self._admitted(recorder, cases))
            on_event("predicted", job.unit)
            closing.append(self._writer.submit(self._close, recorder, journal, on_result))
            while closing and (closing[0].done() or len(closing) > 2):
                closing.popleft().result()
        for future in closing:
            future.result()

    def _admitted(self, recorder: UnitRecorder, cases: Iterable[tuple[str, Future]]) -> Iterator[Case]:
        for case_id, future in cases:
            case = self._admit(recorder, case_id, future.result)
            if case is not None:
                yield case

    def _predict(self, subject: Any, job: Job, recorder: UnitRecorder, cases: Iterator[Case]) -> None:
        try:
            for event in self._events(subject, job, recorder.context, cases):
                recorder.take(event)
        except RunError:  # the disk is full: nothing about this unit is true
            raise
        except Exception as error:
            self._tell(recorder, job, error)
        for _ in cases:  # a task that stopped early has not seen these: they are owed all the same
            pass

    def _events(self, subject: Any, job: Job, context: Context, cases: Iterator[Case]) -> Iterable[Output | Failure]:
        if job.work == "score":
            return self._kept(job, cases)
        if getattr(self._model, "source", False):
            return self.task.replay(subject, cases, context)
        return self.task.predict(subject, cases, context)  # type: ignore[return-value]

    def _kept(self, job: Job, cases: Iterator[Case]) -> Iterator[Output | Failure]:
        readable = {case.id for case in cases}
        rows = read_part(self.folder.part("predictions", job.unit)).to_pylist()
        for event in replayed([row for row in rows if row["case"] in readable], decode):
            yield event

    def _tell(self, recorder: UnitRecorder, job: Job, error: Exception) -> None:
        """An error of the whole unit: its trace goes to the log, what is owed fails with it."""
        trace = "" if isinstance(error, CaseFailure) else "".join(traceback.format_exception(error))
        self.folder.log("error", unit=job.unit.stem, error=f"{type(error).__name__}: {error}", trace=trace)
        recorder.failed(error)

    def _close(self, recorder: UnitRecorder, journal: FileJournal, on_result: Callable[[UnitResult], None]) -> None:
        result = recorder.close()
        journal.close()
        on_result(result)

    # -- asynchronous tasks: many units in flight ---------------------------------------------------------------

    async def _run_open(self, subject: Any, jobs: Iterable[Job], on_result: Callable[[UnitResult], None]) -> None:
        """``open_units`` units at a time on one event loop; synchronous work never runs on it."""
        pending = iter(jobs)

        async def lane() -> None:
            for job in pending:
                await self._run_one(subject, job, on_result)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.settings.open_units):
                group.create_task(lane())

    async def _run_one(self, subject: Any, job: Job, on_result: Callable[[UnitResult], None]) -> None:
        loop = asyncio.get_running_loop()
        journal = FileJournal(self.folder.journal(job.unit))
        context = self._context(journal)
        recorder = self._recorder(job, context)
        cases = []
        for case_id in job.unit.case_ids:
            future = self._readers.submit(self._read, case_id)
            await asyncio.wait([asyncio.wrap_future(future)])
            case = self._admit(recorder, case_id, future.result)
            cases += [case] if case is not None else []
        try:
            async for event in self._async_events(subject, job, context, iter(cases)):
                await loop.run_in_executor(None, recorder.take, event)
        except RunError:
            raise
        except Exception as error:
            self._tell(recorder, job, error)
        await loop.run_in_executor(self._writer, self._close, recorder, journal, on_result)

    async def _async_events(
        self, subject: Any, job: Job, context: Context, cases: Iterator[Case]
    ) -> AsyncIterator[Output | Failure]:
        if job.work == "score":
            for event in self._kept(job, cases):
                yield event
        else:
            limit = self.plan.suite.model_specs[self.planned.cell.model].timeout
            async for event in _within(limit, self.task.predict(subject, cases, context)):  # type: ignore[arg-type]
                yield event


class _Ahead:
    """Jobs with their cases' reads, submitted some cases before they are consumed, across the borders of jobs."""

    def __init__(
        self,
        jobs: Iterable[Job],
        readers: ThreadPoolExecutor,
        read: Callable[[str], tuple[Case, Sequence[Key]]],
        window: int,
    ) -> None:
        self._ids = ((job, case_id) for job in jobs for case_id in job.unit.case_ids)
        self._readers = readers
        self._read = read
        self._window = window
        self._queue: deque[tuple[Job, str, Future]] = deque()

    def __iter__(self) -> Iterator[tuple[Job, Iterator[tuple[str, Future]]]]:
        while self._fill():
            job = self._queue[0][0]
            cases = self._of(job)
            yield job, cases
            for _ in cases:  # whatever the task did, the next job begins at its own cases
                pass

    def _of(self, job: Job) -> Iterator[tuple[str, Future]]:
        while self._fill() and self._queue[0][0] is job:
            _, case_id, future = self._queue.popleft()
            yield case_id, future

    def _fill(self) -> bool:
        while len(self._queue) < self._window:
            try:
                job, case_id = next(self._ids)
            except StopIteration:
                break
            self._queue.append((job, case_id, self._readers.submit(self._read, case_id)))
        return bool(self._queue)


class _InputsOnly:
    """A dataset without its reference: what ``context.dataset(name)`` gives."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.index = dataset.index

    def read(self, case_id: str) -> Case:
        """The case's inputs; its reference is not read at all."""
        return self._dataset.read(case_id, ("inputs",))


def _inputs_only(datasets: dict[str, Any]) -> dict[str, Any]:
    return {name: _InputsOnly(dataset) for name, dataset in datasets.items()}


async def _within(limit: float | None, events: AsyncIterator[Output | Failure]) -> AsyncIterator[Output | Failure]:
    """The events, or a timeout of the model when all of them together take longer than ``limit`` seconds."""
    try:
        async with asyncio.timeout(limit):
            async for event in events:
                yield event
    except TimeoutError as error:
        raise _Timeout(f"took longer than {limit:g} s") from error


class _Timeout(EvaluatorFailure):
    status = Status.TIMEOUT
