"""Masks on another grid than the image: what passes, what each rule does, what the messages name."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.datasets.grids import TOLERANCE, same_grid
from medeval.datasets.images import read_grid, read_image, read_mask_like
from medeval.types import DataError

IMAGE = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
LABELS = (IMAGE % 3).astype(np.uint8)
AFFINE = np.array(
    [[-1.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1]]
)  # LPS order, as many scanners write


def moved(by_voxels):
    affine = AFFINE.copy()
    affine[0, 3] += by_voxels
    return affine


@pytest.mark.parametrize("shift", [0, 1e-8, 1e-4, TOLERANCE * 0.9])
def test_rounding_of_headers_is_no_difference(tmp_path, nifti, shift):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, AFFINE))
    array, notes = read_mask_like(nifti(tmp_path / "m.nii.gz", LABELS, moved(shift)), grid)
    np.testing.assert_array_equal(array, LABELS[::-1, ::-1])
    assert notes == ""


def test_a_mask_stored_in_another_order_lies_on_the_same_grid(tmp_path, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, AFFINE))
    flipped = AFFINE @ np.array([[-1, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    array, notes = read_mask_like(nifti(tmp_path / "m.nii.gz", LABELS[::-1], flipped), grid)
    np.testing.assert_array_equal(array, LABELS[::-1, ::-1])
    assert notes == ""


def test_a_difference_names_both_grids_and_the_way_out(tmp_path, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, AFFINE))
    path = nifti(tmp_path / "m.nii.gz", LABELS, moved(0.5))
    with pytest.raises(DataError) as told:
        read_mask_like(path, grid)
    message = str(told.value)
    for part in (str(path), "origin (6.5,", "origin (6,", "0.5 voxels apart", "resample", "trust-array"):
        assert part in message


def test_trust_array_takes_the_array_in_the_images_own_order(tmp_path, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, AFFINE))
    path = nifti(
        tmp_path / "m.nii.gz", LABELS, np.eye(4)
    )  # the header says RAS; the array is stored like the image
    array, notes = read_mask_like(path, grid, "trust-array")
    np.testing.assert_array_equal(array, LABELS[::-1, ::-1])
    assert notes.startswith("trust-array: same shape, corners up to")


def test_trust_array_needs_equal_shapes(tmp_path, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, AFFINE))
    with pytest.raises(DataError, match="needs equal shapes"):
        read_mask_like(nifti(tmp_path / "m.nii.gz", LABELS[:-1]), grid, "trust-array")


def test_resampling_by_whole_voxels_moves_labels_exactly(tmp_path, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, np.eye(4)))
    shifted = np.eye(4)
    shifted[0, 3] = 2
    array, notes = read_mask_like(nifti(tmp_path / "m.nii.gz", LABELS, shifted), grid, "resample")
    np.testing.assert_array_equal(array[2:], LABELS[:-2])
    assert not array[:2].any()
    assert notes.startswith("resampled from 5x6x7")


def test_resampling_from_a_finer_grid_takes_the_nearest_label_and_keeps_the_border(tmp_path, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, np.eye(4)))
    fine = np.repeat(np.repeat(np.repeat(LABELS, 3, 0), 3, 1), 3, 2)
    affine = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    affine[:3, 3] = -1 / 3
    array, _ = read_mask_like(nifti(tmp_path / "m.nii.gz", fine, affine), grid, "resample")
    np.testing.assert_array_equal(array, LABELS)


def test_resampling_that_leaves_nothing_is_an_error(tmp_path, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, AFFINE))
    with pytest.raises(DataError, match="nothing of it falls on the image's grid"):
        read_mask_like(nifti(tmp_path / "m.nii.gz", LABELS, moved(500)), grid, "resample")


@pytest.mark.parametrize("rule", ["error", "resample", "trust-array"])
def test_pictures_of_another_size_never_pass(tmp_path, png, rule):
    grid = read_grid(png(tmp_path / "i.png", np.zeros((8, 9), np.uint8)))
    with pytest.raises(DataError, match=r"9x8.*8x9"):
        read_mask_like(png(tmp_path / "m.png", np.zeros((9, 8), np.uint8)), grid, rule)


def test_a_transposed_picture_is_suspected(tmp_path, png):
    grid = read_grid(png(tmp_path / "i.png", np.zeros((8, 9), np.uint8)))
    with pytest.raises(DataError, match="is one of them transposed"):
        read_mask_like(png(tmp_path / "m.png", np.zeros((9, 8), np.uint8)), grid)


def test_a_picture_for_a_volume_is_refused(tmp_path, png, nifti):
    grid = read_grid(nifti(tmp_path / "i.nii.gz", IMAGE, AFFINE))
    with pytest.raises(DataError, match="3 and 2 dimensions"):
        read_mask_like(png(tmp_path / "m.png", np.zeros((5, 6), np.uint8)), grid)


def test_a_one_slice_volume_can_be_trusted_for_a_picture(tmp_path, png, nifti):
    grid = read_grid(png(tmp_path / "i.png", np.zeros((5, 6), np.uint8)))
    path = nifti(tmp_path / "m.nii.gz", LABELS[..., :1])
    with pytest.raises(DataError, match="lies on another grid"):
        read_mask_like(path, grid)
    np.testing.assert_array_equal(read_mask_like(path, grid, "trust-array").array, LABELS[..., 0])


def test_channels_on_different_grids_are_refused_and_never_resampled(tmp_path, nifti):
    paths = [
        nifti(tmp_path / "a_0000.nii.gz", IMAGE, AFFINE),
        nifti(tmp_path / "a_0001.nii.gz", IMAGE, moved(3)),
    ]
    for rule in ("error", "resample"):
        with pytest.raises(DataError, match=r"a_0001.nii.gz: this channel lies on another grid"):
            read_image(paths, on_grid_mismatch=rule)
    image, notes = read_image(paths, on_grid_mismatch="trust-array")
    assert image.array.shape == (2, 5, 6, 7)
    assert "channel a_0001.nii.gz" in notes


def test_the_tolerance_is_measured_at_the_farthest_corner(tmp_path, nifti):
    a = read_grid(nifti(tmp_path / "a.nii.gz", np.zeros((100, 4, 4), np.uint8), np.eye(4)))
    b = read_grid(nifti(tmp_path / "b.nii.gz", np.zeros((100, 4, 4), np.uint8), np.diag([1.001, 1, 1, 1])))
    assert not same_grid(a, b)  # 0.1% of 100 voxels
    assert same_grid(
        a,
        read_grid(nifti(tmp_path / "c.nii.gz", np.zeros((100, 4, 4), np.uint8), np.diag([1.0001, 1, 1, 1]))),
    )
