"""NIfTI files: reading to RAS order by axis permutation and flips alone, and writing back to the file's own order."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.types import DataError, Grid

_IDENTITY = np.array([[0, 1], [1, 1], [2, 1]], dtype=np.float64)
_TO_MM = {"meter": 1000.0, "micron": 0.001}


def read_nifti(path: Path) -> tuple[NDArray, Grid]:
    """The voxels in RAS order, (R, A, S), with the grid that leads back to the file's own order.

    Integers stay as they are stored; values with a header scaling become float32 (float64 where 16 bits are not enough).
    Trailing axes of length 1 are dropped, and a file of two axes becomes a volume of one slice. Oblique stays oblique.
    Raises ``DataError`` for missing, truncated or corrupt files, 4D series, colour or complex voxels, singular affines.
    """
    image = _open(path)
    grid, forward = _geometry(image, path)
    array = _voxels(image, path)
    return _turned(array.reshape(_volume_shape(image, path)), forward), grid


def nifti_grid(path: Path) -> Grid:
    """The grid of ``read_nifti``, from the header alone."""
    return _geometry(_open(path), path)[0]


def write_nifti(path: Path, array: NDArray, grid: Grid) -> None:
    """Write a volume given in RAS order (``grid.shape``) in the order and affine of the file that ``grid`` came from.

    Bool is written as uint8, 64-bit integers in the smallest type that holds them; a grid without an affine is written
    with its spacing on the diagonal. The file appears whole or not at all. ``ValueError`` when the array does not fit.
    """
    import nibabel

    if array.shape != grid.shape or grid.ndim != 3:
        raise ValueError(
            f"array of shape {array.shape} does not fit the grid {grid.shape}; NIfTI is written for volumes"
        )
    affine = np.diag([*grid.spacing, 1.0]) if grid.affine is None else grid.affine
    if grid.source_orientation is not None:
        affine = affine @ nibabel.orientations.inv_ornt_aff(grid.source_orientation, grid.shape)
    image = nibabel.Nifti1Image(file_order(_storable(array), grid), affine)
    image.header.set_xyzt_units("mm")
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        nibabel.save(image, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def file_order(array: NDArray, grid: Grid) -> NDArray:
    """A RAS array in the axis order of the file that ``grid`` came from."""
    return array if grid.source_orientation is None else _turned(array, grid.source_orientation)


def from_file_order(array: NDArray, grid: Grid) -> NDArray:
    """An array in the file's own order, brought to the order of ``grid``: the inverse of ``file_order``."""
    return array if grid.source_orientation is None else _turned(array, _inverse(grid.source_orientation))


def _open(path: Path) -> Any:
    import nibabel

    try:
        image = nibabel.load(path, mmap=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (*_BROKEN, nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise DataError(f"{path}: cannot be read as NIfTI: {_reason(error)}") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise DataError(f"{path}: is {type(image).__name__}, not NIfTI")
    return image


_BROKEN = (OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError)


def _voxels(image: Any, path: Path) -> NDArray:
    stored = image.get_data_dtype()
    if stored.fields is not None or stored.kind not in "biuf":
        raise DataError(
            f"{path}: voxels of type {stored} (colour or complex) are not read; save one channel a file"
        )
    try:
        array = np.asanyarray(image.dataobj)
    except _BROKEN as error:
        raise DataError(
            f"{path}: the voxels cannot be read, the file may be truncated: {_reason(error)}"
        ) from error
    if array.dtype.kind == "f" and stored.itemsize <= 2:
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _volume_shape(image: Any, path: Path) -> tuple[int, ...]:
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        raise DataError(
            f"{path}: has {len(shape)} dimensions {shape}; a case is one volume. Split a series or several channels into "
            "one file each (nnU-Net: CASE_0000.nii.gz, CASE_0001.nii.gz; nibabel.four_to_three does it)"
        )
    shape = shape + (1,) * (3 - len(shape))
    if 0 in shape:
        raise DataError(f"{path}: has no voxels, shape {shape}")
    return shape


def _geometry(image: Any, path: Path) -> tuple[Grid, NDArray[np.float64]]:
    """The RAS grid, and the nibabel orientation from the file's order to RAS."""
    import nibabel
    from nibabel import orientations

    shape = _volume_shape(image, path)
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= _to_mm(image)
    if _singular(affine):
        raise DataError(f"{path}: the affine is singular or not finite: {np.round(affine[:3], 6).tolist()}")
    forward = orientations.io_orientation(affine)
    turned = affine @ orientations.inv_ornt_aff(forward, shape)
    axes = np.argsort(forward[:, 0])
    grid = Grid(
        shape=tuple(shape[axis] for axis in axes),
        spacing=tuple(float(size) for size in nibabel.affines.voxel_sizes(turned)),
        affine=turned,
        source_orientation=_inverse(forward),
    )
    return grid, forward


def _to_mm(image: Any) -> float:
    """Factor of the header's spatial unit, as ITK applies it; a code that is no unit counts as mm, as the missing one does."""
    try:
        return _TO_MM.get(image.header.get_xyzt_units()[0], 1.0)
    except KeyError:
        return 1.0


def _singular(affine: NDArray[np.float64]) -> bool:
    """True when the axes do not span space: the determinant vanishes beside the product of their lengths."""
    if not np.isfinite(affine).all():
        return True
    axes = affine[:3, :3]
    return bool(abs(np.linalg.det(axes)) <= 1e-6 * np.prod(np.linalg.norm(axes, axis=0)))


def _inverse(orientation: NDArray[np.float64]) -> NDArray[np.float64]:
    from nibabel.orientations import ornt_transform

    return ornt_transform(_IDENTITY, orientation)


def _turned(array: NDArray, orientation: NDArray[np.float64]) -> NDArray:
    from nibabel.orientations import apply_orientation

    return np.ascontiguousarray(apply_orientation(array, orientation))


def _storable(array: NDArray) -> NDArray:
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        kinds = (np.uint8, np.int16, np.int32)
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        fitting = [k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max]
        if not fitting:
            raise ValueError(f"values from {low} to {high} do not fit a 32-bit integer")
        return array.astype(fitting[0])
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no further word'}"
