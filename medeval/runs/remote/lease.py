"""Who writes a place: a small object with a heartbeat. It saves work from being done twice; bytes are safe without it."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

from medeval.runs.place import Tell
from medeval.runs.remote.store import Store, Unreachable
from medeval.types import RunError

FOLDER = "locks"
WHOLE = "whole"


def role_of(shard: tuple[int, int]) -> str:
    """The part of a run that a writer does, as its lock is called.

    >>> role_of((1, 1)), role_of((2, 4))
    ('whole', 'shard-2-of-4')
    """
    number, count = shard
    return WHOLE if count == 1 else f"shard-{number}-of-{count}"


def collide(mine: str, theirs: str) -> bool:
    """True unless both are different shards of one cut."""
    cuts = [re.fullmatch(r"shard-\d+-of-(\d+)", role) for role in (mine, theirs)]
    return mine == theirs or not all(cuts) or cuts[0][1] != cuts[1][1]  # type: ignore[index]


class Lease:
    """copy: id of the working copy, whose own lock on this machine is held by now: a lease of that copy is left by the dead.

    lost: why writing must end, None while all is well.
    """

    def __init__(self, store: Store, role: str, copy: str, tell: Tell) -> None:
        self._store = store
        self._role = role
        self._copy = copy
        self._tell = tell
        self._token = uuid.uuid4().hex
        self._since = time.time()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost: str | None = None

    def take(self) -> None:
        """Hold the place. Raises ``RunError`` saying who else does; one who gave no sign for long is replaced with a note."""
        for role in self._others():
            self._wait_for(role)
        self._write()
        first = min([self._claim(), *(self._claim_of(role) for role in self._others())])
        if first != self._claim() or (self._seen(self._role) or {}).get("token") != self._token:
            self._leave()
            raise RunError(
                f"{self._store.url}: another process began to write this run at the same moment; try again"
            )
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give it back; what cannot be reached goes stale by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(Unreachable):
            self._leave()

    def _leave(self) -> None:
        if (self._seen(self._role) or {}).get("token") == self._token:
            self._store.remove([self._name(self._role)])

    def _others(self) -> list[str]:
        """Roles whose lock is there and collides with ours, of another working copy."""
        listed = [name.removesuffix(".json") for name in self._store.names(FOLDER)]
        roles = dict.fromkeys([WHOLE, self._role, *listed])  # these two also where a listing lags behind
        found = {role: self._seen(role) for role in roles if collide(self._role, role)}
        return [role for role, seen in found.items() if seen is not None and seen.get("copy") != self._copy]

    def _claim(self) -> tuple[float, str]:
        return self._since, self._token

    def _claim_of(self, role: str) -> tuple[float, str]:
        seen = self._seen(role) or {}
        return float(seen.get("since", float("inf"))), str(seen.get("token"))

    def _wait_for(self, role: str) -> None:
        """Return when the lock is stale: no sign of life while we look, by our own clock alone."""
        pace = self._store.pace
        first = self._raw(role)
        seen = _parsed(first) or {}
        age = time.time() - float(seen.get("beat", 0.0))
        # Clocks of two machines differ: a lock is watched for some beats, however old it says it is.
        watched = time.monotonic() + max(3 * pace.beat, pace.stale - max(0.0, age))
        if age < 10 * pace.stale:
            self._tell(f"{self._store.url} is held by {_who(seen)}; looking for a sign of life")
        while age < 10 * pace.stale and time.monotonic() < watched:
            time.sleep(pace.beat / 4)
            now = self._raw(role)
            if now is None:
                return
            if now != first:
                raise RunError(
                    f"{self._store.url}: being written by {_who(seen)}; wait for it, or choose another --out. Shards of one "
                    "run (--shard K/N) can be written side by side"
                )
        self._tell(f"{self._store.url}: taken over from {_who(seen)}, which gives no sign of life")
        self._store.remove([self._name(role)])

    def _beat(self) -> None:
        while not self._stop.wait(self._store.pace.beat):
            with suppress(Unreachable):  # a network that is away is no reason to stop working
                seen = self._seen(self._role)
                if seen is not None and seen.get("token") != self._token:
                    self.lost = f"{self._store.url}: taken over by {_who(seen)}"
                    return
                self._write()

    def _write(self) -> None:
        about = {
            "role": self._role, "token": self._token, "copy": self._copy, "host": socket.gethostname(), "pid": os.getpid(),
            "user": _user(), "since": self._since, "beat": time.time(),
        }  # fmt: skip
        self._store.put(self._name(self._role), json.dumps(about).encode())

    def _raw(self, role: str) -> bytes | None:
        return self._store.read(self._name(role))

    def _seen(self, role: str) -> dict[str, Any] | None:
        """The lock's content; {} when it cannot be read, None when it is not there."""
        data = self._raw(role)
        return None if data is None else (_parsed(data) or {})

    @staticmethod
    def _name(role: str) -> str:
        return f"{FOLDER}/{role}.json"


def _parsed(data: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(data or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this id, in a container
        return "unknown"


def _who(seen: dict[str, Any]) -> str:
    if not seen:
        return "somebody whose lock cannot be read"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(seen.get("since", 0.0))))
    return f"{seen.get('user')} on {seen.get('host')} (process {seen.get('pid')}, since {since})"
