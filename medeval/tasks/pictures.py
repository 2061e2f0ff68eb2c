"""A case as one picture: the slice where truth and prediction are largest, their outlines, and the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.tasks.masks import mask_of
from medeval.types import Case, Image, Key, Output
from medeval.types.views import Picture

FURTHER = 9  # slices of a volume beside the one that is shown first


def mask_picture(case: Case, output: Output | None, key: Key) -> Picture | None:
    """The picture of one mask record; None when the case has no such structure.

    A volume is shown on its axial slice, anterior up and the patient's right on the right (arrays are R, A, S), with up
    to ``FURTHER`` slices, evenly through what truth and prediction fill.
    """
    reference = case.reference["structures"]
    if key.structure not in reference.names:
        return None
    truth = reference.mask(key.structure)
    found = mask_of(output.value, key) if output is not None else None
    predicted = np.zeros_like(truth) if found is None else found
    masks = {"reference": truth, "prediction": predicted}
    columns = output.columns if output is not None else {}
    drawn = strokes(columns, truth.shape)
    if drawn is not None:
        masks["drawn by the user"] = drawn
    shown = _largest(truth, predicted)
    image: Image = case.inputs["image"]
    plane = _Plane(truth.shape, shown)
    window = plane.window(image.array)
    further = _further(truth | predicted, shown)
    slices = [_Plane(truth.shape, at).picture(image.array, window, masks, columns) for at in further]
    place = sum(at < shown for at in further if shown is not None)
    return replace(plane.picture(image.array, window, masks, columns), slices=slices, place=place)


def _largest(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> int | None:
    """The slice where both together are largest; None for a picture."""
    if truth.ndim == 2:
        return None
    return int((truth.sum(axis=(0, 1)) + predicted.sum(axis=(0, 1))).argmax())


def _further(filled: NDArray[np.bool_], shown: int | None) -> list[int]:
    """Slices through what is filled and one beyond each end, without the one that is shown."""
    if shown is None:
        return []
    where = np.flatnonzero(filled.any(axis=(0, 1)))
    first, last = (where[0], where[-1]) if len(where) else (shown, shown)
    ends = max(0, int(first) - 1), min(filled.shape[2] - 1, int(last) + 1)
    return sorted({int(at) for at in np.linspace(*ends, FURTHER).round()} - {shown})


class _Plane:
    """The plane that is shown, and how voxels lie on it."""

    def __init__(self, shape: tuple[int, ...], shown: int | None) -> None:
        self.slice = shown
        self.height = shape[0] if shown is None else shape[1]
        self.caption = "" if shown is None else f"slice {shown} of the third axis (inferior to superior)"

    def picture(
        self,
        array: NDArray,
        window: tuple[float, float],
        masks: Mapping[str, NDArray[np.bool_]],
        columns: Mapping[str, Any],
    ) -> Picture:
        """The plane of an image with what lies on it of the masks and of the prompt."""
        low, high = window
        shown = np.clip((self._colours(array) - low) / max(high - low, 1e-6), 0, 1)
        return Picture(
            background=(shown * 255).astype(np.uint8),
            outlines={name: self.cut(mask) for name, mask in masks.items()},
            points=self.points(columns),
            box=self.box(columns),
            caption=self.caption,
        )

    def cut(self, volume: NDArray) -> NDArray:
        """(row, column) of a spatial array."""
        return volume if self.slice is None else volume[..., self.slice].T[::-1]

    def window(self, array: NDArray) -> tuple[float, float]:
        """The 1st and 99th percentile of the plane: what is drawn black and white."""
        low, high = np.percentile(self._colours(array), (1, 99))
        return float(low), float(high)

    def _colours(self, array: NDArray) -> NDArray[np.float32]:
        """(row, column) or, of an image of three channels and more, (row, column, 3)."""
        planes = np.stack([self.cut(channel).astype(np.float32) for channel in array], axis=-1)
        return planes[..., :3] if planes.shape[-1] >= 3 else planes[..., 0]

    def points(self, columns: Mapping[str, Any]) -> NDArray[np.int64] | None:
        """(n, 3) row, column, label of the clicks on this plane."""
        given = json.loads(columns.get("points") or "[]")
        rows = [(*self._place(point), label) for *point, label in given if self.slice in (None, point[-1])]
        return np.asarray(rows, dtype=np.int64).reshape(-1, 3) if rows else None

    def box(self, columns: Mapping[str, Any]) -> tuple[int, int, int, int] | None:
        """(row0, column0, row1, column1), half-open, when the prompt's box meets this plane."""
        given = json.loads(columns.get("box") or "null")
        boxes = [*([] if given is None else [given]), *json.loads(columns.get("boxes") or "[]")]
        for start, stop in boxes:
            if self.slice is None:
                return (start[0], start[1], stop[0], stop[1])
            if start[2] <= self.slice < stop[2]:
                return (self.height - stop[1], start[0], self.height - start[1], stop[0])
        return None

    def _place(self, point: list[int]) -> tuple[int, int]:
        return (point[0], point[1]) if self.slice is None else (self.height - 1 - point[1], point[0])


def strokes(columns: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Bool array of the image's shape: the voxels of all lines, lassos and scribbles; None when there are none."""
    given = json.loads(columns.get("strokes") or "[]")
    if not given:
        return None
    drawn = np.zeros(shape, dtype=bool)
    for stroke in given:
        drawn[tuple(_dense(np.asarray(stroke["path"])).T)] = True
    return drawn


def _dense(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m, ndim) every voxel on the straight lines between the voxels of a path."""
    parts = [path[:1]]
    for start, stop in pairwise(path):
        steps = max(1, int(np.abs(stop - start).max()))
        shares = np.arange(1, steps + 1)[:, None] / steps
        parts.append((start + shares * (stop - start)).round().astype(np.int64))
    return np.vstack(parts)
