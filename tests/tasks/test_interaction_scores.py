"""Sessions as scores and views: effort, budgets, seeds, absence, challenge figures, and what broke off."""

import json

import numpy as np
import pandas as pd
import pytest

from medeval.statistics import Resamples
from medeval.tasks.prompted_segmentation import PromptedSegmentation
from medeval.tasks.prompted_segmentation.figures import absent_scores, challenge_scores
from medeval.tasks.prompted_segmentation.repetition import repetition_scores
from medeval.tasks.summary import CellEvidence, CellScorer, Evidence, summarize

EFFORT = {
    "n_clicks": 0.0,
    "n_boxes": 0.0,
    "n_lines": 0.0,
    "n_slices": 1.0,
    "drawn_mm": 0.0,
    "human_seconds": None,
}


def record(case, prompt, round_, dice, *, structure="liver", sample=0, status="ok", voxels=(9, 9), **more):
    own = {"n_clicks": float(round_)} | more
    return {
        "seed": 0, "case": case, "patient": case, "structure": structure, "prompt": prompt, "round": round_,
        "sample": sample, "status": status, "error": "", "dice": dice, "dice.rule": None,
        "voxels_reference": voxels[0], "voxels_prediction": voxels[1], **EFFORT, **own,
    }  # fmt: skip


def session(case, prompt, *scores, **more):
    return [record(case, prompt, number, score, **more) for number, score in enumerate(scores, start=1)]


def scored(records, **fields):
    task = PromptedSegmentation(**{"metrics": ("dice",), "session_curve": "dice", **fields})
    frame = pd.DataFrame(records)
    cell = CellEvidence("data", "model", "", False, frame)
    evidence = Evidence(lambda: iter([cell]), lambda name: Resamples(name, frame["patient"].tolist(), 200, 0))
    return task, CellScorer(task, cell, evidence), evidence


def rows(summary_rows, metric):
    return [row for row in summary_rows if row["metric"] == metric]


def test_a_session_that_broke_off_is_censored_in_survival_and_left_out_elsewhere():
    lost = {"status": "infrastructure", "voxels": (None, None), "n_clicks": None}
    records = [
        *session("a", "3 clicks", 0.2, 0.95, 0.95),
        *session("b", "3 clicks", 0.2, 0.3, 0.4),
        record("c", "3 clicks", 1, 0.5),
        *(record("c", "3 clicks", number, None, **lost) for number in (2, 3)),
    ]
    task, scorer, _ = scored(
        records, prompts=("3 clicks",), session_metrics=("ctt@90", "reached@90", "noc@90")
    )
    found = task.more_scores(scorer)
    reached, noc = rows(found, "reached@90")[0], rows(found, "noc@90")[0]
    assert (reached["value"], reached["n"]) == (pytest.approx(0.5), 3)  # open at 2: a and b, one gets there
    assert (noc["value"], noc["n"], noc["missing"]) == (pytest.approx((2 + 3) / 2), 2, 1)
    assert rows(found, "ctt@90")[0]["value"] == 2.0


def test_a_median_that_is_not_reached_says_so():
    records = [r for case in "abc" for r in session(case, "2 clicks", 0.2, 0.3)]
    task, scorer, _ = scored(records, prompts=("2 clicks",), session_metrics=("ctt@90",))
    row = task.more_scores(scorer)[0]
    assert row["value"] is None
    assert "fewer than half of the sessions get there" in row["note"]


def test_a_model_that_breaks_down_keeps_its_scores_and_has_none_from_there():
    failed = {"status": "model_failed", "voxels": (None, None), "n_clicks": None}
    records = [
        record("a", "3 clicks", 1, 0.8), *(record("a", "3 clicks", n, 0.0, **failed) for n in (2, 3)),
        *session("b", "3 clicks", 0.8, 0.9, 0.9),
    ]  # fmt: skip
    task, scorer, _ = scored(
        records, prompts=("3 clicks",), session_metrics=("auc", "score@1cost", "score@3cost")
    )
    found = {row["metric"]: row["value"] for row in task.more_scores(scorer)}
    assert found["auc"] == pytest.approx(((0.8 / 2) / 2 + (0.85 + 0.9) / 2) / 2)
    assert found["score@1cost"] == pytest.approx(0.8)
    assert found["score@3cost"] == pytest.approx(0.45)


