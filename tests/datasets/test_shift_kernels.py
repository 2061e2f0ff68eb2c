"""Each corruption against its formula; all of them: severity, seeds, type, geometry."""

import math

import numpy as np
import pytest

from medeval.datasets.shifts import CORRUPTIONS, SEVERITIES, checked_corruption, corrupted, value_at
from medeval.types import Grid, Image

NAMES = sorted(CORRUPTIONS)
RNG = np.random.default_rng(0)


def picture(dtype=np.float64, shape=(40, 32), channels=1, scale=200.0):
    """Two smooth blobs and an edge, values over about 0 to ``scale``."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    distance = sum(axis**2 for axis in axes)
    base = np.exp(-3 * distance) + 0.4 * (axes[0] > 0.3)
    base = (base - base.min()) / (base.max() - base.min()) * scale
    stack = np.stack([base * (1 + channel) for channel in range(channels)]).astype(dtype)
    return Image(stack, Grid(shape, (1.0,) * len(shape)))


def unit(image):
    array = image.array[0].astype(float)
    return (array - array.min()) / (array.max() - array.min())


def changed(name, value, image=None, case="a"):
    """The corrupted picture on the scale on which the original is 0 to 1."""
    image = image or picture()
    out, before = corrupted(image, name, value, case).array[0], image.array[0]
    return (out.astype(float) - before.min()) / (before.max() - before.min())


def test_inversion_mirrors_what_is_above():
    x = unit(picture())
    np.testing.assert_allclose(changed("inversion", 0.0), 1 - x, atol=1e-12)
    folded = np.where(x <= 0.7, x, 1.4 - x)
    np.testing.assert_allclose(changed("inversion", 0.7), folded / 0.7, atol=1e-12)
    low = changed("inversion", 0.25)
    assert low.min() == pytest.approx(0)
    assert low.max() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("name", "value"), [("gamma", 2.0), ("gamma-bright", 0.5)])
def test_gamma_is_a_power(name, value):
    np.testing.assert_allclose(changed(name, value), unit(picture()) ** value, atol=1e-12)


def test_histogram_is_monotone_and_keeps_the_ends():
    x, y = unit(picture()).ravel(), changed("histogram", 0.9).ravel()
    order = np.argsort(x)
    assert np.all(np.diff(y[order]) >= -1e-12)
    assert (y.min(), y.max()) == (pytest.approx(0), pytest.approx(1))
    assert np.abs(y - x).max() > 0.05


def test_a_bias_field_is_smooth_and_as_strong_as_stated():
    x = unit(picture()) + 1  # nothing is 0
    image = Image(x[None], Grid(x.shape, (1.0, 1.0)))
    unit_after = (corrupted(image, "bias-field", 0.5, "a").array[0] - x.min()) / (x.max() - x.min())
    inside = unit(image) > 0.05
    field = np.log(unit_after[inside] / unit(image)[inside])
    assert 0.3 < np.abs(field).max() <= 0.5 + 1e-9


def test_noise_has_the_stated_deviation():
    big = picture(shape=(200, 200))
    spread = (changed("noise", 0.1, big) - unit(big)).std()
    assert spread == pytest.approx(0.1, rel=0.05)


def test_blur_is_equal_in_mm():
    from scipy import ndimage

    array = RNG.normal(size=(1, 20, 20))
    image = Image(array, Grid((20, 20), (1.0, 2.0)))
    low, high = array.min(), array.max()
    wanted = ndimage.gaussian_filter((array[0] - low) / (high - low), (1.5, 0.75), mode="nearest")
    np.testing.assert_allclose(changed("blur", 1.5, image), wanted, atol=1e-12)


def test_a_spike_is_one_point_of_k_space():
    difference = changed("spike", 0.2) - unit(picture())
    assert np.abs(difference).max() <= 0.2 + 1e-9
    assert np.abs(difference).std() > 0.03
    power = np.abs(np.fft.fft2(difference)) ** 2
    top = np.sort(power.ravel())[-18:].sum() / power.sum()
    assert top > 0.7  # a wave whose frequency lies between bins leaks into their neighbours


def test_ghosts_repeat_the_object():
    x, y = unit(picture()), changed("ghosting", 1.0)
    spectra = [np.abs(np.fft.fft(part, axis=axis)).sum(axis=1 - axis) for part in (x, y) for axis in (0, 1)]
    lost = [np.sum(after < 0.98 * before) for before, after in zip(spectra[:2], spectra[2:], strict=True)]
    assert max(lost) > 5
    assert changed("ghosting", 0.0) == pytest.approx(x, abs=1e-9)


def test_resolution_keeps_flat_and_sloped_parts():
    rows = np.repeat(np.linspace(0, 1, 48)[:, None], 48, axis=1)
    image = Image(rows[None], Grid(rows.shape, (1.0, 1.0)))
    out = changed("resolution", 3.0, image)
    np.testing.assert_allclose(out[8:-8], rows[8:-8], atol=0.01)
    stripes = Image((np.indices((48, 48))[1] % 2.0)[None], Grid((48, 48), (1.0, 1.0)))
    assert changed("resolution", 4.0, stripes)[:, 8:-8].std() < 0.05


def test_motion_of_nothing_changes_nothing():
    np.testing.assert_allclose(changed("motion", 0.0), unit(picture()), atol=1e-9)


def test_motion_keeps_the_place_of_what_is_seen():
    x, y = unit(picture()), changed("motion", 3.0)
    assert np.abs(x - y).max() > 0.02
    rows = np.arange(x.shape[0])[:, None]
    assert (rows * y).sum() / y.sum() == pytest.approx((rows * x).sum() / x.sum(), abs=1.0)


# -- what holds for all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_severity_changes_more(name):
    x = unit(picture())
    errors = [1 - np.corrcoef(x.ravel(), changed(name, value_at(name, s)).ravel())[0, 1] for s in SEVERITIES]
    if name == "inversion":  # the correlation goes from 1 to -1
        assert errors == sorted(errors)
    errors = [np.abs(x - changed(name, value_at(name, s))).mean() for s in (1, 3, 5)]
    assert 0 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("name", NAMES)
def test_draws_hang_on_the_case_alone(name):
    image, value = picture(), value_at(name, 3)
    first, again, other = (corrupted(image, name, value, 0, case).array for case in ("a", "a", "b"))
    assert np.array_equal(first, again)
    drawn = name not in ("inversion", "gamma", "gamma-bright", "blur", "resolution")
    assert np.array_equal(first, other) != drawn


def test_a_bias_field_has_one_shape_at_every_severity():
    fields = []
    x = unit(picture())
    inside = x > 0.1
    for severity in (1, 5):
        fields.append(np.log(changed("bias-field", value_at("bias-field", severity))[inside] / x[inside]))
    assert np.corrcoef(*fields)[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_type_and_grid_stay(name, dtype):
    image = picture(dtype)
    out = corrupted(image, name, value_at(name, 5), "a")
    assert out.array.dtype == dtype
    assert out.array.shape == image.array.shape
    assert out.grid is image.grid
    assert np.isfinite(out.array.astype(float)).all()


@pytest.mark.parametrize("name", NAMES)
def test_volumes_of_several_channels(name):
    image = picture(np.float32, (20, 18, 12), channels=2)
    out = corrupted(image, name, value_at(name, 3), "a").array
    assert out.shape == image.array.shape
    np.testing.assert_allclose(out[1], 2 * out[0], rtol=1e-3, atol=0.05)  # every channel suffers the same


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fill", [0.0, 7.0, math.nan])
def test_a_constant_image_and_nan_stay(name, fill):
    image = Image(np.full((1, 16, 16), fill), Grid((16, 16), (1.0, 1.0)))
    np.testing.assert_array_equal(corrupted(image, name, value_at(name, 5), "a").array, image.array)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 9), (2, 2), (5, 1, 4)])
def test_thin_images(name, shape):
    image = Image(RNG.normal(size=(1, *shape)), Grid(shape, (1.0,) * len(shape)))
    for severity in SEVERITIES:
        assert np.isfinite(corrupted(image, name, value_at(name, severity), "a").array).all()


def test_an_unknown_corruption_is_told_the_nearest():
    with pytest.raises(ValueError, match="unknown corruption 'gama'; did you mean 'gamma'"):
        checked_corruption("gama")
