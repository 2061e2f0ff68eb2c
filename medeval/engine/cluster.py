"""``--engine ray``: workers as actors of a Ray cluster; who gets which job when, and what is done again, is ``shifts``' as ever.

Ray starts the actors, gives them CPUs and GPUs, carries messages, and tells when an actor or its node is gone. It retries and
restarts nothing: only the run knows what a lost worker was at. An actor lives until the run ends and builds a model again only
when it changes. Ray is imported when it is asked for.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any, Literal

from medeval.engine.actor import Actor, Shipped, packed, portable
from medeval.engine.manifest import package_version
from medeval.engine.options import RunOptions
from medeval.engine.plan import Plan
from medeval.engine.reading import Job
from medeval.engine.serving import Order, Setup
from medeval.engine.shifts import Death, Line, Pool
from medeval.engine.worker import Settings
from medeval.plugins.devices import ASSIGNED
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.staging import files_of, receive
from medeval.types import RunError, UserError

PATIENCE = 20.0  # seconds after which workers that are not up are told of
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_THREADS = 4  # of an actor: one serves, one waits for messages, others bring them
_TOKEN = " (one that asks for a token: set RAY_AUTH_MODE=token, see Ray's token authentication)"
_CONNECT = 10.0  # seconds for a cluster's port to answer
_LAST_WAIT = 60.0  # seconds for Ray to tell that an actor which it was told to kill is gone


def check_ray() -> None:
    """Raises ``UserError`` naming the extra where Ray is not installed."""
    spec = find_spec("ray")
    if spec is None or spec.origin is None:  # a folder of that name in the working directory is no Ray
        raise UserError("--engine ray needs Ray, which is not installed: pip install 'medeval-bench[ray]'")


class RayPool(Pool):
    """Actors. Connects to the cluster, or starts one of this machine, which ``leave`` ends again.

    tell: takes notes for the user. Raises ``UserError`` for a cluster that cannot be reached or that has no room for any worker.
    """

    ahead = 4  # a message takes longer than through a pipe
    in_flight = 7

    def __init__(
        self, plan: Plan, folder: RunFolder, settings: Settings, options: RunOptions, tell: Callable[[str], None]
    ) -> None:  # fmt: skip
        check_ray()
        import ray

        self._ray: Any = ray
        self._tell = tell
        self._cluster = _connect(options)
        try:
            total = ray.cluster_resources()
            self._gpus = _gpus_per_worker(options, total)
            size = options.workers or max(1, _room(ray.nodes(), self._gpus))
            super().__init__(plan, folder, settings, size)
            self._check_room(total)
            threads = max(1, int(total.get("CPU", 1)) // size)
            self._setup = ray.put(self._setup_for(replace(settings, score_threads=threads)))
        except BaseException:
            self._disconnect()
            raise
        self._class = self._ray.remote(Actor)
        self._artifacts: dict[str, Any] = {}
        self._waited = 0.0

    def _setup_for(self, settings: Settings) -> Setup:
        environment = portable(os.environ)
        environment.pop(ASSIGNED, None)  # Ray shows a worker the GPUs that are its own
        if self._gpus == 0:
            environment[ASSIGNED] = "cpu"
        plan = self.plan
        base = str(Path(plan.suite.base).resolve())
        return Setup(
            plan.suite.resolved(), base, plan.shard, plan.facts, settings, environment, os.getcwd(), 1 / self.size
        )  # fmt: skip

    def _check_room(self, total: dict[str, float]) -> None:
        """Raises ``UserError`` where no worker would ever start; a cluster of somebody's may grow, which it may tell."""
        if _room(self._ray.nodes(), self._gpus) == 0:
            has = f"{total.get('CPU', 0):g} CPUs and {total.get('GPU', 0):g} GPUs"
            told = f"no node of the Ray cluster has room for a worker of 1 CPU and {self._gpus:g} GPUs (all together have {has})"
            if self._cluster == "started":
                raise UserError(f"{told}; see --gpus-per-worker")
            self._tell(f"{told}; waiting for one")

    # -- what a pool does ---------------------------------------------------------------------------------------

    def hire(self, number: int) -> Line:
        """A new actor; it is up when the cluster has room for it, and it has planned."""
        options = {"num_cpus": 1, "num_gpus": self._gpus, "max_restarts": 0, "max_concurrency": _THREADS}
        actor = self._class.options(**options).remote(self._setup, package_version())
        return _RayLine(number, actor, self)

    def wait(self, lines: Sequence[Line], timeout: float | None) -> Sequence[Line]:
        """Those that have a message or are gone."""
        theirs = [line for line in lines if isinstance(line, _RayLine)]
        known = [line for line in theirs if line.heard]
        by_ref = {line.asked: line for line in theirs if not line.heard}
        if by_ref and not known:
            self._first(list(by_ref), timeout, all(line.up for line in theirs))
        there = self._ray.wait(list(by_ref), num_returns=len(by_ref), timeout=0)[0] if by_ref else []
        return known + [by_ref[ref] for ref in there]

    def _first(self, refs: list[Any], timeout: float | None, up: bool) -> None:
        if up:
            self._waited = 0.0
        elif self._waited < PATIENCE:
            patience = PATIENCE if timeout is None else min(timeout, PATIENCE)
            if self._ray.wait(refs, num_returns=1, timeout=patience)[0]:
                return
            self._waited += patience
            if self._waited >= PATIENCE:
                self._tell(
                    "some workers are not up yet: the cluster has no room for them, or is slow to start them"
                )
            if timeout is not None:
                return
        self._ray.wait(refs, num_returns=1, timeout=timeout)

    def leave(self) -> None:
        """End the actors, and the cluster where it was started for this run; one that was joined is left."""
        self.close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._cluster != "found":
            self._ray.shutdown()

    def artifact(self, path: str) -> Any:
        """A prepared artifact in the object store, put there once."""
        if path not in self._artifacts:
            self._artifacts[path] = self._ray.put(packed(Path(path)))
        return self._artifacts[path]

    def lost(self, node: str) -> bool:
        """True when a node of the cluster is gone."""
        return node != "" and not any(n["NodeID"] == node and n["Alive"] for n in self._ray.nodes())


