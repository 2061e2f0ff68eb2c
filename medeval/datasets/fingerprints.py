"""Digests of files' bytes, kept on disk so that a large dataset is hashed once.

The cache is a convenience and never an authority: an entry is found by (path, size, modification and change time in ns),
each line carries its own check, and a cache that cannot be read or written is ignored. Files younger than two seconds are
not kept, for a second write within the clock's grain could not be told from the first.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from medeval.types import digest

_RACY_NS = 2_000_000_000
_KEY, _SHA, _CHECK = 32, 64, 8
_shards: dict[Path, dict[str, str]] = {}
_lock = threading.Lock()


def cache_folder() -> Path:
    """``$MEDEVAL_CACHE``, else the platform's folder for caches."""
    if chosen := os.environ.get("MEDEVAL_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "medeval"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "medeval" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medeval"


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes; ``"missing"`` or ``"unreadable"`` when there are none to be had."""
    try:
        stat = path.stat()
        key = digest(path.absolute(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)[:_KEY]
        shard = _shard(key)
        known = _entries(shard).get(key)
        if known is None:
            known = _hash(path)
            settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _RACY_NS
            if settled and path.stat().st_ctime_ns == stat.st_ctime_ns:
                _keep(shard, key, known)
        return known
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _shard(key: str) -> Path:
    # 256 files: a process that reads a few cases of millions loads a few of them.
    return cache_folder() / "fingerprints" / f"{key[:2]}.txt"


def _entries(shard: Path) -> dict[str, str]:
    with _lock:
        if shard not in _shards:
            _shards[shard] = _load(shard)
        return _shards[shard]


def _load(shard: Path) -> dict[str, str]:
    try:
        lines = shard.read_text("ascii", errors="replace").splitlines()
    except OSError:
        return {}
    words = (line.split(" ") for line in lines)
    # The check drops lines torn by a crash or by two writers on a file system without atomic appends.
    return {
        w[0]: w[1]
        for w in words
        if len(w) == 3 and len(w[0]) == _KEY and len(w[1]) == _SHA and w[2] == _check(w[0], w[1])
    }


def _keep(shard: Path, key: str, sha: str) -> None:
    with _lock:
        _shards.setdefault(shard, {})[key] = sha
    line = f"\n{key} {sha} {_check(key, sha)}\n"  # begins a line of its own, also after a torn one
    with suppress(OSError):  # a full disk or a read-only home: the digest stands without its cache
        shard.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(shard, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode("ascii"))
        finally:
            os.close(descriptor)


def _check(key: str, sha: str) -> str:
    return hashlib.sha256(f"{key} {sha}".encode()).hexdigest()[:_CHECK]
