"""``sam-med3d`` on volumes as users have them: sizes, spacings, types, orientations, memory."""

import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from sam_med3d_world import ask, clicked, volume  # noqa: E402

from medeval.types import DataError, Grid, Image  # noqa: E402
from medeval_models import sam_med3d  # noqa: E402


@pytest.mark.parametrize("patch", ["clicks", "tiled"])
@pytest.mark.parametrize("restore", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((60, 64, 9), (0.7, 0.7, 5.0)),  # anisotropic, thick slices
        ((20, 20, 5), (1.0, 1.0, 1.0)),  # tiny
        ((20, 20, 1), (1.0, 1.0, 5.0)),  # a single slice in a volume's file
        ((1, 1, 1), (1.5, 1.5, 1.5)),
        ((90, 20, 20), (1.5, 2.0, 0.4)),
    ],
)
def test_volumes_of_any_size_and_spacing(med3d, shape, spacing, patch, restore):
    image = volume(shape, spacing)
    if shape == (1, 1, 1):
        with pytest.raises(DataError, match="cannot be normalised"):
            ask(med3d(patch=patch), image, clicked([0, 0, 0]))
        return
    ends = [n - 1 for n in shape]
    for answer in ask(med3d(patch=patch, restore=restore), image, clicked([0, 0, 0]), clicked(ends)):
        assert answer.mask.shape == shape


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float64, bool])
def test_intensities_of_any_type(med3d, dtype):
    image = volume(dtype=dtype)
    if dtype is bool:
        with pytest.raises(DataError, match="no differing voxels above 0"):
            ask(med3d(), image, clicked([20, 20, 20]))
        return
    (answer,) = ask(med3d(), image, clicked([20, 20, 20]))
    assert answer.mask.shape == (40, 40, 40)


def test_padding_of_minus_1024_takes_no_part_in_the_normalisation(med3d):
    plain = volume(dtype=np.int16)
    array = plain.array.copy()
    array[:, 30:] = -1024
    shown = med3d().encode(Image(array, plain.grid)).patch((4, 4, 4))
    positive = array[0, 4:36, 4:36, 4:36][array[0, 4:36, 4:36, 4:36] > 0].astype(float)
    wanted = (-1024 - positive.mean()) / positive.std(ddof=1)
    assert shown[-1, 0, 0] == pytest.approx(wanted, rel=1e-5)


def test_a_click_where_nothing_lies_above_zero_is_told(med3d):
    image = volume()
    with pytest.raises(DataError, match="shift intensities"):
        ask(med3d(), Image(np.full_like(image.array, -1024), image.grid), clicked([20, 20, 20]))


def test_numbers_that_are_none_count_as_padding(med3d):
    image = volume()
    image.array[0, 10:12] = np.nan
    image.array[0, 13] = np.inf
    (answer,) = ask(med3d(), image, clicked([20, 20, 20]))
    assert np.isfinite(answer.logits["logits"]).all()


def test_an_oblique_volume_stays_oblique(med3d):
    from scipy.spatial.transform import Rotation

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [12, -9, 15], degrees=True).as_matrix() * 1.5
    image = volume(affine=affine)
    plain = volume()
    (one,), (other,) = (ask(med3d(), each, clicked([20, 20, 20])) for each in (image, plain))
    np.testing.assert_array_equal(one.mask, other.mask)


def test_the_face_that_the_file_stores_first_is_where_resampling_starts(med3d):
    shape, spacing = (41, 40, 40), (1.3, 1.5, 1.5)
    stored = np.array([[0.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    there = med3d().encode(volume(shape, spacing, source_orientation=stored)).grid
    plain = med3d().encode(volume(shape, spacing)).grid
    assert not np.allclose(there.points(np.array([[3, 3, 3]])), plain.points(np.array([[3, 3, 3]])))


def test_a_structure_wider_than_the_patch_is_cut_in_one_patch_and_whole_in_tiles(med3d, monkeypatch):
    def full(embedding, points, masks):
        return sam_med3d.sam.Decoded(torch.ones(len(masks), 1, 16, 16, 16), None)

    image = volume((96, 20, 20))
    answers = {}
    for patch in ("clicks", "tiled"):
        adapter = med3d(patch=patch)
        monkeypatch.setattr(adapter.network, "decode", full)
        (answers[patch],) = ask(adapter, image, clicked([48, 10, 10]))
    assert answers["tiled"].mask.all()
    assert answers["clicks"].mask.any(axis=(1, 2)).sum() == 32


def test_two_thousand_slices_cost_no_more_memory_than_few(med3d):
    def peak(slices):
        adapter = med3d()
        shape = (96, 96, slices)
        array = np.broadcast_to(
            np.random.default_rng(0).normal(100, 9, (1, 96, 96, 1)).astype(np.float32), (1, *shape)
        )
        encoded = adapter.encode(Image(array, Grid(shape, (1.0, 1.0, 1.0))))
        tracemalloc.start()
        (answer,) = adapter.segment(encoded, [clicked([48, 48, slices // 2])])
        found = tracemalloc.get_traced_memory()[1] - answer.mask.nbytes
        tracemalloc.stop()
        return found

    peak(60)  # imports
    assert peak(2000) <= 1.2 * peak(60)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_mr_without_calibrated_intensities_is_answered_alike_at_any_scale(med3d, dtype):
    plain = volume(dtype=dtype)
    (one,) = ask(med3d(), plain, clicked([20, 20, 20]))
    scaled = Image(
        (plain.array * 7).astype(dtype), plain.grid
    )  # another scanner's gain; what is above 0 stays so
    (other,) = ask(med3d(), scaled, clicked([20, 20, 20]))
    np.testing.assert_allclose(one.logits["logits"], other.logits["logits"], atol=1e-3)


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (0.4, 0.4, 0.4), (3.0, 3.0, 5.0)])
def test_a_structure_of_one_voxel_is_asked_about(med3d, spacing):
    """Also where it falls between the voxels of 1.5 mm and is lost there."""
    image = volume((40, 40, 40), spacing)
    place = np.array([21, 18, 20])
    (answer,) = ask(med3d(patch="target"), image, clicked(place, box=np.array([place, place + 1])))
    (begin,) = answer.logits["begin"]
    inside = np.array(spacing) * place / 1.5 - begin
    assert ((inside > 12) & (inside < 20)).all()  # in the middle of the patch of 32
    assert answer.mask.shape == (40, 40, 40)


@pytest.mark.parametrize(("patch", "asked"), [("clicks", 2), ("tiled", 2)])
def test_components_far_apart_are_each_looked_at(med3d, monkeypatch, patch, asked):
    """A click on each of two components that no patch holds together: neither answer erases the other."""
    adapter = med3d(patch=patch)

    def ball(embedding, points, masks):
        logits = torch.full((len(masks), 1, 16, 16, 16), -1.0)
        logits[..., 6:10, 6:10, 6:10] = 1.0
        return sam_med3d.sam.Decoded(logits, torch.zeros(len(masks), 1))

    monkeypatch.setattr(adapter.network, "decode", ball)
    encoded = adapter.encode(volume((120, 32, 32)))
    (first,) = adapter.segment(encoded, [clicked([16, 16, 16])])
    (both,) = adapter.segment(encoded, [clicked([16, 16, 16], [100, 16, 16], logits=first.logits)])
    assert len(both.logits["begin"]) == asked
    assert both.mask[16, 16, 16]
    assert both.mask[90:110, 16, 16].any()
    assert not both.mask[40:80].any()
