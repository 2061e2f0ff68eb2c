"""What the harness keeps on disk: the cache, an SQLite file that several processes may share, and JSONL logs.

Used from one thread. Keys are taken out of every text before it is written.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable
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

LogLine = tuple[str, Callable[[], str]]  # file name, and the function that makes the line


class Kept(NamedTuple):
    """What the cache keeps of one call. request: canonical JSON. reply: makes its JSON when it is written."""

    key: str
    identity: str
    request: str
    reply: Callable[[], str]
    replace: bool = False  # else the first reply stays


class Disk:
    """cache: the SQLite file, or None. logs: folder of the JSONL files, or None. Raises ``UserError`` for a bad cache."""

    def __init__(self, cache: Path | None, logs: Path | None) -> None:
        self._cache = cache
        self._logs = logs
        self._base = open_cache(cache) if cache is not None else None
        self._files: dict[str, int] = {}
        self._warned = False

    def close(self) -> None:
        """Close all files."""
        if self._base is not None:
            self._base.close()
        for descriptor in self._files.values():
            os.close(descriptor)

    def find(self, key: str) -> Reply | None:
        """The kept reply, or None; one that cannot be read is a miss, with one warning."""
        if self._base is None:
            return None
        try:
            row = self._base.execute("SELECT reply FROM calls WHERE key = ?", (key,)).fetchone()
            return None if row is None else Reply.from_plain(json.loads(zlib.decompress(row[0])))
        except (sqlite3.Error, zlib.error, ValueError, TypeError, AttributeError) as error:
            if not self._warned:
                _log.warning(
                    "a reply in the chat cache %s cannot be read, it is asked again: %s", self._cache, error
                )
            self._warned = True
            return None

    def keep(self, kept: Iterable[Kept]) -> None:
        """Keep replies in one transaction. Raises ``RunError`` when the file cannot be written."""
        rows: dict[bool, list[tuple[Any, ...]]] = {False: [], True: []}
        now = time.time()
        for one in kept:
            texts = [zlib.compress(redact(text).encode("utf-8"), 1) for text in (one.request, one.reply())]
            rows[one.replace].append((one.key, one.identity, *texts, now))
        if self._base is None or not any(rows.values()):
            return
        try:
            with self._base:
                for replace, verb in ((False, "IGNORE"), (True, "REPLACE")):
                    self._base.executemany(
                        f"INSERT OR {verb} INTO calls VALUES (?, ?, ?, ?, ?)", rows[replace]
                    )
        except sqlite3.Error as error:
            raise RunError(f"the chat cache {self._cache} cannot be written: {error}") from None

    def log(self, lines: Iterable[LogLine]) -> None:
        """Append lines, one write a file. Raises ``RunError`` when a file cannot be written."""
        if self._logs is None:
            return
        texts: dict[str, list[str]] = {}
        for name, make in lines:
            texts.setdefault(name, []).append(redact(make()) + "\n")
        try:
            for name, found in texts.items():
                _write(self._file(name), "".join(found).encode("utf-8"))
        except OSError as error:
            raise RunError(f"the chat logs in {self._logs} cannot be written: {error.strerror}") from None

    def _file(self, name: str) -> int:
        if name not in self._files:
            self._files[name] = _open_log(self._logs / name)  # type: ignore[operator]
        return self._files[name]


def open_cache(path: Path) -> sqlite3.Connection:
    """The cache, made where it is not there. Raises ``UserError`` for a file that is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        base = sqlite3.connect(path, timeout=60.0)
        base.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing; only a power cut may
        _switch_to_wal(base)
        base.execute(_TABLE)
        base.commit()
        return base
    except (sqlite3.Error, OSError) as error:
        raise UserError(
            f"the chat cache {path} cannot be used ({error}); name another file, or switch it off"
        ) from None


def _switch_to_wal(base: sqlite3.Connection) -> None:
    """Readers and a writer at once. Several processes may open a new file together, and the switch does not wait by itself."""
    for _ in range(100):
        try:
            base.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            time.sleep(0.05)


def _open_log(path: Path) -> int:
    """The log for appending; a line that a kill has torn is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
