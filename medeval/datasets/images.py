"""Image and mask files by path: what every reader, the ``predictions`` adapter and ``medeval evaluate`` share.

    read_image(path or paths)         -> Loaded(Image, notes)       several paths are channels
    read_labels(path)                 -> (integer array, Grid)      on the file's own grid, RAS order
    read_mask_like(path, grid, rule)  -> OnGrid(integer array, notes)   somebody's file on a case's grid
    write_mask(path, array, grid)     NIfTI in the source file's order and affine, or PNG

Nothing here unpickles, downloads or follows an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medeval.datasets.grids import OnGridMismatch, describe, difference, resample_labels, same_grid
from medeval.datasets.labels import as_binary, as_labels
from medeval.datasets.nifti import file_order, from_file_order, nifti_grid, read_nifti, write_nifti
from medeval.datasets.paths import IMAGES, NIFTI, PICTURES, files_by_stem, stem_of, suffix_of
from medeval.datasets.pictures import picture_grid, plain_grid, read_label_picture, read_picture, write_png
from medeval.types import DataError, Grid, Image

__all__ = [
    "Loaded", "OnGrid", "as_binary", "files_by_stem", "join_notes", "read_grid", "read_image", "read_labels",
    "read_mask_like", "stem_of", "suffix_of", "write_mask", "write_nifti", "write_png",
]  # fmt: skip


class Loaded(NamedTuple):
    """An image, and what reading did to it ("" if nothing)."""

    image: Image
    notes: str


class OnGrid(NamedTuple):
    """A label array on the grid that was asked for, and what was done to bring it there ("" if nothing)."""

    array: NDArray[np.integer]
    notes: str


def read_image(
    paths: Path | Sequence[Path],
    on_nonfinite: Literal["error", "replace"] = "error",
    on_grid_mismatch: OnGridMismatch = "error",
) -> Loaded:
    """An image (C, *spatial); several paths become channels in their order and must share one grid.

    Channels are never resampled: ``resample`` is an error here, ``trust-array`` takes channels of one shape.
    Raises ``DataError`` naming the file: missing, corrupt, 4D, NaN or infinite voxels, channels on different grids.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    arrays, notes = [], []
    grid: Grid | None = None
    for path in files:
        array, own, note = _read_one(path)
        array, replaced = _finite(array, path, on_nonfinite)
        grid = own if grid is None else grid
        arrays.append(array)
        notes += [note, replaced, _same_channel_grid(path, own, files[0], grid, on_grid_mismatch)]
    if grid is None:
        raise DataError("an image needs at least one file")
    return Loaded(Image(np.concatenate(arrays) if len(arrays) > 1 else arrays[0], grid), join_notes(*notes))


def read_labels(path: Path) -> tuple[NDArray[np.integer], Grid]:
    """A label map or mask as non-negative integers on its own grid, RAS order for NIfTI. Raises ``DataError``."""
    if _is_nifti(path):
        array, grid = read_nifti(path)
    else:
        array = read_label_picture(path)
        grid = plain_grid(array.shape)
    return as_labels(array, path), grid


def read_grid(path: Path) -> Grid:
    """The grid of an image file, from its header alone. Raises ``DataError``."""
    return nifti_grid(path) if _is_nifti(path) else picture_grid(path)


def read_mask_like(path: Path, grid: Grid, on_grid_mismatch: OnGridMismatch = "error") -> OnGrid:
    """Somebody's mask or label file on a case's grid.

    Grids that agree within ``grids.TOLERANCE`` of a voxel are equal. Otherwise ``error`` names both; ``resample`` takes the
    nearest label at each voxel centre (an error when nothing of the foreground is left); ``trust-array`` takes the array in
    the file's own order as if it were stored like the case's image, where the shapes agree. Raises ``DataError``.
    """
    array, own = read_labels(path)
    if own.ndim == grid.ndim and (own.affine is None) == (grid.affine is None) and same_grid(own, grid):
        return OnGrid(array, "")
    if on_grid_mismatch == "trust-array":
        return OnGrid(_trusted(array, own, grid, path), f"trust-array: {difference(grid, own)}")
    if on_grid_mismatch == "resample" and own.affine is not None and grid.affine is not None:
        return OnGrid(_resampled(array, own, grid, path), f"resampled from {describe(own)}")
    hint = "" if own.affine is None or grid.affine is None else "`on_grid_mismatch: resample`, or "
    raise DataError(
        f"{path}: lies on another grid: {describe(own)}; the image: {describe(grid)} ({difference(grid, own)}). "
        f"{hint}`trust-array` where only the header is wrong"
    )


