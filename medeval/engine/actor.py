"""A worker on another machine: what lives inside of a cluster's actor.

It never sees the run folder. A job comes with what is known of its unit (steps that were finished before), the unit's files
go back as bytes, and the run alone writes them. So no disk is shared, and a worker that was given up writes nothing any more.
"""

from __future__ import annotations

import io
import os
import re
import socket
import tarfile
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medeval.engine.manifest import package_version
from medeval.engine.reading import Job
from medeval.engine.serving import Order, Setup, serve
from medeval.engine.ticking import every
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.staging import files_of, forget, receive, staged
from medeval.types import RunError

Files = Mapping[str, bytes]
JOURNAL_EVERY = 2.0  # seconds between two looks at the steps of units that are worked on

# What a machine says of itself; all else of the environment is the run's, keys of chat models among it.
_OF_THE_MACHINE = re.compile(
    r"(RAY|CUDA|NVIDIA|ROCR|HIP|SLURM|LD|PYTHON|VIRTUAL_ENV|CONDA|XDG|SSH|OMP|MKL|OPENBLAS|PBS|LSB)($|_.*)"
    r"|PYTHON.*|PATH|HOME|USER|LOGNAME|SHELL|SHLVL|HOSTNAME|PWD|OLDPWD|TMPDIR|TEMP|TMP|TERM|DISPLAY|_"
)


@dataclass(frozen=True)
class Shipped:
    """A job with its unit's files, or an order with its artifact as ``packed`` gives it."""

    message: Job | Order
    files: Files = field(default_factory=dict)


def portable(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that another machine takes over."""
    return {name: value for name, value in environment.items() if not _OF_THE_MACHINE.fullmatch(name)}


def packed(folder: Path) -> bytes:
    """A folder as an uncompressed tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


class Actor:
    """``serve`` works in one thread, while ``give`` and ``take`` pass messages in others.

    Raises ``RunError`` when the machine has another version of medeval than the run.
    """

    def __init__(self, setup: Setup, version: str) -> None:
        if package_version() != version:
            raise RunError(
                f"{socket.gethostname()} has medeval-bench {package_version()}, the run has {version}"
            )
        self._setup = setup
        self._inbox = _Inbox()
        self._outbox = _Outbox()

    def serve(self) -> None:
        """Until the run says None. What goes wrong is told as a message."""
        try:
            self._serve()
        except (
            Exception
        ) as error:  # of this machine, as a full temporary folder: nobody would hear of it otherwise
            text = f"a worker on {socket.gethostname()} failed: {type(error).__name__}: {error}"
            self._outbox.put(("error", text), heard=False)

    def _serve(self) -> None:
        os.environ.update(self._setup.environment)
        if Path(self._setup.working).is_dir():  # paths of plug-ins' own mean there what they mean to the run
            os.chdir(self._setup.working)
        with staged() as folder:
            channel = _Channel(self._inbox, self._outbox, folder)
            with channel.telling_steps():
                serve(channel, self._setup, folder.path)

    def give(self, number: int, message: Any, artifact: bytes | None = None) -> None:
        """The run's ``number``-th message, from 0; the order of arrival does not matter."""
        if artifact is not None:
            message = Shipped(message, {"": artifact})
        self._inbox.put(number, message)

    def take(self) -> list[tuple[str, Any]]:
        """All messages that are there, waiting for the first."""
        return self._outbox.take()


def _node() -> str:
    """Ray's name of this machine."""
    import ray

    return ray.get_runtime_context().get_node_id()


class _Inbox:
    """Messages in the order in which they were sent."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[int, Any] = {}
        self._next = 0

    def put(self, number: int, message: Any) -> None:
        with self._changed:
            self._held[number] = message
            self._changed.notify_all()

    def waiting(self) -> bool:
        with self._changed:
            return self._next in self._held

    def get(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._next in self._held)
            self._next += 1
            return self._held.pop(self._next - 1)


class _Outbox:
    """Messages for the run. A call of ``take`` says that what the one before it gave has arrived."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._messages: list[tuple[str, Any]] = []
        self._given = 0
        self._arrived = 0

    def put(self, message: tuple[str, Any], heard: bool) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()
            if heard:  # a model may hold the interpreter from here on, and nothing would leave this process
                number = self._given + len(self._messages)
                self._changed.wait_for(lambda: self._arrived >= number)

    def take(self) -> list[tuple[str, Any]]:
        with self._changed:
            self._arrived = self._given
            self._changed.notify_all()
            self._changed.wait_for(lambda: bool(self._messages))
            messages, self._messages = self._messages, []
            self._given += len(messages)
            return messages


class _Channel:
    """Boxes as a channel; files go along."""

    def __init__(self, inbox: _Inbox, outbox: _Outbox, folder: RunFolder) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._folder = folder
        self._open: dict[str, UnitName] = {}
        self._sent: dict[str, int] = {}  # journal -> its size when it was sent
        self.waiting = inbox.waiting

    def receive(self) -> Any:
        """The next order or job; what came with it lies in the scratch folder."""
        message = self._inbox.get()
        if not isinstance(message, Shipped):
            return message
        if isinstance(message.message, Order):
            return replace(message.message, artifact=str(self._unpacked(message)))
        receive(self._folder, message.files)
        self._sent |= {name: len(data) for name, data in message.files.items()}
        self._open[message.message.unit.id] = message.message.unit
        return message.message

    def send(self, kind: str, value: Any = None, heard: bool = False) -> None:
        """One message; a result takes its unit's files with it."""
        if kind == "done":
            self._open.pop(value.unit.id, None)
            value = value, files_of(self._folder, value.unit)
            forget(self._folder, value[0].unit)
        elif kind == "up":
            value = _node()
        elif kind == "error":
            value = f"a worker on {socket.gethostname()}: {value}"
        self._outbox.put((kind, value), heard)

    def _unpacked(self, order: Shipped) -> Path:
        assert isinstance(order.message, Order)
        assert order.message.artifact is not None
        target = self._folder.path / "artifacts" / Path(order.message.artifact).name
        if not target.exists():
            with tarfile.open(fileobj=io.BytesIO(order.files[""])) as archive:
                archive.extractall(target, filter="data")
        return target

    def telling_steps(self) -> AbstractContextManager[None]:
        """While inside, finished steps of open units go to the run every few seconds: they outlive this worker."""
        return every(JOURNAL_EVERY, self._tell_all_steps, "steps")

    def _tell_all_steps(self) -> None:
        for unit in list(self._open.values()):
            self._tell_steps(unit)

    def _tell_steps(self, unit: UnitName) -> None:
        files = {
            name: data for name, data in files_of(self._folder, unit).items() if name.startswith("journal/")
        }
        grown = {name: data for name, data in files.items() if len(data) > self._sent.get(name, 0)}
        if grown:
            self._sent |= {name: len(data) for name, data in grown.items()}
            self._outbox.put(("files", (unit.id, grown)), heard=False)
