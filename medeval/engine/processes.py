"""Workers in child processes: several at once, and the only way to stop a model that hangs.

Only the suite as plain data, a cell's number and unit names cross the border; a child opens its datasets and builds its
model itself. The parent keeps a few jobs in each child, watches the clock of the one being predicted, and replaces a child
that died or had to be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from medeval.engine.plan import Plan, PlannedCell, Shard
from medeval.engine.recorder import UnitResult
from medeval.engine.worker import Job, Settings, Worker
from medeval.runs.folder import RunFolder
from medeval.suite import Suite
from medeval.types import RunError, Status

_LOST = "the worker process died"


@dataclass(frozen=True)
class Order:
    """All that a child needs to build its worker."""

    suite: Mapping[str, Any]
    base: str
    shard: Shard
    cell: int
    fingerprints: Mapping[str, Mapping[str, str]]
    folder: str
    settings: Settings
    artifact: str | None


def _child(connection: Connection, order: Order) -> None:
    """Body of a child process: build, then run jobs until a None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            connection.send((kind, value))

    def jobs() -> Iterator[Job]:
        while (job := connection.recv()) is not None:
            yield job

    try:
        plan = Plan(Suite.from_dict(order.suite, base=Path(order.base)), order.shard)
        plan.fingerprints = {name: dict(known) for name, known in order.fingerprints.items()}
        planned = plan.cells[order.cell]
        model = plan.build_model(planned.cell.model)
        artifact = Path(order.artifact) if order.artifact else None
        worker = Worker(plan, planned, RunFolder(Path(order.folder)), order.settings, model, artifact)
        send("ready", None)
        worker.run(jobs(), lambda result: send("done", result), lambda event, unit: send(event, unit))
    except (EOFError, BrokenPipeError):  # the parent is gone
        return
    except Exception as error:
        send("error", f"{type(error).__name__}: {error}" if not isinstance(error, RunError) else str(error))
    else:
        send("end", None)


@dataclass(eq=False)
class _Seat:
    """One child process and what it was given."""

    process: Any
    connection: Connection
    jobs: dict[str, Job] = field(default_factory=dict)
    predicting: str | None = None
    since: float = 0.0
    closing: bool = False


class ProcessPool:
    """Runs a cell's jobs in ``size`` child processes.

    timeout: seconds that predicting one case may take; the unit is then a ``timeout`` and the child is replaced.
    """

    def __init__(
        self, plan: Plan, number: int, folder: RunFolder, settings: Settings, artifact: Path | None, size: int,
        timeout: float | None,
    ) -> None:  # fmt: skip
        self._plan = plan
        self._planned: PlannedCell = plan.cells[number]
        self._folder = folder
        self._size = size
        self._timeout = timeout
        self._settings = settings
        threads = max(1, (os.cpu_count() or 1) // size)
        child_settings = Settings(threads, settings.read_ahead, settings.open_units, settings.keep_predictions)
        self._order = Order(
            plan.suite.resolved(), str(plan.suite.base), plan.shard, number, plan.fingerprints, str(folder.path),
            child_settings, str(artifact) if artifact else None,
        )  # fmt: skip
        self._lost: dict[str, int] = {}
        self._in_flight = settings.read_ahead + 2  # one is predicted and one scored while others are read

    def run(self, jobs: Sequence[Job], on_result: Callable[[UnitResult], None]) -> None:
        """Do all jobs. Raises ``RunError`` when a child says that the run cannot go on."""
        todo = deque(jobs)
        seats = [self._seat() for _ in range(min(self._size, len(jobs)))]
        try:
            while seats:
                for seat in seats:
                    self._feed(seat, todo)
                ready = wait([s.connection for s in seats], timeout=self._patience(seats))
                for seat in [s for s in seats if s.connection in ready]:
                    if not self._listen(seat, on_result):
                        seats.remove(seat)
                        seats += self._replace(seat, todo, on_result)
                for seat in [s for s in seats if self._overdue(s)]:
                    seats.remove(seat)
                    self._stop_hung(seat, todo, on_result)
                    if todo:
                        seats.append(self._seat())
        finally:
            for seat in seats:
                seat.process.kill()

    def _seat(self) -> _Seat:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_child, args=(theirs, self._order), daemon=True)
        process.start()
        theirs.close()
        return _Seat(process, ours)

    def _feed(self, seat: _Seat, todo: deque[Job]) -> None:
        try:
            while todo and len(seat.jobs) < self._in_flight:
                job = todo.popleft()
                seat.jobs[job.unit.id] = job
                seat.connection.send(job)
            if not todo and not seat.closing:  # now, not later: a child waits for its next job before it predicts the last
                seat.closing = True
                seat.connection.send(None)
        except (BrokenPipeError, OSError):
            pass  # the child is gone; its end of the pipe tells so next

    def _listen(self, seat: _Seat, on_result: Callable[[UnitResult], None]) -> bool:
        """One message; False when the child has ended."""
        try:
            kind, value = seat.connection.recv()
        except (EOFError, OSError):
            return False
        if kind == "error":
            raise RunError(str(value))
        if kind == "started":
            seat.predicting, seat.since = value.id, time.monotonic()
        elif kind == "predicted":
            seat.predicting = None
        elif kind == "done":
            seat.jobs.pop(value.unit.id)
            on_result(value)
        return kind != "end"

    def _patience(self, seats: Sequence[_Seat]) -> float | None:
        ends = [s.since + self._limit(s) - time.monotonic() for s in seats if s.predicting and self._timeout]
        return max(0.0, min(ends)) + 0.01 if ends else None

    def _limit(self, seat: _Seat) -> float:
        assert self._timeout is not None and seat.predicting is not None
        return self._timeout * len(seat.jobs[seat.predicting].unit.case_ids)

    def _overdue(self, seat: _Seat) -> bool:
        return bool(self._timeout and seat.predicting and time.monotonic() - seat.since > self._limit(seat))

    def _stop_hung(self, seat: _Seat, todo: deque[Job], on_result: Callable[[UnitResult], None]) -> None:
        seat.process.kill()
        seat.process.join()
        while seat.connection.poll():  # what it had finished in the meantime stands
            try:
                self._listen(seat, on_result)
            except (EOFError, OSError):
                break
        hung = seat.jobs.pop(seat.predicting or "", None)
        todo.extendleft(reversed(seat.jobs.values()))
        if hung is not None:
            on_result(self._fail(hung, Status.TIMEOUT, f"no answer within {self._timeout:g} s"))

    def _replace(self, seat: _Seat, todo: deque[Job], on_result: Callable[[UnitResult], None]) -> list[_Seat]:
        """After a child's end: nothing when it was done, else its jobs go back and a new child takes its place."""
        seat.process.join()
        if not seat.jobs:
            return []
        lost = seat.jobs.pop(seat.predicting or next(iter(seat.jobs)))
        todo.extendleft(reversed(seat.jobs.values()))
        self._lost[lost.unit.id] = self._lost.get(lost.unit.id, 0) + 1
        if self._lost[lost.unit.id] < 2:  # once may be the machine's fault
            todo.append(lost)
        else:
            code = seat.process.exitcode
            on_result(self._fail(lost, Status.INFRASTRUCTURE, f"{_LOST} (exit code {code}) while predicting, twice"))
        return [self._seat()] if todo else []

    def _fail(self, job: Job, status: Status, error: str) -> UnitResult:
        return Worker(self._plan, self._planned, self._folder, self._settings).fail(job, status, error)


def in_child(size: int, timeout: float | None) -> bool:
    """Whether a cell needs child processes."""
    return size > 1 or timeout is not None


