"""The run's side of work that is shared out: a few jobs at each worker, a clock on the one that is predicted, and a new
worker for one that died or had to be killed. What is lost with a worker is done again.

How a worker is started, reached and killed is a ``Line``'s: a child process's pipe, or a cluster's actor.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medeval.engine.chats import RunStopped
from medeval.engine.plan import Plan
from medeval.engine.reading import Job
from medeval.engine.recorder import UnitResult
from medeval.engine.serving import ModelNotBuilt, Order
from medeval.engine.worker import OnResult, Settings, Worker
from medeval.runs.folder import RunFolder
from medeval.types import RunError, Status


@dataclass(frozen=True)
class Death:
    """How a worker ended. told: what is known of it, for messages; "" for nothing. blameless: its machine went with it."""

    told: str = ""
    blameless: bool = False


class Line(ABC):
    """The way to one worker, from its start to its end.

    number: the lowest that no other worker of the pool has. up: it has planned and waits for orders.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.up = False

    @abstractmethod
    def send(self, message: Any) -> None:
        """An order, a job, or the None that ends either. Raises ``OSError`` when the worker is gone."""

    @abstractmethod
    def receive(self) -> tuple[str, Any]:
        """Its next message, waited for. Raises ``EOFError`` or ``OSError`` when the worker is gone."""

    @abstractmethod
    def kill(self) -> None:
        """Stop it, whatever it does."""

    @abstractmethod
    def end(self) -> Death:
        """Wait until nothing of it runs any more."""


@dataclass(eq=False)
class Seat:
    """One worker and what it was given.

    predicting: id of the unit that the model is at. spent: seconds that it took so far; since: when the clock was last
    started, None while it stands still (reading and scoring are not the model's time).
    """

    line: Line
    jobs: dict[str, Job] = field(default_factory=dict)
    predicted: set[str] = field(default_factory=set)
    ordered: bool = False
    ready: bool = False
    closing: bool = False
    done: bool = False
    predicting: str | None = None
    spent: float = 0.0
    since: float | None = None

    @property
    def waiting(self) -> int:
        """Number of its jobs that are not predicted yet."""
        return len(self.jobs.keys() - self.predicted)

    def hear(self, event: str, unit: str) -> None:
        """One event of the worker."""
        now = time.monotonic()
        if self.since is not None:
            self.spent += now - self.since
        self.since = now if event in ("started", "resumed") else None
        if event == "started":
            self.predicting, self.spent = unit, 0.0
        elif event == "predicted":
            self.predicting = None
            self.predicted.add(unit)

    def left(self, timeout: float) -> float | None:
        """Seconds until the model is overdue; None while no clock runs."""
        if self.predicting is None or self.since is None:
            return None
        limit = timeout * len(self.jobs[self.predicting].unit.case_ids)
        return limit - self.spent - (time.monotonic() - self.since)


class Pool(ABC):
    """``size`` workers that run the jobs of one cell after another; a model is built again only when it changes.

    ahead: jobs at a worker that are not predicted yet: one is asked while one is read. in_flight: with those that wait to
    be scored and written.
    """

    ahead = 2
    in_flight = 5

    def __init__(self, plan: Plan, folder: RunFolder, settings: Settings, size: int) -> None:
        self.plan = plan
        self.folder = folder
        self.settings = settings
        self.size = size
        self._idle: list[Line] = []
        self._numbers: set[int] = set()

    def run(
        self, number: int, artifact: Path | None, timeout: float | None, jobs: Sequence[Job], on_result: OnResult,
        measured: bool = True,
    ) -> None:  # fmt: skip
        """Do all jobs of the plan's cell ``number``.

        timeout: seconds that predicting one case may take; the unit is then a ``timeout`` and the worker is replaced.
        measured: False where outputs are kept and not scored.
        Raises ``ModelNotBuilt``, and ``RunStopped`` or ``RunError`` when a worker says that the run cannot go on.
        """
        planned = self.plan.cells[number]
        fails = Worker(self.plan, planned, self.folder, self.settings).fail
        artifact_path = str(artifact.resolve()) if artifact else None
        order = Order(number, artifact_path, planned.predict, timeout is not None, measured)
        _Shift(self, order, timeout, fails, on_result).work(deque(jobs), self.size)

    def seat(self) -> Seat:
        """A worker that waits for an order, or soon will."""
        if self._idle:
            return Seat(self._idle.pop())
        number = next(n for n in range(len(self._numbers) + 1) if n not in self._numbers)
        self._numbers.add(number)
        return Seat(self.hire(number))

    def rest(self, seat: Seat) -> None:
        """A worker that has done an order waits for the next."""
        self._idle.append(seat.line)

    def dismiss(self, line: Line, kill: bool = True) -> Death:
        """A worker leaves, or has left."""
        if kill:
            line.kill()
        death = line.end()
        self._numbers.discard(line.number)
        return death

    def close(self) -> None:
        """End the workers that wait; the pool can be used again."""
        while self._idle:
            self.dismiss(self._idle.pop())

    def leave(self) -> None:
        """The same for good."""
        self.close()

    @abstractmethod
    def hire(self, number: int) -> Line:
        """A new worker, which need not be up yet."""

    @abstractmethod
    def wait(self, lines: Sequence[Line], timeout: float | None) -> Sequence[Line]:
        """Those of the lines that have a message or have ended, waiting for the first of them at most so many seconds."""


