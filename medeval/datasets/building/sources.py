"""What is built from: nnU-Net data sets, or images with masks by patterns; each case one volume (or picture) with labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from medeval.datasets.base import ImagingDataset
from medeval.datasets.building.modalities import modalities_for
from medeval.datasets.image_mask_folder import ImageMaskFolder
from medeval.datasets.nnunet import NNUNet
from medeval.datasets.paths import PICTURES, existing_folder, read_json
from medeval.types import DatasetError

UNION = "union_"
_READERS: Mapping[str, type[ImagingDataset]] = {"nnunet": NNUNet, "pairs": ImageMaskFolder}
_NUMBERED = re.compile(r"(Dataset|Task)\d{2,}_(?P<name>.+)")
_UNFIT = re.compile(r'[\x00-\x1f/\\:*?"<>|]')


@dataclass(frozen=True)
class Source:
    """A data set to build from, as plain data that another process can open again.

    name: the field of the file names. modalities: ``modality_sub`` of each channel. classes: structure -> (class name, id).
    split: the part that the source itself calls it, "" where it has none. root: what ``source`` paths are relative to.
    """

    name: str
    reader: Literal["nnunet", "pairs"]
    options: Mapping[str, Any]
    modalities: tuple[str, ...]
    classes: Mapping[str, tuple[str, str]]
    root: Path
    split: str = ""

    def open(self) -> ImagingDataset:
        """The reader of the source."""
        return _READERS[self.reader].model_validate(dict(self.options))


@dataclass(frozen=True)
class Volume:
    """One case of one source. ``source`` is its place in the plan."""

    source: int
    case: str
    patient: str

    def key(self, sources: Sequence[Source]) -> str:
        """``DATASET--CASE``: unique in a layout."""
        return f"{sources[self.source].name}--{self.case}"


@dataclass(frozen=True)
class Plan:
    """All that is to be built, in order; ``notes`` tell what was passed over."""

    sources: tuple[Source, ...]
    volumes: tuple[Volume, ...]
    notes: tuple[str, ...] = field(default=())


def plan_nnunet(
    root: Path, modalities: Mapping[str, str], name: str | None = None, patient_id: str | None = None
) -> Plan:
    """A folder ``DatasetXXX_Name``, or a folder of several; imagesTr and imagesTs with their labels.

    Raises ``DatasetError``: no data set, names that the file names cannot hold, channels whose modality is not known.
    """
    folders = [root] if (existing_folder(root) / "dataset.json").is_file() else _below(root)
    if name and len(folders) > 1:
        raise DatasetError(
            f"{root}: holds {len(folders)} data sets, and --name names one; build them one by one"
        )
    sources, notes = [], []
    for folder in folders:
        for split in ("train", "test"):
            images, labels = (
                folder / f"{part}{'Tr' if split == 'train' else 'Ts'}" for part in ("images", "labels")
            )
            if labels.is_dir():
                sources.append(_nnunet(folder, split, name, modalities, root, patient_id))
            elif images.is_dir():
                notes.append(f"{images}: passed over, there is no {labels.name} beside it")
    return _planned(sources, notes, root)


def plan_pairs(
    root: Path,
    modalities: Mapping[str, str],
    name: str | None = None,
    patient_id: str | None = None,
    images: str = "images/*.nii.gz",
    masks: str = "labels/{id}.nii.gz",
    labels: Mapping[str, Any] | None = None,
) -> Plan:
    """NIfTI files (or pictures) paired by patterns, as ``image-mask-folder`` pairs them. One channel, one modality.

    labels: names of a label map's values, {liver: 1, kidneys: [2, 3], ignore: 255}; None for binary masks, whose names
    are what ``*`` or ``{structure}`` matches in ``masks``. Raises ``DatasetError``.
    """
    options = _given(root=existing_folder(root), images=images, masks=masks, labels=labels, patient_id=patient_id,
                     on_nonfinite="replace")  # fmt: skip
    dataset = _checked(ImageMaskFolder, options, root)
    names = dataset.structures or sorted({name for case in dataset.index for name in case.structures})
    source = Source(
        _dataset_name(name or root.resolve().name, root), "pairs", options,
        modalities_for(["image"], modalities, str(root)), _classes(names, labels or {}), root,
    )  # fmt: skip
    return _planned([source], [], root)


def _below(root: Path) -> list[Path]:
    found = sorted(path.parent for path in root.glob("*/dataset.json"))
    if not found:
        raise DatasetError(f"{root}: holds no dataset.json, nor do the folders in it; is it --from nifti?")
    return found


def _nnunet(
    folder: Path,
    split: str,
    name: str | None,
    modalities: Mapping[str, str],
    root: Path,
    patient_id: str | None,
) -> Source:
    table = read_json(folder / "dataset.json")
    labels = table.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    if labels and all(str(key).isdigit() and isinstance(value, str) for key, value in labels.items()):
        labels = {value: int(key) for key, value in labels.items()}  # version 1
    options = _given(root=folder, split=split, patient_id=patient_id, on_nonfinite="replace")
    dataset = _checked(NNUNet, options, folder)
    channels = [str(value) for _, value in sorted(_channels(table).items(), key=lambda item: int(item[0]))]
    reader: Literal["nnunet", "pairs"] = "nnunet"
    if _one_colour_file(folder, split, table, channels):
        ending, part = table["file_ending"], "Tr" if split == "train" else "Ts"
        channels, reader = ["+".join(channels)], "pairs"
        options = _given(root=folder, images=f"images{part}/{{id}}_0000{ending}", masks=f"labels{part}/{{id}}{ending}",
                         labels=labels, patient_id=patient_id)  # fmt: skip
    numbered = _NUMBERED.fullmatch(folder.resolve().name)
    own = name or (numbered["name"] if numbered else folder.resolve().name)
    return Source(
        _dataset_name(own, folder), reader, options, modalities_for(channels, modalities, str(folder)),
        _classes(dataset.structures, labels), root, split,
    )  # fmt: skip


def _channels(table: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k): v for k, v in dict(table.get("channel_names", table.get("modality", {}))).items()}


def _one_colour_file(folder: Path, split: str, table: Mapping[str, Any], channels: Sequence[str]) -> bool:
    """nnU-Net's natural images: channels R, G and B, all in the file that ends in _0000."""
    images = folder / ("imagesTr" if split == "train" else "imagesTs")
    picture = table.get("file_ending") in PICTURES and len(channels) == 3
    return picture and images.is_dir() and not any(images.glob(f"*_0001{table['file_ending']}"))


