"""Masks of one image: connected components of each structure, small ones dropped, numbered in raster order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medeval.types import LabelMap, Structures

_EIGHT = np.ones((3, 3), dtype=np.int8)


class Component(NamedTuple):
    """One connected part: where its crop lies, the crop, and its number of pixels."""

    top: int
    left: int
    crop: NDArray[np.bool_]
    area: int

    def mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """The part in a picture of ``shape``."""
        full = np.zeros(shape, dtype=bool)
        full[self.top : self.top + self.crop.shape[0], self.left : self.left + self.crop.shape[1]] = self.crop
        return full


@dataclass(frozen=True)
class Split:
    """Components that are kept, numbered by their place, and those that are too small."""

    kept: tuple[Component, ...]
    small: tuple[Component, ...]


def components(mask: NDArray[np.bool_]) -> list[Component]:
    """8-connected parts of a mask (row, column), in raster order of their first pixel."""
    from scipy import ndimage

    box = _box(mask)
    if box is None:
        return []
    labels, _ = ndimage.label(mask[box], structure=_EIGHT)
    parts = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        crop = labels[place] == number
        top, left = box[0].start + place[0].start, box[1].start + place[1].start
        parts.append(Component(top, left, crop, int(np.count_nonzero(crop))))
    return sorted(parts, key=lambda part: (part.top, part.left + int(part.crop[0].argmax())))


def split_by_area(parts: list[Component], shape: tuple[int, ...], min_area: float) -> Split:
    """Parts below ``min_area`` of the image's area apart from the others."""
    least = min_area * shape[0] * shape[1]
    kept = tuple(part for part in parts if part.area >= least)
    return Split(kept, tuple(part for part in parts if part.area < least))


def structures_of(
    picture: NDArray[np.integer], labels: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """(name, mask) of the structures that a slice of a label map holds, in the order of the labelling."""
    present = set(np.unique(picture).tolist())
    for name, values in labels.items():
        here = [value for value in values if value in present]
        if here:
            yield name, picture == here[0] if len(here) == 1 else np.isin(picture, here)


def labelled(structures: Structures) -> Mapping[str, tuple[int, ...]] | None:
    """The values of a label map, None for a stack of masks."""
    return structures.labels if isinstance(structures, LabelMap) else None


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """The smallest box that holds the mask; None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
