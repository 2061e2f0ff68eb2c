"""`medeval dataset check`: a clean data set is clean, and each thing that can be wrong is found by its name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from toy_volumes import volume

from medeval.datasets import SAMed2D
from medeval.datasets.building.collected import Hashes
from medeval.datasets.building.findings import KINDS
from medeval.datasets.building.inspection import inspect

STEM = "ct_00--Toy--a_1--z_0005"


def rewrite(path, change):
    array = np.array(Image.open(path))
    Image.fromarray(change(array)).save(path)


def edit_index(out, change, name="SAMed2D_v1.json"):
    index = json.loads((out / name).read_text())
    change(index)
    (out / name).write_text(json.dumps(index))


def inverted(array):
    return 255 - array


def add_level(array):
    array = array.copy()
    array[0, 0] = 17
    return array


def double_mask(out):
    shutil.copy(out / f"masks/{STEM}--0000_000.png", out / f"masks/{STEM}--0000_007.png")
    edit_index(out, lambda index: index[f"images/{STEM}.png"].append(f"masks/{STEM}--0000_007.png"))


MASK, IMAGE = f"masks/{STEM}--0000_000.png", f"images/{STEM}.png"
DAMAGES = {
    "a mask is missing": (lambda out: (out / MASK).unlink(), {"missing file"}),
    "an image is missing": (lambda out: (out / IMAGE).unlink(), {"missing file"}),
    "a file of no bytes": (lambda out: (out / MASK).write_bytes(b""), {"missing file"}),
    "half a mask": (lambda out: (out / MASK).write_bytes((out / MASK).read_bytes()[:60]), {"broken file"}),
    "half an image": (lambda out: (out / IMAGE).write_bytes((out / IMAGE).read_bytes()[:200]), {"broken file"}),
    "an orphaned mask": (lambda out: shutil.copy(out / MASK, out / "masks/other.png"), {"orphan"}),
    "an orphaned image": (lambda out: shutil.copy(out / IMAGE, out / "images/other.png"), {"orphan"}),
    "an empty mask": (lambda out: rewrite(out / MASK, np.zeros_like), {"empty mask"}),
    "a mask of three values": (lambda out: rewrite(out / MASK, add_level), {"not binary"}),
    "a colour mask": (lambda out: rewrite(out / MASK, lambda a: np.dstack([a, a, a * 0])), {"not binary"}),
    "a mask of another shape": (lambda out: rewrite(out / MASK, lambda a: a[:, :-2]), {"shape mismatch"}),
    "an inverted mask": (lambda out: rewrite(out / MASK, inverted), {"inverted mask"}),
    "a constant image": (lambda out: rewrite(out / IMAGE, np.zeros_like), {"constant image"}),
    "an image like a mask": (lambda out: rewrite(out / IMAGE, lambda a: (a > 99) * np.uint8(255)), {"image like a mask"}),
    "a doubled mask": (double_mask, {"doubled mask"}),
    "a doubled image": (
        lambda out: shutil.copy(out / IMAGE, out / IMAGE.replace("z_0005", "z_0006")), {"doubled image"}
    ),
    "a hostile path": (
        lambda out: edit_index(out, lambda index: index[IMAGE].append("../../etc/passwd")), {"forbidden path", "name", "orphan"}
    ),
    "a mask of another image": (
        lambda out: edit_index(out, lambda index: index[IMAGE].append(MASK.replace("z_0005", "z_0006"))), {"name"}
    ),
    "an image without masks": (
        lambda out: edit_index(out, lambda index: index.update({IMAGE: []})), {"no masks", "orphan"}
    ),
    "a class without a name": (
        lambda out: edit_index(out, lambda m: m["Toy"].pop("aorta"), "SAMed2D_v1_class_mapping_id.json"), {"name"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_what_was_built_is_clean(built, packed):
    out = built(packed=packed)
    findings = inspect(SAMed2D(root=out / "SAMed2Dv1.zip" if packed else out))
    assert findings.clean
    assert findings.images > 20
    assert "nothing found" in findings.summary


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_found_and_nothing_else(built, damage):
    out = built(axes=("z",))
    harm, kinds = DAMAGES[damage]
    harm(out)
    said = []
    findings = inspect(SAMed2D(root=out), found=said.append)
    assert set(findings.counts) == kinds
    assert kinds <= set(KINDS)
    assert len(said) == findings.counts.total()
    assert all(finding.where and finding.what for finding in said)


def test_an_unknown_modality_is_found(built):
    out = built(axes=("z",))
    new = STEM.replace("ct_00", "sonar_00")
    (out / IMAGE).rename(out / f"images/{new}.png")
    for path in (out / "masks").glob(f"{STEM}--*"):
        path.rename(path.with_name(path.name.replace("ct_00", "sonar_00")))
    text = (out / "SAMed2D_v1.json").read_text()
    (out / "SAMed2D_v1.json").write_text(text.replace(f"{STEM}.", f"{new}.").replace(f"{STEM}--", f"{new}--"))
    findings = inspect(SAMed2D(root=out))
    assert dict(findings.counts) == {"name": 1}
    assert "modality 'sonar' is none of" in findings.examples["name"][0].what


def test_quick_reads_no_picture(built):
    out = built(axes=("z",))
    (out / MASK).write_bytes(b"no picture")
    assert inspect(SAMed2D(root=out), quick=True).clean
    (out / MASK).unlink()
    assert dict(inspect(SAMed2D(root=out), quick=True).counts) == {"missing file": 1}


def test_a_patient_in_two_splits_is_a_leak(built):
    out = built(axes=("z",))
    index = json.loads((out / "SAMed2D_v1.json").read_text())
    keys = sorted(index)
    for name, part in (("train", keys[::2]), ("test", keys[1::2])):
        (out / f"image2label_{name}.json").write_text(json.dumps({key: index[key] for key in part}))
    findings = inspect(SAMed2D(root=out))
    assert dict(findings.counts) == {"leak": 2}
    assert findings.examples["leak"][0].where == "Toy--a_1"


def test_patients_of_a_rule_leak_over_cases(built, tmp_path):
    out = built({"p1_a": volume(1), "p1_b": volume(2)}, axes=("z",))
    index = json.loads((out / "SAMed2D_v1.json").read_text())
    for name, case in (("train", "p1_a"), ("test", "p1_b")):
        part = {key: masks for key, masks in index.items() if case in key}
        (out / f"image2label_{name}.json").write_text(json.dumps(part))
    assert inspect(SAMed2D(root=out)).clean
    assert dict(inspect(SAMed2D(root=out, patient_id=r"p\d")).counts) == {"leak": 1}


def test_small_masks_are_told_when_asked_for(built):
    out = built(min_area=0, axes=("z",))
    found = inspect(SAMed2D(root=out), min_area=0.01)
    assert set(found.counts) == {"small mask"}


def test_the_demo_of_the_paper_has_one_image_without_masks(shared):
    found = inspect(SAMed2D(root=shared("sa_med2d_demo")))
    assert dict(found.counts) == {"no masks": 1}
    assert (found.images, found.masks) == (5, 30)


def test_equal_hashes_are_grouped_and_looked_up():
    hashes = Hashes(16)
    values = [bytes([n]) * 16 for n in (3, 0, 3, 9, 0, 3)]
    for value in values:
        hashes.add(value)
    assert list(hashes.groups()) == [[0, 2, 5], [1, 4]]
    short = Hashes(8)
    assert b"12345678" not in short
    short.add(b"12345678")
    assert b"12345678" in short
    assert b"12345679" not in short
