"""What cannot be built: told by name, before anything is written or as the failure of one volume."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError
from toy_volumes import OBLIQUE, volume

from medeval.datasets.building.commands import build_options, make_plan, parse_label_options, split_rule
from medeval.datasets.building.modalities import check_modality, modality_of, parse_modalities
from medeval.datasets.building.options import BuildOptions
from medeval.datasets.building.run import build
from medeval.datasets.building.sources import plan_nnunet, plan_pairs
from medeval.types import DatasetError

IMAGE, LABEL = volume()


@pytest.mark.parametrize(
    ("image", "labels", "affine", "says"),
    [
        (np.zeros((24, 20, 18, 3), np.int16), LABEL, OBLIQUE, "has 4 dimensions"),
        (IMAGE, LABEL[:-1], OBLIQUE, "other shape"),
        (IMAGE, LABEL, OBLIQUE + np.eye(4)[:, [3, 3, 3, 0]] * 3, "corners up to"),
        (IMAGE, LABEL + 4, OBLIQUE, "label values that have no name"),
        (IMAGE, LABEL + 0.5, OBLIQUE, "must hold integers"),
        (np.full(IMAGE.shape, np.nan, np.float32), LABEL, OBLIQUE, "NaN or infinite"),
    ],
)
def test_one_bad_volume_fails_alone_and_says_why(nnunet, tmp_path, image, labels, affine, says):
    root = nnunet({"bad": (image, None), "good": (IMAGE, LABEL)})
    nib.save(nib.Nifti1Image(labels.astype(np.float32), affine), root / "labelsTr/bad.nii.gz")
    done = build(plan_nnunet(root, {}), tmp_path / "out")
    assert list(done.failures) == ["Toy--bad"]
    assert says in done.failures["Toy--bad"]
    assert done.counts["volumes"] == 1
    log = json.loads((tmp_path / "out/build_log.json").read_text())
    assert log["failed"] == dict(done.failures)


def test_a_constant_volume_gives_no_image_and_no_nan(nnunet, tmp_path):
    for scope in ("image", "volume"):
        root = nnunet({"flat": (np.full(IMAGE.shape, 5, np.int16), LABEL)})
        done = build(plan_nnunet(root, {}), tmp_path / scope, BuildOptions(scope=scope, axes=("z",)))
        assert "images" not in done.counts
        assert done.counts["images dropped: constant"] > 0
        assert (tmp_path / scope / "SAMed2D_v1.json").read_text() == "{}\n"


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("a--b", "'a--b': '--' separates"),
        ("a-", "begin or end with '-'"),
        ("a:b", "a character that file names cannot"),
    ],
)
def test_case_names_that_break_the_grammar_are_refused_before_anything_is_written(nnunet, case, says):
    with pytest.raises(DatasetError, match=says):
        plan_nnunet(nnunet({case: volume()}), {})


@pytest.mark.parametrize("name", ["My--Set", "-x", "", "a/b", ".hidden"])
def test_a_data_set_name_that_breaks_the_grammar_is_refused(nnunet, name):
    with pytest.raises(DatasetError, match=r"give another one with --name"):
        plan_nnunet(nnunet({"a": volume()}, name="Dataset001_--"), {}, name or None)


@pytest.mark.parametrize(
    ("channels", "given", "says"),
    [
        (
            ("noNorm",),
            [],
            r"channel 0 is called 'noNorm', which is no modality; say which it is: --modality 0=mr_t1",
        ),
        (("CT", "CT"), [], r"would all be 'ct_00'"),
        (("CT",), ["T1=mr_t1"], r"--modality names channel 'T1'; .*known: 0, CT"),
        (("T1", "T2"), ["mr_00"], "would all be 'mr_00'"),
    ],
)
def test_a_channel_that_is_no_modality_is_asked_for(nnunet, channels, given, says):
    root = nnunet({"a": ([IMAGE] * len(channels), LABEL)}, channels=channels)
    with pytest.raises(DatasetError, match=says):
        plan_nnunet(root, parse_modalities(given))


def test_a_given_modality_wins(nnunet):
    root = nnunet({"a": ([IMAGE, IMAGE], LABEL)}, channels=("one", "T2"))
    assert plan_nnunet(root, parse_modalities(["one=mr_adc", "1=mr_t2w"])).sources[0].modalities == (
        "mr_adc",
        "mr_t2w",
    )


@pytest.mark.parametrize(
    ("word", "value"),
    [("CT", "ct_00"), ("T1", "mr_t1"), ("MR_T2", "mr_t2"), ("FLAIR", "mr_flair"), ("X-Ray", "x_ray"), ("MRI", "mr_00"),
     ("PET", "pet_00"), ("rescale_to_0_1", None), ("R", None)],
)  # fmt: skip
def test_channel_names_say_their_modality(word, value):
    assert modality_of(word) == value


@pytest.mark.parametrize("value", ["sonar_00", "ct--x", "xray", "ct_", "ct_a b"])
def test_an_unknown_modality_is_refused_with_those_that_are_known(value):
    with pytest.raises(DatasetError, match="known: ct, dermoscopy"):
        check_modality(value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"axes": ("x", "x")}, "name one twice"),
        ({"axes": ("w",)}, "'x', 'y' or 'z'"),
        ({"percentiles": (90, 10)}, "low < high"),
        ({"window": (40, 0)}, "width must be above 0"),
        ({"min_area": 1.5}, "less than 1"),
        ({"scope": "slice"}, "--scope.*'image' or 'volume'.*not 'slice'"),
    ],
)
def test_an_option_that_does_not_fit_is_named(options, says):
    with pytest.raises(DatasetError, match=says):
        build_options(**options)


def test_unknown_words_of_the_command_line_are_told(tmp_path):
    with pytest.raises(DatasetError, match="--from 'nnunett': did you mean 'nnunet'"):
        make_plan("nnunett", tmp_path, (), None, None, "", "", ())
    with pytest.raises(DatasetError, match="--split 'image'"):
        split_rule("image", 0.2, 0)
    for bad in ("liver", "liver=", "=1", "liver=1,x"):
        with pytest.raises(DatasetError, match="write NAME=VALUE"):
            parse_label_options([bad])
    assert parse_label_options(["liver=1", "kidneys=2,3"]) == {"liver": 1, "kidneys": [2, 3]}
    with pytest.raises(ValidationError):
        BuildOptions(overlap=3)


def test_a_root_without_data_says_what_was_looked_for(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no dataset\.json"):
        plan_nnunet(tmp_path, {})
    with pytest.raises(DatasetError, match="no such folder"):
        plan_nnunet(tmp_path / "nope", {})
    with pytest.raises(DatasetError, match="no cases; looked for images"):
        plan_pairs(tmp_path, {"": "ct_00"})


def test_images_without_labels_are_passed_over_with_a_note(nnunet):
    root = nnunet({"a": volume()})
    (root / "imagesTs").mkdir()
    plan = plan_nnunet(root, {})
    assert [volume.case for volume in plan.volumes] == ["a"]
    assert "imagesTs: passed over" in plan.notes[0]


def test_one_name_in_training_and_test_is_refused(nnunet):
    nnunet({"a": volume()})
    root = nnunet({"a": volume()}, part="Ts")
    with pytest.raises(DatasetError, match="'Toy--a' would be built twice"):
        plan_nnunet(root, {})


def test_an_output_that_cannot_be_written_is_told(nnunet, tmp_path):
    plan = plan_nnunet(nnunet({"a": volume()}), {})
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="is a file; --out names a folder"):
        build(plan, tmp_path / "file")
    with pytest.raises(DatasetError, match=r"cannot be written .*--out"):
        build(plan, tmp_path / "file/below")
