"""Published protocols: SAM-Med2D's frame, boxes and points against its own code's figures, and what a preset fixes."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from medeval.interaction import largest_component, mixed_points, tight_box
from medeval.suite import Suite
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.prompted_segmentation.frames import bilinear, framed, stretch, unframed
from medeval.tasks.prompted_segmentation.presets import presets
from medeval.types import Case, Grid, Image, MaskStack, Segmentation, rng

PARITY = Path(__file__).parents[1] / "parity" / "sam_med2d"


@pytest.fixture(scope="module")
def transforms():
    return np.load(PARITY / "case_transforms.npz")


@pytest.mark.parametrize("name", ["50x80", "97x70"])
def test_a_stretched_mask_is_the_official_loaders(transforms, name):
    assert np.array_equal(stretch(transforms[f"{name}_mask"], 64), transforms[f"{name}_out_mask"])


@pytest.mark.parametrize("name", ["50x80", "97x70"])
def test_logits_come_back_as_the_official_postprocessing_does(transforms, name):
    low = transforms[f"{name}_low_res"][0, 0].astype(np.float64)
    expected = transforms[f"{name}_postprocessed"][0, 0]
    assert np.allclose(bilinear(bilinear(low, (64, 64)), expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_box_of_the_largest_component_is_the_official_one(number):
    prompts = np.load(PARITY / "case_prompts.npz")
    (top, left), (bottom, right) = tight_box(largest_component(prompts["masks"][number].astype(bool)))
    assert [left, top, right, bottom] == prompts[f"box_eval_{number}"][0].tolist()


@pytest.mark.parametrize(("n", "hits"), [(1, 1), (3, 1), (5, 2), (9, 4)])
def test_points_at_once_are_half_on_the_structure(n, hits):
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:9, 4:12] = True
    points, labels = mixed_points(mask, n, rng("test", n))
    assert len(points) == n
    assert labels.sum() == hits
    assert (mask[tuple(points.T)] == labels.astype(bool)).all()


def _case(shape):
    mask = np.zeros(shape, dtype=bool)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = True
    image = Image(np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape), Grid(shape, (1.0, 1.0)))
    return Case("a", None, {"image": image}, {"structures": MaskStack({"square": mask}, shape)})


def test_an_image_below_the_frame_in_both_directions_is_left_to_the_adapter():
    case = _case((40, 60))
    assert framed(case, 64) is case


def test_an_answer_of_the_frame_comes_back_on_the_images_grid():
    case = _case((100, 50))
    seen = framed(case, 64)
    mask = seen.reference["structures"].mask("square")
    soft = np.where(mask, 0.9, 0.1).astype(np.float32)
    for answer in (Segmentation(mask), Segmentation(mask, probabilities=soft)):
        back = unframed(answer, (100, 50)).mask
        truth = case.reference["structures"].mask("square")
        assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.95


def test_the_preset_is_the_published_protocol():
    task = PromptedSegmentation(preset="sam-med2d", metrics=("hd95",))
    assert (task.frame, task.box_rule, task.point_rule, task.decimals) == (
        256,
        "largest-component",
        "sam-med2d",
        4,
    )
    assert task.metrics == ("dice:empty=1", "iou:empty=1", "hd95")


def test_a_preset_cannot_be_bent():
    with pytest.raises(ValidationError, match="preset 'sam-med2d' fixes click_rule"):
        PromptedSegmentation(preset="sam-med2d", click_rule="ritm")
    with pytest.raises(ValidationError, match="unknown preset 'sam-med3'"):
        PromptedSegmentation(preset="sam-med3")


@pytest.mark.parametrize("preset", sorted(presets()))
def test_a_resolved_suite_with_a_preset_reads_back(preset):
    data = {
        "datasets": {"brain": {"format": "mni152", "slices": 1}},
        "models": {"box": {"adapter": "box-as-mask"}},
        "tasks": [{"task": "prompted-segmentation", "preset": preset}],
    }
    suite = Suite.from_dict(data)
    assert Suite.from_dict(suite.resolved()).tasks == suite.tasks
