"""nnU-Net's raw layout: channels, regions, the ignore label, splits, and folders that do not hold together."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.datasets import NNUNet
from medeval.types import DataError, DatasetError

VOLUME = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
LABELS = (VOLUME % 5).astype(np.uint8)
JSON = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
    "regions_class_order": [1, 2, 3],
    "numTraining": 1,
    "file_ending": ".nii.gz",
}


@pytest.fixture
def root(tmp_path, nifti, dump):
    """Two test cases and one training case of two channels."""
    for folder, case in (("Ts", "case_a"), ("Ts", "case_b"), ("Tr", "case_c")):
        for channel in range(2):
            nifti(tmp_path / f"images{folder}/{case}_{channel:04d}.nii.gz", VOLUME + channel)
        nifti(tmp_path / f"labels{folder}/{case}.nii.gz", LABELS)
    dump(tmp_path / "dataset.json", JSON)
    return tmp_path


def test_channels_regions_and_ignore_are_honoured(root):
    dataset = NNUNet(root=root)
    assert dataset.index.ids == ("case_a", "case_b")
    assert dataset.structures == ("whole", "core", "enhancing")
    assert dataset.check() == []
    case = dataset.read("case_a")
    assert case.metadata == {"modality": "T1+T2", "split": "test"}
    assert case.patient is None
    np.testing.assert_array_equal(case.inputs["image"].array, [VOLUME, VOLUME + 1])
    structures = case.reference["structures"]
    np.testing.assert_array_equal(structures.mask("core"), np.isin(LABELS, [2, 3]))
    np.testing.assert_array_equal(structures.ignored(), LABELS == 4)


@pytest.mark.parametrize(
    ("options", "ids"),
    [({"split": "train"}, ("case_c",)), ({"split": None}, ("case_a", "case_b")), ({"limit": 1}, ("case_a",))],
)
def test_the_split_chooses_the_folders(root, options, ids):
    assert NNUNet(root=root, **options).index.ids == ids


def test_a_part_of_a_split(root):
    parts = [NNUNet(root=root, split=f"test {k}/2").index.ids for k in (1, 2)]
    assert sorted(parts[0] + parts[1]) == ["case_a", "case_b"]


def test_patients_come_from_the_case_names_by_rule(root):
    assert [c.patient for c in NNUNet(root=root, patient_id=r"case_(.)").index] == ["a", "b"]


def test_the_reference_alone_is_read_without_the_voxels_of_the_image(root):
    case = NNUNet(root=root).read("case_a", ("reference",))
    assert (set(case.inputs), set(case.reference)) == (set(), {"structures"})


@pytest.mark.parametrize(
    ("missing", "fields", "says"),
    [
        ("imagesTs/case_a_0001.nii.gz", ("inputs",), "case_a_0001.nii.gz: no such file"),
        ("labelsTs/case_a.nii.gz", ("reference",), "case_a.nii.gz: no such file"),
    ],
)
def test_a_missing_file_is_listed_told_by_check_and_an_error_when_read(root, missing, fields, says):
    (root / missing).unlink()
    dataset = NNUNet(root=root)
    assert dataset.index.ids == ("case_a", "case_b")
    [problem] = dataset.check()
    assert "is missing" in problem
    with pytest.raises(DataError, match=says):
        dataset.read("case_a", fields)
    assert dataset.read("case_b").inputs["image"].array.shape == (2, 3, 4, 5)


def test_images_without_labels_can_be_read_as_inputs(root):
    (root / "labelsTs").rename(root / "elsewhere")
    assert NNUNet(root=root).read("case_a", ("inputs",)).inputs["image"].array.shape == (2, 3, 4, 5)


def test_a_channel_too_many_is_refused(root, nifti):
    nifti(root / "imagesTs/case_a_0002.nii.gz", VOLUME)
    with pytest.raises(
        DataError, match=r"case_a_0002.nii.gz: dataset.json names 2 channels, this would be number 3"
    ):
        NNUNet(root=root).read("case_a")


def test_a_value_without_a_name_is_refused(root, nifti):
    nifti(root / "labelsTs/case_a.nii.gz", LABELS + (VOLUME == 7).astype(np.uint8) * 7)
    with pytest.raises(
        DataError, match=r"case_a.nii.gz: holds label values that have no name: 9; named: 0, 1, 2, 3, 4"
    ):
        NNUNet(root=root).read("case_a")


@pytest.mark.parametrize(("rule", "note"), [("resample", "resampled from"), ("trust-array", "trust-array:")])
def test_what_was_done_about_another_grid_is_in_the_notes(root, nifti, rule, note):
    affine = np.eye(4)
    affine[0, 3] = 1
    nifti(root / "labelsTs/case_a.nii.gz", LABELS, affine)
    with pytest.raises(DataError, match="lies on another grid"):
        NNUNet(root=root).read("case_a")
    case = NNUNet(root=root, on_grid_mismatch=rule).read("case_a")
    assert case.notes.startswith(note)
    assert case.inputs["image"].array.shape == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": None}, "labels: must be an object"),
        ({"labels": {"background": 0}}, "names no structure"),
        ({"labels": {"liver": "one"}}, "label 'liver': 'one' is not an integer"),
        ({"labels": {"liver": -1}}, "label 'liver': -1 is not an integer >= 0"),
        ({"labels": {"liver": [0, 1]}}, "mixes the background"),
        ({"labels": {"liver": 1, "ignore": [2, 3]}}, "'ignore' must be one value"),
        ({"labels": {"liver": True}}, "label 'liver': True is not an integer"),
        ({"file_ending": ".mha"}, "file_ending '.mha' is not read; known: .nii.gz"),
        ({"channel_names": {"0": "T1", "2": "T2"}}, "channel_names must be an object"),
    ],
)
def test_a_dataset_json_that_does_not_hold_is_a_dataset_error(root, dump, change, says):
    dump(root / "dataset.json", {**JSON, **change})
    with pytest.raises(DatasetError, match=says) as told:
        NNUNet(root=root).index.ids, NNUNet(root=root).structures
    assert str(root / "dataset.json") in str(told.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "val"}, "split 'val': nnU-Net has `test`"),
        ({}, "holds neither imagesTs nor labelsTs; looked for"),
    ],
)
def test_folders_that_are_not_there_are_named(tmp_path, dump, options, says):
    dump(tmp_path / "dataset.json", JSON)
    with pytest.raises(DatasetError, match=says):
        NNUNet(root=tmp_path, **options).index  # noqa: B018


def test_empty_folders_are_an_empty_dataset(tmp_path, dump):
    dump(tmp_path / "dataset.json", JSON)
    (tmp_path / "imagesTs").mkdir()
    with pytest.raises(DatasetError, match=r"no cases; looked for imagesTs/CASE_0000.nii.gz"):
        NNUNet(root=tmp_path).index  # noqa: B018


def test_a_folder_without_dataset_json_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"dataset.json: no such file"):
        NNUNet(root=tmp_path).index  # noqa: B018


def test_pictures_and_the_first_versions_json_are_read(tmp_path, png, dump):
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    png(tmp_path / "imagesTr/x_0000.png", picture)
    png(tmp_path / "labelsTr/x.png", picture % 2)
    dump(
        tmp_path / "dataset.json",
        {"modality": {"0": "US"}, "labels": {"0": "background", "1": "nerve"}, "file_ending": ".png"},
    )
    case = NNUNet(root=tmp_path, split="train").read("x")
    assert case.inputs["image"].grid.unit == "px"
    assert case.metadata["modality"] == "US"
    np.testing.assert_array_equal(case.reference["structures"].mask("nerve"), picture % 2 == 1)


def test_the_fingerprint_follows_label_names_and_files(root, dump, nifti):
    before = NNUNet(root=root).fingerprint("case_a"), NNUNet(root=root).fingerprint("case_b")
    assert before[0] != before[1]
    nifti(root / "labelsTs/case_a.nii.gz", np.roll(LABELS, 1, axis=2))
    assert NNUNet(root=root).fingerprint("case_a") != before[0]
    assert NNUNet(root=root).fingerprint("case_b") == before[1]
    dump(root / "dataset.json", {**JSON, "labels": {"whole": 1, "rest": [2, 3, 4]}})
    assert NNUNet(root=root).fingerprint("case_b") != before[1]


@pytest.mark.parametrize(
    ("name", "case_id", "shape", "modality", "known", "present"),
    [
        ("Dataset901_TotalSegCT", "s0001_ct", (1, 122, 101, 30), "CT", 117, 41),
        ("Dataset902_TotalSegMR", "s0002_mr", (1, 117, 91, 20), "MR", 50, 23),
    ],
)
def test_the_examples_of_totalsegmentator(shared, name, case_id, shape, modality, known, present):
    dataset = NNUNet(root=shared("totalsegmentator_example") / name)
    case = dataset.read(case_id)
    assert case.inputs["image"].array.shape == shape
    assert case.inputs["image"].grid.spacing == pytest.approx((3, 3, 3))
    assert (case.metadata["modality"], len(dataset.structures)) == (modality, known)
    assert len(case.reference["structures"].present()) == present


def test_the_mr_example_stored_as_lps_is_turned_to_ras(shared):
    case = NNUNet(root=shared("totalsegmentator_example") / "Dataset902_TotalSegMR").read("s0002_mr")
    masks = case.reference["structures"]
    right = [np.argwhere(masks.mask(f"kidney_{side}"))[:, 0].mean() for side in ("right", "left")]
    assert right[0] > right[1]  # the first axis runs to the patient's right
    up = [np.argwhere(masks.mask(name))[:, 1].mean() for name in ("liver", "spinal_cord")]
    assert up[0] > up[1]  # the second to anterior
