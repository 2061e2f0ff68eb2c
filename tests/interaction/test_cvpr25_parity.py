"""Clicks and boxes of the CVPR 2025 interactive challenge, as its own code placed them (tests/parity/interaction)."""

import json
from pathlib import Path

import numpy as np
import pytest

from medeval.interaction import middle_slice_box, next_click
from medeval.types import rng

FOLDER = Path(__file__).parent.parent / "parity" / "interaction"
CLICKS = json.loads((FOLDER / "cvpr25_clicks.json").read_text())
SESSIONS = json.loads((FOLDER / "cvpr25_sessions.json").read_text())["cases"]


def cvpr25_click(prediction, reference):
    return next_click(prediction, reference, (), "cvpr25", rng("not used"), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("name", CLICKS["clicks"])
def test_the_next_click_is_the_challenges(name):
    arrays = np.load(FOLDER / "case_cvpr25_clicks.npz")
    click = cvpr25_click(arrays[f"{name}__seg"] > 0, arrays[f"{name}__gt"] > 0)
    expected = CLICKS["clicks"][name]
    if expected is None:
        assert click is None
    else:
        assert (list(click.point), ["bg", "fg"][click.label]) == (expected["zyx"], expected["type"])


@pytest.mark.parametrize("name", CLICKS["boxes"])
def test_the_box_is_the_challenges(name):
    mask = np.load(FOLDER / "case_cvpr25_clicks.npz")[f"{name}__gt"] > 0
    for expected in CLICKS["boxes"][
        name
    ].values():  # images of these sides are too small for the random widening
        assert middle_slice_box(mask, rng(0), axis=0).tolist() == half_open(expected).tolist()


def half_open(box):
    """The challenge's closed box, keys in (z, y, x) order."""
    start = [box["z_min"], box["z_mid_y_min"], box["z_mid_x_min"]]
    stop = [box["z_max"], box["z_mid_y_max"], box["z_mid_x_max"]]
    return np.array([start, np.array(stop) + 1])


def box_answer(shape, boxes):
    """Step 0 of the fixture's stamp model: fill each class's cuboid."""
    answer = np.zeros(shape, np.uint8)
    for value, box in enumerate(boxes, start=1):
        answer[tuple(slice(*side) for side in half_open(box).T)] = value
    return answer


def stamp(answer, clicks):
    """Further steps: a ball of radius 3 around each class's last click is set to the class, or cleared of it."""
    stamped = answer.copy()
    for value, (point, label) in clicks.items():
        away = sum((axis - at) ** 2 for axis, at in zip(np.indices(answer.shape), point, strict=True))
        ball = away <= 9
        stamped[ball if label else ball & (stamped == value)] = value if label else 0
    return stamped


@pytest.mark.parametrize("name", SESSIONS)
def test_whole_sessions_click_where_the_challenge_clicked(name):
    arrays = np.load(FOLDER / "case_cvpr25_sessions.npz")
    reference, kept = arrays[f"{name}__gts"], arrays[f"{name}__all_segs"]
    boxes = SESSIONS[name]["boxes"]
    answer = box_answer(reference.shape, boxes or [])
    answers = [answer] if boxes else []
    classes = [int(value) for value in np.unique(reference)[1:]]
    for expected in SESSIONS[name]["clicks"]:
        found = {value: cvpr25_click(answer == value, reference == value) for value in classes}
        found = {value: click for value, click in found.items() if click is not None}
        assert [[value, list(c.point), ["bg", "fg"][c.label]] for value, c in found.items()] == [
            [entry["class"], entry["zyx"], entry["type"]] for entry in expected
        ]
        answer = stamp(answer, {classes.index(value) + 1: click for value, click in found.items()})
        answers.append(answer)
    np.testing.assert_array_equal(answers[-len(kept) :], kept)
