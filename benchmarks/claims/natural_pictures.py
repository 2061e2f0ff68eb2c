"""Pictures without medical content, and superpixels as their masks: what a tiny SAM is trained on before fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.types import Case, CaseInfo, Grid, Image, MaskStack


class NaturalPictures(Dataset):
    """Tiles of scikit-image's bundled photographs; masks are Felzenszwalb superpixels of 2% to 50% of the tile.

    Felzenszwalb & Huttenlocher 2004, ``skimage.segmentation.felzenszwalb`` with the scale given: regions that look alike,
    which is what a class-agnostic SAM learns to cut out.
    """

    pictures: tuple[str, ...] = Field(("astronaut", "chelsea", "coffee", "rocket"), description="Names in skimage.data.")
    tile: int = Field(128, ge=32, description="Edge of a tile in pixels; tiles step by half of it.")
    scale: float = Field(200.0, gt=0, description="Of the superpixels.")

    def scan(self) -> Sequence[CaseInfo]:
        """Tiles in order of picture, row, column."""
        step = self.tile // 2
        found = []
        for name in self.pictures:
            rows, columns = self._picture(name).shape[:2]
            for row in range(0, rows - self.tile + 1, step):
                for column in range(0, columns - self.tile + 1, step):
                    found.append(CaseInfo(f"{name}_{row:04d}_{column:04d}", name, {"modality": "photograph"}))
        return found

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (3, row, column) uint8; reference ``structures``: the superpixels."""
        from skimage.segmentation import felzenszwalb

        name, row, column = case_id.rsplit("_", 2)
        top, left = int(row), int(column)
        pixels = self._picture(name)[top : top + self.tile, left : left + self.tile]
        labels = felzenszwalb(pixels, scale=self.scale, sigma=0.8, min_size=self.tile**2 // 50)
        sizes = np.bincount(labels.ravel()) / labels.size
        masks = {f"region#{n}": labels == n for n in np.flatnonzero((sizes >= 0.02) & (sizes <= 0.5))}
        image = Image(np.moveaxis(pixels, -1, 0), Grid(pixels.shape[:2], (1.0, 1.0), unit="px"))
        return self.case(case_id, {"image": image}, {"structures": MaskStack(masks, pixels.shape[:2])})

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """The pictures come from the installed package."""
        return {}

    def _picture(self, name: str) -> np.ndarray:
        from skimage import data

        return np.asarray(getattr(data, name)())[..., :3]
