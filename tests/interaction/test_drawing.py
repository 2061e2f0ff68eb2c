import numpy as np
import pytest

from medeval.interaction import draw_points, jittered_box, middle_slice_box, tight_box
from medeval.types import EvaluatorFailure, rng


def ellipsoid(shape, centre, radii):
    grid = np.indices(shape).astype(float)
    squares = [((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True)]
    return sum(squares) <= 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(17,), (9, 13), (7, 8, 9)])
def test_the_tight_box_is_half_open_and_equals_the_extremes(shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.03
    mask[tuple(s // 2 for s in shape)] = True
    at = np.argwhere(mask)
    np.testing.assert_array_equal(tight_box(mask), [at.min(axis=0), at.max(axis=0) + 1])


def test_the_tight_box_of_a_full_image_is_the_image():
    np.testing.assert_array_equal(tight_box(np.ones((4, 5), bool)), [[0, 0], [4, 5]])


@pytest.mark.parametrize("amount", [1, 3, 50])
def test_a_jittered_box_stays_in_the_image_and_keeps_a_voxel(amount):
    mask = ellipsoid((20, 30), (3, 26), (3, 3))
    for seed in range(200):
        start, stop = jittered_box(mask, rng(seed), amount)
        assert (start >= 0).all()
        assert (stop <= mask.shape).all()
        assert (start < stop).all()
        assert (np.abs(np.stack([start, stop]) - tight_box(mask)) <= amount).all()


def test_jitter_moves_each_side_by_every_amount():
    mask = ellipsoid((60, 60), (30, 30), (10, 10))
    moves = np.array([jittered_box(mask, rng(seed), 2) - tight_box(mask) for seed in range(400)])
    for side in moves.reshape(400, 4).T:
        values, counts = np.unique(side, return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert counts.min() > 40


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (3, 3), (5, 4)])
def test_points_are_distinct_voxels_of_the_structure(n, expected):
    mask = np.zeros((6, 7), bool)
    mask[2:4, 3:5] = True
    points = draw_points(mask, n, rng(0))
    assert points.shape == (expected, 2)
    assert len({tuple(point) for point in points}) == expected
    assert mask[tuple(points.T)].all()


def test_points_are_uniform_over_the_structure():
    mask = np.zeros((3, 4), bool)
    mask[0, 1] = mask[2, 2] = mask[1, 0] = True
    drawn = [tuple(draw_points(mask, 1, rng("uniform", seed))[0]) for seed in range(900)]
    counts = [drawn.count(voxel) for voxel in [(0, 1), (1, 0), (2, 2)]]
    assert sum(counts) == 900
    assert min(counts) > 250


def test_the_same_generator_draws_the_same():
    mask = ellipsoid((9, 9, 9), (4, 4, 4), (3, 2, 4))
    np.testing.assert_array_equal(draw_points(mask, 5, rng(1, "a")), draw_points(mask, 5, rng(1, "a")))
    np.testing.assert_array_equal(jittered_box(mask, rng(1), 3), jittered_box(mask, rng(1), 3))


@pytest.mark.parametrize(
    "draw",
    [
        tight_box,
        lambda m: jittered_box(m, rng(0), 2),
        lambda m: draw_points(m, 1, rng(0)),
        lambda m: middle_slice_box(m, rng(0)),
    ],
)
def test_an_empty_structure_cannot_be_prompted(draw):
    with pytest.raises(EvaluatorFailure, match="empty structure"):
        draw(np.zeros((4, 5, 6), bool))


def test_the_middle_slice_box_widens_with_the_image_side():
    mask = np.zeros((256, 512, 9), bool)
    mask[100:110, 200:210, 2:5] = True
    widened = {
        tuple((middle_slice_box(mask, rng(seed)) - tight_box(mask)).ravel().tolist()) for seed in range(60)
    }
    assert widened == {(-s, -2 * s, 0, s, 2 * s, 0) for s in range(6)}