def _classes(names: Sequence[str], labels: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Structures in the order of their label values, unions (regions of several values) after them, numbered from 0000."""
    values = {name: value if isinstance(value, list | tuple) else [value] for name, value in labels.items()}
    single = [name for name in names if len(values.get(name, [0])) == 1]
    single.sort(key=lambda name: values.get(name, [0])[0])
    ordered = single + [name for name in names if name not in single]
    titles = {
        name: name if name in single or name.startswith(UNION) else f"{UNION}{name}" for name in ordered
    }
    if len(set(titles.values())) < len(titles):
        raise DatasetError(f"labels {sorted(titles)}: a region and a label would both be called {UNION}...")
    return {name: (titles[name], f"{number:04d}") for number, name in enumerate(ordered)}


def _planned(sources: Sequence[Source], notes: Sequence[str], root: Path) -> Plan:
    volumes = []
    for number, source in enumerate(sources):
        for case in source.open().index:
            patient = case.id if case.patient is None else case.patient
            volumes.append(Volume(number, case.id, f"{source.name}--{patient}"))
    if not volumes:
        raise DatasetError(f"{root}: nothing to build from; " + ("; ".join(notes) or "no case has labels"))
    if bad := [volume.case for volume in volumes if _name_problem(volume.case)]:
        raise DatasetError(
            f"{root}: {len(bad)} case names cannot be part of a file name of the layout, for example {bad[0]!r}: "
            f"{_name_problem(bad[0])}. Rename the files"
        )
    keys = [volume.key(sources) for volume in volumes]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DatasetError(
            f"{root}: case {twice!r} would be built twice; are the same names in training and test?"
        )
    return Plan(tuple(sources), tuple(volumes), tuple(notes))


def _dataset_name(name: str, where: Path) -> str:
    if problem := _name_problem(name):
        raise DatasetError(f"{where}: data set name {name!r}: {problem}; give another one with --name")
    return name


def _name_problem(name: str) -> str:
    if "--" in name or name.startswith("-") or name.endswith("-"):
        return (
            "'--' separates the fields of a file name, so a field cannot hold it, nor begin or end with '-'"
        )
    if not name or name.startswith(".") or _UNFIT.search(name):
        return "it is empty, begins with '.', or holds a character that file names cannot"
    return ""


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _checked(reader: type[ImagingDataset], options: Mapping[str, Any], where: Path) -> ImagingDataset:
    try:
        return reader.model_validate(dict(options))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DatasetError(f"{where}: {said}") from error
