"""The works that are measured: the real CT, a seeded label map of abdominal size, 2D masks, and adversarial pairs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL = SHARED / "data" / "totalsegmentator_example"


class Work(NamedTuple):
    """Two label maps (or stacks of masks) to compare."""

    name: str
    prediction: NDArray
    reference: NDArray
    spacing: tuple[float, ...]


def real_ct() -> Work | None:
    """(a) labelsTs against predictions_fast of the TotalSegmentator example, or None where it is not there."""
    import nibabel

    name = "Dataset901_TotalSegCT"
    paths = REAL / "predictions_fast" / name, REAL / name / "labelsTs"
    if not all(path.is_dir() for path in paths):
        return None
    images = [nibabel.load(next(path.glob("s0001_ct.nii.gz"))) for path in paths]
    maps = [np.ascontiguousarray(np.asanyarray(image.dataobj)).astype(np.uint8) for image in images]
    return Work("a", *maps, tuple(float(s) for s in images[1].header.get_zooms()[:3]))


def abdomen(organs: int = 15, shape: tuple[int, int, int] = (512, 512, 200), seed: int = 0) -> Work:
    """(b) smooth blobs of abdominal size in a trunk, predicted with a smooth error of a few mm."""
    rng = np.random.default_rng(seed)
    spacing = (0.8, 0.8, 2.5)
    extent = np.array(shape) * spacing
    # Half axes in mm: a liver, two kidneys, a spleen, a stomach ... down to adrenals, gallbladder and vessels.
    sizes = [75, 32, 32, 45, 50, 30, 22, 16, 12, 12, 28, 14, 35, 20, 26][:organs]
    maps = [np.zeros(shape, np.uint8) for _ in range(2)]
    grid = np.meshgrid(
        *[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij", sparse=True
    )
    for label, size in enumerate(sizes, start=1):
        axes = size * rng.uniform(0.7, 1.3, 3)
        centre = extent / 2 + rng.uniform(-0.28, 0.28, 3) * extent
        bumps = [_smooth(rng, shape, size / 3) for _ in range(2)]
        radius = np.sqrt(sum(((g - c) / a) ** 2 for g, c, a in zip(grid, centre, axes, strict=True)))
        reference = radius < 1.0 + 0.18 * bumps[0]
        # The prediction's boundary lies 1.5 mm (one standard deviation) from the reference's.
        prediction = radius < 1.0 + 0.18 * bumps[0] + 1.5 / size * bumps[1]
        maps[1][reference & (maps[1] == 0)] = label
        maps[0][prediction & (maps[0] == 0)] = label
    return Work("b", *maps, spacing)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
    """A random field of unit variance; made on a coarse grid, for speed."""
    coarse = [24, 24, 24]
    field = gaussian_filter(rng.normal(size=coarse), 1.2)
    field = zoom(field / field.std(), [n / c for n, c in zip(shape, coarse, strict=True)], order=1)
    return field.astype(np.float32)


def slices(count: int = 1000, size: int = 512, seed: int = 1) -> Work:
    """(c) 2D masks (count, size, size): one blob each, 2 to 20% of the picture, with a smooth error."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(np.arange(size), np.arange(size), indexing="ij", sparse=True)
    stacks = [np.zeros((count, size, size), np.uint8) for _ in range(2)]
    for i in range(count):
        centre = rng.uniform(0.3, 0.7, 2) * size
        axes = rng.uniform(0.08, 0.25, 2) * size
        radius = np.hypot(*((g - c) / a for g, c, a in zip(grid, centre, axes, strict=True)))
        angle = np.arctan2(grid[0] - centre[0], grid[1] - centre[1])
        waves = [
            sum(rng.normal() / k * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 7))
            for _ in range(2)
        ]
        stacks[1][i] = radius < 1 + 0.15 * waves[0]
        stacks[0][i] = radius < 1 + 0.15 * waves[0] + 0.04 * waves[1]
    return Work("c", *stacks, (0.7, 0.7))


def adversarial(size: int = 160, seed: int = 2) -> list[Work]:
    """Masks that a search near the surface is worst at."""
    rng = np.random.default_rng(seed)
    spacing = (1.0, 1.0, 1.5)
    empty = np.zeros((size, size, size), np.uint8)

    def with_boxes(*boxes: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
        mask = empty.copy()
        for box in boxes:
            mask[box] = 1
        return mask

    quarter, edge = size // 4, size - size // 4
    every = slice(2, size - 2)
    far = Work(
        "far boxes",
        with_boxes((slice(0, quarter), every, every)),
        with_boxes((slice(edge, size), every, every)),
        spacing,
    )
    body = (slice(quarter, edge),) * 3
    islands = with_boxes(body)
    for corner in rng.integers(0, size - 6, (60, 3)):
        islands[tuple(slice(c, c + 5) for c in corner)] = 1
    scattered = Work("scattered islands", islands, with_boxes(body), spacing)
    stray = with_boxes(body)
    stray[0, 0, 0] = stray[-1, -1, -1] = 1
    strays = Work("stray voxels", stray, with_boxes(body), spacing)

    def salt(share: float) -> NDArray[np.uint8]:
        return (rng.random(empty.shape) < share).astype(np.uint8)

    noise = [
        Work(f"salt {share:g}", salt(share), salt(share), spacing) for share in (0.3, 0.01, 0.001, 0.0001)
    ]
    shell = empty.copy()
    axis = np.arange(size) - size / 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + (1.5 * axis[None, None, :]) ** 2)
    shell[(radius > 0.45 * size) & (radius < 0.47 * size)] = 1
    centre = (radius < 0.06 * size).astype(np.uint8)
    return [far, scattered, strays, *noise, Work("ball in a shell", centre, shell, spacing)]
