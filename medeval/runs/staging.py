"""Units that are worked on away from the run folder: their files travel as bytes, and one writer keeps them.

A worker on another machine has a scratch folder of its own. It is sent what is known of a unit (its journal; for scoring its
kept predictions) and sends back what it made; the driver writes that into the run folder, the records last.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from medeval.runs.files import attempt, writing
from medeval.runs.folder import RunFolder, UnitName
from medeval.types import RunError

ROOMS = ("journal", "predictions", "timings", "records")  # in the order of writing: records commit a unit


@contextmanager
def staged() -> Iterator[RunFolder]:
    """A scratch run folder on this machine, removed when the block ends."""
    with tempfile.TemporaryDirectory(prefix="medeval-staged-", ignore_cleanup_errors=True) as name:
        folder = RunFolder(Path(name))
        folder.create()
        yield folder


def files_of(folder: RunFolder, unit: UnitName) -> dict[str, bytes]:
    """All that a folder holds of a unit: name below the folder -> bytes; {} when it holds nothing.

    Parts that lie in a file together with other units' are not among them.
    """
    found = [*_journals(folder, unit), *(folder.part(kind, unit) for kind in ROOMS[1:])]
    return {
        path.relative_to(folder.path).as_posix(): attempt(path.read_bytes, path)
        for path in found
        if path.exists()
    }


def receive(folder: RunFolder, files: Mapping[str, bytes], unit: UnitName | None = None) -> None:
    """Write files of a unit, each whole, records last.

    unit: its journals in ``folder`` that are not among ``files`` are removed, for its worker has discarded them.
    Raises ``RunError`` for a name outside of the four rooms, and for a full disk.
    """
    named = {name: _room(name) for name in files}
    for name in sorted(files, key=lambda name: (ROOMS.index(named[name]), name)):
        target = folder.path / name
        attempt(lambda target=target: target.parent.mkdir(parents=True, exist_ok=True), target)  # type: ignore[misc]
        with writing(target) as temporary:
            temporary.write_bytes(files[name])
    for path in _journals(folder, unit) if unit is not None else ():
        if f"journal/{path.name}" not in files:
            folder.drop("journal", path.name)


def forget(folder: RunFolder, unit: UnitName) -> None:
    """Remove a unit's files from a scratch folder."""
    for name in files_of(folder, unit):
        (folder.path / name).unlink(missing_ok=True)


def _journals(folder: RunFolder, unit: UnitName) -> list[Path]:
    return folder.parts("journal", f"{unit.stem}-*.jsonl")


def _room(name: str) -> str:
    parts = PurePosixPath(name).parts
    if len(parts) != 2 or parts[0] not in ROOMS or parts[1].startswith("."):
        raise RunError(f"{name!r} is no file of a unit: it belongs to one of {', '.join(ROOMS)}")
    return parts[0]
