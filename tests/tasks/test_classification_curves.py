"""ROC, precision-recall and calibration curves: right figures, and points that open the study at their threshold."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.tasks.classification.curves import (
    BIN_POINTS,
    VERTICES,
    calibration_curve,
    precision_recall_curve,
    roc_curve,
    score_distribution,
    study_views,
)
from medeval.tasks.classification.summary import Studies


def studies(score, label, model="m"):
    cases = np.array([f"s{n}" for n in range(len(score))], dtype=object)
    return Studies(
        model, False, cases, cases, True, np.asarray(score, dtype=float), np.asarray(label), 0.5, {}
    )


DRAW = np.random.default_rng(1)
LABELS = DRAW.integers(0, 2, 60)
MANY = studies(np.round(0.3 * LABELS + DRAW.uniform(0, 0.7, 60), 2), LABELS)  # with ties


def test_precision_and_recall_are_scikit_learns():
    peer = pytest.importorskip("sklearn.metrics")
    precision, recall, _ = peer.precision_recall_curve(MANY.label, MANY.score, drop_intermediate=False)
    line = precision_recall_curve("d", [MANY]).series[0]
    assert line.x == pytest.approx(recall[:-1][::-1].tolist())
    assert line.y == pytest.approx(precision[:-1][::-1].tolist())


@pytest.mark.parametrize("curve", [roc_curve, precision_recall_curve])
def test_a_point_opens_the_study_whose_score_is_its_threshold(curve):
    line = curve("d", [MANY]).series[0]
    positives = (MANY.label == 1).sum()
    for n, group in enumerate(line.records):
        if group is None:
            assert (n, line.x[n], line.y[n]) == (0, 0.0, 0.0)
            continue
        (point,) = group.points
        found = (MANY.label[point.x <= MANY.score] == 1).sum() / positives
        assert found == pytest.approx(line.y[n] if curve is roc_curve else line.x[n])
        assert MANY.score[int(point.case_id[1:])] == point.x
        assert point.key.structure == ("positive study" if MANY.label[int(point.case_id[1:])] else "negative study")  # fmt: skip


def test_many_studies_give_some_vertices_with_both_ends_and_the_note_says_so():
    score = DRAW.permutation(5000) / 5000
    view = roc_curve("d", [studies(score, DRAW.integers(0, 2, 5000))])
    line = view.series[0]
    assert len(line.x) == len(line.records) <= VERTICES
    assert [(line.x[0], line.y[0]), (line.x[-1], line.y[-1])] == [(0, 0), (1, 1)]
    assert f"{VERTICES} of up to 5,000 points are drawn" in view.note
    assert "drawn" not in roc_curve("d", [MANY]).note


def test_a_calibration_bin_lists_some_of_its_studies_and_how_many_it_has():
    line = calibration_curve("d", [MANY]).series[0]
    assert sum(group.n for group in line.records) == 60
    for mean, group in zip(line.x, line.records, strict=True):
        assert len(group.points) == min(BIN_POINTS, group.n)
        assert group.points[0].x <= mean <= group.points[-1].x


def test_scores_stand_by_label_and_model():
    view = score_distribution("d", [MANY, studies(MANY.score, LABELS, "other")])
    assert [(group.part, group.model) for group in view.groups] == [
        ("positive studies", "m"), ("positive studies", "other"), ("negative studies", "m"), ("negative studies", "other"),
    ]  # fmt: skip
    assert view.groups[0].marks["median"] == pytest.approx(np.median(MANY.score[LABELS == 1]))


@pytest.mark.parametrize(
    ("score", "label"), [([0.2, 0.3], [0, 0]), ([0.2, 0.3], [1, 1]), ([1.0, 0.0], [1, 0]), ([0.5], [1])]
)
def test_one_label_or_two_scores_break_nothing(score, label):
    views = study_views("d", [studies(score, label)])
    assert [view.title.split()[0] for view in views] == ["ROC", "Precision", "Calibration"]
