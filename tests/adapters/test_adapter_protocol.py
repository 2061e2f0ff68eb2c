"""What every promptable adapter must keep to, in 2D and 3D."""

import subprocess
import sys

import numpy as np
import pytest

from medeval.types import Capabilities, Grid, Image, Prompt
from medeval_adapters.chan_vese import ChanVeseInBox
from medeval_adapters.floors import BoxAsMask, Empty
from medeval_adapters.geodesic import Geodesic
from medeval_adapters.random_walker import RandomWalker
from medeval_adapters.region_growing import RegionGrowing

CLASSICAL = [RandomWalker, RegionGrowing, Geodesic, ChanVeseInBox]
ALL = [*CLASSICAL, BoxAsMask, Empty]
SHAPES = [(40, 46), (16, 18, 20)]


def blob(shape, radius=6.0, noise=0.2, channels=1, seed=0):
    """A bright ball off the centre of a noisy image: (Image, truth)."""
    grid = np.indices(shape)
    truth = sum((axis - (n / 2 - 1)) ** 2 for axis, n in zip(grid, shape, strict=True)) <= radius**2
    array = np.random.default_rng(seed).normal(0, noise, (channels, *shape)) + truth
    return Image(array.astype(np.float32), Grid(shape, (1.0,) * len(shape))), truth


def prompt(truth, *, box=False, points=(), labels=None, **more):
    at = np.argwhere(truth)
    return Prompt(
        "ball",
        box=np.array([at.min(axis=0), at.max(axis=0) + 1]) if box else None,
        points=np.array(points, dtype=np.int64).reshape(-1, truth.ndim) if len(points) else None,
        labels=np.array(labels if labels is not None else [1] * len(points)) if len(points) else None,
        **more,
    )


def prompts_for(adapter, truth):
    """Box, clicks and both, with mask and logits of an earlier round, as far as the adapter takes them."""
    middle = np.argwhere(truth).mean(axis=0).astype(int)
    corner = [0] * truth.ndim
    made = [prompt(truth, box=True)]
    if "points" in adapter.takes.prompts:
        made += [
            prompt(truth, points=[middle]),
            prompt(truth, points=[middle, corner], labels=[1, 0]),
            prompt(truth, box=True, points=[middle, corner], labels=[1, 0], mask=truth, logits=None),
        ]
    return made


@pytest.mark.parametrize("cls", ALL)
def test_an_adapter_says_what_it_is(cls):
    assert isinstance(cls.takes, Capabilities)
    assert cls.baseline is True
    assert len(cls.description) > 10


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls", ALL)
def test_masks_are_bool_of_the_images_shape_and_one_a_prompt(cls, shape):
    image, truth = blob(shape)
    adapter = cls()
    asked = prompts_for(adapter, truth)
    answers = adapter.segment(adapter.encode(image), asked)
    assert len(answers) == len(asked)
    assert all(answer.mask.dtype == bool and answer.mask.shape == shape for answer in answers)
    assert adapter.segment(adapter.encode(image), []) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls", ALL)
