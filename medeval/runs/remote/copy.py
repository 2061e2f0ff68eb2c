"""The copy of a run on this machine: which of its files are as they are in the place, and which are fetched when needed."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from medeval.datasets.fingerprints import cache_folder
from medeval.runs.files import TEMPORARY, attempt, write_text, writing
from medeval.runs.folder import SUBFOLDERS
from medeval.runs.remote.commits import CommitList, Entry, made_whole
from medeval.runs.remote.known import KnownFiles, sha256_of, signature
from medeval.runs.remote.store import Store
from medeval.types import RunError, digest

PRIVATE = ".place"  # beside the run's files: what is known of them; never published
SHARED = SUBFOLDERS  # one for all writers of a place; the rest is each writer's own
_NOT_PUBLISHED = ("run.lock", "*-wal", "*-shm", "*-journal")


def local_folder(url: str, use: str) -> Path:
    """Where a place is copied to: below the cache, by the URL's digest; its last part is the run's name.

    use: ``work`` for the one who writes, ``read`` for those who look.
    """
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", PurePosixPath(url).name).strip(".") or "run"
    return cache_folder() / "runs" / digest(url)[:16] / use / name


class Copy:
    """The files of one place on this machine. Safe for several threads.

    prefix: below which this writer's own files lie in the place (``shards/2-of-4/``), "" for the whole run's.
    """

    def __init__(self, path: Path, store: Store, commits: CommitList, prefix: str = "") -> None:
        self.path = path
        self.store = store
        self.commits = commits
        self._prefix = prefix
        self._fetching = threading.RLock()  # held while threads of its holder note what they got
        self.known = KnownFiles(path, path / PRIVATE / "known.jsonl")
        self.live: dict[str, Entry] = {}
        self.torn: dict[str, str] = {}  # committed, but not there whole: name -> SHA-256 that it should have

    def create(self) -> None:
        """Make the folders. Raises ``RunError`` when the cache folder cannot be written."""
        for room in (*SUBFOLDERS, PRIVATE):
            attempt(lambda room=room: (self.path / room).mkdir(parents=True, exist_ok=True), self.path)  # type: ignore[misc]

    @property
    def id(self) -> str:
        """Of this working copy, for as long as it exists."""
        path = self.path / PRIVATE / "id"
        if not path.exists():
            write_text(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8")

    # -- names --------------------------------------------------------------------------------------------------

    def there(self, name: str) -> str:
        """The place's name of a file of the copy."""
        return name if PurePosixPath(name).parts[0] in SHARED else f"{self._prefix}{name}"

    def reload(self) -> None:
        """Read the commits; ``live``: names as they are here."""
        self.commits.load()
        found = {}
        for name, entry in self.commits.live().items():
            if PurePosixPath(name).parts[0] in SHARED:
                found[name] = entry
            elif name.startswith(self._prefix) and (self._prefix or not name.startswith("shards/")):
                found[name.removeprefix(self._prefix)] = entry
        self.live = {name: entry for name, entry in found.items() if self.torn.get(name) != entry.sha256}

    def rooms(self) -> list[str]:
        """Names of the folders here."""
        return sorted(
            path.name for path in self.path.iterdir() if path.is_dir() and not path.name.startswith(".")
        )

    def files(self, *rooms: str) -> Iterator[str]:
        """Names of the files here that a place may hold; rooms: folders, or "" for files right in the run's."""
        for room in rooms or ("", *self.rooms()):
            paths = (self.path / room).rglob("*") if room else self.path.iterdir()
            for path in paths:
                relative = path.relative_to(self.path)
                hidden = any(part.startswith(".") for part in relative.parts)
                private = any(fnmatch.fnmatch(path.name, pattern) for pattern in _NOT_PUBLISHED)
                if not hidden and not private and path.is_file():
                    yield relative.as_posix()

    # -- what is the same here and there ------------------------------------------------------------------------

    def reconcile(self, keeps_work: bool) -> list[str]:
        """Make the copy fit what the place holds now: files that were changed or dropped there are removed here.

        keeps_work: files that were made here and never published stay, unless the place has its own since. Returns these.
        False for those who look: several may share the copy, so what another one just fetched is left to it.
        """
        self.known.load()
        unpublished = []
        for name in list(self.files()):
            if self._current(name) or (not keeps_work and self._as_committed(name)):
                continue
            if keeps_work and self._is_work(name):
                unpublished.append(name)
            else:
                self._remove(name)
        if keeps_work:
            self.known.rewrite()
        return unpublished

    def _remove(self, name: str) -> None:
        path = self.path / name
        for one in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            one.unlink(missing_ok=True)  # a log left beside another database would be written into it
        self.known.forget(name)

    def _current(self, name: str) -> bool:
        entry, known = self.live.get(name), self.known.get(name)
        if entry is None or self.known.changed(name):
            return False
        return known is not None and known.sha256 == entry.sha256

    def _as_committed(self, name: str) -> bool:
        entry, seen = self.live.get(name), signature(self.path / name)
        if entry is None or not _same(self.path / name, entry):
            return False
        self.known.note(name, entry.sha256, seen)
        return True

    def _is_work(self, name: str) -> bool:
        """Made or changed here after it was last the same, and not changed in the place since."""
        entry, known = self.live.get(name), self.known.get(name)
        if not self.known.changed(name):
            return False
        if known is None and entry is not None and _room(name) in ("predictions", "timings"):
            records = f"records/{PurePosixPath(name).name}"  # done again without fetching what was there
            return (self.path / records).exists() and self._is_work(records)
        if known is not None and entry is not None:
            return known.sha256 == entry.sha256
        return known is None and entry is None

    def committed(self, names: Iterable[str], drops: Iterable[str]) -> None:
        """These files of the copy were just committed, or dropped."""
        with self._fetching:
            for name in names:
                self.live[name] = self.commits.entries[self.there(name)]
                self.torn.pop(name, None)
            for name in drops:
                self.live.pop(name, None)
                self.known.forget(name)

    # -- fetching -----------------------------------------------------------------------------------------------

    def absent(self, *rooms: str) -> list[str]:
        """Committed names that are not on this machine; rooms: as in ``files``. What was removed here is not among them."""
        wanted = set(rooms)
        return [
            name
            for name in list(self.live)
            if (not wanted or _room(name) in wanted)
            and name not in self.known
            and not (self.path / name).exists()
        ]

    def need(self, names: Iterable[str]) -> None:
        """Have these committed files here; names that are not committed are passed over.

        Raises ``RunError`` for one that is not there whole, unless this copy is written, which does it again.
        """
        with self._fetching:
            wanted = [
                n for n in names if n in self.live and n not in self.known and not (self.path / n).exists()
            ]
            made = sorted({folder for name in wanted if (folder := made_whole(name))})
            plain = [name for name in wanted if not made_whole(name)]
            for folder in made:
                self._fetch_whole(folder)
            if lacking := self._fetch_all(plain):
                self.reload()  # they may have been replaced since we looked
                again = [name for name in lacking if name in self.live]
                self._tear(self._fetch_all(again))

    def _fetch_all(self, names: list[str]) -> list[str]:
        """Returns those that are not there whole."""
        got = self.store.side_by_side(self._fetch, names)
        return [name for name, whole in zip(names, got, strict=True) if not whole]

    def _fetch(self, name: str, target: Path | None = None) -> bool:
        """One file, checked; False when it is not there as it was committed."""
        entry, target = self.live[name], target or self.path / name
        assert entry.object is not None
        attempt(lambda: target.parent.mkdir(parents=True, exist_ok=True), target)
        try:
            with writing(target) as temporary:
                self._bring(name, entry, temporary)
        except _Torn:
            return False
        if target == self.path / name:
            self.known.note(name, entry.sha256, signature(target))
        return True

    def _bring(self, name: str, entry: Entry, temporary: Path) -> None:
        twin = local_folder(self.store.url, "work") / name
        if twin.suffix == ".parquet" and twin != self.path / name and _same(twin, entry):
            try:
                os.link(twin, temporary)  # made on this machine: parts are never written in place
                return
            except OSError:
                temporary.unlink(missing_ok=True)
        assert entry.object is not None
        if not self.store.fetch(entry.object, temporary) or not _same(temporary, entry):
            raise _Torn

    def _fetch_whole(self, folder: str) -> None:
        """A prepared artifact: all of it or nothing."""
        target = self.path / folder
        partial = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{target.name}")
        names = [name for name in self.live if name.startswith(f"{folder}/")]
        whole = [self._fetch(name, partial / PurePosixPath(name).relative_to(folder)) for name in names]
        if not all(whole):
            shutil.rmtree(partial, ignore_errors=True)
            self._tear(names)
            return
        attempt(lambda: partial.rename(target), target)
        for name in names:
            self.known.note(name, self.live[name].sha256, signature(self.path / name))

    def _tear(self, names: list[str]) -> None:
        for name in names:
            self.torn[name] = self.live.pop(name).sha256
        if names and not self.commits.writes:
            raise RunError(
                f"{self.store.url}: {names[0]} is not there as it was committed; give the run's command again, which does it "
                "anew"
            )

    def elsewhere(self) -> Mapping[str, str]:
        """name -> SHA-256 of what is in the place alone."""
        return {name: self.live[name].sha256 for name in self.absent()}


class _Torn(Exception):
    """An object is missing, or is not what was committed."""


def _same(path: Path, entry: Entry) -> bool:
    return path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256


def _room(name: str) -> str:
    parts = PurePosixPath(name).parts
    return parts[0] if len(parts) > 1 else ""
