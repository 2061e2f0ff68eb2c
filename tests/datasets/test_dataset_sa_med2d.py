"""SA-Med2D: both grammars of names, the three forms of the index, and paths that must not leave the root."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.datasets import SAMed2D
from medeval.datasets.sa_med2d_names import parse_image, parse_mask
from medeval.types import DataError, DatasetError

GREY = np.zeros((4, 6), np.uint8)
MASK = np.eye(4, 6, dtype=np.uint8)
ACDC = "mr_00--ACDC--patient001_frame01--x_0006"


@pytest.mark.parametrize(
    ("stem", "modality", "sub", "patient", "axis", "number"),
    [
        (ACDC, "MR", "", "ACDC--patient001_frame01", "x", 6),
        ("mr_t1--BraTS2021--BraTS2021_00218--z_0141", "MR", "t1", "BraTS2021--BraTS2021_00218", "z", 141),
        ("ct_00--CAD_PE--001--x_0125", "CT", "", "CAD_PE--001", "x", 125),
        ("x_ray--covid_19_ct_cxr--16660_5_1--2d_none", "X-ray", "", "covid_19_ct_cxr--16660_5_1", "", None),
        (
            "ct_00--QUBIQ2020--1_brain-growth_case01--2d_none",
            "CT",
            "",
            "QUBIQ2020--1_brain-growth_case01",
            "",
            None,
        ),
        ("fundus_photography--PALM19--P0001--2d_none", "Fundus", "", "PALM19--P0001", "", None),
        ("ultrasound_00--us--1--2d_none", "Ultrasound", "", "us--1", "", None),
        ("ct_tmax--ISLES2018--case_1--z_0001", "CT", "tmax", "ISLES2018--case_1", "z", 1),
        ("oct_00--GOALS--1--2d_none", "oct", "", "GOALS--1", "", None),
        ("amos_0004_75", "unknown", "", "amos_0004", "", 75),
        ("s0114_111", "unknown", "", "s0114", "", 111),
        ("picture", "unknown", "", "picture", "", None),
    ],
)
def test_an_image_name_says_modality_patient_and_slice(stem, modality, sub, patient, axis, number):
    name = parse_image(stem)
    assert (name.modality, name.sub_modality, name.patient, name.axis, name.slice) == (
        modality,
        sub,
        patient,
        axis,
        number,
    )


@pytest.mark.parametrize(
    ("image", "mask", "structure", "instance"),
    [
        (ACDC, f"{ACDC}--0000_000", "ACDC:0000", 0),
        (ACDC, f"{ACDC}--0011_002", "ACDC:0011", 2),
        ("s0114_111", "s0114_111_rib_left_9_000", "rib_left_9", 0),
        ("s0114_111", "s0114_111_vertebrae_T9_001", "vertebrae_T9", 1),
    ],
)
def test_a_mask_name_says_structure_and_instance(image, mask, structure, instance):
    name = parse_mask(mask, parse_image(image))
    assert (name.structure, name.instance) == (structure, instance)


@pytest.mark.parametrize("mask", ["other_3_liver_000", "s0114_111", "s0114_111_liver", f"{ACDC}--0000_000"])
def test_a_mask_of_another_image_or_form_is_no_mask_of_this_one(mask):
    assert parse_mask(mask, parse_image("s0114_111")) is None


@pytest.fixture
def release(tmp_path, png, dump):
    """Two images of ACDC with three masks, as in the release."""
    other = "ct_00--AMOS2022--0004--z_0075"
    masks = {ACDC: ["0000_000", "0001_000", "0001_001"], other: ["0003_000"]}
    for stem, classes in masks.items():
        png(tmp_path / f"images/{stem}.png", GREY)
        for number, name in enumerate(classes):
            png(tmp_path / f"masks/{stem}--{name}.png", np.roll(MASK, number, 1) * (255 if number else 1))
    dump(
        tmp_path / "SAMed2D_v1.json",
        {f"images/{s}.png": [f"masks/{s}--{c}.png" for c in classes] for s, classes in masks.items()},
    )
    dump(tmp_path / "SAMed2D_v1_class_mapping_id.json", {"ACDC": {"RV": "0000", "Myocardium": "0001"}})
    return tmp_path


def test_the_release_is_read_with_class_names_and_instances(release):
    dataset = SAMed2D(root=release)
    assert dataset.index.ids == ("ct_00--AMOS2022--0004--z_0075", ACDC)
    case = dataset.read(ACDC)
    assert case.patient == "ACDC--patient001_frame01"
    assert case.metadata == {
        "modality": "MR",
        "source": "ACDC",
        "volume": "patient001_frame01",
        "axis": "x",
        "slice": 6,
    }
    assert case.inputs["image"].array.shape == (1, 4, 6)
    structures = case.reference["structures"]
    assert structures.names == ("RV", "Myocardium#0", "Myocardium#1") == dataset.index.info(ACDC).structures
    np.testing.assert_array_equal(structures.mask("RV"), MASK > 0)
    assert (case.inputs["image"].grid.unit, case.inputs["image"].grid.spacing) == ("px", (1.0, 1.0))


def test_a_class_without_a_name_keeps_its_source_and_id(release):
    assert SAMed2D(root=release).index[0].structures == ("AMOS2022:0003",)


def test_instances_can_be_merged(release):
    structures = SAMed2D(root=release, instances="merged").read(ACDC).reference["structures"]
    assert structures.names == ("RV", "Myocardium")
    assert structures.mask("Myocardium").sum() == 8


def test_the_release_is_never_listed_beside_its_index(release, png):
    png(release / "images/unlisted_1.png", GREY)
    assert len(SAMed2D(root=release).index) == 2


def test_only_what_is_asked_for_is_read(release):
    dataset = SAMed2D(root=release)
    for path in (release / "masks").iterdir():
        path.unlink()
    case = dataset.read(ACDC, ("inputs",))
    assert (set(case.inputs), set(case.reference)) == ({"image"}, set())
    with pytest.raises(DataError, match=r"0000_000.png: no such file"):
        dataset.read(ACDC, ("reference",))
    assert len(dataset.check()) == 4


@pytest.fixture
def demo(tmp_path, png, dump):
    """The older layout; `a_1` and `a_1_2` share a beginning."""
    for stem in ("a_1", "a_1_2", "b_7", "c_9"):
        png(tmp_path / f"images/{stem}.png", GREY)
    for stem in ("a_1_liver_000", "a_1_2_hip_left_000", "a_1_2_hip_left_001", "b_7_aorta_000"):
        png(tmp_path / f"masks/{stem}.png", MASK * 255)
    dump(tmp_path / "image2label_train.json", {"demo/images/a_1.png": ["demo/masks/a_1_liver_000.png"]})
    dump(
        tmp_path / "label2image_test.json",
        {
            "demo/masks/a_1_2_hip_left_000.png": "demo/images/a_1_2.png",
            "demo/masks/a_1_2_hip_left_001.png": "demo/images/a_1_2.png",
            "demo/masks/b_7_aorta_000.png": "demo/images/b_7.png",
        },
    )
    return tmp_path


def test_both_directions_of_the_index_are_merged_and_unlisted_images_are_cases(demo):
    dataset = SAMed2D(root=demo)
    assert {c.id: (c.structures, c.metadata.get("split")) for c in dataset.index} == {
        "a_1": (("liver",), "train"),
        "a_1_2": (("hip_left#0", "hip_left#1"), "test"),
        "b_7": (("aorta",), "test"),
        "c_9": ((), None),
    }
    assert dataset.read("c_9").reference["structures"].names == ()
    assert dataset.check() == []


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"split": "test"}, ("a_1_2", "b_7")),
        ({"split": "train"}, ("a_1",)),
        ({"index_files": ["image2label_train.json"]}, ("a_1",)),
    ],
)
def test_an_index_that_is_asked_for_is_all_there_is(demo, options, ids):
    assert SAMed2D(root=demo, **options).index.ids == ids


def test_without_an_index_masks_go_to_the_longest_image_name(demo):
    for path in demo.glob("*.json"):
        path.unlink()
    assert {c.id: c.structures for c in SAMed2D(root=demo).index} == {
        "a_1": ("liver",), "a_1_2": ("hip_left#0", "hip_left#1"), "b_7": ("aorta",), "c_9": (),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("../../etc/passwd", r"climbs with '\.\.'"),
        ("masks/../../secret_000.png", r"climbs with '\.\.'"),
        ("..\\..\\secret_000.png", r"climbs with '\.\.'"),
        ("/etc/passwd", "is absolute"),
        ("C:\\secret_000.png", "is absolute"),
        ("masks/link_000.png", "leads out of it by a link"),
        ("", "is not a path"),
    ],
)
@pytest.mark.parametrize("part", ["mask", "image"])
def test_an_entry_that_leaves_the_root_is_refused_and_the_other_cases_stand(
    tmp_path, png, dump, entry, says, part
):
    root = tmp_path / "root"
    outside = png(tmp_path / "secret_000.png", MASK)
    for name in ("images/a_1.png", "images/b_2.png", "masks/b_2_x_000.png"):
        png(root / name, MASK)
    (root / "masks" / "link_000.png").symlink_to(outside)
    bad = {"images/a_1.png": [entry]} if part == "mask" else {entry: ["masks/b_2_x_000.png"]}
    index = dump(root / "image2label_x.json", {**bad, "images/b_2.png": ["masks/b_2_x_000.png"]})
    dataset = SAMed2D(root=root, split="x")
    [refused] = [case_id for case_id in dataset.index.ids if case_id != "b_2"]
    with pytest.raises(DataError, match=says) as told:
        dataset.read(refused)
    assert str(index) in str(told.value)
    assert repr(entry) in str(told.value)
    assert dataset.check()[0].startswith(f"{refused}: {index}")
    assert len(dataset.fingerprint(refused)) == 64
    assert dataset.read("b_2").reference["structures"].names == ("x",)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("../a_1_x_000.png", r"entry '../a_1_x_000.png' climbs with '\.\.'"),
        ("/etc/a_1_x_000.png", "entry '/etc/a_1_x_000.png' is absolute"),
        ("masks/a_1_x_000.png", "entry 'masks/a_1_x_000.png' leads out of it by a link"),
    ],
)
def test_a_well_named_mask_outside_the_root_is_refused_unless_allowed(tmp_path, png, dump, entry, says):
    root = tmp_path / "root"
    png(root / "images/a_1.png", MASK)
    (root / "masks").mkdir()
    (root / "masks" / "a_1_x_000.png").symlink_to(png(tmp_path / "a_1_x_000.png", MASK))
    dump(root / "image2label_x.json", {"images/a_1.png": [entry]})
    with pytest.raises(DataError, match=says):
        SAMed2D(root=root).read("a_1")
    if entry.startswith(("..", "masks")):
        assert SAMed2D(root=root, allow_outside=True).read("a_1").reference["structures"].names == ("x",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "must hold a JSON object, not list"),
        ('{"images/a.png": 3}', "entry 'images/a.png': '3' is neither a list of mask paths"),
        ('{"images/a.png": [3]}', "is neither a list"),
        ("{}", "no cases; looked for SAMed2D_v1.json"),
        ('{"images/a_1.png": [], "images2/a_1.png": []}', "would both be 'a_1'"),
    ],
)
def test_a_broken_index_is_a_dataset_error(tmp_path, text, says):
    (tmp_path / "SAMed2D_v1.json").write_text(text)
    with pytest.raises(DatasetError, match=says):
        SAMed2D(root=tmp_path).index  # noqa: B018


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "no such folder"),
        ({"index_files": ["nope.json"]}, "no such"),
        ({"split": "val"}, "no such folder"),
    ],
)
def test_a_missing_root_or_index_is_named(tmp_path, options, says):
    with pytest.raises(DatasetError, match=says):
        SAMed2D(root=tmp_path / "nope", **options).index  # noqa: B018


def test_an_unknown_split_lists_those_of_the_index_files(demo):
    with pytest.raises(DatasetError, match="no index file for split 'tset'; did you mean 'test'"):
        SAMed2D(root=demo, split="tset").index  # noqa: B018


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (MASK.T, r"b_7_aorta_000.png: lies on another grid: 6x4.*the image: 4x6"),
        (MASK * 3 + np.roll(MASK, 1, 1), "holds 0 and one other value"),
        (np.dstack([MASK, GREY, GREY]), "colour picture"),
    ],
)
def test_a_mask_that_does_not_fit_is_a_data_error_of_its_case(demo, png, mask, says):
    png(demo / "masks/b_7_aorta_000.png", mask)
    dataset = SAMed2D(root=demo)
    with pytest.raises(DataError, match=says):
        dataset.read("b_7")
    assert dataset.read("a_1").reference["structures"].mask("liver").sum() == 4


def test_a_mask_outside_the_grammar_is_a_data_error_of_its_case(demo, dump):
    dump(demo / "image2label_odd.json", {"images/c_9.png": ["masks/liver.png"]})
    dataset = SAMed2D(root=demo)
    with pytest.raises(
        DataError, match=r"'masks/liver.png' of image 'c_9' is not named c_9_STRUCTURE_000.png"
    ):
        dataset.read("c_9")
    assert dataset.index.info("c_9").structures == ()


def test_the_demo_of_sam_med2d_holds_five_images_and_thirty_masks(shared):
    dataset = SAMed2D(root=shared("sa_med2d_demo"))
    assert dataset.index.ids == ("amos_0004_75", "amos_0006_90", "amos_0507_31", "s0114_111", "s0619_32")
    assert [c.patient for c in dataset.index] == ["amos_0004", "amos_0006", "amos_0507", "s0114", "s0619"]
    assert dataset.check() == []
    cases = [dataset.read(case_id) for case_id in dataset.index.ids]
    assert [len(case.reference["structures"].names) for case in cases] == [3, 4, 0, 15, 8]
    assert [case.inputs["image"].array.shape for case in cases] == [
        (3, 512, 512), (3, 512, 512), (3, 290, 320), (3, 181, 258), (3, 155, 225),
    ]  # fmt: skip
    assert {"hip_left#0", "hip_left#1", "hip_right#0", "hip_right#1"} < set(
        cases[4].reference["structures"].names
    )
    assert all(
        case.reference["structures"].mask(n).any()
        for case in cases
        for n in case.reference["structures"].names
    )
    assert SAMed2D(root=shared("sa_med2d_demo"), split="test").index.ids == ("amos_0004_75", "s0619_32")