def test_a_batch_answers_as_prompts_one_by_one_and_again(cls, shape):
    image, truth = blob(shape)
    adapter = cls()
    asked = prompts_for(adapter, truth)
    encoded = adapter.encode(image)
    together = [answer.mask for answer in adapter.segment(encoded, asked)]
    backwards = [answer.mask for answer in adapter.segment(encoded, asked[::-1])][::-1]
    singly = [cls().segment(cls().encode(image), [one])[0].mask for one in asked]
    for one, other, third in zip(together, singly, backwards, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls", ALL)
def test_the_input_is_left_as_it_was(cls, shape):
    image, truth = blob(shape)
    image.array.setflags(write=False)
    adapter = cls()
    asked = prompts_for(adapter, truth)
    for one in asked:
        for array in (one.box, one.points, one.labels, one.mask):
            if array is not None:
                array.setflags(write=False)
    adapter.segment(adapter.encode(image), asked)


ODD_IMAGES = {
    "constant": np.full((1, 20, 22), 7.0),
    "zero": np.zeros((1, 20, 22), np.uint8),
    "three channels": np.random.default_rng(0).integers(0, 255, (3, 20, 22), dtype=np.uint8),
    "one row": np.random.default_rng(0).random((1, 1, 30)),
    "one voxel": np.ones((1, 1, 1)),
    "two by two": np.arange(4.0).reshape(1, 2, 2),
    "not finite": np.where(np.random.default_rng(0).random((1, 20, 22)) < 0.1, np.nan, 1.0),
    "huge values": np.random.default_rng(0).random((1, 20, 22)) * 1e30,
    "flat volume": np.random.default_rng(0).random((1, 9, 8, 1)),
    "constant volume": np.ones((1, 6, 7, 8), np.int16),
    "small volume": np.random.default_rng(0).random((2, 6, 7, 8)),
}


@pytest.mark.parametrize("name", ODD_IMAGES)
@pytest.mark.parametrize("cls", ALL)
def test_odd_images_and_prompts_never_raise(cls, name):
    array = ODD_IMAGES[name]
    shape = array.shape[1:]
    image = Image(array, Grid(shape, (0.7, 2.5, 1.0)[: len(shape)]))
    low, high = np.zeros(len(shape), int), np.array(shape) - 1
    middle = np.array(shape) // 2
    boxes = [None, np.stack([low, high + 1]), np.stack([low, low + 1]), np.stack([middle, high + 1])]
    points = [[], [low], [high], [low, high, middle], [middle, middle]]
    asked = []
    for box in boxes:
        for chosen in points:
            for label in (0, 1):
                if box is None and not chosen:
                    continue
                labels = np.array([label] + [1 - label] * (len(chosen) - 1))[: len(chosen)]
                asked.append(
                    Prompt("x", box, np.array(chosen, int).reshape(-1, len(shape)), labels.astype(int))
                )
    adapter = cls()
    answers = adapter.segment(adapter.encode(image), asked)
    assert all(answer.mask.shape == shape and answer.mask.dtype == bool for answer in answers)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls", CLASSICAL)
def test_the_users_own_points_are_always_right(cls, shape):
    image, truth = blob(shape)
    adapter = cls()
    on, off = np.argwhere(~truth)[5], np.argwhere(truth)[7]
    (answer,) = adapter.segment(
        adapter.encode(image), [prompt(truth, box=True, points=[on, off], labels=[1, 0])]
    )
    assert answer.mask[tuple(on)]
    assert not answer.mask[tuple(off)]


@pytest.mark.parametrize("cls", CLASSICAL)
def test_a_structure_of_one_voxel_is_found_from_its_box(cls):
    image, _ = blob((20, 22), radius=0)
    truth = np.zeros((20, 22), bool)
    truth[0, 21] = True
    (answer,) = cls().segment(cls().encode(image), [prompt(truth, box=True)])
    np.testing.assert_array_equal(answer.mask, truth)


@pytest.mark.parametrize("cls", ALL)
def test_background_points_alone_find_nothing(cls):
    image, truth = blob((20, 22))
    (answer,) = cls().segment(cls().encode(image), [prompt(truth, points=[[1, 1]], labels=[0])])
    assert not answer.mask.any()


@pytest.mark.parametrize("cls", CLASSICAL)
def test_channels_are_averaged(cls):
    image, truth = blob((40, 46), channels=3)
    mean = Image(image.array.mean(axis=0, keepdims=True), image.grid)
    asked = [prompt(truth, box=True)]
    (three,), (one,) = cls().segment(cls().encode(image), asked), cls().segment(cls().encode(mean), asked)
    np.testing.assert_array_equal(three.mask, one.mask)


def test_listing_the_adapters_loads_nothing_heavy():
    modules = ["chan_vese", "floors", "geodesic", "oracle", "predictions", "random_walker", "region_growing"]
    code = (
        f"import sys, importlib; [importlib.import_module('medeval_adapters.' + m) for m in {modules}]; "
        "print([m for m in ('skimage', 'torch', 'scipy.ndimage', 'nibabel', 'pandas', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
