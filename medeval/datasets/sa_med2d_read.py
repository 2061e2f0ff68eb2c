"""Pictures and masks of the SA-Med2D layout by path, from a folder or from its archive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from medeval.datasets.grids import OnGridMismatch, describe, difference
from medeval.datasets.images import Loaded, OnGrid, read_grid, read_image, read_mask_like
from medeval.datasets.labels import as_labels
from medeval.datasets.pictures import picture_grid, plain_grid, read_label_picture, read_picture
from medeval.datasets.sa_med2d_files import Files
from medeval.types import DataError, Grid, Image

Spacing = tuple[float, float] | None


def load_image(
    files: Files, path: Path, spacing: Spacing, on_nonfinite: Literal["error", "replace"]
) -> Loaded:
    """The picture (C, row, column), on a grid in mm where a sidecar tells the spacing. Raises ``DataError``."""
    data = files.data(path)
    if data is None:
        image, notes = read_image(path, on_nonfinite)
    else:
        array, notes = read_picture(path, data)
        image = Image(array, plain_grid(array.shape[1:]))
    return Loaded(Image(image.array, _spaced(image.grid, spacing)), notes)


def load_grid(files: Files, path: Path, spacing: Spacing) -> Grid:
    """The picture's grid from its header alone."""
    data = files.data(path)
    return _spaced(read_grid(path) if data is None else picture_grid(path, data), spacing)


def load_mask(files: Files, path: Path, grid: Grid, on_grid_mismatch: OnGridMismatch) -> OnGrid:
    """A mask's values on the picture's grid; ``DataError`` when it has another shape."""
    data = files.data(path)
    if data is None:
        return read_mask_like(path, grid, on_grid_mismatch)
    array = as_labels(read_label_picture(path, data), path)
    if array.shape != grid.shape:
        own = plain_grid(array.shape)
        raise DataError(
            f"{path}: lies on another grid: {describe(own)}; the image: {describe(grid)} ({difference(grid, own)})"
        )
    return OnGrid(array, "")


def _spaced(grid: Grid, spacing: Spacing) -> Grid:
    return grid if spacing is None or grid.ndim != 2 else replace(grid, spacing=spacing, unit="mm")
