"""What the SAM-Med2D claim trains and tests on: coloured ellipses, photographs with superpixels, windows of MNI152."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.datasets.mni152 import MNI152
from medeval.types import Case, CaseInfo, Grid, Image, MaskStack, rng

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left")


class Ellipses(Dataset):
    """Pictures of three ellipses of random colours on a random colour, with noise; each ellipse is a mask.

    Semi-axes of 5 to 12 pixels, none overlaps another; noise of sigma 0.1 of the full range. Case n is the same picture
    everywhere.
    """

    images: int = Field(400, ge=1, description="How many.")
    edge: int = Field(64, ge=40, description="Edge in pixels.")

    def scan(self) -> Sequence[CaseInfo]:
        """Numbered cases."""
        return [CaseInfo(f"{n:05d}", None, {"modality": "drawing"}) for n in range(self.images)]

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """Drawn, not read."""
        return {}

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (3, edge, edge) uint8; reference ``structures``: ``ellipse#n``."""
        draw = rng("ellipses", case_id)
        masks = self._masks(draw)
        colours = draw.uniform(size=(4, 3))
        pixels = np.broadcast_to(colours[0], (self.edge, self.edge, 3)).copy()
        for mask, colour in zip(masks, colours[1:], strict=True):
            pixels[mask] = colour
        pixels = np.clip(pixels + draw.normal(0, 0.1, pixels.shape), 0, 1)
        return _case(self, case_id, pixels, {f"ellipse#{n}": mask for n, mask in enumerate(masks)})

    def _masks(self, draw: np.random.Generator) -> list[NDArray[np.bool_]]:
        rows, columns = np.mgrid[: self.edge, : self.edge]
        masks: list[NDArray[np.bool_]] = []
        while len(masks) < 3:
            centre, axes = draw.uniform(8, self.edge - 8, 2), draw.uniform(5, 12, 2)
            mask = ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 < 1
            if not any((mask & other).any() for other in masks):
                masks.append(mask)
        return masks


