"""``sa-med3d``: volumes in the layout that SAM-Med3D's training and validation scripts read, one folder a structure.

Source of the layout: uni-medical/SAM-Med3D, ``README.md`` and ``data_loader.py``::

    STRUCTURE/MODALITY_DATASET/imagesTr/CASE.nii.gz     labelsTr/CASE.nii.gz      (imagesTs, labelsTs: `split: test`)

Each label file is the binary mask of its folder's structure. An image that several structures share lies in each of their
folders; here it is one case with several structures, so that it is read and encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from medeval.datasets.base import BOTH, FieldName, ImagingDataset
from medeval.datasets.grids import describe, same_grid
from medeval.datasets.images import as_binary, join_notes, read_grid, read_image, read_mask_like
from medeval.datasets.paths import NIFTI, existing_folder, files_by_stem
from medeval.datasets.selection import parse_split
from medeval.types import Case, CaseInfo, DataError, DatasetError, Grid, MaskStack

SPLITS = {"train": "Tr", "test": "Ts"}


class CaseFiles(NamedTuple):
    """Structure -> file, of one case; each structure has a label, and most have an image of their own."""

    images: dict[str, Path]
    labels: dict[str, Path]


class SAMed3D(ImagingDataset):
    """A folder of structures. A case is ``MODALITY_DATASET/CASE``; its metadata are ``modality``, ``source`` and ``split``.

    The image is the copy in the first of the case's structure folders, in alphabetic order; ``check`` tells copies that lie on
    another grid. A structure without a file is not labelled in this case, so nothing is absent. Patients are unknown unless
    ``patient_id`` says how the case names carry them. An image without any label file is no case.
    """

    selecting: ClassVar[frozenset[str]] = ImagingDataset.selecting | {"root"}

    root: Path = Field(description="Folder of the structures' folders.")
    split: str | None = Field(
        "train",
        description="`train` (imagesTr) or `test` (imagesTs); `train 2/5`: a part of the patients.",
    )

    def scan(self) -> Sequence[CaseInfo]:
        """Cases by data set and name."""
        return [
            CaseInfo(case_id, None, self._metadata(case_id), tuple(files.labels))
            for case_id, files in sorted(self._cases.items())
        ]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"STRUCTURE/MODALITY_DATASET/labels{self._suffix}/CASE.nii.gz (`split: train|test` chooses Tr or Ts)"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """``image`` and ``label STRUCTURE`` of each -> file, whether it exists or not."""
        files = self.files(case_id)
        labels = {f"label {name}": path for name, path in files.labels.items()}
        return {"image": self._image(files), **labels}

    def files(self, case_id: str) -> CaseFiles:
        """Where the copies of the image and the labels lie. ``DatasetError`` when there is no such case."""
        self.info(case_id)
        return self._cases[case_id]

    def grid(self, case_id: str) -> Grid:
        """The image's grid, from its header alone. Raises ``DataError``."""
        return read_grid(self._image(self.files(case_id)))

    def check(self) -> list[str]:
        """Missing and empty files, and copies of an image that lie on another grid than the one that is read."""
        problems = super().check()
        return problems if problems else [text for case in self.index for text in self._unlike(case.id)]

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (C, R, A, S); reference ``structures``: ``MaskStack``."""
        files = self.files(case_id)
        path = self._image(files)
        inputs, reference, notes = {}, {}, []
        if "inputs" in fields:
            inputs["image"], note = read_image(path, self.on_nonfinite)
            notes.append(note)
        if "reference" in fields:
            grid = inputs["image"].grid if inputs else read_grid(path)
            masks = {}
            for name, label in files.labels.items():
                array, note = read_mask_like(label, grid, self.on_grid_mismatch)
                masks[name] = as_binary(array, label)
                notes.append(note)
            reference["structures"] = MaskStack(masks, grid.shape)
        return self.case(case_id, inputs, reference, join_notes(*notes))

    @property
    def _suffix(self) -> str:
        name = parse_split(self.split)[0] or "train"
        if name not in SPLITS:
            raise DatasetError(
                f"{self.root}: split {name!r}: SA-Med3D has `train` (imagesTr) and `test` (imagesTs)"
            )
        return SPLITS[name]

    def _metadata(self, case_id: str) -> dict[str, Any]:
        modality, _, source = case_id.partition("/")[0].partition("_")
        known = {"modality": modality, "source": source} if source else {"source": modality}
        return {**known, "split": next(name for name, suffix in SPLITS.items() if suffix == self._suffix)}

    def _image(self, files: CaseFiles) -> Path:
        """The first copy; where there is none, the file that should lie beside the first label."""
        if files.images:
            return next(iter(files.images.values()))
        label = next(iter(files.labels.values()))
        return label.parents[1] / f"images{self._suffix}" / label.name

    def _unlike(self, case_id: str) -> list[str]:
        first, *others = self._cases[case_id].images.values()
        try:
            grid = read_grid(first)
            unlike = [path for path in others if not same_grid(read_grid(path), grid)]
        except DataError as error:
            return [f"{case_id}: {error}"]
        return [f"{case_id}: {path} is no copy of {first}, which lies on {describe(grid)}" for path in unlike]

    @cached_property
    def _cases(self) -> dict[str, CaseFiles]:
        """Case id -> files; structures in alphabetic order."""
        found: dict[str, CaseFiles] = {}
        for structure in _folders(existing_folder(self.root)):
            for source in _folders(structure):
                labels = source / f"labels{self._suffix}"
                images = source / f"images{self._suffix}"
                beside = files_by_stem(images, NIFTI) if images.is_dir() else {}
                for name, label in (files_by_stem(labels, NIFTI) if labels.is_dir() else {}).items():
                    files = found.setdefault(f"{source.name}/{name}", CaseFiles({}, {}))
                    files.labels[structure.name] = label
                    if name in beside:
                        files.images[structure.name] = beside[name]
        return found


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
