"""The classical methods do what they are for: a ball in noise is found from a box, and clicks do not make it worse."""

import numpy as np
import pytest
from test_adapter_protocol import CLASSICAL, blob, prompt

from medeval.interaction import next_click, tight_box
from medeval.types import Grid, Image, Prompt, rng
from medeval_adapters.floors import BoxAsMask, Empty
from medeval_adapters.geodesic import Geodesic, reached_from_foreground
from medeval_adapters.seeds import Seeds, plant
from medeval_adapters.shrinking import Shrink


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def session(adapter, image, truth, clicks, box):
    """Dice after the box (if any) and after each corrective click."""
    encoded = adapter.encode(image)
    mask, scores = np.zeros_like(truth), []
    start = tight_box(truth) if box else None
    points, labels = np.empty((0, truth.ndim), int), np.empty(0, int)
    for number in range(clicks + box):
        if number or not box:
            click = next_click(
                mask, truth, points, "centre-of-largest-error", rng(number), image.grid.spacing
            )
            if click is None:
                scores.append(scores[-1])
                continue
            points, labels = np.vstack([points, click.point]), np.append(labels, click.label)
        (answer,) = adapter.segment(encoded, [Prompt("ball", start, points, labels)])
        mask = answer.mask
        scores.append(dice(mask, truth))
    return scores


@pytest.mark.parametrize("noise", [0.1, 0.3])
@pytest.mark.parametrize(("shape", "radius"), [((96, 110), 22), ((36, 40, 44), 10)])
@pytest.mark.parametrize("cls", CLASSICAL)
def test_a_ball_is_found_from_its_box_and_five_clicks_hold_or_improve_it(cls, shape, radius, noise):
    image, truth = blob(shape, radius, noise)
    scores = session(cls(), image, truth, clicks=5, box=True)
    assert scores[0] > 0.8
    assert scores[-1] > scores[0] - 0.03


@pytest.mark.parametrize(("shape", "radius"), [((96, 110), 22), ((36, 40, 44), 10)])
@pytest.mark.parametrize("cls", CLASSICAL)
def test_five_clicks_alone_find_the_ball(cls, shape, radius):
    image, truth = blob(shape, radius, noise=0.2)
    scores = session(cls(), image, truth, clicks=5, box=False)
    assert scores[-1] > 0.8
    assert scores[-1] > scores[0] - 0.03


@pytest.mark.parametrize("cls", CLASSICAL)
def test_large_windows_are_solved_on_a_coarser_copy(cls):
    image, truth = blob((96, 110), 22, noise=0.1)
    options = {"max_voxels": 1500} if "max_voxels" in cls.__init__.__annotations__ else {}
    (answer,) = cls(**options).segment(cls(**options).encode(image), [prompt(truth, box=True)])
    assert dice(answer.mask, truth) > 0.8


def test_anisotropic_spacing_is_taken_into_account():
    flat = Image(np.ones((1, 21, 21)), Grid((21, 21), (1.0, 1.0)))
    tall = Image(np.ones((1, 21, 21)), Grid((21, 21), (4.0, 1.0)))
    asked = [Prompt("x", points=np.array([[10, 10], [14, 10], [10, 14]]), labels=np.array([1, 0, 0]))]
    sides = []
    for image in (flat, tall):
        (answer,) = Geodesic().segment(Geodesic().encode(image), asked)
        rows, columns = np.nonzero(answer.mask)
        sides.append((np.ptp(rows), np.ptp(columns)))
    assert sides[1][0] < sides[0][0]


@pytest.mark.parametrize("seed", range(5))
def test_every_voxel_goes_to_its_cheapest_seed(seed):
    """One run from all seeds against two runs, one from each kind."""
    from skimage.graph import MCP_Geometric

    noise = np.random.default_rng(seed)
    cost = (1 + noise.random((9, 10, 11)) * 5).astype(np.float32)
    foreground, background = (np.zeros(cost.shape, bool) for _ in range(2))
    foreground[2:4, 2:5, 3], background[-1], background[:, :, 0] = True, True, True
    nothing = np.empty((0, 3), int)
    seeds = Seeds((slice(None),) * 3, foreground, background & ~foreground, nothing, nothing)
    spacing = (1.0, 2.0, 1.5)
    near, far = (
        MCP_Geometric(cost, fully_connected=False, sampling=spacing).find_costs(np.argwhere(region))[0]
        for region in (seeds.foreground, seeds.background)
    )
    free = ~foreground & ~background & (np.abs(near - far) > 1e-4)
    np.testing.assert_array_equal(reached_from_foreground(cost, seeds, spacing)[free], (near < far)[free])


def test_seeds_of_a_box_are_a_core_and_a_frame():
    seeds = plant(Prompt("x", box=np.array([[4, 6], [14, 16]])), (30, 30), core=0.5)
    assert seeds.window == (slice(3, 15), slice(5, 17))
    assert seeds.background.sum() == 12 * 12 - 10 * 10
    assert 15 <= seeds.foreground.sum() <= 25
    assert not (seeds.foreground & seeds.background).any()


def test_a_click_outside_the_box_widens_the_window():
    asked = Prompt("x", np.array([[4, 6], [14, 16]]), np.array([[20, 10]]), np.array([1]))
    seeds = plant(asked, (30, 30), core=0.5)
    assert seeds.window == (slice(3, 22), slice(5, 17))
    assert seeds.foreground[20 - 3, 10 - 5]


def test_a_background_click_takes_its_part_of_the_core():
    box = np.array([[4, 4], [24, 24]])
    seeds = plant(Prompt("x", box, np.array([[17, 13]]), np.array([0])), (30, 30), core=0.8)
    assert not seeds.foreground[17 - 3 - 1, 13 - 3]
    assert seeds.foreground[13 - 3, 13 - 3]
    assert seeds.background[17 - 3, 13 - 3]


@pytest.mark.parametrize("shape", [(7, 9), (64, 65), (33, 40, 21), (100, 3)])
def test_a_coarser_copy_fits_and_comes_back_in_shape(shape):
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    shrink = Shrink.to(shape, 500)
    coarse = shrink.mean(values)
    assert coarse.size <= 1000
    assert shrink.restore(coarse).shape == shape
    assert shrink.needed == (values.size > 500)


def test_the_floors_are_floors():
    image, truth = blob((40, 46))
    asked = [prompt(truth, box=True)]
    (boxed,) = BoxAsMask().segment(BoxAsMask().encode(image), asked)
    rows, columns = np.nonzero(truth)
    assert boxed.mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert boxed.mask[truth].all()
    (spanned,) = BoxAsMask().segment(
        (40, 46), [prompt(truth, points=[[3, 4], [5, 9], [0, 0]], labels=[1, 1, 0])]
    )
    assert np.argwhere(spanned.mask).min(axis=0).tolist() == [3, 4]
    assert spanned.mask.sum() == 3 * 6
    assert not Empty().segment(Empty().encode(image), asked)[0].mask.any()
    assert not Empty().segment_image(image, ["a", "b"])["b"].any()
