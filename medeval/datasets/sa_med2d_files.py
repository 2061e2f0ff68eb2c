"""Where the layout's files are: a folder, or the joined zip of the release, read without unpacking it."""

from __future__ import annotations

import io
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Protocol, TextIO

from medeval.datasets.fingerprints import file_digest
from medeval.datasets.paths import inside
from medeval.types import DataError, DatasetError, digest

RELEASE_INDEX = "SAMed2D_v1.json"
CLASS_NAMES = "SAMed2D_v1_class_mapping_id.json"
SIDECAR = "cases.jsonl"
INDEX_PATTERNS = ("image2label_*.json", "label2image_*.json")


class Files(Protocol):
    """The files of one layout, by their names relative to its root."""

    root: Path

    def has(self, name: str) -> bool:
        """True when there is such a file."""

    def size(self, name: str) -> int:
        """Bytes of a file, 0 when it is not there."""

    def top(self, name: str) -> bool:
        """True when something of this name lies at the top of the root."""

    def indices(self) -> list[str]:
        """Names of the files ``image2label_*.json`` and ``label2image_*.json``, sorted."""

    def listed(self, folder: str) -> Iterator[Path]:
        """Full paths of the files directly in a folder, in no order; hidden ones are passed over."""

    def text(self, name: str) -> TextIO:
        """A file opened as UTF-8 text; ``DatasetError`` when it cannot be opened."""

    def data(self, path: Path) -> bytes | None:
        """Bytes of a file given by its full path; None: read the path itself. ``DataError``."""

    def trouble(self, path: Path) -> str:
        """What is wrong with a file given by its full path as far as its entry tells: missing, empty, or "" ."""

    def content(self, name: str) -> str:
        """What changes when the file's bytes change."""

    def path(self, entry: str, listed_in: str, *, allow_outside: bool) -> Path:
        """The full path of an index entry; ``DataError`` when it leaves the root."""


def open_files(root: Path) -> Files:
    """Folder or archive; ``DatasetError`` when there is neither."""
    if root.is_dir():
        return Folder(root)
    if root.is_file() and zipfile.is_zipfile(root):
        return Archive(root)
    if root.is_file():
        raise DatasetError(
            f"{root}: is neither a folder nor a whole zip archive (split archives are joined first)"
        )
    raise DatasetError(f"{root}: no such folder or zip archive")


class Folder:
    """A folder that holds images/, masks/ and the index files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, name: str) -> bool:
        """True when there is such a file."""
        return (self.root / name).is_file()

    def size(self, name: str) -> int:
        """Bytes of a file, 0 when it is not there."""
        return (self.root / name).stat().st_size if self.has(name) else 0

    def top(self, name: str) -> bool:
        """True when something of this name lies at the top of the root."""
        return (self.root / name).exists()

    def indices(self) -> list[str]:
        """Names of the index files of the demo's form, sorted."""
        return sorted(path.name for pattern in INDEX_PATTERNS for path in self.root.glob(pattern))

    def listed(self, folder: str) -> Iterator[Path]:
        """Full paths of the files directly in a folder, as a stream."""
        if (self.root / folder).is_dir():
            with os.scandir(self.root / folder) as entries:
                yield from (self.root / folder / e.name for e in entries if not e.name.startswith("."))

    def text(self, name: str) -> TextIO:
        """A file opened as UTF-8 text; ``DatasetError`` when it cannot be opened."""
        try:
            return (self.root / name).open(encoding="utf-8")
        except FileNotFoundError:
            raise DatasetError(f"{self.root / name}: no such file") from None
        except OSError as error:
            raise DatasetError(f"{self.root / name}: cannot be read: {error}") from error

    def data(self, path: Path) -> bytes | None:
        """None: files of a folder are read by their path."""
        return None

    def trouble(self, path: Path) -> str:
        """Missing, empty, or ""."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return "is missing"
        return "is missing" if not S_ISREG(status.st_mode) else "" if status.st_size else "is empty (0 bytes)"

    def content(self, name: str) -> str:
        """SHA-256 of the file's bytes."""
        return file_digest(self.root / name)

    def path(self, entry: str, listed_in: str, *, allow_outside: bool) -> Path:
        """The full path of an index entry; ``DataError`` when it leaves the root."""
        return inside(self.root, entry, self.root / listed_in, allow_outside=allow_outside)


