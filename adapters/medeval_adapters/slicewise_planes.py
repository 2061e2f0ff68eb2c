"""Slices of a volume as the pictures that 2D models were trained on, and everything of a prompt carried there and back.

Pictures are turned as radiologists look at them: the patient's right on the left, anterior (axial) or superior (coronal,
sagittal) on top, and in sagittal slices anterior on the left. Volumes are (C, R, A, S), so in all three this is the
transposed slice with both axes reversed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medeval.types import Grid, Image, Prompt

Axis = Literal["axial", "coronal", "sagittal", "thickest"]
_NUMBER = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class Planes:
    """The slices across ``axis`` of a volume of ``shape``."""

    axis: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, grid: Grid, axis: Axis) -> Planes:
        """``thickest``: across the axis with the largest spacing, the last of equals."""
        if axis == "thickest":
            return cls(2 - int(np.argmax(grid.spacing[::-1])), grid.shape)
        return cls(_NUMBER[axis], grid.shape)

    @property
    def count(self) -> int:
        """Number of slices."""
        return self.shape[self.axis]

    @property
    def picture(self) -> tuple[int, int]:
        """(rows, columns) of a slice."""
        first, second = self._others
        return self.shape[second], self.shape[first]

    @property
    def _others(self) -> tuple[int, int]:
        first, second = (axis for axis in range(3) if axis != self.axis)
        return first, second

    def image(self, image: Image, index: int) -> Image:
        """One slice as a 2D image with all channels, spacing kept."""
        first, second = self._others
        spacing = (image.grid.spacing[second], image.grid.spacing[first])
        plane = np.asarray(image.array).take(index, axis=1 + self.axis)
        turned = plane.transpose(0, 2, 1)[:, ::-1, ::-1]
        return Image(np.ascontiguousarray(turned), Grid(self.picture, spacing, unit=image.grid.unit))

    def cut(self, volume: NDArray, index: int) -> NDArray:
        """One slice of a (R, A, S) array as a picture (a view)."""
        return volume.take(index, axis=self.axis).T[::-1, ::-1]

    def paste(self, volume: NDArray, index: int, picture: NDArray) -> None:
        """The way back from ``cut``, into ``volume``."""
        at: list[Any] = [slice(None)] * 3
        at[self.axis] = index
        volume[tuple(at)] = picture[::-1, ::-1].T

    def slices_of(self, prompt: Prompt) -> dict[int, Prompt]:
        """The 2D prompt of every slice that the prompt says something about: its points, its part of the
        box or its own of the ``boxes``, its mask.

        Logits are left out. A point outside the volume stays outside, for the 2D model's adapter to refuse.
        """
        found: dict[int, Prompt] = {}
        points, labels = points_of(prompt)
        for index in dict.fromkeys(points[:, self.axis].tolist()):
            here = points[:, self.axis] == index
            found[int(index)] = Prompt(
                prompt.structure, points=self._points(points[here]), labels=labels[here]
            )
        boxes = [
            *(() if prompt.box is None else (prompt.box,)),
            *(() if prompt.boxes is None else prompt.boxes),
        ]
        for box in map(np.asarray, boxes):
            start, stop = (int(edge) for edge in box[:, self.axis])
            for index in range(max(0, start), min(self.count, stop)):
                found[index] = replace(found.get(index, Prompt(prompt.structure)), box=self._box(box))
        if prompt.mask is not None:
            mask = np.asarray(prompt.mask, dtype=bool)
            others = tuple(axis for axis in range(3) if axis != self.axis)
            for index in np.flatnonzero(mask.any(axis=others)).tolist():
                found[index] = replace(found.get(index, Prompt(prompt.structure)), mask=self.cut(mask, index))
        return found

    def _points(self, points: NDArray[np.int64]) -> NDArray[np.int64]:
        first, second = self._others
        rows, columns = self.picture
        return np.stack([rows - 1 - points[:, second], columns - 1 - points[:, first]], axis=1)

    def _box(self, box: NDArray) -> NDArray[np.int64]:
        first, second = self._others
        rows, columns = self.picture
        return np.array(
            [
                [rows - box[1, second], columns - box[1, first]],
                [rows - box[0, second], columns - box[0, first]],
            ],
            dtype=np.int64,
        )


def points_of(prompt: Prompt) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, 3) points and (n,) labels; foreground where none are given."""
    points = np.asarray(() if prompt.points is None else prompt.points, dtype=np.int64).reshape(-1, 3)
    labels = (
        np.ones(len(points), dtype=np.int64)
        if prompt.labels is None
        else np.asarray(prompt.labels, dtype=np.int64)
    )
    return points, labels
