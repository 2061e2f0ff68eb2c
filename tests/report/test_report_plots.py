from __future__ import annotations

import itertools

import numpy as np
import pytest

from medeval.report.matrix import matrix
from medeval.report.plots import curve, forest
from medeval.report.scales import PALETTE, Scale, marker, shortened, span
from medeval.report.textdiff import textdiff
from medeval.types.views import Curve, Forest, Matrix, Series, TextDiff


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]), (0.811, 0.829, ["0.815", "0.820", "0.825"]),
     (0, 120, ["0", "50", "100"]), (-3e-4, 4e-4, ["-0.0002", "0.0000", "0.0002", "0.0004"]), (990, 1310, ["1,000", "1,100", "1,200", "1,300"])],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, expected: list[str]) -> None:
    assert [text for _, text in Scale(low, high, 0, 100).ticks()] == expected


@pytest.mark.parametrize("values", [[], [None], [0.5, 0.5], [0.0], [float("nan"), 1.0], [1e-300]])
def test_a_span_is_never_empty(values: list) -> None:
    low, high = span(values)
    assert low < high
    assert Scale(low, high, 0, 100).ticks()


def test_points_lie_where_the_axis_says() -> None:
    series = Series("a", [1, 2, 3], [0.2, None, 0.6], [0.1, None, 0.5], [0.3, None, 0.7])
    drawing = curve(Curve("c", "x", "y", [series]))["drawings"][0]
    line = drawing["lines"][0]
    ticks = {text: y for y, text in drawing["y_ticks"]}
    assert line["points"][0]["y"] == pytest.approx(ticks["0.2"])
    assert [point["x"] for point in line["points"]] == [x for x, text in drawing["x_ticks"] if text != "2"]
    assert line["path"].count("M") == 2  # the gap is not bridged
    assert len(line["whiskers"]) == 2


def test_many_positions_draw_bands_instead_of_whiskers() -> None:
    x = list(range(30))
    line = curve(Curve("c", "x", "y", [Series("a", x, x, x, x)]))["drawings"][0]["lines"][0]
    assert line["band"]
    assert not line["whiskers"]


def test_series_differ_in_more_than_colour() -> None:
    series = [Series(str(i), [1], [0.5]) for i in range(PALETTE * 2)]
    legend = curve(Curve("c", "x", "y", series))["legend"]
    looks = [(entry["colour"], entry["marker"]) for entry in legend]
    assert len(set(looks)) == len(looks)
    assert all(a != b for (_, a), (_, b) in itertools.pairwise(looks))


def test_whiskers_of_series_stand_side_by_side() -> None:
    series = [Series(str(i), [1, 2], [0.5, 0.5], [0.4, 0.4], [0.6, 0.6]) for i in range(4)]
    lines = curve(Curve("c", "x", "y", series))["drawings"][0]["lines"]
    assert len({line["points"][0]["x"] for line in lines}) == 4


def test_forest_rows_hold_value_interval_and_n() -> None:
    rows = [{"label": "walker", "value": 0.8, "low": 0.7, "high": 0.9, "n": 1200},
            {"label": "nothing scored " * 9, "value": None, "baseline": True}]  # fmt: skip
    wide, narrow = forest(Forest("f", "Dice", rows))["drawings"]
    assert (wide["rows"][0]["value"], wide["rows"][0]["interval"], wide["rows"][0]["n"]) == (
        "0.800",
        "[0.700, 0.900]",
        "n 1,200",
    )
    assert wide["rows"][0]["low"] < wide["rows"][0]["high"]
    assert (wide["rows"][1]["value"], wide["rows"][1]["marker"]) == ("–", "")
    assert narrow["rows"][1]["short"].endswith("…")
    assert narrow["width"] <= 360


def test_matrix_cells_are_readable_on_their_colour() -> None:
    cells = [
        cell
        for row in matrix(Matrix("m", ["a"], [f"c{i}" for i in range(101)], [[i / 100 for i in range(101)]]))[
            "rows"
        ]
        for cell in row["cells"]
    ]
    for cell in cells:
        contrast = contrast_ratio(cell["colour"], "#ffffff" if cell["ink"] == "#fff" else "#000000")
        assert contrast >= 4.5


def contrast_ratio(first: str, second: str) -> float:
    """WCAG 2.1 contrast of two #rrggbb colours."""
    levels = []
    for colour in (first, second):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        levels.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(levels) + 0.05) / (min(levels) + 0.05)


def test_a_matrix_of_one_value_or_none_is_drawn() -> None:
    assert matrix(Matrix("m", ["a"], ["b"], [[0.5]]))["rows"][0]["cells"][0]["text"] == "0.500"
    assert matrix(Matrix("m", ["a"], ["b"], [[None]]))["rows"][0]["cells"][0] == {
        "text": "–",
        "colour": "",
        "ink": "",
    }


def test_a_ragged_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="matrix 'm': values must be 2 rows of 1"):
        matrix(Matrix("m", ["a", "b"], ["c"], [[1.0]]))


def test_a_text_diff_marks_the_words_that_differ_and_loses_none() -> None:
    sides = textdiff(TextDiff("d", "No effusion. Normal heart.", "Small effusion.  Normal heart."))["sides"]
    assert "".join(text for text, _ in sides["reference"]) == "No effusion. Normal heart."
    assert next(text for text, differs in sides["reference"] if differs) == "No"
    assert "Small" in [text for text, differs in sides["prediction"] if differs]


def test_long_labels_end_in_an_ellipsis() -> None:
    assert shortened("short", 100) == "short"
    assert shortened("a" * 50, 67) == "a" * 9 + "…"


def test_there_are_five_markers() -> None:
    assert len({marker(shape, 0, 0) for shape in range(10)}) == 5
