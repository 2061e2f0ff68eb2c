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
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from medeval.engine.chats import FOLDER as CHATS
from medeval.engine.chats import Chats, RunStopped
from medeval.engine.plan import Facts, Plan, Shard
from medeval.engine.reading import Job
from medeval.engine.recorder import UnitResult
from medeval.engine.worker import OnResult, Settings, Worker
from medeval.runs.folder import RunFolder
from medeval.suite import Suite
from medeval.types import MedevalError, RunError, Status, UserError

AHEAD = 2  # jobs in a child that are not predicted yet: one is asked while one is read
IN_FLIGHT = 5  # with those that wait to be scored and written


class ModelNotBuilt(MedevalError):
    """A model's constructor raised, or its process died in it; the message is the reason."""


@dataclass(frozen=True)
class Setup:
    """All that a child needs to plan as its parent did.

    environment: variables may be newer than the process that forks. share: the child's share of what chat models may spend.
    """

    suite: Mapping[str, Any]
    base: str
    shard: Shard
    facts: Facts
    folder: str
    settings: Settings
    environment: Mapping[str, str]
    share: float = 1.0


@dataclass(frozen=True)
class Order:
    """One cell to work on, by its number in the plan; jobs follow, and a None ends them."""

    cell: int
    artifact: str | None


class _Child:
    """The other side of the pipe: a plan, the last model, and one order after another."""

    def __init__(self, connection: Connection, setup: Setup) -> None:
        self._connection = connection
        self._setup = setup
        self._lock = threading.Lock()
        self._model: tuple[str, Any] = ("", None)

    def serve(self) -> None:
        """Until the parent says None."""
        setup = self._setup
        plan = Plan(Suite.from_dict(setup.suite, base=Path(setup.base)), setup.shard, setup.facts)
        chats = Chats(plan.suite, Path(setup.folder) / CHATS, setup.share)
        while (order := self._connection.recv()) is not None:
            planned = plan.cells[order.cell]
            artifact = Path(order.artifact) if order.artifact else None
            model = self._built(plan, planned.cell.model, chats)
            worker = Worker(
                plan, planned, RunFolder(Path(setup.folder)), setup.settings, model, artifact, chats
            )
            worker.more = self._connection.poll
            self.send("ready", None)
            worker.run(
                self._jobs(),
                lambda result: self.send("done", result),
                lambda event, unit: self.send(event, unit.id),
            )
            self.send("end", None)
        chats.close()

    def send(self, kind: str, value: Any) -> None:
        """One message to the parent, from any thread."""
        with self._lock:
            self._connection.send((kind, value))

    def _jobs(self) -> Iterator[Job]:
        while (job := self._connection.recv()) is not None:
            yield job

    def _built(self, plan: Plan, name: str, chats: Chats) -> Any:
        if self._model[0] != name:
            self._model = ("", None)  # two models at once may not fit
            self._model = (name, built(plan, name, chats))
        return self._model[1]


def _child(connection: Connection, setup: Setup) -> None:
    """Body of a child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(setup.environment)
    child = _Child(connection, setup)
    try:
        child.serve()
    except (EOFError, BrokenPipeError):  # the parent is gone
        return
    except ModelNotBuilt as error:
        child.send("broken", str(error))
    except RunStopped as error:
        child.send("stopped", str(error))
    except UserError as error:
        child.send("error", str(error))
    except Exception as error:
        RunFolder(Path(setup.folder)).log("error", error=str(error), trace=traceback.format_exc())
        child.send("error", f"a worker process failed: {type(error).__name__}: {error}")


def built(plan: Plan, name: str, chats: Chats) -> Any:
    """A model, constructed, or a role's way to a chat model. Raises ``ModelNotBuilt``."""
    try:
        return chats.model(name) if plan.suite.model_specs[name].chat else plan.build_model(name)
    except UserError as error:
        raise ModelNotBuilt(str(error)) from error
    except (Exception, SystemExit) as error:
        raise ModelNotBuilt(f"{type(error).__name__}: {error}") from error


