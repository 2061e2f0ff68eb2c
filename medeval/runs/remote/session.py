"""A run that lies elsewhere, as the run folder that the rest of medeval works with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from medeval.runs.files import locked, sweep
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.place import Tell
from medeval.runs.remote.commits import CommitList
from medeval.runs.remote.copy import Copy, local_folder
from medeval.runs.remote.lease import WHOLE, Lease, role_of
from medeval.runs.remote.publisher import Publisher
from medeval.runs.remote.store import Store
from medeval.types import RunError

LAZY = ("records", "predictions", "timings", "artifacts", "llm")  # not fetched before they are asked for
_TO_READ = ("manifest.json", "summary.json", "hashes.json")
_AT_ONCE = ("records", "artifacts", "llm")  # what a writer needs to go on, with the small files


class RemoteFolder(RunFolder):
    """The copy on this machine; its files come when they are asked for, and go when a unit is finished."""

    def __init__(self, copy: Copy, publisher: Publisher | None = None) -> None:
        super().__init__(copy.path)
        self._copy = copy
        self._publisher = publisher

    @property
    def where(self) -> str:
        """The URL."""
        return self._copy.store.url

    def part(self, kind: str, unit: UnitName) -> Path:
        """Path of a unit's part, fetched if the place holds it."""
        path = super().part(kind, unit)
        self._copy.need([f"{kind}/{path.name}"])
        return path

    def parts(self, kind: str, pattern: str = "[!.]*.parquet") -> list[Path]:
        """Whole files of a room, fetched."""
        self._copy.need(name for name in self._copy.absent(kind) if PurePosixPath(name).match(pattern))
        return super().parts(kind, pattern)

    def unit_meta(self, unit: UnitName) -> dict[str, Any] | None:
        """What a finished unit was made under; where it may be tried again, its journal is fetched too."""
        meta = super().unit_meta(unit)
        if meta is not None and meta["missing"]:
            self.parts("journal", f"{unit.stem}-*.jsonl")
        return meta

    def drop(self, kind: str, name: str) -> None:
        """Remove a file here and, with the next commits, in the place."""
        super().drop(kind, name)
        if self._publisher is not None:
            self._publisher.drop(f"{kind}/{name}")

    def finished(self, unit: UnitName) -> None:
        """Have the unit's parts published. Raises ``RunError`` when somebody else has taken over the place."""
        if self._publisher is not None:
            self._publisher.check()
            self._publisher.queue(unit.stem)

    def need(self, *rooms: str) -> None:
        """Fetch these rooms, by default all."""
        self._copy.need(self._copy.absent(*rooms))

    def elsewhere(self) -> dict[str, str]:
        """name -> SHA-256 of what was not fetched."""
        return dict(self._copy.elsewhere())


def open_remote(url: str) -> RemoteFolder:
    """A run to be read. Raises ``RunError`` when there is none, or it cannot be reached."""
    store = Store(url)
    copy = Copy(local_folder(url, "read"), store, CommitList(store))
    copy.create()
    copy.reload()
    copy.reconcile(keeps_work=False)
    if "manifest.json" not in copy.live:
        raise RunError(f"{url}: not a run ({_instead(copy)})")
    copy.need(name for name in copy.absent() if name in _TO_READ or name.startswith("cases/"))
    return RemoteFolder(copy)


def _instead(copy: Copy) -> str:
    if any(name.startswith("shards/") for name in copy.commits.live()):
        return (
            "only shards of one; the same `medeval run` without --shard sums them up, and asks no model again"
        )
    return "no manifest.json was committed there"


@contextmanager
def opened_remote(url: str, shard: tuple[int, int], tell: Tell) -> Iterator[RemoteFolder]:
    """A run to be written, as ``medeval.runs.place.opened`` says."""
    store = Store(url)
    role = role_of(shard)
    prefix = "" if role == WHOLE else f"shards/{role.removeprefix('shard-')}/"
    path = local_folder(url, "work" if role == WHOLE else f"work-{role}")
    copy = Copy(path, store, CommitList(store, uuid.uuid4().hex[:8]), prefix)
    copy.create()
    with locked(path):
        sweep(path)
        lease = Lease(store, role, copy.id, tell)
        lease.take()
        try:
            unpublished = _prepared(copy, tell)
            publisher = Publisher(copy, lease, role == WHOLE)
            publisher.start(unpublished)
            with _published(publisher, copy):
                yield RemoteFolder(copy, publisher)
        finally:
            lease.release()


def _prepared(copy: Copy, tell: Tell) -> list[str]:
    """Bring the copy up to the place; returns what was made here and never published."""
    copy.reload()
    unpublished = copy.reconcile(keeps_work=True)
    absent = copy.absent()
    stems = {PurePosixPath(name).stem for name in copy.live if name.startswith("records/")}
    copy.need(
        name for name in absent
        if ((room := PurePosixPath(name).parts[0]) not in LAZY and (room != "journal" or _stem(name) not in stems))
        or (room in _AT_ONCE and not name.startswith("artifacts/predictions/"))
    )  # fmt: skip
    if copy.torn:
        tell(
            f"{copy.store.url}: {len(copy.torn)} files are not there as they were committed; their units are done again"
        )
    if unpublished:
        tell(
            f"{copy.store.url}: {len(unpublished)} files that an earlier run left in {copy.path} are published now"
        )
    return unpublished


def _stem(journal: str) -> str:
    """The unit that a journal is of: its name goes on with a hash."""
    return PurePosixPath(journal).stem.rpartition("-")[0]


@contextmanager
def _published(publisher: Publisher, copy: Copy) -> Iterator[None]:
    """Publish all at the end, whatever ends the block; an error of the block goes before one of publishing."""
    try:
        yield
    except BaseException as error:
        publisher.stop()
        try:
            publisher.publish_all()
        except RunError as failed:
            error.add_note(str(_kept(copy, failed)))
        raise
    publisher.stop()
    try:
        publisher.publish_all()
    except RunError as error:
        raise _kept(copy, error) from error


def _kept(copy: Copy, error: RunError) -> RunError:
    return RunError(
        f"{error}\nNot all is published. It is kept in {copy.path}; the same command on this machine publishes it"
    )
