"""Rubrics are data: the packaged ones are those of the sheet, and a user's own is checked with file, key and reason."""

import json
from pathlib import Path

import pytest
import yaml
from stage import bundled

from medeval.dialogue.files import DialogueFileError
from medeval.dialogue.rubric import CriteriaRubric, load_rubric, rubric_names

SHEET = Path(__file__).resolve().parents[3] / "shared" / "papers" / "mini_cex_rubric.json"
ITEM = {"id": "a", "dimension": "manner", "title": "Greets"}
OWN = {"kind": "items", "name": "mine", "dimensions": [{"id": "manner"}], "items": [ITEM]}


def written(tmp_path, rubric):
    path = tmp_path / "mine.yaml"
    path.write_text(rubric if isinstance(rubric, str) else yaml.safe_dump(rubric))
    return path


def test_the_packaged_rubrics_are_named():
    assert rubric_names() == ("case-criteria", "mini-cex-abim", "mini-cex-llm", "mini-cex-llm-extended")


@pytest.mark.parametrize("variant", ["mini-cex-llm", "mini-cex-llm-extended", "mini-cex-abim"])
def test_a_packaged_variant_is_the_sheets_item_by_item(variant):
    if not SHEET.is_file():
        pytest.skip("../shared/papers is not there")
    sheet = json.loads(SHEET.read_text())
    rubric = load_rubric(variant)
    assert [item.id for item in rubric.items] == sheet["variants"][variant]["items"]
    told = {item["id"]: item for item in sheet["items"]}
    for item in rubric.items:
        wanted = told[item.id]
        assert (item.title, item.description, item.dimension) == (
            wanted["title"],
            wanted["description"],
            wanted["dimension"],
        )
        assert list(item.scale.values) == sheet["scales"][wanted["scale"]]["values"]
        assert item.scale.not_applicable == sheet["scales"][wanted["scale"]]["allow_not_applicable"]
        assert (item.polarity, item.provenance) == (wanted["polarity"], wanted["provenance"])
        assert item.needs_reference == wanted.get("needs_reference", False)
        assert item.not_applicable == wanted.get("default_not_applicable", False)


def test_what_is_ours_is_marked_as_ours():
    rubric = load_rubric("mini-cex-llm-extended")
    assert {item.id for item in rubric.items if item.provenance == "ours"} == {
        i.id for i in rubric.items if i.id.startswith("x")
    }
    assert all(item.provenance == "downstream" for item in load_rubric("mini-cex-llm").items)


@pytest.mark.parametrize("name", ["mini-cex-llm", "mini-cex-llm-extended", "mini-cex-abim"])
def test_every_packaged_item_has_a_rule_so_that_it_runs_without_a_model(name):
    assert [i.id for i in load_rubric(name).items if i.rule is None and not i.not_applicable] == []


def test_scores_map_to_the_unit_interval_with_polarity():
    items = load_rubric("mini-cex-llm-extended").by_id
    assert items["1.1"].unit(1) == 1
    assert items["x3.6"].unit(1) == 0
    assert items["4.1"].unit(1) == 0.5
    nine = load_rubric("mini-cex-abim").by_id["abim.interview"]
    assert (nine.unit(1), nine.unit(5), nine.unit(9)) == (0, 0.5, 1)
    assert (nine.scale.at(0), nine.scale.at(0.5), nine.scale.at(1)) == (1, 5, 9)


def test_an_own_rubric_needs_little(tmp_path):
    rubric = load_rubric(written(tmp_path, OWN))
    assert rubric.items[0].scale.values == (0, 1)
    assert rubric.items[0].provenance == "ours"


def test_numbers_may_be_ids_and_scales_may_be_lists_or_named(tmp_path):
    items = [
        {**ITEM, "id": 1.1},
        {**ITEM, "scale": [1, 2, 3]},
        {**ITEM, "id": "b", "scale": "five", "anchors": {1: "bad", 5: "good"}},
    ]
    rubric = load_rubric(written(tmp_path, {**OWN, "scales": {"five": [1, 2, 3, 4, 5]}, "items": items}))
    assert list(rubric.by_id) == ["1.1", "a", "b"]
    assert rubric.by_id["b"].scale.values == (1, 2, 3, 4, 5)


