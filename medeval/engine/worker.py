"""A worker owns one model on one device and runs units of one cell: read, predict and score overlap.

Reading runs some cases ahead in threads; predicting stays in the calling thread (CUDA and Ctrl-C want that), but for what is
begun of the next case where its model allows that (``early``); scoring and packing run in a thread pool (the metric kernels
release the interpreter lock); parts are written by one thread more. A thread, a child process or a cluster's actor are this same class.
"""

from __future__ import annotations

import inspect
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from medeval.engine.chats import FOLDER as CHATS
from medeval.engine.chats import Chats, RunStopped
from medeval.engine.early import Early
from medeval.engine.plan import Plan, PlannedCell
from medeval.engine.reading import Ahead, Job, inputs_only
from medeval.engine.recorder import UnitRecorder, UnitResult, blame_task
from medeval.engine.rows import replayed
from medeval.runs.codecs import decode
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.journal import FileJournal
from medeval.tasks.context import STOPS, Context
from medeval.types import (
    Case,
    CaseFailure,
    CaseInfo,
    DataError,
    Failure,
    InfrastructureFailure,
    Key,
    Output,
    Status,
)

Event = Literal["started", "paused", "resumed", "predicted"]
OnResult = Callable[[UnitResult], None]
OnEvent = Callable[[Event, UnitName], None]


@dataclass(frozen=True)
class Settings:
    """How work is done; none of it changes what comes out.

    score_threads: scoring threads. read_ahead: cases read before they are needed. open_units: dialogues in flight.
    score: False keeps outputs and measures nothing.
    """

    score_threads: int = max(1, os.cpu_count() or 1)
    read_ahead: int = 2
    open_units: int = 32
    keep_predictions: bool = True
    score: bool = True


