"""``medeval dataset check`` of SAM-Med3D's layout: presence and headers of files, then every voxel, in threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.building.findings import VOLUME_KINDS, Finding, Findings
from medeval.datasets.building.sa_med3d.opening import THREADS, Splits, cases
from medeval.datasets.fingerprints import file_digest
from medeval.datasets.grids import describe, difference, same_grid
from medeval.datasets.images import read_grid, read_image, read_labels
from medeval.datasets.paths import NIFTI, suffix_of
from medeval.datasets.sa_med3d import SAMed3D
from medeval.types import DataError, Grid

PLAUSIBLE = (0.05, 20.0)  # mm


@dataclass(frozen=True)
class _Seen:
    """What was seen of one case. image: hash of its voxels, b"" where they were not read."""

    findings: tuple[Finding, ...]
    image: bytes = b""


def inspect(
    splits: Splits,
    *,
    quick: bool = False,
    threads: int = THREADS,
    found: Callable[[Finding], None] = lambda finding: None,
    tick: Callable[[bool], None] = lambda failed: None,
) -> Findings:
    """Everything that is wrong with the files of the cases, with files that belong to none, and with the splits.

    quick: presence and headers alone; no voxel is read. tick: once a case. Raises ``DatasetError`` when there are no cases.
    """
    findings = Findings(found, VOLUME_KINDS)
    doubles = _Doubles()
    every = cases(splits)
    with ThreadPoolExecutor(min(threads, THREADS)) as pool:
        looks = pool.map(lambda one: _Look(splits[one[0]], one[1], quick).seen(), every)
        for (split, case_id), seen in zip(every, looks, strict=True):
            findings.images += 1
            findings.masks += len(splits[split].files(case_id).labels)
            for finding in (*seen.findings, *doubles.of(split, case_id, seen.image)):
                findings.add(finding)
            tick(bool(seen.findings))
    for finding in (*_orphans(splits), *_leaks(splits)):
        findings.add(finding)
    return findings


class _Look:
    """One look at a case's files."""

    def __init__(self, dataset: SAMed3D, case_id: str, quick: bool) -> None:
        self._files = dataset.files(case_id)
        self._image = dataset.sources(case_id)["image"]
        self._where = f"{case_id} ({dataset.info(case_id).metadata['split']})"
        self._quick = quick
        self._findings: list[Finding] = []

    def seen(self) -> _Seen:
        """All findings of the case."""
        present = [path for path in self._expected() if self._is_there(path)]
        grid = self._grid(self._image) if self._image in present else None
        if grid is None:
            return _Seen(tuple(self._findings))
        self._spacing(grid)
        image = b"" if self._quick else self._voxels(self._image)
        for path in self._files.images.values():
            if path != self._image and path in present:
                self._copy(path, grid, image)
        held: dict[bytes, str] = {}
        for name, path in self._files.labels.items():
            if path in present:
                self._label(name, path, grid, held)
        return _Seen(tuple(self._findings), image)

    def _expected(self) -> list[Path]:
        """The labels, and an image beside each."""
        beside = {
            name: self._files.images.get(name, path.parents[1] / path.parent.name.replace("labels", "images") / path.name)
            for name, path in self._files.labels.items()
        }  # fmt: skip
        return [*beside.values(), *self._files.labels.values()]

    def _tell(self, kind: str, what: str) -> None:
        self._findings.append(Finding(kind, self._where, what))

    def _is_there(self, path: Path) -> bool:
        trouble = "is missing" if not path.is_file() else "is empty (0 bytes)" if not path.stat().st_size else ""  # fmt: skip
        if trouble:
            self._tell("missing file", f"{path} {trouble}")
        return not trouble

    def _grid(self, path: Path) -> Grid | None:
        try:
            return read_grid(path)
        except DataError as error:
            self._tell("broken file", str(error))
            return None

    def _spacing(self, grid: Grid) -> None:
        if not all(PLAUSIBLE[0] <= edge <= PLAUSIBLE[1] for edge in grid.spacing):
            self._tell("odd spacing", f"{self._image} lies on {describe(grid)}")

    def _voxels(self, path: Path) -> bytes:
        """Hash of an image's voxels, b"" when they cannot be read."""
        try:
            array = read_image(path, "replace").image.array
        except DataError as error:
            self._tell("broken file", str(error))
            return b""
        if array.min() == array.max():
            self._tell("constant image", f"{path} is {array.min():g} everywhere")
        return _hash(array)

    def _copy(self, path: Path, grid: Grid, image: bytes) -> None:
        own = self._grid(path)
        if own is None:
            return
        if not same_grid(own, grid):
            self._tell("unlike copy", f"{path} lies on {describe(own)}, {self._image} on {describe(grid)}")
        elif image and file_digest(path) != file_digest(self._image):
            other = self._voxels(path)
            if other and other != image:
                self._tell("unlike copy", f"{path} holds other voxels than {self._image}")

    def _label(self, name: str, path: Path, grid: Grid, held: dict[bytes, str]) -> None:
        own = self._grid(path)
        if own is None:
            return
        if not same_grid(own, grid):
            told = f"{path} lies on {describe(own)}, the image on {describe(grid)}: {difference(own, grid)}"
            self._tell("grid mismatch", told)
        if self._quick:
            return
        try:
            array = read_labels(path)[0]
        except DataError as error:
            self._tell("not binary" if "label map" in str(error) else "broken file", str(error))
            return
        self._mask(name, path, array, held)

    def _mask(self, name: str, path: Path, array: NDArray[np.integer], held: dict[bytes, str]) -> None:
        mask = array != 0
        values = np.unique(array[mask])
        if len(values) > 1:
            self._tell("not binary", f"{path} holds {len(values)} values beside 0")
        if not len(values):
            self._tell("empty mask", f"{path} has no foreground")
            return
        share = float(mask.mean())
        if share > 0.5 and _touches_all(mask):
            self._tell("inverted mask", f"{path} covers {share:.0%} and touches all six faces")
        first = held.setdefault(_hash(mask), name)
        if first != name:
            self._tell("doubled mask", f"{name} has the voxels of {first}")


@dataclass
class _Doubles:
    """Images that occurred before; a double across splits is a leak."""

    first: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def of(self, split: str, case_id: str, image: bytes) -> Iterator[Finding]:
        """What is to be told of one case."""
        if not image:
            return
        held, other = self.first.setdefault(image, (split, case_id))
        if (held, other) != (split, case_id):
            kind = "doubled image" if held == split else "leak"
            yield Finding(kind, f"{case_id} ({split})", f"has the voxels of {other} ({held})")


def _orphans(splits: Splits) -> Iterator[Finding]:
    """NIfTI files below the root that are neither a label nor an image of any case."""
    named: set[Path] = set()
    for dataset in splits.values():
        for case_id in dataset.index.ids:
            files = dataset.files(case_id)
            named |= {*files.images.values(), *files.labels.values()}
    root = next(iter(splits.values())).root
    for path in sorted(root.rglob("*")):
        if (
            suffix_of(path) in NIFTI
            and not path.name.startswith(".")
            and path.is_file()
            and path not in named
        ):
            yield Finding("orphan", path.relative_to(root).as_posix(), "belongs to no case")


def _leaks(splits: Splits) -> Iterator[Finding]:
    """Patients in more than one split; the case's own name stands for a patient who is not known."""
    held: dict[str, set[str]] = defaultdict(set)
    for split, dataset in splits.items():
        for info in dataset.index:
            held[info.patient or info.id].add(split)
    for patient, names in sorted(held.items()):
        if len(names) > 1:
            yield Finding("leak", patient, f"has volumes in the splits {', '.join(sorted(names))}")


def _hash(array: NDArray) -> bytes:
    return blake2b(str(array.shape).encode() + np.ascontiguousarray(array).tobytes(), digest_size=16).digest()


def _touches_all(mask: NDArray[np.bool_]) -> bool:
    return all(mask.take(end, axis).any() for axis in range(mask.ndim) for end in (0, -1))
