"""``sa-med3d``: one folder a structure, images that several structures share, and what is wrong with such folders."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.datasets.sa_med3d import SAMed3D
from medeval.types import DataError, DatasetError

SHAPE = (6, 5, 4)


@pytest.fixture
def root(tmp_path, nifti):
    """Liver and spleen in one CT, the liver alone in another, a kidney in an MR; one test case."""
    image = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)

    def put(structure, source, case, value, part="Tr"):
        mask = np.zeros(SHAPE, np.uint8)
        mask[value] = 1
        nifti(tmp_path / structure / source / f"images{part}" / f"{case}.nii.gz", image)
        nifti(tmp_path / structure / source / f"labels{part}" / f"{case}.nii.gz", mask)

    put("liver", "ct_AMOS", "amos_1", 1)
    put("spleen", "ct_AMOS", "amos_1", 2)
    put("liver", "ct_AMOS", "amos_2", 3)
    put("kidney_left", "mr_CHAOS", "c_1", 4)
    put("liver", "ct_AMOS", "amos_9", 5, part="Ts")
    return tmp_path


def test_structures_of_one_image_are_one_case(root):
    dataset = SAMed3D(root=root)
    assert list(dataset.index.ids) == ["ct_AMOS/amos_1", "ct_AMOS/amos_2", "mr_CHAOS/c_1"]
    case = dataset.read("ct_AMOS/amos_1")
    structures = case.reference["structures"]
    assert structures.names == ("liver", "spleen")
    assert structures.mask("spleen")[2].all()
    assert np.count_nonzero(structures.mask("spleen")) == 20
    assert case.inputs["image"].array.shape == (1, *SHAPE)


def test_folder_names_become_metadata(root):
    info = SAMed3D(root=root).info("mr_CHAOS/c_1")
    assert info.metadata == {"modality": "mr", "source": "CHAOS", "split": "train"}
    assert info.structures == ("kidney_left",)
    assert info.patient is None
    named = SAMed3D(root=root, patient_id="/([a-z]+_[0-9]+)").info("mr_CHAOS/c_1")
    assert named.patient == "c_1"


def test_a_split_is_a_pair_of_folders(root):
    assert list(SAMed3D(root=root, split="test").index.ids) == ["ct_AMOS/amos_9"]
    parts = [list(SAMed3D(root=root, split=f"train {k}/3").index.ids) for k in (1, 2, 3)]
    assert sorted(case for part in parts for case in part) == list(SAMed3D(root=root).index.ids)
    with pytest.raises(DatasetError, match="imagesTs"):
        SAMed3D(root=root, split="val").index  # noqa: B018


def test_cases_are_selected_by_modality(root):
    assert list(SAMed3D(root=root, select={"modality": "mr"}).index.ids) == ["mr_CHAOS/c_1"]


def test_the_reference_is_read_without_the_image(root):
    case = SAMed3D(root=root).read("ct_AMOS/amos_1", ("reference",))
    assert not case.inputs
    assert case.reference["structures"].mask("liver").any()


def test_a_missing_image_is_told_by_name(root):
    (root / "kidney_left/mr_CHAOS/imagesTr/c_1.nii.gz").unlink()
    dataset = SAMed3D(root=root)
    assert any("kidney_left/mr_CHAOS/imagesTr/c_1.nii.gz is missing" in text for text in dataset.check())
    with pytest.raises(DataError, match="no such file"):
        dataset.read("mr_CHAOS/c_1")


def test_another_copy_of_the_image_serves_where_one_is_missing(root):
    (root / "liver/ct_AMOS/imagesTr/amos_1.nii.gz").unlink()
    dataset = SAMed3D(root=root)
    assert dataset.check() == []
    assert "spleen" in str(dataset.sources("ct_AMOS/amos_1")["image"])


def test_a_copy_on_another_grid_is_told(root, nifti):
    nifti(root / "spleen/ct_AMOS/imagesTr/amos_1.nii.gz", np.zeros((3, 3, 3), np.int16))
    (problem,) = SAMed3D(root=root).check()
    assert "no copy of" in problem
    assert "spleen" in problem


def test_a_mask_of_several_values_and_a_mask_on_another_grid_are_told(root, nifti):
    label = root / "spleen/ct_AMOS/labelsTr/amos_1.nii.gz"
    nifti(label, np.arange(120, dtype=np.uint8).reshape(SHAPE) % 3)
    with pytest.raises(DataError, match="spleen"):
        SAMed3D(root=root).read("ct_AMOS/amos_1")
    nifti(label, np.ones((6, 5, 9), np.uint8))
    with pytest.raises(DataError, match="spleen"):
        SAMed3D(root=root).read("ct_AMOS/amos_1")


def test_a_changed_label_changes_the_fingerprint_and_another_root_does_not(root, tmp_path_factory, nifti):
    import shutil

    before = SAMed3D(root=root).fingerprint("ct_AMOS/amos_1")
    copy = tmp_path_factory.mktemp("copy") / "data"
    shutil.copytree(root, copy)
    assert SAMed3D(root=copy).fingerprint("ct_AMOS/amos_1") == before
    nifti(copy / "liver/ct_AMOS/labelsTr/amos_1.nii.gz", np.ones(SHAPE, np.uint8))
    assert SAMed3D(root=copy).fingerprint("ct_AMOS/amos_1") != before


def test_a_folder_without_such_cases_says_what_was_looked_for(tmp_path):
    (tmp_path / "liver").mkdir()
    with pytest.raises(DatasetError, match=r"STRUCTURE/MODALITY_DATASET/labelsTr"):
        SAMed3D(root=tmp_path).index  # noqa: B018
    with pytest.raises(DatasetError, match="no such folder"):
        SAMed3D(root=tmp_path / "nowhere").index  # noqa: B018
