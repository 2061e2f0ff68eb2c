"""Any 2D image as 8-bit RGB."""

import numpy as np
import pytest

from medeval.types import DataError, Grid, Image
from medeval_adapters.rgb import to_picture, to_rgb


def image(array):
    array = np.asarray(array)
    return Image(array, Grid(array.shape[1:], (1.0,) * (array.ndim - 1)))


def row(*values, dtype):
    """One channel of one row."""
    return image(np.array([[values]], dtype=dtype))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row(0, 7, 255, dtype=np.uint8), [0, 7, 255]),
        (row(False, True, dtype=bool), [0, 255]),
        (row(0.0, 0.5, 1.0, dtype=np.float32), [0, 128, 255]),
        (row(0.25, 0.5, dtype=np.float64), [64, 128]),
        (row(0.0, 0.0, dtype=np.float32), [0, 0]),
        (row(1000, 3000, 2000, dtype=np.uint16), [0, 255, 128]),
        (row(0, 65535, dtype=np.uint16), [0, 255]),
        (row(0, 1, 2, dtype=np.uint16), [0, 128, 255]),
        (row(-1000, 1000, dtype=np.int16), [0, 255]),
        (row(-1.0, 0.0, 1.0, dtype=np.float32), [0, 128, 255]),
        (row(0.0, 510.0, dtype=np.float32), [0, 255]),
        (row(42, 42, dtype=np.int16), [0, 0]),
        (row(np.nan, 1.0, 5.0, dtype=np.float32), [0, 0, 255]),
        (row(-np.inf, 1.0, 5.0, np.inf, dtype=np.float32), [0, 0, 255, 255]),
        (row(np.nan, np.nan, dtype=np.float32), [0, 0]),
    ],
)
def test_values_become_bytes(given, expected):
    assert to_rgb(given)[0, :, 0].tolist() == expected


def test_a_colour_picture_in_floats_stays_as_it_is():
    array = np.array([0.0, 123.675, 254.5]).reshape(3, 1, 1).repeat(4, axis=2)
    assert to_picture(image(array))[0, 0].tolist() == pytest.approx([0, 123.675, 254.5])
    assert to_rgb(image(array))[0, 0].tolist() == [0, 124, 254]
    assert to_rgb(image(array[1:2] * [0, 1, 0.5, 1]))[0, :, 0].tolist() == [
        0,
        255,
        128,
        255,
    ]  # one channel: SUV, MR


def test_a_window_is_obeyed_for_any_type():
    ct = row(-1000, -100, 100, 300, dtype=np.int16)
    assert to_rgb(ct, window=(-100, 300))[0, :, 0].tolist() == [0, 0, 128, 255]
    assert to_rgb(row(0, 100, 200, dtype=np.uint8), window=(100, 200))[0, :, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(("count", "shown"), [(1, (0, 0, 0)), (2, (0, 0, 0)), (3, (0, 1, 2)), (4, (0, 1, 2))])
def test_grey_colour_and_alpha(count, shown):
    array = np.random.default_rng(0).integers(0, 256, (count, 4, 5), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(image(array)), np.stack([array[c] for c in shown], axis=-1))


def test_chosen_channels():
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 6), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb(image(array), channels=[3])[..., 2], array[3])
    np.testing.assert_array_equal(to_rgb(image(array), channels=(4, 0, 1))[..., 0], array[4])


@pytest.mark.parametrize(
    ("array", "channels", "message"),
    [
        (
            np.zeros((5, 4, 4), np.uint8),
            None,
            "5 channels of uint8 is no grey or colour picture.*channels: \\[0\\]",
        ),
        (np.zeros((4, 4, 4), np.float32), None, "4 channels of float32"),
        (np.zeros((3, 4, 4), np.uint8), [3], "channels: \\[3\\]; one or three of 0 to 2"),
        (np.zeros((3, 4, 4), np.uint8), [0, 1], "one or three"),
        (np.zeros((1, 0, 4), np.uint8), None, "without pixels"),
        (np.zeros((1, 4, 4, 4), np.uint8), None, "3D image"),
    ],
)
def test_what_is_no_picture_is_told(array, channels, message):
    with pytest.raises(DataError, match=message):
        to_rgb(image(array), channels)


def test_one_pixel():
    assert to_rgb(image(np.full((1, 1, 1), 9, np.uint8))).tolist() == [[[9, 9, 9]]]
