"""The shared form of views and rows: a closed list, nothing of a single person, whatever a view holds."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, fields

import numpy as np
import planted_names as planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval.engine.sharing.names import Names
from medeval.report import Section, render_report
from medeval.report.share import (
    ROW_FIELDS,
    Sharing,
    anonymous,
    banded,
    bare_views,
    shared_row,
    shared_views,
)
from medeval.types import Key
from medeval.types.views import (
    BlandAltman,
    CaseGroup,
    CasePoint,
    Chat,
    Column,
    Curve,
    Dialogues,
    Distribution,
    Forest,
    Gallery,
    GalleryItem,
    Matrix,
    Notice,
    Passage,
    Picture,
    Series,
    Table,
    TextDiff,
    Turn,
)

W = planted.WORD


def rules(least=10, pixels=False, people=None):
    return Sharing(least, people or (lambda dataset, case: case), lambda text: W not in text, pixels)


def group(values, name="net", cases=None, marks=None, **more):
    points = [
        CasePoint(case, Key(f"{W}structure", "box"), 0, float(x), float(x), (1.0,), f"{W}error")
        for case, x in zip(cases or [f"{W}{n}" for n in range(len(values))], values, strict=True)
    ]
    found = marks or {"q1": 0.1, "median": 0.5, "q3": 0.9, "bias": 0.25, "low": -1.0, "high": 1.0}
    return CaseGroup(name, "data", name, "", points, len(points), found, scores=(f"{W}score",), **more)


def rendered(views):
    return render_report("t", [Section("s", views)], {}, lambda item: None)


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0"), (1, "< 10"), (9, "< 10"), (10, "10 or more"), (19, "10 or more"), (20, "20 or more"), (347, "340 or more")],
)  # fmt: skip
def test_counts_are_told_in_bands(count, told):
    assert banded(count, 10) == told


def test_a_row_keeps_allowed_fields_alone():
    row = {**dict.fromkeys(ROW_FIELDS, 1), "case": W, "records_shown": W}
    told = shared_row(row, n=12)
    assert tuple(told) == ROW_FIELDS
    assert told["n"] == 12


@dataclass(frozen=True)
class Strange:
    """A kind of view that nobody knows."""

    title: str = W
    note: str = W


class Finer(Distribution):
    """A kind that holds more than the one it comes from."""


@pytest.mark.parametrize(
    "view",
    [
        Strange(), Table("t", [Column("a")], [{"a": W}]), Forest("t", "x", [{"label": W, "value": 1.0}]),
        Matrix("t", [W], ["b"], [[1.0]]), Curve("t", "x", "y", [Series(W, [1], [1])]), Chat("t", [Turn("a", W)]),
        TextDiff("t", W, W), Notice("t", W), Passage("t", W), Dialogues("t", []), Gallery("t", []),
        Finer("t", "x", [group(range(40))]), Distribution(W, "x", [group(range(40))]),
    ],
    ids=lambda view: type(view).__name__,
)  # fmt: skip
def test_a_view_that_is_not_allowed_is_left_out_and_counted(view):
    asked = rules()
    assert shared_views([view], asked) == []
    assert sum(asked.withheld.values()) == 1


def test_a_view_drawn_of_shared_rows_loses_the_records_behind_its_points():
    line = Series("a", [1, 2], [0.1, 0.2], records=[group(range(20)), group(range(20))])
    (curve,) = bare_views([Curve("t", "x", "y", [line]), Chat("t", [Turn("a", W)]), Strange()])
    assert curve.series[0].records == ()
    assert planted.found(rendered([curve])) == []
    assert set(Series.__dataclass_fields__) == {"name", "x", "y", "low", "high", "baseline", "records"}


def test_a_distribution_becomes_steps_without_points():
    values = np.random.default_rng(0).beta(8, 2, 200)
    (curve,) = shared_views([Distribution("dice by case", "dice", [group(values)])], rules())
    (line,) = curve.series
    for x, y in zip(line.x, line.y, strict=True):
        assert y == pytest.approx((values <= x).mean(), abs=1e-3)
        assert x == pytest.approx(round(x, 2))
    assert planted.found(rendered([curve])) == []
    assert "data-p=" not in rendered([curve])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=1, max_size=80),
    st.integers(1, 4),
    st.integers(2, 12),
)
def test_any_step_of_a_distribution_has_people_enough_on_both_sides(values, records, least):
    cases = [f"c{n}" for n in range(len(values))]
    people = {case: f"p{n // records}" for n, case in enumerate(cases)}
    asked = rules(least, people=lambda dataset, case: people[case])
    found = shared_views([Distribution("t", "x", [group(values, cases=cases)])], asked)
    for curve in found:
        edges = [-np.inf, *curve.series[0].x, np.inf]
        for low, high in itertools.pairwise(edges):
            inside = {people[c] for c, v in zip(cases, values, strict=True) if low < v <= high}
            assert len(inside) >= least
    assert found or sum(asked.withheld.values())


def test_groups_of_few_people_are_left_out_however_many_records_they_have():
    cases = [f"c{n}" for n in range(60)]
    few = rules(people=lambda dataset, case: f"p{int(case[1:]) % 9}")
    assert shared_views([BlandAltman("t", "x", "y", [group(range(60), cases=cases)])], few) == []
    (table,) = shared_views(
        [BlandAltman("t", "x", "y", [group(range(60)), group(range(5), "other")])], rules()
    )
    assert [(row["model"], row["people"], row["bias"]) for row in table.rows] == [("net", "60 or more", 0.25)]
    assert planted.found(rendered([table])) == []


def item(number, **more):
    said = {"caption": f"{W}case · dice 0.123", "rank": "worst", **more}
    return GalleryItem("data", "net", "", 0, f"{W}{number}", Key("liver", "box"), **said)


def test_pictures_are_shared_when_asked_for_and_without_words():
    view = Gallery("Cases", [item(1), item(2, rank="failed"), item(1, rank="best")])
    assert shared_views([view], rules()) == []
    (shared,) = shared_views([view], rules(pixels=True))
    assert [one.case_id for one in shared.items] == ["case 1", "case 2", "case 1"]
    assert {one.caption for one in shared.items} == {"liver · box"}
    mask = np.eye(8, dtype=bool)
    inner = Picture(np.zeros((8, 8), np.uint8), {f"{W}organ": mask}, caption=f"{W}slice")
    drawn = anonymous(view, lambda one: Picture(np.zeros((8, 8), np.uint8), {"reference": mask, W: mask}, caption=one.case_id,
                                                slices=(inner,), place=0))  # fmt: skip
    page = render_report("t", [Section("s", [shared])], {}, drawn)
    assert page.count("data:image") >= 2
    assert planted.found(page) == []
    assert anonymous(view, lambda one: None)(item(1)) is None


def test_items_of_a_place_that_may_not_be_named_are_left_out():
    other = GalleryItem(f"{W}data", "net", "", 0, "c", Key("liver"), "", "best")
    (shared,) = shared_views([Gallery("Cases", [item(1), other])], rules(pixels=True))
    assert len(shared.items) == 1


NAMES = Names(
    frozenset({"anna", "case-17", "p001", "12"}),
    frozenset({"anna"}),
    numbered={"model": ["net", "/x/case-17", "a.py:B"]},
)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("dice", True), ("nsd@2mm", True), ("north", True), ("anna", True), ("12 clicks", True), ("A/P", True),
        ("case-17", False), ("dice of case-17", False), ("(p001)", False), ("a=p001", False), ("/home/x", False),
        ("~/x", False), ("https://x", False), ("C:\\x", False), ("C:/x", False), ("a/b/c", False), ("me@host.org", False),
        ("x" * 301, False),
    ],
)  # fmt: skip
def test_words_that_name_somebody_or_a_place_are_not_told(text, safe):
    assert NAMES.safe(text) is safe


def test_labels_of_metadata_are_short_and_names_that_are_paths_get_numbers():
    assert NAMES.safe_label("left ventricle")
    assert not NAMES.safe_label("seen twice by the night shift")
    assert not NAMES.safe_label("x" * 41)
    assert [NAMES.told("model", name) for name in ("net", "/x/case-17", "a.py:B")] == [
        "net",
        "model 2",
        "model 3",
    ]
    assert NAMES.hides("minus a.py:B")
    assert not NAMES.hides("minus net")
    assert Names(frozenset(), anonymise=True, numbered={"model": ["net"]}).told("model", "net") == "model 1"


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_text_of_a_view_of_records_comes_through(data):
    """Every field of text and every name is planted but those that the rules call safe."""
    word = st.sampled_from([W, f"x {W}", "net", "box"])
    made = [
        CaseGroup(data.draw(word), "data", data.draw(word), data.draw(word),
                  [CasePoint(f"{W}{n}", Key(W, W), 0, float(n), float(n)) for n in range(data.draw(st.integers(1, 30)))],
                  30, {"bias": 1.0, "low": 0.0, "high": 2.0, W: 1.0}, part=data.draw(word))
        for _ in range(data.draw(st.integers(1, 4)))
    ]  # fmt: skip
    title, axis, note = (data.draw(word) for _ in range(3))
    views = [Distribution(title, axis, made, note), BlandAltman(title, axis, axis, made, note)]
    page = json.dumps([repr(view) for view in shared_views(views, rules())])
    assert W not in page
    assert not re.search(r"CasePoint|CaseGroup", page)


def test_the_closed_list_knows_every_field_of_what_it_takes_over():
    """A field that is new in these views must be looked at before it can leave the house."""
    assert [f.name for f in fields(Table)] == ["title", "columns", "rows", "note"]
    assert [f.name for f in fields(Forest)] == ["title", "x_title", "rows", "note"]
    assert [f.name for f in fields(Matrix)] == ["title", "rows", "columns", "values", "note"]
    assert [f.name for f in fields(GalleryItem)] == ["dataset", "model", "arm", "seed", "case_id", "key", "caption", "rank"]  # fmt: skip
    assert [f.name for f in fields(Picture)] == ["background", "outlines", "points", "box", "caption", "slices", "place"]  # fmt: skip
