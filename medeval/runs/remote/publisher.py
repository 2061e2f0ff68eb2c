"""From the working copy to the place, in the background: upload, then commit, then remove what nothing names any more."""

from __future__ import annotations

import queue
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from medeval.runs.remote.commits import object_name
from medeval.runs.remote.copy import PRIVATE, Copy
from medeval.runs.remote.known import sha256_of, signature
from medeval.runs.remote.lease import Lease
from medeval.types import RunError

PARTS = ("predictions", "timings", "records")
VISIBLE = ("manifest.json", "summary.json", "report.html")  # also under their plain names, for people
_SHARE = 10  # a growing file is sent again after ten times as long as sending it took
_GROWS = (".jsonl", ".sqlite")


class _Upload(NamedTuple):
    """name: of the file here. seen: its signature before it was read."""

    name: str
    object: str
    size: int
    sha256: str
    seen: str


class Publisher:
    """whole: True where no other writer can be at work in the place."""

    def __init__(self, copy: Copy, lease: Lease, whole: bool) -> None:
        self._copy = copy
        self._store = copy.store
        self._commits = copy.commits
        self._lease = lease
        self._whole = whole
        self._stems: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="publish", daemon=True)
        self._waits: dict[str, float] = {}  # a growing file -> when it may be sent again
        self._failed: list[str] = []  # names that a failed commit held
        self._dropped: set[str] = set()
        self.error: RunError | None = None  # of the last commit that could not be made

    def start(self, unpublished: Iterable[str]) -> None:
        """Begin with what an earlier process has left unpublished."""
        self._failed = list(unpublished)
        self._thread.start()

    def check(self) -> None:
        """Raises ``RunError`` when somebody else has taken over the place."""
        if self._lease.lost is not None:
            raise RunError(
                f"{self._lease.lost}; this run stops, and what it has not published stays in {self._copy.path}"
            )

    def queue(self, stem: str) -> None:
        """A unit's parts are there."""
        self._stems.put(stem)

    def drop(self, name: str) -> None:
        """A file was removed from the run, whether or not it was ever here."""
        self._dropped.add(name)

    def stop(self) -> None:
        """End the thread; what is queued stays for ``publish_all``."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def publish_all(self) -> None:
        """Everything as it is now, in one commit. Raises ``RunError``."""
        names = [name for name in self._copy.files() if self._copy.known.changed(name)]
        self._publish(names, self._vanished())
        if self._whole:
            for name in VISIBLE:
                if (self._copy.path / name).exists():
                    self._store.put(name, self._copy.path / name)
        self._commits.checkpoint(keep_drops=not self._whole, force=True)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        looked = time.monotonic()
        while not self._stop.wait(self._store.pace.commit):
            if self._lease.lost is not None:
                return
            names = [*self._failed, *self._finished()]
            drops: list[str] = []
            if time.monotonic() - looked >= self._store.pace.loose:
                looked = time.monotonic()
                names += self._loose()
            names = list(dict.fromkeys(names))
            if not names:
                continue
            try:
                self._publish(names, drops)
                self._commits.checkpoint(keep_drops=not self._whole)
                self._failed, self.error = [], None
            except RunError as error:  # work goes on; it is tried again, and told at the end
                self._failed, self.error = names, error

    def _finished(self) -> Iterator[str]:
        while True:
            try:
                stem = self._stems.get_nowait()
            except queue.Empty:
                return
            yield from (f"{room}/{stem}.parquet" for room in PARTS)

    def _loose(self) -> list[str]:
        """Changed files that are no parts: journals, chat cache and logs, manifest, prepared artifacts."""
        rooms = ["", *(room for room in self._copy.rooms() if room not in PARTS)]
        now = time.monotonic()
        return [
            n
            for n in self._copy.files(*rooms)
            if self._copy.known.changed(n) and self._waits.get(n, now) <= now
        ]

    def _vanished(self) -> list[str]:
        """Committed files that were here and are no more, were dropped, or are not there whole and were not made again."""
        copy = self._copy
        gone = {name for name in copy.live if name in copy.known} | self._dropped | copy.torn.keys()
        return sorted(name for name in gone if not (copy.path / name).exists())

    # -- one commit ---------------------------------------------------------------------------------------------

    def _publish(self, names: Iterable[str], drops: Iterable[str]) -> None:
        self.check()
        files = [name for name in names if (self._copy.path / name).exists()]
        done = [upload for upload in self._store.side_by_side(self._upload, files) if upload is not None]
        there = self._copy.there
        new = [upload for upload in done if not self._is_current(upload)]
        gone = [name for name in drops if self._commits.find(there(name)) is not None]
        if new or gone:
            puts = {there(upload.name): (upload.object, upload.size, upload.sha256) for upload in new}
            garbage = self._commits.commit(puts, map(there, gone))
            self._copy.committed((upload.name for upload in new), gone)
            self._store.remove(garbage)
        for upload in done:
            self._copy.known.note(upload.name, upload.sha256, upload.seen)

    def _is_current(self, upload: _Upload) -> bool:
        entry = self._commits.find(self._copy.there(upload.name))
        if upload.name in self._copy.torn:
            return False
        return entry is not None and entry.sha256 == upload.sha256

    def _upload(self, name: str) -> _Upload | None:
        """Send a file's bytes; None when it went away or changed under our hands, and is to be sent another time."""
        path = self._copy.path / name
        seen, began = signature(path), time.monotonic()
        try:
            with self._still(path) as still:
                sha256, size = sha256_of(still), still.stat().st_size
                upload = _Upload(name, object_name(self._copy.there(name), sha256), size, sha256, seen)
                if not self._is_current(upload):
                    self._store.put(upload.object, still)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunError(f"{path}: cannot be published ({error})") from error
        if path.suffix in _GROWS:
            now = time.monotonic()
            self._waits[name] = now + _SHARE * (now - began)
            return upload
        return upload if signature(path) == seen else None

    @contextmanager
    def _still(self, path: Path) -> Iterator[Path]:
        """The file, or where others may write into it a copy that stands still."""
        if path.suffix not in _GROWS:
            yield path
            return
        name = path.relative_to(self._copy.path).as_posix().replace("/", "--")
        still = self._copy.path / PRIVATE / f"still-{name}"
        still.unlink(missing_ok=True)
        try:
            _back_up(path, still) if path.suffix == ".sqlite" else shutil.copyfile(path, still)
            yield still
        finally:
            still.unlink(missing_ok=True)


def _back_up(path: Path, target: Path) -> None:
    """An SQLite file with what its write-ahead log holds, while others write into it."""
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=60.0)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    except sqlite3.Error as error:
        raise RunError(f"{path}: cannot be published ({error})") from error
