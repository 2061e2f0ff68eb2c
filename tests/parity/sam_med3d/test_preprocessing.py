"""Preprocessing and its inverse: the official numbers, the whole official loop, and a real label map there and back."""

import numpy as np
import pytest

pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from medeval_models.sam_med3d.grids import VolumeGrid, signed_distance  # noqa: E402
from medeval_models.sam_med3d.patches import (  # noqa: E402
    FlatPatch,
    bounds,
    centre_begin,
    crop_begin,
    normalise,
    shifted_windows,
)
from tests.parity.sam_med3d.cases import SHARED, arrays, assert_close, filled_model, oriented, table  # noqa: E402

CASES = pytest.mark.parametrize("name", ["ct_ail", "ct_lps", "mr_ras_pad"])
AMOS = SHARED / "data" / "amos_toy" / "amos_0013.nii.gz"


def box_of(mask):
    at = np.argwhere(mask)
    return np.array([at.min(axis=0), at.max(axis=0) + 1])


def case_of(name):
    case = arrays(f"preprocess_{name}")
    grid, turn = oriented(case["affine"], case["image"].shape, float(case["target_spacing"][0]))
    return case, grid, turn


@CASES
def test_resampling_keeps_the_official_size_type_and_values(name):
    case, grid, turn = case_of(name)
    assert grid.shape == tuple(case["canonical_shape"])
    image = grid.image(turn(case["image"]), (0, 0, 0), grid.shape)
    assert image.dtype == case["resampled_image"].dtype
    np.testing.assert_array_equal(image, turn_like(case, "resampled_image"))
    target = turn(case["label"]) == case["category"]
    label = grid.labels(target, (0, 0, 0), grid.shape)
    np.testing.assert_array_equal(label, turn_like(case, "resampled_label") > 0)


def turn_like(case, name):
    """A resampled array of the fixture in the order right, anterior, superior."""
    return oriented(case["resampled_affine"], case[name].shape)[1](case[name])


@CASES
def test_the_patch_around_the_target_and_its_way_back(name):
    case, grid, turn = case_of(name)
    size = int(case["crop_size"])
    target = turn(case["label"]) == case["category"]
    resampled = grid.labels(target, (0, 0, 0), grid.shape)
    begin = crop_begin(box_of(resampled), size)
    padding, cropping = bounds(begin, size, grid.shape)
    assert padding == tuple(case["padding"])
    assert cropping == tuple(case["cropping"])
    assert_close(normalise(grid.image(turn(case["image"]), begin, (size,) * 3)), case["roi_image"], 1e-4)
    np.testing.assert_array_equal(grid.labels(target, begin, (size,) * 3), case["roi_label"] > 0)
    back = np.zeros(target.shape, np.uint8)
    block, values = grid.restore_labels(case["roi_pred"], begin)
    back[block] = values
    np.testing.assert_array_equal(back, turn(case["pred_on_original_xyz"]))


@pytest.mark.parametrize("index", [0, 1])
def test_the_windows_of_the_older_script(index):
    case = table("case_sliding_window")[index]
    box = np.array([case["label_box_lo"], case["label_box_hi"]])
    windows = shifted_windows(box, case["shape"], case["crop"])
    listed = [
        [list(w.bounds.padding), list(w.bounds.cropping), list(w.in_volume), list(w.in_window)]
        for w in windows
    ]
    keys = ("padding", "cropping", "ori_roi", "pred_roi")
    assert listed == [[w[key] for key in keys] for w in case["rounded"]]
    assert listed[-1] == [case["center"][0][key] for key in keys]


def test_the_whole_official_loop_with_its_clicks_replayed():
    torch = pytest.importorskip("torch")
    case = arrays("end_to_end")
    grid, turn = oriented(case["affine"], case["image"].shape)
    image, label = turn(case["image"]), turn(case["label"])
    model = filled_model("small_c_end_to_end")
    size = model.image_size
    final = np.zeros(label.shape, np.uint8)
    for index, category in enumerate(case["classes"].tolist()):
        resampled = grid.labels(label == category, (0, 0, 0), grid.shape)
        begin = crop_begin(box_of(resampled), size)
        with torch.inference_mode():
            patch = torch.from_numpy(normalise(grid.image(image, begin, (size,) * 3)))[None, None]
            embedding = model.image_encoder(patch)
            low = torch.zeros(1, 1, *[model.low_res_size] * 3)
            clicks = torch.from_numpy(case["clicks"][index])
            for count in range(1, len(clicks) + 1):
                points = (clicks[None, :count, :3].float(), clicks[None, :count, 3])
                low = model.decode(embedding, points, low).logits
            mask = (model.upscale(low)[0, 0] > 0).numpy()
        assert_close(low[0, 0], case["low_res_last"][index])
        assert (mask == case["roi_mask"][index]).mean() >= 0.995
        block, values = grid.restore_labels(mask, begin)
        final[block][values] = category
    expected = turn(case["prediction_zyx"].transpose(2, 1, 0))
    assert (final == expected).mean() >= 0.995


