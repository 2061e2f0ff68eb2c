"""A case as one picture: the slice where truth and prediction are largest, their outlines, and the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.tasks.masks import mask_of
from medeval.types import Case, Image, Key, Output
from medeval.types.views import Picture


def mask_picture(case: Case, output: Output | None, key: Key) -> Picture | None:
    """The picture of one mask record; None when the case has no such structure.

    A volume is shown on its axial slice, anterior up and the patient's right on the right (arrays are R, A, S).
    """
    reference = case.reference["structures"]
    if key.structure not in reference.names:
        return None
    truth = reference.mask(key.structure)
    found = mask_of(output.value, key) if output is not None else None
    predicted = np.zeros_like(truth) if found is None else found
    plane = _Plane(truth, predicted)
    image: Image = case.inputs["image"]
    columns = output.columns if output is not None else {}
    drawn = plane.strokes(columns, truth.shape)
    return Picture(
        background=plane.windowed(image.array),
        outlines={
            "reference": plane.cut(truth),
            "prediction": plane.cut(predicted),
            **({} if drawn is None else {"drawn by the user": plane.cut(drawn)}),
        },
        points=plane.points(columns),
        box=plane.box(columns),
        caption=plane.caption,
    )


class _Plane:
    """The plane that is shown, and how voxels lie on it."""

    def __init__(self, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
        self.slice: int | None = None
        self.height = truth.shape[0]
        if truth.ndim == 3:
            self.slice = int((truth.sum(axis=(0, 1)) + predicted.sum(axis=(0, 1))).argmax())
            self.height = truth.shape[1]
        self.caption = (
            "" if self.slice is None else f"slice {self.slice} of the third axis (inferior to superior)"
        )

    def cut(self, volume: NDArray) -> NDArray:
        """(row, column) of a spatial array."""
        return volume if self.slice is None else volume[..., self.slice].T[::-1]

    def windowed(self, array: NDArray) -> NDArray[np.uint8]:
        """uint8 background, windowed to the 1st and 99th percentile of the plane; three channels stay colour."""
        planes = np.stack([self.cut(channel) for channel in array.astype(np.float32)], axis=-1)
        planes = planes[..., :3] if planes.shape[-1] >= 3 else planes[..., 0]
        low, high = np.percentile(planes, (1, 99))
        return (np.clip((planes - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)

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

    def strokes(self, columns: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Bool array of the image's shape: the voxels of all lines, lassos and scribbles; None when there are none."""
        given = json.loads(columns.get("strokes") or "[]")
        if not given:
            return None
        drawn = np.zeros(shape, dtype=bool)
        for stroke in given:
            drawn[tuple(_dense(np.asarray(stroke["path"])).T)] = True
        return drawn

    def _place(self, point: list[int]) -> tuple[int, int]:
        return (point[0], point[1]) if self.slice is None else (self.height - 1 - point[1], point[0])


def _dense(path: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m, ndim) every voxel on the straight lines between the voxels of a path."""
    parts = [path[:1]]
    for start, stop in pairwise(path):
        steps = max(1, int(np.abs(stop - start).max()))
        shares = np.arange(1, steps + 1)[:, None] / steps
        parts.append((start + shares * (stop - start)).round().astype(np.int64))
    return np.vstack(parts)
