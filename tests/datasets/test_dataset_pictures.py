"""Plain pictures: every mode is read sanely, broken ones say so."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from medeval.datasets.images import as_binary, read_grid, read_image, read_labels, write_mask
from medeval.datasets.pictures import plain_grid
from medeval.types import DataError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def deep_colour_png(path):
    """A 16-bit RGB PNG, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 1, 2, 3) for _ in range(2))
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def rgba(alpha):
    return np.dstack([GREY, GREY + 1, GREY + 2, np.full_like(GREY, alpha)])


@pytest.mark.parametrize(
    ("picture", "shape", "kind", "note"),
    [
        (GREY, (1, 3, 4), np.uint8, ""),
        (GREY.astype(np.uint16) * 200, (1, 3, 4), np.uint16, ""),
        (np.dstack([GREY] * 3), (3, 3, 4), np.uint8, ""),
        (rgba(255), (3, 3, 4), np.uint8, ""),
        (rgba(7), (3, 3, 4), np.uint8, "alpha channel dropped"),
        (np.dstack([GREY, np.full_like(GREY, 255)]), (1, 3, 4), np.uint8, ""),
        (GREY > 100, (1, 3, 4), np.uint8, ""),
    ],
)
def test_pictures_are_channel_first_as_they_were_stored(tmp_path, png, picture, shape, kind, note):
    image, notes = read_image(png(tmp_path / "a.png", picture))
    assert (image.array.shape, image.array.dtype, notes) == (shape, kind, note)
    assert (image.grid.shape, image.grid.spacing, image.grid.unit) == ((3, 4), (1.0, 1.0), "px")
    first = picture if picture.ndim == 2 else picture[..., 0]
    np.testing.assert_array_equal(image.array[0], first * 255 if first.dtype == bool else first)


def test_sixteen_bit_colour_is_read_and_what_was_lost_is_noted(tmp_path):
    deep_colour_png(tmp_path / "a.png")
    image, notes = read_image(tmp_path / "a.png")
    assert image.array[:, 0, 0].tolist() == [0x12, 0x56, 0x9A]
    assert notes == "16-bit colour read as 8-bit"


def test_a_palette_is_colour_in_an_image_and_an_index_in_a_mask(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").image.array[:, 0, 1].tolist() == [255, 0, 0]
    assert read_labels(tmp_path / "a.png")[0].tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize(
    "picture",
    [
        GREY,
        np.dstack([GREY] * 3),
        np.dstack([GREY, GREY, GREY, np.full_like(GREY, 9)]),
        GREY.astype(np.uint16),
    ],
)
def test_a_mask_of_equal_channels_is_one_array_of_values(tmp_path, png, picture):
    np.testing.assert_array_equal(read_labels(png(tmp_path / "m.png", picture))[0], GREY)


def test_a_colourful_mask_is_refused(tmp_path, png):
    with pytest.raises(DataError, match="colour picture; a mask needs one value"):
        read_labels(png(tmp_path / "m.png", rgba(255)))


@pytest.mark.parametrize("high", [1, 255, 7])
def test_a_binary_mask_has_zero_and_one_other_value(tmp_path, png, high):
    mask = np.array([[0, high], [0, 0]], np.uint8)
    assert as_binary(read_labels(png(tmp_path / "m.png", mask))[0], tmp_path / "m.png").tolist() == [
        [False, True],
        [False, False],
    ]


@pytest.mark.parametrize("values", [[0, 1, 2], [100, 200, 0], [1, 2, 1]])
def test_a_binary_mask_of_more_values_is_refused_and_they_are_named(tmp_path, values):
    with pytest.raises(DataError, match=r"m.png: .* holds .*name the values with `labels:`"):
        as_binary(np.array([values]), tmp_path / "m.png")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b""), "cannot be read as a picture"),
        (lambda path: path.write_bytes(b"GIF? no."), "cannot be read as a picture"),
        (lambda path: path.mkdir(), "cannot be read as a picture"),
    ],
)
def test_a_broken_picture_is_a_data_error_that_names_it(tmp_path, make, says):
    make(tmp_path / "a.png")
    for reads in (read_image, read_labels, read_grid):
        with pytest.raises(DataError, match=says) as told:
            reads(tmp_path / "a.png")
        assert str(tmp_path / "a.png") in str(told.value)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_torn_png_is_a_data_error(tmp_path, png, keep):
    path = png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DataError, match="cannot be read as a picture"):
        read_image(path)


def test_a_file_of_several_pictures_is_refused(tmp_path):
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="holds 2 pictures"):
        read_image(tmp_path / "a.tif")


def test_a_single_tiff_page_of_16_bit_is_read(tmp_path):
    Image.fromarray(GREY.astype(np.uint16) * 256).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").image.array.max() == 220 * 256


@pytest.mark.parametrize("array", [GREY > 100, GREY, GREY.astype(np.int64) * 200])
def test_a_written_mask_reads_back(tmp_path, array):
    write_mask(tmp_path / "m.png", array, plain_grid((3, 4)))
    expected = array * 255 if array.dtype == bool else array
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png")[0], expected)
    assert [path.name for path in tmp_path.iterdir()] == ["m.png"]


@pytest.mark.parametrize("array", [GREY.astype(np.int32) - 5, GREY.astype(np.int32) * 10**4, GREY / 2])
def test_what_a_png_cannot_hold_is_not_written(tmp_path, array):
    with pytest.raises(ValueError, match="PNG"):
        write_mask(tmp_path / "m.png", array, plain_grid((3, 4)))
    assert list(tmp_path.iterdir()) == []
