"""The cache and the logs, in one thread of their own: the event loop never waits for a disk.

The cache is an SQLite file in WAL mode that several processes may share. Requests pile up while the thread works and are
done together, one transaction and one write a batch. A kept reply that cannot be read is a miss with a warning; a reply is
on disk before its caller sees it, so a killed run pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medeval.llm.replies import Reply
from medeval.llm.secrets import redact
from medeval.types import RunError, UserError

_log = logging.getLogger(__name__)
_TABLE = (
    "CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, identity TEXT NOT NULL, request BLOB NOT NULL, "
    "reply BLOB NOT NULL, created REAL NOT NULL)"
)
_BATCH = 256


class Kept(NamedTuple):
    """What the cache keeps of one call: canonical request and reply as JSON texts."""

    key: str
    identity: str
    request: str
    reply: str


class _Order(NamedTuple):
    """One thing to do. key: look up; kept: keep; lines: (file, function that makes the line)."""

    key: str | None = None
    kept: Callable[[], Kept] | None = None
    replace: bool = False
    lines: Sequence[tuple[str, Callable[[], str]]] = ()
    done: asyncio.Future[Any] | None = None


class Store:
    """The thread. cache: the SQLite file, or None. logs: folder of the JSONL files, or None."""

    def __init__(self, cache: Path | None = None, logs: Path | None = None) -> None:
        self._cache = cache
        self._logs = logs
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._warned = False
        if cache is not None:
            _open(cache).close()  # a file that is no cache is told now, not in the middle of a run

    async def get(self, key: str) -> Reply | None:
        """The kept reply, or None."""
        return await self._ask(lambda done: _Order(key=key, done=done)) if self._cache is not None else None

    async def put(
        self,
        kept: Callable[[], Kept],
        lines: Sequence[tuple[str, Callable[[], str]]],
        *,
        replace: bool = False,
    ) -> None:
        """Keep a reply and log it; on return both survive ``kill -9``. Without ``replace`` the first reply stays.

        Raises ``RunError`` when the disk is full.
        """
        await self._ask(lambda done: _Order(kept=kept, replace=replace, lines=lines, done=done))

    def log(self, lines: Sequence[tuple[str, Callable[[], str]]]) -> None:
        """Append lines to log files, soon."""
        if self._logs is not None:
            self._send(_Order(lines=lines))

    def close(self) -> None:
        """Write what is still open, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            thread.join()

    async def _ask(self, order: Callable[[asyncio.Future[Any]], _Order]) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._send(order(done))
        return await done

    def _send(self, order: _Order) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="llm-store", daemon=True)
                self._thread.start()
            self._orders.put(order)

    # -- in the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        base = _open(self._cache) if self._cache is not None else None
        files: dict[str, int] = {}
        ended = False
        while not ended:
            batch = [self._orders.get()]
            while len(batch) < _BATCH and batch[-1] is not None and not self._orders.empty():
                batch.append(self._orders.get())
            ended = batch[-1] is None
            self._batch(base, files, [order for order in batch if order is not None])
        if base is not None:
            base.close()
        for descriptor in files.values():
            os.close(descriptor)

    def _batch(self, base: sqlite3.Connection | None, files: dict[str, int], orders: list[_Order]) -> None:
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        try:
            self._write_lines(files, orders)
            self._keep(base, [order for order in orders if order.kept is not None])
            failed: Exception | None = None
        except OSError as error:
            failed = RunError(f"the chat logs cannot be written: {error.strerror}")
        except sqlite3.Error as error:
            failed = RunError(f"the chat cache {self._cache} cannot be written: {error}")
        for order in orders:
            if order.done is not None:
                asked = order.key is not None
                answers.append((order.done, self._find(base, str(order.key)) if asked else failed))
        _answer(answers)

    def _keep(self, base: sqlite3.Connection | None, orders: list[_Order]) -> None:
        if base is None or not orders:
            return
        now = time.time()
        for replace in (False, True):
            rows = [_packed(order.kept(), now) for order in orders if order.kept and order.replace is replace]
            if rows:
                verb = "REPLACE" if replace else "IGNORE"
                with base:
                    base.executemany(f"INSERT OR {verb} INTO calls VALUES (?, ?, ?, ?, ?)", rows)

    def _find(self, base: sqlite3.Connection | None, key: str) -> Reply | None:
        if base is None:
            return None
        try:
            row = base.execute("SELECT reply FROM calls WHERE key = ?", (key,)).fetchone()
            return None if row is None else Reply.from_plain(json.loads(zlib.decompress(row[0])))
        except (sqlite3.Error, zlib.error, ValueError, TypeError, AttributeError) as error:
            if not self._warned:
                _log.warning(
                    "a reply in the chat cache %s cannot be read and is asked again: %s", self._cache, error
                )
            self._warned = True
            return None

    def _write_lines(self, files: dict[str, int], orders: list[_Order]) -> None:
        if self._logs is None:
            return
        texts: dict[str, list[str]] = {}
        for order in orders:
            for name, make in order.lines:
                texts.setdefault(name, []).append(redact(make()) + "\n")
        for name, lines in texts.items():
            if name not in files:
                files[name] = _open_log(self._logs / name)
            data = "".join(lines).encode("utf-8")
            while data:
                data = data[os.write(files[name], data) :]


def _packed(kept: Kept, now: float) -> tuple[Any, ...]:
    texts = [zlib.compress(redact(text).encode("utf-8"), 1) for text in (kept.request, kept.reply)]
    return (kept.key, kept.identity, *texts, now)


def _answer(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    """Hand results back, one wake-up a loop; a loop that is gone has nobody waiting."""
    loops = {done.get_loop() for done, _ in answers}
    for loop in loops:
        mine = [(done, value) for done, value in answers if done.get_loop() is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for done, value in answers:
        if not done.done():
            if isinstance(value, Exception):
                done.set_exception(value)
            else:
                done.set_result(value)


def _open(path: Path) -> sqlite3.Connection:
    """The cache, made where it is not there. Raises ``UserError`` for a file that is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        base = sqlite3.connect(path, timeout=60.0)
        base.execute("PRAGMA synchronous=NORMAL")
        for _ in range(
            100
        ):  # several processes may open a new file at once; the switch to WAL does not wait by itself
            try:
                base.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError:
                time.sleep(0.05)
        base.execute(_TABLE)
        base.commit()
        return base
    except (sqlite3.Error, OSError) as error:
        raise UserError(
            f"the chat cache {path} cannot be used ({error}); name another file, or switch it off"
        ) from None


def _open_log(path: Path) -> int:
    """The log for appending; a line that a kill has torn is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor
