"""``mni152``: the ICBM 2009a nonlinear symmetric T1 template with its grey- and white-matter maps.

The embedded default: the three files lie in nilearn's wheel (skull-stripped T1 and two tissue probability maps, 8 bit,
1 mm, 197 x 233 x 189; ``nilearn/datasets/data``), nothing is downloaded and nilearn itself is not imported. The template is
an average of 152 young adults: good for a demonstration and for tests of geometry, but one "patient" and no evidence about
a model. Source: Fonov et al. 2011, NeuroImage 54(1); tissue maps of the same template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.datasets.images import read_image
from medeval.types import Case, CaseInfo, DatasetError, Grid, Image, MaskStack

_FILES = {name: f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz" for name in ("t1", "gm", "wm")}
_AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
_MIDDLE = (0.2, 0.8)  # of the brain's extent: beyond it slices hold little or no white matter


class _Template(NamedTuple):
    """T1 (uint8) and tissue masks (bool), all (R, A, S), with the grid."""

    t1: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.bool_]]
    grid: Grid


class MNI152(Dataset):
    """Slices of the template, or the volume. Structures: ``grey_matter`` and ``white_matter``, probability >= ``threshold``.

    A slice is drawn as it is looked at: rows run from anterior (coronal, sagittal: superior) downwards, columns from left
    to right (sagittal: posterior to anterior). Its spacing is in mm; it has no affine. All cases are one patient.
    """

    selecting: ClassVar[frozenset[str]] = Dataset.selecting | {"slices"}

    view: Literal["slices", "volume"] = Field(
        "slices", description="2D slices, or the whole volume as one case."
    )
    axis: Literal["axial", "coronal", "sagittal"] = Field("axial", description="Plane of the slices.")
    slices: int | tuple[float, ...] = Field(
        10,
        description="Number of slices, evenly over the middle 60% of the brain, or their MNI positions in mm.",
    )
    resolution_mm: int = Field(
        1, ge=1, le=8, description="Edge of a voxel: block means of the 1 mm template."
    )
    crop: float | None = Field(
        None, ge=0, description="Crop to the brain's bounding box with this margin in mm; unset keeps all."
    )
    threshold: float = Field(
        0.5, gt=0, le=1, description="Tissue probability from which a voxel belongs to a structure."
    )

    def scan(self) -> Sequence[CaseInfo]:
        """One case a slice, by position; or the volume."""
        known = {"modality": "MR", "sequence": "T1", "view": self.view}
        if self.view == "volume":
            return [CaseInfo("mni152", "mni152", known, self.structures)]
        return [
            CaseInfo(case_id, "mni152", known | {"axis": self.axis, "position_mm": position}, self.structures)
            for case_id, position in self._positions.items()
        ]

    @property
    def structures(self) -> tuple[str, ...]:
        """The two tissues."""
        return ("grey_matter", "white_matter")

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """The three files of the template."""
        return {name: _folder() / file for name, file in _FILES.items()}

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (1, row, column) or (1, R, A, S), uint8; reference ``structures``: ``MaskStack``."""
        self.info(case_id)
        t1, masks, grid = self._template
        if self.view == "slices":
            t1 = self._slice(t1, case_id)
            masks = {name: self._slice(mask, case_id) for name, mask in masks.items()}
            grid = Grid(t1.shape, (float(self.resolution_mm),) * 2)
        inputs = {"image": Image(t1[None], grid)} if "inputs" in fields else {}
        reference = {"structures": MaskStack(masks, grid.shape)} if "reference" in fields else {}
        return self.case(case_id, inputs, reference)

    @property
    def _template(self) -> _Template:
        return _load(_folder(), self.resolution_mm, self.threshold, self.crop)

    @cached_property
    def _positions(self) -> dict[str, float]:
        """case id -> position of the slice's centre in mm, ascending as given."""
        axis, template = _AXES[self.axis], self._template
        affine = _affine(template.grid)
        first, step = float(affine[axis, 3]), float(affine[axis, axis])
        if isinstance(self.slices, int):
            numbers = _evenly(template.t1, axis, self.slices)
        else:
            numbers = [round((position - first) / step) for position in self.slices]
        length = template.grid.shape[axis]
        if not numbers or min(numbers) < 0 or max(numbers) >= length:
            raise DatasetError(
                f"mni152: slices {self.slices!r}: {self.axis} positions lie between {first:g} and "
                f"{first + step * (length - 1):g} mm, or give a number of slices from 1"
            )
        positions = [first + step * number for number in numbers]
        return {
            f"{self.axis}_{'xyz'[axis]}{position:+04.0f}": position for position in dict.fromkeys(positions)
        }

    def _slice(self, volume: NDArray, case_id: str) -> NDArray:
        axis = _AXES[self.axis]
        affine = _affine(self._template.grid)
        number = round((self._positions[case_id] - affine[axis, 3]) / affine[axis, axis])
        plane = np.take(volume, number, axis=axis)
        return np.ascontiguousarray(plane[:, ::-1].T)  # rows: anterior or superior first


