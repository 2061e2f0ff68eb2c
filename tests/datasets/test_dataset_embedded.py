"""The data that come with packages: the MNI152 template and scikit-image's pictures."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from pydantic import ValidationError

from medeval.datasets import MNI152, SkimageSamples, mni152, skimage_samples
from medeval.types import DatasetError

needs_nilearn = pytest.mark.skipif(
    find_spec("nilearn") is None, reason="nilearn, whose wheel holds the template, is not installed"
)


@needs_nilearn
def test_slices_lie_evenly_in_the_middle_of_one_patients_brain():
    dataset = MNI152(slices=5)
    assert dataset.index.ids == ("axial_z-032", "axial_z-013", "axial_z+005", "axial_z+023", "axial_z+042")
    assert {c.patient for c in dataset.index} == {"mni152"}
    case = dataset.read("axial_z+005")
    assert case.metadata["position_mm"] == 5
    assert case.inputs["image"].array.shape == (1, 233, 197)
    assert (case.inputs["image"].grid.spacing, case.inputs["image"].grid.unit) == ((1.0, 1.0), "mm")
    grey, white = (case.reference["structures"].mask(name) for name in dataset.structures)
    assert not (grey & white).any()
    assert min(grey.sum(), white.sum()) > 3000
    image = case.inputs["image"].array[0]
    assert image[white].mean() > image[grey].mean()  # T1: white matter is brighter


@needs_nilearn
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"axis": "coronal"}, (1, 189, 197)),
        ({"axis": "sagittal"}, (1, 189, 233)),
        ({"axis": "axial", "resolution_mm": 2}, (1, 116, 98)),
        ({"axis": "axial", "resolution_mm": 2, "crop": 4}, (1, 95, 77)),
        ({"view": "volume", "resolution_mm": 4}, (1, 49, 58, 47)),
    ],
)
def test_views_axes_resolutions_and_crops(options, shape):
    dataset = MNI152(limit=1, **options)
    case = dataset.read(dataset.index.ids[0])
    assert case.inputs["image"].array.shape == shape
    assert case.inputs["image"].grid.spacing == (float(options.get("resolution_mm", 1)),) * (len(shape) - 1)
    assert case.reference["structures"].shape == shape[1:]


@needs_nilearn
def test_the_affine_of_a_coarse_cropped_volume_points_at_the_same_brain():
    full = MNI152(view="volume").read("mni152")
    coarse = MNI152(view="volume", resolution_mm=2, crop=0).read("mni152")
    centres = []
    for case in (full, coarse):
        mask = case.reference["structures"].mask("white_matter")
        centres.append(case.inputs["image"].grid.affine @ [*np.argwhere(mask).mean(axis=0), 1])
    np.testing.assert_allclose(centres[0], centres[1], atol=0.5)
    brain = coarse.inputs["image"].array[0] > 0
    assert all(brain.any(axis=tuple(b for b in range(3) if b != a))[[0, -1]].all() for a in range(3))


@needs_nilearn
def test_a_slice_is_upright():
    """Anterior is on top: the cerebellum (posterior, inferior) lies in the lower rows of a sagittal slice."""
    case = MNI152(axis="sagittal", slices=(0.0,)).read("sagittal_x+000")
    volume = MNI152(view="volume").read("mni152").inputs["image"].array[0]
    image = case.inputs["image"].array[0]
    np.testing.assert_array_equal(image, volume[98, :, ::-1].T)


@needs_nilearn
@pytest.mark.parametrize("slices", [0, -1, (500.0,), ()])
def test_positions_outside_the_template_are_refused(slices):
    with pytest.raises(DatasetError, match="axial positions lie between -72 and 116 mm"):
        MNI152(slices=slices).index  # noqa: B018


@needs_nilearn
def test_the_fingerprint_follows_what_a_slice_holds():
    base = MNI152(slices=(0.0,)).fingerprint("axial_z+000")
    assert MNI152(slices=(0.0, 9.0)).fingerprint("axial_z+000") == base
    assert MNI152(slices=(0.0,), threshold=0.4).fingerprint("axial_z+000") != base
    assert MNI152(slices=(0.0,), crop=3).fingerprint("axial_z+000") != base


def test_without_nilearn_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(mni152, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match="pip install 'medeval-bench"):
        MNI152().index  # noqa: B018


@pytest.mark.parametrize(
    "options", [{"resolution_mm": 0}, {"axis": "oblique"}, {"threshold": 0}, {"crop": -1}]
)
def test_options_of_the_template_are_checked(options):
    with pytest.raises(ValidationError):
        MNI152(**options)


# scikit-image


def test_each_picture_is_its_own_patient_with_its_structures():
    dataset = SkimageSamples(pictures=("cell", "ihc", "microaneurysms"))
    assert [(c.id, c.patient, c.metadata["modality"]) for c in dataset.index] == [
        ("cell", "cell", "Microscopy"), ("ihc", "ihc", "Histopathology"), ("microaneurysms", "microaneurysms", "Fundus"),
    ]  # fmt: skip
    named = {c: dataset.read(c).reference["structures"] for c in dataset.index.ids}
    assert named["cell"].names == ("cell",)
    assert named["microaneurysms"].names == ("microaneurysm#0", "microaneurysm#1")
    assert "epithelium" in named["ihc"].names
    nuclei = [named["ihc"].mask(n) for n in named["ihc"].names if n.startswith("nucleus#")]
    assert len(nuclei) > 100
    assert np.sum(nuclei, axis=0).max() == 1  # instances do not overlap
    assert all(40 <= mask.sum() <= 400 for mask in nuclei)


def test_the_cell_is_the_bright_disc():
    case = SkimageSamples(pictures=("cell",)).read("cell")
    mask = case.reference["structures"].mask("cell")
    image = case.inputs["image"].array[0]
    assert image[mask].mean() > 2 * image[~mask].mean()
    radius = np.sqrt(mask.sum() / np.pi)
    assert np.argwhere(mask).max(axis=0) - np.argwhere(mask).min(axis=0) == pytest.approx(
        2 * radius, rel=0.05
    )


def test_tiles_cut_pictures_and_masks_alike():
    whole = SkimageSamples(pictures=("ihc",)).read("ihc")
    dataset = SkimageSamples(pictures=("ihc", "cell"), tile=128)
    assert len(dataset.index) == 16 + 1
    assert {c.patient for c in dataset.index} == {"ihc", "cell"}
    tile = dataset.read("ihc_0128_0256")
    window = (slice(128, 256), slice(256, 384))
    np.testing.assert_array_equal(tile.inputs["image"].array, whole.inputs["image"].array[:, *window])
    for name in tile.reference["structures"].names:
        mask = tile.reference["structures"].mask(name)
        np.testing.assert_array_equal(mask, whole.reference["structures"].mask(name)[window])
        assert mask.sum() >= 20


def test_instances_can_be_united():
    structures = (
        SkimageSamples(pictures=("microaneurysms",), instances="merged")
        .read("microaneurysms")
        .reference["structures"]
    )
    assert structures.names == ("microaneurysm",)


def test_vessels_are_darker_in_green_than_what_surrounds_them():
    case = SkimageSamples(pictures=("retina",)).read("retina")
    mask = case.reference["structures"].mask("vessels")
    green = case.inputs["image"].array[1].astype(float)
    near = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    near[np.clip(rows + 15, 0, 1410), columns] = True
    assert 0.03 < mask.mean() < 0.1
    assert green[mask].mean() < green[near & ~mask].mean() - 10


def test_the_reference_is_the_same_each_time_and_another_versions_is_another_fingerprint(monkeypatch):
    dataset = SkimageSamples(pictures=("cell",))
    first = dataset.read("cell").reference["structures"].mask("cell")
    skimage_samples._reference.cache_clear()
    np.testing.assert_array_equal(dataset.read("cell").reference["structures"].mask("cell"), first)
    base = dataset.fingerprint("cell")
    monkeypatch.setattr(skimage_samples, "version", lambda name: "0.99")
    assert dataset.fingerprint("cell") != base


def test_no_picture_is_an_empty_dataset_and_a_missing_file_is_named(monkeypatch, tmp_path):
    with pytest.raises(DatasetError, match="no cases"):
        SkimageSamples(pictures=()).index  # noqa: B018
    monkeypatch.setattr(skimage_samples, "_FILES", {"cell": "gone.png"})
    with pytest.raises(DatasetError, match=r"gone.png is not in this scikit-image"):
        SkimageSamples(pictures=("cell",)).fingerprint("cell")
