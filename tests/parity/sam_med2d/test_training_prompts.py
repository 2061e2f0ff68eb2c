"""Prompts of training against the official utils.py: its generator is another, so what may be drawn is compared."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medeval_models.sam_med2d.training import boxes, error_points, first_points, shifted_boxes  # noqa: E402
from tests.parity.sam_med2d.cases import arrays  # noqa: E402

CASE = arrays("prompts")
TARGETS = torch.from_numpy(CASE["masks"].astype(np.float32))[:, None]


def test_boxes_are_those_of_the_largest_component():
    official = np.concatenate([CASE[f"box_eval_{number}"] for number in range(3)])
    assert boxes(TARGETS).numpy().tolist() == official.tolist()


def test_a_box_of_a_mask_in_two_parts_holds_the_larger_one():
    target = torch.zeros(1, 1, 20, 20)
    target[0, 0, 2:4, 2:4] = 1
    target[0, 0, 9:15, 8:12] = target[0, 0, 15, 12] = 1  # joined at a corner
    assert boxes(target).tolist() == [[8, 9, 13, 16]]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_shifts_are_drawn_from_what_the_official_ones_are(number):
    box = CASE[f"box_eval_{number}"][0]
    most = min(5, int(5 * 0.1 * min(box[2] - box[0], box[3] - box[1])))
    allowed = set(range(-most, most))
    for seed in range(3):  # the official draws
        moved = CASE[f"box_train_seed{seed}_{number}"][0] - box
        assert moved[:2].tolist() == moved[2:].tolist()
        assert set(moved.astype(int).tolist()) <= allowed
    torch.manual_seed(0)
    drawn = torch.cat([shifted_boxes(TARGETS[[number]]) for _ in range(200)]).numpy() - box
    assert (drawn[:, :2] == drawn[:, 2:]).all()
    assert set(drawn.astype(int).ravel().tolist()) == allowed


def test_a_first_point_lies_on_the_mask_as_the_official_one_does():
    for number, mask in enumerate(CASE["masks"]):
        x, y = CASE[f"init_points1_seed0_{number}_coords"][0].astype(int)
        assert mask[y, x] == CASE[f"init_points1_seed0_{number}_labels"][0] == 1
    points, labels = first_points(TARGETS)
    assert points.shape == (3, 1, 2)
    assert (labels == 1).all()
    x, y = points[:, 0].long().T
    assert (TARGETS[torch.arange(3), 0, y, x] == 1).all()


def wrong(x, y, number):
    """Whether the fixture's prediction is wrong there, and the truth."""
    predicted, truth = CASE["click_pred"][number, 0, y, x], CASE["click_gt"][number, 0, y, x]
    return (predicted > 0.5) != (truth > 0.5), truth


@pytest.mark.parametrize("count", [1, 3, 9])
def test_the_official_clicks_lie_on_errors_with_the_truth_as_label(count):
    for number in range(3):
        for (x, y), label in zip(
            CASE[f"click{count}_seed0_coords"][number],
            CASE[f"click{count}_seed0_labels"][number],
            strict=True,
        ):
            assert wrong(x, y, number) == (True, label)


def test_our_clicks_lie_on_errors_with_the_truth_as_label():
    logits, truth = (torch.from_numpy(CASE[name]).float() for name in ("click_pred", "click_gt"))
    logits = torch.where(logits > 0.5, 1.0, -1.0)
    counts = set()
    for seed in range(20):
        torch.manual_seed(seed)
        points, labels = error_points(logits, truth)
        counts.add(points.shape[1])
        for number in range(3):
            for (x, y), label in zip(points[number].long().tolist(), labels[number].tolist(), strict=True):
                assert wrong(x, y, number) == (True, label)
    assert counts == {1, 3, 5, 9}


def test_with_nothing_wrong_points_are_ignored_ones():
    assert (CASE["click_noerror_256_labels"] == -1).all()
    logits = 2 * TARGETS - 1
    points, labels = error_points(logits, TARGETS)
    assert (labels == -1).all()
    assert ((points >= 0) & (points < 64)).all()


def test_a_generated_point_is_of_the_upsampled_error_and_the_mask_prompt_a_probability():
    low, truth = torch.from_numpy(CASE["genpoint_low_res"]), CASE["click_gt"]
    whole = torch.nn.functional.interpolate(low, (64, 64), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(CASE["genpoint_masks"], whole.numpy(), atol=1e-5)
    np.testing.assert_allclose(CASE["genpoint_mask_inputs"], low.sigmoid().numpy(), atol=1e-6)
    for number in range(3):
        (x, y), label = CASE["genpoint_seed0_coords"][number, 0], CASE["genpoint_seed0_labels"][number, 0]
        inside = whole[number, 0, y, x] > 0
        assert bool(inside) != bool(truth[number, 0, y, x])
        assert label == truth[number, 0, y, x]