def write_mask(path: Path, array: NDArray, grid: Grid) -> None:
    """Write a mask or label array (``grid.shape``) by the path's suffix: PNG for 2D, NIfTI for 3D.

    ``ValueError`` when suffix and dimensions do not go together.
    """
    if array.shape != grid.shape:
        raise ValueError(f"array of shape {array.shape} does not fit the grid {grid.shape}")
    if suffix_of(path) == ".png":
        write_png(path, array)
    elif suffix_of(path) in NIFTI:
        write_nifti(path, array, grid)
    else:
        raise ValueError(f"{path.name}: masks are written as .png (2D) or .nii.gz (3D)")


def join_notes(*notes: str) -> str:
    """Notes in order, each once, joined by "; "."""
    return "; ".join(dict.fromkeys(note for note in notes if note))


def _is_nifti(path: Path) -> bool:
    suffix = suffix_of(path)
    if suffix not in IMAGES:
        raise DataError(
            f"{path}: files of type {suffix or 'no suffix'!r} are not read; known: {', '.join(NIFTI + PICTURES)}"
        )
    return suffix in NIFTI


def _read_one(path: Path) -> tuple[NDArray, Grid, str]:
    if _is_nifti(path):
        array, grid = read_nifti(path)
        return array[None], grid, ""
    array, note = read_picture(path)
    return array, plain_grid(array.shape[1:]), note


def _finite(array: NDArray, path: Path, rule: Literal["error", "replace"]) -> tuple[NDArray, str]:
    if array.dtype.kind != "f":
        return array, ""
    finite = np.isfinite(array)
    bad = int(array.size - np.count_nonzero(finite))
    if bad == 0:
        return array, ""
    if rule == "error" or bad == array.size:
        raise DataError(
            f"{path}: {bad} of {array.size} voxels are NaN or infinite; most models answer them with nonsense. "
            "`on_nonfinite: replace` puts the smallest finite value in their place"
        )
    return np.where(finite, array, array[finite].min()), f"{bad} non-finite voxels replaced"


def _same_channel_grid(path: Path, own: Grid, first_path: Path, first: Grid, rule: OnGridMismatch) -> str:
    if same_grid(own, first):
        return ""
    if rule == "trust-array" and own.shape == first.shape:
        return f"trust-array: channel {path.name}, {difference(first, own)}"
    raise DataError(
        f"{path}: this channel lies on another grid, {describe(own)}, than {first_path.name}, {describe(first)} "
        f"({difference(first, own)}); channels of one image must share a grid"
    )


def _trusted(array: NDArray[np.integer], own: Grid, grid: Grid, path: Path) -> NDArray[np.integer]:
    stored = file_order(array, own)
    if grid.ndim == 2 and stored.ndim == 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    fitting = from_file_order(stored, grid) if stored.ndim == grid.ndim else stored
    if fitting.shape != grid.shape:
        raise DataError(
            f"{path}: `trust-array` needs equal shapes, but this is {describe(own)} and the image {describe(grid)}"
        )
    return fitting


def _resampled(array: NDArray[np.integer], own: Grid, grid: Grid, path: Path) -> NDArray[np.integer]:
    result = resample_labels(array, own, grid)
    if array.any() and not result.any():
        raise DataError(
            f"{path}: nothing of it falls on the image's grid: {describe(own)}; the image: {describe(grid)}"
        )
    return result
