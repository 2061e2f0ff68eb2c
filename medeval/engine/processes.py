"""Workers in child processes: several at once, and the only way to stop a model that hangs.

Messages go over a pipe. Children are forked from a clean process; they die with the run, also with one that is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from medeval.engine.plan import Plan
from medeval.engine.serving import Setup, serve
from medeval.engine.shifts import Death, Line, Pool
from medeval.engine.worker import Settings
from medeval.plugins.devices import ASSIGNED
from medeval.runs.folder import RunFolder


class ProcessPool(Pool):
    """Child processes. devices: worker i of all works on ``devices[i % len(devices)]``; () leaves it to the models."""

    def __init__(
        self, plan: Plan, folder: RunFolder, settings: Settings, size: int, devices: Sequence[str] = ()
    ) -> None:  # fmt: skip
        super().__init__(plan, folder, settings, size)
        self._devices = tuple(devices)
        self._setup = Setup(
            plan.suite.resolved(), str(plan.suite.base), plan.shard, plan.facts,
            replace(settings, score_threads=max(1, settings.score_threads // size)), dict(os.environ), os.getcwd(), 1 / size,
        )  # fmt: skip

    def device(self, number: int) -> str | None:
        """What worker ``number`` works on."""
        return self._devices[number % len(self._devices)] if self._devices else None

    def hire(self, number: int) -> Line:
        """A new child."""
        setup = self._setup
        if device := self.device(number):
            setup = replace(setup, environment={**setup.environment, ASSIGNED: device})
        context = _starts()
        ours, theirs = context.Pipe()
        process = context.Process(target=_child, args=(theirs, setup, self.folder.path), daemon=True)
        process.start()
        theirs.close()
        return _Pipe(number, process, ours)

    def wait(self, lines: Sequence[Line], timeout: float | None) -> Sequence[Line]:
        """Those whose pipe has something."""
        ready = wait([line.connection for line in lines if isinstance(line, _Pipe)], timeout=timeout)
        return [line for line in lines if isinstance(line, _Pipe) and line.connection in ready]


class _Pipe(Line):
    """The way to a child process."""

    def __init__(self, number: int, process: Any, connection: Connection) -> None:
        super().__init__(number)
        self.connection = connection
        self._process = process

    def send(self, message: Any) -> None:
        self.connection.send(message)

    def receive(self) -> tuple[str, Any]:
        return self.connection.recv()

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> Death:
        self._process.join()
        self.connection.close()
        return Death(f" (exit code {self._process.exitcode})")


class _Child:
    """The other end: what a child's threads send must not mix."""

    def __init__(self, connection: Connection) -> None:
        self._lock = threading.Lock()
        self._connection = connection
        self.receive = connection.recv
        self.waiting = connection.poll

    def send(self, kind: str, value: Any = None, heard: bool = False) -> None:
        """What is written to the pipe needs nothing of this process any more."""
        with self._lock:
            self._connection.send((kind, value))


def _child(connection: Connection, setup: Setup, folder: Path) -> None:
    """Body of a child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(setup.environment)
    serve(_Child(connection), setup, folder)


def _die_with_parent() -> None:
    """A killed parent leaves nobody who would stop a model that hangs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _starts() -> Any:
    """How children start: forked from a clean process that has imported us (20 ms), or anew where there is no fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