def _die_with_parent() -> None:
    """A killed parent leaves nobody who would stop a model that hangs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@dataclass(eq=False)
class _Seat:
    """One child process and what it was given.

    predicting: id of the unit that the model is at. spent: seconds that it took so far; since: when the clock was last
    started, None while it stands still (reading and scoring are not the model's time).
    """

    process: Any
    connection: Connection
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

    def end(self) -> int | None:
        """Wait for the process and close our end; its exit code."""
        self.process.join()
        self.connection.close()
        return self.process.exitcode


class ProcessPool:
    """``size`` child processes that run the jobs of one cell after another; a model is built again only when it changes."""

    def __init__(self, plan: Plan, folder: RunFolder, settings: Settings, size: int) -> None:
        self._plan = plan
        self._folder = folder
        self._settings = settings
        self._size = size
        self._setup = Setup(
            plan.suite.resolved(), str(plan.suite.base), plan.shard, plan.facts, str(folder.path),
            replace(settings, score_threads=max(1, settings.score_threads // size)), dict(os.environ), 1 / size,
        )  # fmt: skip
        self._idle: list[_Seat] = []

    def run(
        self,
        number: int,
        artifact: Path | None,
        timeout: float | None,
        jobs: Sequence[Job],
        on_result: OnResult,
    ) -> None:
        """Do all jobs of the plan's cell ``number``.

        timeout: seconds that predicting one case may take; the unit is then a ``timeout`` and the child is replaced.
        Raises ``ModelNotBuilt``, and ``RunStopped`` or ``RunError`` when a child says that the run cannot go on.
        """
        fails = Worker(self._plan, self._plan.cells[number], self._folder, self._settings).fail
        order = Order(number, str(artifact) if artifact else None)
        _Shift(self, order, timeout, fails, on_result).work(deque(jobs), self._size)

    def seat(self) -> _Seat:
        """A child that waits for an order."""
        if self._idle:
            return self._idle.pop()
        context = _starts()
        ours, theirs = context.Pipe()
        process = context.Process(target=_child, args=(theirs, self._setup), daemon=True)
        process.start()
        theirs.close()
        return _Seat(process, ours)

    def rest(self, seat: _Seat) -> None:
        """A child that has done an order waits for the next."""
        self._idle.append(_Seat(seat.process, seat.connection))

    def close(self) -> None:
        """End the waiting children."""
        while self._idle:
            seat = self._idle.pop()
            seat.process.kill()
            seat.end()


class _Shift:
    """One cell's jobs shared out to children."""

    def __init__(
        self, pool: ProcessPool, order: Order, timeout: float | None,
        fails: Callable[[Job, Status, str], UnitResult], on_result: OnResult,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._order = order
        self._timeout = timeout
        self._fails = fails
        self._on_result = on_result
        self._lost: dict[str, int] = {}

    def work(self, todo: deque[Job], size: int) -> None:
        """Until all is done. Whatever ends it early kills the children: what they had not finished is done another time."""
        seats: list[_Seat] = []
        try:
            while seats or todo:
                open_ = sum(not seat.closing for seat in seats)  # a closing child takes no more
                seats += [self._pool.seat() for _ in range(min(size - len(seats), len(todo) - open_))]
                for seat in seats:
                    self._feed(seat, todo)
                ready = wait([seat.connection for seat in seats], timeout=self._patience(seats))
                for seat in [seat for seat in seats if seat.connection in ready]:
                    if not self._listen(seat):
                        seats.remove(seat)
                        self._ended(seat, todo)
                for seat in [seat for seat in seats if self._overdue(seat)]:
                    seats.remove(seat)
                    self._stop_hung(seat, todo)
        finally:
            for seat in seats:
                seat.process.kill()
                seat.end()  # before the run's lock is given up nobody writes any more

    def _feed(self, seat: _Seat, todo: deque[Job]) -> None:
        if seat.closing:
            return
        try:
            if not seat.ordered:
                seat.ordered = True
                seat.connection.send(self._order)
            while todo and seat.waiting < AHEAD and len(seat.jobs) < IN_FLIGHT:
                job = todo.popleft()
                seat.jobs[job.unit.id] = job
                seat.connection.send(job)
            if not todo:
                seat.closing = True
                seat.connection.send(None)
        except OSError:  # the child is gone; its end of the pipe tells so next
            seat.closing = True

    def _listen(self, seat: _Seat) -> bool:
        """One message; False when the child has ended."""
        try:
            kind, value = seat.connection.recv()
        except (EOFError, OSError):
            return False
        if kind == "broken":
            raise ModelNotBuilt(value)
        if kind == "stopped":
            raise RunStopped(value)
        if kind == "error":
            raise RunError(value)
        if kind == "ready":
            seat.ready = True
        elif kind == "done":
            seat.jobs.pop(value.unit.id)
            self._on_result(value)
        elif kind == "end":
            seat.done = True
        else:
            seat.hear(kind, value)
        return not seat.done

    def _patience(self, seats: Sequence[_Seat]) -> float | None:
        if self._timeout is None:
            return None
        left = [seconds for s in seats if (seconds := s.left(self._timeout)) is not None]
        return max(0.0, min(left)) + 0.01 if left else None

    def _overdue(self, seat: _Seat) -> bool:
        left = seat.left(self._timeout) if self._timeout is not None else None
        return left is not None and left < 0

    def _stop_hung(self, seat: _Seat, todo: deque[Job]) -> None:
        """Kill the child; the unit that it was at is a timeout, the others are done again."""
        unit = seat.predicting
        seat.process.kill()
        while self._listen(seat):  # what it had finished in the meantime stands
            pass
        seat.end()
        hung = seat.jobs.pop(unit) if unit is not None and seat.predicting == unit else None
        todo.extendleft(reversed(seat.jobs.values()))
        if hung is not None:
            self._on_result(self._fails(hung, Status.TIMEOUT, f"no answer within {self._timeout:g} s"))

    def _ended(self, seat: _Seat, todo: deque[Job]) -> None:
        """A child that is done rests. One that died gives its jobs back; what it died of fails at the second time."""
        if seat.done and not seat.jobs:
            self._pool.rest(seat)
            return
        code = seat.end()
        if not seat.ready:
            raise ModelNotBuilt(f"the worker process died (exit code {code}) before the model was there")
        if not seat.jobs:
            return
        lost = seat.jobs.pop(seat.predicting or next(iter(seat.jobs)))
        todo.extendleft(reversed(seat.jobs.values()))
        self._lost[lost.unit.id] = self._lost.get(lost.unit.id, 0) + 1
        if self._lost[lost.unit.id] < 2:  # once may be the machine's fault
            todo.append(lost)
        else:
            error = f"the worker process died (exit code {code}) while predicting, twice"
            self._on_result(self._fails(lost, Status.INFRASTRUCTURE, error))


def _starts() -> Any:
    """How children start: forked from a clean process that has imported us (20 ms), or anew where there is no fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def in_child(size: int, timeout: float | None) -> bool:
    """Whether a cell needs child processes."""
    return size > 1 or timeout is not None
