"""Rows of several index files and of a sidecar, brought into one order and merged by image; memory stays flat."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from medeval.datasets.sa_med2d_entries import Entry
from medeval.types import DatasetError

RUN = 50_000  # rows that are sorted in memory at a time
_OPEN_RUNS = 200  # files that are merged at a time


class Row(NamedTuple):
    """What one file says of one image. Rows order by image, then by file, then as they stand in the file.

    image: None in a row of the sidecar, which lists no masks and makes no case.
    """

    stem: str
    file: int
    number: int
    image: str | None
    masks: Sequence[str]
    patient: str | None = None
    spacing: Sequence[float] | None = None


def stem_of_entry(written: str) -> str:
    """The stem of a path as an index writes it, with slashes of either kind."""
    name = written.replace("\\", "/").rstrip("/").rpartition("/")[2]
    dot = name.rfind(".")
    return name[:dot] if 0 < dot < len(name) - 1 else name  # as PurePath.stem, five times faster


def merged(rows: Iterable[Row], listed_in: Sequence[str], where: Path) -> Iterator[Entry]:
    """One entry an image, in order of the stems. Raises ``DatasetError`` when two images would have one name."""
    for stem, same in groupby(in_order(rows), key=lambda row: row.stem):
        entry = _one(stem, list(same), listed_in, where)
        if entry is not None:
            yield entry


def in_order(rows: Iterable[Row], run: int = RUN) -> Iterator[Row]:
    """The rows sorted. More than ``run`` of them are sorted in runs that wait on disk until they are merged."""
    source = iter(rows)
    first = sorted(islice(source, run))
    if len(first) < run:
        yield from first
        return
    with tempfile.TemporaryDirectory(prefix="medeval-index-") as folder:
        files = [_spilled(first, Path(folder) / "0")]
        first.clear()
        while chunk := sorted(islice(source, run)):
            files.append(_spilled(chunk, Path(folder) / str(len(files))))
            chunk.clear()
        while len(files) > _OPEN_RUNS:  # 40 million rows and more
            files = [*files[_OPEN_RUNS:], _joined(files[:_OPEN_RUNS])]
        with ExitStack() as stack:
            yield from heapq.merge(*(stack.enter_context(_Run(file)) for file in files))


def _spilled(rows: Iterable[Row], path: Path) -> Path:
    with path.open("w", encoding="utf-8", errors="surrogatepass") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=True) + "\n")
    return path


def _joined(files: Sequence[Path]) -> Path:
    target = files[0].with_name(f"{files[0].name}+")
    with ExitStack() as stack:
        _spilled(heapq.merge(*(stack.enter_context(_Run(file)) for file in files)), target)
    for file in files:
        file.unlink()
    return target


class _Run:
    """A sorted run on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Iterator[Row]:
        self._stream = self._path.open(encoding="utf-8")
        return (Row(*json.loads(line)) for line in self._stream)

    def __exit__(self, *_: Any) -> None:
        self._stream.close()


def _one(stem: str, rows: Sequence[Row], listed_in: Sequence[str], where: Path) -> Entry | None:
    listing = [row for row in rows if row.image is not None]
    if not listing:
        return None
    first = listing[0]
    image = first.image or ""
    for row in listing[1:]:
        if row.image != first.image:
            raise DatasetError(
                f"{where / listed_in[row.file]}: {row.image!r} and {first.image!r} ({listed_in[first.file]}) "
                f"would both be {stem!r}"
            )
    masks = tuple(dict.fromkeys(mask for row in listing for mask in row.masks))
    files = tuple(dict.fromkeys(listed_in[row.file] for row in listing))
    patient = next((row.patient for row in rows if row.patient is not None), None)
    spacing = next((row.spacing for row in rows if row.spacing is not None), None)
    return Entry(stem, image, masks, files, patient, None if spacing is None else (spacing[0], spacing[1]))
