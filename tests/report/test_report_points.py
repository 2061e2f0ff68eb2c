"""Plots of single records: where points stand, how they find their case, and what a page may weigh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medeval.report.gallery import MOST_SLICE_BYTES, gallery
from medeval.report.points import anchor, bland_altman, distribution, item_anchor
from medeval.types import Key
from medeval.types.views import BlandAltman, Distribution, Gallery, GalleryItem, Picture
from tests.report.record_views import group, volume_picture

VALUES = np.array([0.1, 0.4, 0.5, 0.6, 0.9])
ITEM = GalleryItem("d", "m", "arm", 3, "c1", Key("liver", "box", 2, 1), "", "best")


def test_points_stand_at_their_values_and_the_box_at_its_quartiles():
    (part,) = distribution(Distribution("t", "x", [group("w", VALUES)]))["parts"]
    (row,) = part["drawings"][0]["rows"]
    xs = [x for x, _, _ in row["points"]]
    scale = (xs[-1] - xs[0]) / 0.8
    assert xs == pytest.approx([xs[0] + (v - 0.1) * scale for v in VALUES], abs=0.11)
    assert row["box"] == pytest.approx([xs[1], xs[2], xs[3]], abs=0.11)


def test_points_lie_below_the_box_and_within_their_row():
    view = Distribution("t", "x", [group("a", VALUES), group("b", np.linspace(0, 1, 300))])
    for drawing in distribution(view)["parts"][0]["drawings"]:
        tops = [row["box_y"] for row in drawing["rows"]]
        for row, below in zip(drawing["rows"], [*tops[1:], drawing["bottom"] + 3], strict=True):
            assert all(row["box_y"] + 6 <= y <= below for _, y, _ in row["points"])


def test_a_panel_has_its_lines_where_their_values_are():
    found = bland_altman(BlandAltman("t", "x", "y", [group("w", VALUES)]))
    (panel,) = found["parts"][0]["panels"]
    high, low = panel["limits"][1], panel["limits"][0]
    assert panel["top"] < high < panel["bias"] < low < panel["bottom"]
    assert panel["bias"] == panel["zero"] == pytest.approx((high + low) / 2, abs=0.11)
    assert panel["text"] == "mean difference 0.000, limits of agreement -0.040 to 0.040, n 5"


def test_numbers_of_points_run_on_over_parts_and_name_their_records():
    groups = [group("a", VALUES, "box"), group("b", VALUES, "click")]
    found = distribution(Distribution("t", "x", groups))
    numbers = [
        n for part in found["parts"] for row in part["drawings"][1]["rows"] for _, _, n in row["points"]
    ]
    assert numbers == list(range(10))
    number, case, record, _, failed, *values = found["data"]["points"][7]
    assert (number, case, record, failed, values) == (1, "b-2", "b · click", "", ["0.500"])


def test_a_point_and_the_gallery_item_of_its_record_have_one_anchor():
    assert item_anchor(ITEM) == anchor("d", "m", "arm", 3, "c1", Key("liver", "box", 2, 1))
    others = [
        replace(ITEM, **change)
        for change in ({"dataset": "e"}, {"model": "n"}, {"arm": ""}, {"seed": 0}, {"case_id": "c2"},
                       {"key": Key("liver", "box", 2, 0)}, {"key": Key("spleen", "box", 2, 1)})
    ]  # fmt: skip
    assert len({item_anchor(item) for item in [ITEM, *others]}) == 8
    assert item_anchor(replace(ITEM, rank="worst", caption="x")) == item_anchor(ITEM)


@pytest.mark.parametrize("values", [[], [0.5], [0.5] * 9, [0.0, 1.0]])
def test_few_or_equal_values_have_no_density(values):
    drawn = group("w", np.array(values or [0.5]))
    drawn = replace(drawn, points=drawn.points[: len(values)])
    (part,) = distribution(Distribution("t", "x", [drawn]))["parts"]
    assert part["drawings"][0]["rows"][0]["density"] == ""


@pytest.mark.parametrize("marks", [{}, {"q1": 0.1, "median": float("nan"), "q3": 0.9}])
def test_a_group_without_its_marks_is_named(marks):
    with pytest.raises(ValueError, match=r"'t', group 'w': no finite .*median"):
        distribution(Distribution("t", "x", [replace(group("w", VALUES), marks=marks)]))


def test_no_groups_are_no_parts():
    assert distribution(Distribution("t", "x", []))["parts"] == []
    assert bland_altman(BlandAltman("t", "x", "y", []))["parts"] == []


def test_slices_stand_in_order_with_the_picture_among_them():
    (entry,) = gallery(Gallery("g", [ITEM]), volume_picture)["items"]
    assert [part["caption"] for part in entry["slices"]] == [f"slice {n}" for n in range(5)]
    assert entry["place"] == 2
    assert entry["slices"][2] is entry["picture"]


def test_all_slices_of_a_volume_show_the_same_window():
    side = np.zeros((400, 400), dtype=bool)
    side[190:210, 190:210] = True
    far = np.zeros_like(side)
    far[10:14, 10:14] = True
    background = np.zeros((400, 400), np.uint8)
    picture = Picture(
        background, {"reference": side}, slices=[Picture(background, {"reference": far})], place=1
    )
    (entry,) = gallery(Gallery("g", [ITEM]), lambda _: picture)["items"]
    assert len({(part["width"], part["height"], part["note"]) for part in entry["slices"]}) == 1
    assert entry["slices"][0]["outlines"][0]["path"] == ""


def test_a_gallery_has_room_for_so_many_slices_and_always_for_its_pictures():
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    picture = Picture(noise, slices=[Picture(noise)] * 9)
    found = gallery(Gallery("g", [ITEM] * 30), lambda _: picture)["items"]
    further = [part for entry in found for part in entry["slices"] if part is not entry["picture"]]
    assert all(entry["picture"] for entry in found)
    assert 0 < sum(len(part["uri"]) for part in further) <= MOST_SLICE_BYTES
    assert len(found[-1]["slices"]) == 1 < len(found[0]["slices"])


def test_a_slice_of_another_shape_is_refused_with_its_case():
    picture = Picture(np.zeros((9, 9), np.uint8), slices=[Picture(np.zeros((9, 8), np.uint8))])
    with pytest.raises(
        ValueError, match=r"case 'c1' of 'd': a slice has shape \(9, 8\), the picture \(9, 9\)"
    ):
        gallery(Gallery("g", [ITEM]), lambda _: picture)
