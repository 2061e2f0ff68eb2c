"""Cache and logs in one thread of their own: the event loop never waits for a disk.

Orders pile up while the thread works and are done together: one transaction and one write a batch. A reply is on disk
before its caller sees it, so a killed run pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medeval.llm.cache_lock import share
from medeval.llm.disk import Disk, Kept, LogLine, open_cache
from medeval.llm.replies import Reply

_log = logging.getLogger(__name__)
_BATCH = 256


class _Order(NamedTuple):
    """One thing to do: look a key up, or keep a reply and write lines. done: told the outcome."""

    key: str | None = None
    kept: Kept | None = None
    lines: Sequence[LogLine] = ()
    done: asyncio.Future[Any] | None = None


class Store:
    """The thread. cache: the SQLite file, or None. logs: folder of the JSONL files, or None."""

    def __init__(self, cache: Path | None = None, logs: Path | None = None) -> None:
        self._places = cache, logs
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        if cache is not None:
            open_cache(cache).close()  # a file that is no cache is told now, not in the middle of a run
        self._held = share(cache) if cache is not None else None  # nobody prunes what a run counts on

    async def get(self, key: str) -> Reply | None:
        """The kept reply, or None."""
        done: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._send(_Order(key=key, done=done))
        return await done

    async def put(self, kept: Kept, lines: Sequence[LogLine] = ()) -> None:
        """Keep a reply and log it; on return both survive ``kill -9``. Raises ``RunError`` when the disk is full."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send(_Order(kept=kept, lines=lines, done=done))
        await done

    def log(self, lines: Sequence[LogLine]) -> None:
        """Append lines to log files, soon."""
        if self._places[1] is not None:
            self._send(_Order(lines=lines))

    def close(self) -> None:
        """Write what is still open, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._orders.put(None)
            thread.join()
        if self._held is not None:
            self._held.close()

    def _send(self, order: _Order) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="llm-store", daemon=True)
                self._thread.start()
            self._orders.put(order)

    # -- in the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        disk: Disk | Exception
        try:
            disk = Disk(*self._places)
        except Exception as error:  # told to everyone who asks
            disk = error
        ended = False
        while not ended:
            batch = [self._orders.get()]
            while len(batch) < _BATCH and batch[-1] is not None and not self._orders.empty():
                batch.append(self._orders.get())
            ended = batch[-1] is None
            _do(disk, [order for order in batch if order is not None])
        if isinstance(disk, Disk):
            disk.close()


def _do(disk: Disk | Exception, orders: list[_Order]) -> None:
    """One batch. Whatever goes wrong is raised in those who wait: nobody waits for ever."""
    try:
        if isinstance(disk, Exception):
            raise disk
        disk.keep(order.kept for order in orders if order.kept is not None)
        disk.log(line for order in orders for line in order.lines)
        found = [disk.find(order.key) if order.key is not None else None for order in orders]
        _answer(
            [
                (order.done, value)
                for order, value in zip(orders, found, strict=True)
                if order.done is not None
            ]
        )
    except Exception as error:
        _log.warning("%s", error)
        _answer([(order.done, error) for order in orders if order.done is not None])


def _answer(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    """Hand results back, one wake-up a loop; a loop that is gone has nobody waiting."""
    for loop in {done.get_loop() for done, _ in answers}:
        mine = [(done, value) for done, value in answers if done.get_loop() is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for done, value in answers:
        if done.done():
            continue
        if isinstance(value, Exception):
            done.set_exception(value)
        else:
            done.set_result(value)
