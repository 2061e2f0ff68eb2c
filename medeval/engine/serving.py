"""The worker's side of a run that is shared out: a plan, the last model built, and one order after another.

Only the suite as plain data, a cell's number and unit names cross to a worker; it opens its datasets and builds its model
itself. A child process (``processes``) and an actor on a cluster (``cluster``) differ in how messages travel, in nothing else.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from medeval.engine.chats import FOLDER as CHATS
from medeval.engine.chats import Chats, RunStopped
from medeval.engine.devices import settle
from medeval.engine.plan import Facts, Plan, PlannedCell, Shard
from medeval.engine.reading import Job
from medeval.engine.worker import Event, Settings, Worker
from medeval.runs.folder import RunFolder, UnitName
from medeval.suite import Suite
from medeval.tasks.base import fingerprint_of
from medeval.types import MedevalError, RunError, UserError


class ModelNotBuilt(MedevalError):
    """A model's constructor raised, or its worker died in it; the message is the reason."""


@dataclass(frozen=True)
class Setup:
    """All that a worker needs to plan as the run did.

    environment: the run's variables, which may be newer than the process that a worker is made from. working: its working
    directory. share: the worker's share of what chat models may spend.
    """

    suite: Mapping[str, Any]
    base: str
    shard: Shard
    facts: Facts
    settings: Settings
    environment: Mapping[str, str]
    working: str
    share: float = 1.0


@dataclass(frozen=True)
class Order:
    """One cell to work on, by its number in the plan; jobs follow, and a None ends them.

    predict: what its predictions depend on, as the run sees it. watched: a clock runs while the model is asked.
    measured: False where outputs are kept and not scored.
    """

    cell: int
    artifact: str | None
    predict: Mapping[str, Any]
    watched: bool = False
    measured: bool = True


class Channel(Protocol):
    """A worker's way to the run."""

    def receive(self) -> Any:
        """The next order or job, waited for. Raises ``EOFError`` when the run is gone."""

    def waiting(self) -> bool:
        """True when ``receive`` need not wait."""

    def send(self, kind: str, value: Any = None, heard: bool = False) -> None:
        """One message, from any thread. heard: return only when nothing that this process does can hold it back."""


def serve(channel: Channel, setup: Setup, folder: Path) -> None:
    """Work until the run says None, or tell what ended it. folder: the run's, or one that stands for it here."""
    try:
        _Worker(channel, setup, folder).serve()
    except (EOFError, BrokenPipeError):  # the run is gone
        return
    except ModelNotBuilt as error:
        channel.send("broken", str(error))
    except RunStopped as error:
        channel.send("stopped", str(error))
    except UserError as error:
        channel.send("error", str(error))
    except Exception as error:
        channel.send("log", ("error", {"error": str(error), "trace": traceback.format_exc()}))
        channel.send("error", f"a worker process failed: {type(error).__name__}: {error}")


def built(plan: Plan, name: str, chats: Chats) -> Any:
    """A model, constructed, or a role's way to a chat model. Raises ``ModelNotBuilt``."""
    try:
        return chats.model(name) if plan.suite.model_specs[name].chat else plan.build_model(name)
    except UserError as error:
        raise ModelNotBuilt(str(error)) from error
    except (Exception, SystemExit) as error:
        raise ModelNotBuilt(f"{type(error).__name__}: {error}") from error


class _Worker:
    def __init__(self, channel: Channel, setup: Setup, folder: Path) -> None:
        self._channel = channel
        self._setup = setup
        self._folder = _ToldFolder(folder, channel)
        self._model: tuple[str, Any] = ("", None)

    def serve(self) -> None:
        setup = self._setup
        settle()
        self._plan = Plan(Suite.from_dict(setup.suite, base=Path(setup.base)), setup.shard, setup.facts)
        self._chats = Chats(self._plan.suite, self._folder.path / CHATS, setup.share)
        self._channel.send("up")
        while (order := self._channel.receive()) is not None:
            self._obey(order)
        self._chats.close()

    def _obey(self, order: Order) -> None:
        planned = self._plan.cells[order.cell]
        _check_alike(planned, order)
        self._chats.catch_up()
        artifact = Path(order.artifact) if order.artifact else None
        model = self._built(planned.cell.model)
        settings = self._setup.settings
        settings = replace(settings, score=settings.score and order.measured)
        worker = Worker(self._plan, planned, self._folder, settings, model, artifact, self._chats)
        worker.more = self._channel.waiting
        self._channel.send("ready")
        worker.run(self._jobs(), partial(self._channel.send, "done"), partial(self._tell, order.watched))
        self._channel.send("end")

    def _tell(self, watched: bool, event: Event, unit: UnitName) -> None:
        if watched or event in ("started", "predicted"):  # the others are for the clock
            self._channel.send(event, unit.id, watched and event in ("started", "resumed"))

    def _jobs(self) -> Iterator[Job]:
        while (job := self._channel.receive()) is not None:
            yield job

    def _built(self, name: str) -> Any:
        if self._model[0] != name:
            self._model = ("", None)  # two models at once may not fit
            self._model = (name, built(self._plan, name, self._chats))
        return self._model[1]


class _ToldFolder(RunFolder):
    """A worker's lines of the log are written by the run: one writer, also where several machines share a file system."""

    def __init__(self, path: Path, channel: Channel) -> None:
        super().__init__(path)
        self._channel = channel

    def log(self, event: str, **fields: Any) -> None:
        """Tell the run."""
        self._channel.send("log", (event, fields))


def _check_alike(planned: PlannedCell, order: Order) -> None:
    """Raises ``RunError`` where a worker finds another model file or code than the run was planned with."""
    if planned.predict_hash == fingerprint_of(order.predict):
        return
    here, there = planned.predict, order.predict
    differing = sorted(
        key
        for key in {*here, *there}
        if fingerprint_of({key: here.get(key)}) != fingerprint_of({key: there.get(key)})
    )
    raise RunError(
        f"{planned.label}: a worker finds other content than the run was planned with ({', '.join(differing)}): "
        "a file changed meanwhile, or is another one on that machine"
    )