class _Shift:
    """One cell's jobs shared out to workers."""

    def __init__(
        self, pool: Pool, order: Order, timeout: float | None,
        fails: Callable[[Job, Status, str], UnitResult], on_result: OnResult,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._order = order
        self._timeout = timeout
        self._fails = fails
        self._on_result = on_result
        self._lost: dict[str, int] = {}
        self._stillborn = 0
        self._seats: list[Seat] = []

    def work(self, todo: deque[Job], size: int) -> None:
        """Until all is done. Whatever ends it early kills the workers: what they had not finished is done another time."""
        seats = self._seats
        try:
            while seats or todo:
                open_ = sum(not seat.closing for seat in seats)  # a closing worker takes no more
                seats += [self._pool.seat() for _ in range(min(size - len(seats), len(todo) - open_))]
                for seat in seats:
                    self._feed(seat, todo)
                self._send_home(todo)
                self._hear(seats, todo, self._patience())
                for seat in [seat for seat in seats if self._overdue(seat)]:
                    self._hear([seat], todo, 0.0)  # what it has told meanwhile stands
                    if self._overdue(seat):
                        self._stop_hung(seat, todo)
        finally:
            for seat in seats:
                seat.line.kill()
            for seat in seats:
                self._pool.dismiss(seat.line)  # before the run's lock is given up nobody writes any more

    def _feed(self, seat: Seat, todo: deque[Job]) -> None:
        if seat.closing or not seat.line.up:
            return
        try:
            if not seat.ordered:
                seat.ordered = True
                seat.line.send(self._order)
            while todo and seat.waiting < self._pool.ahead and len(seat.jobs) < self._pool.in_flight:
                job = todo.popleft()
                seat.jobs[job.unit.id] = job
                seat.line.send(job)
            if not todo:
                seat.closing = True
                seat.line.send(None)
        except OSError:  # the worker is gone; its line tells so next
            seat.closing = True

    def _send_home(self, todo: deque[Job]) -> None:
        """Workers that are not up when the last job is given out are not waited for (a cluster may have no room)."""
        for seat in [seat for seat in self._seats if not (todo or seat.line.up)]:
            self._seats.remove(seat)
            self._pool.rest(seat)

    def _hear(self, seats: Sequence[Seat], todo: deque[Job], patience: float | None) -> None:
        """One message of each worker that has one, waiting for the first."""
        by_line = {seat.line: seat for seat in seats}
        for line in self._pool.wait(list(by_line), patience) if by_line else ():
            seat = by_line[line]
            if not self._listen(seat):
                self._seats.remove(seat)
                self._ended(seat, todo)

    def _listen(self, seat: Seat) -> bool:
        """One message; False when the worker has ended, or done its order."""
        try:
            kind, value = seat.line.receive()
        except (EOFError, OSError):
            return False
        if kind == "broken":
            raise ModelNotBuilt(value)
        if kind == "stopped":
            raise RunStopped(value)
        if kind == "error":
            raise RunError(value)
        if kind == "log":
            self._pool.folder.log(value[0], **value[1])
        elif kind == "up":
            seat.line.up = True
        elif kind == "ready":
            seat.ready = True
        elif kind == "done":
            seat.jobs.pop(value.unit.id)
            self._on_result(value)
        elif kind == "end":
            seat.done = True
        elif kind == "files":  # the line has kept them
            pass
        else:
            seat.hear(kind, value)
        return not seat.done

    def _patience(self) -> float | None:
        if self._timeout is None:
            return None
        left = [seconds for s in self._seats if (seconds := s.left(self._timeout)) is not None]
        return max(0.0, min(left)) + 0.01 if left else None

    def _overdue(self, seat: Seat) -> bool:
        left = seat.left(self._timeout) if self._timeout is not None else None
        return left is not None and left < 0

    def _stop_hung(self, seat: Seat, todo: deque[Job]) -> None:
        """Kill the worker; the unit that it was at is a timeout, the others are done again."""
        self._seats.remove(seat)
        unit = seat.predicting
        seat.line.kill()
        while self._listen(seat):  # what it had finished in the meantime stands
            pass
        self._pool.dismiss(seat.line, kill=False)
        hung = seat.jobs.pop(unit) if unit is not None and seat.predicting == unit else None
        todo.extendleft(reversed(seat.jobs.values()))
        if hung is not None:
            self._on_result(self._fails(hung, Status.TIMEOUT, f"no answer within {self._timeout:g} s"))

    def _ended(self, seat: Seat, todo: deque[Job]) -> None:
        """A worker that is done rests. One that died gives its jobs back; what it died of fails at the second time."""
        if seat.done and not seat.jobs:
            self._pool.rest(seat)
            return
        death = self._pool.dismiss(seat.line, kill=False)
        lost = self._at_death(seat)
        self._pool.folder.log(
            "lost", worker=seat.line.number, told=death.told.strip(), unit=lost and lost.unit.stem
        )
        todo.extendleft(reversed(seat.jobs.values()))
        if not seat.ready:
            self._not_ready(death)
        elif lost is None:
            return
        elif death.blameless or self._first_time(lost):
            todo.append(replace(lost, alone=True))  # what was begun of the next unit may have killed it
        else:
            error = f"the worker process died{death.told} while predicting, twice"
            self._on_result(self._fails(lost, Status.INFRASTRUCTURE, error))

    def _at_death(self, seat: Seat) -> Job | None:
        """The job that a worker died of, taken from it: None for one that had no model yet."""
        if not seat.ready or not seat.jobs:
            return None
        return seat.jobs.pop(seat.predicting or next(iter(seat.jobs)))

    def _not_ready(self, death: Death) -> None:
        """Raises ``ModelNotBuilt`` when a second worker has died before it had its model: once may be its machine's fault."""
        self._stillborn += not death.blameless
        if self._stillborn > 1:
            raise ModelNotBuilt(f"the worker process died{death.told} before the model was there")

    def _first_time(self, job: Job) -> bool:
        """True when the job was at no worker's death yet."""
        self._lost[job.unit.id] = self._lost.get(job.unit.id, 0) + 1
        return self._lost[job.unit.id] < 2
