"""Files that are there whole or not at all, and what the system says when they cannot be written."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medeval.types import DatasetError


@contextmanager
def told(path: Path) -> Iterator[None]:
    """An ``OSError`` of the block as a ``DatasetError`` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(
                f"{path}: the disk (or its inodes: see `df -i`) is full. What was finished is kept; free space and give "
                "the same command to go on. --zip needs one file instead of one a mask"
            ) from error
        raise DatasetError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder with --out"
        ) from error


@contextmanager
def replacing(path: Path, temporary: Path) -> Iterator[Path]:
    """A path in the folder ``temporary`` (of the same file system) that replaces ``path`` when the block ends well."""
    partial = temporary / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
    with told(path):
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, temporary: Path) -> None:
    """Write a file whole. Raises ``DatasetError``."""
    with replacing(path, temporary) as partial:
        partial.write_bytes(data)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a folder by a lock file; the system releases it when the process dies. Raises ``DatasetError``."""
    with told(path), path.open("w") as handle:
        try:
            import fcntl
        except ImportError:  # Windows: two builds into one folder are not told apart
            yield
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(
                f"{path.parent.parent}: another build is writing this folder; wait for it"
            ) from None
        yield
