"""Which files of a copy were last the same as in the place: remembered on disk, so that a later process need not hash them."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import NamedTuple

from medeval.runs.files import attempt, write_text


class Known(NamedTuple):
    """A file that was the same here and there. signature: of the file here, then; sha256: of its bytes."""

    signature: str
    sha256: str


class KnownFiles:
    """folder: of the run's copy. index: JSON lines, appended to; the last line of a name counts. Safe for several threads."""

    def __init__(self, folder: Path, index: Path) -> None:
        self._folder = folder
        self._index = index
        self._lock = threading.Lock()
        self._files: dict[str, Known] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def get(self, name: str) -> Known | None:
        """What is known of a file; None when it was never the same."""
        return self._files.get(name)

    def load(self) -> None:
        """Read the index; what is said of files that are not here any more is left out."""
        lines = self._index.read_text(encoding="utf-8").splitlines() if self._index.exists() else []
        found = {}
        for line in lines:
            try:
                name, seen, sha256 = json.loads(line)
            except ValueError:  # torn by a kill
                continue
            found[name] = Known(seen, sha256)
        self._files = {name: known for name, known in found.items() if (self._folder / name).exists()}

    def rewrite(self) -> None:
        """Write the index anew, a line a file; only where nobody else appends."""
        rows = (json.dumps([name, *known]) + "\n" for name, known in self._files.items())
        write_text(self._index, "".join(rows))

    def note(self, name: str, sha256: str, seen: str) -> None:
        """The file, when its signature was ``seen``, is as it is in the place."""
        with self._lock:
            self._files[name] = Known(seen, sha256)
            line = json.dumps([name, seen, sha256]) + "\n"
            attempt(lambda: self._append(line), self._index)

    def _append(self, line: str) -> None:
        with self._index.open("a", encoding="utf-8") as handle:
            handle.write(line)

    def forget(self, name: str) -> None:
        """The file is not here, or nowhere, any more."""
        self._files.pop(name, None)

    def changed(self, name: str) -> bool:
        """True for a file that is not as it was when it was last the same as in the place."""
        known = self._files.get(name)
        return known is None or known.signature != signature(self._folder / name)


def signature(path: Path) -> str:
    """Changes when the file does; an SQLite file's also with its write-ahead log. "" when it is not there."""
    told = []
    for one in (path, path.with_name(path.name + "-wal")) if path.suffix == ".sqlite" else (path,):
        try:
            stat = one.stat()
        except OSError:
            continue
        told.append(f"{stat.st_size}-{stat.st_mtime_ns}")
    return " ".join(told)


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
