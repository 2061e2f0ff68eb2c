from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from medeval.report import plain_table, render_table
from medeval.report.numbers import decimals, interval_text, number_text
from medeval.report.tables import prepare
from medeval.types.views import Column, Table

SCORE = Column("dice", "Dice", "interval", direction="higher")


def table(*cells: Any, columns: tuple[Column, ...] = (Column("model"), SCORE)) -> Table:
    return Table("Scores", columns, [{"model": f"m{i}", "dice": cell} for i, cell in enumerate(cells)])


def cell(**more: Any) -> dict[str, Any]:
    return {"value": 0.8124, "low": 0.79, "high": 0.8333, "n": 120, "patients": 40, **more}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.99], 3),
        ([0.0], 3),
        ([], 3),
        ([None, float("nan"), 5.0], 2),
        ([64.2], 1),
        ([1234.5], 0),
        ([0.00042], 6),
    ],
)
def test_decimals_follow_the_size_of_a_column(values: list, expected: int) -> None:
    assert decimals(values) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8124, "0.812"), (12345.0, "12,345.000"), (None, "–"), (float("nan"), "–"), (float("inf"), "∞"), (-0.0001, "0.000"),
     (-0.5, "-0.500"), ("no number", "–")],
)  # fmt: skip
def test_numbers_as_people_read_them(value: Any, text: str) -> None:
    assert number_text(value, 3) == text


def test_an_interval_without_an_end_is_none() -> None:
    assert interval_text(0.79, 0.833, 3) == "[0.790, 0.833]"
    assert interval_text(None, 0.8, 3) == ""


def test_counts_that_all_cells_of_a_row_share_become_columns() -> None:
    prepared = prepare(table(cell(failed=3), cell(patients=None)))
    assert [column.name for column in prepared.columns] == ["model", "dice", "n", "patients", "failed"]
    assert [c.text for c in prepared.groups[0][1][0].cells] == ["m0", "0.812", "120", "40", "3"]
    assert [c.text for c in prepared.groups[0][1][1].cells][3:] == ["unknown", "0"]


def test_counts_that_differ_stand_in_the_cells() -> None:
    columns = (Column("model"), SCORE, Column("iou", kind="interval"))
    rows = [{"model": "m", "dice": cell(failed=2), "iou": cell(n=119, missing=1, bounds=[0.7, 0.9])}]
    dice, iou = prepare(Table("t", columns, rows)).groups[0][1][0].cells[1:]
    assert (dice.counts, dice.alarm) == ("n 120 · 40 patients", "2 failed")
    assert (iou.counts, iou.alarm) == ("n 119 · 40 patients", "1 missing · incomplete: 0.700 to 0.900")


def test_columns_that_the_table_has_are_not_made_twice() -> None:
    columns = (Column("model"), SCORE, Column("n", kind="integer"))
    assert [c.name for c in prepare(table(cell(), columns=columns)).columns] == ["model", "dice", "n"]


def test_a_note_of_every_score_is_said_once_and_others_are_footnotes() -> None:
    prepared = prepare(table(cell(note="few; odd"), cell(note="few"), None, cell(note="few; odd; third")))
    assert prepared.note == "For every score: few."
    assert prepared.footnotes == ["odd", "third"]
    assert [row.cells[1].mark for row in prepared.groups[0][1]] == ["1", "", "", "1,2"]


def test_rows_keep_their_groups_and_tags() -> None:
    rows = [{"model": "a", "_group": "x", "_baseline": True}, {"model": "b", "_group": "x", "_tags": ["seen in training"]},
            {"model": "c", "_group": "y"}]  # fmt: skip
    prepared = prepare(Table("t", [Column("model")], rows))
    assert [(name, len(part)) for name, part in prepared.groups] == [("x", 2), ("y", 1)]
    assert prepared.groups[0][1][0].baseline
    assert prepared.groups[0][1][1].tags == ["seen in training"]


def test_tags_stand_with_the_model_wherever_it_stands() -> None:
    view = Table(
        "t",
        [Column("structure"), Column("model")],
        [{"structure": "liver", "model": "box", "_baseline": True}],
    )
    assert "liver      box (baseline)" in plain_table(view)


def test_a_text_column_without_any_text_is_left_out() -> None:
    rows = [{"model": "a", "note": "", "odd": None}, {"model": "b"}]
    assert [
        c.name for c in prepare(Table("t", [Column("model"), Column("note"), Column("odd")], rows)).columns
    ] == ["model"]


def test_data_for_a_csv_keeps_full_precision_and_both_ends() -> None:
    data = prepare(table(cell(), None)).data
    assert data["columns"] == ["model", "dice", "dice_low", "dice_high"]
    assert data["rows"] == [["m0", 0.8124, 0.79, 0.8333], ["m1", None, None, None]]


def test_a_wrong_interval_cell_is_named() -> None:
    with pytest.raises(ValueError, match="column 'dice': an interval cell is a dict with 'value', not str"):
        prepare(table("0.8"))


def printed(view: Table, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(render_table(view))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("draw", [printed, plain_table])
def test_the_terminal_shows_score_interval_counts_and_baseline(draw: Any) -> None:
    view = Table("Scores", [Column("model"), SCORE], [{"model": "walker", "dice": cell(note="few")},
                 {"model": "box", "dice": cell(value=0.5), "_baseline": True}], "Means over records.")  # fmt: skip
    text = draw(view)
    for expected in (
        "Scores",
        "Dice ↑",
        "0.812 [0.790, 0.833] (1)",
        "120",
        "40",
        "box (baseline)",
        "(1) few",
        "Means over records.",
    ):
        assert expected in text


@pytest.mark.parametrize("draw", [printed, plain_table])
def test_names_cannot_speak_to_the_terminal(draw: Any) -> None:
    view = Table(
        "[bold]t", [Column("model")], [{"model": "[red]x[/red]\x1b[31m\x07"}, {"model": "two\nlines"}]
    )
    text = draw(view)
    assert "[red]x[/red]" in text
    assert "[bold]t" in text
    assert "two lines" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_plain_columns_are_aligned() -> None:
    lines = plain_table(table(cell(), cell(value=0.5))).splitlines()
    assert len({len(line) for line in lines[1:5]}) == 1
