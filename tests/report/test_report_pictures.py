from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from medeval.report.pictures import drawing
from medeval.types.views import Picture


def blank(rows: int, columns: int) -> np.ndarray:
    return np.zeros((rows, columns), dtype=np.uint8)


def mask_of(shape: tuple[int, int], *cells: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for cell in cells:
        mask[cell] = True
    return mask


def embedded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_the_outline_of_one_pixel_is_its_four_edges() -> None:
    found = drawing(Picture(blank(8, 9), {"reference": mask_of((8, 9), (2, 5))}), [])
    assert found["outlines"] == [{"number": 0, "path": "M5 2h1M5 3h1M5 2v1M6 2v1", "uri": ""}]


@pytest.mark.parametrize("corner", [(0, 0), (0, 8), (7, 0), (7, 8)])
def test_outlines_at_the_border_are_closed(corner: tuple[int, int]) -> None:
    path = drawing(Picture(blank(8, 9), {"reference": mask_of((8, 9), corner)}), [])["outlines"][0]["path"]
    assert path.count("h1") == path.count("v1") == 2


def test_an_outline_encloses_its_mask() -> None:
    mask = np.random.default_rng(0).random((30, 40)) > 0.6
    path = drawing(Picture(blank(30, 40), {"reference": mask}), [])["outlines"][0]["path"]
    walls = np.zeros((30, 41), dtype=int)
    for x, y, length in re.findall(r"M(\d+) (\d+)v(\d+)", path):
        walls[int(y) : int(y) + int(length), int(x)] = 1
    assert np.array_equal(walls.cumsum(axis=1)[:, :40] % 2 == 1, mask)


def test_outlines_keep_their_number_over_pictures() -> None:
    names = ["reference", "prediction"]
    first = drawing(Picture(blank(8, 8), {"rater 2": mask_of((8, 8), (1, 1))}), names)
    second = drawing(
        Picture(blank(8, 8), {"prediction": mask_of((8, 8), (1, 1)), "rater 2": mask_of((8, 8))}), names
    )
    assert first["outlines"][0]["number"] == 2
    assert [outline["number"] for outline in second["outlines"]] == [1, 2]


def test_an_empty_mask_has_no_outline() -> None:
    assert drawing(Picture(blank(8, 8), {"prediction": mask_of((8, 8))}), [])["outlines"][0]["path"] == ""


def test_a_small_picture_is_embedded_as_it_is() -> None:
    background = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    found = drawing(Picture(background), [])
    assert np.array_equal(np.asarray(embedded(found["uri"])), background)
    assert (found["width"], found["height"], found["note"]) == (30, 20, "")


def test_a_small_structure_of_a_large_image_is_cropped_to_and_stays() -> None:
    shape = (2000, 2500)
    found = drawing(Picture(blank(*shape), {"reference": mask_of(shape, (1500, 700))},
                            np.array([[1500, 700, 1]]), (1499, 699, 1502, 702)), [])  # fmt: skip
    assert (
        found["note"]
        == "cropped to 800 × 800 of 2000 × 2500 pixels; reduced 2 times, outlines to the coarser pixels"
    )
    assert found["width"] == found["height"] == 400
    assert found["outlines"][0]["path"].count("h1") == 2
    assert (found["points"][0]["x"], found["points"][0]["y"]) == pytest.approx((200, 200), abs=1)
    assert (found["box"]["width"], found["box"]["height"]) == (1.5, 1.5)


def test_a_crop_stays_within_the_image() -> None:
    shape = (400, 300)
    found = drawing(Picture(blank(*shape), {"reference": mask_of(shape, (0, 299))}), [])
    assert found["note"] == "cropped to 120 × 120 of 400 × 300 pixels"
    assert embedded(found["uri"]).size == (120, 120)
    assert found["outlines"][0]["path"].startswith("M119 0h1")


def test_a_large_structure_is_shown_with_the_whole_image() -> None:
    mask = np.zeros((400, 300), dtype=bool)
    mask[20:380, 20:280] = True
    found = drawing(Picture(blank(400, 300), {"reference": mask}), [])
    assert (found["width"], found["height"], found["note"]) == (300, 400, "")


@pytest.mark.parametrize("shape", [(512, 512), (900, 700), (1500, 1300, 3), (3000, 2000)])
def test_even_noise_stays_small(shape: tuple[int, ...]) -> None:
    background = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    noisy = np.random.default_rng(1).random(shape[:2]) > 0.5
    found = drawing(Picture(background, {"prediction": noisy}), [])
    assert len(found["uri"]) < 60_000
    assert len(found["outlines"][0]["uri"]) < 60_000
    assert len(found["outlines"][0]["path"]) < 10_000


def test_an_outline_too_long_for_a_path_is_a_raster_of_the_inner_border() -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[:, ::2] = np.random.default_rng(1).random((200, 100)) > 0.5
    outline = drawing(Picture(blank(200, 200), {"reference": mask}), [])["outlines"][0]
    assert outline["path"] == ""
    assert np.array_equal(np.asarray(embedded(outline["uri"]).convert("RGBA"))[:, :, 3] > 0, mask)


def test_grey_given_as_colour_is_stored_as_grey() -> None:
    background = np.repeat(np.arange(100, dtype=np.uint8).reshape(10, 10, 1), 3, axis=2)
    assert embedded(drawing(Picture(background), [])["uri"]).mode == "L"


def test_points_lie_at_pixel_centres_and_boxes_at_edges() -> None:
    found = drawing(Picture(blank(10, 10), {}, np.array([[2, 3, 1], [4, 5, 0]]), (1, 2, 5, 8)), [])
    assert found["points"] == [
        {"x": 3.5, "y": 2.5, "foreground": True},
        {"x": 5.5, "y": 4.5, "foreground": False},
    ]
    assert found["box"] == {"x": 2.0, "y": 1.0, "width": 6.0, "height": 4.0}


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Picture(np.zeros((4, 4))), r"background is uint8 .* not float64 \(4, 4\)"),  # type: ignore[arg-type]
        (Picture(np.zeros((4, 4, 4), np.uint8)), r"not uint8 \(4, 4, 4\)"),
        (
            Picture(blank(4, 4), {"a": np.ones((4, 5), bool)}),
            r"outline 'a' has shape \(4, 5\), the background \(4, 4\)",
        ),
        (Picture(blank(4, 4), {}, np.zeros((2, 2), np.int64)), r"points are \(n, 3\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(picture: Picture, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawing(picture, [])
