"""What a user gives in round 1 on a volume or a picture, and what it costs."""

import numpy as np
import pytest

from medeval.interaction import parse_prompt
from medeval.interaction.effort import Effort, cost_of
from medeval.interaction.openings import Scene, opening
from medeval.interaction.strokes import lasso, points_along, recist_line, scribble
from medeval.types import EvaluatorFailure, rng

SHAPE = (30, 32, 20)
SPACING = (1.0, 1.0, 2.0)


@pytest.fixture(scope="module")
def ball():
    a, b, c = np.indices(SHAPE)
    return ((a - 14) / 9) ** 2 + ((b - 15) / 6) ** 2 + ((c - 9) / 5) ** 2 <= 1  # slices 4 to 14


def opened(words, mask, spacing=SPACING):
    return opening(parse_prompt(words), Scene(mask, spacing), "organ", rng("opening", words))


@pytest.mark.parametrize(
    ("words", "clicks", "boxes", "lines", "slices"),
    [
        ("box", 0, 1, 0, 3),
        ("3 points", 3, 0, 0, None),
        ("1 slice box", 0, 1, 0, 1),
        ("3 slice boxes", 0, 3, 0, 3),
        ("5 slice points", 5, 0, 0, 5),
        ("point per slice", 11, 0, 0, 11),
        ("box per slice", 0, 11, 0, 11),
        ("middle box", 0, 1, 0, 3),
        ("recist line", 0, 0, 1, 1),
        ("recist box", 0, 0, 1, 1),
        ("recist 3 points", 0, 0, 1, 1),
        ("lasso", 0, 0, 1, 1),
        ("scribble", 0, 0, 1, 1),
    ],
)
def test_effort_counts_what_the_user_does(ball, words, clicks, boxes, lines, slices):
    _, effort = opened(words, ball)
    assert (effort.clicks, effort.boxes, effort.lines) == (clicks, boxes, lines)
    assert slices is None or len(effort.slices) == slices
    assert (effort.mm > 0) == (lines > 0)


def test_more_boxes_enclose_more_of_the_structure(ball):
    shares = []
    for words in ("1 slice box", "3 slice boxes", "5 slice boxes", "box per slice"):
        boxes = opened(words, ball)[0].boxes
        assert ((boxes[:, 1] - boxes[:, 0])[:, 2] == 1).all()
        covered = np.zeros(SHAPE, bool)
        for start, stop in boxes:
            covered[tuple(slice(*side) for side in zip(start, stop, strict=True))] = True
        shares.append((covered & ball).sum() / ball.sum())
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[2] > 0.9
    assert shares[3] == 1.0


def test_a_diameter_is_the_longest_of_the_largest_slice_in_mm(ball):
    line = recist_line(ball, SPACING)
    assert line.tolist() == [[5, 15, 9], [23, 15, 9]]
    stretched = recist_line(ball, (1.0, 4.0, 2.0))
    assert stretched.tolist() == [[14, 9, 9], [14, 21, 9]]
    assert points_along(line, 3).tolist() == [[10, 15, 9], [14, 15, 9], [18, 15, 9]]


def test_a_lasso_goes_around_the_structure_once(ball):
    path = lasso(ball)
    assert set(path[:, 2]) == {9}
    assert path[0].tolist() == path[-1].tolist()
    assert not ball[tuple(path.T)].any()
    assert np.abs(np.diff(path, axis=0)).max() == 1


def test_a_scribble_is_one_line_on_the_structure():
    mask = np.zeros((20, 20), bool)
    mask[4:7, 2:18] = True
    mask[4:16, 15:18] = True  # an L
    path = scribble(mask)
    assert mask[tuple(path.T)].all()
    assert np.abs(np.diff(path, axis=0)).max() == 1
    assert np.ptp(path, axis=0).min() >= 8


@pytest.mark.parametrize("words", ["lasso", "scribble", "recist line", "recist 2 points", "recist box"])
def test_one_voxel_can_be_drawn(words):
    mask = np.zeros((6, 7), bool)
    mask[0, 6] = True
    prompt, effort = opened(words, mask, (1.0, 1.0))
    assert effort.lines == 1
    for stroke in prompt.strokes:
        assert ((stroke.path >= 0) & (stroke.path < (6, 7))).all()


@pytest.mark.parametrize("words", ["3 slice boxes", "middle box", "point per slice"])
def test_pictures_have_no_slices(words):
    with pytest.raises(EvaluatorFailure, match="slices of a volume"):
        opened(words, np.ones((4, 4), bool), (1.0, 1.0))


@pytest.mark.parametrize("words", ["box", "3 slice points", "middle box", "recist line", "lasso", "scribble"])
def test_an_absent_structure_cannot_be_drawn(words):
    with pytest.raises(EvaluatorFailure, match="empty"):
        opened(words, np.zeros(SHAPE, bool))


def test_slices_lie_along_the_axis_that_is_named(ball):
    turned = np.moveaxis(ball, -1, 0)
    scene = Scene(turned, (2.0, 1.0, 1.0), slice_axis=0)
    prompt, _ = opening(parse_prompt("3 slice boxes"), scene, "organ", rng(0))
    straight, _ = opened("3 slice boxes", ball)
    assert prompt.boxes.tolist() == straight.boxes[:, :, [2, 0, 1]].tolist()


def test_effort_adds_up_and_a_slice_counts_once():
    total = Effort(clicks=1, slices=frozenset({3})) + Effort(
        boxes=2, lines=1, slices=frozenset({3, 4}), mm=7.5
    )
    assert total.columns() == {"n_clicks": 1, "n_boxes": 2, "n_lines": 1, "n_slices": 2, "drawn_mm": 7.5}
    assert cost_of(
        total.columns(), {"click": 1, "box": 2, "line": 3, "slice": 0.5, "mm": 0.1}
    ) == pytest.approx(9.75)
