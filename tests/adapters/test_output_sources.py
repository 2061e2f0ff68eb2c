"""Oracle and predictions: sources of outputs that see the whole case."""

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from medeval.types import (
    Case,
    DataError,
    Failure,
    Grid,
    Image,
    Key,
    LabelMap,
    MaskStack,
    ModelFailure,
    Segmentation,
    Status,
    UserError,
)
from medeval_adapters.oracle import Oracle
from medeval_adapters.predictions import Predictions

LABELS = {"liver": (1,), "kidneys": (2, 3)}


def label_array(shape=(6, 7, 8)):
    array = np.zeros(shape, np.uint8)
    array[1:3, 2:5] = 1
    array[4:, 1] = 2
    array[4:, 5] = 3
    return array


def case_of(array, structures=None, case_id="case_1"):
    affine = np.diag([1.5, 2.0, 2.5, 1.0]) if array.ndim == 3 else None
    spacing = (1.5, 2.0, 2.5) if array.ndim == 3 else (1.0, 1.0)
    grid = Grid(array.shape, spacing, affine, "mm" if array.ndim == 3 else "px")
    structures = LabelMap(array, LABELS) if structures is None else structures
    return Case(
        case_id,
        None,
        {"image": Image(np.zeros((1, *array.shape), np.float32), grid)},
        {"structures": structures},
    )