class Worker:
    """Runs jobs of one cell.

    model: the built model (None where only kept predictions are scored, or failures written).
    artifact: folder that the task's ``prepare`` left, or None. chats: the process's chat models.
    """

    def __init__(
        self, plan: Plan, planned: PlannedCell, folder: RunFolder, settings: Settings, model: Any = None,
        artifact: Path | None = None, chats: Chats | None = None,
    ) -> None:  # fmt: skip
        self.chats = chats or Chats(plan.suite, folder.path / CHATS)
        self.stopped: CaseFailure | None = None  # what ended the run: no further unit is begun
        self.plan = plan
        self.planned = planned
        self.folder = folder
        self.settings = settings
        self.task = planned.cell.task
        self.dataset = plan.datasets[planned.cell.dataset]
        self.model = model
        self.artifact = artifact
        self.more: Callable[[], bool] = lambda: True  # False while the next job is not there yet
        self._slots = threading.Semaphore(2 * settings.score_threads)

    @property
    def is_source(self) -> bool:
        """True when outputs are looked up by case and key (oracle, a folder of predictions) and no model is asked."""
        return bool(getattr(self.model, "source", False))

    def run(
        self, jobs: Iterable[Job], on_result: OnResult, on_event: OnEvent = lambda event, unit: None
    ) -> None:
        """Do all jobs; ``on_result`` is called as each part is written (from another thread).

        What a job's case or model does wrong becomes records. Raises what ends the whole run: a full disk, Ctrl-C, and
        ``RunStopped`` when a budget is spent or a server can be asked no more; a unit that it stopped is not written.
        """
        with ExitStack() as stack:
            self.readers = stack.enter_context(ThreadPoolExecutor(self.settings.read_ahead, "read"))
            self.scorers = stack.enter_context(ThreadPoolExecutor(self.settings.score_threads, "score"))
            self.writer = stack.enter_context(ThreadPoolExecutor(1, "write"))
            self.beside = stack.enter_context(ThreadPoolExecutor(1, "beside"))
            try:
                subject = self._subject()
            except STOPS:
                raise
            except Exception as error:
                self.fail_all(jobs, blame_task(error), on_result)
                return
            if inspect.isasyncgenfunction(self.task.predict):
                from medeval.engine.dialogues import run_open

                run_open(self, subject, jobs, on_result)
            else:
                self._run_in_order(subject, jobs, on_result, on_event)
        if self.stopped is not None:
            raise RunStopped(str(self.stopped))

    def fail_all(self, jobs: Iterable[Job], failure: CaseFailure, on_result: OnResult) -> None:
        """Write units that cannot be asked at all."""
        for job in jobs:
            on_result(self.fail(job, failure.status, str(failure)))

    def fail(self, job: Job, status: Status, error: str) -> UnitResult:
        """Write one unit whose worker was lost or had to be killed: all that it owes fails with ``status``."""
        with ThreadPoolExecutor(1) as self.scorers:
            recorder = self.recorder(job, self.context(None))
            for case_id in job.unit.case_ids:
                self.admit(recorder, case_id, lambda case_id=case_id: self.read(case_id))  # type: ignore[misc]
                recorder.take(Failure(case_id, None, status, error))
            result = recorder.close()
            assert result is not None  # nothing was asked, so nothing was stopped
            return result

    def _subject(self) -> Any:
        if self.model is None or self.is_source:
            return self.model
        model = self.model
        if self.plan.suite.model_specs[self.planned.cell.model].chat:
            model = self.chats.model(self.planned.cell.model, self.planned.cell.seed)
        return self.task.load(model, self.planned.cell.arm, self.artifact, self.context(None))

    def context(self, journal: FileJournal | None, early: Early | None = None) -> Context:
        """The surroundings of a unit with this journal. early: begins the next case's work."""
        cell = self.planned.cell
        return Context(
            cell.seed, cell.arm, journal, self._inputs, self.dataset.structures,
            lambda block, role: self.chats.open(block, role, cell.seed), self.chats.dialogue, early,
        )  # fmt: skip

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        return inputs_only(self.plan.datasets)

    def journal(self, job: Job) -> FileJournal:
        """The unit's finished steps; those of another model, protocol or case content are in another file."""
        made_under = [
            self.planned.predict_hash,
            *self.plan.case_fingerprints(job.unit).values(),
            *self.plan.answers.of(job.unit).values(),
        ]
        return FileJournal(self.folder.journal(job.unit, made_under))

    def recorder(self, job: Job, context: Context, on_event: OnEvent | None = None) -> UnitRecorder:
        """What collects the unit's events."""
        recorder = UnitRecorder(
            self.planned, job.unit, self.folder, context, self.scorers, self._slots,
            self.plan.case_fingerprints(job.unit), job.work, self.settings.keep_predictions,
            chats=self.chats, measured=self.settings.score, answers=self.plan.answers.of(job.unit),
        )  # fmt: skip
        if on_event is not None:
            recorder.on_wait = lambda waits: on_event("paused" if waits else "resumed", job.unit)
        return recorder

    # -- cases --------------------------------------------------------------------------------------------------

    def read(self, case_id: str) -> tuple[Case, Sequence[Key]]:
        """A case and what it owes, computed where waiting does not hurt. Raises ``CaseFailure`` saying whose it is."""
        try:
            case = self.dataset.read(case_id)
        except CaseFailure:
            raise
        except MemoryError as error:
            raise InfrastructureFailure(f"out of memory while reading: {error}") from error
        except Exception as error:
            raise DataError(f"cannot be read: {type(error).__name__}: {error}") from error
        try:
            return case, self.task.owed(case, self.context(None))
        except Exception as error:
            raise blame_task(error) from error

    def admit(
        self, recorder: UnitRecorder, case_id: str, read: Callable[[], tuple[Case, Sequence[Key]]]
    ) -> Case | None:
        """The case, made known to the recorder; None when it cannot be read."""
        info: CaseInfo = self.dataset.index.info(case_id)
        try:
            case, owed = read()
        except CaseFailure as error:
            recorder.unreadable(info, error)
            return None
        recorder.opened(info, case, owed)
        return case

    # -- synchronous tasks: units one after another, stages overlapped ------------------------------------------

    def _run_in_order(
        self, subject: Any, jobs: Iterable[Job], on_result: OnResult, on_event: OnEvent
    ) -> None:
        closing: deque[Future[None]] = deque()
        ahead = Ahead(jobs, self.readers, self.read, self.settings.read_ahead, self.more)
        early = Early(self.beside, ahead.upcoming)
        for job, cases in ahead:
            if self.stopped is not None:
                break
            journal = self.journal(job)
            context = self.context(journal, None if job.alone else early)
            recorder = self.recorder(job, context, on_event)
            on_event("started", job.unit)
            self._predict(subject, job, recorder, self._admitted(recorder, cases))
            on_event("predicted", job.unit)
            closing.append(self.writer.submit(self.close, recorder, journal, on_result))
            while closing and (closing[0].done() or len(closing) > 2):
                closing.popleft().result()
        for future in closing:
            future.result()

    def _admitted(self, recorder: UnitRecorder, cases: Iterable[tuple[str, Future]]) -> Iterator[Case]:
        for case_id, future in cases:
            if not future.done():  # reading is not the model's time
                recorder.on_wait(True)
                future.exception()
                recorder.on_wait(False)
            case = self.admit(recorder, case_id, future.result)
            if case is not None:
                yield case

    def _predict(self, subject: Any, job: Job, recorder: UnitRecorder, cases: Iterator[Case]) -> None:
        try:
            for event in self._events(subject, job, recorder.context, cases):
                recorder.take(event)
        except STOPS:  # the disk is full, an option is wrong: nothing about this unit is true
            raise
        except Exception as error:
            self.tell(recorder, job, error)
        for _ in cases:  # a task that stopped early has not seen these: they are owed all the same
            pass

    def _events(
        self, subject: Any, job: Job, context: Context, cases: Iterator[Case]
    ) -> Iterable[Output | Failure]:
        if job.work == "score":
            return self.kept(job, cases)
        if self.is_source:
            return self.task.replay(subject, cases, context)
        return self.task.predict(subject, cases, context)  # type: ignore[return-value]

    def kept(self, job: Job, cases: Iterable[Case]) -> Iterator[Output | Failure]:
        """The kept events of the cases that can be read."""
        readable = {case.id for case in cases}
        rows = self.folder.units.rows("predictions", job.unit)
        yield from replayed([row for row in rows if row["case"] in readable], decode)

    def tell(self, recorder: UnitRecorder, job: Job, error: Exception) -> None:
        """An error of the whole unit: its trace goes to the log, what is owed fails with it."""
        trace = "" if isinstance(error, CaseFailure) else "".join(traceback.format_exception(error))
        self.folder.log("error", unit=job.unit.stem, error=f"{type(error).__name__}: {error}", trace=trace)
        recorder.failed(error)

    def close(self, recorder: UnitRecorder, journal: FileJournal, on_result: OnResult) -> None:
        """Write the unit's parts and tell of it; a unit that the run's end has cut keeps its steps alone."""
        result = recorder.close()
        if result is None:
            self.stopped = recorder.stopped
            journal.close()
            return
        # What is missing may be tried again, and need not be paid for twice.
        whole = not any(Status(status).missing for status in result.failed)
        if whole and self.task.transient_steps:
            journal.discard()
        else:
            journal.close()
        on_result(result)
