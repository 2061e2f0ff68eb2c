"""Who uses a chat cache: any number of runs at once, or one that prunes it alone.

The lock is a file beside the cache, held by the system for a living process only; it lies apart because SQLite keeps locks
of its own on the cache. Where there are no such locks (Windows, a folder that cannot be written) nothing is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from medeval.types import UserError


def share(cache: Path) -> IO[str] | None:
    """Use the cache beside others, until the handle is closed; waits for a pruning to end. None where nothing is held."""
    handle = _opened(cache)
    if handle is not None:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Nobody else uses the cache inside. Raises ``UserError`` at once when somebody does."""
    handle = _opened(cache)
    if handle is None:
        yield
        return
    import fcntl

    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{cache}: a run is using this chat cache; nothing was removed, prune it when the run has ended"
            ) from None
        yield


def _opened(cache: Path) -> IO[str] | None:
    try:
        import fcntl  # noqa: F401  # told here, before a file is made
    except ImportError:
        return None
    try:
        return cache.with_name(f".{cache.name}.lock").open("w")
    except OSError:
        return None