def test_a_rubric_may_extend_a_packaged_one(tmp_path):
    own = {"extends": "mini-cex-llm", "name": "mine", "items": [{**ITEM, "dimension": "humanistic_care"}, {**ITEM, "id": "1.1", "dimension": "interviewing"}]}  # fmt: skip
    rubric = load_rubric(written(tmp_path, own))
    assert rubric.name == "mine"
    assert set(rubric.by_id) == {i.id for i in load_rubric("mini-cex-llm").items} | {"a"}
    assert rubric.by_id["1.1"].title == "Greets"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"items": []}, "items"),
        ({"items": [ITEM, ITEM]}, "item id 'a' occurs twice"),
        ({"items": [{**ITEM, "dimension": "maner"}]}, "unknown dimension 'maner'; did you mean 'manner'"),
        ({"items": [{**ITEM, "scale": "binry"}]}, "unknown scale 'binry'; did you mean 'binary'"),
        ({"items": [{**ITEM, "scale": [2, 1]}]}, "values must rise"),
        ({"items": [{**ITEM, "scale": [1]}]}, "scale"),
        ({"items": [{**ITEM, "polarity": 0}]}, "polarity"),
        ({"items": [{**ITEM, "weight": -1}]}, "weight"),
        ({"items": [{**ITEM, "anchors": {7: "x"}}]}, r"anchors for \[7\]"),
        ({"items": [{**ITEM, "rule": {"check": "asks"}}]}, "check `asks` needs `topics`"),
        ({"items": [{**ITEM, "rule": {"check": "says", "patterns": ["two words"]}}]}, "single words"),
        ({"items": [{**ITEM, "titel": "x"}]}, "titel"),
        ({"kind": "item"}, "unknown kind 'item'; known: items, criteria"),
        ({"name": ""}, "name"),
        ({"scales": {"five": {"values": [1, 1]}}}, r"scales\.five"),
    ],
)
def test_a_rubric_that_does_not_hold_is_refused_with_file_key_and_reason(tmp_path, change, told):
    with pytest.raises(DialogueFileError, match=told) as caught:
        load_rubric(written(tmp_path, {**OWN, **change}))
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b", "a mapping of keys"),
        ("name: [", "line 1"),
        ("a: !!python/object:os.system x", "tag"),
        ("", "a mapping"),
    ],
)
def test_a_file_that_is_no_rubric_is_refused(tmp_path, text, told):
    with pytest.raises(DialogueFileError, match=told):
        load_rubric(written(tmp_path, text))


def test_an_unknown_rubric_is_told_of_with_the_nearest():
    with pytest.raises(DialogueFileError, match="did you mean 'mini-cex-llm'"):
        load_rubric("mini-cex-lm")


def test_signed_criteria_are_the_second_kind(tmp_path):
    own = {
        "kind": "criteria",
        "name": "mine",
        "criteria": [{"text": "Refers", "points": 5}, {"text": "Harms", "points": -5}],
    }
    rubric = load_rubric(written(tmp_path, own))
    assert isinstance(rubric, CriteriaRubric)
    assert [c.id for c in rubric.criteria] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("criteria", "told"),
    [
        ([{"text": "x", "points": 0}], "0 points"),
        ([{"text": "x", "points": -1}], "positive points"),
        ([], "needs `criteria`"),
    ],
)
def test_criteria_that_cannot_be_scored_are_refused(tmp_path, criteria, told):
    with pytest.raises(DialogueFileError, match=told):
        load_rubric(written(tmp_path, {"kind": "criteria", "name": "mine", "criteria": criteria}))


def test_a_case_brings_its_own_criteria():
    rubric = load_rubric("case-criteria")
    case = bundled()["crushing-chest-pain"]
    assert [c.points for c in rubric.for_case(case).criteria] == [10, 5, -10]
    assert rubric.criteria == ()
