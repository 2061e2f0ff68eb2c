"""Checkpoints and options of ``sam-med3d``."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nibabel = pytest.importorskip("nibabel")

from sam_med3d_world import ask, clicked, volume  # noqa: E402

from medeval.plugins import build as build_plugin  # noqa: E402
from medeval.types import PluginError, UserError  # noqa: E402
from medeval_adapters.sam_med3d import SAMMed3D  # noqa: E402
from medeval_models import sam_med2d  # noqa: E402


def test_weights_of_a_2d_model_are_told(tmp_path):
    sizes = {
        "image_size": 32,
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 1,
        "num_heads": 2,
        "global_attn_indexes": (),
    }
    torch.save(sam_med2d.build(**sizes, out_chans=16).state_dict(), tmp_path / "sam.pth")
    with pytest.raises(PluginError, match=r"sam\.pth.*2D model.*sam-med2d"):
        SAMMed3D(checkpoint=tmp_path / "sam.pth", device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("mask_decoder.iou_token.weight"),
            "1 missing .mask_decoder.iou_token.weight",
        ),
        (
            lambda state: state.update({"prompt_encoder.point_embeddings.2.weight": torch.zeros(1, 48)}),
            "1 unexpected",
        ),
        (
            lambda state: state.update({"prompt_encoder.no_mask_embed.weight": torch.zeros(1, 9)}),
            "of another shape",
        ),
        (lambda state: state.pop("image_encoder.pos_embed"), "is not SAM-Med3D's"),
    ],
)
def test_weights_that_do_not_fit_are_named(med3d_checkpoint, tmp_path, change, message):
    state = torch.load(med3d_checkpoint, weights_only=False)["model_state_dict"]
    change(state)
    torch.save({"model_state_dict": state}, tmp_path / "changed.pth")
    with pytest.raises(PluginError, match=rf"changed\.pth.*{message}"):
        SAMMed3D(checkpoint=tmp_path / "changed.pth", device="cpu")


def test_a_bare_state_dict_and_safetensors_load_too(med3d_checkpoint, tmp_path, med3d):
    from medeval_models.weights import convert

    state = convert(med3d_checkpoint, tmp_path / "small.safetensors")
    torch.save(state, tmp_path / "bare.pth")
    image = volume()
    (wanted,) = ask(med3d(), image, clicked([20, 20, 20]))
    for name in ("small.safetensors", "bare.pth"):
        (found,) = ask(SAMMed3D(checkpoint=tmp_path / name, device="cpu"), image, clicked([20, 20, 20]))
        np.testing.assert_array_equal(found.mask, wanted.mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": "target-crop"}, "patch"),
        ({"batch_size": 0}, "batch_size"),
        ({"devise": "cpu"}, "device"),
        ({"device": "gpu"}, "device"),
        ({"restore": "cubic"}, "restore"),
    ],
)
def test_options_are_checked(med3d_checkpoint, options, message):
    with pytest.raises(UserError, match=message):
        build_plugin(SAMMed3D, {"checkpoint": str(med3d_checkpoint), **options})


def test_options_of_a_suite_build_it(med3d_checkpoint):
    adapter = build_plugin(
        SAMMed3D,
        {"checkpoint": str(med3d_checkpoint), "device": "cpu", "patch": "tiled", "precision": "bf16"},
    )
    (answer,) = ask(adapter, volume(), clicked([20, 20, 20]))
    assert answer.mask.shape == (40, 40, 40)
