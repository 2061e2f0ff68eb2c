"""The two TotalSegmentator examples through build, check and the reader: the layout's miniature."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from toy_volumes import contents

from medeval.datasets import SAMed2D
from medeval.datasets.building.inspection import inspect
from medeval.datasets.building.leaks import cases_in_both
from medeval.datasets.building.options import AREA, BuildOptions
from medeval.datasets.building.rebuild import rebuild
from medeval.datasets.building.run import build
from medeval.datasets.building.sources import plan_nnunet
from medeval.types import rng


@pytest.fixture
def source(shared):
    return shared("totalsegmentator_example")


@pytest.fixture
def make(source, tmp_path):
    def run(out, **options):
        build(plan_nnunet(source, {}), tmp_path / out, BuildOptions(**options))
        return tmp_path / out

    return run


def log(folder):
    return json.loads((folder / "build_log.json").read_text())["counts"]


VOLUMES = [("Dataset901_TotalSegCT", "s0001_ct"), ("Dataset902_TotalSegMR", "s0002_mr")]


@pytest.mark.parametrize("min_area", [0.0, AREA])
def test_masks_rebuilt_into_volumes_equal_the_source_where_they_were_not_filtered(source, make, min_area):
    out = make("out", min_area=min_area)
    dataset = SAMed2D(root=out)
    assert inspect(dataset).clean
    assert dataset.check() == []
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    for folder, case in VOLUMES:
        image = nib.load(source / folder / f"labelsTs/{case}.nii.gz")
        labels = np.asarray(image.dataobj)
        names = json.loads((source / folder / "dataset.json").read_text())["labels"]
        back = rebuild(dataset, folder.partition("_")[2], case, "z")
        np.testing.assert_allclose(back.affine, image.affine, atol=1e-4)
        for name in (name for name, value in names.items() if value):
            wanted = labels == names[name]
            found = back.masks.get(name, np.zeros_like(wanted))
            assert not (found & ~wanted).any()
            lost = sum(d["pixels"] for d in dropped if (d["case"], d.get("structure")) == (case, name))
            assert int((wanted & ~found).sum()) == lost
            if min_area == 0:
                assert lost == 0


def test_the_mask_count_falls_with_the_area_filter(make):
    masks = [log(make(f"area{n}", min_area=area))["masks"] for n, area in enumerate((0, AREA, 0.01))]
    assert masks[0] > masks[1] > masks[2] > 0
    assert masks[1] == 827


def test_thick_volumes_lose_all_x_and_y_slices_to_the_half_side_rule(make):
    narrow, wide = make("narrow"), make("wide", min_side=0.15)
    assert {case.metadata["axis"] for case in SAMed2D(root=narrow).index} == {"z"}
    assert log(narrow)["images dropped: too narrow"] == 339
    assert {case.metadata["axis"] for case in SAMed2D(root=wide).index} == {"x", "y", "z"}
    letters = make("letters", letters="zyx")
    assert {case.metadata["axis"] for case in SAMed2D(root=letters).index} == {"x"}


def test_reading_back_keeps_order_and_masks(make):
    first, second = SAMed2D(root=make("one")), SAMed2D(root=make("two"))
    assert first.index.ids == second.index.ids == tuple(sorted(first.index.ids))
    for case_id in first.index.ids[::9]:
        mine, other = (d.read(case_id).reference["structures"] for d in (first, second))
        assert mine.names == other.names
        for name in mine.names:
            assert mine.mask(name).any()
            np.testing.assert_array_equal(mine.mask(name), other.mask(name))


def test_a_split_by_image_leaks_cases_and_a_split_by_case_does_not(make):
    cases = list(SAMed2D(root=make("out")).index)
    order = rng("by image").permutation(len(cases))
    cut = len(cases) // 5
    test, train = ([cases[n] for n in part] for part in (order[:cut], order[cut:]))
    assert cases_in_both(test, train) > 0
    parts = [SAMed2D(root=make("out"), split=f"{k}/2").index for k in (1, 2)]
    assert cases_in_both(*parts) == 0
    assert all(len(part) for part in parts)


def test_the_archive_holds_the_same_layout(source, make, tmp_path):
    folder = make("out")
    build(plan_nnunet(source, {}), tmp_path / "zip", packed=True)
    packed = SAMed2D(root=tmp_path / "zip/SAMed2Dv1.zip")
    assert inspect(packed).clean
    plain = SAMed2D(root=folder)
    assert packed.index.ids == plain.index.ids
    for case_id in plain.index.ids[::13]:
        a, b = plain.read(case_id), packed.read(case_id)
        np.testing.assert_array_equal(a.inputs["image"].array, b.inputs["image"].array)
        assert a.reference["structures"].names == b.reference["structures"].names
        assert (a.patient, a.inputs["image"].grid.spacing) == (b.patient, b.inputs["image"].grid.spacing)
    assert set(contents(tmp_path / "zip")) == {"SAMed2Dv1.zip", "build_log.json", "dropped.jsonl"}
