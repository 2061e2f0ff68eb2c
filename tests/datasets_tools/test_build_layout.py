"""What a build writes: names, pictures, masks, index, class mapping, sidecar, and what it drops."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from toy_volumes import LABELS, OBLIQUE, volume

from medeval.datasets import SAMed2D
from medeval.datasets.building import drawing
from medeval.datasets.building.finish import SplitRule
from medeval.datasets.building.instances import components, split_by_area
from medeval.datasets.building.options import BuildOptions
from medeval.datasets.building.rebuild import rebuild
from medeval.datasets.building.run import build
from medeval.datasets.building.sources import plan_nnunet, plan_pairs


def counts(folder):
    return json.loads((folder / "build_log.json").read_text())["counts"]


def lines(folder, name="cases.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.mark.parametrize("orientation", ["stored", "upright"])
@pytest.mark.parametrize("letters", ["xyz", "zyx"])
@pytest.mark.parametrize("packed", [False, True])
def test_masks_rebuilt_into_a_volume_equal_the_source_along_every_axis(built, orientation, letters, packed):
    out = built(orientation=orientation, letters=letters, min_area=0, min_side=0, packed=packed)
    dataset = SAMed2D(root=out / "SAMed2Dv1.zip" if packed else out)
    stored, affine = volume(1)[1], OBLIQUE
    if orientation == "upright":
        image = nib.as_closest_canonical(nib.Nifti1Image(stored, OBLIQUE))
        stored, affine = np.asarray(image.dataobj), image.affine
    for axis in "xyz":
        back = rebuild(dataset, "Toy", "a_1", axis)
        np.testing.assert_allclose(back.affine, affine, atol=1e-4)
        assert set(back.masks) == {"liver", "spleen", "aorta"}
        for name, mask in back.masks.items():
            np.testing.assert_array_equal(mask, stored == LABELS[name])


def test_names_follow_the_grammar_and_the_index_is_sorted(built):
    out = built(min_side=0)
    index = json.loads((out / "SAMed2D_v1.json").read_text())
    assert list(index) == sorted(index)
    assert "images/ct_00--Toy--a_1--x_0002.png" in index
    assert index["images/ct_00--Toy--a_1--z_0005.png"] == [
        f"masks/ct_00--Toy--a_1--z_0005--{key}.png"
        for key in ("0000_000", "0000_001", "0001_000", "0002_000")
    ]
    assert {path for paths in index.values() for path in paths} == {
        f"masks/{p.name}" for p in (out / "masks").iterdir()
    }
    assert set(index) == {f"images/{p.name}" for p in (out / "images").iterdir()}
    mapping = json.loads((out / "SAMed2D_v1_class_mapping_id.json").read_text())
    assert mapping == {"Toy": {"liver": "0000", "spleen": "0001", "aorta": "0002"}}


def test_the_reader_knows_classes_patients_and_spacing(built):
    dataset = SAMed2D(root=built(min_area=0))
    case = dataset.read("ct_00--Toy--a_1--z_0005")
    assert case.patient == "Toy--a_1"
    assert case.metadata["modality"] == "CT"
    assert case.reference["structures"].names == ("liver#0", "liver#1", "spleen", "aorta")
    grid = case.inputs["image"].grid
    assert grid.unit == "mm"
    np.testing.assert_allclose(grid.spacing, np.linalg.norm(OBLIQUE[:3, [1, 0]], axis=0), atol=1e-5)
    pixels = SAMed2D(root=dataset.root, sidecar=False)
    assert pixels.read(case.id).inputs["image"].grid.unit == "px"
    assert pixels.fingerprint(case.id) != dataset.fingerprint(case.id)


def test_the_sidecar_says_where_every_pixel_lies(built):
    image, _ = volume(1)
    for orientation in ("stored", "upright"):
        out = built(out=orientation, orientation=orientation, min_side=0)
        reference = nib.Nifti1Image(image, OBLIQUE)
        if orientation == "upright":
            reference = nib.as_closest_canonical(reference)
        voxels, inverse = np.asarray(reference.dataobj), np.linalg.inv(reference.affine)
        for line in [entry for entry in lines(out) if entry["case"] == "a_1"][::7]:
            picture = np.asarray(Image.open(out / line["image"]))
            assert list(picture.shape) == line["shape"]
            rows, columns = np.indices(picture.shape)
            flat = np.stack([rows.ravel(), columns.ravel(), np.zeros(rows.size), np.ones(rows.size)])
            index = np.rint((inverse @ np.array(line["affine"]) @ flat)[:3]).astype(int)
            low, high = line["intensity"]["low"], line["intensity"]["high"]
            expected = drawing.to_uint8(voxels[tuple(index)].reshape(picture.shape), low, high)
            np.testing.assert_array_equal(picture, expected)
            assert not line["source"].startswith("/")


def test_every_picture_spans_0_to_254_as_in_the_demo_of_the_paper(built):
    out = built()
    for path in (out / "images").iterdir():
        array = np.asarray(Image.open(path))
        assert (array.min(), array.max()) == (0, 254)


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ({}, -50.0, 300.0),
        ({"scope": "volume"}, -1000.0, 900.0),
        ({"window": (40, 400)}, -160.0, 240.0),
        ({"percentiles": (10, 90)}, None, None),
    ],
)
def test_intensity_is_scaled_by_image_volume_window_or_percentiles(built, options, low, high):
    image, labels = volume()
    image[:] = np.clip(image, 0, 200)
    image[0, 0, 0], image[1, 1, 1] = -1000, 900
    image[0, 0, 5], image[0, 1, 5] = -50, 300
    out = built({"a": (image, labels)}, axes=("z",), **options)
    line = next(entry for entry in lines(out) if entry["index"] == 5)
    plane = image[..., 5].T
    if low is None:
        low, high = np.percentile(plane, (10, 90))
    assert (line["intensity"]["low"], line["intensity"]["high"]) == (low, high)
    np.testing.assert_array_equal(
        np.asarray(Image.open(out / line["image"])), drawing.to_uint8(plane, low, high)
    )


def test_a_window_is_for_ct_alone(built):
    out = built(window=(40, 400), source={"channels": ("T1",)})
    assert {line["intensity"]["rule"] for line in lines(out)} == {"minimum and maximum"}
    assert lines(out)[0]["modality_sub"] == "mr_t1"


def test_each_channel_is_an_image_of_its_own_with_the_same_masks(built):
    image, labels = volume()
    out = built({"a": ([image, image // 2], labels)}, source={"channels": ("T1", "FLAIR")})
    index = json.loads((out / "SAMed2D_v1.json").read_text())
    first = {k: v for k, v in index.items() if k.startswith("images/mr_t1--")}
    assert len(first) == len(index) / 2
    for key, masks in first.items():
        twins = index[key.replace("mr_t1", "mr_flair")]
        assert twins == [mask.replace("mr_t1", "mr_flair") for mask in masks]
        assert all(
            (out / m).read_bytes() == (out / t).read_bytes() for m, t in zip(masks, twins, strict=True)
        )
    assert {case.patient for case in SAMed2D(root=out).index} == {"Toy--a"}


def test_regions_become_unions_and_the_ignore_label_no_mask(built):
    labels = {"background": 0, "abdomen": [1, 2], "spleen": 2, "liver": 1, "ignore": 3}
    out = built(min_area=0, source={"labels": labels})
    mapping = json.loads((out / "SAMed2D_v1_class_mapping_id.json").read_text())
    assert mapping == {"Toy": {"liver": "0000", "spleen": "0001", "union_abdomen": "0002"}}
    back = rebuild(SAMed2D(root=out), "Toy", "a_1", "z")
    stored = volume(1)[1]
    np.testing.assert_array_equal(back.masks["union_abdomen"], np.isin(stored, (1, 2)))
    assert set(back.masks) == {"liver", "spleen", "union_abdomen"}


def test_a_constant_image_is_counted_and_skipped(built):
    image, labels = volume()
    image[..., 5] = 7
    out = built({"a": (image, labels)}, axes=("z",))
    assert counts(out)["images dropped: constant"] == 1
    assert not (out / "images/ct_00--Toy--a--z_0005.png").exists()
    assert any(
        line["reason"] == "constant image" and line["slice"] == "z_0005"
        for line in lines(out, "dropped.jsonl")
    )


def test_non_finite_voxels_are_outside_the_minimum_and_maximum(built):
    image, labels = volume()
    image = image.astype(np.float32)
    image[0, 0, 5], image[0, 1, 5] = np.nan, np.inf
    out = built({"a": (image, labels)}, axes=("z",))
    picture = np.asarray(Image.open(out / "images/ct_00--Toy--a--z_0005.png"))
    assert (picture.min(), picture.max()) == (0, 254)
    assert counts(out)["volumes with non-finite voxels"] == 1


def test_every_dropped_pixel_is_counted(built):
    out = built(min_area=0.02, axes=("z",))
    stored = {case: volume(seed)[1] for case, seed in (("a_1", 1), ("b_2", 2))}
    kept = sum(int((np.asarray(Image.open(p)) > 0).sum()) for p in (out / "masks").iterdir())
    dropped = [line for line in lines(out, "dropped.jsonl") if line["reason"] == "small mask"]
    assert kept + sum(line["pixels"] for line in dropped) == sum(int((s > 0).sum()) for s in stored.values())
    assert counts(out)["small masks dropped"] == len(dropped) > 0
    assert {line["structure"] for line in dropped} == {"aorta"}


def test_pairs_of_one_file_a_structure_may_overlap(tmp_path):
    image, labels = volume()
    for case in ("s1", "s2"):
        folder = tmp_path / "totalseg" / case / "segmentations"
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(image, OBLIQUE), folder.parent / "ct.nii.gz")
        nib.save(nib.Nifti1Image((labels == 1).astype(np.uint8), OBLIQUE), folder / "liver.nii.gz")
        nib.save(nib.Nifti1Image((labels > 0).astype(np.uint8), OBLIQUE), folder / "body.nii.gz")
    patterns = {"images": "{id}/ct.nii.gz", "masks": "{id}/segmentations/{structure}.nii.gz"}
    plan = plan_pairs(tmp_path / "totalseg", {"": "ct_00"}, "TS", **patterns)
    build(plan, tmp_path / "out", BuildOptions(min_area=0, axes=("y",), min_side=0))
    back = rebuild(SAMed2D(root=tmp_path / "out"), "TS", "s2", "y")
    np.testing.assert_array_equal(back.masks["body"], labels > 0)
    np.testing.assert_array_equal(back.masks["liver"], labels == 1)


def test_pairs_with_a_label_map_need_names(tmp_path):
    image, labels = volume()
    for part, array in (("images", image), ("labels", labels)):
        (tmp_path / "toy" / part).mkdir(parents=True)
        nib.save(nib.Nifti1Image(array, OBLIQUE), tmp_path / "toy" / part / "a.nii.gz")
    unnamed = build(plan_pairs(tmp_path / "toy", {"": "ct_00"}), tmp_path / "one", BuildOptions())
    assert "name the values with `labels:`" in unnamed.failures["toy--a"]
    plan = plan_pairs(tmp_path / "toy", {"": "ct_00"}, labels={"liver": 1, "spleen": 2, "aorta": 3})
    done = build(plan, tmp_path / "two", BuildOptions())
    assert (dict(done.failures), done.counts["volumes"]) == ({}, 1)


def test_colour_pictures_stay_as_they_are(tmp_path, png):
    colour = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:20], mask[22:28, 30:38] = 1, 1
    root = tmp_path / "Dataset003_Skin"
    png(root / "imagesTr/p1_0000.png", colour)
    png(root / "labelsTr/p1.png", mask)
    about = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "lesion": 1},
        "file_ending": ".png",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    build(plan_nnunet(root, {"": "dermoscopy_00"}), tmp_path / "out")
    picture = np.asarray(Image.open(tmp_path / "out/images/dermoscopy_00--Skin--p1--2d_none.png"))
    np.testing.assert_array_equal(picture, colour)
    case = SAMed2D(root=tmp_path / "out").read("dermoscopy_00--Skin--p1--2d_none")
    assert case.reference["structures"].names == ("lesion#0", "lesion#1")
    assert case.metadata["modality"] == "Dermoscopy"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["11..", "..1.", "...1"], [4]),  # corners touch: one part of 8-connected pixels
        ([".1.1", ".1.1", "1..."], [3, 2]),
        (["..1", "...", "1.."], [1, 1]),
        (["...", "..."], []),
    ],
)
def test_components_are_8_connected_and_in_raster_order(rows, expected):
    mask = np.array([[c == "1" for c in row] for row in rows])
    parts = components(mask)
    assert [part.area for part in parts] == expected
    firsts = [int(np.flatnonzero(part.mask(mask.shape))[0]) for part in parts]
    assert firsts == sorted(firsts)
    np.testing.assert_array_equal(
        sum((p.mask(mask.shape).astype(int) for p in parts), np.zeros(mask.shape, int)), mask
    )


def test_an_area_of_just_the_share_is_kept():
    mask = np.zeros((100, 100), bool)
    mask[0, :15], mask[50, :16] = True, True
    assert [part.area for part in split_by_area(components(mask), mask.shape, 0.0016).kept] == [16]
    assert [part.area for part in split_by_area(components(mask), mask.shape, 0.0015).kept] == [15, 16]


def test_split_files_part_patients_and_the_reader_takes_them(nnunet, tmp_path):
    root = nnunet({f"p{n}_{visit}": volume(n) for n in range(10) for visit in "ab"})
    plan = plan_nnunet(root, {}, patient_id=r"p\d+")
    build(plan, tmp_path / "out", BuildOptions(axes=("z",)), split=SplitRule("patients", 0.3, 1))
    parts = {name: SAMed2D(root=tmp_path / "out", split=name).index for name in ("train", "test")}
    owners = {name: {case.patient for case in index} for name, index in parts.items()}
    assert (len(owners["train"]), len(owners["test"])) == (7, 3)
    assert not owners["train"] & owners["test"]
    assert len(parts["train"]) + len(parts["test"]) == len(SAMed2D(root=tmp_path / "out").index)


def test_the_source_own_split_can_be_kept(nnunet, tmp_path):
    nnunet({"a": volume(1)})
    root = nnunet({"b": volume(2)}, part="Ts")
    build(plan_nnunet(root, {}), tmp_path / "out", split=SplitRule("source"))
    assert {c.patient for c in SAMed2D(root=tmp_path / "out", split="test").index} == {"Toy--b"}
