"""A run as it is read: records, summary, timings, predictions, exported masks."""

from __future__ import annotations

import json
import re
import threading

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_world import scores

import medeval
from medeval.types import RunError


def test_records_have_patient_and_metadata_beside_them(small):
    data = small.pictures()
    run = small.run(
        small.suite(
            datasets={"pics": {**data, "metadata": {"site": "A"}}, "more": small.pictures("more", seed=1)}
        )
    )
    frame = run.records()
    assert set(frame["patient"]) == {"p0", "p1", "p2"}
    assert set(frame[frame["dataset"] == "pics"]["site"]) == {"A"}
    assert frame[frame["dataset"] == "more"]["site"].isna().all()
    keys = ["task", "dataset", "model", "arm", "seed", "case", "structure", "prompt", "round", "sample"]
    pd.testing.assert_frame_equal(frame[keys], frame[keys].sort_values(keys).reset_index(drop=True))
    assert not frame[keys].duplicated().any()


def test_records_of_several_tasks_are_sorted_by_key(small):
    run = small.run(small.suite(
        datasets={"b": small.pictures("b", cases=2), "a": small.pictures("a", cases=2)},
        tasks=[small.task(name="two"), small.task(name="one", prompts=["mask", "box"])],
    ))  # fmt: skip
    pairs = list(dict.fromkeys(run.records()[["task", "dataset"]].itertuples(index=False, name=None)))
    assert pairs == [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")]


def test_clicks_and_voxels_stand_on_the_record(small):
    frame = small.run(small.suite()).records().query("prompt == '3 clicks' and structure == 'disk'")
    for row in frame.itertuples():
        clicks = json.loads(row.points)
        assert len(clicks) <= row.round
        assert all(len(click) == 3 for click in clicks)
    assert (frame["voxels_reference"] == 49).all()
    assert set(frame.query("status == 'ok'")["model_score"]) == {0.5}


def test_what_a_clock_measured_is_apart(small):
    run = small.run(small.suite())
    timings = run.timings()
    assert set(timings["name"]) == {"encode", "segment", "score"}
    assert (timings["seconds"] >= 0).all()
    assert timings.query("name == 'encode'")["case"].nunique() == 6
    assert "seconds" not in run.records()


def test_the_summary_has_no_clock_no_machine_and_no_path_of_its_own(small):
    text = json.dumps(small.run(small.suite()).summary())
    assert str(small.folder) not in text
    assert not re.search(r"20\d\d-\d\d-\d\dT", text)
    assert "seconds" not in text


def test_every_estimate_says_its_n_its_patients_and_its_failures(small):
    for row in small.run(small.suite()).summary()["scores"]:
        assert {
            "value",
            "low",
            "high",
            "n",
            "patients",
            "failed",
            "missing",
            "undefined",
            "estimand",
            "note",
        } <= set(row)


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        medeval.Run.open(tmp_path)


def test_a_run_that_was_stopped_before_its_end_has_records_and_no_summary(small):
    small.suite()
    small.run()
    (small.folder / "run" / "summary.json").unlink()
    run = medeval.Run.open("run")
    assert len(run.records())
    with pytest.raises(RunError, match="no summary yet"):
        run.summary()


def test_a_part_that_is_being_written_is_not_read(small):
    small.suite()
    small.run()
    for kind in ("records", "timings", "predictions"):
        (small.folder / "run" / kind / ".tmp-1-x.parquet").write_bytes(b"PAR1 half")
    run = medeval.Run.open("run")
    assert len(run.records())
    assert len(run.timings())
    assert len(list(run.predictions()))


def test_kept_predictions_give_the_masks_that_were_scored(small):
    run = small.run(small.suite())
    frame = run.records().set_index(["case", "structure", "prompt", "round"])
    found = 0
    for _, output in run.predictions():
        row = frame.loc[(output.case_id, output.key.structure, output.key.prompt, output.key.round)]
        assert output.value.mask.sum() == row["voxels_prediction"]
        found += 1
    assert found == frame["status"].isin(["ok", "carried"]).sum()


def test_without_kept_predictions_the_numbers_are_the_same(small):
    small.suite()
    kept, bare = small.run(out="kept"), small.run(out="bare", keep_predictions=False)
    assert kept.summary() == bare.summary()
    assert list(bare.predictions()) == []


def test_several_seeds_are_one_score_and_draw_other_prompts(small):
    task = small.task(prompts=["2 points"])
    run = small.run(small.suite(seeds=[3, 4], tasks=[task]))
    frame = run.records().query("status == 'ok'")
    first, second = (frame.query("seed == @seed")["points"].tolist() for seed in (3, 4))
    assert first != second
    assert scores(run, metric="dice", by="")[0]["n"] == len(frame)


# -- masks as files -----------------------------------------------------------------------------------------------


def test_masks_of_pictures_are_written_once_as_png(small):
    small.suite()
    small.run(save_predictions=True)
    folder = small.folder / "run" / "artifacts" / "predictions" / "mine" / "pics" / "prompted-segmentation"
    written = sorted(folder.glob("*.png"))
    assert len(written) == 9 * 4  # nine structures, a box and three rounds
    assert (folder / "p0-c00_disk_3-clicks_round-2.png") in written
    mask = np.asarray(Image.open(folder / "p0-c00_disk_box_round-1.png"))
    frame = medeval.Run.open("run").records()
    row = frame.query("case == 'p0-c00' and structure == 'disk' and prompt == 'box'").iloc[0]
    assert (mask > 0).sum() == row["voxels_prediction"]
    times = [path.stat().st_mtime_ns for path in written]
    small.run(save_predictions=True)
    assert [path.stat().st_mtime_ns for path in written] == times


def test_a_suite_can_ask_for_masks_as_files(small):
    run = small.run(small.suite(save_predictions=True))
    assert list((run.path / "artifacts" / "predictions").rglob("*.png"))
    assert run.suite().save_predictions


def test_masks_of_volumes_are_written_on_the_files_own_grid(small):
    root = small.folder / "vol"
    affine = np.array([[-2.0, 0, 0, 9], [0, 0, 1.5, -4], [0, -3.0, 0, 7], [0, 0, 0, 1]])  # L, I, A
    labels = np.zeros((6, 8, 5), np.uint8)
    labels[1:4, 2:6, 1:3] = 1
    for sub, array in (("imagesTs", labels * 50 + 10), ("labelsTs", labels)):
        (root / sub).mkdir(parents=True)
        name = "c1_0000.nii.gz" if sub == "imagesTs" else "c1.nii.gz"
        nib.save(nib.Nifti1Image(array.astype(np.int16), affine), root / sub / name)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1},
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    task = {"task": "segmentation", "name": "auto"}
    small.run(small.suite(
        datasets={"vol": {"format": "nnunet", "root": "vol"}}, models={"truth": {"adapter": "oracle"}},
        tasks=[small.task(prompts=["box"]), task], save_predictions=True,
    ))  # fmt: skip
    folder = small.folder / "run" / "artifacts" / "predictions" / "truth" / "vol"
    for path in (
        folder / "auto" / "c1.nii.gz",
        folder / "prompted-segmentation" / "c1_liver_box_round-1.nii.gz",
    ):
        saved = nib.load(path)
        assert np.allclose(saved.affine, affine)
        assert np.array_equal(np.asarray(saved.dataobj), labels)


