"""Objects below one URL: whole ones are written, read, listed and removed, with patience for a bad network."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from medeval.types import RunError

T = TypeVar("T")
THREADS = 8
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "hf": "huggingface_hub", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "hdfs": "pyarrow",
    "webdav": "webdav4", "oss": "ossfs", "oci": "ocifs",
}  # fmt: skip
_CLOUDS = re.compile(r"(AWS|AZURE|GOOGLE|GCS|FSSPEC|S3|MINIO|OSS|HF)_")
_SECRET = re.compile(r"secret|passw|token|connection_string|(access|account)_key$", re.IGNORECASE)
_FIRST_TRIES = 2  # before anything was reached, a mistake is likelier than a bad network
_SHORTEST = 8  # characters of a secret; a shorter word would be taken out of ordinary text
# What no second try mends.
_FINAL = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotImplementedError,
    TypeError,
    AttributeError,
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """Seconds. commit: between two commits. loose: between two looks at journals, chat logs and the like.

    beat: between two signs of life of a lock. stale: without one until a lock is taken over. tries: how often an access is
    tried; wait: before the second try, doubled before each further one, at most ``most``.
    """

    commit: float = 2.0
    loose: float = 30.0
    beat: float = 10.0
    stale: float = 60.0
    tries: int = 6
    wait: float = 0.5
    most: float = 15.0


PACE = Pace()


class Unreachable(RunError):
    """An access failed for good, after all tries."""


class Store:
    """url: as the user gave it; names are relative to it, with ``/``.

    Credentials are fsspec's own matter (its configuration, the environment). Raises ``RunError`` that says which package to
    install when the file system needs one.
    """

    def __init__(self, url: str, pace: Pace | None = None) -> None:
        self.url = url
        self.pace = pace or PACE
        self._reached = False
        self._fs, self._root = _filesystem(url)

    def put(self, name: str, source: Path | bytes) -> None:
        """Write an object whole. Raises ``Unreachable``; ``FileNotFoundError`` for a source that is not there."""
        try:
            self._patiently(lambda: self._put(self._at(name), source), f"{name} cannot be written")
        except FileNotFoundError as error:
            if isinstance(source, Path) and not source.exists():
                raise
            raise Unreachable(f"{self.url}: there is no such bucket or folder ({told(error)})") from error

    def _put(self, target: str, source: Path | bytes) -> None:
        try:
            self._send(target, source)
        except (
            FileNotFoundError
        ):  # a file system with real folders; a bucket that is not there is not for us to make
            if not self._fs.exists(_top(self._root)):
                raise
            self._fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
            self._send(target, source)

    def _send(self, target: str, source: Path | bytes) -> None:
        if isinstance(source, bytes):
            self._fs.pipe_file(target, source)
        else:
            self._fs.put_file(str(source), target)

    def read(self, name: str) -> bytes | None:
        """An object's bytes, None when it is not there. Raises ``Unreachable``."""
        try:
            return self._patiently(lambda: self._fs.cat_file(self._at(name)), f"{name} cannot be read")
        except FileNotFoundError:
            return None

    def fetch(self, name: str, target: Path) -> bool:
        """Write an object into a local file; False when it is not there. Raises ``Unreachable``."""
        try:
            self._patiently(lambda: self._fs.get_file(self._at(name), str(target)), f"{name} cannot be read")
            return True
        except FileNotFoundError:
            return False

    def names(self, folder: str) -> list[str]:
        """File names right below a folder, sorted; [] when there is none. Raises ``Unreachable``."""

        def listed() -> list[str]:
            self._fs.invalidate_cache()
            found = self._fs.ls(self._at(folder), detail=True)
            return [entry["name"] for entry in found if entry["type"] == "file"]

        try:
            found = self._patiently(listed, f"{folder}/ cannot be listed")
        except FileNotFoundError:
            return []
        return sorted({PurePosixPath(path).name for path in found})

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects that nothing names any more. What cannot be removed stays, and does no harm."""

        def one(name: str) -> None:
            try:
                self._patiently(lambda: self._fs.rm_file(self._at(name)), f"{name} cannot be removed")
            except (FileNotFoundError, RunError) as error:
                _log.debug("%s: %s was left: %s", self.url, name, error)

        self.side_by_side(one, names)

    def side_by_side(self, work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        """``work`` on each item in some threads. Raises the first error."""
        items = list(items)
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(THREADS, len(items)), "store") as pool:
            return list(pool.map(work, items))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _patiently(self, action: Callable[[], T], what: str) -> T:
        wait = self.pace.wait
        for left in reversed(range(self.pace.tries if self._reached else _FIRST_TRIES)):
            try:
                result = action()
                self._reached = True
                return result
            except FileNotFoundError:
                self._reached = True
                raise
            except Exception as error:  # each file system has errors of its own kind
                if isinstance(error, _FINAL) or not left:
                    raise Unreachable(f"{self.url}: {what}: {told(error)}") from error
                time.sleep(wait)
                wait = min(2 * wait, self.pace.most)
        raise AssertionError("no try was made")


def _top(root: str) -> str:
    """The bucket of an object store, the topmost folder elsewhere."""
    slash = "/" if root.startswith("/") else ""
    return slash + root.strip("/").partition("/")[0]


def told(error: BaseException) -> str:
    """An error as one line, without what is secret in the environment."""
    from medeval.llm.secrets import redact

    return redact(f"{type(error).__name__}: {error}".splitlines()[0])[:300]


def _remember_secrets(conf: dict[str, Any]) -> None:
    """What must stand in no message: secrets that the file systems read from the environment or fsspec's configuration."""
    from medeval.llm.secrets import remember

    values = [value for name, value in os.environ.items() if _CLOUDS.match(name) and _SECRET.search(name)]
    values += [value for options in conf.values() for name, value in options.items() if _SECRET.search(name)]
    for value in values:
        if isinstance(value, str) and len(value) >= _SHORTEST:
            remember(value)


def _filesystem(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        import fsspec
    except ImportError as error:
        raise RunError(
            f"{url}: a run that lies elsewhere needs fsspec: pip install 'medeval-bench[remote]'"
        ) from error
    try:
        _remember_secrets(fsspec.config.conf)
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(scheme.lower())
        hint = f"pip install {package}" if package else told(error)
        raise RunError(f"{url}: {scheme}:// needs another package: {hint}") from error
    except ValueError as error:
        raise RunError(
            f"{url}: {told(error)}; fsspec knows s3, gs, az, sftp and others, and plain paths need no scheme"
        ) from error
    return system, root.rstrip("/")
