"""``medeval train sam-med3d``: from volumes of a dataset to weights that the adapter loads."""

import json

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from sam_med3d_world import SMALL, ask, clicked, volume  # noqa: E402

from medeval import api  # noqa: E402
from medeval.datasets.sa_med3d import SAMed3D  # noqa: E402
from medeval.types import DataError, PluginError, SuiteError  # noqa: E402
from medeval_adapters.sam_med3d import SAMMed3D  # noqa: E402
from medeval_adapters.sam_med3d_targets import Targets  # noqa: E402

TINY = SMALL | {
    "embed_dim": 24,
    "depth": 1,
    "global_attn_indexes": [0],
    "decoder_mlp_dim": 32,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """SA-Med3D's folders: two CTs with a cube, one with a ball and one with a speck as well."""
    root = tmp_path_factory.mktemp("data")
    drawn = np.random.default_rng(0)
    for number in range(2):
        image = drawn.normal(50, 20, (40, 36, 30)).astype(np.int16)
        cube = np.zeros(image.shape, np.uint8)
        cube[10 : 22 + number, 10:22, 8:20] = 1
        image[cube > 0] += 60
        image[:, :3] = -1024
        put(root, "cube", number, image, cube)
        if number:
            speck = np.zeros_like(cube)
            speck[30, 30, 20] = 1
            put(root, "speck", number, image, speck)
    return root


def put(root, structure, number, image, mask):
    folder = root / structure / "ct_PHANTOM"
    for part, array in (("imagesTr", image), ("labelsTr", mask)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        nibabel.save(
            nibabel.Nifti1Image(array, np.diag([1.5, 1.5, 1.5, 1])), folder / part / f"p{number}.nii.gz"
        )


def config(tmp_path, data, **changes):
    options = {
        "dataset": {"format": "sa-med3d", "root": str(data)}, "sizes": TINY, "epochs": 2, "batch_size": 1, "accumulate": 2,
        "clicks": 3, "min_voxels": 100, "device": "cpu", **changes,
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(options))
    return path


def trained(tmp_path, data, out="out", told=None, **changes):
    lines = [] if told is None else told
    return api.train("sam-med3d", config(tmp_path, data, **changes), tmp_path / out, lines.append)


def test_weights_come_out_that_the_adapter_loads(tmp_path, data):
    told: list[str] = []
    weights = trained(tmp_path, data, told=told)
    (answer,) = ask(SAMMed3D(checkpoint=weights, device="cpu"), volume(), clicked([20, 20, 20]))
    assert answer.mask.shape == (40, 40, 40)
    assert any("2 targets; 1 smaller" in line for line in told)
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert [set(entry) for entry in history] == [{"first", "last"}] * 2


def test_a_stopped_training_ends_in_the_same_bytes(tmp_path, data, monkeypatch):
    from medeval_models.sam_med3d.training import ClickRecipe

    whole = trained(tmp_path, data, "whole", epochs=3).read_bytes()
    batches = ClickRecipe.batches

    def killed(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return batches(self, epoch)

    monkeypatch.setattr(ClickRecipe, "batches", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, data, "parts", epochs=3)
    monkeypatch.undo()
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    assert trained(tmp_path, data, "parts", epochs=3).read_bytes() == whole


def test_fine_tuning_begins_from_a_checkpoint_at_a_tenth_of_the_rate(tmp_path, data, monkeypatch):
    from medeval_models.sam_med3d import training

    rates = []
    optimiser = training._optimiser
    monkeypatch.setattr(training, "_optimiser", lambda *given: rates.append(given[1]) or optimiser(*given))
    first = trained(tmp_path, data, "first")
    trained(tmp_path, data, "second", checkpoint=str(first), sizes={})
    assert rates == [8e-4, 8e-5]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"min_voxels": 10**6}, DataError, "no structure of at least 1000000 voxels"),
        ({"sizes": {"image_sise": 32}}, PluginError, "image_sise"),
        ({"sizes": {"image_size": 33, "patch_size": 8}}, PluginError, "no multiple"),
        ({"clicks": 0}, SuiteError, "clicks"),
        ({"rule": "nearest"}, SuiteError, "rule"),
        ({"dataset": {"root": "x"}}, PluginError, "format"),
        ({"checkpoint": "nowhere.pth", "sizes": {}}, PluginError, "nowhere.pth"),
        ({"checkpoint": "some.pth"}, PluginError, "sizes: a checkpoint has its own"),
    ],
)
def test_what_cannot_be_trained_is_told(tmp_path, data, changes, error, message):
    with pytest.raises(error, match=message):
        trained(tmp_path, data, **changes)


def test_a_target_is_the_patch_around_its_box(data):
    targets = Targets.of(SAMed3D(root=data), 32, min_voxels=100)
    assert len(targets) == 2
    assert targets.dropped == 1
    first, second = targets[0], targets[1]
    assert int(first.target.sum()) == 12**3
    assert int(second.target.sum()) == 13 * 12**2
    middle = np.argwhere(first.target.numpy()).mean(axis=0)
    assert (np.abs(middle - 15.5) <= 0.5).all()
    foreground = first.image[first.target]
    assert foreground.mean() > first.image[~first.target].mean() + 1


def test_patches_that_are_not_kept_are_read_again(data):
    kept = Targets.of(SAMed3D(root=data), 32, min_voxels=100)
    read_again = Targets.of(SAMed3D(root=data), 32, min_voxels=100, memory=0)
    assert len(kept._kept) == 2
    assert not read_again._kept
    for one, other in zip(kept, read_again, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.target, other.target)


def test_as_released_keeps_intensities_and_cuts_ct(data):
    raw = Targets.of(SAMed3D(root=data), 32, min_voxels=100, as_released=True)[0].image
    assert raw.min() == -1000
    mr = SAMed3D(root=data, metadata={"modality": "mr"})
    assert Targets.of(mr, 32, min_voxels=100, as_released=True)[0].image.min() == -1024