# -- memory -------------------------------------------------------------------------------------------------------


def test_outputs_that_wait_to_be_scored_are_bounded(small):
    """A fast model and a slow scorer: masks do not pile up between them."""
    from medeval.api import Plan, Suite
    from medeval.engine.worker import Job, Settings, Worker
    from medeval.runs.folder import RunFolder
    from medeval.tasks.prompted_segmentation import PromptedSegmentation

    small.suite(datasets={"pics": small.pictures(cases=2)}, tasks=[small.task(prompts=["20 clicks"])])
    plan = Plan(Suite.load("suite.yaml"))
    folder = RunFolder(small.folder / "run")
    folder.create()
    waiting, most, lock = 0, 0, threading.Lock()
    score = PromptedSegmentation.score

    def slow(self, case, output, context):
        nonlocal waiting
        found = score(self, case, output, context)
        threading.Event().wait(0.01)
        with lock:
            waiting -= 1
        return found

    class Counting(PromptedSegmentation):
        score = slow

        def predict(self, model, cases, context):
            nonlocal waiting, most
            for event in super().predict(model, cases, context):
                with lock:
                    waiting += hasattr(event, "value")
                    most = max(most, waiting)
                yield event

    planned = plan.cells[0]
    task = Counting.model_validate(planned.cell.task.model_dump())
    import dataclasses

    planned = dataclasses.replace(planned, cell=dataclasses.replace(planned.cell, task=task))
    results = []
    worker = Worker(plan, planned, folder, Settings(score_threads=2), plan.build_model("mine"))
    worker.run([Job(unit) for unit in planned.units], results.append)
    assert len(results) == 2
    assert most <= 2 * 2 + 2  # slots of two threads, and what is in the generator's hands
