import numpy as np
import pytest
from scipy import ndimage

from medeval.interaction import depth
from medeval.interaction.depth import deepest

SPACINGS = [None, (1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.5, 0.8, 0.8)]


def blobs(seed, shape, sigma=2.0, share=0.4):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return noise > np.quantile(noise, 1 - share)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(24, 31), (14, 18, 21)])
@pytest.mark.parametrize("search", ["_by_shells", "_by_transform"])
def test_both_searches_equal_the_full_distance_transform(monkeypatch, search, shape, seed, spacing):
    chosen = getattr(depth, search)
    monkeypatch.setattr(depth, "_by_shells", chosen)
    monkeypatch.setattr(depth, "_by_transform", chosen)
    spacing = spacing and spacing[: len(shape)]
    region = blobs(seed, shape)
    full = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing)
    full = full[(slice(1, -1),) * region.ndim]
    found, voxels = deepest(region, spacing)
    assert found == pytest.approx(full.max(), rel=1e-12)
    np.testing.assert_array_equal(voxels, np.argwhere(np.isclose(full, full.max(), rtol=1e-9, atol=0)))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_barred_voxels_still_belong_to_the_region(spacing):
    region = blobs(3, (14, 18, 21))
    full = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    barred = np.argwhere(full >= 0.8 * full.max())
    full[tuple(barred.T)] = 0
    found, voxels = deepest(region, spacing, barred)
    assert found == pytest.approx(full.max(), rel=1e-12)
    np.testing.assert_array_equal(voxels, np.argwhere(np.isclose(full, full.max(), rtol=1e-9, atol=0)))


def test_nothing_to_choose_is_depth_zero():
    one = np.zeros((3, 3), bool)
    assert deepest(one)[0] == 0.0
    one[1, 1] = True
    assert deepest(one, barred=np.array([[1, 1]]))[0] == 0.0
    assert deepest(one)[1].tolist() == [[1, 1]]


@pytest.mark.parametrize("shape", [(1,) * 3, (1, 7), (5, 1, 1), (2, 2, 2)])
def test_the_edge_of_the_array_counts_as_outside(shape):
    found, voxels = deepest(np.ones(shape, bool))
    assert found == 1.0
    assert len(voxels) == np.prod(shape)
