"""What ``sam-med3d`` cannot be asked: images, prompts and boxes that cannot be meant."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from sam_med3d_world import ask, clicked, volume  # noqa: E402

from medeval.types import DataError, EvaluatorFailure, Grid, Image, Prompt  # noqa: E402


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image(np.zeros((1, 40, 40)), Grid((40, 40), (1.0, 1.0))), "2D image came to SAM-Med3D.*sam-med2d"),
        (Image(np.zeros((3, 9, 9, 9)), Grid((9, 9, 9), (1.0,) * 3)), "3 channels.*say which"),
        (volume(unit="px"), "no spacing in mm"),
        (volume(spacing=(0.0007, 0.0007, 0.005)), "is it in mm"),
        (volume(spacing=(700.0, 700.0, 5000.0)), "is it in mm"),
        (volume(affine=np.diag([1.0, 1.0, 1.0, 1.0])), "contradicts the affine"),
        (volume(affine=np.diag([-1.5, 1.5, 1.5, 1.0])), "L, A, S; R, A, S is expected"),
        (Image(np.zeros((1, 9, 9, 8)), Grid((9, 9, 9), (1.0,) * 3)), r"\(channels, R, A, S\) is expected"),
        (volume(dtype=np.complex64), "numbers are expected"),
    ],
    ids=["2D", "channels", "pixels", "metres", "micrometres", "spacing", "orientation", "shape", "complex"],
)
def test_a_volume_that_cannot_be_meant_is_told(med3d, image, message):
    with pytest.raises(DataError, match=message):
        med3d().encode(image)


def test_a_channel_may_be_chosen(med3d):
    array = np.random.default_rng(0).normal(100, 60, (4, 40, 40, 40))
    image = Image(array, Grid((40, 40, 40), (1.5, 1.5, 1.5)))
    assert med3d(channel=2).encode(image).values is not None
    with pytest.raises(DataError, match="channel 7 was asked for"):
        med3d(channel=7).encode(image)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (clicked([40, 20, 20]), r"click .* lies outside the volume of \(40, 40, 40\)"),
        (clicked([20, -1, 20]), "lies outside"),
        (Prompt("x"), "without a click"),
        (Prompt("x", points=np.zeros((2, 3), int), labels=np.ones(1, int)), "2 points with 1 labels"),
        (Prompt("x", mask=np.zeros((40, 40, 40), bool)), "empty mask"),
        (Prompt("x", mask=np.ones((4, 40, 40), bool)), "mask prompt of shape"),
        (clicked([2, 2, 2], logits=np.zeros((16, 16, 16))), "did not return"),
        (
            clicked([2, 2, 2], logits={"begin": np.zeros((1, 3)), "logits": np.zeros((1, 8, 8, 8))}),
            "came from this model",
        ),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_told(med3d, prompt, message):
    with pytest.raises(EvaluatorFailure, match=message):
        ask(med3d(), volume(), prompt)


@pytest.mark.parametrize("box", [[[5, 5, 5], [5, 9, 9]], [[50, 5, 5], [60, 9, 9]], [[5, 5], [9, 9]]])
def test_a_box_that_cannot_be_meant_is_told(med3d, box):
    with pytest.raises(EvaluatorFailure, match="box"):
        ask(med3d(patch="target"), volume(), Prompt("x", box=np.array(box)))
