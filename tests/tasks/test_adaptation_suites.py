"""The suites of source-free adaptation: their readers' configurations, the drawn hearts, the guides' entries."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from medeval.api import load_suite, published_tables
from medeval.plugins import build, resolve
from medeval.tasks.robustness import PromptedRobustness, Robustness

DOCS = Path(__file__).parents[2] / "docs"
HEARTS = resolve("medeval.datasets", "medeval_suites.cardiac_phantoms:CardiacPhantoms")


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """The paper's suite over a folder with a case of each data set."""
    import nibabel as nib

    for name in ("MMS_ROOT", "FETAL_BRAIN_ROOT", "FETA_ROOT"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("UPL_SFDA_MMS", "UPL_SFDA_FB", "UPL_SFDA_FETA"):
        monkeypatch.setenv(name, str(tmp_path / "weights.pth"))

    def write(path, top):
        array = np.zeros((8, 8, 4), np.int16)
        array[2:6, 2:6, 1] = top
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / path)

    for split in ("train", "test"):
        for vendor in "BCD":
            write(f"MMS_ROOT/{vendor}/{split}/img/A0S9V9_ED.nii.gz", 90)
            write(f"MMS_ROOT/{vendor}/{split}/lab/A0S9V9_ED.nii.gz", 3)
        write(f"FETAL_BRAIN_ROOT/{split}/img/f01.nii.gz", 90)
        write(f"FETAL_BRAIN_ROOT/{split}/lab/f01.nii.gz", 1)
    for number in (1, 17, 32, 33, 40, 41):
        write(f"FETA_ROOT/sub-{number:03d}/anat/sub-{number:03d}_rec-mial_T2w.nii.gz", 90)
        write(f"FETA_ROOT/sub-{number:03d}/anat/sub-{number:03d}_rec-mial_dseg.nii.gz", 7)
    return load_suite("upl-sfda-paper")


def test_the_papers_data_are_found_in_their_layout(paper):
    for name, spec in paper.dataset_specs.items():
        data = build(resolve("medeval.datasets", spec.reference), spec.options)
        case = data.read(data.index.ids[0])
        assert case.reference["structures"].present(), name
        assert all(info.patient for info in data.index), name
    hearts = build(resolve("medeval.datasets", "image-mask-folder"), paper.dataset_specs["mms-c"].options)
    assert hearts.index[0].patient == "A0S9V9"
    assert hearts.index[0].metadata["vendor"] == "C"


def test_the_halves_of_feta_share_no_patient_and_one_method(paper):
    parts = [
        {info.patient for info in build(resolve("medeval.datasets", spec.reference), spec.options).index}
        for name, spec in paper.dataset_specs.items()
        if name.startswith("feta")
    ]
    assert not parts[0] & parts[1]
    assert "sub-041" not in parts[0] | parts[1]
    assert len(parts[0] | parts[1]) == 5


def test_the_demo_holds():
    suite = load_suite("sfda-demo")
    assert [task.label for task in suite.tasks] == [
        "domain-adaptation",
        "adaptation-at-test-time",
        "robustness",
    ]


def test_published_figures_name_their_source():
    *tables, citation = published_tables("upl-sfda")
    assert "2309.10244" in citation
    assert all(table.note.startswith("source:") for table in tables)


# -- drawn hearts -----------------------------------------------------------------------------------------------


def test_hearts_are_drawn_by_their_seed_and_number():
    first, again, other = (HEARTS(patients=3, phantom=seed) for seed in (1, 1, 2))
    images = [data.read("heart-001").inputs["image"].array for data in (first, again, other)]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    tail = HEARTS(patients=1, first=1, phantom=1).read("heart-001").inputs["image"].array
    assert np.array_equal(tail, images[0])


def test_another_look_is_the_same_heart():
    near, far = HEARTS(patients=2), HEARTS(patients=2, gamma=0.6, contrast=0.7, bias=0.3, noise=0.07)
    cases = [data.read("heart-000") for data in (near, far)]
    labels = [case.reference["structures"].array for case in cases]
    assert np.array_equal(*labels)
    assert not np.array_equal(*(case.inputs["image"].array for case in cases))
    assert near.fingerprint("heart-000") != far.fingerprint("heart-000")


def test_every_slice_of_a_heart_holds_every_structure():
    data = HEARTS(patients=6)
    for case_id in data.index.ids:
        case = data.read(case_id)
        for name in ("lv", "myo", "rv"):
            assert case.reference["structures"].mask(name).any(axis=(0, 1)).all()
        assert case.inputs["image"].array.shape == (1, 48, 48, 6)


# -- the guides ---------------------------------------------------------------------------------------------------


def _blocks(page):
    return [
        yaml.safe_load(text)
        for text in re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    ]


def test_the_guide_to_robustness_holds():
    datasets, tasks = _blocks("robustness.md")
    for entry in datasets["datasets"].values():
        options = dict(entry)
        assert len(build(resolve("medeval.datasets", options.pop("format")), options).index) == 5
    classes = {"robustness": Robustness, "prompted-robustness": PromptedRobustness}
    assert [build(classes[entry["task"]], entry).task for entry in tasks["tasks"]] == list(classes)


def test_the_guides_list_every_corruption_and_method():
    from medeval.datasets.shifts import CORRUPTIONS
    from medeval.plugins import names

    robustness, adaptation = ((DOCS / page).read_text("utf-8") for page in ("robustness.md", "adaptation.md"))
    for name, corruption in CORRUPTIONS.items():
        ladder = ", ".join(f"{value:g}" for value in corruption.ladder)
        row = next(line for line in robustness.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.endswith(f"| {ladder} |"), name
    for name in names("medeval.adaptations"):
        assert f"| `{name}` |" in adaptation


def test_the_training_of_a_source_model_holds():
    pytest.importorskip("torch")
    recipe = resolve("medeval.recipes", "segmentation")
    config = _blocks("adaptation.md")[1]
    assert build(recipe, config).rotate


@pytest.mark.slow
def test_the_demo_runs(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    import medeval

    monkeypatch.setenv("MEDEVAL_CACHE", str(tmp_path / "cache"))
    run = medeval.run("sfda-demo", tmp_path / "run", overrides=["models.unet.training.epochs=1"])
    records = run.records()
    assert records["error"].isna().all()
    assert set(records["arm"]) >= {
        "source-only",
        "ptbn",
        "tent",
        "upl-sfda",
        "target-supervised",
        "clean",
        "noise@5",
    }
    assert (tmp_path / "run" / "report.html").exists()
