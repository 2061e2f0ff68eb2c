"""What the claim about 3D and slice-wise networks holds equal, and that its phantoms and examples are what it says."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

CLAIMS = Path(__file__).resolve().parents[2] / "benchmarks" / "claims"


@pytest.fixture
def claim(monkeypatch):
    monkeypatch.syspath_prepend(str(CLAIMS))
    from common import Claim

    yield Claim.load("sam_med3d").config
    for name in [name for name in sys.modules if name in ("common", "page") or name.startswith("sam_med3d")]:
        if "claims" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_both_networks_are_of_one_size(claim):
    from medeval_models import sam_med2d, sam_med3d

    counts = [
        sum(parameter.numel() for parameter in build(**claim[arm]["sizes"]).parameters())
        for build, arm in ((sam_med3d.build, "3d"), (sam_med2d.build, "2d"))
    ]
    assert max(counts) <= 1.02 * min(counts)


def test_a_step_shows_both_as_many_voxels(claim):
    side = claim["phantoms"]["side"]
    assert claim["3d"]["batch_size"] * side**3 == claim["2d"]["batch_size"] * side**2
    assert claim["3d"]["sizes"]["image_size"] == claim["2d"]["sizes"]["image_size"] == side


def test_phantoms_are_drawn_from_world_part_and_number(claim):
    from sam_med3d_phantoms import LEVELS, Phantoms

    train = Phantoms(world=7, count=3, **claim["phantoms"])
    case = train.read("train-0002")
    again = Phantoms(world=7, count=9, **claim["phantoms"]).read("train-0002")
    np.testing.assert_array_equal(case.inputs["image"].array, again.inputs["image"].array)
    for other in (Phantoms(world=8, count=3), Phantoms(world=7, part="test", count=3)):
        assert not np.array_equal(
            case.inputs["image"].array, other.read(other.index.ids[2]).inputs["image"].array
        )
    kinds = Phantoms(world=7, count=3, kinds=tuple(claim["trained on"])).read("train-0000")
    assert "unseen" not in kinds.reference["structures"].names
    image = case.inputs["image"].array[0]
    assert image.min() > 0
    assert image.max() <= 1
    for name in case.reference["structures"].present():
        inside = image[case.reference["structures"].mask(name)]
        assert inside.mean() == pytest.approx(LEVELS[name], abs=0.05)


def test_the_2d_network_is_trained_on_the_slices_that_hold_a_target_as_the_adapter_shows_them(claim):
    from sam_med3d_phantoms import Phantoms
    from sam_med3d_recipes import _slices

    from medeval_adapters.slicewise_planes import Planes

    case = Phantoms(world=1, count=1, **claim["phantoms"]).read("train-0000")
    image, structures = case.inputs["image"], case.reference["structures"]
    name = structures.present()[0]
    planes = Planes.of(image.grid, "axial")
    examples = _slices(planes, image, structures.mask(name))
    assert len(examples) == np.count_nonzero(structures.mask(name).any(axis=(0, 1)))
    first = int(np.flatnonzero(structures.mask(name).any(axis=(0, 1)))[0])
    np.testing.assert_array_equal(examples[0].target, planes.cut(structures.mask(name), first))
    shown = planes.image(image, first).array[0] * 255
    np.testing.assert_allclose(examples[0].image, shown, atol=0.5)