def test_the_spread_is_inside_cases_and_the_worst_is_of_each():
    values = {"a": (0.5, 0.7, 0.9), "b": (0.4, 0.4, 0.4)}
    records = [record(c, "1 click", 1, v, sample=k) for c, vs in values.items() for k, v in enumerate(vs)]
    _, scorer, _ = scored(records, prompts=("1 click",), prompt_seeds=3)
    found = {row["metric"]: row["value"] for row in repetition_scores(scorer)}
    assert found["dice spread"] == pytest.approx(np.mean([np.std(v, ddof=1) for v in values.values()]))
    assert found["dice worst"] == pytest.approx((0.5 + 0.4) / 2)
    _, single, _ = scored([record("a", "1 click", 1, 0.5)], prompts=("1 click",))
    assert repetition_scores(single) == []


def test_absent_structures_are_told_apart_from_segmentations():
    gone = {"structure": "kidney", "dice": None}
    records = [
        *session("a", "2 clicks", 0.6, 0.8),
        record("a", "2 clicks", 1, voxels=(0, 50), **gone), record("a", "2 clicks", 2, voxels=(0, 0), **gone),
        record("b", "2 clicks", 1, voxels=(0, 0), **gone), record("b", "2 clicks", 2, voxels=(0, 20), **gone),
    ]  # fmt: skip
    task, scorer, _ = scored(records, prompts=("2 clicks",), absent="scored", session_metrics=("final",))
    found = {row["metric"]: row for row in absent_scores(scorer)}
    assert found["left empty, first round"]["value"] == found["left empty, last round"]["value"] == 0.5
    assert found["voxels left, last round"]["value"] == 10.0
    assert rows(task.more_scores(scorer), "final")[0]["n"] == 1  # the liver's session alone


def test_cvpr25s_figures_average_a_case_before_its_rules():
    records = [
        r | {"nsd@2mm": nsd, "nsd@2mm.rule": None}
        for structure, dice, nsd in (("liver", 0.1, 0.8), ("spleen", 0.2, 0.9))
        for r in session("a", "5 clicks", *[dice] * 5, structure=structure)
    ] + [
        r | {"nsd@2mm": 0.5, "nsd@2mm.rule": None} for r in session("b", "5 clicks", *[0.5] * 5)
    ]  # fmt: skip
    _, scorer, _ = scored(records, metrics=("dice", "nsd@2mm"), prompts=("5 clicks",))
    found = {row["metric"]: row["value"] for row in challenge_scores(scorer, "cvpr25", scorer.task.settings)}
    assert found["DSC_AUC"] == pytest.approx((4 * 0.15 + 4 * 0.5) / 2)
    assert found["NSD_Final"] == pytest.approx((0.0 + 0.5) / 2)  # the first case is hopeless


def test_autopets_figures_leave_out_what_a_case_without_a_lesion_has_not():
    lesion = zip((0.2, 0.5, 0.8), (3.0, 2.0, 1.0), (1.0, 0.0, 0.0), strict=True)
    none = zip((None, None, None), (2.0, 2.0, 0.0), (None, None, None), strict=True)
    records = [
        record(case, "2 click pairs", n, dice, voxels=voxels) | {"fpv_ml": fpv, "fnv_ml": fnv}
        for case, voxels, steps in (("a", (9, 9), lesion), ("b", (0, 9), none))
        for n, (dice, fpv, fnv) in enumerate(steps, start=1)
    ]
    records = [r | {"fpv_ml.rule": None, "fnv_ml.rule": None} for r in records]
    metrics = ("dice", "fpv_ml", "fnv_ml")
    _, scorer, _ = scored(records, metrics=metrics, prompts=("2 click pairs",), absent="scored")
    found = {row["metric"]: row for row in challenge_scores(scorer, "autopet-iv", scorer.task.settings)}
    assert (found["dice_auc"]["value"], found["dice_auc"]["n"]) == (pytest.approx(1.0), 1)
    assert found["fpv_auc"]["value"] == pytest.approx((4.0 + 3.0) / 2)
    assert (found["fnv_final"]["value"], found["fpv_final"]["value"]) == (0.0, 0.5)


