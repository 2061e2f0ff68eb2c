"""The command line as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image
from small_world import picture, scores

import medeval


def label_maps(small, count=6):
    """Folders ``truth`` and ``guess`` of PNG label maps; a guess lacks a row of each structure."""
    for name in ("truth", "guess"):
        (small.folder / name).mkdir(exist_ok=True)
    for number in range(count):
        _, labels = picture(number)
        Image.fromarray(labels).save(small.folder / "truth" / f"c{number:03d}.png")
        guess = np.where(np.arange(labels.shape[0])[:, None] == 16, 0, labels).astype(np.uint8)
        Image.fromarray(guess).save(small.folder / "guess" / f"c{number:03d}.png")


def test_a_run_prints_its_table_and_exits_with_what_happened(small):
    small.suite()
    done = small.cli("run", "suite.yaml", "-o", "run")
    assert done.returncode == 0, done.stderr
    assert "prompt (from ground truth)" in done.stdout
    assert "report: run/report.html" in done.stdout
    assert "prompted-segmentation / pics / mine: 6 units" in done.stderr
    assert small.cli("show", "run", "--by", "structure").stdout.startswith("pics, by structure")
    again = small.cli("run", "suite.yaml", "-o", "run")
    assert "6 kept from before" in again.stderr
    (small.folder / "data" / "masks" / "p0-c00.png").write_bytes(b"broken")
    failed = small.cli("run", "suite.yaml", "-o", "other", "-q")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "records failed" in failed.stderr


def test_show_of_a_group_that_the_suite_has_not_names_those_it_has(small):
    small.suite()
    small.run()
    done = small.cli("show", "run", "--by", "organ")
    assert done.returncode == 2
    assert "structure" in done.stderr


def test_a_dry_run_counts_and_writes_nothing(small):
    small.suite()
    done = small.cli("run", "suite.yaml", "-o", "run", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert small.calls() == []
    assert not (small.folder / "run").exists()
    line = next(line for line in done.stdout.splitlines() if line.startswith("prompted-segmentation"))
    assert line.split()[4:6] == ["6", "30"]  # cases; an encode, a box and three clicks each


def test_pictures_without_spacing_are_measured_in_pixels(small):
    run = small.run(small.suite(tasks=[small.task(metrics=["dice", "hd95"])]))
    assert {row["unit"] for row in scores(run, metric="hd95")} == {"px"}


def test_evaluate_takes_several_metrics_after_one_flag(small):
    label_maps(small)
    done = small.cli(
        "evaluate",
        "guess",
        "truth",
        "--metrics",
        "dice",
        "hd95",
        "nsd@2mm",
        "--label",
        "disk=1",
        "--label",
        "bar=2",
    )
    assert done.returncode == 0, done.stderr
    run = medeval.Run.open("runs/evaluate-guess")
    assert list(dict.fromkeys(row["metric"] for row in run.summary()["scores"])) == [
        "dice",
        "hd95",
        "nsd@2mm",
    ]
    assert {row["group"]["structure"] for row in scores(run, by="structure")} == {"disk", "bar"}
    disk = scores(run, metric="dice", by="structure", group={"structure": "disk"})[0]
    assert (disk["value"], disk["n"]) == (1.0, 6)
    bar = scores(run, metric="dice", by="structure", group={"structure": "bar"})[0]
    assert bar["value"] == pytest.approx(2 * 64 / (64 + 80))
    assert bar["undefined"] == {"both empty": 3}


def test_the_metrics_of_evaluate_may_stand_before_the_folders(small):
    label_maps(small)
    done = small.cli("evaluate", "--metrics", "dice", "hd95", "guess", "truth", "-o", "out", "-q")
    assert done.returncode == 0, done.stderr
    assert {row["metric"] for row in medeval.Run.open("out").summary()["scores"]} == {"dice", "hd95"}
    done = small.cli("evaluate", "--metrics", "dice", "hd95", "guess", "nowhere")
    assert done.returncode == 2
    assert "hd95: no such folder" in done.stderr


def test_evaluate_names_values_that_nobody_names(small):
    label_maps(small, count=2)
    run = medeval.evaluate("guess", "truth", "out")
    assert set(run.records()["structure"]) == {"label 1", "label 2"}


def test_evaluate_lists_missing_and_extra_files_and_counts_the_missing_as_failures(small):
    label_maps(small)
    (small.folder / "guess" / "c001.png").unlink()
    shutil.copy(small.folder / "guess" / "c002.png", small.folder / "guess" / "stray.png")
    done = small.cli("evaluate", "guess", "truth", "-o", "out")
    assert done.returncode == 1
    assert "no prediction for references: c001" in done.stderr
    assert "of no case of references: stray.png" in done.stderr
    frame = medeval.Run.open("out").records()
    bad = frame[frame["case"] == "c001"]
    assert set(bad["status"]) == {"model_failed"}
    assert set(bad["dice"]) == {0.0}


def test_evaluate_continues_after_a_kill_and_workers_change_nothing(small):
    label_maps(small, count=60)
    medeval.evaluate("guess", "truth", "whole", metrics=("dice", "hd95"))
    command = small.command(
        "evaluate", "guess", "truth", "-o", "killed", "--metrics", "dice", "hd95", "--workers", "2", "-q"
    )
    process = subprocess.Popen(command, cwd=small.folder, env=small.environment())
    deadline = time.monotonic() + 60
    while len(list((small.folder / "killed" / "records").glob("[!.]*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    known = len(list((small.folder / "killed" / "records").glob("[!.]*")))
    assert 5 <= known < 60
    assert subprocess.run(command, cwd=small.folder, env=small.environment(), check=False).returncode == 0
    assert small.parts("killed") == small.parts("whole")
    units = [event["cases"][0] for event in small.log("killed") if event["event"] == "unit"]
    assert len(units) <= 60 + 2 * 4  # what was in the children when they died


def test_init_writes_a_suite_that_runs(small):
    from PIL import Image as Pil

    root = small.folder / "Dataset001_Toy"
    for sub in ("imagesTs", "labelsTs"):
        (root / sub).mkdir(parents=True)
    for number in range(2):
        image, labels = picture(number)
        Pil.fromarray(image).save(root / "imagesTs" / f"c{number}_0000.png")
        Pil.fromarray(labels).save(root / "labelsTs" / f"c{number}.png")
    description = {
        "channel_names": {"0": "x"},
        "labels": {"background": 0, "disk": 1, "bar": 2},
        "file_ending": ".png",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    shutil.copytree(root / "labelsTs", small.folder / "outputs")
    done = small.cli("init", "nnunet", "Dataset001_Toy", "-f", "made.yaml", "--predictions", "outputs")
    assert done.returncode == 0, done.stderr
    assert "medeval run made.yaml" in done.stdout
    done = small.cli("run", "made.yaml", "-o", "run", "--no-report")
    assert done.returncode == 0, done.stderr
    assert {row["model"] for row in medeval.Run.open("run").summary()["scores"]} == {
        "box-as-mask",
        "region-growing",
        "outputs",
    }
    assert (
        small.cli("init", "nnunet", "Dataset001_Toy", "-f", "made.yaml").returncode == 2
    )  # nothing is overwritten


def test_a_registered_suite_and_the_schema_are_printed(small):
    done = small.cli("schema")
    assert json.loads(done.stdout)["properties"]["save_predictions"]["type"] == "boolean"
    assert small.cli("version").stdout.strip()
    assert "random-walker" in small.cli("list", "adapters").stdout


# -- on real data -------------------------------------------------------------------------------------------------


def test_a_totalsegmentator_folder_is_evaluated_from_either_level(small, shared):
    root = shared / "totalsegmentator_example"
    labels = str(root / "Dataset901_TotalSegCT" / "labelsTs")
    for predictions, out in (("predictions_fast/Dataset901_TotalSegCT", "a"), ("predictions_fast", "b")):
        done = small.cli(
            "evaluate",
            str(root / predictions),
            labels,
            "-o",
            out,
            "-q",
            "--metrics",
            "dice",
            "hd95",
            "nsd@2mm",
        )
        assert done.returncode == 0, done.stderr
    a, b = medeval.Run.open("a"), medeval.Run.open("b")
    assert a.summary()["scores"] == b.summary()["scores"]
    row = scores(a, metric="dice", by="")[0]
    assert row["value"] == pytest.approx(0.902, abs=0.001)
    assert "one image: no interval" in row["note"]


def test_a_promptable_model_and_a_folder_of_predictions_stand_in_one_table(small, shared):
    root = shared / "totalsegmentator_example"
    metrics = ["dice", "nsd@2mm"]
    small.suite(
        datasets={"ct": {"format": "nnunet", "root": str(root / "Dataset901_TotalSegCT")}},
        models={
            "box": {"adapter": "box-as-mask"},
            "fast": {
                "adapter": "predictions",
                "root": str(root / "predictions_fast" / "Dataset901_TotalSegCT"),
            },
        },
        tasks=[
            {"task": "prompted-segmentation", "metrics": metrics},
            {"task": "segmentation", "metrics": metrics},
        ],
    )
    done = small.cli("run", "suite.yaml", "-o", "run", "--no-report", "--save-predictions")
    assert done.returncode == 0, done.stderr
    assert "not run: prompted-segmentation / ct / fast: it takes no prompts" in done.stderr
    shown = small.cli("show", "run").stdout
    assert shown.count("dice") == 1 + shown.count("both empty") // len(metrics)  # one table
    assert [line.split()[0] for line in shown.splitlines()[3:5]] == ["box", "fast"]
    import nibabel

    original = nibabel.load(next((root / "Dataset901_TotalSegCT" / "imagesTs").glob("*.nii.gz")))
    written = list((small.folder / "run" / "artifacts" / "predictions").rglob("*.nii.gz"))
    assert len(written) == 1 + 41
    for path in written[:3]:
        saved = nibabel.load(path)
        assert saved.shape == original.shape
        assert np.allclose(saved.affine, original.affine)


def test_real_pictures_and_volumes_have_scores_by_modality_structure_and_both(small, shared):
    total = shared / "totalsegmentator_example"
    small.suite(
        datasets={
            "sa": {
                "format": "sa-med2d",
                "root": str(shared / "sa_med2d_demo"),
                "metadata": {"modality": "CT"},
            },
            "ct": {"format": "nnunet", "root": str(total / "Dataset901_TotalSegCT")},
            "mr": {"format": "nnunet", "root": str(total / "Dataset902_TotalSegMR")},
        },
        models={"box": {"adapter": "box-as-mask"}},
        tasks=[
            small.task(
                prompts=["box"], metrics=["dice"], by=["modality", "structure", "structure x modality"]
            )
        ],
    )
    assert small.cli("run", "suite.yaml", "-o", "run", "-q").returncode == 0
    run = medeval.Run.open("run")
    frame = run.records().query("status == 'ok'")
    assert frame.groupby("dataset").size().to_dict() == {"sa": 30, "ct": 41, "mr": 23}
    for dataset, structures in frame.groupby("dataset")["structure"]:
        named = {
            row["group"]["structure"] for row in scores(run, dataset=dataset, by="structure") if row["n"]
        }
        assert named == {structure.partition("#")[0] for structure in structures}
    products = scores(run, dataset="mr", by="structure x modality")
    assert {row["group"]["modality"] for row in products} == {"MR"}