def write_nifti(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(
        nibabel.Nifti1Image(array, np.diag([1.5, 2.0, 2.5, 1.0]) if affine is None else affine), path
    )


def test_the_oracle_is_the_reference():
    case = case_of(label_array())
    assert Oracle().output(case, Key("*")) is case.reference["structures"]
    answer = Oracle().output(case, Key("kidneys", "box", 1))
    assert isinstance(answer, Segmentation)
    np.testing.assert_array_equal(answer.mask, label_array() >= 2)


def test_the_oracle_of_a_stack_of_masks():
    mask = label_array() == 1
    case = case_of(label_array(), MaskStack({"liver#0": mask}, mask.shape))
    np.testing.assert_array_equal(Oracle().output(case, Key("liver#0")).mask, mask)


def test_the_oracle_says_what_it_lacks():
    case = case_of(label_array())
    with pytest.raises(ModelFailure, match="did you mean 'liver'"):
        Oracle().output(case, Key("livr"))
    with pytest.raises(DataError, match="needs the reference"):
        Oracle().output(Case("c", None, case.inputs), Key("liver"))


def test_a_folder_of_label_maps_is_read_by_case_id(tmp_path):
    predicted = np.roll(label_array(), 1, axis=2)
    write_nifti(tmp_path / "case_1.nii.gz", predicted)
    source = Predictions(tmp_path)
    case = case_of(label_array())
    np.testing.assert_array_equal(source.output(case, Key("kidneys")).mask, predicted >= 2)
    whole = source.output(case, Key("*"))
    assert whole.names == ("liver", "kidneys")
    np.testing.assert_array_equal(whole.array, predicted)


def test_files_in_another_orientation_land_on_the_cases_axes(tmp_path):
    flipped = label_array()[::-1]
    affine = np.diag([-1.5, 2.0, 2.5, 1.0])
    affine[0, 3] = 1.5 * 5
    write_nifti(tmp_path / "case_1.nii.gz", flipped, affine)
    np.testing.assert_array_equal(
        Predictions(tmp_path).output(case_of(label_array()), Key("*")).array, label_array()
    )


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("pattern", ["{id}.nii.gz", "{id}", "{id}.png"])
def test_other_suffixes_are_tried(tmp_path, pattern, suffix):
    write_nifti(tmp_path / f"case_1{suffix}", label_array())
    source = Predictions(tmp_path, pattern=pattern)
    assert source.output(case_of(label_array()), Key("liver")).mask.sum() == (label_array() == 1).sum()


def test_the_label_values_of_the_files_may_be_others(tmp_path):
    write_nifti(tmp_path / "case_1.nii.gz", np.where(label_array() == 1, 6, 0).astype(np.uint8))
    source = Predictions(tmp_path, labels={"liver": 6})
    case = case_of(label_array())
    np.testing.assert_array_equal(source.output(case, Key("liver")).mask, label_array() == 1)
    uncovered = source.output(case, Key("kidneys"))
    assert isinstance(uncovered, Failure)
    assert uncovered.status is Status.NOT_COVERED
    assert uncovered.key == Key("kidneys")


def test_one_file_a_structure(tmp_path):
    write_nifti(tmp_path / "case_1" / "liver.nii.gz", (label_array() == 1).astype(np.uint8))
    source = Predictions(tmp_path, pattern="{id}/{structure}.nii.gz")
    case = case_of(label_array())
    np.testing.assert_array_equal(source.output(case, Key("liver")).mask, label_array() == 1)
    assert source.output(case, Key("kidneys")).status is Status.NOT_COVERED
    assert source.output(case, Key("*")).names == ("liver",)
    with pytest.raises(ModelFailure, match="no prediction case_2/liver"):
        source.output(case_of(label_array(), case_id="case_2"), Key("liver"))


@pytest.mark.parametrize("white", [1, 255])
def test_a_black_and_white_picture_of_one_structure(tmp_path, white):
    mask = np.zeros((9, 11), bool)
    mask[2:5, 3:9] = True
    Picture.fromarray((mask * white).astype(np.uint8)).save(tmp_path / "case_1.png")
    for structures in (
        MaskStack({"polyp": mask}, mask.shape),
        LabelMap(mask.astype(np.uint8), {"polyp": (1,)}),
    ):
        case = case_of(mask.astype(np.uint8), structures)
        np.testing.assert_array_equal(Predictions(tmp_path).output(case, Key("polyp")).mask, mask)


def test_values_without_names_are_an_error_not_a_background(tmp_path):
    write_nifti(tmp_path / "case_1.nii.gz", label_array() * 9)
    with pytest.raises(ModelFailure, match=r"case_1\.nii\.gz.*no name: 9"):
        Predictions(tmp_path).output(case_of(label_array()), Key("liver"))


def test_masks_without_labels_need_labels(tmp_path):
    write_nifti(tmp_path / "case_1.nii.gz", label_array())
    masks = MaskStack({"a": label_array() == 1, "b": label_array() == 2}, label_array().shape)
    with pytest.raises(UserError, match="labels"):
        Predictions(tmp_path).output(case_of(label_array(), masks), Key("a"))


def test_a_missing_file_is_the_models_failure(tmp_path):
    with pytest.raises(ModelFailure, match=r"no prediction case_1\.nii\.gz"):
        Predictions(tmp_path).output(case_of(label_array()), Key("*"))


@pytest.mark.parametrize("content", [b"", b"not a nifti file", b"\x1f\x8b\x08\x00"])
def test_an_unreadable_file_is_named(tmp_path, content):
    (tmp_path / "case_1.nii.gz").write_bytes(content)
    with pytest.raises(ModelFailure, match=r"case_1\.nii\.gz"):
        Predictions(tmp_path).output(case_of(label_array()), Key("*"))


def test_another_grid_is_refused_or_resampled_by_rule(tmp_path):
    write_nifti(tmp_path / "case_1.nii.gz", label_array().repeat(2, axis=2), np.diag([1.5, 2.0, 1.25, 1.0]))
    case = case_of(label_array())
    with pytest.raises(ModelFailure, match="another grid"):
        Predictions(tmp_path).output(case, Key("liver"))
    output = Predictions(tmp_path, on_grid_mismatch="resample").output(case, Key("liver"))
    assert "resampled" in output.columns["notes"]
    np.testing.assert_array_equal(output.value.mask, label_array() == 1)


def test_missing_and_extra_files_are_listed(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "stray.nii.gz"):
        write_nifti(tmp_path / name, label_array())
    (tmp_path / "dataset.json").write_text("{}")
    (tmp_path / ".hidden.nii.gz").write_text("")
    assert Predictions(tmp_path).check(["a", "c", "b"]) == (["c"], ["stray.nii.gz"])


def test_missing_and_extra_folders_are_listed(tmp_path):
    for name in ("a/liver.nii.gz", "a/spleen.nii.gz", "z/liver.nii.gz", "liver.nii.gz"):
        write_nifti(tmp_path / name, label_array())
    source = Predictions(tmp_path, pattern="{id}/{structure}.nii.gz")
    assert source.check(["a", "b"]) == (["b"], ["liver.nii.gz", "z/liver.nii.gz"])


@pytest.mark.parametrize("pattern", ["pred.nii.gz", "{id}_{fold}.nii.gz", "{id.nii.gz"])
def test_a_pattern_without_an_id_is_refused(tmp_path, pattern):
    with pytest.raises(UserError, match="pattern"):
        Predictions(tmp_path, pattern=pattern)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        Predictions(tmp_path / "nowhere")


def test_a_case_id_does_not_lead_out_of_the_folder(tmp_path):
    write_nifti(tmp_path / "secret.nii.gz", label_array())
    (tmp_path / "predictions").mkdir()
    with pytest.raises(ModelFailure, match="climbs"):
        Predictions(tmp_path / "predictions").output(case_of(label_array(), case_id="../secret"), Key("*"))
