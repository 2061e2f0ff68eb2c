"""Volumes of a few thousand voxels whose masks are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LABELS = {"background": 0, "liver": 1, "spleen": 2, "aorta": 3}
OBLIQUE = np.array(
    [[0.0, 2.0, 0.3, -20.0], [-1.5, 0.1, 0.0, 30.0], [0.0, 0.2, 2.5, 5.0], [0.0, 0.0, 0.0, 1.0]]
)


def volume(seed: int = 0, shape: tuple[int, int, int] = (24, 20, 18)) -> tuple[NDArray, NDArray]:
    """An image of noise, and a label map with two blocks of liver, a spleen, and an aorta of one voxel a slice."""
    generator = np.random.default_rng(seed)
    image = generator.integers(-1000, 1000, shape).astype(np.int16)
    labels = np.zeros(shape, np.uint8)
    labels[2:8, 3:9, 2:16] = 1
    labels[12:20, 12:18, 4:14] = 1
    labels[14:22, 2:8, 3:15] = 2
    labels[10, 10, 1:17] = 3
    return image, labels


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but what only resuming needs."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".build" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
