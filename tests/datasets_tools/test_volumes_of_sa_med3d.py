"""`medeval dataset stats|check` on folders in SAM-Med3D's layout: known sizes are told, each damage is found by its name."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from medeval.cli.dataset import app
from medeval.datasets.building.findings import VOLUME_KINDS
from medeval.datasets.building.sa_med3d.inspection import inspect
from medeval.datasets.building.sa_med3d.opening import open_splits
from medeval.datasets.building.sa_med3d.statistics import mask_size, statistics
from medeval.datasets.building.sa_med3d.views import chapters
from medeval.types import DatasetError

AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])
LIVER, SPLEEN = "liver/ct_AMOS", "spleen/ct_AMOS"


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def put(root, place, case, box, seed=0, part="Tr", shape=(12, 10, 8)):
    """An image of noise, and a block as its label in one structure's folder."""
    image = np.random.default_rng(seed).integers(-100, 100, shape).astype(np.int16)
    label = np.zeros(shape, np.uint8)
    label[tuple(slice(*ends) for ends in box)] = 1
    save(root / place / f"images{part}" / f"{case}.nii.gz", image)
    save(root / place / f"labels{part}" / f"{case}.nii.gz", label)


@pytest.fixture
def root(tmp_path):
    """A CT with two structures, another with one, an MR, and a test case."""
    root = tmp_path / "medical"
    put(root, LIVER, "p1_a", ((1, 5), (1, 7), (2, 4)), seed=1)
    put(root, SPLEEN, "p1_a", ((6, 8), (1, 3), (2, 4)), seed=1)
    put(root, LIVER, "p2_a", ((1, 3), (1, 3), (1, 3)), seed=2)
    put(root, "liver/mr_CHAOS", "c1", ((1, 9), (1, 9), (1, 7)), seed=3)
    put(root, LIVER, "p9_a", ((2, 4), (2, 4), (2, 4)), seed=4, part="Ts")
    return root


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_counts_come_from_the_folders(root):
    found = statistics(open_splits(root), 0)
    assert (found.volumes, found.masks, len(found.structures)) == (4, 5, 2)
    assert {name: (g.images, g.masks) for name, g in found.modalities.items()} == {"ct": (3, 4), "mr": (1, 1)}
    assert {name: g.images for name, g in found.splits.items()} == {"train": 3, "test": 1}
    assert {name: g.images for name, g in found.structures.items()} == {"liver": 4, "spleen": 1}
    assert found.masks_per_volume == {1: 3, 2: 1}
    assert found.sampled.volumes == 0


def test_masks_are_measured_in_voxels_and_millimetres(root):
    sampled = statistics(open_splits(root)).sampled
    assert sampled.volumes == 4
    assert sampled.spacings == {(1.5, 1.5, 3.0): 4}
    assert sampled.shapes == {(12, 10, 8): 4}
    [spleen] = sampled.masks["spleen"]
    assert (spleen.voxels, spleen.sides, spleen.pieces) == (8, (3.0, 3.0, 6.0), 1)
    assert spleen.millilitres == pytest.approx(8 * 6.75 / 1000)
    [row] = [row for row in chapters_table(root, "Sizes of masks") if row["structure"] == "liver"]
    assert (row["masks"], row["most"], row["small"]) == (
        4,
        2.592,
        4,
    )  # 384 voxels; every block has a side below 15 mm


def chapters_table(root, title):
    views = [view for part in chapters(statistics(open_splits(root))) for view in part.views]
    return next(view.rows for view in views if view.title == title)


@pytest.mark.parametrize(
    ("voxels", "pieces"),
    [
        ([(0, 0, 0)], 1),
        ([(0, 0, 0), (1, 1, 1)], 1),
        ([(0, 0, 0), (2, 2, 2)], 2),
        ([(0, 0, 0), (0, 0, 2), (3, 3, 3)], 3),
    ],
)
def test_components_are_26_connected(voxels, pieces):
    mask = np.zeros((4, 4, 4), bool)
    mask[tuple(np.array(voxels).T)] = True
    size = mask_size(mask, (1.0, 1.0, 1.0))
    assert (size.pieces, size.voxels) == (pieces, len(voxels))


def test_an_empty_mask_has_no_size():
    assert mask_size(np.zeros((3, 3, 3), bool), (1.0, 1.0, 1.0)) is None


def test_an_unreadable_volume_is_counted(root):
    (root / LIVER / "labelsTr/p2_a.nii.gz").write_bytes(b"\x1f\x8b no")
    sampled = statistics(open_splits(root)).sampled
    assert (sampled.volumes, sampled.unreadable) == (3, 1)


def test_clean_folders_are_clean(root):
    found = inspect(open_splits(root))
    assert found.clean, found.examples
    assert (found.images, found.masks) == (4, 5)


def change(path, edit):
    """The label or image written again after ``edit(array)``."""
    image = nibabel.load(path)
    save(path, edit(np.asarray(image.dataobj)), image.affine)