class Archive:
    """A zip archive. Its directory is read once a process, about 0.7 kB of memory a member. Safe for threads."""

    def __init__(self, path: Path) -> None:
        self.root = path
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """True when there is such a member."""
        return self._prefix + name in self._members

    def size(self, name: str) -> int:
        """Bytes of a member, 0 when it is not there."""
        info = self._members.get(self._prefix + name)
        return info.file_size if info else 0

    def top(self, name: str) -> bool:
        """True for the two folders of the layout."""
        return name in ("images", "masks") or self.has(name)

    def indices(self) -> list[str]:
        """Names of the index files of the demo's form, sorted."""
        return sorted(name for name in self._flat if any(fnmatchcase(name, p) for p in INDEX_PATTERNS))

    def listed(self, folder: str) -> Iterator[Path]:
        """Paths that name the members in a folder."""
        begin = f"{self._prefix}{folder}/"
        for name in self._members:
            if name.startswith(begin) and not name.endswith("/"):
                yield self.root / name.removeprefix(self._prefix)

    def text(self, name: str) -> TextIO:
        """A member opened as UTF-8 text; ``DatasetError`` when it cannot be opened."""
        try:
            return io.TextIOWrapper(self._zip.open(self._prefix + name), encoding="utf-8")
        except (KeyError, *_BROKEN) as error:
            raise DatasetError(f"{self.root / name}: cannot be read from the archive: {error}") from error

    def data(self, path: Path) -> bytes:
        """Bytes of a member, their checksum verified. ``DataError``."""
        with _data_errors(path), self._lock:
            return self._zip.read(self._member(path))

    def trouble(self, path: Path) -> str:
        """Missing, empty, or ""."""
        info = self._members.get(self._member(path))
        return "is missing" if info is None else "" if info.file_size else "is empty (0 bytes)"

    def content(self, name: str) -> str:
        """Checksum and size from the archive's directory; nothing is read."""
        info = self._members.get(self._prefix + name)
        return digest(info.CRC, info.file_size) if info else "missing"

    def path(self, entry: str, listed_in: str, *, allow_outside: bool) -> Path:
        """A path that names the member; outside of an archive there is nothing."""
        return inside(self.root, entry, self.root / listed_in)

    def _member(self, path: Path) -> str:
        return self._prefix + path.relative_to(self.root).as_posix()

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.root)
        except _BROKEN as error:
            raise DatasetError(f"{self.root}: cannot be read as a zip archive: {error}") from error

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        return self._zip.NameToInfo

    @cached_property
    def _prefix(self) -> str:
        """The folder inside the archive that holds the index, with its slash."""
        wanted = (RELEASE_INDEX, *INDEX_PATTERNS)
        found = [
            n for n in self._members if n.endswith(".json") and any(fnmatchcase(_name(n), w) for w in wanted)
        ]
        if not found:
            raise DatasetError(
                f"{self.root}: the archive holds no {RELEASE_INDEX} or {' or '.join(INDEX_PATTERNS)}"
            )
        best = min(found, key=lambda name: (name.count("/"), name))
        return best.removesuffix(_name(best))

    @property
    def _flat(self) -> Iterator[str]:
        names = (n.removeprefix(self._prefix) for n in self._members if n.startswith(self._prefix))
        return (name for name in names if "/" not in name)


_BROKEN = (
    OSError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    EOFError,
    zlib.error,
    NotImplementedError,
    RuntimeError,
)


@contextmanager
def _data_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyError:
        raise DataError(f"{path}: no such file") from None
    except _BROKEN as error:
        raise DataError(f"{path}: cannot be read from the archive: {error}") from error


def _name(member: str) -> str:
    return PurePosixPath(member).name
