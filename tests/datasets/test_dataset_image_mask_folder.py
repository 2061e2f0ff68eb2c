"""Pairs of files by pattern: how ids, masks, structures and metadata come from paths."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from medeval.datasets import ImageMaskFolder
from medeval.datasets.patterns import captured, fill, find
from medeval.types import DataError, DatasetError

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
MASK = (GREY > 9).astype(np.uint8)


@pytest.fixture
def make(tmp_path, png):
    def build(*names):
        for name in names:
            png(tmp_path / name, MASK * 255 if "mask" in name else GREY)
        return tmp_path

    return build


def test_one_binary_mask_an_image(make):
    dataset = ImageMaskFolder(
        root=make("img/a.png", "img/b.png", "mask/a_mask.png", "mask/b_mask.png"),
        images="img/*.png", masks="mask/{id}_mask.png", structure="polyp",
    )  # fmt: skip
    assert dataset.index.ids == ("a", "b")
    assert dataset.structures == ("polyp",) == dataset.index[0].structures
    case = dataset.read("a")
    assert case.patient is None
    np.testing.assert_array_equal(case.reference["structures"].mask("polyp"), MASK > 0)
    np.testing.assert_array_equal(case.inputs["image"].array[0], GREY)


@pytest.mark.parametrize("masks", ["masks/{id}_*.png", "masks/{id}_{structure}.png"])
def test_several_masks_an_image_go_to_the_longest_id_and_are_named_by_the_pattern(make, masks):
    root = make(
        "images/a_1.png",
        "images/a_1_2.png",
        "masks/a_1_liver.png",
        "masks/a_1_2_liver.png",
        "masks/a_1_2_spleen.png",
    )
    dataset = ImageMaskFolder(root=root, masks=masks)
    assert {c.id: c.structures for c in dataset.index} == {"a_1": ("liver",), "a_1_2": ("liver", "spleen")}
    assert dataset.structures == ()
    assert dataset.read("a_1_2").reference["structures"].names == ("liver", "spleen")


def test_a_structure_may_be_a_folder(make):
    root = make("images/a.png", "masks/liver/a.png", "masks/spleen/a.png", "masks/spleen/b.png")
    assert ImageMaskFolder(root=root, masks="masks/{structure}/{id}.png").index[0].structures == (
        "liver",
        "spleen",
    )


def test_placeholders_are_metadata_and_the_patient(make):
    root = make(
        "A/p1/img/x.png",
        "A/p2/img/x.png",
        "B/p3/img/x.png",
        "A/p1/mask/x.png",
        "A/p2/mask/x.png",
        "B/p3/mask/x.png",
    )
    dataset = ImageMaskFolder(
        root=root, images="{site}/{patient}/img/*.png", masks="{site}/{patient}/mask/x.png"
    )
    assert [(c.id, c.patient, c.metadata) for c in dataset.index] == [
        ("A_p1_x", "p1", {"site": "A"}), ("A_p2_x", "p2", {"site": "A"}), ("B_p3_x", "p3", {"site": "B"}),
    ]  # fmt: skip
    assert dataset.check() == []


def test_a_label_map_with_names_a_region_and_an_ignored_value(tmp_path, png):
    values = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
    png(tmp_path / "images/a.png", values)
    png(tmp_path / "masks/a.png", values)
    labels = {"background": 0, "disc": [1, 2], "cup": 2, "vessel": 3, "ignore": 255}
    structures = ImageMaskFolder(root=tmp_path, labels=labels).read("a").reference["structures"]
    assert structures.names == ("disc", "cup", "vessel")
    assert structures.mask("disc").tolist() == [[False, True, True], [False, False, False]]
    assert structures.ignored().sum() == 1
    with pytest.raises(DataError, match="label values that have no name: 255"):
        ImageMaskFolder(root=tmp_path, labels={"disc": [1, 2], "vessel": 3}).read("a")


def test_volumes_are_paired_as_pictures_are(tmp_path, nifti):
    volume = np.zeros((3, 4, 5), np.float32)
    nifti(tmp_path / "images/p1.nii.gz", volume)
    nifti(tmp_path / "masks/p1.nii.gz", volume + 1)
    dataset = ImageMaskFolder(root=tmp_path, images="images/*.nii.gz", masks="masks/{id}.nii.gz")
    case = dataset.read("p1")
    assert case.inputs["image"].array.shape == (1, 3, 4, 5)
    assert case.reference["structures"].mask("foreground").all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"images": "one.png"}, "names one file"),
        ({"images": "/abs/*.png"}, "relative to root"),
        ({"images": "{id}/{id}.png"}, "names a placeholder twice"),
        ({"images": "img/{i d}.png"}, "a placeholder is a word in braces"),
        ({"masks": "m/{idd}.png"}, r"\{idd\} is no placeholder of images"),
        ({"masks": "m/*/{id}_*.png"}, "at most one"),
        ({"masks": "m/{id}_*.png", "labels": {"a": 1}}, "drop one of the two"),
        ({"labels": {"a": -1}}, "not an integer >= 0"),
        ({"labels": {"a": "x"}}, "labels"),
    ],
)
def test_patterns_that_cannot_work_are_refused_when_built(tmp_path, options, says):
    with pytest.raises((ValidationError, DatasetError), match=says):
        ImageMaskFolder(root=tmp_path, **options)


def test_missing_masks_are_told_by_check_and_are_data_errors(make):
    root = make("images/a.png", "images/b.png", "masks/b_liver.png")
    dataset = ImageMaskFolder(root=root, masks="masks/{id}_*.png")
    assert dataset.check() == ["a: no mask matches masks/a_*.png"]
    with pytest.raises(DataError, match=r"images/a.png: no mask matches masks/a_\*.png"):
        dataset.read("a")
    assert dataset.read("a", ("inputs",)).inputs["image"].array.shape == (1, 4, 5)
    single = ImageMaskFolder(root=root)
    assert [problem.split(":")[0] for problem in single.check()] == ["a", "b"]
    with pytest.raises(DataError, match=r"masks/a.png: no such file"):
        single.read("a")


@pytest.mark.parametrize(
    ("name", "says"), [("nope", "no such folder"), (".", r"no cases; looked for images 'images/\*.png'")]
)
def test_an_empty_or_missing_folder_is_named(tmp_path, name, says):
    with pytest.raises(DatasetError, match=says):
        ImageMaskFolder(root=tmp_path / name).index  # noqa: B018


def test_names_with_wildcard_characters_are_taken_literally(make):
    root = make("images/a[1].png", "images/a1.png", "masks/a[1].png", "masks/a1.png", "masks/a[1]_x.png")
    assert ImageMaskFolder(root=root).check() == []
    assert ImageMaskFolder(root=root, masks="masks/{id}_*.png").index.info("a[1]").structures == ("x",)


def test_ids_that_repeat_in_two_folders_are_refused_or_made_of_both(make):
    root = make("x/images/a.png", "y/images/a.png")
    with pytest.raises(DatasetError, match="'a' occurs more than once"):
        ImageMaskFolder(root=root, images="**/images/*.png").index  # noqa: B018
    assert ImageMaskFolder(root=root, images="*/images/*.png").index.ids == ("x_a", "y_a")


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("img/*.png", "img/a.png", ({}, ("a",))),
        ("img/*.png", "img/x/a.png", None),
        ("{site}/{id}_t?.nii.gz", "A/p_1_t2.nii.gz", ({"site": "A", "id": "p_1"}, ("A", "p_1"))),
        ("**/{id}.png", "a/b/c.png", ({"id": "c"}, ("c",))),
        ("**/{id}.png", "c.png", ({"id": "c"}, ("c",))),
        ("a.b/*.png", "axb/1.png", None),
    ],
)
def test_what_a_pattern_captures(pattern, path, expected):
    assert captured(pattern, path) == expected


def test_filling_escapes_and_finding_uses_one_listing(make):
    root = make("m/a[_1.png", "m/a[_2.png", "m/b_1.png", "m/.hidden_1.png")
    assert fill("m/{id}_{structure}.png", {"id": "a["}) == "m/a[[]_{structure}.png"
    listings = {}
    assert find(root, fill("m/{id}_*.png", {"id": "a["}), listings) == ["m/a[_1.png", "m/a[_2.png"]
    (root / "m" / "b_2.png").write_bytes(b"")
    assert find(root, "m/b_*.png", listings) == ["m/b_1.png"]


def test_the_sa_med2d_demo_is_read_as_a_folder_too(shared):
    dataset = ImageMaskFolder(
        root=shared("sa_med2d_demo"),
        images="images/{volume}_{slice}.png",
        masks="masks/{id}_*.png",
        patient_id="column:volume",
    )
    assert len(dataset.index) == 5
    assert dataset.index.patients_known
    assert len(dataset.read("s0114_111").reference["structures"].names) == 15
