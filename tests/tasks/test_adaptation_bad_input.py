"""Bad input to an adaptation, in whole runs: who is blamed, what is said, and that the other arms go on."""

import numpy as np
import pytest
from PIL import Image as Pil

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from small_world import scores  # noqa: E402
from target_world import UPL, records_of  # noqa: E402


def _only(world, count):
    for sub in ("images", "masks"):
        for path in sorted((world.folder / "train" / sub).iterdir())[count:]:
            path.unlink()


def test_one_target_image_is_enough(world):
    _only(world, 1)
    run = world.run(adaptations={"ptbn": {}, "tent": {}, "upl": UPL})
    assert records_of(run)["error"].isna().all()


def test_a_constant_target_image_harms_nothing(world):
    path = world.folder / "train" / "images" / "p0-c00.png"
    Pil.fromarray(np.full((32, 32), 7, np.uint8)).save(path)
    run = world.run(adaptations={"ptbn": {}, "tent": {}, "upl": UPL})
    found = records_of(run)
    assert found["error"].isna().all()
    assert np.isfinite(found["dice"]).all()


def test_a_target_image_with_nan_is_the_datas_failure(world):
    import nibabel as nib

    folder = world.folder / "volumes"
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True)
    for n, value in enumerate((1.0, np.nan)):
        array = np.random.default_rng(n).normal(size=(32, 32, 3)).astype(np.float32)
        array[4, 4, 1] = value
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "images" / f"v{n}.nii.gz")
    world.datasets["train"] = {
        "format": "image-mask-folder", "root": "volumes", "images": "images/*.nii.gz", "masks": "masks/{id}.nii.gz",
    }  # fmt: skip
    run = world.run(adaptations=["tent"])
    row = scores(run, arm="tent", metric="dice")[0]
    assert row["failed"] == {"data_error": 12}
    error = records_of(run).query("arm == 'tent'")["error"].iloc[0]
    assert "target case 'v1' of train" in error
    assert "NaN" in error


def test_another_number_of_channels_is_told(world):
    for path in (world.folder / "train" / "images").iterdir():
        grey = np.asarray(Pil.open(path))
        Pil.fromarray(np.stack([grey, grey // 2, grey], -1)).save(path)
    run = world.run(adaptations=["tent"])
    error = records_of(run).query("arm == 'tent'")["error"].iloc[0]
    assert "has 3 channels; the model's first convolution takes 1" in error
    assert scores(run, arm="source-only", metric="dice")[0]["failed"] == {}


def test_a_network_that_sees_background_alone_is_told_by_its_curve(world):
    from medeval_models.upl_sfda import build_source

    model = build_source(**world.model["arguments"])
    with torch.no_grad():
        model.aux_dec1.last.weight.zero_()
        model.aux_dec1.last.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    torch.save(model.state_dict(), world.folder / "blind.pth")
    world.model["checkpoint"] = "blind.pth"
    run = world.run(adaptations={"upl": {**UPL, "lr": 1e-5}})
    history = next(facts for facts, _ in world.artifacts() if facts["stages"])["stages"][0]["history"]
    assert history[0]["reliable_foreground"] == 0
    assert records_of(run)["error"].isna().all()


def test_a_prior_for_each_image_must_fit_their_number(world):
    prior = [0.7, 0.2, 0.1]
    run = world.run(adaptations={"adami": {"prior": prior, "priors": [prior, prior]}})
    error = records_of(run).query("arm == 'adami'")["error"].iloc[0]
    assert "2 priors for 4 target images" in error
