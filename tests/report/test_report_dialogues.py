"""Rated dialogues in a report: quotes stand out in their turns, violations are marked, and no text from a model runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from medeval.report import Section
from medeval.report.dialogues import dialogues
from medeval.report.html import render_report
from medeval.types.views import Dialogues, Notice, RatedDialogue, RatedItem, RatedTurn

EVIL = '<script>alert("x")</script><img src=x onerror=y>\u202e{{ 7 * 7 }} </mark>'


def talk(**changes) -> RatedDialogue:
    given = {
        "title": "good: red-hot-toe, sample 0",
        "turns": [
            RatedTurn(1, "patient", "My toe hurts."),
            RatedTurn(2, "doctor", "I am sorry  to\nhear that. When did it start?"),
            RatedTurn(3, "patient", "It is gout.", ["leak: gout"]),
        ],
        "items": [
            RatedItem("2.1", "Respect", "1.00", "good", "Care", "", [(2, "SORRY to hear", True), (2, "", True)]),
            RatedItem("1.2", "Illness", "0.00", "bad", "Interview", "judge 1: 0", [(2, "hear that. When", True)]),
            RatedItem("9.9", "Made up", "1.00", "good", "Care", "", [(2, "never said", False)]),
        ],
        "tags": ["model good", "worst", "leak"],
        "facts": [("total", "0.500")],
    }  # fmt: skip
    return RatedDialogue(**{**given, **changes})


def page(*talks: RatedDialogue, more=()) -> str:
    section = Section("mini-cex", [Dialogues("Dialogues", talks or [talk()], "a note"), *more])
    return render_report("r", [section], {}, lambda item: None)


def test_quotes_are_found_whatever_case_and_space_and_overlaps_name_both_items():
    view = dialogues(Dialogues("d", [talk()]))
    turn = view["talks"][0]["turns"][1]
    assert "".join(text for text, _ in turn["pieces"]) == "I am sorry  to\nhear that. When did it start?"
    assert [(text, items) for text, items in turn["pieces"] if items is not None] == [
        ("sorry  to\n", "0"),
        ("hear", "0 1"),
        (" that. When", "1"),
    ]
    assert turn["names"] == ["2.1", "1.2"]


def test_a_quote_that_is_in_no_turn_is_struck_out_and_highlights_nothing():
    html = page()
    assert '<q class="unfound">never said</q> <small class="alarm">not in turn 2</small>' in html
    assert "9.9</span>" not in html


def test_violations_evidence_and_marks_stand_where_they_belong():
    html = page()
    assert '<span class="mark">leak: gout</span>' in html
    assert re.search(r'id="view-1-1-3" class="left marked"', html)
    assert re.search(r'<a href="#view-1-1-2">2</a>', html)
    assert re.search(r'<span class="level bad">0.00</span> <b>1.2</b>', html)
    assert "judge 1: 0" in html


def test_items_and_tags_can_be_chosen():
    html = page(talk(), talk(title="curt", tags=["model curt", "best"]))
    assert re.findall(r'<option value="(\d*)">(.*?)</option>', html) == [
        ("", "all items"), ("0", "2.1 Respect"), ("1", "1.2 Illness"), ("2", "9.9 Made up"), ("", "all dialogues"),
        ("0", "model good"), ("1", "worst"), ("2", "leak"), ("3", "model curt"), ("4", "best"),
    ]  # fmt: skip
    assert re.findall(r'data-tags="([\d ]+)"', html) == ["0 1 2", "3 4"]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_no_text_of_a_model_becomes_markup_anywhere():
    evil = talk(
        title=EVIL, tags=[EVIL], facts=[(EVIL, EVIL)],
        turns=[RatedTurn(1, EVIL, EVIL, [EVIL])],
        items=[RatedItem(EVIL, EVIL, EVIL, "good", EVIL, EVIL, [(1, EVIL, True), (1, "alert", True)])],
    )  # fmt: skip
    html = page(evil, more=[Notice(EVIL, EVIL, "warning", EVIL)])
    read = Tags()
    read.feed(html)
    assert read.names.count("script") == 1
    assert "img" not in read.names
    assert not {name for name in read.attributes if name.startswith("on")}
    assert "49" not in html.split("<main", 1)[1].split("</main>")[0]
    assert "\u202e" not in html


@pytest.mark.parametrize(
    ("level", "role", "word"), [("warning", "alert", "Warning"), ("ok", "status", "Passed")]
)
def test_a_notice_says_what_it_is_in_words_too(level, role, word):
    html = page(more=[Notice("t", "the text", level)])
    assert f'<p class="notice {level}" role="{role}"><b>{word}</b> the text</p>' in html


def test_a_view_without_dialogues_is_no_error():
    assert "Dialogues" in render_report(
        "r", [Section("s", [Dialogues("Dialogues", [])])], {}, lambda item: None
    )
