"""``medeval dataset check``: a cheap pass over names and entries, and a full one that reads every picture, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.building.collected import Hashes
from medeval.datasets.building.findings import Finding, Findings
from medeval.datasets.building.leaks import leaks
from medeval.datasets.building.orphans import orphans, path_hash
from medeval.datasets.building.statistics import windows
from medeval.datasets.images import read_image
from medeval.datasets.pictures import read_label_picture, read_picture
from medeval.datasets.sa_med2d import SAMed2D
from medeval.datasets.sa_med2d_entries import Entry
from medeval.datasets.sa_med2d_names import MODALITIES, UNKNOWN, parse_image
from medeval.types import DataError

_WINDOW = 256
Tick = Callable[[bool], None]


@dataclass(frozen=True)
class _Seen:
    """What was seen of one image: its findings, the hashes of its pixels and of its files' paths, the number of masks."""

    findings: tuple[Finding, ...]
    pixels: bytes
    paths: tuple[bytes, ...]
    masks: int


def inspect(
    dataset: SAMed2D,
    *,
    quick: bool = False,
    min_area: float = 0.0,
    threads: int = 8,
    found: Callable[[Finding], None] = lambda finding: None,
    tick: Tick = lambda failed: None,
) -> Findings:
    """Everything that is wrong with the files that the index names, with files that it does not name, and with the splits.

    quick: names, paths and sizes of files alone; nothing is decoded. min_area: tell masks below this share of their image.
    tick: once an image. Memory: 24 bytes an image and 8 bytes a file. Raises ``DatasetError`` when there is no index.
    """
    findings = Findings(found)
    pixels, paths = Hashes(16), Hashes(8)
    eye = _Eye(dataset, quick, min_area)
    with ThreadPoolExecutor(threads) as pool:
        for window in windows(iter(dataset.entries), _WINDOW):
            for seen in pool.map(eye.look, window):
                findings.images += 1
                findings.masks += seen.masks
                pixels.add(seen.pixels)
                for path in seen.paths:
                    paths.add(path)
                for finding in seen.findings:
                    findings.add(finding)
                tick(bool(seen.findings))
    for finding in (*_doubles(dataset, pixels), *orphans(dataset, paths), *leaks(dataset)):
        findings.add(finding)
    return findings


