"""Cardiac-like phantoms: stacks of short-axis slices with left ventricle, myocardium and right ventricle, drawn by a seed.

They stand for nothing but themselves: a place where an adaptation can be watched in seconds. A patient's geometry hangs on
(``phantom``, number) alone, so two datasets that differ in looks alone hold the same hearts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.types import Case, CaseInfo, Grid, Image, LabelMap, rng

LABELS: Mapping[str, tuple[int, ...]] = {"lv": (1,), "myo": (2,), "rv": (3,)}
SPACING = (1.5, 1.5, 8.0)  # mm, as short-axis cine usually has it

Plane = NDArray[np.float64]


class CardiacPhantoms(Dataset):
    """One patient, one volume. The looks in order: gamma, contrast about 0.5, a linear bias field, blur, noise.

    The defaults are the source's looks; intensities are about 0 to 1.
    """

    selecting: ClassVar[frozenset[str]] = Dataset.selecting | {"first", "patients"}

    patients: int = Field(10, ge=1, description="Number of patients.")
    first: int = Field(0, ge=0, description="Number of the first one: disjoint ranges are disjoint patients.")
    phantom: int = Field(0, description="Seed of the hearts.")
    size: int = Field(48, ge=32, description="Rows and columns.")
    slices: int = Field(6, ge=1, description="From base to apex.")
    gamma: float = Field(1.0, gt=0, description="Exponent of the intensities.")
    contrast: float = Field(1.0, gt=0, description="Factor of the distance to 0.5.")
    bias: float = Field(0.0, ge=0, lt=1, description="Largest amplitude of the linear bias field.")
    blur: float = Field(0.7, ge=0, description="Standard deviation in pixels.")
    noise: float = Field(0.02, ge=0, description="Standard deviation of Gaussian noise.")

    def scan(self) -> Sequence[CaseInfo]:
        """Patients by number."""
        names = [f"heart-{number:03d}" for number in range(self.first, self.first + self.patients)]
        return [CaseInfo(name, name, {"modality": "phantom"}, tuple(LABELS)) for name in names]

    @property
    def structures(self) -> tuple[str, ...]:
        """Left ventricle, myocardium, right ventricle."""
        return tuple(LABELS)

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """None: everything is drawn."""
        return {}

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (1, size, size, slices) float32; reference ``structures``: a ``LabelMap``."""
        self.info(case_id)
        tissue, labels = self._drawn(case_id)
        grid = Grid(labels.shape, SPACING)
        inputs: dict[str, Any] = {}
        if "inputs" in fields:
            inputs["image"] = Image(self._looks(tissue, case_id)[None].astype(np.float32), grid)
        reference = {"structures": LabelMap(labels, LABELS)} if "reference" in fields else {}
        return self.case(case_id, inputs, reference)

    def _drawn(self, case_id: str) -> tuple[Plane, NDArray[np.uint8]]:
        """Intensities before all looks, and labels, (size, size, slices) each."""
        draws = rng("cardiac phantom", self.phantom, case_id)
        heart = _Heart(draws, self.size)
        planes = [heart.slice(1 - 0.45 * number / max(self.slices - 1, 1)) for number in range(self.slices)]
        return np.stack([p for p, _ in planes], -1), np.stack([m for _, m in planes], -1)

    def _looks(self, tissue: Plane, case_id: str) -> Plane:
        from scipy import ndimage

        draws = rng("cardiac phantom's looks", self.phantom, case_id)
        amplitude, angle = self.bias * draws.uniform(), draws.uniform(0, 2 * np.pi)
        line = np.linspace(-1, 1, self.size)
        field = 1 + amplitude * (np.cos(angle) * line[:, None] + np.sin(angle) * line[None, :])
        x = 0.5 + self.contrast * (np.clip(tissue, 0, 1) ** self.gamma - 0.5)
        x = ndimage.gaussian_filter(x * field[..., None], (self.blur, self.blur, 0))
        return x + self.noise * draws.standard_normal(x.shape)


class _Heart:
    """One patient's shapes; every slice is the same heart, smaller towards the apex."""

    def __init__(self, draws: np.random.Generator, size: int) -> None:
        self._rows, self._columns = np.mgrid[:size, :size].astype(float)
        unit = size / 48
        middle = size / 2 + draws.uniform(-3, 3, 2) * unit
        self._body = (*(size / 2 + draws.uniform(-1, 1, 2) * unit), *(draws.uniform(19, 22, 2) * unit), 0.0)
        self._tissues = [
            (*draws.uniform(0.2, 0.8, 2) * size, *draws.uniform(2, 6, 2) * unit, draws.uniform(0, np.pi))
            for _ in range(6)
        ]
        self._shades = draws.uniform(0.35, 0.55, 6)
        self._lv = (middle, draws.uniform(4.5, 7.5) * unit, draws.uniform(2.5, 4.0) * unit)
        angle = draws.uniform(-0.5, 0.5) + np.pi
        self._rv = (angle, draws.uniform(3.0, 4.5) * unit, draws.uniform(6.0, 9.0) * unit)

    def slice(self, scale: float) -> tuple[Plane, NDArray[np.uint8]]:
        """Intensities and labels at a scale of the heart."""
        x = np.where(self._inside(self._body), 0.45, 0.22)
        for ellipse, shade in zip(self._tissues, self._shades, strict=True):
            x = np.where(self._inside(ellipse) & self._inside(self._body), shade, x)
        (row, column), radius, wall = self._lv
        angle, thin, long = self._rv
        away = scale * (radius + wall + 0.8 * thin)
        rv = (row + away * np.sin(angle), column + away * np.cos(angle), long * scale, thin * scale, angle)
        distance = np.hypot(self._rows - row, self._columns - column)
        lv, outer = distance <= scale * radius, distance <= scale * radius + wall
        labels = np.zeros(x.shape, np.uint8)
        for mask, shade, label in ((self._inside(rv), 0.78, 3), (outer, 0.30, 2), (lv, 0.85, 1)):
            x, labels = np.where(mask, shade, x), np.where(mask, np.uint8(label), labels)
        return x, labels

    def _inside(self, ellipse: tuple[float, ...]) -> NDArray[np.bool_]:
        row, column, tall, wide, angle = ellipse
        down, right = self._rows - row, self._columns - column
        u = down * np.cos(angle) + right * np.sin(angle)
        v = right * np.cos(angle) - down * np.sin(angle)
        return (u / tall) ** 2 + (v / wide) ** 2 <= 1
