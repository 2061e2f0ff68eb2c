"""The folder that a build leaves, and what it remembers of finished volumes.

OUT/images/ masks/            or OUT/SAMed2Dv1.zip
OUT/.build/parts/KEY.json     one for each finished volume, written after its last file: this is what resuming trusts
OUT/.build/volumes/KEY.zip    with --zip: the volume's pictures, until the archive is put together
OUT/.build/temporary/         files that are being written
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medeval.datasets.building.archive import NAME, Members, add
from medeval.datasets.building.files import locked, replacing, told, write_bytes
from medeval.datasets.building.volume import Built
from medeval.types import DatasetError

_FOLDERS = ("images", "masks")


@dataclass(frozen=True)
class Output:
    """Where a build writes. ``packed``: into an archive."""

    folder: Path
    packed: bool = False

    @property
    def hidden(self) -> Path:
        """The folder of what resuming needs."""
        return self.folder / ".build"

    @property
    def temporary(self) -> Path:
        """Files that are being written; on the file system of their targets."""
        return self.hidden / "temporary"

    @property
    def archive(self) -> Path:
        """The archive of a packed build."""
        return self.folder / NAME

    def part(self, key: str) -> Path:
        """What is remembered of a finished volume."""
        return self.hidden / "parts" / f"{key}.json"

    def volume(self, key: str) -> Path:
        """A volume's pictures while a packed build goes on."""
        return self.hidden / "volumes" / f"{key}.zip"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folders, hold the lock, remove what a killed build left half-written. Raises ``DatasetError``."""
        self._check()
        with told(self.folder):
            for folder in ("parts", "volumes", "temporary"):
                (self.hidden / folder).mkdir(parents=True, exist_ok=True)
            for name in () if self.packed else _FOLDERS:
                (self.folder / name).mkdir(exist_ok=True)
        with locked(self.hidden / "lock"):
            for stray in self.temporary.iterdir():
                stray.unlink(missing_ok=True)
            yield
            shutil.rmtree(self.temporary, ignore_errors=True)

    def _check(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise DatasetError(f"{self.folder}: is a file; --out names a folder")
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            return
        if not self.hidden.is_dir():
            raise DatasetError(
                f"{self.folder}: holds files that no build made; choose a new or empty folder with --out"
            )
        if self.packed and (self.folder / "images").exists():
            raise DatasetError(
                f"{self.folder}: was built as folders; leave out --zip, or choose another --out"
            )
        if not self.packed and (self.archive.exists() or any((self.hidden / "volumes").glob("*.zip"))):
            raise DatasetError(f"{self.folder}: was built as an archive; give --zip, or choose another --out")

    # Volumes

    def finished(self, key: str, fingerprint: str, members: Members) -> bool:
        """True when the volume was built from the same bytes in the same way, and its files are all there."""
        part = self.read_part(key)
        if part is None or part.get("fingerprint") != fingerprint:
            return False
        sizes: dict[str, int] = part["sizes"]
        if self.packed:
            return zipfile.is_zipfile(self.volume(key)) or members.holds(sizes)
        return all(_size(self.folder / name) == size for name, size in sizes.items())

    def read_part(self, key: str) -> dict[str, Any] | None:
        """What is remembered of a volume; None when there is nothing that can be read."""
        try:
            part = json.loads(self.part(key).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return part if isinstance(part, dict) and isinstance(part.get("sizes"), dict) else None

    @contextmanager
    def writing(self, key: str) -> Iterator[Any]:
        """A function ``write(name, bytes)`` for the files of one volume."""
        if not self.packed:
            yield lambda name, data: write_bytes(self.folder / name, data, self.temporary)
            return
        with replacing(self.volume(key), self.temporary) as partial, zipfile.ZipFile(partial, "w") as archive:
            yield lambda name, data: add(archive, name, data)

    def finish(self, key: str, built: Built, about: dict[str, Any]) -> None:
        """Remember a volume; the last thing that is written of it."""
        text = json.dumps(about | vars(built), sort_keys=True, ensure_ascii=False)
        write_bytes(self.part(key), text.encode("utf-8", "surrogateescape"), self.temporary)

    @cached_property
    def found(self) -> dict[str, set[str]]:
        """KEY -> pictures that lie in images/ and masks/ now; one listing of the folders."""
        names: dict[str, set[str]] = {}
        for folder in () if self.packed else _FOLDERS:
            for path in (self.folder / folder).iterdir():
                fields = path.name.split("--")
                if len(fields) >= 4:
                    names.setdefault("--".join(fields[1:3]), set()).add(f"{folder}/{path.name}")
        return names

    def remove(self, names: set[str]) -> None:
        """Remove pictures that earlier options had made and these do not."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
