"""The list of commits: which object is which file of the run, and what no longer counts.

Commits are merged name by name, the highest stamp wins, so that their order of arrival, repeated ones and checkpoints that
hold what older commits hold change nothing. A commit that was cut does not carry its own check, and is as if not there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from medeval.runs.remote.store import Store
from medeval.types import RunError

FOLDER = "commits"
FORMAT = 1
_PLENTY = 64  # commits after which a checkpoint is worth its writing, and one more for each thousand files


class Stamp(NamedTuple):
    """When a file was put or dropped: number of the commit, above all that its writer had seen; then the writer's id."""

    number: int
    writer: str


@dataclass(frozen=True)
class Entry:
    """What a name stands for. object: name of the object, None for a file that was dropped. sha256: of its bytes."""

    at: Stamp
    object: str | None = None
    size: int = 0
    sha256: str = ""


def object_name(name: str, sha256: str) -> str:
    """The object of a file with this content: no two contents share one, so that none is ever written over.

    >>> object_name("records/a-b.parquet", "0123456789abcdef" * 4)
    'records/a-b.0123456789abcdef.parquet'
    """
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}.{sha256[:16]}{path.suffix}"))


class CommitList:
    """All commits of a place, as far as they can be seen.

    writer: id of this process among writers; "" only reads.
    """

    def __init__(self, store: Store, writer: str = "") -> None:
        self._store = store
        self._writer = writer
        self._read: dict[str, bool] = {}  # commit -> whole
        self._number = 0
        self.entries: dict[str, Entry] = {}

    @property
    def writes(self) -> bool:
        """True where this process may commit."""
        return bool(self._writer)

    def load(self) -> None:
        """Read what is new. Raises ``Unreachable``; ``RunError`` for a place of a later format."""
        new = [name for name in self._store.names(FOLDER) if not self._read.get(name)]
        for name, data in zip(new, self._store.side_by_side(self._bytes, new), strict=True):
            commit = _parsed(data)
            self._read[name] = commit is not None
            if commit is not None:
                self._check_format(commit)
                self._number = max(self._number, commit["number"])
                self._merge(commit["entries"])

    def _bytes(self, name: str) -> bytes | None:
        return self._store.read(f"{FOLDER}/{name}")

    def _check_format(self, commit: Mapping[str, int]) -> None:
        if commit["format"] > FORMAT:
            raise RunError(f"{self._store.url}: written by a newer medeval; update this one")

    def _merge(self, entries: Iterable[list]) -> None:
        for name, object_, size, sha256, number, writer in entries:
            entry = Entry(Stamp(number, writer), object_, size, sha256)
            known = self.entries.get(name)
            if known is None or known.at < entry.at:
                self.entries[name] = entry

    def find(self, name: str) -> Entry | None:
        """The file's entry; None when it was never committed, or was dropped."""
        entry = self.entries.get(name)
        return entry if entry is not None and entry.object is not None else None

    def live(self) -> dict[str, Entry]:
        """All files that count."""
        found = {name: entry for name, entry in self.entries.items() if entry.object is not None}
        newest: dict[str, Stamp] = {}  # of a file, or of the artifact that it is of
        for name, entry in found.items():
            made = made_whole(name) or name
            newest[made] = max(newest.get(made, entry.at), entry.at)
        return {name: entry for name, entry in found.items() if entry.at == newest[made_whole(name) or name]}

    def commit(self, puts: Mapping[str, tuple[str, int, str]], drops: Iterable[str]) -> list[str]:
        """Commit uploaded objects, and files that are no more, as one.

        puts: name -> (object, size, SHA-256). Returns the objects that nothing names any more. Raises ``Unreachable``.
        """
        at = Stamp(self._number + 1, self._writer)
        changed = {name: Entry(at, *put) for name, put in puts.items()} | {name: Entry(at) for name in drops}
        before = [entry.object for name in changed if (entry := self.find(name)) is not None]
        self._write(at, changed)
        self.entries |= changed
        kept = {entry.object for entry in self.entries.values()}
        return [name for name in before if name is not None and name not in kept]

    def checkpoint(self, keep_drops: bool, force: bool = False) -> None:
        """Write all that is known as one commit, and remove those that it holds, once they are many.

        keep_drops: False where nobody else can hold an older commit that this one has not seen.
        """
        held = [name for name, whole in self._read.items() if whole]
        if len(held) < 2 or (len(held) <= _PLENTY + len(self.entries) // 1000 and not force):
            return
        if not keep_drops:
            self.entries = {name: entry for name, entry in self.entries.items() if entry.object is not None}
        name = self._write(Stamp(self._number + 1, self._writer), self.entries)
        if _parsed(self._bytes(name)) is not None:  # before anything is removed that it stands for
            self._store.remove(f"{FOLDER}/{old}" for old in held)
            self._read = {name: True}

    def _write(self, at: Stamp, entries: Mapping[str, Entry]) -> str:
        name = f"{at.number:08d}-{at.writer}.json"
        rows = [[name, e.object, e.size, e.sha256, e.at.number, e.at.writer] for name, e in entries.items()]
        body = {
            "format": FORMAT,
            "number": at.number,
            "writer": at.writer,
            "time": time.time(),
            "entries": rows,
        }
        self._store.put(f"{FOLDER}/{name}", _composed(body))
        self._number = at.number
        self._read[name] = True
        return name


def made_whole(name: str) -> str | None:
    """The folder of the prepared artifact that a file is of: its files are of one making, never some of each of two."""
    parts = PurePosixPath(name).parts
    return (
        "/".join(parts[:2])
        if parts[0] == "artifacts" and len(parts) > 2 and parts[1] != "predictions"
        else None
    )


def _composed(body: Mapping[str, object]) -> bytes:
    text = json.dumps(body, separators=(",", ":"))
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def _parsed(data: bytes | None) -> dict | None:
    """A commit, None when it is not there whole."""
    lines = (data or b"").split(b"\n")
    if len(lines) != 3 or hashlib.sha256(lines[0]).hexdigest().encode() != lines[1]:
        return None
    return json.loads(lines[0])
