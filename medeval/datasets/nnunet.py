"""``nnunet``: a raw data set of nnU-Net v2. 2D or 3D, several channels, regions and an ignore label.

Source of the layout: MIC-DKFZ/nnUNet, ``documentation/dataset_format.md`` and ``region_based_training.md``,
``ignore_label.md``::

    dataset.json      channel_names, labels, file_ending
    imagesTs/CASE_0000.nii.gz, CASE_0001.nii.gz ...     labelsTs/CASE.nii.gz     (imagesTr, labelsTr: `split: train`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from medeval.datasets.base import BOTH, FieldName, ImagingDataset
from medeval.datasets.images import join_notes, read_grid, read_image, read_mask_like
from medeval.datasets.labels import Labelling, parse_labels
from medeval.datasets.paths import IMAGES, existing_folder, read_json
from medeval.datasets.selection import parse_split
from medeval.types import Case, CaseInfo, DataError, DatasetError

_FOLDERS = {"test": ("imagesTs", "labelsTs"), "train": ("imagesTr", "labelsTr")}


class NNUNet(ImagingDataset):
    """A folder ``DatasetXXX_Name``. Patients are unknown unless ``patient_id`` says how the case names carry them.

    Files ending in .nii.gz, .nii, .png, .bmp, .jpg and single-page .tif are read; other endings of nnU-Net (.mha, .nrrd, 3D .tif)
    are refused. A region (``tumour: [1, 2, 3]``) is one structure of several values; voxels of ``ignore`` are scored for
    nobody. A label file with values that dataset.json does not name is a ``DataError``, as in nnU-Net's integrity check.
    """

    selecting: ClassVar[frozenset[str]] = ImagingDataset.selecting | {"root"}

    root: Path = Field(description="Folder that holds dataset.json.")
    split: str | None = Field(
        "test", description="`test` (imagesTs) or `train` (imagesTr); `train 2/5`: a part of the patients."
    )

    def scan(self) -> Sequence[CaseInfo]:
        """Cases in order of their names: each name of an image or of a label file."""
        images, labels = self._files
        return [CaseInfo(name, None, self._metadata) for name in sorted({*images, *labels})]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        images, labels = self._folders
        return f"{images}/CASE_0000{self._ending} and {labels}/CASE{self._ending} (`split: train|test` chooses the folders)"

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of ``labels`` without background and ignore, in the order of dataset.json."""
        return tuple(self._labelling.structures)

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """``image 0000`` ... and ``labels`` -> file, whether it exists or not."""
        self.info(case_id)
        images, labels = self._files
        folder, label_folder = self._folders
        found = images.get(case_id, {})
        named = len(self._channels)
        if named and found and max(found) >= named:
            raise DataError(
                f"{found[max(found)]}: dataset.json names {named} channels, this would be number {max(found) + 1}"
            )
        channels = range(named or len(found) or 1)
        return {
            f"image {c:04d}": found.get(c, self.root / folder / f"{case_id}_{c:04d}{self._ending}")
            for c in channels
        } | {"labels": labels.get(case_id, self.root / label_folder / f"{case_id}{self._ending}")}

    def reading(self, case_id: str) -> Any:
        """Label values and channels decide what the files mean."""
        return [dict(self._labelling.structures), self._labelling.ignore, self._channels]

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (channels, R, A, S) or (channels, row, column); reference ``structures``: ``LabelMap``."""
        sources = dict(self.sources(case_id))
        labels = sources.pop("labels")
        inputs, reference, notes = {}, {}, []
        if "inputs" in fields:
            inputs["image"], note = read_image(
                list(sources.values()), self.on_nonfinite, self.on_grid_mismatch
            )
            notes.append(note)
        if "reference" in fields:
            grid = inputs["image"].grid if inputs else read_grid(next(iter(sources.values())))
            array, note = read_mask_like(labels, grid, self.on_grid_mismatch)
            reference["structures"] = self._labelling.label_map(array, labels)
            notes.append(note)
        return self.case(case_id, inputs, reference, join_notes(*notes))

    # What dataset.json and the folders say

    @cached_property
    def _json(self) -> dict[str, Any]:
        return read_json(existing_folder(self.root) / "dataset.json")

    @cached_property
    def _labelling(self) -> Labelling:
        where = f"{self.root / 'dataset.json'}: labels"
        labels = self._json.get("labels")
        if not isinstance(labels, dict):
            raise DatasetError(f"{where}: must be an object {{name: value}}")
        if labels and all(str(key).isdigit() and isinstance(value, str) for key, value in labels.items()):
            labels = {name: int(value) for value, name in labels.items()}  # nnU-Net v1 wrote {value: name}
        return parse_labels(labels, where)

    @cached_property
    def _channels(self) -> list[str]:
        """Names in channel order; v1 called the key ``modality``."""
        names = self._json.get("channel_names", self._json.get("modality", {}))
        if not isinstance(names, dict) or sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise DatasetError(
                f'{self.root / "dataset.json"}: channel_names must be an object {{"0": name, "1": name}}'
            )
        return [str({str(k): v for k, v in names.items()}[str(c)]) for c in range(len(names))]

    @cached_property
    def _ending(self) -> str:
        ending = self._json.get("file_ending", ".nii.gz")
        if ending not in IMAGES:
            raise DatasetError(
                f"{self.root / 'dataset.json'}: file_ending {ending!r} is not read; known: {', '.join(IMAGES)}"
            )
        return str(ending)

    @property
    def _metadata(self) -> dict[str, Any]:
        known: dict[str, Any] = {"modality": "+".join(self._channels)} if self._channels else {}
        return known | {"split": self._split_name}

    @property
    def _split_name(self) -> Literal["test", "train"]:
        name = parse_split(self.split)[0] or "test"
        if name not in _FOLDERS:
            raise DatasetError(
                f"{self.root}: split {name!r}: nnU-Net has `test` (imagesTs) and `train` (imagesTr)"
            )
        return "train" if name == "train" else "test"

    @property
    def _folders(self) -> tuple[str, str]:
        return _FOLDERS[self._split_name]

    @cached_property
    def _files(self) -> tuple[dict[str, dict[int, Path]], dict[str, Path]]:
        """case -> channel -> image file, and case -> label file."""
        image_folder, label_folder = (self.root / name for name in self._folders)
        if not image_folder.is_dir() and not label_folder.is_dir():
            raise DatasetError(
                f"{self.root}: holds neither {image_folder.name} nor {label_folder.name}; looked for {self.looked_for()}"
            )
        pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(self._ending)}")
        images: dict[str, dict[int, Path]] = {}
        for path in _listed(image_folder):
            if match := pattern.fullmatch(path.name):
                images.setdefault(match[1], {})[int(match[2])] = path
        labels = {
            p.name.removesuffix(self._ending): p
            for p in _listed(label_folder)
            if p.name.endswith(self._ending)
        }
        return images, labels


def _listed(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