class Photographs(Dataset):
    """Tiles of scikit-image's bundled photographs, shrunk to ``edge``; masks are their superpixels.

    Felzenszwalb & Huttenlocher 2004 (``skimage.segmentation.felzenszwalb``): regions that look alike, which is what a
    class-agnostic SAM learns to cut out. Nothing medical is in them.
    """

    pictures: tuple[str, ...] = PHOTOGRAPHS
    tiles: tuple[int, ...] = Field((128, 192), description="Edges of the tiles in pixels of the photograph.")
    step: int = Field(64, ge=1, description="Between tiles.")
    edge: int = Field(64, ge=16, description="Edge of the image that a tile becomes.")
    scale: float = Field(200.0, gt=0, description="Of the superpixels.")
    share: tuple[float, float] = Field(
        (0.02, 0.4), description="Least and most of the image that a mask covers."
    )

    def scan(self) -> Sequence[CaseInfo]:
        """Tiles by picture, edge, row and column."""
        return [
            CaseInfo(f"{name}_{tile}_{row}_{column}", name, {"modality": "photograph"})
            for name in self.pictures
            for tile in self.tiles
            for row, column in _corners(_photograph(name).shape, tile, self.step)
        ]

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """The pictures come with the installed package."""
        return {}

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (3, edge, edge) uint8; reference ``structures``: the superpixels."""
        from skimage.segmentation import felzenszwalb
        from skimage.transform import resize

        name, tile, row, column = case_id.rsplit("_", 3)
        window = tuple(slice(int(start), int(start) + int(tile)) for start in (row, column))
        pixels = resize(_photograph(name)[window], (self.edge, self.edge), anti_aliasing=True)
        labels = felzenszwalb(pixels, scale=self.scale, sigma=0.8, min_size=int(self.share[0] * self.edge**2))
        masks = {f"region#{n}": labels == n for n in range(labels.max() + 1)}
        kept = {n: m for n, m in masks.items() if self.share[0] <= m.mean() <= self.share[1]}
        return _case(self, case_id, pixels, kept)


def _case(dataset: Dataset, case_id: str, pixels: NDArray, masks: dict[str, NDArray[np.bool_]]) -> Case:
    """pixels: (row, column, 3) in [0, 1]."""
    grid = Grid(pixels.shape[:2], (1.0, 1.0), unit="px")
    image = Image(np.moveaxis(np.rint(255 * pixels).astype(np.uint8), -1, 0), grid)
    return dataset.case(case_id, {"image": image}, {"structures": MaskStack(masks, grid.shape)})


def _corners(shape: Sequence[int], tile: int, step: int) -> Iterator[tuple[int, int]]:
    for row in range(0, shape[0] - tile + 1, step):
        for column in range(0, shape[1] - tile + 1, step):
            yield row, column


@lru_cache(maxsize=8)
def _photograph(name: str) -> NDArray[np.uint8]:
    """(row, column, 3)."""
    from skimage import data, io

    path = Path(data.__file__).parent
    found = next(path.glob(f"{name}.*"))
    return np.asarray(io.imread(found))[..., :3]


class TissueWindows(Dataset):
    """Square windows of MNI152 slices; masks are the connected components of grey and of white matter in them.

    A component counts from ``share[0]`` to ``share[1]`` of the window (SA-Med2D-20M splits a class into its components and
    drops small ones as well). ``resolution_mm`` is the edge of a pixel. The patient is the slice: it is one brain.
    """

    axis: str = "axial"
    slices: tuple[float, ...] = Field(description="MNI positions in mm.")
    resolution_mm: int = 2
    edge: int = Field(64, ge=16, description="Edge of a window in pixels.")
    step: int = Field(32, ge=1, description="Between windows.")
    share: tuple[float, float] = Field(
        (0.02, 0.4), description="Least and most of the window that a mask covers."
    )

    def scan(self) -> Sequence[CaseInfo]:
        """Windows with a component, by slice, row and column."""
        return [
            CaseInfo(f"{case_id}_{row}_{column}", case_id, {"modality": "MR"})
            for case_id in self._slices.index.ids
            for row, column in _corners(self._picture(case_id).shape, self.edge, self.step)
            if self._components(case_id, row, column)
        ]

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """The template's files."""
        return self._slices.sources(case_id.rsplit("_", 2)[0])

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (1, edge, edge) uint8; reference ``structures``: ``grey_matter#n``, ``white_matter#n``."""
        name, row, column = case_id.rsplit("_", 2)
        top, left = int(row), int(column)
        pixels = self._picture(name)[top : top + self.edge, left : left + self.edge]
        grid = Grid(pixels.shape, (float(self.resolution_mm),) * 2)
        masks = self._components(name, top, left)
        image = Image(np.ascontiguousarray(pixels)[None], grid)
        return self.case(case_id, {"image": image}, {"structures": MaskStack(masks, grid.shape)})

    @cached_property
    def _slices(self) -> MNI152:
        return MNI152(axis=self.axis, slices=self.slices, resolution_mm=self.resolution_mm, crop=0)

    def _picture(self, case_id: str) -> NDArray[np.uint8]:
        return self._slices.read(case_id, ("inputs",)).inputs["image"].array[0]

    def _components(self, case_id: str, row: int, column: int) -> dict[str, NDArray[np.bool_]]:
        from skimage.measure import label

        tissues = self._slices.read(case_id, ("reference",)).reference["structures"]
        found = {}
        for name in tissues.present():
            parts = label(
                tissues.mask(name)[row : row + self.edge, column : column + self.edge], connectivity=2
            )
            sizes = np.bincount(parts.ravel())[1:] / self.edge**2
            kept = np.flatnonzero((sizes >= self.share[0]) & (sizes <= self.share[1])) + 1
            found |= {f"{name}#{number}": parts == part for number, part in enumerate(kept)}
        return found
