"""Files that are either there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medeval.types import RunError

TEMPORARY = ".tmp-"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that is renamed over it when the block ends well, and removed otherwise.

    No fsync: ``kill -9`` loses nothing without it, and a part torn by a power cut is found by its footer and done again.
    Raises ``RunError`` when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _told(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _told(error: OSError, path: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"{path}: the disk is full. What was finished is kept; free space and give the same command to go on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
        return RunError(
            f"{path}: cannot be written ({error.strerror}); choose another output folder with --out"
        )
    return RunError(f"{path}: cannot be written ({error})")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any, *, sort: bool = True) -> None:
    """Write JSON, by default with sorted keys, so that equal data are equal bytes."""
    write_text(path, json.dumps(data, indent=1, sort_keys=sort, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; ``RunError`` names the file when it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from error


def sweep(folder: Path) -> int:
    """Remove temporary files and folders that a killed run left; returns their number."""
    stray = list(folder.rglob(f"{TEMPORARY}*"))
    for path in stray:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(stray)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder: two processes must not write one run. Released by the system when the process dies.

    Raises ``RunError`` when somebody else holds it.
    """
    path = folder / "run.lock"
    try:
        handle = path.open("w")
    except OSError as error:
        raise _told(error, path) from error
    with handle:
        _flock(handle.fileno(), folder)
        yield


def _flock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: no advisory lock; parts are still whole, for each is renamed into place
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RunError(
            f"{folder}: another process is writing this run; wait for it or choose another --out"
        ) from error


def attempt(action: Callable[[], Any], path: Path) -> Any:
    """``action()`` with its ``OSError`` told as a ``RunError`` on ``path``."""
    try:
        return action()
    except OSError as error:
        raise _told(error, path) from error