def test_quality_is_drawn_against_clicks_and_against_cost():
    records = [r for case in "abcd" for r in (
        *session(case, "3 clicks", 0.5, 0.7, 0.9),
        record(case, "box", 1, 0.8, n_clicks=0.0, n_boxes=1.0, n_slices=3.0),
    )]  # fmt: skip
    task, _, evidence = scored(records, prompts=("3 clicks", "box"), cost={"box": 2.5, "slice": 0.5})
    views = {view.title: view for view in summarize(task, evidence).views}
    clicks = views["dice against clicks: prompted-segmentation on data"]
    cost = views["dice against interaction cost: prompted-segmentation on data"]
    assert clicks.series[0].x == [1, 2, 3]
    lines = {series.name: series for series in cost.series}
    assert lines["model (clicks)"].x == [1.5, 2.5, 3.5]
    assert lines["model (clicks)"].y == pytest.approx([0.5, 0.7, 0.9])
    assert lines["model (box)"].x == [4.0]
    effort = views["Effort of prompted-segmentation on data, mean of a session"]
    assert [(row["prompt"], row["n_boxes"], row["cost"]) for row in effort.rows] == [
        ("3 clicks", 0.0, 3.5), ("box", 1.0, 4.0),
    ]  # fmt: skip


def test_the_share_that_got_there_is_drawn_by_click():
    records = [*session("a", "3 clicks", 0.5, 0.95, 0.95), *session("b", "3 clicks", 0.5, 0.6, 0.95),
               *session("c", "3 clicks", 0.5, 0.6, 0.7)]  # fmt: skip
    task, _, evidence = scored(records, prompts=("3 clicks", "1 click"), session_metrics=("ctt@90", "noc@80"))
    views = {view.title: view for view in summarize(task, evidence).views}
    (line,) = views["Sessions that reach dice 0.9: prompted-segmentation on data"].series
    assert (line.name, line.x) == ("model (3 clicks)", [1, 2, 3])
    assert line.y == pytest.approx([0.0, 1 / 3, 2 / 3])


def test_a_preset_shows_its_quirks_beside_what_its_twin_does():
    records = session("a", "1 click", 0.5)
    for name, which in (("sam-med3d", "as published"), ("sam-med3d-strict", "its mends are scored here")):
        task, _, evidence = scored([r | {"nsd@1mm": 0.5, "nsd@1mm.rule": None, "anatomy": None, "seen": None}
                                    for r in records], preset=name, metrics=())  # fmt: skip
        views = {view.title: view for view in summarize(task, evidence).views}
        protocol = views[f"Protocol of prompted-segmentation: {name}"]
        assert which in protocol.note
        assert {row["choice"] for row in protocol.rows} >= {"crop", "perfect mask"}


def test_recorded_sessions_end_where_each_person_stopped(small):
    pictures = small.pictures(cases=3)
    ids = [path.stem for path in sorted((small.folder / pictures["root"] / "images").iterdir())]
    clicks = {"A": [[7, 7, 1]], "B": [[7, 7, 1], [8, 8, 1]]}
    lines = [
        {"case": case, "structure": "disk", "annotator": name, "round": number, "clicks": [click], "seconds": 2.0}
        for case in ids for name, given in clicks.items() for number, click in enumerate(given, start=1)
    ]  # fmt: skip
    (small.folder / "people.jsonl").write_text("\n".join(map(json.dumps, lines)))
    task = small.task(prompts=["recorded", "1 click"], recorded="people.jsonl", structures=["disk"])
    small.suite(datasets={"pics": pictures}, tasks=[task])
    run = small.run()
    found = [row for row in run.summary()["scores"] if row["prompt"] == "recorded" and not row["by"]]
    assert {row["metric"]: row["n"] for row in found if row["metric"] in ("dice", "dice spread")} == {
        "dice": 6,
        "dice spread": 3,
    }
    means = {row["prompt"]: row["value"] for row in run.summary()["scores"]
             if row["metric"] == "dice" and not row["by"]}  # fmt: skip
    (gap,) = [row for row in run.summary()["scores"] if row["metric"] == "dice of people less simulated"]
    assert (gap["prompt"], gap["n"]) == ("1 click", 3)
    assert gap["value"] == pytest.approx(means["recorded"] - means["1 click"])
