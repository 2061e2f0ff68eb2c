"""The rows of an index in order of their images, in memory or as a cached Parquet file that is read a part at a time."""

from __future__ import annotations

import os
import tempfile
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medeval.datasets.fingerprints import cache_folder
from medeval.types import digest

GROUP = 1024  # rows of a row group: what one look-up decodes
_KEPT = 16  # decoded row groups that stay in memory
_VERSION = 1  # raised when the rows of the cached file change


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its path and its masks' as written, the files that say so, and what a sidecar adds.

    spacing: of the image's rows and columns in mm; None where no sidecar tells it.
    """

    stem: str
    image: str
    masks: tuple[str, ...]
    listed_in: tuple[str, ...]
    patient: str | None = None
    spacing: tuple[float, float] | None = None


class Entries(Protocol):
    """Entries in order of their stems, each stem once."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Entry]: ...

    def brief(self) -> Iterator[Entry]:
        """All entries in order, perhaps without their image's path and their masks: a quarter of the reading."""

    def at(self, position: int) -> Entry:
        """The entry at a position."""

    def position(self, stem: str) -> int:
        """Where a stem stands; ``KeyError`` when it is not there."""


class InMemory:
    """Entries as a list."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)
        self._at = {entry.stem: n for n, entry in enumerate(self._entries)}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def brief(self) -> Iterator[Entry]:
        """All entries in order."""
        return iter(self._entries)

    def at(self, position: int) -> Entry:
        """The entry at a position."""
        return self._entries[position]

    def position(self, stem: str) -> int:
        """Where a stem stands; ``KeyError`` when it is not there."""
        return self._at[stem]


class OnDisk:
    """Entries of a Parquet file; a few row groups are in memory at a time, whatever the file's size. Safe for threads."""

    def __init__(self, path: Path, owner: Any = None) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path, memory_map=True)
        self._owner = owner  # a temporary folder that must live as long as we
        metadata = self._file.metadata
        self._count = metadata.num_rows
        self._files = tuple(metadata.metadata[b"listed_in"].decode().split("\n"))
        groups = range(metadata.num_row_groups)
        self._first = [metadata.row_group(n).column(0).statistics.min for n in groups]
        self._decoded: OrderedDict[int, list[Entry]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for number in range(len(self._first)):
            yield from self._group(number)

    def brief(self) -> Iterator[Entry]:
        """All entries in order, without their image's path and their masks."""
        for number in range(len(self._first)):
            with self._lock:
                table = self._file.read_row_group(number, columns=["stem", "listed_in", "patient"])
            for stem, listed, patient in zip(*(column.to_pylist() for column in table.columns), strict=True):
                yield Entry(stem, "", (), tuple(self._files[n] for n in listed), patient)

    def at(self, position: int) -> Entry:
        """The entry at a position."""
        return self._group(position // GROUP)[position % GROUP]

    def position(self, stem: str) -> int:
        """Where a stem stands; ``KeyError`` when it is not there."""
        number = bisect_right(self._first, stem) - 1
        if number >= 0:
            rows = self._group(number)
            row = bisect_left(rows, stem, key=lambda entry: entry.stem)
            if row < len(rows) and rows[row].stem == stem:
                return number * GROUP + row
        raise KeyError(stem)

    def _group(self, number: int) -> list[Entry]:
        with self._lock:
            if number not in self._decoded:
                rows = self._file.read_row_group(number).to_pylist()
                self._decoded[number] = [_unpacked(row, self._files) for row in rows]
            self._decoded.move_to_end(number)
            while len(self._decoded) > _KEPT:
                self._decoded.popitem(last=False)
            return self._decoded[number]


def cached(key: Sequence[object], listed_in: Sequence[str], entries: Iterable[Entry]) -> OnDisk:
    """The cached file of these contents; written from ``entries`` (in order of their stems) when it is not there.

    key: what the entries depend on, digests of the index files' bytes for example. A cache folder that cannot be written
    is replaced by a temporary one for the life of the result.
    """
    import pyarrow as pa

    name = f"{digest(_VERSION, GROUP, *listed_in, *key)[:32]}.parquet"
    path = cache_folder() / "sa_med2d" / name
    if path.is_file():
        with suppress(pa.ArrowException, OSError, KeyError):  # torn by a crash: written again
            return OnDisk(path)
    owner = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, listed_in, entries)
    except PermissionError:
        owner = tempfile.TemporaryDirectory(prefix="medeval-index-")
        path = Path(owner.name) / name
        _write(path, listed_in, entries)
    return OnDisk(path, owner)


def _write(path: Path, listed_in: Sequence[str], entries: Iterable[Entry]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("stem", pa.string()), ("image", pa.string()), ("masks", pa.list_(pa.string())),
         ("listed_in", pa.list_(pa.int16())), ("patient", pa.string()), ("spacing", pa.list_(pa.float64()))],
        metadata={"listed_in": "\n".join(listed_in)},
    )  # fmt: skip
    numbers = {name: n for n, name in enumerate(listed_in)}
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    os.close(descriptor)
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for rows in _batches(entries):
                packed = [_packed(entry, numbers) for entry in rows]
                writer.write_table(pa.Table.from_pylist(packed, schema), row_group_size=GROUP)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    rows: list[Entry] = []
    for entry in entries:
        rows.append(entry)
        if len(rows) == GROUP:
            yield rows
            rows = []
    if rows:
        yield rows


# A path that follows from the stem is kept as its difference; "/" marks one that is kept whole.


def _packed(entry: Entry, numbers: dict[str, int]) -> dict[str, Any]:
    image = None if entry.image == f"images/{entry.stem}.png" else entry.image
    begin, end = f"masks/{entry.stem}", ".png"
    short = [
        mask[len(begin) : -len(end)] if _regular(mask, begin, end) else f"/{mask}" for mask in entry.masks
    ]
    listed = [numbers[name] for name in entry.listed_in]
    return {"stem": entry.stem, "image": image, "masks": short, "listed_in": listed, "patient": entry.patient,
            "spacing": entry.spacing}  # fmt: skip


def _regular(mask: str, begin: str, end: str) -> bool:
    return mask.startswith(begin) and mask.endswith(end) and len(mask) > len(begin) + len(end) and (
        "/" not in mask[len(begin) :]
    )  # fmt: skip


def _unpacked(row: dict[str, Any], files: Sequence[str]) -> Entry:
    stem = row["stem"]
    masks = tuple(m[1:] if m.startswith("/") else f"masks/{stem}{m}.png" for m in row["masks"])
    image = f"images/{stem}.png" if row["image"] is None else row["image"]
    spacing = None if row["spacing"] is None else (row["spacing"][0], row["spacing"][1])
    return Entry(stem, image, masks, tuple(files[n] for n in row["listed_in"]), row["patient"], spacing)