def move_grid(path):
    save(path, np.asarray(nibabel.load(path).dataobj), np.diag([1.5, 1.5, 2.0, 1.0]))


def coarse(path, edge=40.0):
    save(path, np.asarray(nibabel.load(path).dataobj), np.diag([edge, edge, edge, 1.0]))


LABEL, IMAGE = f"{LIVER}/labelsTr/p2_a.nii.gz", f"{LIVER}/imagesTr/p2_a.nii.gz"
COPY = f"{SPLEEN}/imagesTr/p1_a.nii.gz"
DAMAGES = {
    "no image beside a label": (lambda root: (root / IMAGE).unlink(), "missing file"),
    "a copy is missing": (lambda root: (root / COPY).unlink(), "missing file"),
    "an empty file": (lambda root: (root / LABEL).write_bytes(b""), "missing file"),
    "a broken label": (lambda root: (root / LABEL).write_bytes(b"no gzip"), "broken file"),
    "a broken image": (lambda root: (root / IMAGE).write_bytes(b"no gzip"), "broken file"),
    "one grey value": (lambda root: change(root / IMAGE, np.zeros_like), "constant image"),
    "centimetres": (lambda root: [coarse(root / IMAGE), coarse(root / LABEL)], "odd spacing"),
    "another spacing": (lambda root: move_grid(root / LABEL), "grid mismatch"),
    "another shape": (lambda root: change(root / LABEL, lambda a: a[:-1]), "grid mismatch"),
    "a copy on another grid": (lambda root: move_grid(root / COPY), "unlike copy"),
    "a copy with other voxels": (lambda root: change(root / COPY, lambda a: a + 1), "unlike copy"),
    "two labels in a mask": (lambda root: change(root / LABEL, lambda a: a + 2 * np.eye(12, 10, dtype=np.uint8)[..., None]), "not binary"),
    "probabilities": (lambda root: change(root / LABEL, lambda a: (a * 0.4).astype(np.float32)), "not binary"),
    "no foreground": (lambda root: change(root / LABEL, np.zeros_like), "empty mask"),
    "exchanged": (lambda root: change(root / LABEL, lambda a: 1 - a), "inverted mask"),
    "one mask twice": (lambda root: shutil.copy(root / LIVER / "labelsTr/p1_a.nii.gz", root / SPLEEN / "labelsTr/p1_a.nii.gz"), "doubled mask"),
    "one image twice": (lambda root: shutil.copy(root / IMAGE, root / "liver/mr_CHAOS/imagesTr/c1.nii.gz"), "doubled image"),
    "an image without a label": (lambda root: shutil.copy(root / IMAGE, root / LIVER / "imagesTr/p3_a.nii.gz"), "orphan"),
    "a file in the wrong place": (lambda root: shutil.copy(root / IMAGE, root / "liver/stray.nii"), "orphan"),
    "one image in both splits": (lambda root: put(root, LIVER, "other", ((1, 3),) * 3, seed=1, part="Ts"), "leak"),
    "one case in both splits": (lambda root: put(root, LIVER, "p1_a", ((1, 3),) * 3, seed=9, part="Ts"), "leak"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "kind"), DAMAGES.values(), ids=DAMAGES.keys())
def test_each_damage_is_found_by_its_name(root, damage, kind):
    damage(root)
    found = inspect(open_splits(root))
    assert set(found.counts) == {kind}, found.examples


def test_every_kind_has_a_damage():
    assert {kind for _, kind in DAMAGES.values()} == set(VOLUME_KINDS)


def test_a_patient_in_both_splits_is_a_leak(root):
    put(root, LIVER, "p1_b", ((1, 3),) * 3, seed=9, part="Ts")
    assert inspect(open_splits(root)).clean
    found = inspect(open_splits(root, patient="/([a-z]+[0-9]+)"))
    assert [finding.where for finding in found.examples["leak"]] == ["p1"]


def test_quick_reads_headers_alone(root):
    change(root / IMAGE, np.zeros_like)
    move_grid(root / LIVER / "labelsTr/p1_a.nii.gz")
    assert set(inspect(open_splits(root), quick=True).counts) == {"grid mismatch"}


def test_the_commands_take_the_layout(root, tmp_path):
    done = run("stats", root, "--out", tmp_path / "page.html")
    assert done.exit_code == 0, done.output
    for told in ("By structure", "1.5x1.5x3", "12x10x8", "patients are not known"):
        assert told in done.output
    assert "Sizes of masks" in (tmp_path / "page.html").read_text()
    assert run("check", root).exit_code == 0
    (root / IMAGE).unlink()
    done = run("check", root, "--out", tmp_path / "found.jsonl")
    assert done.exit_code == 1
    [line] = (tmp_path / "found.jsonl").read_text().splitlines()
    assert json.loads(line)["kind"] == "missing file"


def test_what_fits_no_layout_is_refused(tmp_path, root):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match="labelsTr or labelsTs"):
        open_splits(tmp_path / "nothing")
    done = run("check", root, "--min-area", 0.1)
    assert isinstance(done.exception, DatasetError)
