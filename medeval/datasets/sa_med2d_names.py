"""The file-name grammar of SA-Med2D-20M and of its older demo.

Release (arXiv 2311.11969, dataset card of OpenGVLab/SA-Med2D-20M)::

    images/{modality_sub}--{source}--{case}--{axis_slice}.png
    masks/{modality_sub}--{source}--{case}--{axis_slice}--{class id:04d}_{instance:03d}.png

Demo and training code (OpenGVLab/SAM-Med2D)::

    images/{case}_{slice}.png      masks/{case}_{slice}_{structure}_{instance:03d}.png
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from medeval.types import DatasetError

# Whole names that begin a `modality_sub` field, and the name of the paper's table (section 4 of its statistics).
# `x_ray` and `fundus_photography` are modalities, not modality `x` with sub-modality `ray`.
MODALITIES: Mapping[str, str] = {
    "ct": "CT", "mr": "MR", "pet": "PET", "x_ray": "X-ray", "ultrasound": "Ultrasound", "endoscopy": "Endoscopy",
    "dermoscopy": "Dermoscopy", "fundus_photography": "Fundus", "microscopy": "Microscopy",
    "histopathology": "Histopathology",
}  # fmt: skip
UNKNOWN = "unknown"

_RELEASE_MASK = re.compile(r"(?P<class_id>.+)_(?P<instance>\d{3,})")
_DEMO_IMAGE = re.compile(r"(?P<case>.+)_(?P<slice>\d+)")
_DEMO_MASK = re.compile(r"(?P<structure>.+)_(?P<instance>\d{3})")
_AXIS = re.compile(r"(?P<axis>[xyz])_(?P<slice>\d+)")


@dataclass(frozen=True)
class ImageName:
    """What an image's name says. ``source`` is the data set that it was taken from, "" in the demo's grammar."""

    stem: str
    modality: str
    sub_modality: str
    source: str
    case: str
    axis: str
    slice: int | None

    @property
    def patient(self) -> str:
        """Source and case: slices of one volume, and its sub-modalities, are one patient."""
        return f"{self.source}--{self.case}" if self.source else self.case

    def metadata(self) -> dict[str, Any]:
        """Flat values for ``by`` and ``select``; what the name does not say is left out, an unknown modality is said."""
        values = {
            "modality": self.modality, "sub_modality": self.sub_modality, "source": self.source, "volume": self.case,
            "axis": self.axis, "slice": self.slice,
        }  # fmt: skip
        return {key: value for key, value in values.items() if value not in ("", None)}


@dataclass(frozen=True)
class MaskName:
    """structure: name in the demo, ``source:class id`` in the release until the class mapping names it."""

    structure: str
    class_id: str
    instance: int


def parse_image(stem: str) -> ImageName:
    """An image's stem by either grammar. A name of neither is its own case, with nothing else known."""
    fields = stem.split("--")
    if len(fields) == 4:
        modality, sub = _modality(fields[0])
        axis = _AXIS.fullmatch(fields[3])
        return ImageName(
            stem,
            modality,
            sub,
            fields[1],
            fields[2],
            axis["axis"] if axis else "",
            int(axis["slice"]) if axis else None,
        )
    demo = _DEMO_IMAGE.fullmatch(stem)
    if demo and len(fields) == 1:
        return ImageName(stem, UNKNOWN, "", "", demo["case"], "", int(demo["slice"]))
    return ImageName(stem, UNKNOWN, "", "", stem, "", None)


def parse_mask(stem: str, image: ImageName) -> MaskName | None:
    """A mask's stem, given its image's name; None when it does not follow the grammar."""
    if image.source:
        match = (
            _RELEASE_MASK.fullmatch(stem.removeprefix(f"{image.stem}--"))
            if stem.startswith(f"{image.stem}--")
            else None
        )
        return (
            MaskName(f"{image.source}:{match['class_id']}", match["class_id"], int(match["instance"]))
            if match
            else None
        )
    match = (
        _DEMO_MASK.fullmatch(stem.removeprefix(f"{image.stem}_"))
        if stem.startswith(f"{image.stem}_")
        else None
    )
    return MaskName(match["structure"], "", int(match["instance"])) if match else None


def _modality(field: str) -> tuple[str, str]:
    for name, title in MODALITIES.items():
        if field == name or field.startswith(f"{name}_"):
            sub = field.removeprefix(name).removeprefix("_")
            return title, "" if sub in ("", "00") else sub
    head, _, sub = field.partition("_")
    return head, "" if sub == "00" else sub


def class_names(table: Iterable[tuple[str, Any]], where: object) -> dict[tuple[str, str], str]:
    """(source, class id) -> class name of the members of ``SAMed2D_v1_class_mapping_id.json``. Raises ``DatasetError``."""
    names: dict[tuple[str, str], str] = {}
    for source, classes in table:
        if not isinstance(classes, dict):
            raise DatasetError(f"{where}: entry {source!r} must be an object {{class name: id}}")
        names |= {(source, str(class_id)): name for name, class_id in classes.items()}
    return names


def split_of(index_file: str) -> str:
    """The split that an index file's name ends in: ``image2label_train.json`` -> ``train``; "" for ``SAMed2D_v1.json``."""
    match = re.fullmatch(r"(?:image2label|label2image)_(.+)\.json", PurePosixPath(index_file).name)
    return match[1] if match else ""


def name_instances(names: Sequence[MaskName]) -> list[str]:
    """Keys of the masks of one image: the structure, or ``structure#instance`` where an image holds several of it.

    The part before ``#`` is the structure that ``by: structure`` groups; a mask stays one record, as in the paper.
    """
    count = {name.structure: 0 for name in names}
    for name in names:
        count[name.structure] += 1
    return [f"{n.structure}#{n.instance}" if count[n.structure] > 1 else n.structure for n in names]
