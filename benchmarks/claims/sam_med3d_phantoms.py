"""Phantoms with ellipsoids of known intensities: what the claim about 3D and slice-wise models is tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.types import Case, CaseInfo, Grid, Image, MaskStack

LEVELS = {"a": 0.35, "b": 0.55, "c": 0.75, "unseen": 0.95}
BACKGROUND = 0.15
SPACING = 1.5  # mm, the models' own


class Phantoms(Dataset):
    """``count`` volumes of ``side`` voxels; every case is a patient of its own.

    One ellipsoid of each kind, centres and half-axes uniform, painted in random order, so that later ones cover earlier ones;
    Gaussian noise; intensities within [0, 1], so that no model rescales them by slice. Kinds smaller than ``least``
    voxels are not referenced. Nothing but ``world``, ``part`` and the case's number is drawn from.
    """

    world: int = Field(0, ge=0, description="Seed of all volumes.")
    part: Literal["train", "test"] = "train"
    count: int = Field(40, ge=1)
    side: int = Field(16, ge=4)
    kinds: tuple[str, ...] = tuple(LEVELS)
    noise: float = Field(0.1, ge=0)
    least: int = Field(30, ge=1)

    def scan(self) -> Sequence[CaseInfo]:
        """Cases by number."""
        return [CaseInfo(name := f"{self.part}-{n:04d}", name, {}, ()) for n in range(self.count)]

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """No files."""
        return {}

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (1, side, side, side), float32; reference ``structures``: ``MaskStack``."""
        labels, image = self._drawn(int(case_id.rpartition("-")[2]))
        masks = {kind: labels == number for number, kind in enumerate(LEVELS, start=1) if kind in self.kinds}
        kept = {kind: mask for kind, mask in masks.items() if np.count_nonzero(mask) >= self.least}
        grid = Grid(labels.shape, (SPACING,) * 3)
        inputs = {"image": Image(image[None], grid)} if "inputs" in fields else {}
        reference = {"structures": MaskStack(kept, labels.shape)} if "reference" in fields else {}
        return self.case(case_id, inputs, reference)

    def _drawn(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = np.random.default_rng([self.world, self.part == "test", number])
        labels = np.zeros((self.side,) * 3, np.uint8)
        places = np.moveaxis(np.indices(labels.shape), 0, -1)
        for kind in rng.permutation(len(LEVELS)) + 1:
            centre, half = rng.uniform(0.2, 0.8, 3) * self.side, rng.uniform(0.2, 0.36, 3) * self.side
            labels[(((places - centre) / half) ** 2).sum(axis=-1) <= 1] = kind
        clean = np.array([BACKGROUND, *LEVELS.values()])[labels]
        noisy = clean + rng.normal(0, self.noise, labels.shape)
        return labels, np.clip(noisy, 0.001, 1).astype(np.float32)