class _RayLine(Line):
    """The way to an actor. heard: messages that are here. asked: what ``take`` will give, or the news that it is gone."""

    def __init__(self, number: int, actor: Any, pool: RayPool) -> None:
        super().__init__(number)
        import ray

        self._ray = ray
        self._pool = pool
        self._actor = actor
        self._node = ""
        self._sent = 0
        self._units: dict[str, UnitName] = {}
        self.heard: deque[tuple[str, Any]] = deque()
        self._serving = actor.serve.remote()
        self.asked = self._ask()

    def _ask(self) -> Any:
        return self._actor.take.remote()

    def send(self, message: Any) -> None:
        """Files that the run holds of a job's unit go along, and an order's artifact; a dead actor is told by ``receive``."""
        artifact = None
        if isinstance(message, Job):
            self._units[message.unit.id] = message.unit
            message = Shipped(message, files_of(self._pool.folder, message.unit))
        elif isinstance(message, Order) and message.artifact is not None:
            artifact = self._pool.artifact(message.artifact)
        self._actor.give.remote(self._sent, message, artifact)
        self._sent += 1

    def receive(self) -> tuple[str, Any]:
        """The files that come with a message are in the run folder when it is given."""
        if not self.heard:
            self.heard.extend(self._taken())
            self.asked = self._ask()
        kind, value = self.heard.popleft()
        if kind == "up":
            self._node = value
        elif kind == "done":
            value, files = value
            del self._units[value.unit.id]
            receive(self._pool.folder, files, value.unit)
        elif kind == "files":
            unit, files = value
            if unit in self._units:  # else it has come too late
                receive(self._pool.folder, files)
        return kind, value

    def _taken(self) -> list[tuple[str, Any]]:
        try:
            return self._ray.get(self.asked)
        except self._ray.exceptions.RayActorError as error:
            if getattr(error, "actor_init_failed", False):
                raise RunError(f"a worker cannot start on the cluster: {_last_line(error)}") from None
            raise EOFError from error

    def kill(self) -> None:
        self._ray.kill(self._actor, no_restart=True)

    def end(self) -> Death:
        """Nothing of it can reach the run folder any more, whatever its process still does."""
        self.kill()
        self._ray.wait([self._serving], timeout=_LAST_WAIT)
        return Death(blameless=self._pool.lost(self._node))


def _connect(options: RunOptions) -> Literal["found", "started", "joined"]:
    """found: this process is in a cluster already; started: one of this machine; joined: the one at the address.

    Raises ``UserError`` when there is none at the address.
    """
    import ray

    if ray.is_initialized():
        return "found"
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        cpus = max(options.workers or 1, os.cpu_count() or 1)
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        return "started"
    try:
        _check_answers(address)
        ray.init(address=address, **quiet)
    except (OSError, ImportError, RuntimeError, ValueError) as error:
        told = f"no Ray cluster can be reached there: {_last_line(error)}"
        token = _TOKEN if str(error).startswith("Failed to connect") else ""
        raise UserError(f"--address {address}: {told}{token}") from None
    return "joined"


def _check_answers(address: str) -> None:
    """Raises ``OSError`` where nothing listens at HOST:PORT: Ray itself would try for minutes, and end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()


def _gpus_per_worker(options: RunOptions, total: dict[str, float]) -> float:
    if options.gpus_per_worker is not None:
        return options.gpus_per_worker
    return 1.0 if total.get("GPU", 0) else 0.0


def _room(nodes: Sequence[Any], gpus: float) -> int:
    """Workers that the nodes hold side by side: each has a CPU and its GPUs or its share of one."""
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(int(min(r.get("CPU", 0), _shares(r.get("GPU", 0), gpus))) for r in resources)


def _shares(there: float, gpus: float) -> float:
    if gpus == 0:
        return inf
    return there // gpus if gpus >= 1 else there * int(1 / gpus + 1e-9)  # a share lies within one GPU


def _last_line(error: BaseException) -> str:
    return next(
        (line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__
    )
