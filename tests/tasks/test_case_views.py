"""How single records become views: what stands in a distribution and in Bland-Altman panels, and how much of it is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medeval.statistics import Resamples, clusters
from medeval.tasks.case_views import GROUP_POINTS, ROUND_POINTS, VIEW_POINTS
from medeval.tasks.segmentation import AutomaticSegmentation
from medeval.tasks.summary import CellEvidence, Evidence, summarize
from medeval.types.views import BlandAltman, Curve, Distribution, Forest, Matrix


def record(number, dice, status="ok", *, structure="liver", prompt="", truth=100, found=100, **more):
    """One row of a case of its own patient."""
    answered = status == "ok"
    return {
        "task": "t", "dataset": "d", "model": "m", "arm": "", "seed": 0, "case": f"c{number:05}", "structure": structure,
        "prompt": prompt, "round": 0, "sample": 0, "status": status, "error": None, "dice": dice, "dice.rule": None,
        "voxels_reference": truth if answered else None, "voxels_prediction": found if answered else None,
        "patient": f"p{number}", **more,
    }  # fmt: skip


def views_of(kind, *models, unit="mm", by=(), **fields):
    """Views of one kind; models: rows of each model."""
    task = AutomaticSegmentation(metrics=("dice",), by=by, **fields)
    cells = [CellEvidence("d", f"m{n}", "", False, pd.DataFrame(rows), unit) for n, rows in enumerate(models)]
    index = cells[0].frame.drop_duplicates("case")
    resamples = Resamples("d", clusters(index["patient"].tolist(), index["case"].tolist()))
    summary = summarize(task, Evidence(lambda: iter(cells), lambda dataset: resamples))
    return [view for view in summary.views if isinstance(view, kind)]


def test_every_record_is_a_point_and_the_quartiles_are_of_all():
    values = np.linspace(0.1, 0.9, 9)
    (view,) = views_of(Distribution, [record(n, float(v)) for n, v in enumerate(values)])
    (group,) = view.groups
    assert [point.x for point in group.points] == pytest.approx(values)
    assert [point.case_id for point in group.points][:2] == ["c00000", "c00001"]
    assert group.marks == pytest.approx({"q1": 0.3, "median": 0.5, "q3": 0.7})
    assert group.n == 9


def test_a_failure_stands_at_the_worst_value_and_what_is_missing_nowhere():
    rows = [record(0, 0.8), record(1, 0.6), record(2, 0.0, "model_failed"), record(3, None, "infrastructure")]
    (view,) = views_of(Distribution, rows)
    assert [point.x for point in view.groups[0].points] == [0.0, 0.6, 0.8]
    assert "failure stands at the worst value" in view.note


def test_where_failures_are_no_part_of_the_mean_they_are_no_points():
    rows = [record(0, 0.8), record(1, 0.6), record(2, 0.0, "model_failed"), record(3, 0.7)]
    (view,) = views_of(Distribution, rows, on_failure="exclude")
    assert [point.x for point in view.groups[0].points] == [0.6, 0.7, 0.8]
    assert "failures are left out" in view.note


def test_of_many_records_some_are_drawn_evenly_by_rank_and_the_note_says_how_many():
    count = 4 * GROUP_POINTS
    rows = [record(n, n / count) for n in range(count)]
    (view,) = views_of(Distribution, *[rows] * 7)
    drawn = [len(group.points) for group in view.groups]
    assert sum(drawn) <= VIEW_POINTS
    assert {group.n for group in view.groups} == {count}
    assert f"{sum(drawn):,} of {7 * count:,} records are drawn" in view.note
    xs = [point.x for point in view.groups[0].points]
    assert (xs[0], xs[-1]) == (0.0, (count - 1) / count)
    assert np.diff(xs).max() < 2 * np.diff(xs).mean()


def test_bias_and_limits_are_those_of_bland_and_altman():
    found = [110, 130, 90, 100]
    (view,) = views_of(BlandAltman, [record(n, 0.5, found=f) for n, f in enumerate(found)])
    differences = np.array(found) - 100.0
    marks = view.groups[0].marks
    assert marks["bias"] == pytest.approx(differences.mean())
    assert marks["high"] - marks["bias"] == pytest.approx(1.96 * differences.std(ddof=1))
    assert marks["bias"] - marks["low"] == pytest.approx(marks["high"] - marks["bias"])
    assert {(p.case_id, p.x, p.y) for p in view.groups[0].points} >= {("c00001", 115.0, 30.0)}
    assert "[voxels]" in view.x_title


def test_two_empty_masks_and_failures_are_no_agreement():
    rows = [
        record(0, 0.5),
        record(1, 0.6, found=90),
        record(2, 0.0, truth=0, found=0),
        record(3, 0.0, "model_failed"),
    ]
    (view,) = views_of(BlandAltman, rows)
    assert [point.case_id for point in view.groups[0].points] == ["c00001", "c00000"]
    assert view.groups[0].n == 2


@pytest.mark.parametrize(
    ("sizes", "unit", "expected", "x"),
    [([0.002, 0.004], "mm", "ml", [0.2, 0.4]), ([0.002, None], "mm", "voxels", [100, 100]),
     ([0.002, 0.002], "px", "voxels", [100, 100]), (["a", 0.1], "mm", "voxels", [100, 100])],
)  # fmt: skip
def test_volumes_are_in_ml_where_every_case_says_how_large_a_voxel_is(sizes, unit, expected, x):
    rows = [record(n, 0.5, voxel_ml=size) for n, size in enumerate(sizes)]
    (view,) = views_of(BlandAltman, rows, unit=unit)
    assert view.x_title == f"mean of both [{expected}]"
    assert sorted(point.x for point in view.groups[0].points) == pytest.approx(x)


def test_a_failed_record_without_a_voxel_size_leaves_the_others_in_ml():
    rows = [record(n, 0.5, voxel_ml=0.002) for n in range(3)]
    rows.append(record(3, 0.0, "model_failed", voxel_ml=None))
    (view,) = views_of(BlandAltman, rows)
    assert view.x_title == "mean of both [ml]"
    assert view.groups[0].n == 3


def test_a_point_knows_its_scores_and_why_it_failed():
    rows = [record(n, 0.5 + n / 10) for n in range(3)] + [record(3, 0.0, "model_failed")]
    rows[-1]["error"] = "no answer"
    (view,) = views_of(Distribution, rows)
    (group,) = view.groups
    assert list(group.scores) == ["dice"]
    told = [(p.case_id, tuple(p.scores), p.note) for p in group.points]
    assert told[:2] == [("c00003", (0.0,), "model_failed: no answer"), ("c00000", (0.5,), "")]


def test_rounds_of_a_curve_hold_some_of_their_records_lowest_and_highest_among_them():
    rows = [record(n, n / 40 + r / 10, prompt="3 clicks", round=r) for n in range(20) for r in (1, 2, 3)]
    (view,) = views_of(Curve, rows)
    (line,) = view.series
    assert [len(group.points) for group in line.records] == [ROUND_POINTS] * 3
    last = line.records[-1]
    assert (last.n, {point.key.round for point in last.points}) == (20, {3})
    assert [last.points[0].case_id, last.points[-1].case_id] == ["c00000", "c00019"]


def test_one_record_a_model_is_no_distribution():
    assert views_of(Distribution, [record(0, 0.5)]) == views_of(BlandAltman, [record(0, 0.5)]) == []


def test_a_score_that_is_right_or_wrong_has_no_distribution():
    assert views_of(Distribution, [record(n, float(n % 2)) for n in range(9)]) == []


def test_prompts_are_parts_with_all_models_beside_each_other():
    rows = [record(n, 0.5 + n / 10, prompt=prompt) for n in range(3) for prompt in ("box", "point")]
    (view,) = views_of(Distribution, rows, rows)
    assert [(group.part, group.model) for group in view.groups] == [
        ("box", "m0"), ("box", "m1"), ("point", "m0"), ("point", "m1"),
    ]  # fmt: skip


def test_models_stand_beside_each_other_in_a_forest_plot_of_the_first_metric():
    rows = [record(n, 0.5 + n / 20) for n in range(5)]
    (view,) = views_of(Forest, rows, rows)
    assert [row["label"] for row in view.rows] == ["m0", "m1"]
    assert view.rows[0]["value"] == pytest.approx(0.6)
    assert views_of(Forest, rows) == []


def test_structures_by_models_are_a_heat_map():
    one = [record(n, 0.5, structure=name) for n in range(3) for name in ("liver", "spleen")]
    two = [record(n, 0.7, structure=name) for n in range(3) for name in ("liver",)]
    (view,) = views_of(Matrix, one, two, by=("structure",))
    assert (view.rows, view.columns) == (["liver", "spleen"], ["m0", "m1"])
    assert view.values == [[pytest.approx(0.5), pytest.approx(0.7)], [pytest.approx(0.5), None]]
    assert views_of(Matrix, two, by=("structure",)) == []
