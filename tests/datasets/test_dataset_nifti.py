"""NIfTI: RAS inside, the file's own order outside, and what broken files say."""

from __future__ import annotations

import gzip
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

from medeval.datasets.images import read_grid, read_image, read_labels, write_mask
from medeval.datasets.nifti import read_nifti, write_nifti
from medeval.types import DataError, Grid

RNG = np.random.default_rng(0)
VOLUME = RNG.integers(0, 200, (4, 5, 6)).astype(np.int16)


def affine_of(axes, flips, spacing=(0.7, 1.5, 3.0), tilt=0.0):
    """Voxel axis i runs along world axis axes[i], backwards where flips[i]; then the world is turned about x by `tilt`."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for voxel, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        matrix[world, voxel] = spacing[voxel] * (-1 if flip else 1)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    matrix = turn @ matrix
    matrix[:3, 3] = (-12.5, 30.25, 7.0)
    return matrix


ALL_ORIENTATIONS = list(product(permutations(range(3)), product((False, True), repeat=3)))


@pytest.mark.parametrize(("axes", "flips"), ALL_ORIENTATIONS)
def test_every_orientation_is_read_as_ras_without_moving_a_voxel(tmp_path, nifti, axes, flips):
    affine = affine_of(axes, flips)
    path = nifti(tmp_path / "a.nii.gz", VOLUME, affine)
    array, grid = read_nifti(path)
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    assert grid.shape == array.shape
    assert array.flags["C_CONTIGUOUS"]
    for index in [(0, 0, 0), (3, 4, 5), (1, 2, 3)]:  # the same point of the world holds the same value
        world = affine @ [*index, 1]
        inside = np.rint(np.linalg.inv(grid.affine) @ world)[:3].astype(int)
        assert array[tuple(inside)] == VOLUME[index]


@pytest.mark.parametrize(("axes", "flips"), ALL_ORIENTATIONS)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_writing_gives_back_the_files_own_order_and_affine(tmp_path, nifti, axes, flips, tilt):
    affine = affine_of(axes, flips, tilt=tilt)
    array, grid = read_nifti(nifti(tmp_path / "a.nii.gz", VOLUME, affine))
    write_nifti(tmp_path / "b.nii.gz", array, grid)
    back = nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(back.dataobj), VOLUME)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)


def test_oblique_stays_oblique_and_keeps_its_spacing(tmp_path, nifti):
    affine = affine_of((0, 1, 2), (False, False, False), tilt=0.3)
    array, grid = read_nifti(nifti(tmp_path / "a.nii.gz", VOLUME, affine))
    np.testing.assert_array_equal(array, VOLUME)
    np.testing.assert_allclose(grid.affine, affine, atol=1e-5)
    np.testing.assert_allclose(grid.spacing, (0.7, 1.5, 3.0), atol=1e-5)


def test_spacing_follows_the_permuted_axes(tmp_path, nifti):
    path = nifti(tmp_path / "a.nii.gz", VOLUME, affine_of((2, 0, 1), (True, False, True)))
    grid = read_grid(path)
    assert grid.shape == (5, 6, 4)
    np.testing.assert_allclose(grid.spacing, (1.5, 3.0, 0.7), atol=1e-6)


def test_an_image_is_channel_first_and_several_files_are_channels(tmp_path, nifti):
    a, b = nifti(tmp_path / "a.nii.gz", VOLUME), nifti(tmp_path / "b.nii", VOLUME + 1)
    image, notes = read_image([a, b])
    assert image.array.shape == (2, 4, 5, 6)
    assert (image.array[1] - image.array[0] == 1).all()
    assert notes == ""


def test_trailing_axes_of_one_are_dropped_and_a_plane_becomes_one_slice(tmp_path, nifti):
    assert read_nifti(nifti(tmp_path / "a.nii.gz", VOLUME[..., None]))[0].shape == (4, 5, 6)
    assert read_nifti(nifti(tmp_path / "b.nii.gz", VOLUME[..., 0]))[0].shape == (4, 5, 1)


def test_units_of_metres_and_microns_become_mm(tmp_path):
    image = nib.Nifti1Image(VOLUME, np.diag([0.001, 0.001, 0.002, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_grid(tmp_path / "a.nii").spacing, (1, 1, 2), rtol=1e-6)


def test_scaled_integers_are_read_as_float32_and_big_endian_as_native(tmp_path):
    image = nib.Nifti1Image(VOLUME, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "scaled.nii")
    assert read_nifti(tmp_path / "scaled.nii")[0].dtype == np.float32
    nib.save(nib.Nifti1Image(VOLUME, np.eye(4), nib.Nifti1Header(endianness=">")), tmp_path / "big.nii")
    array, _ = read_nifti(tmp_path / "big.nii")
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, VOLUME)


@pytest.mark.parametrize(("kind", "stored"), [(bool, np.uint8), (np.int64, np.uint8), (np.uint16, np.uint16)])
def test_masks_are_written_in_types_that_nifti_readers_know(tmp_path, kind, stored):
    grid = Grid((4, 5, 6), (1.0, 2.0, 3.0))
    write_mask(tmp_path / "m.nii.gz", (VOLUME > 100).astype(kind), grid)
    back = nib.load(tmp_path / "m.nii.gz")
    assert back.get_data_dtype() == stored
    np.testing.assert_allclose(back.affine, np.diag([1, 2, 3, 1]))
    assert [path.name for path in tmp_path.iterdir()] == ["m.nii.gz"]


def test_an_array_that_does_not_fit_the_grid_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="does not fit the grid"):
        write_mask(tmp_path / "m.nii.gz", np.zeros((4, 5, 5), bool), Grid((4, 5, 6), (1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match=r"png \(2D\) or .nii.gz"):
        write_mask(tmp_path / "m.mha", np.zeros((4, 5, 6), bool), Grid((4, 5, 6), (1.0, 1.0, 1.0)))
    assert list(tmp_path.iterdir()) == []


def truncated_gzip(path):
    nib.save(nib.Nifti1Image(RNG.integers(0, 30000, (40, 40, 40)).astype(np.int16), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:5000])


def truncated_plain(path):
    nib.save(nib.Nifti1Image(VOLUME, np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:400])


def four_dimensional(path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 3), np.int16), np.eye(4)), path)


def singular(path):
    image = nib.Nifti1Image(VOLUME, np.eye(4))
    image.header.set_sform(np.diag([1, 0, 1, 1]), code=1)
    image.header.set_qform(None, code=0)
    image._affine = np.diag([1.0, 0, 1, 1])
    nib.save(image, path)


def colour(path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), np.eye(4)), path)


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("a.nii.gz", lambda path: None, "no such file"),
        ("a.nii.gz", lambda path: path.write_bytes(b""), "cannot be read as NIfTI"),
        ("a.nii.gz", lambda path: path.write_bytes(b"not an image at all" * 40), "cannot be read as NIfTI"),
        ("a.nii", lambda path: path.write_bytes(bytes(348)), "cannot be read as NIfTI"),
        ("a.nii.gz", lambda path: path.write_bytes(gzip.compress(b"x" * 1000)), "cannot be read as NIfTI"),
        ("a.nii.gz", truncated_gzip, "may be truncated"),
        ("a.nii", truncated_plain, "may be truncated"),
        ("a.nii.gz", four_dimensional, "4 dimensions"),
        ("a.nii", singular, "affine is singular"),
        ("a.nii", colour, "colour or complex"),
        ("a.mha", lambda path: path.write_bytes(b"x"), "'.mha' are not read; known: .nii.gz"),
    ],
)
def test_a_broken_file_is_a_data_error_that_names_it(tmp_path, name, make, says):
    make(tmp_path / name)
    with pytest.raises(DataError, match=says) as told:
        read_image(tmp_path / name)
    assert str(tmp_path / name) in str(told.value)


def test_a_series_is_refused_with_the_way_out(tmp_path):
    four_dimensional(tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="one file each"):
        read_image(tmp_path / "a.nii.gz")


def test_nan_and_infinite_voxels_are_counted_and_refused_or_replaced(tmp_path, nifti):
    array = VOLUME.astype(np.float32)
    array[0, 0, :3] = [np.nan, np.inf, -np.inf]
    path = nifti(tmp_path / "a.nii.gz", array)
    with pytest.raises(DataError, match="3 of 120 voxels are NaN or infinite"):
        read_image(path)
    image, notes = read_image(path, on_nonfinite="replace")
    assert image.array[0, 0, 0, 0] == VOLUME.reshape(-1)[3:].min()
    assert notes == "3 non-finite voxels replaced"


def test_an_image_of_nothing_but_nan_is_never_replaced(tmp_path, nifti):
    path = nifti(tmp_path / "a.nii.gz", np.full((2, 2, 2), np.nan, np.float32))
    with pytest.raises(DataError, match="8 of 8"):
        read_image(path, on_nonfinite="replace")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0, 1, 0.5], "1 voxels do not, for example 0.5"),
        ([0, -1, 2], "negative values, for example -1"),
        ([0, np.nan, 1], "NaN or infinity"),
    ],
)
def test_what_is_no_label_is_refused_with_an_example(tmp_path, nifti, values, says):
    path = nifti(tmp_path / "labels.nii.gz", np.array(values, np.float32).reshape(3, 1, 1))
    with pytest.raises(DataError, match=says) as told:
        read_labels(path)
    assert str(path) in str(told.value)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.int32, np.uint8])
def test_labels_of_any_type_become_the_smallest_integers(tmp_path, nifti, kind):
    array, _ = read_labels(nifti(tmp_path / "labels.nii.gz", np.array([0, 3, 117], kind).reshape(3, 1, 1)))
    assert array.dtype == np.uint8
    assert array.ravel().tolist() == [0, 3, 117]


def test_rounding_of_a_scaled_header_is_no_fraction(tmp_path, nifti):
    array, _ = read_labels(
        nifti(tmp_path / "l.nii.gz", np.array([0, 2.9999998, 1], np.float64).reshape(3, 1, 1))
    )
    assert array.ravel().tolist() == [0, 3, 1]
