"""Where a run lies: a folder of this machine, or anything that fsspec reaches (``s3://``, ``gs://``, ``sftp://`` ...).

A plain folder takes no detour. Elsewhere there is no append, no rename and no lock, so the run is worked on in a local
working copy and published from there: see ``medeval.runs.remote``, which alone imports fsspec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medeval.runs.files import locked, sweep
from medeval.runs.folder import RunFolder
from medeval.types import RunError

Tell = Callable[[str], None]
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]+)://(.*)", re.DOTALL)
_MANGLED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/([^/].*)", re.DOTALL)
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]*@")
_LOCAL = ("file", "local")


def place_of(given: Path | str) -> Path | str:
    """A ``Path`` for a folder of this machine (also ``file://``), the URL as text for anything else.

    ``Path("s3://bucket/run")`` has lost a slash on the way; it is put back. Raises ``RunError`` for a URL without a path,
    with a password in it, and for a chain of file systems (``simplecache::s3://...``).
    """
    if isinstance(given, Path):
        found = _MANGLED.fullmatch(given.as_posix())
        if found is None or given.exists():
            return given
        return place_of(f"{found[1]}://{'/' if found[1].lower() in _LOCAL else ''}{found[2]}")
    found = _URL.fullmatch(given)
    if found is None:
        return Path(given)
    if found[1].lower() in _LOCAL:
        return Path(found[2])
    if _PASSWORD.search(given):
        raise RunError(
            f"{_PASSWORD.sub('://***@', given)}: a password in a URL would end up in logs; put it into fsspec's configuration "
            "or the environment"
        )
    if "::" in given:
        raise RunError(f"{given}: file systems in a chain hold no run; give the one where it is to lie")
    if not found[2].strip("/"):
        raise RunError(f"{given}: names no folder; write {found[1]}://BUCKET/RUN")
    return given.rstrip("/")


@contextmanager
def opened(
    where: Path | str, shard: tuple[int, int] = (1, 1), tell: Tell = lambda line: None
) -> Iterator[RunFolder]:
    """The run folder at ``where``, made if it is new, and held against other writers while the block lasts.

    shard: (number, count) of the part of the run that this process does; where the run lies elsewhere, shards are written
    into one place side by side. tell: takes notes for the user. Elsewhere, all that the block leaves is published, also
    when it ends by an error. Raises ``RunError`` when somebody else holds it, or it cannot be written or reached.
    """
    place = place_of(where)
    if isinstance(place, str):
        from medeval.runs.remote import opened_remote

        with opened_remote(place, shard, tell) as remote:
            yield remote
        return
    folder = RunFolder(place)
    folder.create()
    with locked(folder.path):
        sweep(folder.path)
        yield folder
        sweep(folder.path)  # a worker that was killed leaves what it was writing


def open_folder(where: Path | str) -> RunFolder:
    """An existing run, to be read. Raises ``RunError`` when there is none."""
    place = place_of(where)
    if isinstance(place, str):
        from medeval.runs.remote import open_remote

        return open_remote(place)
    folder = RunFolder(place)
    if not folder.manifest_path.exists():
        raise RunError(f"{where}: not a run folder (it has no manifest.json)")
    return folder