def _affine(grid: Grid) -> NDArray[np.float64]:
    if grid.affine is None:
        raise ValueError("the template has an affine")
    return grid.affine


def _evenly(t1: NDArray, axis: int, count: int) -> list[int]:
    others = tuple(a for a in range(3) if a != axis)
    brain = np.flatnonzero((t1 > 0).any(axis=others))
    low, high = (brain[0] + share * (brain[-1] - brain[0]) for share in _MIDDLE)
    return [round(low + (high - low) * (i + 0.5) / count) for i in range(count)]


def _folder() -> Path:
    """Where nilearn keeps its data; found without importing nilearn, which takes seconds."""
    spec = find_spec("nilearn")
    folder = Path((spec.submodule_search_locations or [""])[0]) / "datasets" / "data" if spec else Path()
    missing = [name for name in _FILES.values() if not (folder / name).is_file()]
    if spec is None or missing:
        raise DatasetError(
            "mni152: the template comes with nilearn >= 0.11: pip install 'medeval-bench[demo]'"
        )
    return folder


@lru_cache(maxsize=2)
def _load(folder: Path, resolution: int, threshold: float, crop: float | None) -> _Template:
    """The template at a resolution; kept in memory, for its slices are cut from it one by one. Arrays are read-only."""
    t1, probabilities = _read(folder, "t1"), {n: _read(folder, n) for n in ("gm", "wm")}
    affine = _affine(t1.grid) @ _scaling(resolution)
    means = {name: _block_mean(i.array[0], resolution) for name, i in {"t1": t1, **probabilities}.items()}
    brain = np.rint(means["t1"]).astype(np.uint8)
    masks = {"grey_matter": means["gm"] / 255 >= threshold, "white_matter": means["wm"] / 255 >= threshold}
    if crop is not None:
        box, affine = _bounding_box(brain, round(crop / resolution), affine)
        brain, masks = brain[box], {name: mask[box] for name, mask in masks.items()}
    for array in (brain, *masks.values()):
        array.setflags(write=False)
    spacing = (float(resolution),) * 3
    return _Template(brain, masks, Grid(brain.shape, spacing, affine, "mm", t1.grid.source_orientation))


def _read(folder: Path, name: str) -> Image:
    return read_image(folder / _FILES[name]).image


def _scaling(resolution: int) -> NDArray[np.float64]:
    """Voxel index of a block -> index of its centre in the 1 mm template."""
    matrix = np.diag([resolution, resolution, resolution, 1.0])
    matrix[:3, 3] = (resolution - 1) / 2
    return matrix


def _block_mean(volume: NDArray, size: int) -> NDArray[Any]:
    if size == 1:
        return volume
    kept = [n // size for n in volume.shape]
    cut = volume[tuple(slice(0, n * size) for n in kept)]
    return cut.reshape(kept[0], size, kept[1], size, kept[2], size).mean(axis=(1, 3, 5), dtype=np.float64)


def _bounding_box(
    brain: NDArray, margin: int, affine: NDArray[np.float64]
) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    starts, stops = [], []
    for axis in range(3):
        found = np.flatnonzero((brain > 0).any(axis=tuple(a for a in range(3) if a != axis)))
        starts.append(max(int(found[0]) - margin, 0))
        stops.append(min(int(found[-1]) + margin + 1, brain.shape[axis]))
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ starts + affine[:3, 3]
    return tuple(slice(a, b) for a, b in zip(starts, stops, strict=True)), moved
