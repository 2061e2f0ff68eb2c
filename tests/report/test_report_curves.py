"""Curves whose points open records, long curves' tables, and what is folded away or told apart."""

from __future__ import annotations

import re

import pytest

from medeval.report import Section, render_report
from medeval.report.plots import curve
from medeval.report.points import anchor, curve_data
from medeval.report.scales import told_apart
from medeval.types import Key
from medeval.types.views import CaseGroup, CasePoint, Curve, Forest, Series


def shown(*cases: str, n: int = 5, model: str = "m") -> CaseGroup:
    points = [
        CasePoint(case, Key("liver", "", 2), 0, 0.5, scores=(0.5, None), note="model_failed: no")
        for case in cases
    ]
    return CaseGroup(model, "d", model, "", points, n, {}, "box", scores=("dice", "hd95 [mm]"))


def test_vertices_know_their_group_and_gaps_have_none() -> None:
    series = Series("a", [1, 2, 3, 4], [0.2, None, 0.6, 0.8], records=[shown("c1"), shown("c2"), None, shown("c3", "c4")])  # fmt: skip
    data = curve_data(Curve("t", "clicks", "dice", [Series("b", [1], [0.1]), series]))
    assert data is not None
    assert data["lines"] == [
        ["b", [[-1, "1: 0.100"]]],
        ["a", [[0, "1: 0.200"], [-1, "3: 0.600"], [1, "4: 0.800"]]],
    ]
    vertices = curve(Curve("t", "clicks", "dice", [series]))["drawings"][0]["lines"][0]["path"]
    assert len(re.findall("[ML]", vertices)) == len(data["lines"][1][1])
    assert [point[:2] for point in data["points"]] == [[0, "c1"], [1, "c3"], [1, "c4"]]


def test_a_record_is_told_with_its_scores_its_failure_and_the_anchor_of_its_picture() -> None:
    data = curve_data(Curve("t", "x", "y", [Series("a", [1], [0.2], records=[shown("c1")])]))
    assert data is not None
    assert data["names"] == ["dice", "hd95 [mm]"]
    key = Key("liver", "", 2)
    assert data["points"] == [
        [0, "c1", "liver · round 2", anchor("d", "m", "", 0, "c1", key), "model_failed: no", "0.500", "–"]
    ]
    assert data["groups"] == [["m", "d", "box", 5]]


def test_a_curve_without_records_has_no_list() -> None:
    view = Curve("t", "x", "y", [Series("a", [1, 2], [0.1, 0.2], records=[None, shown()])])
    assert curve_data(view) is None
    assert 'class="points"' not in render_report("t", [Section("s", [view])], {}, lambda _: None)


@pytest.mark.parametrize(
    ("count", "rows", "note"), [(12, 1, ""), (13, 13, ""), (400, 200, "200 of 400 points.")]
)
def test_the_values_of_a_long_curve_are_a_row_a_point(count: int, rows: int, note: str) -> None:
    xs = list(range(count))
    table = curve(Curve("t", "x", "y", [Series("a", xs, [x / count for x in xs])]))["table"]
    assert (len(table.rows), table.note) == (rows, note)
    if count > 12:
        assert [table.rows[0]["x"], table.rows[-1]["x"]] == [0, count - 1]


def test_whiskers_are_drawn_where_each_line_is_short_however_many_x_there_are() -> None:
    lines = [Series(f"m{m}", [n + m / 10 for n in range(10)], [0.5] * 10, [0.4] * 10, [0.6] * 10) for m in range(3)]  # fmt: skip
    drawn = curve(Curve("t", "x", "y", lines))["drawings"][0]["lines"]
    assert all(len(line["whiskers"]) == 10 and not line["band"] for line in drawn)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([True, True], [False, False]), ([True, False], [True, False]), ([True], [True]), ([], [])],
)
def test_a_mark_that_all_bear_is_left_out(given: list[bool], expected: list[bool]) -> None:
    assert told_apart(given) == expected


@pytest.mark.parametrize(("count", "folded"), [(3, 0), (4, 3), (6, 5)])
def test_of_many_curves_in_a_row_all_but_the_first_are_folded(count: int, folded: int) -> None:
    views = [Forest("f", "x", []), *(Curve(f"c{n}", "x", "y", [Series("a", [1, 2], [0.1, 0.2])]) for n in range(count))]  # fmt: skip
    html = render_report("t", [Section("s", views)], {}, lambda _: None)
    assert html.count('<details class="folded">') == folded
