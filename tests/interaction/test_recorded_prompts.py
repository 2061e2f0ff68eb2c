"""The file of what people gave: read as written, and every mistake told with its line."""

import json

import pytest

from medeval.interaction.recorded import read_recording
from medeval.types import DatasetError

GOOD = {
    "case": "a",
    "structure": "liver",
    "annotator": "A",
    "round": 1,
    "clicks": [[3, 4, 1]],
    "seconds": 2.5,
}


def written(tmp_path, *lines):
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_rounds_are_given_by_annotator_in_order(tmp_path):
    box = {"case": "a", "structure": "liver", "annotator": "B", "round": 1, "box": [[0, 0], [4, 5]]}
    second = {**GOOD, "round": 2, "strokes": [{"kind": "scribble", "path": [[1, 1], [1, 5]], "label": 0}]}
    recording = read_recording(written(tmp_path, second, "", box, GOOD))
    assert recording.annotators == ("A", "B")
    found = dict(recording.of("a", "liver"))
    assert [len(rounds) for rounds in found.values()] == [2, 1]
    assert found[0][0].prompt("liver").points.tolist() == [[3, 4]]
    assert found[0][1].kinds == {"points", "scribble"}
    assert found[0][1].effort((1.0, 2.0), -1).mm == 8.0
    assert dict(recording.of("b", "liver")) == {}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "people.jsonl:1"),
        ("[1]", "a JSON object is expected"),
        ({**GOOD, "click": []}, "unknown key 'click'"),
        ({k: v for k, v in GOOD.items() if k != "case"}, "the key 'case' is missing"),
        ({**GOOD, "round": 0}, "round is 0"),
        ({**GOOD, "clicks": [[3, 4, 2]]}, "label, 1 on the structure or 0"),
        ({**GOOD, "clicks": [[3.5, 4, 1]]}, "whole numbers"),
        ({**GOOD, "clicks": []}, "nothing was given"),
        ({**GOOD, "box": [[4, 4], [4, 8]]}, "is empty"),
        ({**GOOD, "box": [[4, 4]]}, "a box is"),
        ({**GOOD, "strokes": [{"kind": "circle", "path": [[1, 1]]}]}, "a stroke has a kind"),
        ({**GOOD, "round": 2}, r"has rounds \[2\]"),
    ],
)
def test_mistakes_are_told(tmp_path, line, told):
    with pytest.raises(DatasetError, match=told):
        read_recording(written(tmp_path, line))


def test_a_round_that_is_there_twice_and_a_file_that_is_not(tmp_path):
    with pytest.raises(DatasetError, match=r"people\.jsonl:2: round 1 of a / liver / 'A' is there twice"):
        read_recording(written(tmp_path, GOOD, GOOD))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_recording(tmp_path / "none.jsonl")
    with pytest.raises(DatasetError, match="holds no line"):
        read_recording(written(tmp_path, ""))


@pytest.mark.parametrize(
    ("shape", "told"),
    [((3, 9), "a voxel outside"), ((4, 5, 6), "2 coordinates for an image of 3 axes"), ((4, 5), "")],
)
def test_what_does_not_fit_an_image_is_told(tmp_path, shape, told):
    recording = read_recording(written(tmp_path, GOOD))
    ((_, rounds),) = recording.of("a", "liver")
    assert told in rounds[0].outside(shape)
    assert bool(told) == bool(rounds[0].outside(shape))
