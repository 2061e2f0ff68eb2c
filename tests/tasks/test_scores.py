"""From records to scores: what a failure counts as, what is missing, what the mean is of, what the interval rests on."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from medeval.statistics import Resamples, clusters
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.segmentation import AutomaticSegmentation
from medeval.tasks.summary import CellEvidence, Evidence, summarize
from medeval.tasks.summary_views import build_views, score_table

DIAGONAL = 50.0


def record(
    case, dice, status="ok", *, structure="liver", prompt="box", round_=1, patient="same as case", error=None
):
    """One row. dice: its value; None where the status has none."""
    value = 0.0 if status == "model_failed" else dice
    distance = DIAGONAL if status == "model_failed" else (None if dice is None else 10.0 * (1 - dice))
    return {
        "task": "t", "dataset": "d", "model": "m", "arm": "", "seed": 0, "case": case, "structure": structure,
        "prompt": prompt, "round": round_, "sample": 0, "status": status, "error": error,
        "dice": value, "dice.rule": None if value is not None else "both empty",
        "iou": value, "iou.rule": None, "hd95": distance, "hd95.rule": None,
        "patient": case if patient == "same as case" else patient, "site": "A" if case < "c" else "B",
    }  # fmt: skip


def summary_of(rows, task=None, **fields):
    frame = pd.DataFrame(rows)
    task = task or PromptedSegmentation(metrics=("dice", "hd95"), **fields)
    index = frame.drop_duplicates("case")
    resamples = Resamples("d", clusters(index["patient"].tolist(), index["case"].tolist()))
    evidence = Evidence(lambda: iter([CellEvidence("d", "m", "", False, frame)]), lambda dataset: resamples)
    return summarize(task, evidence)


def row_of(rows, metric="dice", by="", group=None, **fields):
    found = [
        row for row in summary_of(rows, by=(by,) if by else (), **fields).scores
        if row["metric"] == metric and row["by"] == by and (group is None or row["group"] == group)
    ]  # fmt: skip
    return found[0]


FOUR = [record("a", 0.8), record("b", 0.6), record("c", 1.0), record("d", 0.4)]


def test_a_plain_mean_with_interval_n_and_patients():
    row = row_of(FOUR)
    assert row["value"] == pytest.approx(0.7)
    assert (
        0.0 <= row["low"] < 0.4 < row["value"] < row["high"] <= 1.0
    )  # Student's t: four patients say little
    assert row["method"] == "t"
    assert (row["n"], row["patients"], row["records"], row["missing"]) == (4, 4, 4, 0)
    assert row["estimand"] == "pooled over all records"
    assert row["bounds"] is None


def test_a_models_failure_counts_as_the_worst_of_every_metric():
    rows = [*FOUR, record("e", None, "model_failed")]
    assert row_of(rows)["value"] == pytest.approx(2.8 / 5)
    assert row_of(rows, "hd95")["value"] == pytest.approx((2 + 4 + 0 + 6 + DIAGONAL) / 5)
    row = row_of(rows)
    assert (row["n"], row["failed"], row["failed_cases"], row["missing"]) == (5, {"model_failed": 1}, 1, 0)


@pytest.mark.parametrize("status", ["data_error", "infrastructure", "evaluator_failed", "budget"])
def test_what_is_nobodys_model_is_missing_with_bounds(status):
    row = row_of([*FOUR, record("e", None, status)])
    assert row["value"] == pytest.approx(0.7)
    assert (row["n"], row["missing"], row["failed"]) == (4, 1, {status: 1})
    assert row["bounds"] == [pytest.approx(2.8 / 5), pytest.approx(3.8 / 5)]
    assert row_of([*FOUR, record("e", None, status)], "hd95")["bounds"] == [pytest.approx(12 / 5), None]


@pytest.mark.parametrize(
    ("rule", "value", "n", "bounds"),
    [("worst", 2.8 / 5, 5, None), ("exclude", 0.7, 4, None), ("bounds", 0.7, 4, [2.8 / 5, 3.8 / 5])],
)
def test_what_a_models_failure_counts_as_can_be_chosen(rule, value, n, bounds):
    row = row_of([*FOUR, record("e", None, "model_failed")], on_failure=rule)
    assert row["value"] == pytest.approx(value)
    assert row["n"] == n
    assert row["bounds"] == (None if bounds is None else pytest.approx(bounds))
    assert row["failed"] == {"model_failed": 1}


@pytest.mark.parametrize(
    ("average", "value", "estimand"),
    [
        ("records", (0.9 + 0.5 + 0.1) / 3, "pooled over all records"),
        ("cases", ((0.9 + 0.5) / 2 + 0.1) / 2, "mean within a case, then over cases"),
        ("structures", ((0.9 + 0.1) / 2 + 0.5) / 2, "per structure, then mean over structures"),
    ],
)
def test_the_estimand_is_chosen_and_said(average, value, estimand):
    rows = [record("a", 0.9), record("a", 0.5, structure="spleen"), record("b", 0.1)]
    row = row_of(rows, average=average)
    assert row["value"] == pytest.approx(value)
    assert row["estimand"] == estimand


def test_intervals_resample_patients():
    """Many records of two patients are no more evidence than two."""
    many = [record(f"{p}{i}", value, patient=p) for p, value in (("p", 0.2), ("q", 0.9)) for i in range(40)]
    row = row_of(many)
    assert (row["n"], row["patients"]) == (80, 2)
    assert (row["low"], row["high"]) == (0.0, 1.0)
    alone = row_of([{**r, "patient": None} for r in many])
    assert alone["high"] - alone["low"] < 0.3


def test_one_patient_has_no_interval_and_says_why():
    row = row_of([record("a", 0.2, patient="p"), record("b", 0.9, patient="p")])
    assert (row["low"], row["high"], row["patients"]) == (None, None, 1)
    assert "one patient: no interval" in row["note"]


def test_unknown_patients_are_said():
    row = row_of([record("a", 0.2, patient=None), record("b", 0.9, patient=None)])
    assert row["patients"] is None
    assert "patients unknown, images treated as independent" in row["note"]
    assert row["low"] is not None


def test_undefined_values_are_counted_and_left_out():
    row = row_of([*FOUR, record("e", None)])
    assert (row["value"], row["n"], row["undefined"]) == (pytest.approx(0.7), 4, {"both empty": 1})


def test_absent_and_not_covered_are_counted_and_are_no_score():
    rows = [
        *FOUR,
        record("a", None, "undefined", structure="spleen", prompt="", round_=0),
        record("a", None, "not_covered", prompt="3 clicks"),
    ]
    scores = {(row["prompt"], row["metric"]): row for row in summary_of(rows).scores}
    assert (scores["box", "dice"]["absent"], scores["box", "dice"]["n"]) == (1, 4)
    lacking = scores["3 clicks", "dice"]
    assert (lacking["value"], lacking["n"], lacking["not_covered"], lacking["failed"]) == (None, 0, 1, {})
    table = score_table("t", [row for row in scores.values() if not row["by"]])
    told = {line["prompt"]: line["undefined"] for line in table.rows}
    assert told == {"box": "1 absent", "3 clicks": "1 absent; 1 not covered"}


def test_groups_are_of_records_cases_and_products():
    rows = [*FOUR, record("a", 0.2, structure="spleen")]
    assert row_of(rows, by="structure", group={"structure": "spleen"})["value"] == pytest.approx(0.2)
    assert row_of(rows, by="site", group={"site": "B"})["n"] == 2
    product = row_of(rows, by="structure x site", group={"structure": "liver", "site": "A"})
    assert product["value"] == pytest.approx(0.7)
    assert (
        row_of(rows, by="vendor", group={"vendor": "(none)"})["n"] == 5
    )  # a name that only other datasets have


def test_instances_go_by_their_structures_name():
    rows = [record("a", 0.2, structure="rib#1"), record("a", 0.6, structure="rib#2")]
    assert row_of(rows, by="structure", group={"structure": "rib"})["value"] == pytest.approx(0.4)


def test_only_the_last_round_of_a_setting_is_its_score_and_the_curve_has_all():
    rows = [
        record(c, value, prompt="3 clicks", round_=r)
        for c in "ab"
        for r, value in ((1, 0.2), (2, 0.5), (3, 0.8))
    ]
    summary = summary_of(rows)
    assert [r["value"] for r in summary.scores if r["metric"] == "dice"] == [pytest.approx(0.8)]
    curve = next(view for view in summary.views if type(view).__name__ == "Curve")
    assert list(curve.series[0].y) == pytest.approx([0.2, 0.5, 0.8])


def test_curves_of_one_session_read_at_several_lengths_are_drawn_once_and_other_openings_apart():
    prompts = {"3 clicks": 3, "2 clicks": 2, "box + 2 clicks": 3, "box jitter 5 + 2 clicks": 3}
    rows = [
        record(c, 0.5, prompt=p, round_=r) for c in "ab" for p, n in prompts.items() for r in range(1, n + 1)
    ]
    curve = next(view for view in summary_of(rows).views if type(view).__name__ == "Curve")
    assert [series.name for series in curve.series] == ["m", "m (box first)", "m (box jitter 5 first)"]


def click_session(case, ious, statuses=("ok",) * 3):
    return [
        {
            **record(case, iou, status, prompt="3 clicks", round_=r),
            "iou": 0.0 if status == "model_failed" else iou,
        }
        for r, (iou, status) in enumerate(zip(ious, statuses, strict=True), start=1)
    ]


def session_row(rows, metric):
    task = PromptedSegmentation(prompts=("3 clicks",), metrics=("dice", "iou"))
    return next(row for row in summary_of(rows, task).scores if row["metric"] == metric)


def test_clicks_to_a_quality_and_sessions_that_never_reach_it():
    rows = [
        *click_session("a", (0.5, 0.85, 0.95)),
        *click_session("b", (0.95, 0.95, 0.95)),
        *click_session("c", (0.1,) * 3),
    ]
    assert session_row(rows, "noc@80")["value"] == pytest.approx((2 + 1 + 3) / 3)
    assert session_row(rows, "nof@90")["value"] == pytest.approx(1 / 3)


def test_a_session_that_breaks_down_has_not_reached_the_quality():
    rows = click_session("a", (0.5, None, None), ("ok", "model_failed", "model_failed"))
    assert session_row(rows, "nof@90")["value"] == 1.0


def test_a_session_with_a_missing_round_is_left_out_and_counted():
    rows = [
        *click_session("a", (0.95,) * 3),
        *click_session("b", (0.5, None, None), ("ok", "infrastructure", "infrastructure")),
    ]
    row = session_row(rows, "nof@90")
    assert (row["value"], row["n"], row["missing"], row["failed_cases"]) == (0.0, 1, 1, 1)
    assert row["failed"] == {"session incomplete": 1}


def test_a_score_without_any_record_is_none_and_no_error():
    row = row_of([record("a", None, "data_error"), record("b", None, "data_error")])
    assert (row["value"], row["low"], row["n"], row["missing"]) == (None, None, 0, 2)
    assert row["bounds"] == [0.0, 1.0]


def test_the_order_of_records_changes_no_score():
    rows = [record(f"c{i}", float(v)) for i, v in enumerate(np.random.default_rng(0).random(30))]
    mixed = [rows[i] for i in np.random.default_rng(1).permutation(30)]
    assert row_of(rows) == row_of(mixed)


def test_a_gallery_shows_best_median_worst_and_a_failure():
    rows = [*FOUR, record("e", None, "model_failed", error="boom <b>")]
    gallery = next(view for view in summary_of(rows).views if type(view).__name__ == "Gallery")
    assert {item.rank: item.case_id for item in gallery.items} == {
        "best": "c",
        "median": "b",
        "worst": "d",
        "failed": "e",
    }
    assert "boom <b>" in next(item for item in gallery.items if item.rank == "failed").caption


def test_a_task_without_metrics_has_no_scores_and_no_error():
    task = AutomaticSegmentation(metrics=())
    assert summary_of(FOUR, task).scores == []
    assert build_views(task, [], [], []) == []


def test_no_score_is_not_finite():
    rows = [*FOUR, record("e", None, "data_error")]
    for row in summary_of(rows).scores:
        numbers = [row["value"], row["low"], row["high"], *(row["bounds"] or [])]
        assert all(number is None or math.isfinite(number) for number in numbers)
