"""Masks of slices back in their volume: what a build wrote, or what a model answered to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.building.drawing import into_volume
from medeval.datasets.sa_med2d import SAMed2D
from medeval.datasets.sa_med2d_files import SIDECAR
from medeval.datasets.sa_med2d_merge import stem_of_entry
from medeval.datasets.sa_med2d_names import parse_image
from medeval.datasets.sa_med2d_stream import stream_lines
from medeval.types import DatasetError


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """structure -> bool volume, in the axis order that was cut (the file's own, or RAS), and its affine to RAS mm."""

    masks: Mapping[str, NDArray[np.bool_]]
    affine: NDArray[np.float64]


def rebuild(dataset: SAMed2D, source: str, case: str, axis: str) -> Rebuilt:
    """The masks of one case from its slices along one axis (x, y or z); instances are united.

    Where a filter dropped a slice or a mask there is nothing. Of several channels the first is read, for their masks are
    equal. Raises ``DatasetError`` when the sidecar knows no such slices, ``DataError`` for a file.
    """
    masks: dict[str, NDArray[np.bool_]] = {}
    affine = None
    for stem, line in _slices(dataset, source, case, axis):
        structures = dataset.read(stem, ("reference",)).reference["structures"]
        affine = _volume_affine(line) if affine is None else affine
        for key in structures.names:
            name = key.partition("#")[0]
            if name not in masks:
                masks[name] = np.zeros(line["source_shape"], dtype=bool)
            into_volume(masks[name], structures.mask(key), line["axis"], line["index"], line["orientation"])
    if affine is None:
        raise DatasetError(f"{dataset.root}: {SIDECAR} names no slices of {source}, {case} along {axis}")
    return Rebuilt(masks, affine)


def _slices(dataset: SAMed2D, source: str, case: str, axis: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not dataset.files.has(SIDECAR):
        raise DatasetError(
            f"{dataset.root}: has no {SIDECAR}; only what `medeval dataset build` wrote knows its volumes"
        )
    modality = None
    with dataset.files.text(SIDECAR) as stream:
        for _, line in stream_lines(stream, dataset.root / SIDECAR):
            stem = stem_of_entry(line["image"])
            if (line["dataset"], line["case"], parse_image(stem).axis) == (source, case, axis):
                modality = modality or line["modality_sub"]
                if line["modality_sub"] == modality:
                    yield stem, line


def _volume_affine(line: Mapping[str, Any]) -> NDArray[np.float64]:
    """The inverse of ``drawing.picture_affine``."""
    picture, axis, shape = np.array(line["affine"]), line["axis"], line["source_shape"]
    first, second = (a for a in range(3) if a != axis)
    sign = -1 if line["orientation"] == "upright" else 1
    affine = np.zeros((4, 4))
    affine[:, second], affine[:, first], affine[:, axis] = (
        sign * picture[:, 0],
        sign * picture[:, 1],
        picture[:, 2],
    )
    offset = np.zeros(4)
    offset[axis] = line["index"]
    if sign < 0:
        offset[first], offset[second] = shape[first] - 1, shape[second] - 1
    affine[:, 3] = picture[:, 3] - affine @ offset
    return affine
