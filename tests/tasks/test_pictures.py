"""Which slices of a volume are shown, and how they lie."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.tasks.pictures import FURTHER, mask_picture
from medeval.types import Case, Grid, Image, Key, MaskStack, Output, Segmentation


def drawn(truth, predicted=None, channels=1, **columns):
    """The picture of a case whose image's value is the number of the slice."""
    shape = truth.shape
    array = np.broadcast_to(np.arange(shape[-1], dtype=np.float32), (channels, *shape)).copy()
    image = Image(array, Grid(shape, (1.0,) * len(shape)))
    case = Case("c", "p", {"image": image}, {"structures": MaskStack({"liver": truth}, shape)})
    key = Key("liver")
    output = None if predicted is None else Output("c", key, Segmentation(predicted), columns=columns)
    return mask_picture(case, output, key)


def ball(first, last, depth=30):
    truth = np.zeros((8, 10, depth), dtype=bool)
    truth[2:5, 3:6, first : last + 1] = True
    truth[1, 3:6, (first + last) // 2] = True
    return truth


def numbers(picture):
    return [int(part.caption.split()[1]) for part in picture.slices]


def test_slices_go_from_before_the_structure_to_beyond_it_in_order():
    picture = drawn(ball(10, 20))
    found = numbers(picture)
    assert (found[0], found[-1]) == (9, 21)
    assert found == sorted(found)
    assert len(found) <= FURTHER
    assert picture.caption.startswith("slice 15 ")
    assert found[picture.place - 1] < 15 < found[picture.place]


def test_slices_go_through_what_was_predicted_too():
    assert numbers(drawn(ball(10, 12), ball(20, 25)))[-1] == 26


@pytest.mark.parametrize(("first", "last", "ends"), [(0, 3, (0, 4)), (27, 29, (26, 29)), (0, 29, (0, 29))])
def test_slices_stay_in_the_volume(first, last, ends):
    picture = drawn(ball(first, last))
    shown = sorted([*numbers(picture), int(picture.caption.split()[1])])
    assert (shown[0], shown[-1]) == ends


def test_each_slice_has_its_own_outlines_and_one_window_of_grey():
    picture = drawn(ball(10, 20), ball(12, 20))
    sizes = [int(part.outlines["prediction"].sum()) for part in picture.slices]
    assert sizes[0] == sizes[-1] == 0 < max(sizes)
    levels = [(int(part.background.min()), int(part.background.max())) for part in picture.slices]
    assert levels == [(0, 0)] * picture.place + [(255, 255)] * (len(levels) - picture.place)


def test_a_box_is_drawn_on_the_slices_that_it_meets():
    box = "[[2, 3, 10], [5, 6, 16]]"
    picture = drawn(ball(10, 20), ball(10, 20), box=box)
    assert [part.box is not None for part in picture.slices] == [10 <= n < 16 for n in numbers(picture)]


def test_a_picture_of_two_dimensions_has_no_slices():
    picture = drawn(np.eye(6, dtype=bool))
    assert (picture.slices, picture.place, picture.caption) == ([], 0, "")
