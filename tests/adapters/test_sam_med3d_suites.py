"""The suites of SAM-Med3D with small networks on small volumes: every model answers, and the paper's table comes out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

import medeval  # noqa: E402
from medeval_models import sam_med2d  # noqa: E402

LABELS = ("liver", "spleen", "kidney_left", "pancreas", "stomach", "aorta", "autochthon_left", "spinal_cord")
SLICES = {"image_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3, "global_attn_indexes": (0,),
          "window_size": 3, "out_chans": 16, "decoder_mlp_dim": 32, "iou_head_hidden_dim": 12}  # fmt: skip


def nnunet(root, modality, seed):
    """A case with liver and aorta in nnU-Net's layout."""
    drawn = np.random.default_rng(seed)
    labels = np.zeros((20, 22, 6), np.uint8)
    labels[3:12, 4:14, 1:5] = 1
    labels[14:17, 15:18] = 6
    image = (drawn.normal(40, 5, labels.shape) + 60 * (labels == 1) + 120 * (labels == 6)).astype(np.int16)
    affine = np.diag([-3.0, 3.0, 3.0, 1.0])
    for folder, array, name in (("imagesTs", image, "case_0000"), ("labelsTs", labels, "case")):
        (root / folder).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), root / folder / f"{name}.nii.gz")
    named = {"background": 0} | {label: number for number, label in enumerate(LABELS, start=1)}
    about = {"channel_names": {"0": modality}, "labels": named, "numTraining": 0, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(about))
    return str(root)


@pytest.fixture
def environment(tmp_path, med3d_checkpoint, monkeypatch):
    torch.manual_seed(0)
    torch.save({"model": sam_med2d.build(**SLICES).state_dict()}, tmp_path / "slices.pth")
    given = {
        "CT_ROOT": nnunet(tmp_path / "ct", "CT", 0),
        "MR_ROOT": nnunet(tmp_path / "mr", "MR", 1),
        "SAM_MED3D_CHECKPOINT": str(med3d_checkpoint),
        "SAM_MED2D_CHECKPOINT": str(tmp_path / "slices.pth"),
        "SAM_CHECKPOINT": str(tmp_path / "slices.pth"),
        "SA_MED3D_ROOT": folders(tmp_path / "sa_med3d"),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def folders(root):
    """A case in SA-Med3D's layout."""
    image = np.random.default_rng(2).normal(60, 20, (18, 16, 7)).astype(np.int16)
    for structure, part in (("liver", np.s_[2:9, 3:11, 1:6]), ("parotid_left", np.s_[11:15, 4:8, 2:5])):
        mask = np.zeros(image.shape, np.uint8)
        mask[part] = 1
        for folder, array in (("imagesTs", image), ("labelsTs", mask)):
            place = root / structure / "ct_PHANTOM" / folder
            place.mkdir(parents=True)
            nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 2.0, 3.0, 1])), place / "p1.nii.gz")
    return str(root)


def test_the_demo_ends_in_the_papers_table(environment):
    run = medeval.run("sam-med3d-demo", environment / "run")
    records = run.records()
    asked = records[records.structure.isin(["liver", "aorta"])]
    assert asked[~asked.status.isin(["ok", "carried"])][["model", "structure", "status", "error"]].empty
    assert set(asked.model) == {"sam-med3d", "random-walker", "sam-med2d-handed-on", "sam-med2d-per-slice"}
    scores = run.summary()["scores"]
    shown = {(row["model"], row["prompt"]) for row in scores if row.get("metric") == "dice"}
    clicks = {"1 click", "3 clicks", "5 clicks", "10 clicks"}
    for model in ("sam-med3d", "random-walker", "sam-med2d-handed-on"):
        assert {(model, prompt) for prompt in clicks} <= shown
    assert ("sam-med2d-per-slice", "point per slice") in shown
    groups = {row["group"].get("anatomy") for row in scores}
    assert "abdomen & thorax" in groups


def test_the_papers_suite_runs_on_its_layout(environment):
    records = medeval.run("sam-med3d-paper", environment / "run").records()
    assert set(records.task) == {"as published", "strict", "a point on every slice"}
    wrong = records[~records.status.isin(["ok", "carried"])]
    assert wrong[["task", "model", "structure", "prompt", "status", "error"]].to_dict("records") == []
    assert set(records.structure) == {"liver", "parotid_left"}
    assert set(records.case) == {"ct_PHANTOM/p1"}


def test_the_guides_examples_hold():
    from medeval.api import load_suite
    from medeval_adapters.train_sam_med3d import TrainSAMMed3D

    text = (Path(__file__).resolve().parents[2] / "docs" / "sam_med3d.md").read_text("utf-8")
    suite, training = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    assert load_suite({"name": "guide", **suite}).tasks
    assert TrainSAMMed3D(**training).learning_rate is None
