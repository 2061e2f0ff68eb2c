"""Upkeep of a chat cache: what it holds, and what may go."""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from medeval.llm.cache_lock import alone
from medeval.llm.replies import Reply
from medeval.types import UserError

CACHE = "cache.sqlite"
DAY = 86_400.0


@dataclass(frozen=True)
class Held:
    """What the cache holds of one model. size: bytes, compressed. oldest, newest: epoch seconds. tokens, cost: paid once.

    broken: replies that cannot be read, and are asked again when they are wanted.
    """

    provider: str
    model: str
    endpoint: str
    replies: int
    size: int
    tokens: int
    cost: float
    oldest: float
    newest: float
    broken: int


def cache_of(path: Path) -> Path:
    """The cache's file: ``path`` itself, or the one of a run's folder. Raises ``UserError`` where there is none."""
    for candidate in (path, path / CACHE, path / "llm" / CACHE):
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{path}: no chat cache there; name a cache file, or the folder of a run that asked a chat model"
    )


def held(path: Path) -> list[Held]:
    """What a cache holds, by model, the largest first. Raises ``UserError`` for a file that is no cache."""
    found: dict[str, list[tuple[int, float, Reply | None]]] = {}
    with _opened(path, write=False) as base:
        for identity, request, reply, created in base.execute(
            "SELECT identity, request, reply, created FROM calls"
        ):
            found.setdefault(identity, []).append((len(request) + len(reply), created, _read(reply)))
    rows = [_summed(identity, kept) for identity, kept in found.items()]
    return sorted(rows, key=lambda row: -row.size)


def prune(
    path: Path,
    *,
    older_than: float | None = None,
    model: str = "",
    broken: bool = False,
    dry_run: bool = False,
) -> int:
    """Remove replies, and give the space back; the number of those removed (or that would be, with ``dry_run``).

    older_than: days. model: name, may hold * and ?. broken: those that cannot be read. Of several conditions all must hold.
    Raises ``UserError`` without any condition, and for a file that is no cache or is in use.
    """
    if older_than is None and not model and not broken:
        raise UserError("say what may go: --older-than DAYS, --model NAME, --broken")
    limit = None if older_than is None else time.time() - older_than * DAY
    with nullcontext() if dry_run else alone(path), _opened(path, write=not dry_run) as base:
        gone = [
            (key,)
            for key, identity, reply, created in base.execute(
                "SELECT key, identity, reply, created FROM calls"
            )
            if (limit is None or created < limit)
            and (not model or fnmatchcase(str(_named(identity).get("model", "")), model))
            and (not broken or _read(reply) is None)
        ]
        if not dry_run and gone:
            with base:
                base.executemany("DELETE FROM calls WHERE key = ?", gone)
            base.execute("VACUUM")
    return len(gone)


@contextmanager
def _opened(path: Path, write: bool) -> Iterator[sqlite3.Connection]:
    try:
        base = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}", uri=True, timeout=10.0
        )
        try:
            yield base
        finally:
            base.close()
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be used as a chat cache: {error}") from None


def _read(reply: bytes) -> Reply | None:
    try:
        return Reply.from_plain(json.loads(zlib.decompress(reply)))
    except (zlib.error, ValueError, TypeError, AttributeError):
        return None


def _named(identity: str) -> dict[str, str]:
    try:
        found = json.loads(identity)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _summed(identity: str, kept: list[tuple[int, float, Reply | None]]) -> Held:
    named = _named(identity)
    replies = [reply for _, _, reply in kept if reply is not None]
    times = [created for _, created, _ in kept]
    return Held(
        str(named.get("provider", "?")), str(named.get("model", "?")), str(named.get("endpoint", "")), len(kept),
        sum(size for size, _, _ in kept), sum(reply.usage.total for reply in replies),
        sum(reply.cost or 0.0 for reply in replies), min(times), max(times), len(kept) - len(replies),
    )  # fmt: skip
