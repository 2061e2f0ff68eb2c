"""Prompts on slices and refinements as RadioActive's own code placed them (tests/parity/interaction), arrays z, y, x."""

import json
from pathlib import Path

import numpy as np
import pytest

from medeval.interaction import radioactive, slices
from medeval.interaction.corrections import Round, next_correction
from medeval.types import rng

FOLDER = Path(__file__).parent.parent / "parity" / "interaction"
CASES = json.loads((FOLDER / "radioactive.json").read_text())["cases"]
SCRIBBLE_SEED = 11121  # the default of the class that the fixture calls


@pytest.fixture(scope="module")
def arrays():
    return np.load(FOLDER / "case_radioactive.npz")


def xyz(points):
    return points[:, ::-1].tolist()


def by_slice(boxes):
    """slice -> [x0, y0, x1, y1], as upstream writes boxes."""
    return {str(a[0]): [int(v) for v in (a[2], a[1], b[2], b[1])] for a, b in boxes}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n", [3, 5])
def test_points_and_boxes_in_n_slices_and_between(arrays, name, n):
    mask, case = arrays[f"{name}__gt"] > 0, CASES[name]
    drawn = slices.seed_slices(mask, n, axis=0)
    points, boxes = slices.points_on(mask, drawn, axis=0), slices.boxes_on(mask, drawn, axis=0)
    assert points.tolist() == case[f"points_cc_centres_{n}_zyx"]
    assert by_slice(boxes) == case[f"seed_boxes_{n}"]
    if case[f"point_interpolation_{n}"] is None:  # upstream cannot interpolate within one slice
        assert len(slices.interpolated_points(points, axis=0)) == 1
    else:
        assert xyz(slices.interpolated_points(points, axis=0)) == case[f"point_interpolation_{n}"]["xyz"]
        assert by_slice(slices.interpolated_boxes(boxes, axis=0)) == case[f"box_interpolation_{n}"]


@pytest.mark.parametrize("name", CASES)
def test_boxes_of_slices(arrays, name):
    mask, case = arrays[f"{name}__gt"] > 0, CASES[name]
    one = slices.boxes_on(mask, slices.seed_slices(mask, 1, axis=0), axis=0)
    every = slices.boxes_on(mask, slices.held_slices(mask, axis=0), axis=0)
    assert by_slice(one) == case["seed_box_1"]
    assert by_slice(every) == case["minimal_boxes"]
    assert by_slice(slices.sliced_box(mask, axis=0)) == case["box3d_sliced"]


@pytest.mark.parametrize("name", CASES)
def test_points_on_every_slice_and_at_random(arrays, name):
    mask, case = arrays[f"{name}__gt"] > 0, CASES[name]
    held = slices.held_slices(mask, axis=0)
    centres = slices.points_on(mask, held, axis=0, rule=slices.mass_point)
    assert centres.tolist() == case["centre_point_per_slice_zyx"]
    one = slices.random_points_per_slice(mask, 1, np.random.RandomState(1), axis=0)
    assert xyz(one) == case["random_1_per_slice_seed1"]["xyz"]
    five = slices.random_points(mask, 5, np.random.RandomState(1))
    assert five.tolist() == case["random_5_in_volume_seed1_zyx"]["zyx"]
    points, labels = slices.alternating_points_per_slice(mask, 3, np.random.RandomState(1), axis=0)
    expected = case["alternating_3_per_slice_seed1"]
    assert (xyz(points), labels.tolist()) == (expected["xyz"], expected["labels"])


@pytest.mark.parametrize("name", CASES)
def test_refinement_of_what_is_missed(arrays, name):
    truth, prediction = arrays[f"{name}__gt"] > 0, arrays[f"{name}__pred"] > 0
    points = radioactive.per_slice_of_missed(truth & ~prediction, axis=0)
    assert points.tolist() == CASES[name]["positive_refine_zyx"]
    wrong = np.argwhere(prediction != truth)
    drawn = wrong[np.random.RandomState(1).choice(len(wrong))]
    expected = CASES[name]["misclassified_3d_seed1"]
    assert ([drawn.tolist()], [int(truth[tuple(drawn)])]) == (expected["zyx"], expected["labels"])


@pytest.mark.parametrize("name", CASES)
def test_scribble_over_what_is_extra(arrays, name):
    truth, prediction = arrays[f"{name}__gt"] > 0, arrays[f"{name}__pred"] > 0
    case = CASES[name]
    assert radioactive.worst_plane(prediction & ~truth, axis=0) == (1, case["negative_slice_axis1"])
    if case["negative_points_on_fp_zx"] is None:
        return
    index, pick = case["negative_slice_axis1"], radioactive.upstream_pick(SCRIBBLE_SEED)
    drawn, _ = radioactive.scribble_on(truth[:, index], prediction[:, index], pick)
    assert drawn.tolist() == case["negative_scribble_voxels_zx"]
    state = Round(prediction, truth, np.empty((0, 3), int), (1.0, 1.0, 1.0), slice_axis=0)
    points, effort = radioactive.negative_points(state, np.random.RandomState(1), pick)
    assert points[:, [0, 2]].tolist() == case["negative_points_on_fp_zx"]
    assert (points[:, 1] == index).all()
    assert (effort.lines, effort.clicks) == (1, 0)
    assert effort.mm > 0


@pytest.mark.parametrize("rule", ["radioactive", "radioactive-seed-1"])
def test_the_rule_chooses_by_how_much_is_missed(arrays, rule):
    truth, prediction = arrays["solid__gt"] > 0, arrays["solid__pred"] > 0

    def label(shown, seed=0):
        state = Round(shown, truth, np.empty((0, 3), int), (1.0, 1.0, 1.0), slice_axis=0)
        return next_correction(state, rule, rng("refine", seed)).labels

    assert set(label(truth & prediction)) == {1}  # nothing extra: only what is missed can be shown
    assert set(label(truth | prediction)) == {0}
    assert {int(label(prediction, seed)[0]) for seed in range(20)} == {0, 1}
    right = Round(truth, truth, np.empty((0, 3), int), (1.0, 1.0, 1.0), slice_axis=0)
    assert next_correction(right, rule, rng("refine")) is None
