"""Zip archives of equal bytes for equal contents: pictures stored, texts deflated, no times, a fixed order."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

TOP = "SAMed2Dv1/"
NAME = "SAMed2Dv1.zip"


def add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a picture; PNG is compressed already."""
    archive.writestr(_info(name, zipfile.ZIP_STORED), data)


@contextmanager
def adding_text(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """A stream for a text member of any size."""
    with archive.open(_info(name, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as stream:
        yield stream


class Members:
    """Pictures that wait in archives of one volume each, or lie in an earlier archive of all."""

    def __init__(self, whole: Path) -> None:
        self._whole = zipfile.ZipFile(whole) if whole.is_file() and zipfile.is_zipfile(whole) else None

    def holds(self, sizes: dict[str, int]) -> bool:
        """True when the earlier archive has all of these files in their sizes."""
        if self._whole is None:
            return False
        infos = self._whole.NameToInfo
        return all(
            (i := infos.get(TOP + name)) is not None and i.file_size == size for name, size in sizes.items()
        )

    def copy(self, names: list[str], volume: Path, target: zipfile.ZipFile) -> None:
        """Put the files of a volume into ``target``: from its own archive where there is one."""
        if volume.is_file():
            with zipfile.ZipFile(volume) as own:
                for name in names:
                    add(target, TOP + name, own.read(name))
        elif self._whole is not None:
            for name in names:
                add(target, TOP + name, self._whole.read(TOP + name))

    def close(self) -> None:
        """Close the earlier archive."""
        if self._whole is not None:
            self._whole.close()

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _info(name: str, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type, info.create_system, info.external_attr = method, 3, 0o644 << 16
    return info