# -- the inverse ----------------------------------------------------------------------------------------------------


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def turned_file(label, axes, flips):
    """A label map and affine in another order of storage."""
    array, affine = np.asarray(label.dataobj).astype(np.uint8), label.affine
    change = np.column_stack([axes, flips]).astype(float)
    turned = nibabel.orientations.apply_orientation(array, change)
    return turned, affine @ nibabel.orientations.inv_ornt_aff(change, array.shape)


@pytest.mark.skipif(not AMOS.is_file(), reason="../shared/data/amos_toy is not there")
@pytest.mark.parametrize(
    ("axes", "flips"),
    [
        pytest.param((0, 1, 2), (1, 1, 1), marks=pytest.mark.slow),
        ((2, 0, 1), (-1, 1, -1)),
        pytest.param((1, 2, 0), (1, -1, -1), marks=pytest.mark.slow),
    ],
)
def test_a_label_map_comes_back_from_the_network_s_grid(axes, flips):
    array, affine = turned_file(nibabel.load(AMOS), axes, flips)
    grid, turn = oriented(affine, array.shape)
    labels = turn(array)
    spacing = [axis.spacing for axis in grid.axes]
    best = np.zeros(labels.shape, np.float32)
    found = np.zeros(labels.shape, np.uint8)
    for value in np.unique(labels[labels > 0]).tolist():
        distance = signed_distance(labels == value, spacing, limit=3.0)
        low, high = box_of(grid.labels(labels == value, (0, 0, 0), grid.shape)) + np.array([[-4], [4]])
        patch = grid.field(distance, low, high - low, outside=-3.0)
        block, field = grid.restore_field(patch, low, smoothness=3)
        nearer = field > np.maximum(best[block], 0)
        found[block][nearer] = value
        best[block][nearer] = field[nearer]
    scores = {
        value: dice(found == value, labels == value)
        for value in np.unique(labels[labels > 0]).tolist()
        if np.count_nonzero(labels == value) > 200
    }
    assert len(scores) == 15
    assert min(scores.values()) >= 0.98, scores


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 5.0), (1.5, 1.5, 1.5), (3.0, 1.0, 0.9)])
@pytest.mark.parametrize("flipped", [(False, False, False), (True, False, True)])
def test_a_point_of_the_volume_is_found_again(spacing, flipped):
    grid = VolumeGrid.of((30, 41, 12), spacing, flipped=flipped)
    points = np.array([[0, 0, 0], [29, 40, 11], [13, 7, 5]])
    there = grid.points(points)
    back = np.stack([axis.source(column) for axis, column in zip(grid.axes, there.T, strict=True)], axis=1)
    np.testing.assert_allclose(back, points, atol=1e-6)
    assert ((there >= -0.5) & (there < np.array(grid.shape) - 0.5)).all()


@pytest.mark.parametrize(
    ("size", "box", "begin"),
    [
        (16, (4, 9), -2),  # an even cube around an odd box: one voxel more at the low end
        (16, (4, 8), -2),
        (15, (4, 9), -1),
        (15, (4, 8), -2),
        (16, (40, 100), 62),  # a box larger than the cube: its middle
    ],
)
def test_where_a_patch_begins(size, box, begin):
    assert crop_begin(np.array([[box[0]] * 3, [box[1]] * 3]), size) == (begin,) * 3


@pytest.mark.parametrize(("n", "begin"), [(10, -3), (11, -3), (16, 0), (20, 2), (21, 3)])
def test_the_middle_of_a_volume(n, begin):
    assert centre_begin((n,) * 3, 16) == (begin,) * 3


def test_a_structure_of_one_voxel_keeps_a_box():
    grid = VolumeGrid.of((40, 40, 40), (0.5, 0.5, 0.5))
    box = grid.box(np.array([[10, 11, 12], [11, 12, 13]]))
    assert (box[1] - box[0] == 1).all()


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (np.zeros((4, 4, 4), np.int16), "0 voxels above 0"),
        (np.full((4, 4, 4), -1024, np.int16), "0 voxels above 0"),
        (np.full((4, 4, 4), 7.0, np.float32), "the same intensity, 7"),
    ],
)
def test_a_patch_that_cannot_be_normalised_is_told(patch, message):
    with pytest.raises(FlatPatch, match=message):
        normalise(patch)


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((4, 4), (1.0, 1.0), "three axes"),
        ((4, 0, 4), (1.0, 1.0, 1.0), "three axes with voxels"),
        ((4, 4, 4), (1.0, 0.0, 1.0), "three lengths in mm"),
        ((4, 4, 4), (1.0, float("nan"), 1.0), "three lengths in mm"),
    ],
)
def test_a_grid_that_cannot_be_is_told(shape, spacing, message):
    with pytest.raises(ValueError, match=message):
        VolumeGrid.of(shape, spacing)