class _Eye:
    """Looks at one image and its masks; safe for threads."""

    def __init__(self, dataset: SAMed2D, quick: bool, min_area: float) -> None:
        self._dataset, self._quick, self._min_area = dataset, quick, min_area
        self._unique = count()

    def look(self, entry: Entry) -> _Seen:
        """All findings of one entry."""
        findings = list(self._names(entry))
        try:
            image, masks = self._dataset.paths(entry)
        except DataError as error:
            findings.append(Finding("forbidden path", entry.stem, str(error)))
            return _Seen(tuple(findings), self._nothing(), (), len(entry.masks))
        files = [image, *masks]
        missing = {path: trouble for path in files if (trouble := self._dataset.files.trouble(path))}
        findings += [
            Finding("missing file", entry.stem, f"{path} {trouble}") for path, trouble in missing.items()
        ]
        if not masks:
            findings.append(Finding("no masks", entry.stem, "the index lists no mask of it"))
        pixels = b""
        if not self._quick and image not in missing:
            told, pixels = self._pictures(entry, image, [m for m in masks if m not in missing])
            findings += told
        hashes = tuple(path_hash(self._dataset, path) for path in files)
        return _Seen(tuple(findings), pixels or self._nothing(), hashes, len(masks))

    def _nothing(self) -> bytes:
        """A hash that no other image has."""
        return blake2b(f"none {next(self._unique)}".encode(), digest_size=16).digest()

    def _names(self, entry: Entry) -> Iterator[Finding]:
        name = parse_image(entry.stem)
        if name.source and name.modality not in MODALITIES.values():
            yield Finding(
                "name", entry.stem, f"modality {name.modality!r} is none of {', '.join(MODALITIES)}"
            )
        if "--" in entry.stem and name.modality == UNKNOWN:
            yield Finding("name", entry.stem, "is not MODALITY--DATASET--CASE--SLICE")
        try:
            masks = self._dataset.mask_names(entry)
        except DataError as error:
            yield Finding("name", entry.stem, str(error))
            return
        for mask in masks:
            if (
                mask.class_id
                and mask.structure == f"{name.source}:{mask.class_id}"
                and self._dataset.knows_classes
            ):
                yield Finding(
                    "name",
                    entry.stem,
                    f"class id {mask.class_id} of {name.source} has no name in the mapping",
                )

    def _pictures(self, entry: Entry, image: Path, masks: list[Path]) -> tuple[list[Finding], bytes]:
        """Findings, and the hash of the image's pixels (b"" when it cannot be read)."""
        try:
            array = self._read_image(image)
        except DataError as error:
            return [Finding("broken file", entry.stem, str(error))], b""
        findings = []
        low, high = array.min(), array.max()
        if low == high:
            findings.append(Finding("constant image", entry.stem, f"{image} is {low} everywhere"))
        elif ((array == low) | (array == high)).all():
            findings.append(
                Finding("image like a mask", entry.stem, f"{image} holds only the values {low} and {high}")
            )
        seen: dict[tuple[str, bytes], Path] = {}
        structure = _structures(self._dataset, entry)
        for path in masks:
            findings += self._mask(entry, path, array.shape[1:], seen, structure.get(path.name, path.name))
        return findings, blake2b(str(array.shape).encode() + array.tobytes(), digest_size=16).digest()

    def _mask(
        self,
        entry: Entry,
        path: Path,
        shape: tuple[int, ...],
        seen: dict[tuple[str, bytes], Path],
        structure: str,
    ) -> Iterator[Finding]:
        try:
            values = read_label_picture(path, self._dataset.files.data(path))
        except DataError as error:
            kind = "not binary" if "colour picture" in str(error) else "broken file"
            yield Finding(kind, entry.stem, str(error))
            return
        mask = values != 0
        if mask.shape != shape:
            yield Finding(
                "shape mismatch", entry.stem, f"{path} is {_by(mask.shape)}, the image {_by(shape)}"
            )
        if len(np.unique(values[mask])) > 1:
            yield Finding("not binary", entry.stem, f"{path} holds {len(np.unique(values))} values")
        share = float(mask.mean())
        if share == 0:
            yield Finding("empty mask", entry.stem, f"{path} has no foreground")
            return
        if share > 0.5 and _touches_all(mask):
            yield Finding("inverted mask", entry.stem, f"{path} covers {share:.0%} and touches all borders")
        if share < self._min_area:
            yield Finding("small mask", entry.stem, f"{path} covers {share:.4%}, below {self._min_area:.4%}")
        key = structure, blake2b(mask.tobytes(), digest_size=16).digest()
        if (first := seen.setdefault(key, path)) is not path:
            yield Finding("doubled mask", entry.stem, f"{path} has the pixels of {first.name}")

    def _read_image(self, path: Path) -> NDArray:
        data = self._dataset.files.data(path)
        return read_image(path, "replace").image.array if data is None else read_picture(path, data)[0]


def _structures(dataset: SAMed2D, entry: Entry) -> dict[str, str]:
    """File name -> structure; {} for names outside the grammar."""
    try:
        names = dataset.mask_names(entry)
    except DataError:
        return {}
    return {
        mask.replace("\\", "/").rpartition("/")[2]: name.structure
        for mask, name in zip(entry.masks, names, strict=True)
    }


def _doubles(dataset: SAMed2D, pixels: Hashes) -> Iterator[Finding]:
    for first, *others in pixels.groups():
        name = dataset.entries.at(first).stem
        for other in others:
            yield Finding("doubled image", dataset.entries.at(other).stem, f"has the pixels of {name}")


def _touches_all(mask: NDArray[np.bool_]) -> bool:
    return bool(mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any())


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
