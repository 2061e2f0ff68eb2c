"""Damaged files of every format: read, or refused as the case's own data error, and nothing else."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medeval.datasets.images import read_grid, read_image, read_labels
from medeval.types import DataError

HEADER = 352  # bytes of a NIfTI header: half of the damage goes there


def damaged(content, rng, number):
    """A few bytes changed, and each seventh file cut off."""
    broken = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        broken[rng.integers(0, min(len(broken), HEADER) if number % 2 else len(broken))] = rng.integers(
            0, 256
        )
    return bytes(broken[: rng.integers(0, len(broken))] if number % 7 == 0 else broken)


def complaint(reads, path):
    """The data error's message, or None when the file was read; anything else is raised."""
    try:
        reads(path)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.filterwarnings("ignore")  # what Pillow and nibabel say about damage
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.png", "a.jpg", "a.tif"])
def test_damage_is_a_data_error_or_harmless(tmp_path, name):
    rng = np.random.default_rng(0)
    path = tmp_path / name
    if ".nii" in name:
        nib.save(nib.Nifti1Image(rng.integers(0, 100, (6, 7, 8)).astype(np.int16), np.eye(4)), path)
    else:
        Image.fromarray(rng.integers(0, 255, (30, 40)).astype(np.uint8)).save(path)
    content = path.read_bytes()
    for number in range(200):
        path.write_bytes(damaged(content, rng, number))
        for reads in (read_image, read_labels, read_grid):
            told = complaint(reads, path)
            assert told is None or str(path) in told


def test_a_header_with_a_code_that_is_no_unit_counts_as_mm(tmp_path):
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.diag([2, 2, 3, 1]))
    image.header["xyzt_units"] = 7
    nib.save(image, tmp_path / "a.nii")
    assert read_grid(tmp_path / "a.nii").spacing == (2, 2, 3)


def test_tiny_voxels_are_no_singular_affine(tmp_path):
    nib.save(
        nib.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.diag([1e-5, 1e-5, 1e-5, 1])), tmp_path / "a.nii"
    )
    assert read_grid(tmp_path / "a.nii").spacing == pytest.approx((1e-5,) * 3)
