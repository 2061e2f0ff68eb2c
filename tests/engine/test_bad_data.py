"""Broken cases: each becomes a record with a message that names the file, and nothing else is lost."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from small_world import scores

from medeval.types import DatasetError


def volume(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def volumes(small, cases=4):
    """An nnU-Net folder of small volumes with two structures; the second is in even cases only."""
    root = small.folder / "vol"
    for number in range(cases):
        rng = np.random.default_rng(number)
        labels = np.zeros((10, 9, 8), np.uint8)
        labels[2:6, 2:6, 2:6] = 1
        labels[7:9, 5:8, 1:6] = 2 * (number % 2 == 0)
        image = (labels * 80 + rng.normal(0, 5, labels.shape) + 50).astype(np.int16)
        image[0, 0, 0] = number
        volume(root / "imagesTs" / f"case{number}_0000.nii.gz", image)
        volume(root / "labelsTs" / f"case{number}.nii.gz", labels)
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "CT"},
                "labels": {"background": 0, "liver": 1, "spleen": 2},
                "file_ending": ".nii.gz",
            }
        )
    )
    return root


def missing(root):
    (root / "imagesTs" / "case1_0000.nii.gz").unlink()


def missing_mask(root):
    (root / "labelsTs" / "case1.nii.gz").unlink()


def corrupt(root):
    (root / "imagesTs" / "case1_0000.nii.gz").write_bytes(b"no nifti at all")


def truncated(root):
    path = root / "imagesTs" / "case1_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:200])


def half_a_volume(root):
    path = root / "labelsTs" / "case1.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:500]))


def floats(root):
    volume(root / "labelsTs" / "case1.nii.gz", np.full((10, 9, 8), 0.5, np.float32))


def negative(root):
    volume(root / "labelsTs" / "case1.nii.gz", np.full((10, 9, 8), -1, np.int16))


def series(root):
    volume(root / "imagesTs" / "case1_0000.nii.gz", np.zeros((10, 9, 8, 3), np.int16))


def not_finite(root):
    array = np.zeros((10, 9, 8), np.float32)
    array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf
    volume(root / "imagesTs" / "case1_0000.nii.gz", array)


def other_shape(root):
    volume(root / "labelsTs" / "case1.nii.gz", np.ones((5, 9, 8), np.uint8))


def other_affine(root):
    volume(root / "labelsTs" / "case1.nii.gz", np.ones((10, 9, 8), np.uint8), np.diag([1, 1, 2, 1]))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (missing, "no such file"),
        (missing_mask, "no such file"),
        (corrupt, "cannot be read as NIfTI"),
        (truncated, "cannot be read"),
        (half_a_volume, "truncated"),
        (floats, "0.5"),
        (negative, "-1"),
        (series, "4 dimensions"),
        (not_finite, "NaN"),
        (other_shape, "5x9x8"),
        (other_affine, "10x9x8"),
    ],
)
def test_one_broken_case_is_told_and_the_others_are_scored(small, damage, told):
    root = volumes(small)
    damage(root)
    run = small.run(small.suite(datasets={"vol": {"format": "nnunet", "root": "vol"}}))
    frame = run.records()
    bad = frame[frame["case"] == "case1"]
    assert set(bad["status"]) == {"data_error"}
    assert bad["error"].str.contains("case1").all()
    assert told in bad["error"].iloc[0]
    assert bad["dice"].isna().all()
    assert frame[frame["case"] != "case1"].query("status == 'ok'")["dice"].notna().all()
    row = scores(run, metric="dice", by="", prompt="box")[0]
    assert row["failed"] == {"data_error": row["missing"]}
    assert row["bounds"][0] < row["value"]
    done = small.cli("show", "run")
    assert "data_error" in done.stdout


def test_all_cases_broken_gives_a_run_without_scores(small):
    root = volumes(small, cases=2)
    for path in (root / "labelsTs").iterdir():
        path.write_bytes(b"broken")
    small.suite(datasets={"vol": {"format": "nnunet", "root": "vol"}})
    done = small.cli("run", "suite.yaml", "-o", "run")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    import medeval

    row = scores(medeval.Run.open("run"), metric="dice", by="")[0]
    assert row["value"] is None
    assert row["n"] == 0
    assert row["bounds"] == [0, 1]


def test_a_metric_without_any_value_in_a_part_is_read_with_the_others(small):
    """hd95 of an empty prediction against a full one, a whole part of nulls, beside parts with numbers."""
    root = volumes(small)
    volume(root / "labelsTs" / "case1.nii.gz", np.zeros((10, 9, 8), np.uint8))  # no structure at all
    task = {"task": "segmentation", "metrics": ["dice", "hd95"], "by": ["structure"]}
    suite = small.suite(
        datasets={"vol": {"format": "nnunet", "root": "vol"}},
        models={"none": {"adapter": "empty"}},
        tasks=[task],
    )
    run = small.run(suite)
    frame = run.records()
    assert len(frame) == 8
    assert frame["hd95"].dtype == float
    assert frame[frame["case"] == "case1"]["hd95"].isna().all()


def test_structures_missing_in_some_cases_are_counted(small):
    volumes(small)
    run = small.run(small.suite(datasets={"vol": {"format": "nnunet", "root": "vol"}}))
    absent = run.records().query("status == 'undefined'")
    assert sorted(absent["case"]) == ["case1", "case3"]
    assert set(absent["error"]) == {"absent in the reference: no prompt can be drawn"}
    row = scores(run, metric="dice", by="structure", prompt="box", group={"structure": "spleen"})[0]
    assert (row["n"], row["absent"]) == (2, 2)
    assert "2 absent" in small.cli("show", "run").stdout


def test_an_index_that_leaves_its_root_reads_nothing_outside(small):
    root = small.folder / "sa"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    from PIL import Image
    from small_world import picture

    image, labels = picture(0)
    name = "amos_0006_90"
    Image.fromarray(image).save(root / "images" / f"{name}.png")
    Image.fromarray((labels == 1).astype(np.uint8) * 255).save(root / "masks" / f"{name}_liver_000.png")
    index = {
        f"images/{name}.png": [f"masks/{name}_liver_000.png"],
        "images/../../../../../../etc/passwd": ["masks/../../../etc/passwd"],
    }
    (root / "image2label_test.json").write_text(json.dumps(index))
    small.suite(datasets={"sa": {"format": "sa-med2d", "root": "sa"}})
    done = small.cli("run", "suite.yaml", "-o", "run", "--no-report")
    assert done.returncode in (1, 2), done.stdout
    assert "root:" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    import medeval

    frame = medeval.Run.open("run").records()
    assert "ok" in set(frame["status"])
    assert "data_error" in set(frame["status"])


def test_an_empty_dataset_is_told_before_anything_runs(small):
    (small.folder / "nothing" / "images").mkdir(parents=True)
    small.suite(datasets={"none": {"format": "image-mask-folder", "root": "nothing"}})
    done = small.cli("run", "suite.yaml", "-o", "run")
    assert done.returncode == 2
    assert "no cases" in done.stderr
    with pytest.raises(DatasetError, match="no cases"):
        small.run()
