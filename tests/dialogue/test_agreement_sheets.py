"""Sheets as people fill them in: what is read, and what is told of a sheet that does not hold."""

import pytest

from medeval.dialogue.agreement_sheets import Mark, read_sheet, sheet_text, template_text
from medeval.types import UserError


def sheet(folder, text, name="a.csv"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_scores_not_applicable_and_nothing_are_three_things(tmp_path):
    text = "dialogue,item,rater,score\nd1,1.1,A,1\nd1,1.2,A,NA\nd1,1.3,A,\n\nd2,1.1,A, 0.5 \n"
    marks = read_sheet(sheet(tmp_path, text))
    assert [(m.score, m.na) for m in marks] == [(1.0, False), (None, True), (None, False), (0.5, False)]


def test_other_names_of_columns_their_order_and_a_bom_are_read(tmp_path):
    text = "\ufeffScore,Rater_ID,item_id,case_id,patient,remark\n2,B,4.1,d1,p7,hm\n"
    assert read_sheet(sheet(tmp_path, text)) == [Mark("d1", "4.1", "B", 2.0, patient="p7")]


def test_what_is_written_is_read_again(tmp_path):
    marks = [
        Mark("d,1", '1"1', "Dr Ä", 1.0),
        Mark("d2", "1.1", "Dr Ä", None, True),
        Mark("d3", "1.1", "Dr Ä", None),
    ]
    assert read_sheet(sheet(tmp_path, sheet_text(marks))) == marks


def test_a_template_asks_every_item_of_every_dialogue(tmp_path):
    marks = read_sheet(sheet(tmp_path, template_text(["d1", "d2"], ["1", "2", "3"], "A")))
    assert len(marks) == 6
    assert all(mark.score is None and not mark.na for mark in marks)


def test_of_json_lines_the_last_word_stands_and_a_torn_line_is_left_out(tmp_path):
    lines = (
        '{"dialogue": "d", "item": "1", "rater": "A", "score": 0, "na": false}\n'
        '{"dialogue": "d", "item": "1", "rater": "A", "score": 1, "na": false}\n'
        '{"dialogue": "d", "item": "2", "rater": "A", "score": null, "na": true}\n'
        '{"dialogue": "d", "item": "3", "ra'
    )
    marks = read_sheet(sheet(tmp_path, lines, "a.jsonl"))
    assert [(m.item, m.score, m.na) for m in marks] == [("1", 1.0, False), ("2", None, True)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no column 'dialogue'"),
        ("dialogue,item,rater\n", "no column 'score'"),
        ("dialogue,item,rater,scor\nd,1,A,1\n", "did you mean 'scor'"),
        ("dialogue,item,rater,score\n", "no ratings"),
        ("dialogue,item,rater,score\nd,1,A,good\n", r"a.csv:2: score 'good' is no number; write NA"),
        ("dialogue,item,rater,score\nd,1,A,inf\n", "score 'inf'"),
        ("dialogue,item,rater,score\nd,,A,1\n", r"a.csv:2: item is empty"),
        ("dialogue,item,rater,score\nd,1,A\n", "3 cells, the header has 4"),
        ("dialogue,item,rater,score\nd,1,A,1\nd,1,A,0\n", r"a.csv:3: 'd', '1', 'A' is rated twice"),
        (b"dialogue,item,rater,score\nd,1,\xff,1\n", "not UTF-8"),
    ],
)
def test_a_sheet_that_does_not_hold_is_told_with_its_line(tmp_path, text, told):
    with pytest.raises(UserError, match=told):
        read_sheet(sheet(tmp_path, text))


def test_a_sheet_of_one_rater_needs_no_column_for_the_name(tmp_path):
    text = "dialogue,item,score\nd,1,1\n"
    assert read_sheet(sheet(tmp_path, text), "Dr B")[0].rater == "Dr B"
    with pytest.raises(UserError, match="no column 'rater'"):
        read_sheet(sheet(tmp_path, text))
